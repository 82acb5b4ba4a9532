# SPDX-License-Identifier: GPL-2.0-only
"""The values: what they refuse, and their round trip through JSON."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.build import Build, CompilerWarning
from harness.model.cell import Cell, Knob
from harness.model.codec import from_json, to_json
from harness.model.errors import CommandFailed, StoreCorrupt, UserError
from harness.model.machine import Accel, Machine
from harness.model.outcome import Outcome, Verdict, worst
from harness.model.tree import SourceKind, SourceSpec, Tree, version_tuple
from harness.model.units import GIB, MIB, format_seconds, format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("256M", 256 * MIB), ("1G", GIB), ("1.5GiB", 3 * GIB // 2), ("4096", 4096), ("64 kb", 65536), ("0", 0)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1M", "1.3", "12X", "1e3", "0x10", "256M swap"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UserError):
        parse_size(text)


@given(st.integers(min_value=0, max_value=1 << 45))
def test_a_formatted_size_reads_back(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.31, "0.3 s"), (42.4, "42 s"), (485.0, "8 min 05 s"), (7380.0, "2 h 03 min")]
)
def test_times_for_people(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("debian", SourceSpec(SourceKind.DEBIAN)),
        ("debian:6.12", SourceSpec(SourceKind.DEBIAN, what="6.12")),
        ("/src/linux", SourceSpec(SourceKind.DIRECTORY, "/src/linux")),
        ("git:/src/linux@v6.15~3", SourceSpec(SourceKind.GIT, "/src/linux", "v6.15~3")),
        ("git:/a@b/linux@HEAD", SourceSpec(SourceKind.GIT, "/a@b/linux", "HEAD")),
        ("tar:linux.tar.xz", SourceSpec(SourceKind.TAR, "linux.tar.xz")),
        ("kernel.org:6.15.2", SourceSpec(SourceKind.KERNEL_ORG, what="6.15.2")),
        ("kernel.org", SourceSpec(SourceKind.KERNEL_ORG)),
    ],
)
def test_sources(text: str, spec: SourceSpec) -> None:
    assert SourceSpec.parse(text) == spec
    assert str(spec) == text


@pytest.mark.parametrize(
    "text", ["", "debian:", "git:/src", "git:@x", "git:/src@", "git:/s@--upload", "tar:", "kernel.org:"]
)
def test_wrong_sources_are_refused_with_the_forms(text: str) -> None:
    with pytest.raises(UserError) as refusal:
        SourceSpec.parse(text)
    assert "git:DIR@REV" in (refusal.value.hint or "")


@pytest.mark.parametrize(
    ("version", "numbers"),
    [
        ("7.3.4", (7, 3, 4)),
        ("7.3", (7, 3, 0)),
        ("6.15.0-rc3+", (6, 15, 0)),
        ("x.y", (0, 0, 0)),
        ("7.3.4+deb", (7, 3, 4)),
        ("7.\N{SUPERSCRIPT TWO}", (7, 0, 0)),
        (f"7.{'1' * 5000}", (7, 0, 0)),
    ],
)
def test_version_numbers(version: str, numbers: tuple[int, int, int]) -> None:
    assert version_tuple(version) == numbers


def test_a_case_starts_incomplete_and_nothing_is_worse_than_a_crash() -> None:
    assert worst([]) is Outcome.INCOMPLETE
    assert worst([Outcome.PASS, Outcome.CRASH, Outcome.FAIL]) is Outcome.CRASH
    assert worst([Outcome.PASS, Outcome.SKIP]) is Outcome.SKIP


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_has_its_rank(outcome: Outcome) -> None:
    assert worst([outcome]) is outcome


def test_skip_is_not_executed() -> None:
    assert not Outcome.SKIP.executed
    assert not Outcome.NOT_RUN.executed
    assert Outcome.FAIL.executed


def test_exit_statuses_are_the_contract() -> None:
    assert {verdict: verdict.exit_status for verdict in Verdict} == {
        Verdict.GOOD: 0,
        Verdict.BAD: 1,
        Verdict.CANNOT_TELL: 3,
    }


def test_a_cell_is_the_same_cell_anywhere() -> None:
    one = Cell("b" * 64, Machine(accel=Accel.TCG), ("ttm-kunit",), 7, (Knob("bo", "1M"), Knob("dma", "1")))
    other = Cell("b" * 64, Machine(accel=Accel.TCG), ("ttm-kunit",), 7, (Knob("dma", "1"), Knob("bo", "1M")))
    assert one.id == other.id
    assert one.id != Cell("b" * 64, Machine(accel=Accel.TCG), ("ttm-kunit",), 8).id


BUILD = Build(
    id="ab" * 32,
    tree=Tree("cd" * 32, "7.3.4", "linux-source-7.3 7.3.4-1", Path("/t"), "debian"),
    profile="lean",
    config_id="ef" * 32,
    compiler="gcc 12",
    release="7.3.4",
    path=Path("/b"),
    objects=Path("/o"),
    warnings=(CompilerWarning("mm/swap.c", 3, "unused variable 'x'"),),
    seconds=12.5,
    steps=2300,
)


def test_json_round_trip() -> None:
    cell = Cell(BUILD.id, Machine(), ("a", "b"), 1, (Knob("bo", "1M"),))
    assert from_json(Build, to_json(BUILD)) == BUILD
    assert from_json(Cell, to_json(cell)) == cell


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"id": 3}', to_json(BUILD)[:-40], '{"extra": 1}'])
def test_what_is_no_build_is_said_to_be_corrupt(text: str) -> None:
    with pytest.raises(StoreCorrupt):
        from_json(Build, text)


def test_a_failed_command_says_how_it_ended() -> None:
    assert str(CommandFailed(("make", "all"), 2, "a\nno rule\n")) == "make ended with status 2: no rule"
    assert "signal 9" in str(CommandFailed(("make",), -9, ""))
