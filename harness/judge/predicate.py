# SPDX-License-Identifier: GPL-2.0-only
"""One boot and the question of a search -> what it answers. Nothing is good that did not run. Pure."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from harness.judge.expectations import BOOT_SUITE
from harness.model.outcome import Outcome
from harness.model.result import Case, Event, Run
from harness.model.search import Answer, Predicate, Sight

_LONGEST = 200


def look(
    run: Run, cases: Sequence[Case], events: Sequence[Event], predicate: Predicate, is_note: Callable[[str], bool]
) -> Sight:
    """`is_note` says of a kind of event that it tells of no fault (an OOM kill, a taint)."""
    if invalid := next(iter((*run.problems, *map(str, run.differences))), ""):
        return _sight(Answer.NOTHING, f"no valid boot: {invalid}")
    asked = [case for case in cases if _counts(case, predicate)]
    red = [case for case in asked if _is_red(case)]
    if predicate.fingerprint:
        return _by_fingerprint(asked, red, _all_events(cases, events), predicate, is_note)
    if red:
        return _red(red, predicate, is_note)
    return _green(asked)


def learnt(predicate: Predicate, sight: Sight) -> Predicate:
    """The predicate when the first failure was seen where it must be: what fails otherwise is another failure."""
    if predicate.fingerprint or predicate.signature is not None or sight.answer is not Answer.BAD:
        return predicate
    return replace(predicate, signature=frozenset(sight.fingerprints))


def _counts(case: Case, predicate: Predicate) -> bool:
    if not predicate.red:
        return True
    return case.suite != BOOT_SUITE and any(fnmatch.fnmatchcase(case.name, glob) for glob in predicate.red)


def _is_red(case: Case) -> bool:
    """A failure that is expected of the kernel is one all the same."""
    return case.outcome.finding or case.outcome is Outcome.XFAIL


def _all_events(cases: Iterable[Case], events: Iterable[Event]) -> list[Event]:
    return [*events, *(event for case in cases for event in case.events)]


def _by_fingerprint(
    asked: Sequence[Case],
    red: Sequence[Case],
    events: Sequence[Event],
    predicate: Predicate,
    is_note: Callable[[str], bool],
) -> Sight:
    hit = next((one for one in events if one.fingerprint.startswith(predicate.fingerprint)), None)
    if hit is not None:
        return _sight(Answer.BAD, hit.title, (hit.fingerprint,))
    if red:
        return _sight(Answer.NOTHING, f"it failed in another way: {_of(red[0])}", _prints(red, is_note))
    return _green(asked)


def _red(red: Sequence[Case], predicate: Predicate, is_note: Callable[[str], bool]) -> Sight:
    prints = _prints(red, is_note)
    signature = predicate.signature
    same = signature is None or (not signature and not prints) or bool(signature & set(prints))
    if not same:
        return _sight(Answer.NOTHING, f"it failed in another way: {_of(red[0])}", prints)
    return _sight(Answer.BAD, _of(red[0]), prints)


def _green(asked: Sequence[Case]) -> Sight:
    gap = next((one for one in asked if one.outcome in (Outcome.NOT_RUN, Outcome.INCOMPLETE)), None)
    if gap is not None:
        return _sight(Answer.NOTHING, _of(gap))
    passed = sum(one.outcome is Outcome.PASS and one.suite != BOOT_SUITE for one in asked)
    if not passed:
        return _sight(Answer.NOTHING, "no case that counts was executed")
    return _sight(Answer.GOOD, f"{passed} case{'s' if passed > 1 else ''} passed")


def _prints(cases: Iterable[Case], is_note: Callable[[str], bool]) -> tuple[str, ...]:
    loud = (event for case in cases for event in case.events if not event.expected and not is_note(event.kind))
    return tuple(dict.fromkeys(event.fingerprint for event in loud))


def _of(case: Case) -> str:
    message = case.message.partition("\n")[0]
    return f"{case.outcome} {case.name}" + (f": {message}" if message else "")


def _sight(answer: Answer, why: str, fingerprints: tuple[str, ...] = ()) -> Sight:
    return Sight(answer, why[:_LONGEST], fingerprints)
