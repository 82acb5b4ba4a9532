# SPDX-License-Identifier: GPL-2.0-only
"""Base against tip: blame needs a base that did better, every time."""

from __future__ import annotations

import pytest

from harness.judge.compare import compare, standing_against_base
from harness.model.compare import Change
from harness.model.outcome import Outcome, Standing
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


def judged(base: Case | tuple[Case, ...], tip: tuple[Case, ...], alone: Standing) -> tuple[Standing, tuple[str, ...]]:
    before = base if isinstance(base, tuple) else (base,)
    return standing_against_base(compare(before, tip), Standing.GOOD, alone)


def test_a_regression_is_bad() -> None:
    assert judged(cases(P), cases(F), Standing.BAD) == (Standing.BAD, ("REGRESSED s a: 1/1 -> 0/1",))


def test_a_crash_where_the_base_only_failed_is_a_regression() -> None:
    assert judged(cases(F), cases(C), Standing.BAD)[0] is Standing.BAD


@pytest.mark.parametrize(("base", "tip"), [((F,), (F,)), ((P, P), (P, F)), ((S,), (F,)), ((C,), (F,))])
def test_without_a_better_base_nobody_is_blamed(base: tuple[Outcome, ...], tip: tuple[Outcome, ...]) -> None:
    assert judged(cases(*base), cases(*tip), Standing.BAD)[0] is Standing.CANNOT_TELL


def test_a_fix_is_good_and_said() -> None:
    assert judged(cases(F), cases(P), Standing.GOOD) == (Standing.GOOD, ("FIXED s a: 0/1 -> 1/1",))


def test_a_gap_on_the_tip_stays_a_gap() -> None:
    verdict, why = judged(cases(P), cases(N), Standing.CANNOT_TELL)
    assert (verdict, why) == (Standing.CANNOT_TELL, ("GONE s a: 1/1 -> 0/0",))


def test_a_case_that_skips_itself_out_of_the_way_is_no_green() -> None:
    others = cases(P, name="b")
    assert judged((*cases(P), *others), (*cases(S), *others), Standing.GOOD)[0] is Standing.CANNOT_TELL


def test_a_base_that_ran_nothing_makes_no_green() -> None:
    assert judged((), cases(P), Standing.GOOD)[0] is Standing.CANNOT_TELL
    assert judged(cases(N), cases(P), Standing.GOOD)[0] is Standing.CANNOT_TELL
