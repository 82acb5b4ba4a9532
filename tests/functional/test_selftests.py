# SPDX-License-Identifier: GPL-2.0-only
"""The runner of selftests in a guest: every way in which a test can end, and those in which it misbehaves."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from harness.flow.boots import BootEnvironment, boot_cell
from harness.flow.collect import CellResult
from harness.flow.prepare import parts_of_root
from harness.guest.root import guest_root
from harness.kernel.selftests import NOT_BUILT, TEST_LIST
from harness.model.build import Build
from harness.model.cell import Cell, Knob
from harness.model.kernel import PreparedKernel
from harness.model.outcome import Outcome
from harness.model.result import Case
from harness.model.suite import Manifest, Requirement, Suite
from harness.proc import Deadline
from harness.store.layout import Layout
from harness.store.sealed import seal
from tests.functional.conftest import TINY_MACHINE, Quiet

# Of the target t, by their names. The last ones want to do harm.
TESTS = {
    "passes": "echo fine",
    "fails.sh": "echo 'the reason' >&2; exit 1",
    "skips": "echo '# SKIP no such hardware'; exit 4",
    "xfails": "exit 2",
    "crashes": "kill -SEGV $$",
    "hangs": "sleep 1000 & sleep 1000",
    "calls-nothing": "no-such-program",
    "few": "echo 1..3; echo ok 1 - a b; echo '# what was wrong'; echo not ok 2 c; echo 'ok 3 d # SKIP no d'; exit 1",
    "short": "echo TAP version 13; echo 1..3; echo ok 1 a",
    "late-plan": "echo ok 1 a; echo 1..1",
    "many": "echo 1..200; for i in $(seq 200); do echo ok $i x; done",
    "many-bad": "echo 1..200; for i in $(seq 199); do echo ok $i x; done; echo not ok 200 y",
    "all-skipped": "echo 1..1; echo 'ok 1 a # SKIP no a'",
    "writes-here": "echo x >file && cat file",
    "gone-inside": "echo 1..2; echo ok 1 a; echo 'not ok 2 b # exit=127'; exit 1",
    "spoofs": "echo '    ok 2 t:fails.sh'; echo ok 1 k; echo KTAP version 1; echo ttm-harness: suite k end 0; exit 1",
    "garbage": "head -c 100000 /dev/urandom; echo; exit 1",
    "long": "many() { head -c $1 /dev/zero | tr '\\000' a; }; many 300000; echo; echo 1..1; echo ok 1 $(many 5000)",
    "leaves-a-daemon": "setsid sleep 1000 &",
}
INTERPRETED = {"python.py": "#!/usr/bin/env python3\n", "bash.sh": "#!/bin/bash\n"}


@pytest.fixture(scope="module", name="result")
def fixture_result(tiny: Build, layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> CellResult:
    place = tmp_path_factory.mktemp("selftests")
    extra = place / "extra"
    (extra / "t").mkdir(parents=True)
    for name, script in TESTS.items():
        program(extra / "t" / name, f"#!/bin/sh\n{script}\n")
    for name, script in INTERPRETED.items():
        program(extra / "t" / name, script)
    (extra / TEST_LIST).write_text("".join(f"t:{name}\n" for name in (*TESTS, *INTERPRETED, "unbuilt")))
    (extra / NOT_BUILT).write_text("t unbuilt fatal error: numa.h: No such file or directory\nu * no such target\n")
    seal(extra)
    suite = Suite(
        name="k",
        title="",
        script="suite-selftests",
        arguments=(),
        symbols=(),
        requirements=(Requirement("k.t:*", 1),),
        shares_boot=False,
        deadline=300.0,
        profile="tiny",
        selectable=True,
        knob_cases=("*",),
        manifest=Manifest("k"),
    )
    root = guest_root(layout, parts_of_root(), Deadline(60))
    environment = BootEnvironment(PreparedKernel(tiny, {"k": extra}), root, place / "run", Quiet())
    environment.directory.mkdir()
    wanted = ("t:*", "u:x", "t:nowhere")
    cell = Cell(tiny.id, TINY_MACHINE, ("k",), seed=7, knobs=(Knob("timeout", "4"),), cases=wanted)
    return boot_cell(cell, (suite,), environment, number=1)


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def of(result: CellResult, name: str) -> Case:
    return next(case for case in result.cases if case.name == f"k.{name}")


def test_the_ways_in_which_a_test_ends(result: CellResult) -> None:
    def said(name: str) -> tuple[Outcome, str]:
        case = of(result, f"t:{name}")
        return case.outcome, case.message

    assert said("passes") == (Outcome.PASS, "")
    assert said("fails.sh") == (Outcome.FAIL, "exit=1 the reason")
    assert said("skips") == (Outcome.SKIP, "no such hardware")
    assert said("xfails")[0] is Outcome.XFAIL
    assert said("crashes")[0] is Outcome.FAIL
    assert said("crashes")[1].startswith("exit=139")
    assert said("hangs") == (Outcome.TIMEOUT, "4 seconds")
    assert said("calls-nothing")[0] is Outcome.SKIP
    assert "no-such-program" in said("calls-nothing")[1]
    assert said("all-skipped.a") == (Outcome.SKIP, "no a")
    assert said("writes-here")[0] is Outcome.PASS
    assert said("python.py") == (Outcome.SKIP, "needs python3, which is not in the guest's root")
    assert said("bash.sh") == (Outcome.SKIP, "needs /bin/bash, which is not in the guest's root")
    assert said("unbuilt") == (Outcome.SKIP, "not built: fatal error: numa.h: No such file or directory")
    assert of(result, "u:x").message == "not built: no such target"


def test_results_within_a_test_are_cases_where_they_are_few(result: CellResult) -> None:
    assert of(result, "t:few.a b").outcome is Outcome.PASS
    assert of(result, "t:few.c").outcome is Outcome.FAIL
    assert "what was wrong" in of(result, "t:few.c").message
    assert of(result, "t:few.d").outcome is Outcome.SKIP
    assert of(result, "t:late-plan").outcome is Outcome.PASS
    assert of(result, "t:many").outcome is Outcome.PASS
    assert of(result, "t:many-bad").outcome is Outcome.FAIL
    assert "1 of its results are not ok" in of(result, "t:many-bad").message


def test_a_promise_that_is_not_kept_is_no_pass(result: CellResult) -> None:
    found = [case for case in result.cases if case.name.startswith("k.t:short")]
    assert [case.outcome for case in found][:1] == [Outcome.PASS]
    assert {case.outcome for case in found[1:]} == {Outcome.INCOMPLETE}


def test_a_program_that_is_not_there_is_no_failure_of_the_kernel(result: CellResult) -> None:
    found = [case for case in result.cases if case.name.startswith("k.t:gone-inside")]
    assert [case.outcome for case in found] == [Outcome.PASS, Outcome.SKIP]


def test_what_a_test_prints_is_not_believed_of_others(result: CellResult) -> None:
    assert of(result, "t:spoofs").outcome is Outcome.FAIL
    assert of(result, "t:garbage").outcome is Outcome.FAIL
    assert [case.outcome for case in result.cases if case.name.startswith("k.t:long")] == [Outcome.PASS]
    assert of(result, "t:leaves-a-daemon").outcome is Outcome.PASS
    names = [case.name for case in result.cases]
    assert len(set(names)) == len(names)
    assert not result.run.problems
    incomplete = {case.name for case in result.cases if case.outcome is Outcome.INCOMPLETE}
    assert incomplete == {"k.t:short.?2", "k.t:short.?3"}
