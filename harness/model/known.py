# SPDX-License-Identifier: GPL-2.0-only
"""Issues that somebody knows of: what they look like, why they are let pass, for how long."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class KnownIssue:
    """One entry of a file of known issues, on kernels in [since, before).

    It is an event with one of the `fingerprints`, or a failure of a case (`cases` are globs) whose message matches
    `message`, a regular expression; with both only such an event in such a case. Empty `suites` means all. `expires`
    is the last day on which it holds, as in 2027-03-31. A `rare` one need not be seen in every run.
    """

    name: str
    reason: str
    owner: str
    expires: str
    fingerprints: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()
    message: str = ""
    suites: tuple[str, ...] = ()
    since: tuple[int, int] = (0, 0)
    before: tuple[int, int] = (9999, 0)
    rare: bool = False

    def holds_for(self, version: tuple[int, int], suites: tuple[str, ...]) -> bool:
        """A boot of this kernel with these suites can show it."""
        return self.since <= version < self.before and (not self.suites or bool(set(self.suites) & set(suites)))

    def expired(self, day: str) -> bool:
        """`day` as in 2026-11-21."""
        return day > self.expires


@dataclass(frozen=True, slots=True)
class KnownIssues:
    """Where they were read, on which day that was, and all of them in the order of the file."""

    files: tuple[str, ...] = ()
    day: str = ""
    issues: tuple[KnownIssue, ...] = ()


NOTHING_KNOWN = KnownIssues()


class KnownState(StrEnum):
    """What became of a known issue in a run."""

    SEEN = "SEEN"  # it matched, and what matched does not count
    STALE = "STALE"  # boots that could have shown it did not
    RARE = "RARE"  # not seen, and need not be
    EXPIRED = "EXPIRED"  # its time is over: what matches counts again
    ELSEWHERE = "ELSEWHERE"  # for other kernels or suites than those that ran


@dataclass(frozen=True, slots=True)
class KnownUse:
    """A known issue in a report, with how many cases and events it matched (expired ones are counted, too)."""

    name: str
    state: KnownState
    reason: str
    owner: str
    expires: str
    cases: int
    events: int

    @property
    def counts_again(self) -> bool:
        """It is expired, and was seen."""
        return self.state is KnownState.EXPIRED and bool(self.cases or self.events)

    @property
    def sentence(self) -> str:
        """What a reader has to do about it; empty where that is nothing."""
        match self.state:
            case KnownState.EXPIRED:
                seen = f"and counts again: {self.matched}" if self.counts_again else "and was not seen"
                return f"known issue {self.name} expired on {self.expires} {seen} (owner: {self.owner})"
            case KnownState.STALE:
                return f"known issue {self.name} is stale: no boot showed it (owner: {self.owner})"
            case _:
                return ""

    @property
    def matched(self) -> str:
        return f"{self.cases} case{_s(self.cases)}, {self.events} event{_s(self.events)}"


def _s(count: int) -> str:
    return "" if count == 1 else "s"
