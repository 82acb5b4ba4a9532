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
        ((F,), (C,), Change.SAME),
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


def test_a_regression_is_bad() -> None:
    verdict, why = standing_against_base(compare(cases(P), cases(F)), Standing.BAD)
    assert verdict is Standing.BAD
    assert why == ("REGRESSED s a: 1/1 -> 0/1",)


@pytest.mark.parametrize(("base", "tip"), [((F,), (F,)), ((P, P), (P, F)), ((S,), (F,))])
def test_without_a_better_base_nobody_is_blamed(base: tuple[Outcome, ...], tip: tuple[Outcome, ...]) -> None:
    assert standing_against_base(compare(cases(*base), cases(*tip)), Standing.BAD)[0] is Standing.CANNOT_TELL


def test_a_fix_is_good_and_said() -> None:
    verdict, why = standing_against_base(compare(cases(F), cases(P)), Standing.GOOD)
    assert (verdict, why) == (Standing.GOOD, ("FIXED s a: 0/1 -> 1/1",))


def test_a_gap_on_the_tip_stays_a_gap() -> None:
    verdict, why = standing_against_base(compare(cases(P), cases(N)), Standing.CANNOT_TELL)
    assert verdict is Standing.CANNOT_TELL
    assert why == ("GONE s a: 1/1 -> 0/0",)
