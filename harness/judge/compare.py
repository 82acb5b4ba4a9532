# SPDX-License-Identifier: GPL-2.0-only
"""Base x tip -> what changed, and whom it speaks against. Pure.

A finding counts against the tip only where the base did better in every boot; one run of something flaky is no
evidence, and what is as bad on both sides is nobody's fault here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.model.compare import Change, Comparison
from harness.model.outcome import Outcome, Standing
from harness.model.result import Case


def compare(
    base: Iterable[Case], tip: Iterable[Case], groups: Mapping[str, str] | None = None
) -> tuple[Comparison, ...]:
    """Every case of either side, in the order of the tip, then of the base.

    `groups` has the words for the machine of each run: a case is compared with itself on the same machine only.
    """
    before, after = _by_name(base, groups or {}), _by_name(tip, groups or {})
    names = [*after, *(name for name in before if name not in after)]
    return tuple(_compared(name, before.get(name, ()), after.get(name, ())) for name in names)


def standing_against_base(
    comparisons: Sequence[Comparison], base: Standing, tip: Standing
) -> tuple[Standing, tuple[str, ...]]:
    """The verdict on the tip, given how both sides stand alone and what changed between them.

    Bad only with a regression. Without one a bad tip cannot be told of: its findings are on the base too, are flaky,
    or are of cases that the base has not. A good tip is good only if the base could be compared with at all and no
    case that ran there is gone.
    """
    changed = [one for one in comparisons if one.change is not Change.SAME]
    sentences = [f"{one.change} {_where(one)}: {one.counts}" for one in changed if _is_news(one)]
    if any(one.change is Change.REGRESSED for one in changed):
        return Standing.BAD, tuple(sentences)
    if tip is Standing.BAD:
        sentences.append("nothing that is bad here is known to be better on the base, so nobody is blamed")
        return Standing.CANNOT_TELL, tuple(sentences)
    if tip is Standing.GOOD and not any(_side(one.base) != _NOTHING for one in comparisons):
        return Standing.CANNOT_TELL, (*sentences, "no case was executed on the base, so there was nothing to compare")
    if tip is Standing.GOOD and any(one.change is Change.GONE for one in changed):
        return Standing.CANNOT_TELL, (*sentences, "what was executed on the base must be executed here, too")
    if base is Standing.CANNOT_TELL and tip is Standing.GOOD:
        sentences.append("the base itself could not be told of in everything")
    return tip, tuple(sentences)


def _is_news(one: Comparison) -> bool:
    """A case that is new is news only when it brings a finding."""
    return one.change is not Change.NEW or any(outcome.finding for outcome in one.tip)


def _where(one: Comparison) -> str:
    return f"{one.suite} {one.name} ({one.machine})" if one.machine else f"{one.suite} {one.name}"


_Key = tuple[str, str, str]


def _by_name(cases: Iterable[Case], groups: Mapping[str, str]) -> dict[_Key, tuple[Outcome, ...]]:
    found: dict[_Key, tuple[Outcome, ...]] = {}
    for case in cases:
        key = (groups.get(case.run, ""), case.suite, case.name)
        found[key] = (*found.get(key, ()), case.outcome)
    return found


def _compared(key: _Key, base: tuple[Outcome, ...], tip: tuple[Outcome, ...]) -> Comparison:
    machine, suite, name = key
    return Comparison(suite, name, _change(_side(base), _side(tip)), base, tip, machine)


# How grave an outcome is; SKIP, NOT_RUN and INCOMPLETE say nothing. A known failure is bad all the same.
_GRAVITY = {
    Outcome.PASS: 0,
    Outcome.XFAIL: 1,
    Outcome.WARN: 2,
    Outcome.TIMEOUT: 3,
    Outcome.FAIL: 3,
    Outcome.CRASH: 4,
}
_NOTHING = (-1, -1)


def _side(outcomes: tuple[Outcome, ...]) -> tuple[int, int]:
    """The least and the greatest gravity that was seen, or _NOTHING where no boot executed the case."""
    seen = [_GRAVITY[outcome] for outcome in outcomes if outcome in _GRAVITY]
    return (min(seen), max(seen)) if seen else _NOTHING


def _change(base: tuple[int, int], tip: tuple[int, int]) -> Change:
    if base == tip == _NOTHING:
        return Change.SAME
    if base == _NOTHING:
        return Change.NEW
    if tip == _NOTHING:
        return Change.GONE
    if any(low == 0 < high for low, high in (base, tip)):
        return Change.FLAKY
    if tip[0] > base[1]:
        return Change.REGRESSED
    return Change.FIXED if tip[1] == 0 < base[0] else Change.SAME
