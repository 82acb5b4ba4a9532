# SPDX-License-Identifier: GPL-2.0-only
"""The rules of a verdict, each with a case in which it says no."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.judge.expectations import boot_case, contradictions, differences, overall, require, verdict_of
from harness.model.machine import GuestFacts, Machine, Swap
from harness.model.outcome import Ending, Outcome, Verdict
from harness.model.result import Case, Event, Span
from harness.model.suite import ExpectedFailure, Ground, MaySkip, Requirement, Suite
from harness.model.swap import SwapFacts
from harness.model.units import GIB, MIB
from harness.suites.registry import suite_named

SUITE = Suite(
    name="s",
    title="",
    script="suite-kunit",
    arguments=(),
    symbols=(),
    requirements=(Requirement("a.*", 2), Requirement("old.*", 1, before=(7, 0))),
    shares_boot=True,
    deadline=1.0,
    profile="lean",
)
V73 = (7, 3, 4)
G73 = Ground(V73)
GOOD = tuple(Case("s", f"a.{name}", Outcome.PASS) for name in "xy")
SPLAT = Event("warning", "WARNING: mm/swap.c at f", "abc", Span(1, 2))


def outcomes(cases: tuple[Case, ...]) -> list[Outcome]:
    return [case.outcome for case in cases]


def verdict(*cases: Case, problems: tuple[str, ...] = ()) -> Verdict:
    return verdict_of(problems, cases)[0]


def boot(ending: Ending = Ending.FINISHED, in_suite: bool = True, *loud: Event, fatal: bool = False) -> Case:
    return boot_case(ending, "s", in_suite, loud, fatal)


def test_what_was_required_and_ran_is_left_alone() -> None:
    assert require(SUITE, G73, GOOD) == GOOD


def test_a_missing_case_is_not_run() -> None:
    judged = require(SUITE, G73, GOOD[:1])
    assert outcomes(judged) == [Outcome.PASS, Outcome.NOT_RUN]
    assert "2 of these must be executed, 1" in judged[1].message


def test_a_required_case_that_skips_is_not_run() -> None:
    skipped = replace(GOOD[1], outcome=Outcome.SKIP)
    judged = require(SUITE, G73, (GOOD[0], skipped))
    assert outcomes(judged) == [Outcome.PASS, Outcome.NOT_RUN]
    assert judged[1].message == "required, but skipped without a reason"


def test_a_case_with_parameters_is_executed_by_any_of_them() -> None:
    suite = replace(SUITE, requirements=(Requirement("a.one", 1), Requirement("a.two", 1)))
    judged = require(suite, G73, tuple(Case("s", name, Outcome.PASS) for name in ("a.one.tgl", "a.twofold.tgl")))
    assert [one.name for one in judged if one.outcome is Outcome.NOT_RUN] == ["a.two"]


def test_a_skip_beside_enough_executed_cases_stays_a_skip() -> None:
    extra = Case("s", "a.z", Outcome.SKIP)
    assert outcomes(require(SUITE, G73, (*GOOD, extra))) == [Outcome.PASS, Outcome.PASS, Outcome.SKIP]


def test_a_requirement_of_another_version_does_not_count() -> None:
    assert outcomes(require(SUITE, Ground((6, 12, 0)), GOOD)) == [Outcome.PASS, Outcome.PASS, Outcome.NOT_RUN]


def test_a_suite_without_requirements_that_ran_nothing_is_not_run() -> None:
    silent = replace(SUITE, requirements=())
    assert outcomes(require(silent, G73, ())) == [Outcome.NOT_RUN]
    assert outcomes(require(silent, G73, (Case("s", "q", Outcome.SKIP),)))[-1] is Outcome.NOT_RUN


def test_cases_of_other_suites_do_not_count() -> None:
    others = tuple(replace(case, suite="t") for case in GOOD)
    assert outcomes(require(SUITE, G73, others)) == [Outcome.NOT_RUN]


STRICT = replace(
    SUITE,
    requirements=(),
    may_skip=(
        MaySkip("a.*", "needs swap", "none was asked for", swap=False),
        MaySkip("*", "old", "old", before=(7, 0)),
    ),
)


@pytest.mark.parametrize(
    ("message", "version", "swap", "outcome"),
    [
        ("needs swap", V73, False, Outcome.SKIP),
        ("needs swap", V73, True, Outcome.NOT_RUN),
        ("needs a GPU", V73, False, Outcome.NOT_RUN),
        ("", V73, False, Outcome.NOT_RUN),
        ("old", (6, 12, 1), True, Outcome.SKIP),
        ("old", V73, True, Outcome.NOT_RUN),
    ],
)
def test_only_declared_skips_are_skips(
    message: str, version: tuple[int, int, int], swap: bool, outcome: Outcome
) -> None:
    skipped = Case("s", "a.z", Outcome.SKIP, message=message)
    assert require(STRICT, Ground(version, swap), (GOOD[0], skipped))[1].outcome is outcome


KNOWN = replace(
    SUITE, requirements=(), expected_failures=(ExpectedFailure("a.x", "got -22", "bug 1", before=(7, 4)),)
)


@pytest.mark.parametrize(
    ("name", "message", "version", "before", "after"),
    [
        ("a.x", "expected -4, got -22", V73, Outcome.FAIL, Outcome.XFAIL),
        ("a.x", "expected -4, got -12", V73, Outcome.FAIL, Outcome.FAIL),
        ("a.x", "expected -4, got -22", (7, 4, 0), Outcome.FAIL, Outcome.FAIL),
        ("a.y", "expected -4, got -22", V73, Outcome.FAIL, Outcome.FAIL),
        ("a.x", "got -22", V73, Outcome.CRASH, Outcome.CRASH),
        ("a.x", "got -22", V73, Outcome.PASS, Outcome.PASS),
    ],
)
def test_only_a_known_failure_is_expected(
    name: str, message: str, version: tuple[int, int, int], before: Outcome, after: Outcome
) -> None:
    assert outcomes(require(KNOWN, Ground(version), (Case("s", name, before, message=message),))) == [after]


@pytest.mark.parametrize(
    ("message", "version", "after"),
    [
        ("unreferenced objects: 88 from ttm_pool_type_init", V73, Outcome.XFAIL),
        ("unreferenced objects: 88 from ttm_pool_type_init, 1 from ttm_tt_create", V73, Outcome.FAIL),
        ("unreferenced objects: 9 from ttm_tt_create, 1 from ttm_pool_type_init", V73, Outcome.FAIL),
        ("unreferenced objects: 88 from ttm_pool_type_init", (7, 4, 0), Outcome.FAIL),
    ],
)
def test_the_leak_that_is_known_hides_no_other(message: str, version: tuple[int, int, int], after: Outcome) -> None:
    case = Case("pressure", "pressure.kmemleak", Outcome.FAIL, message=message)
    assert require(suite_named("pressure"), Ground(version), (case,))[0].outcome is after


def test_a_case_executed_twice_counts_once() -> None:
    assert outcomes(require(SUITE, G73, (GOOD[0], GOOD[0])))[-1] is Outcome.NOT_RUN


def test_failed_counts_as_executed() -> None:
    failed = replace(GOOD[0], outcome=Outcome.FAIL)
    assert require(SUITE, G73, (failed, GOOD[1])) == (failed, GOOD[1])


def test_all_good_is_good() -> None:
    assert verdict(*GOOD) is Verdict.GOOD


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.CRASH, Outcome.TIMEOUT, Outcome.WARN])
def test_one_finding_is_bad(outcome: Outcome) -> None:
    assert verdict(*GOOD, Case("s", "a.z", outcome)) is Verdict.BAD


@pytest.mark.parametrize("outcome", [Outcome.NOT_RUN, Outcome.INCOMPLETE])
def test_one_gap_is_no_green(outcome: Outcome) -> None:
    assert verdict(*GOOD, Case("s", "a.z", outcome)) is Verdict.CANNOT_TELL


def test_skips_alone_are_no_green() -> None:
    assert verdict(Case("s", "a.z", Outcome.SKIP)) is Verdict.CANNOT_TELL
    assert verdict() is Verdict.CANNOT_TELL


@pytest.mark.parametrize(
    ("ending", "in_suite", "expected"),
    [
        (Ending.FINISHED, True, Verdict.GOOD),
        (Ending.PANICKED, True, Verdict.BAD),
        (Ending.HUNG, True, Verdict.BAD),
        (Ending.PANICKED, False, Verdict.CANNOT_TELL),
        (Ending.HUNG, False, Verdict.CANNOT_TELL),
        (Ending.LOST, True, Verdict.CANNOT_TELL),
        (Ending.TIMEOUT, True, Verdict.CANNOT_TELL),
    ],
)
def test_endings(ending: Ending, in_suite: bool, expected: Verdict) -> None:
    assert verdict(*GOOD, boot(ending, in_suite)) is expected


def test_the_boot_alone_is_no_green() -> None:
    assert verdict(boot()) is Verdict.CANNOT_TELL


def test_a_problem_makes_findings_no_evidence_but_keeps_them() -> None:
    why = verdict_of(("the RAM is wrong",), (Case("s", "x", Outcome.FAIL), boot()))
    assert why == (Verdict.CANNOT_TELL, ("the RAM is wrong", "1 case FAIL"))


def test_a_splat_that_turned_no_case_red_is_bad() -> None:
    verdict, why = verdict_of((), (*GOOD, boot(Ending.FINISHED, True, SPLAT)))
    assert verdict is Verdict.BAD
    assert why == ("WARNING: mm/swap.c at f; outside every case that could turn red",)


def test_a_hung_task_makes_a_timeout_bad() -> None:
    assert verdict(*GOOD, boot(Ending.TIMEOUT, True, SPLAT)) is Verdict.BAD


def test_an_oops_is_a_crash() -> None:
    assert boot(Ending.FINISHED, True, SPLAT, fatal=True).outcome is Outcome.CRASH


def test_what_the_kernel_recorded_itself_contradicts_the_console() -> None:
    own = (replace(GOOD[0], outcome=Outcome.FAIL),)
    assert len(contradictions("s", GOOD, own)) == 1
    assert contradictions("s", GOOD, GOOD) == ()
    assert contradictions("s", own, own) == ()


def test_overall() -> None:
    assert overall([Verdict.GOOD, Verdict.GOOD]) is Verdict.GOOD
    assert overall([Verdict.GOOD, Verdict.CANNOT_TELL]) is Verdict.CANNOT_TELL
    assert overall([Verdict.CANNOT_TELL, Verdict.BAD]) is Verdict.BAD
    assert overall([]) is Verdict.CANNOT_TELL


# What a 256 MiB guest of 7.3.4 reported.
FACTS = GuestFacts(
    release="7.3.4",
    cmdline="ro panic=-1",
    cpus=2,
    ram=267889664,
    mem_total=250699776,
    mem_free=235966464,
    swap_total=1073737728,
    seed="5",
    taint=0,
    swaps=(SwapFacts(1073737728, -1),),
)


def unlike(facts: GuestFacts, machine: Machine | None = None) -> list[str]:
    return [one.what for one in differences(machine or Machine(), "7.3.4", "ro panic=-1", 5, facts)]


def test_asked_is_got() -> None:
    assert unlike(FACTS) == []
    assert unlike(replace(FACTS, swap_total=0, swaps=()), Machine(swap=Swap())) == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"ram": 128 * MIB}, "RAM"),
        ({"ram": 512 * MIB}, "RAM"),
        ({"swap_total": 0}, "swap"),
        ({"swap_total": 2 * GIB}, "swap"),
        ({"cpus": 1}, "vCPUs"),
        ({"release": "7.3.4-dirty"}, "kernel release"),
        ({"cmdline": "ro"}, "kernel command line"),
        ({"seed": ""}, "seed"),
        ({"taint": 512}, "taint before the first suite"),
    ],
)
def test_asked_is_not_got(change: dict[str, int | str], what: str) -> None:
    assert unlike(replace(FACTS, **change)) == [what]  # type: ignore[arg-type]


def test_swap_where_none_was_asked_for() -> None:
    assert unlike(FACTS, Machine(swap=Swap())) == ["swap"]
