# SPDX-License-Identifier: GPL-2.0-only
"""A case that does not end costs itself alone: its deadline, a second witness, the rest in a fresh boot. For real."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.flow import deadlines
from harness.flow.collect import CellResult
from harness.model.outcome import Ending, Outcome, Verdict
from tests.functional.conftest import Runner
from tests.functional.test_endings import boot_outcome, outcomes

CASES = ("mine.first", "mine.second", "mine.third")
# A runner of three cases as suite-pressure is one; HERE is what the second does.
RUNNER = """
say() { echo "<5>$*" >/dev/kmsg; }
wanted() { case ",${HARNESS_CASES:-$1}," in *",$1,"*) ;; *) return 1 ;; esac; }
case_first() { :; }
case_second() { HERE; }
case_third() { :; }
list=
for name in NAMES; do
	wanted "$name" && list="$list $name"
done
for name in $list; do echo "mine.$name"; done >"/results/$HARNESS_SUITE.announced"
set -- $list
note announced "$HARNESS_SUITE $#"
say 'KTAP version 1'
say '1..1'
say '    KTAP version 1'
say '    # Subtest: mine'
say "    1..$#"
n=0
for name in $list; do
	n=$((n + 1))
	say "ttm-harness: case $HARNESS_SUITE $name"
	note case "$HARNESS_SUITE" "$name"
	"case_$name"
	say "    ok $n $name"
done
note cases-end "$HARNESS_SUITE"
say 'ok 1 mine'
"""
LOOP = "while :; do sleep 1; done"


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds in the place of half a minute; the guest's own pace still scales them."""
    monkeypatch.setattr(deadlines, "CASE_SECONDS", 6.0)


def runner(second: str, names: str = "first second third") -> str:
    return RUNNER.replace("HERE", second).replace("NAMES", names)


def message(result: CellResult, name: str) -> str:
    return next(case.message for case in result.cases if case.name == name)


def test_what_is_listed_and_runs_is_good(run_script: Runner) -> None:
    result = run_script(runner(":"), cases=CASES, deadline=300.0)
    assert result.run.reasons == ()
    assert result.run.notes == ()
    assert result.run.verdict is Verdict.GOOD
    assert result.run.more == ()


def test_a_case_that_vanished_is_not_green_and_one_that_is_new_is_said(run_script: Runner) -> None:
    result = run_script(runner(":", "first third"), cases=(*CASES[:2], "mine.other"), deadline=300.0)
    assert outcomes(result)["mine.second"] is Outcome.NOT_RUN
    assert outcomes(result)["mine.third"] is Outcome.PASS
    assert any("mine.third: new" in note for note in result.run.notes)
    assert result.run.verdict is Verdict.CANNOT_TELL


def test_a_runner_that_does_not_announce_its_cases_is_no_evidence(run_script: Runner) -> None:
    script = runner(":").replace("note announced", "true").replace(".announced", ".other")
    result = run_script(script, cases=CASES, deadline=300.0)
    assert result.run.verdict is Verdict.CANNOT_TELL
    assert "did not say first which cases" in result.run.problems[0]


def test_a_case_that_does_not_end_is_a_finding_and_costs_itself_alone(run_script: Runner, tmp_path: Path) -> None:
    result = run_script(runner(LOOP), cases=CASES, deadline=600.0)
    assert outcomes(result) == dict(zip(CASES, (Outcome.PASS, Outcome.TIMEOUT, Outcome.PASS), strict=True))
    assert "the case second did not end within" in message(result, "mine.second")
    assert "TIMEOUT alone in a boot of its own, too (2 of 2)" in message(result, "mine.second")
    assert result.run.ending is Ending.TIMEOUT
    assert result.run.verdict is Verdict.BAD
    assert [(one.directory, one.ending) for one in result.run.more] == [
        ("alone-1", Ending.TIMEOUT),
        ("rest-1", Ending.FINISHED),
    ]
    place = tmp_path / "run" / result.run.directory
    for folder in (place, place / "alone-1"):
        assert "sysrq w" in (folder / "stall.txt").read_text()
    for folder in (place, place / "alone-1", place / "rest-1"):
        assert {"console.log", "cell.json", "reproduce.sh", "argv"} <= {path.name for path in folder.iterdir()}
    assert next(case.boot for case in result.cases if case.name == "mine.third") == "rest-1"


def test_a_case_that_ends_when_it_is_alone_is_no_verdict(run_script: Runner) -> None:
    result = run_script(runner(f'[ -n "$HARNESS_CASES" ] || {LOOP}'), cases=CASES, deadline=600.0)
    assert outcomes(result)["mine.second"] is Outcome.INCOMPLETE
    assert "alone in a boot of its own it was PASS (1 of 2)" in message(result, "mine.second")
    assert outcomes(result)["mine.third"] is Outcome.PASS
    assert result.run.verdict is Verdict.CANNOT_TELL


def test_a_panic_costs_its_case_alone(run_script: Runner) -> None:
    result = run_script(runner("echo c >/proc/sysrq-trigger; sleep 9"), cases=CASES, deadline=600.0)
    assert outcomes(result) == dict(zip(CASES, (Outcome.PASS, Outcome.CRASH, Outcome.PASS), strict=True))
    assert boot_outcome(result) is Outcome.CRASH
    assert [one.directory for one in result.run.more] == ["rest-1"]


def test_a_cpu_that_spins_ends_the_boot_though_the_heart_beats(
    run_script: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "CASE_SECONDS", 300.0)
    monkeypatch.setattr(deadlines, "SILENCE_SECONDS", 15.0)
    spin = "modprobe lkdtm; echo SOFTLOCKUP >/sys/kernel/debug/provoke-crash/DIRECT"
    result = run_script(runner(spin), cases=CASES, deadline=900.0)
    assert result.run.ending is Ending.HUNG
    assert outcomes(result)["mine.second"] is Outcome.TIMEOUT
    assert outcomes(result)["mine.third"] is Outcome.PASS
    assert result.run.verdict is Verdict.BAD
