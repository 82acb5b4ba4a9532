# SPDX-License-Identifier: GPL-2.0-only
"""Known issues x results -> results in which what is known is XFAIL, and what became of every issue. Pure.

What is known is shown and counted, and never a PASS. An expired issue changes nothing, and a failure is excused only
when all that the kernel said in it is known.
"""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from harness.judge.expectations import verdict_of
from harness.judge.sides import BOOT
from harness.model.known import KnownIssue, KnownIssues, KnownState, KnownUse
from harness.model.nightly import JobResult, Sighting
from harness.model.outcome import Outcome
from harness.model.result import Case, Event, Run, Span
from harness.model.tree import version_tuple

_LONGEST_MESSAGE = 400
_BY_EVENT = (Outcome.WARN, Outcome.CRASH)
_BY_MESSAGE = (Outcome.FAIL, Outcome.TIMEOUT)


@dataclass(frozen=True, slots=True)
class WithKnownIssues:
    """The results with what is known marked, and every known issue with what it matched."""

    runs: tuple[Run, ...]
    cases: tuple[Case, ...]
    events: tuple[Event, ...]
    uses: tuple[KnownUse, ...]


@dataclass(slots=True)
class _Count:
    cases: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    could_show: set[str] = field(default_factory=set)


def excuse(
    known: KnownIssues,
    results: tuple[Sequence[Run], Sequence[Case], Sequence[Event]],
    versions: Mapping[str, tuple[int, int]],
    is_note: Callable[[str], bool],
) -> WithKnownIssues:
    """`versions`: the kernel of each build id. `is_note` tells the kinds of events that speak against nobody."""
    runs, cases, events = results
    if not known.issues:
        return WithKnownIssues(tuple(runs), tuple(cases), tuple(events), ())
    count = _Count()
    said: dict[str, tuple[list[Case], list[Event]]] = {run.id: ([], []) for run in runs}
    for case in cases:
        said[case.run][0].append(case)
    for event in events:
        said[event.run][1].append(event)
    done: list[tuple[Run, Sequence[Case], Sequence[Event]]] = []
    for run in runs:
        version = versions.get(run.cell.build_id, (0, 0))
        issues = [one for one in known.issues if one.holds_for(version, run.cell.suites)]
        count.could_show.update(one.name for one in issues)
        done.append(_Boot(run, issues, known.day, is_note, count).excused(*said[run.id]))
    return WithKnownIssues(
        tuple(run for run, _, _ in done),
        tuple(case for _, some, _ in done for case in some),
        tuple(event for _, _, some in done for event in some),
        tuple(_use(one, known.day, count) for one in known.issues),
    )


def newly_excused(known: KnownIssues, result: JobResult) -> bool:
    """Whether something that a job showed is known by now: by an issue that was not there when it was judged, or had
    another date.
    """
    judged_with = {(use.name, use.expires) for use in result.known}
    new = [one for one in known.issues if (one.name, one.expires) not in judged_with]
    return any(is_known(seen, new, known.day) for seen in result.sightings)


def is_known(seen: Sighting, issues: Iterable[KnownIssue], day: str) -> bool:
    """Whether one of the issues lets it pass on that day."""
    return any(_is_sighting(one, seen) for one in issues if not one.expired(day))


def _is_sighting(issue: KnownIssue, seen: Sighting) -> bool:
    if not issue.since <= version_tuple(seen.kernel)[:2] < issue.before:
        return False
    case = Case(seen.suite, seen.case, Outcome.FAIL, message=seen.title)
    if not seen.fingerprint:
        return _is_failure(issue, case)
    there = _is_there(issue, case) if seen.case else not issue.cases
    return seen.fingerprint in issue.fingerprints and there


@dataclass(frozen=True, slots=True)
class _Boot:
    """One boot, with the issues that its kernel and its suites can show."""

    run: Run
    issues: Sequence[KnownIssue]
    day: str
    is_note: Callable[[str], bool]
    count: _Count

    def excused(self, cases: Sequence[Case], events: Sequence[Event]) -> tuple[Run, Sequence[Case], Sequence[Event]]:
        owners = {
            (event.boot, event.span, event.fingerprint): case
            for case in cases
            for event in case.events
            if (case.suite, case.name) != BOOT
        }
        marked = [self._event(event, owners.get((event.boot, event.span, event.fingerprint))) for event in events]
        names = {(event.boot, event.span, event.fingerprint): event.known for event in marked}
        judged = [self._case(case, marked, names) for case in cases]
        if judged == list(cases):
            return self.run, cases, marked
        verdict, reasons = verdict_of((*self.run.problems, *map(str, self.run.differences)), judged)
        return replace(self.run, verdict=verdict, reasons=reasons), judged, marked

    def _event(self, event: Event, case: Case | None) -> Event:
        if event.expected:
            return event
        issue = next((one for one in self.issues if _is_event(one, event, case)), None)
        if issue is None:
            return event
        self.count.events[issue.name] += 1
        return event if issue.expired(self.day) else replace(event, known=issue.name)

    def _case(self, case: Case, events: Sequence[Event], names: Mapping[tuple[str, Span, str], str]) -> Case:
        mine = tuple(replace(one, known=names.get((one.boot, one.span, one.fingerprint), "")) for one in case.events)
        case = replace(case, events=mine) if mine != case.events else case
        if case.outcome in _BY_MESSAGE:
            return self._by_message(case)
        if case.outcome not in _BY_EVENT:
            return case
        # The end of a boot has no events of its own when they turned a case red already.
        said = self._loud(mine) or (self._loud(events) if (case.suite, case.name) == BOOT else [])
        if not said or not all(one.known for one in said):
            return case
        issue = next(one for one in self.issues if one.name == said[0].known)
        return self._known(case, issue)

    def _loud(self, events: Sequence[Event]) -> list[Event]:
        return [one for one in events if not one.expected and not self.is_note(one.kind)]

    def _by_message(self, case: Case) -> Case:
        for issue in self.issues:
            if _is_failure(issue, case) and not any(not one.known for one in self._loud(case.events)):
                if issue.expired(self.day):
                    self.count.cases[issue.name] += 1
                    return case
                return self._known(case, issue)
        return case

    def _known(self, case: Case, issue: KnownIssue) -> Case:
        self.count.cases[issue.name] += 1
        message = f"known: {issue.reason} ({case.message or case.outcome})"
        return replace(case, outcome=Outcome.XFAIL, message=message[:_LONGEST_MESSAGE], known=issue.name)


def _is_event(issue: KnownIssue, event: Event, case: Case | None) -> bool:
    if event.fingerprint not in issue.fingerprints:
        return False
    if case is None:  # outside of every case: only what is asked of no case can match
        return not issue.cases
    return _is_there(issue, case)


def _is_failure(issue: KnownIssue, case: Case) -> bool:
    if issue.fingerprints or not issue.cases or not _is_there(issue, case):
        return False
    return _compiled(issue.message).search(case.message) is not None


def _is_there(issue: KnownIssue, case: Case) -> bool:
    if issue.suites and case.suite not in issue.suites:
        return False
    return not issue.cases or any(fnmatch.fnmatchcase(case.name, glob) for glob in issue.cases)


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _use(issue: KnownIssue, day: str, count: _Count) -> KnownUse:
    cases, events = count.cases[issue.name], count.events[issue.name]
    if issue.expired(day):
        state = KnownState.EXPIRED
    elif cases or events:
        state = KnownState.SEEN
    elif issue.name not in count.could_show:
        state = KnownState.ELSEWHERE
    else:
        state = KnownState.RARE if issue.rare else KnownState.STALE
    return KnownUse(issue.name, state, issue.reason, issue.owner, issue.expires, cases, events)
