# SPDX-License-Identifier: GPL-2.0-only
"""Base x tip -> what changed, and whom it speaks against. Pure.

A finding counts against the tip only where the base did better in every boot; one run of something flaky is no
evidence, and what fails on both sides is nobody's fault here.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.model.compare import Change, Comparison
from harness.model.outcome import Outcome, Standing
from harness.model.result import Case


def compare(base: Iterable[Case], tip: Iterable[Case]) -> tuple[Comparison, ...]:
    """Every case of either side, in the order of the tip, then of the base."""
    before, after = _by_name(base), _by_name(tip)
    names = [*after, *(name for name in before if name not in after)]
    return tuple(_compared(name, before.get(name, ()), after.get(name, ())) for name in names)


def standing_against_base(comparisons: Iterable[Comparison], tip: Standing) -> tuple[Standing, tuple[str, ...]]:
    """The verdict on the tip, given its own standing and what changed.

    Bad only with a regression. A tip that is bad without one cannot be told of: its findings are on the base too,
    are flaky, or are of cases that the base has not.
    """
    changed = [one for one in comparisons if one.change is not Change.SAME]
    sentences = tuple(f"{one.change} {one.suite} {one.name}: {one.counts}" for one in changed if _is_news(one))
    if any(one.change is Change.REGRESSED for one in changed):
        return Standing.BAD, sentences
    if tip is Standing.BAD:
        return Standing.CANNOT_TELL, (*sentences, "what is bad here is not better on the base, so nobody is blamed")
    return tip, sentences


def _is_news(one: Comparison) -> bool:
    """GONE and NEW are news only when they hide or bring a finding."""
    if one.change is Change.NEW:
        return any(outcome.finding for outcome in one.tip)
    return True


def _by_name(cases: Iterable[Case]) -> dict[tuple[str, str], tuple[Outcome, ...]]:
    found: dict[tuple[str, str], tuple[Outcome, ...]] = {}
    for case in cases:
        key = (case.suite, case.name)
        found[key] = (*found.get(key, ()), case.outcome)
    return found


def _compared(key: tuple[str, str], base: tuple[Outcome, ...], tip: tuple[Outcome, ...]) -> Comparison:
    return Comparison(*key, _change(_side(base), _side(tip)), base, tip)


def _side(outcomes: tuple[Outcome, ...]) -> str:
    """`good`, `bad`, `mixed`, or `nothing` where no boot executed the case. A known failure is bad all the same."""
    executed = {outcome.finding or outcome is Outcome.XFAIL for outcome in outcomes if outcome.executed}
    if not executed:
        return "nothing"
    return "mixed" if len(executed) == 2 else "bad" if True in executed else "good"


def _change(base: str, tip: str) -> Change:
    if "mixed" in (base, tip):
        return Change.FLAKY
    if base == tip:
        return Change.SAME
    if base == "nothing":
        return Change.NEW
    if tip == "nothing":
        return Change.GONE
    return Change.FIXED if tip == "good" else Change.REGRESSED
