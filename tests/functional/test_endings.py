# SPDX-License-Identifier: GPL-2.0-only
"""Every way in which a guest can end, made to happen for real, is told apart from the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.flow.collect import CellResult
from harness.judge.expectations import BOOT_SUITE
from harness.model.cell import Cell
from harness.model.codec import from_json
from harness.model.machine import Accel, Machine, Swap
from harness.model.outcome import Ending, Outcome, Verdict
from harness.model.units import MIB
from tests.functional.conftest import TINY_MACHINE, Runner

# KTAP as a runner writes it; `say` puts one line into the kernel log.
SAY = """
say() { echo "<5>$*" >/dev/kmsg; }
say 'KTAP version 1'
say '1..2'
say '    KTAP version 1'
say '    # Subtest: mine'
say '    1..2'
say '    ok 1 first'
"""
REST = """
say '    ok 2 second'
say 'ok 1 mine'
say '    KTAP version 1'
say '    # Subtest: other'
say '    1..1'
say '    ok 1 third'
say 'ok 2 other'
"""


def outcomes(result: CellResult) -> dict[str, Outcome]:
    """Of the suite's own cases; the boot's is looked at apart."""
    return {case.name: case.outcome for case in result.cases if case.suite != BOOT_SUITE}


def boot_outcome(result: CellResult) -> Outcome:
    return next(case.outcome for case in result.cases if case.suite == BOOT_SUITE)


def test_a_good_run_is_green_and_leaves_all_that_is_promised(run_script: Runner, tmp_path: Path) -> None:
    result = run_script(SAY + REST, requires="mine.*")
    assert result.run.reasons == ()
    assert result.run.verdict is Verdict.GOOD
    assert result.run.ending is Ending.FINISHED
    assert outcomes(result) == dict.fromkeys(("mine.first", "mine.second", "other.third"), Outcome.PASS)
    place = tmp_path / "run" / result.run.directory
    names = {path.name for path in place.iterdir()}
    assert {"cell.json", "argv", "config", "console.log", "control.log", "results", "reproduce.sh"} <= names
    assert from_json(Cell, (place / "cell.json").read_text()) == result.run.cell
    assert b"Linux version" in (place / "console.log").read_bytes()


def test_the_guest_is_what_was_asked_for(run_script: Runner) -> None:
    machine = Machine(ram=192 * MIB, swap=Swap.parse("disk:64M"), cpus=1, accel=Accel.TCG, cmdline=("quux=1",))
    result = run_script(SAY + REST, machine=machine)
    facts = result.run.facts
    assert result.run.differences == ()
    assert facts is not None
    assert facts.swap_total == 64 * MIB - 4096
    assert facts.cpus == 1
    assert facts.cmdline.endswith("quux=1")
    assert result.run.accel == "tcg"


def test_asked_is_not_got(run_script: Runner) -> None:
    # maxcpus keeps one CPU down and mem takes RAM away: the guest must notice both.
    machine = replace(TINY_MACHINE, cmdline=("maxcpus=1", "mem=96M"))
    result = run_script(SAY + REST, machine=machine)
    assert {one.what for one in result.run.differences} == {"RAM", "vCPUs"}
    assert result.run.verdict is Verdict.CANNOT_TELL


def test_a_panic_is_a_result(run_script: Runner) -> None:
    result = run_script(SAY + "echo c >/proc/sysrq-trigger\nsleep 5\n")
    assert result.run.ending is Ending.PANICKED
    assert boot_outcome(result) is Outcome.CRASH
    assert result.run.phase == "script"
    assert result.run.verdict is Verdict.BAD
    assert outcomes(result)["mine.first"] is Outcome.PASS
    assert Outcome.PASS not in [outcome for name, outcome in outcomes(result).items() if name != "mine.first"]
    panics = [event for event in result.events if event.kind == "panic"]
    assert panics
    assert panics[0].lines


def test_a_panic_in_a_case_that_was_announced_is_that_cases(run_script: Runner) -> None:
    said = SAY.replace("Subtest: mine", "Subtest: script")
    result = run_script(said + "say 'ttm-harness: case script second'\necho c >/proc/sysrq-trigger\nsleep 5\n")
    assert outcomes(result)["script.second"] is Outcome.CRASH
    assert not any("?" in name for name in outcomes(result) if name.startswith("script."))


def test_a_guest_that_goes_away_is_lost(run_script: Runner) -> None:
    result = run_script(SAY + "poweroff -f\nsleep 5\n")
    assert result.run.ending is Ending.LOST
    assert result.run.verdict is Verdict.CANNOT_TELL
    assert outcomes(result)["mine.first"] is Outcome.PASS


def test_cut_ktap_is_not_green(run_script: Runner) -> None:
    result = run_script(SAY)
    assert result.run.ending is Ending.FINISHED
    assert result.run.verdict is Verdict.CANNOT_TELL
    assert Outcome.INCOMPLETE in outcomes(result).values()


def test_a_runner_that_says_nothing_is_not_green(run_script: Runner) -> None:
    result = run_script("exit 0\n")
    assert outcomes(result) == {"*": Outcome.NOT_RUN}
    assert result.run.verdict is Verdict.CANNOT_TELL


def test_skipping_what_is_required_is_not_green(run_script: Runner) -> None:
    script = SAY.replace("ok 1 first", "ok 1 first # SKIP ") + REST
    result = run_script(script, requires="mine.first")
    assert outcomes(result)["mine.first"] is Outcome.NOT_RUN
    assert result.run.verdict is Verdict.CANNOT_TELL


def test_a_flood_changes_nothing_or_is_said_to_have_cost_messages(run_script: Runner) -> None:
    line = "x" * 200
    flood = f"i=0; while [ $i -lt 15000 ]; do echo '<4>{line}'; i=$((i+1)); done >/dev/kmsg\n"
    result = run_script(SAY + flood + REST, requires="other.third", deadline=120.0)
    if result.run.verdict is Verdict.GOOD:
        assert len(outcomes(result)) == 3
    else:
        assert result.run.verdict is Verdict.CANNOT_TELL
        assert any("lost messages" in problem for problem in result.run.problems)


def test_an_oom_kill_is_an_event(run_script: Runner) -> None:
    # The runner is immune; what it starts here is not, and asks for more than there is.
    hog = """sh -c 'echo 1000 >/proc/$$/oom_score_adj; exec awk "BEGIN { s = \\"x\\"; while (1) s = s s }"'\n"""
    result = run_script(SAY + hog + REST)
    assert result.run.ending is Ending.FINISHED
    assert "oom" in {event.kind for event in result.events}


def test_a_guest_too_small_to_boot_cannot_be_told_of(run_script: Runner) -> None:
    result = run_script(SAY, machine=replace(TINY_MACHINE, ram=16 * MIB))
    assert result.run.facts is None
    assert result.run.verdict is Verdict.CANNOT_TELL
    assert "never got ready" in result.run.problems[0]


def test_a_splat_between_cases_is_bad(run_script: Runner) -> None:
    # A line that the kernel's own WARN would print; the guest has no way to warn without a module.
    splat = """
say '------------[ cut here ]------------'
say 'WARNING: mm/vmscan.c:1 at shrink_node+0x1/0x2, CPU#0: kswapd0/1'
say 'Call Trace:'
say ' kswapd+0x1/0x2'
say '---[ end trace 0000000000000000 ]---'
"""
    result = run_script(SAY + REST + splat)
    assert result.run.verdict is Verdict.BAD
    assert boot_outcome(result) is Outcome.WARN


def test_a_runner_that_says_it_could_not_work_is_no_evidence(run_script: Runner) -> None:
    result = run_script(SAY + REST + "printf 'no \\033case\\n' >&2; exit 1\n")
    assert result.run.verdict is Verdict.CANNOT_TELL
    assert result.run.problems[0] == "the runner of script could not do its work (status 1): no ?case"


def test_a_runner_that_the_kernel_killed_in_an_oops_is_bad(run_script: Runner) -> None:
    # The tiny kernel has nothing to oops with that does not panic: the lines of one, and the end that it would bring.
    oops = """
say 'BUG: kernel NULL pointer dereference, address: 0000000000000000'
say 'Oops: Oops: 0000 [#1] SMP'
say 'RIP: 0010:vmap+0x6a/0xc0'
say 'Call Trace:'
say ' vmap+0x6a/0xc0'
say '---[ end trace 0000000000000000 ]---'
kill -9 $$
"""
    result = run_script(SAY + oops)
    assert result.run.verdict is Verdict.BAD, result.run.reasons
    assert result.run.ending is Ending.FINISHED
