# SPDX-License-Identifier: GPL-2.0-only
"""A guest that writes without end takes no more of the disk than it may, and its run is invalid."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from harness.guest import bounded
from harness.guest.bounded import OutputBounds
from harness.proc import Deadline, spawn
from tests.attack.forked import Call, Ended, call, ready
from tests.attack.standin import RUN, write_guest, write_source

KIB = 1024


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bounds, for tests that do not have all day."""
    monkeypatch.setattr(bounded, "HEAD", 256 * KIB)
    monkeypatch.setattr(bounded, "TAIL", 64 * KIB)
    monkeypatch.setattr(bounded, "ROOM", 64 * KIB)
    monkeypatch.setattr(bounded, "MOST_CONTROL", 500 * KIB)
    monkeypatch.setattr(bounded, "MOST_RESULTS", 500 * KIB)


@pytest.mark.usefixtures("small")
def test_of_a_long_console_the_beginning_and_the_end_are_kept(tmp_path: Path) -> None:
    console, control = tmp_path / "console.log", tmp_path / "control.log"
    with console.open("wb") as file, spawn(("seq", "1", "1000000"), stdout=file) as process:
        bounds = OutputBounds(console, control, (), process, _given_back=bounded.HEAD)
        most = 0
        while process.status is None:
            bounds.look()
            most = max(most, console.stat().st_blocks * 512)
        process.wait(Deadline(10))
    written = console.stat().st_size
    bounds.look()
    assert console.stat().st_size == written  # offsets stay as they are while the guest runs
    assert console.stat().st_blocks * 512 < 1024 * KIB
    bounds.end()
    kept = console.read_bytes()
    assert kept.startswith(b"1\n2\n3\n")
    assert kept.endswith(b"999999\n1000000\n")
    assert f"[ttm-harness: {bounds.left_out} bytes are left out here]".encode() in kept
    assert 0 < bounds.left_out < written
    assert 300 * KIB < len(kept) < 500 * KIB


def test_a_console_of_the_usual_length_is_left_alone(tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    with console.open("wb") as file, spawn(("seq", "1", "300000"), stdout=file) as process:
        with bounded.bounded(console, tmp_path / "control.log", (tmp_path,), process) as bounds:
            process.wait(Deadline(30))
    bounds.end()
    assert (bounds.why, bounds.left_out) == ("", 0)
    assert console.read_bytes().endswith(b"300000\n")


@pytest.mark.usefixtures("small")
def test_a_share_is_counted_by_what_it_takes_and_not_by_its_length(tmp_path: Path) -> None:
    share = tmp_path / "results"
    (share / "deep").mkdir(parents=True)
    with spawn(("sleep", "60")) as process:
        bounds = OutputBounds(tmp_path / "console.log", tmp_path / "control.log", (share,), process)
        (share / "sparse").touch()
        os.truncate(share / "sparse", 1 << 40)
        bounds.look()
        assert bounds.why == ""
        (share / "deep" / "full").write_bytes(b"x" * 600 * KIB)
        bounds.look()
        assert "into its results" in bounds.why
        began = time.monotonic()
        process.wait(Deadline(20))
        assert time.monotonic() - began < 15


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up source and guest, and a store in which its kernel is built."""
    ready()
    place = tmp_path_factory.mktemp("ground")
    write_source(place / "linux.tar")
    write_guest(place / "bin")
    assert run(place).status == 0
    return place


def run(place: Path, *words: str) -> Ended:
    environment = {"TTM_HARNESS_STORE": str(place / "store"), "PATH": f"{place / 'bin'}:{os.environ['PATH']}"}
    source = ("--source", f"tar:{place / 'linux.tar'}")
    return call(Call(("run", *source, *RUN, "--json", *words), environment, seconds=200))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("channel", "why"),
    [
        ("console", "are left out of it"),
        ("control", "to the control channel"),
        ("results", "into its results"),
    ],
)
def test_a_flood_is_no_evidence(ground: Path, channel: str, why: str) -> None:
    ended = run(ground, "--append", f"flood={channel}")
    assert ended.status == 3, ended.errors
    report = json.loads(ended.output)
    assert any(why in reason for reason in report["reasons"]), report["reasons"]
    place = ground / "store" / "runs" / report["id"]
    assert sum(path.lstat().st_blocks * 512 for path in place.rglob("*")) < 8192 * KIB
