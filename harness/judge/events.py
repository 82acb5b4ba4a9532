# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel said on base and tip -> which of it is new, gone or as it was, by fingerprint. Pure.

An event speaks against the tip only when the base came well through the case in which it shows, without it, and as
often as the repeats need to tell: always against never, or so that Fisher's test bears it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from harness.judge.sides import BOOT, Key, Side
from harness.judge.statistics import adjusted, fisher
from harness.model.compare import Change, EventChange
from harness.model.outcome import Outcome
from harness.model.result import Event

LEVEL = 0.05
# Outcomes of a case that was come through: after a failure or a crash the rest of it was perhaps never reached.
_CAME_THROUGH = (Outcome.PASS, Outcome.XFAIL, Outcome.WARN)


@dataclass(slots=True)
class _Seen:
    """A fingerprint on one machine: the runs of each side that had it, and where."""

    event: Event
    places: dict[tuple[str, str], None] = field(default_factory=dict)
    base: set[str] = field(default_factory=set)
    tip: set[str] = field(default_factory=set)
    known: dict[str, None] = field(default_factory=dict)
    unknown_on_tip: bool = False
    expected: bool = True


def compare_events(base: Side, tip: Side, is_note: Callable[[str], bool]) -> tuple[EventChange, ...]:
    """Every fingerprint of either side, those of the tip first; `is_note` tells kinds that are wrong only where
    somebody says so.
    """
    seen: dict[tuple[str, str], _Seen] = {}
    _collect(tip, seen, on_tip=True)
    _collect(base, seen, on_tip=False)
    before, after = base.executed(_CAME_THROUGH), tip.executed(_CAME_THROUGH)
    found = [_counted(group, one, before, after, is_note) for (group, _), one in seen.items()]
    doubtful = [place for place, one in enumerate(found) if _is_doubtful(one)]
    chances = adjusted([_chance(found[place]) for place in doubtful])
    for place, chance in zip(doubtful, chances, strict=True):
        found[place] = replace(found[place], change=_flaky(found[place], chance))
    return tuple(_with_known(change, one) for change, one in zip(found, seen.values(), strict=True))


def _collect(side: Side, seen: dict[tuple[str, str], _Seen], on_tip: bool) -> None:
    owners = {
        (case.run, event.boot, event.span, event.fingerprint): (case.suite, case.name)
        for case in side.cases
        for event in case.events
        if (case.suite, case.name) != BOOT
    }
    for event in side.events:
        one = seen.setdefault((side.group(event.run), event.fingerprint), _Seen(event))
        one.places[owners.get((event.run, event.boot, event.span, event.fingerprint), BOOT)] = None
        (one.tip if on_tip else one.base).add(event.run)
        one.expected = one.expected and bool(event.expected)
        if event.known:
            one.known[event.known] = None
        elif on_tip:
            one.unknown_on_tip = True


def _counted(
    group: str, one: _Seen, before: dict[Key, set[str]], after: dict[Key, set[str]], is_note: Callable[[str], bool]
) -> EventChange:
    boots = [
        set[str]().union(runs, *(executed.get((group, *place), ()) for place in one.places))
        for runs, executed in ((one.base, before), (one.tip, after))
    ]
    return _judged(
        EventChange(
            kind=one.event.kind,
            title=one.event.title,
            fingerprint=one.event.fingerprint,
            change=Change.SAME,
            base_seen=len(one.base),
            base_boots=len(boots[0]),
            tip_seen=len(one.tip),
            tip_boots=len(boots[1]),
            cases=tuple(f"{suite} {name}" for suite, name in one.places),
            note=one.expected or is_note(one.event.kind),
            machine=group,
            known=tuple(one.known),
        )
    )


def _judged(one: EventChange) -> EventChange:
    """Where both sides are all or nothing there is no chance to reckon with."""
    if not one.base_boots:
        return replace(one, change=Change.NEW)
    if not one.tip_boots:
        return replace(one, change=Change.GONE)
    if _is_doubtful(one):
        return replace(one, change=Change.FLAKY)
    if bool(one.base_seen) == bool(one.tip_seen):
        return one
    return replace(one, change=_worse(one) if one.tip_seen else _better(one))


def _worse(one: EventChange) -> Change:
    return Change.NEW if one.note else Change.REGRESSED


def _better(one: EventChange) -> Change:
    return Change.GONE if one.note else Change.FIXED


def _is_doubtful(one: EventChange) -> bool:
    if one.note and one.base_seen * one.tip_boots == one.tip_seen * one.base_boots:
        return False  # the taint of a module that not every boot loads, say
    sides: Sequence[tuple[int, int]] = ((one.base_seen, one.base_boots), (one.tip_seen, one.tip_boots))
    return all(boots for _, boots in sides) and any(0 < seen < boots for seen, boots in sides)


def _chance(one: EventChange) -> float:
    return fisher(one.base_seen, one.base_boots, one.tip_seen, one.tip_boots)


def _flaky(one: EventChange, chance: float) -> Change:
    if chance > LEVEL:
        return Change.FLAKY
    if one.tip_seen * one.base_boots > one.base_seen * one.tip_boots:
        return _worse(one)
    return Change.FLAKY if one.tip_seen else _better(one)


def _with_known(change: EventChange, one: _Seen) -> EventChange:
    excused = change.change in (Change.REGRESSED, Change.FLAKY) and change.known and not one.unknown_on_tip
    return replace(change, change=Change.KNOWN) if excused else change
