# SPDX-License-Identifier: GPL-2.0-only
"""Suites that igt_runner runs: their cases, the user's own IGT, and what of a boot goes on in another one."""

from __future__ import annotations

import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from harness.checkout import data_directory
from harness.cli.caselists import read_lists
from harness.evidence.igt import ABORTED
from harness.evidence.lines import decode
from harness.evidence.splats import find_events
from harness.flow.continuation import joined
from harness.flow.deadlines import limits_of
from harness.flow.igt_suite import igt_cases, keep_igt
from harness.flow.observe import BootPart
from harness.inputs.igt import kept_igt
from harness.model.cell import Cell, Knob
from harness.model.errors import UserError
from harness.model.machine import Machine
from harness.model.outcome import Ending, Outcome
from harness.model.words import parse_globs
from harness.store.layout import Layout
from harness.suites.registry import narrowed, suite_named
from tests.unit.test_continuation import SUITE, case, seen
from tests.unit.test_igt import EVERY, words


class Quiet:
    """Progress that nobody reads."""

    def step(self, text: str) -> None: ...

    def advance(self, done: int, total: int, unit: str) -> None: ...


def test_a_suite_has_the_cases_that_were_to_run_with_what_the_kernel_said() -> None:
    suite = suite_named("igt-self")
    text = "".join(
        f"[{at:5d}.000000] {line}\n"
        for at, line in enumerate(
            (
                "ttm-harness: case igt-self igt_words@pass",
                "BUG: kernel NULL pointer dereference, address: 8",
                "ttm-harness: case igt-self igt_words@dynamic",
                "all is well",
            ),
            1,
        )
    )
    lines = decode(text.encode())
    events = find_events(lines)
    names = ("igt-self.igt_words@pass", "igt-self.igt_words@dynamic")
    found, log = igt_cases(suite, EVERY, lines, events, names)
    cases = {case.name: case for case in found.cases}
    assert set(cases) == {
        *names,
        *(f"igt-self.igt_words@dynamic@{one}" for one in ("one", "two")),
        "igt-self.runner@aborted",
    }
    assert cases[names[0]].outcome is Outcome.CRASH and cases[names[0]].raw == "pass"
    assert cases[names[1]].outcome is Outcome.PASS and not found.loose
    assert log.version == "IGT-Version: none (igt_words) (Linux)"
    assert ABORTED in words(log)


def igt_in(place: Path, tests: str = "one two", folder: str = "libexec/igt-gpu-tools") -> Path:
    """What `meson install` leaves, as far as it matters."""
    home = place / folder
    home.mkdir(parents=True)
    (home / "test-list.txt").write_text(f"TESTLIST\n{tests}\nEND TESTLIST\n")
    for name in ("one", "two"):
        (home / name).write_text("#!/bin/sh\n")
        (home / name).chmod(0o755)
    return place


@pytest.fixture(name="layout")
def fixture_layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "store")


def test_the_users_igt_is_kept_by_its_content(tmp_path: Path, layout: Layout) -> None:
    source = igt_in(tmp_path / "igt")
    first = keep_igt(str(source), layout, Quiet())
    assert keep_igt(str(source), layout, Quiet()) == first
    kept = kept_igt(first, "igt", layout)
    assert (kept / "libexec" / "igt-gpu-tools" / "one").is_file()
    with tarfile.open(tmp_path / "igt.tar.gz", "w:gz") as archive:
        archive.add(source, arcname=".")
    assert (kept_igt(keep_igt(f"tar:{tmp_path}/igt.tar.gz", layout, Quiet()), "igt", layout) / "libexec").is_dir()
    (source / "libexec" / "igt-gpu-tools" / "one").write_text("#!/bin/sh\nexit 1\n")
    assert keep_igt(str(source), layout, Quiet()) != first
    (kept / "libexec" / "igt-gpu-tools" / "two").write_text("else\n")
    with pytest.raises(UserError, match="cannot be had any more"):
        kept_igt(first, "igt", layout)
    assert keep_igt(str(igt_in(tmp_path / "again")), layout, Quiet()) == first
    assert kept_igt(first, "igt", layout) == kept


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{0}/none", "no such directory"),
        ("tar:{0}/none", "no such file"),
        ("{0}", "has no test-list.txt"),
        ("{0}/unbuilt", "none of the tests"),
    ],
)
def test_what_is_no_igt_is_said(text: str, said: str, tmp_path: Path, layout: Layout) -> None:
    igt_in(tmp_path / "unbuilt", tests="three four")
    with pytest.raises(UserError, match=said):
        keep_igt(text.format(tmp_path), layout, Quiet())
    assert not list(layout.objects.glob("igt*"))


def test_a_suite_that_wants_an_igt_says_so(layout: Layout) -> None:
    with pytest.raises(UserError, match="runs tests of an IGT of yours") as caught:
        kept_igt("", "igt-any-gpu", layout)
    assert "--igt DIR" in (caught.value.hint or "")
    with pytest.raises(UserError, match="that is no id"):
        kept_igt("../../etc", "igt", layout)


def test_which_igt_is_part_of_what_a_boot_is() -> None:
    cell = Cell("b", Machine(), ("igt",), 1)
    assert len({cell.id, replace(cell, igt="0" * 16).id, replace(cell, igt="1" * 16).id}) == 3
    assert suite_named("igt").wants_igt and suite_named("igt-any-gpu").wants_igt
    assert suite_named("igt-self").is_igt and not suite_named("igt-self").wants_igt
    assert not suite_named("kunit-self").is_igt


def test_what_is_taken_away_must_not_run() -> None:
    """A glob that begins with ! is a block list's."""
    assert parse_globs(("a@b*", "!a@bad", "igt_words@pass")) == ("a@b*", "!a@bad", "igt_words@pass")
    suite = suite_named("igt")
    assert narrowed(suite, ("!a@*",)) == suite
    assert [one.case for one in narrowed(suite, ("a@*", "!a@bad")).requirements] == ["*.a@*"]
    assert [one.case for one in narrowed(suite, ("a", "b@c")).requirements] == ["*.a*", "*.b@c"]
    with pytest.raises(UserError, match="cannot leave out what !a says"):
        narrowed(suite_named("pressure"), ("!a",))


def test_the_runners_own_limit_comes_first() -> None:
    """180 seconds, or what the knob says; 240 are the harness's for a case that nobody knows."""
    suite, cell = suite_named("igt"), Cell("b", Machine(), ("igt",), 1)
    limits = limits_of(cell, (suite,))
    assert limits.new_case == 240.0 and [one[0] for one in limits.cases] == ["igt"]
    assert limits_of(replace(cell, knobs=(Knob("timeout", "900"),)), (suite,)).new_case == 960.0
    pressure = suite_named("pressure")
    assert limits_of(replace(cell, knobs=(Knob("timeout", "900"),)), (pressure,)).new_case == 240.0


def test_lists_of_cases_are_files(tmp_path: Path) -> None:
    mine = tmp_path / "mine.testlist"
    mine.write_text("# IGT's way\nigt@a@b\n\nigt@c@.*   # all of it\nd@e\n")
    assert read_lists((f"x@y,@{mine}", f"!@{mine},!z")) == ["x@y", "a@b", "c@*", "d@e", "!a@b", "!c@*", "!d@e", "!z"]
    (tmp_path / "empty").write_text("# nothing\n")
    (tmp_path / "long").write_text("a" * 200_000)
    for text, said in (
        (f"@{tmp_path}/none", "cannot be read"),
        (f"@{tmp_path}", "cannot be read"),
        (f"!@{tmp_path}/empty", "no case in it"),
        (f"@{tmp_path}/long", "more than"),
    ):
        with pytest.raises(UserError, match=said):
            read_lists((text,))


def test_a_case_that_two_boots_did_not_come_to_is_told_once() -> None:
    """The second one's word counts, as of a run that was aborted."""
    names = ("p.a", "p.b", "p.c", "p.d")
    cut = [case("p.a"), *(case(name, Outcome.NOT_RUN, raw="notrun") for name in ("p.c", "p.d"))]
    rest = [case("p.c", Outcome.INCOMPLETE, raw="incomplete"), case("p.d", Outcome.NOT_RUN, raw="notrun")]
    boots = [
        seen(Ending.PANICKED, cut, "b", names),
        seen(Ending.FINISHED, rest, "", names[2:], BootPart("rest-1", "", 2)),
    ]
    found = [(one.name, one.outcome, one.boot) for one in joined(SUITE, boots)]
    assert found == [
        ("p.a", Outcome.PASS, ""),
        ("p.b", Outcome.CRASH, ""),
        ("p.c", Outcome.INCOMPLETE, "rest-1"),
        ("p.d", Outcome.NOT_RUN, "rest-1"),
    ]


def test_the_users_libraries_are_for_the_tests_alone(tmp_path: Path) -> None:
    """Debian's igt_runner is linked with a libigt, too, and not with the user's."""
    (tmp_path / "tests").mkdir()
    for name, text in (("tests/mine", 'echo "$LD_LIBRARY_PATH"\n'), ("note", "")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "mine").symlink_to(data_directory("guest-scripts") / "igt-case")
    given = {
        "HARNESS_IGT_TESTS": str(tmp_path / "tests"),
        "HARNESS_IGT_LIBRARIES": "/extra/lib:",
        "PATH": "/bin:/usr/bin",
    }
    for more, said in (({}, "/extra/lib:"), ({"LD_LIBRARY_PATH": "/roots"}, "/extra/lib:/roots")):
        done = subprocess.run(
            (str(tmp_path / "mine"), "--list-subtests"),
            env={**given, **more},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == said
    runner = (data_directory("guest-scripts") / "suite-igt-runner").read_text()
    assert "LD_LIBRARY_PATH" not in runner
