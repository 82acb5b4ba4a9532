# SPDX-License-Identifier: GPL-2.0-only
"""Base against tip: blame needs a base that did better, every time."""

from __future__ import annotations

import pytest

from harness.judge.compare import compare, standing_between, verdict_against_base
from harness.model.compare import Change
from harness.model.outcome import Outcome, Verdict
from harness.model.result import Case

P, F, S, C, N = Outcome.PASS, Outcome.FAIL, Outcome.SKIP, Outcome.CRASH, Outcome.NOT_RUN
X = Outcome.XFAIL


def cases(*outcomes: Outcome, name: str = "a") -> tuple[Case, ...]:
    return tuple(Case("s", name, outcome) for outcome in outcomes)


@pytest.mark.parametrize(
    ("base", "tip", "change"),
    [
        ((P,), (P,), Change.SAME),
        ((F,), (F,), Change.SAME),
        ((F,), (C,), Change.REGRESSED),
        ((C,), (F,), Change.SAME),
        ((S,), (S,), Change.SAME),
        ((X,), (X,), Change.SAME),
        ((X,), (P,), Change.FIXED),
        ((P,), (X,), Change.REGRESSED),
        ((F,), (P,), Change.FIXED),
        ((P,), (F,), Change.REGRESSED),
        ((P,), (C,), Change.REGRESSED),
        ((P, P), (F, F), Change.REGRESSED),
        ((P, P), (F, P), Change.FLAKY),
        ((P, F), (P, P), Change.FLAKY),
        ((), (P,), Change.NEW),
        ((S,), (F,), Change.NEW),
        ((P,), (), Change.GONE),
        ((P,), (N,), Change.GONE),
    ],
)
def test_changes(base: tuple[Outcome, ...], tip: tuple[Outcome, ...], change: Change) -> None:
    assert [one.change for one in compare(cases(*base), cases(*tip))] == [change]


def test_counts_are_stated() -> None:
    assert compare(cases(P, F, S), cases(P, P, P))[0].counts == "1/2 -> 3/3"


def judged(base: Case | tuple[Case, ...], tip: tuple[Case, ...], alone: Verdict) -> tuple[Verdict, tuple[str, ...]]:
    before = base if isinstance(base, tuple) else (base,)
    return verdict_against_base(compare(before, tip), Verdict.GOOD, alone)


def test_a_regression_is_bad() -> None:
    assert judged(cases(P), cases(F), Verdict.BAD) == (Verdict.BAD, ("REGRESSED s a: 1/1 -> 0/1",))


def test_a_crash_where_the_base_only_failed_is_a_regression() -> None:
    assert judged(cases(F), cases(C), Verdict.BAD)[0] is Verdict.BAD


@pytest.mark.parametrize(("base", "tip"), [((F,), (F,)), ((P, P), (P, F)), ((S,), (F,)), ((C,), (F,))])
def test_without_a_better_base_nobody_is_blamed(base: tuple[Outcome, ...], tip: tuple[Outcome, ...]) -> None:
    assert judged(cases(*base), cases(*tip), Verdict.BAD)[0] is Verdict.CANNOT_TELL


def test_a_fix_is_good_and_said() -> None:
    assert judged(cases(F), cases(P), Verdict.GOOD) == (Verdict.GOOD, ("FIXED s a: 0/1 -> 1/1",))


def test_a_gap_on_the_tip_stays_a_gap() -> None:
    verdict, why = judged(cases(P), cases(N), Verdict.CANNOT_TELL)
    assert (verdict, why) == (Verdict.CANNOT_TELL, ("GONE s a: 1/1 -> 0/0",))


def test_a_case_that_skips_itself_out_of_the_way_is_no_green() -> None:
    others = cases(P, name="b")
    assert judged((*cases(P), *others), (*cases(S), *others), Verdict.GOOD)[0] is Verdict.CANNOT_TELL


def test_a_base_that_ran_nothing_makes_no_green() -> None:
    assert judged((), cases(P), Verdict.GOOD)[0] is Verdict.CANNOT_TELL
    assert judged(cases(N), cases(P), Verdict.GOOD)[0] is Verdict.CANNOT_TELL


def known(outcome: Outcome, name: str = "a") -> Case:
    return Case("s", name, outcome, known="k")


def change_of(base: tuple[Case, ...], tip: tuple[Case, ...]) -> Change:
    (one,) = compare(base, tip)
    return one.change


def test_many_repeats_tell_what_got_worse_from_what_is_flaky() -> None:
    rarely, often = cases(*(P,) * 19, F), cases(*(P,) * 8, *(F,) * 12)
    assert change_of(rarely, often) is Change.REGRESSED
    assert change_of(often, rarely) is Change.FLAKY  # better, but not over
    assert change_of(often, cases(*(P,) * 20)) is Change.FIXED
    assert change_of(rarely, cases(*(P,) * 20)) is Change.FLAKY
    assert change_of(cases(*(P,) * 3), cases(P, F, F)) is Change.FLAKY


def test_one_flaky_case_among_many_needs_more_repeats() -> None:
    """Twenty cases that fail now and then: one of them looks worse than chance by chance."""
    base = tuple(one for n in range(20) for one in cases(*(P,) * 7, F, name=f"c{n}"))
    tip = tuple(one for n in range(19) for one in cases(*(P,) * 7, F, name=f"c{n}"))
    lone = compare(cases(*(P,) * 7, F), cases(P, *(F,) * 7))
    assert [one.change for one in lone] == [Change.REGRESSED]
    among = compare(base, (*tip, *cases(P, *(F,) * 7, name="c19")))
    assert {one.change for one in among} == {Change.FLAKY}


@pytest.mark.parametrize(
    ("base", "tip", "change"),
    [
        (cases(P), (known(X),), Change.KNOWN),
        (cases(P, P), (known(X), *cases(P)), Change.KNOWN),
        (cases(P, P), (known(X), *cases(F)), Change.REGRESSED),
        ((known(X), *cases(P)), cases(P, P), Change.KNOWN),
        ((known(X),), cases(P), Change.FIXED),
        ((known(X),), (known(X),), Change.SAME),
    ],
)
def test_what_is_known_blames_nobody(base: tuple[Case, ...], tip: tuple[Case, ...], change: Change) -> None:
    (one,) = compare(base, tip)
    assert (one.change, one.known) == (change, ("k",))


def test_a_known_issue_on_the_tip_leaves_the_verdict_alone() -> None:
    assert judged(cases(P), (known(X),), Verdict.GOOD)[0] is Verdict.GOOD


@pytest.mark.parametrize(
    ("base", "tip", "verdict"),
    [
        (cases(P), cases(P), Verdict.GOOD),
        (cases(F), cases(F), Verdict.GOOD),  # as bad as before is not worse
        (cases(F), cases(P), Verdict.GOOD),
        (cases(P), cases(F), Verdict.BAD),
        (cases(P), cases(N), Verdict.CANNOT_TELL),
        ((*cases(P), *cases(S, name="b")), (*cases(P), *cases(F, name="b")), Verdict.CANNOT_TELL),
        ((*cases(P), *cases(S, name="b")), (*cases(P), *cases(P, name="b")), Verdict.GOOD),
        (cases(P, P, P), cases(P, P, F), Verdict.CANNOT_TELL),  # flaky, and worse
        (cases(P, P, F), cases(P, P, F), Verdict.GOOD),  # flaky as ever
        (cases(P, F, F), cases(P, P, P), Verdict.GOOD),
        (cases(S), cases(S), Verdict.CANNOT_TELL),
        ((), (), Verdict.CANNOT_TELL),
        (cases(P), cases(P, name="b"), Verdict.CANNOT_TELL),
    ],
)
def test_is_the_second_worse(base: tuple[Case, ...], tip: tuple[Case, ...], verdict: Verdict) -> None:
    found, why = standing_between(compare(base, tip))
    assert found is verdict
    assert bool(why) or found is Verdict.GOOD
