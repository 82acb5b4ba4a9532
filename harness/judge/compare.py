# SPDX-License-Identifier: GPL-2.0-only
"""Base x tip -> what changed, and whom it speaks against. Pure.

A finding counts against the tip only where the base did better in every boot; one run of something flaky is no
evidence, and what is as bad on both sides is nobody's fault here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from harness.judge.sides import Key
from harness.judge.statistics import adjusted, fisher
from harness.model.compare import Change, Comparison, EventChange
from harness.model.outcome import Outcome, Verdict
from harness.model.result import Case

LEVEL = 0.05  # of Fisher's test, on what is good and bad within one side


def compare(
    base: Iterable[Case], tip: Iterable[Case], groups: Mapping[str, str] | None = None
) -> tuple[Comparison, ...]:
    """Every case of either side, in the order of the tip, then of the base.

    `groups` has the words for the machine of each run: a case is compared with itself on the same machine only.
    """
    before, after = _by_name(base, groups or {}), _by_name(tip, groups or {})
    names = [*after, *(name for name in before if name not in after)]
    found = [_compared(name, before.get(name, ()), after.get(name, ())) for name in names]
    flaky = [place for place, one in enumerate(found) if one.change is Change.FLAKY]
    chances = adjusted([fisher(*_bad(found[place].base), *_bad(found[place].tip)) for place in flaky])
    for place, chance in zip(flaky, chances, strict=True):
        found[place] = replace(found[place], change=_flaky(found[place], chance))
    sides = ((before.get(name, ()), after.get(name, ())) for name in names)
    return tuple(_with_known(one, *both) for one, both in zip(found, sides, strict=True))


def verdict_against_base(
    comparisons: Sequence[Comparison], base: Verdict, tip: Verdict, events: Sequence[EventChange] = ()
) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict on the tip, given how both sides stand alone and what changed between them.

    Bad only with a regression. Without one a bad tip is CANNOT_TELL: its findings are on the base too, are flaky,
    or are of cases that the base has not. A good tip is good only if the base could be compared with at all and no
    case that ran there is gone.
    """
    changed = [one for one in comparisons if one.change is not Change.SAME]
    sentences = [f"{one.change} {_where(one)}: {one.counts}" for one in changed if _is_news(one)]
    regressed = [one for one in events if one.change is Change.REGRESSED]
    sentences += [f"{one.change} {one.kind} {one.fingerprint}: {one.title}: {one.counts} boots" for one in regressed]
    if regressed or any(one.change is Change.REGRESSED for one in changed):
        return Verdict.BAD, tuple(sentences)
    if tip is Verdict.BAD:
        sentences.append("nothing that is bad here was better on the base")
        return Verdict.CANNOT_TELL, tuple(sentences)
    if tip is Verdict.GOOD and not any(_side(one.base) != _NOTHING for one in comparisons):
        return Verdict.CANNOT_TELL, (*sentences, "no case was executed on the base, so there was nothing to compare")
    if tip is Verdict.GOOD and any(one.change is Change.GONE for one in changed):
        return Verdict.CANNOT_TELL, (*sentences, "what was executed on the base must be executed here, too")
    if base is Verdict.CANNOT_TELL and tip is Verdict.GOOD:
        sentences.append("the base itself was inconclusive")
    return tip, tuple(sentences)


def standing_between(
    comparisons: Sequence[Comparison], events: Sequence[EventChange] = ()
) -> tuple[Verdict, tuple[str, ...]]:
    """Is the second of two sides worse than the first? Both may be as bad as they like, as long as it is alike.

    Bad with a regression. Cannot tell where nothing was executed on both sides, where something that was executed is
    gone, where a finding has nothing to be held against, or where what is flaky may have become worse.
    """
    verdict, sentences = verdict_against_base(comparisons, Verdict.GOOD, Verdict.GOOD, events)
    if verdict is Verdict.BAD:
        return verdict, sentences
    doubts = []
    if not any(_side(one.base) != _NOTHING != _side(one.tip) for one in comparisons):
        doubts.append("no case was executed on both sides, so nothing could be compared")
    flaky = sum(one.change is Change.FLAKY and _more_often(_bad(one.base), _bad(one.tip)) for one in comparisons)
    flaky += sum(
        one.change is Change.FLAKY
        and not one.note
        and _more_often((one.base_seen, one.base_boots), (one.tip_seen, one.tip_boots))
        for one in events
    )
    if flaky:
        doubts.append(f"{flaky} flaky: worse more often here, but in too few boots to say that it is no chance")
    if new := sum(one.change is Change.NEW and any(outcome.finding for outcome in one.tip) for one in comparisons):
        doubts.append(f"{new} bad here, and not executed on the other side")
    return (Verdict.CANNOT_TELL if doubts else verdict), (*sentences, *doubts)


def _more_often(before: tuple[int, int], after: tuple[int, int]) -> bool:
    """n of m, twice: is the second the larger share?"""
    return after[0] * before[1] > before[0] * after[1]


def _is_news(one: Comparison) -> bool:
    """A case that is new is news only when it brings a finding."""
    return one.change is not Change.NEW or any(outcome.finding for outcome in one.tip)


def _where(one: Comparison) -> str:
    return f"{one.suite} {one.name} ({one.machine})" if one.machine else f"{one.suite} {one.name}"


def _by_name(cases: Iterable[Case], groups: Mapping[str, str]) -> dict[Key, tuple[Case, ...]]:
    found: dict[Key, list[Case]] = {}
    for case in cases:
        found.setdefault((groups.get(case.run, ""), case.suite, case.name), []).append(case)
    return {key: tuple(same) for key, same in found.items()}


def _compared(key: Key, base: tuple[Case, ...], tip: tuple[Case, ...]) -> Comparison:
    machine, suite, name = key
    before, after = (tuple(case.outcome for case in side) for side in (base, tip))
    known = tuple(dict.fromkeys(case.known for case in (*base, *tip) if case.known))
    return Comparison(suite, name, _change(_side(before), _side(after)), before, after, machine, known)


def _bad(outcomes: tuple[Outcome, ...]) -> tuple[int, int]:
    """How many of the outcomes that say anything are bad, and how many there are."""
    seen = [_GRAVITY[outcome] for outcome in outcomes if outcome in _GRAVITY]
    return sum(gravity > 0 for gravity in seen), len(seen)


def _flaky(one: Comparison, chance: float) -> Change:
    """Enough repeats tell that something flaky got worse, or is over; else it does not count."""
    if chance > LEVEL:
        return Change.FLAKY
    if _more_often(_bad(one.base), _bad(one.tip)):
        return Change.REGRESSED
    return Change.FLAKY if _bad(one.tip)[0] else Change.FIXED


def _with_known(one: Comparison, base: tuple[Case, ...], tip: tuple[Case, ...]) -> Comparison:
    """KNOWN where it is worse or flaky, and would not be without what is known."""
    if not one.known or one.change not in (Change.REGRESSED, Change.FLAKY):
        return one
    rest = [_side(tuple(case.outcome for case in side if not case.known)) for side in (base, tip)]
    blamed = _change(rest[0], rest[1]) in (Change.REGRESSED, Change.FLAKY)
    return one if blamed else replace(one, change=Change.KNOWN)


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
