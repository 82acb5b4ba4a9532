# SPDX-License-Identifier: GPL-2.0-only
"""What a person may want to change in a file of known issues, from what the nights showed. Pure.

A failure that is new is a suspect. One that kernels without a series show again and again is proposed as known, with
an expiry. A known issue that no longer shows, or whose time is over, is proposed for removal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from harness.judge.known import is_known
from harness.model.known import KnownIssues, KnownState
from harness.model.nightly import JobResult, Proposal, ProposalKind, Sighting

SEEN_BEFORE_KNOWN = 2  # boots without a series that showed it: one could be chance
NOT_SEEN_BEFORE_GONE = 3  # runs in a row that could have shown a known issue, and did not
FORGOTTEN_AFTER = 20  # runs in a row without a suspect: nobody need look at it any more
HOLDS_FOR = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class PastResult:
    """A job's result, and the day (as in 2026-11-21) of its night."""

    day: str
    result: JobResult


@dataclass(slots=True)
class _Seen:
    """What is told by one fingerprint, or is one failed case, over all results."""

    first: Sighting
    since: str
    run: str
    newest: Sighting
    age: int = 0  # results since it was seen last
    base_seen: int = 0


def proposals(results: Sequence[PastResult], known: KnownIssues, day: str) -> tuple[Proposal, ...]:
    """From all results, the oldest first; `known` is what is in the files now."""
    seen: dict[str, _Seen] = {}
    boots: dict[str, int] = {}
    for number, one in enumerate(results):
        for count in one.result.suites:
            boots[count.suite] = boots.get(count.suite, 0) + count.base
        for sighting in one.result.sightings:
            entry = seen.setdefault(sighting.key, _Seen(sighting, one.day, one.result.run, sighting))
            entry.newest, entry.age = sighting, len(results) - 1 - number
            entry.base_seen += sighting.base_seen
    unknown = {key: one for key, one in seen.items() if not is_known(one.newest, known.issues, known.day)}
    names = {one.name for one in known.issues}
    return (*_unknown(unknown, boots, _excused(results), day), *_aged(results, names, day))


def _excused(results: Sequence[PastResult]) -> bool:
    """Whether the newest result was judged with known issues at all."""
    return bool(results) and bool(results[-1].result.known)


def _unknown(seen: dict[str, _Seen], boots: dict[str, int], excused: bool, day: str) -> Iterator[Proposal]:
    for key, one in seen.items():
        # What is known by now is seen no more: it does not count as one of these.
        if one.age >= FORGOTTEN_AFTER or (excused and one.age >= NOT_SEEN_BEFORE_GONE):
            continue
        total = boots.get(one.first.suite, 0)
        kind = ProposalKind.KNOWN if one.base_seen >= SEEN_BEFORE_KNOWN else ProposalKind.SUSPECT
        of = (
            f"in {one.base_seen} of {total} boots without a series"
            if total
            else "no boot without a series had its suite"
        )
        why = of if kind is ProposalKind.KNOWN else f"new on {one.since}; {of}"
        yield Proposal(
            kind=kind,
            name=_name(key, one.first),
            why=why,
            suite=one.newest.suite,
            case=one.newest.case,
            fingerprint=one.newest.fingerprint,
            title=one.newest.title,
            kernel=one.newest.kernel,
            seen=one.base_seen,
            boots=total,
            since=one.since,
            run=one.run,
            expires=(date.fromisoformat(day) + HOLDS_FOR).isoformat() if kind is ProposalKind.KNOWN else "",
        )


def _name(key: str, sighting: Sighting) -> str:
    """A handle as files of known issues have them."""
    words = key if sighting.fingerprint else f"{sighting.suite}-{sighting.case}"
    plain = "".join(sign if sign.isascii() and sign.isalnum() else "-" for sign in words.lower()).strip("-")
    return f"event-{plain}"[:64] if sighting.fingerprint else plain[:64] or "failure"


def _aged(results: Sequence[PastResult], names: set[str], day: str) -> Iterator[Proposal]:
    stale: dict[str, int] = {}
    last: dict[str, PastResult] = {}
    again: dict[str, str] = {}  # expired ones that were seen: when last, and how often
    for one in results:
        for use in one.result.known:
            if use.counts_again:
                again[use.name] = f"still seen on {one.day}: {use.matched}"
            if use.state is KnownState.STALE:
                stale[use.name] = stale.get(use.name, 0) + 1
            elif use.state is KnownState.SEEN:
                stale[use.name] = 0
            if use.state is not KnownState.ELSEWHERE:
                last[use.name] = one
    for name, one in last.items():
        if name not in names:
            continue
        use = next(use for use in one.result.known if use.name == name)
        if use.state is KnownState.EXPIRED and use.expires < day:
            seen = again.get(name, "not seen since")
            yield Proposal(ProposalKind.EXPIRED, name, f"expired on {use.expires}, {seen} (owner: {use.owner})")
        elif stale.get(name, 0) >= NOT_SEEN_BEFORE_GONE:
            why = f"not seen in the last {stale[name]} runs that could have shown it (owner: {use.owner})"
            yield Proposal(ProposalKind.GONE, name, why)
