# SPDX-License-Identifier: GPL-2.0-only
"""What the pages are made of: of each run a summary, small enough that thousands of them are read at once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from harness.model.compare import Leg
from harness.model.outcome import Ending, Outcome, Verdict
from harness.model.result import Provenance
from harness.model.swap import Swap

T = TypeVar("T")
PAGE_ROWS = 200  # of a list that may be of any length
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")
_REVISION = re.compile(r"(?P<name>.+) v(?P<revision>\d{1,4}(?:\.\d+)?)", re.DOTALL)
_LONGEST = 80
_OUR_OWN = re.compile(r"(?:^index|-\d+)$")  # lists, and their further pages


@dataclass(frozen=True, slots=True)
class SiteBoot:
    """A boot of a run. `place` is its number in the run; `kills` are OOM kills, None where nobody counted them."""

    id: str
    place: int
    leg: Leg
    kernel: str
    series: str
    machine: str
    ram: int
    swap: Swap
    suites: tuple[str, ...]
    seed: int
    ending: Ending
    verdict: Verdict
    executed: int
    bad: int
    seconds: float
    kills: int | None
    kept_from: str
    figures: Mapping[str, float]

    @property
    def page(self) -> str:
        """The name of its page, beside that of the run."""
        return f"{self.place:04d}-{slug(self.id)}"


@dataclass(frozen=True, slots=True)
class SiteCase:
    """A case that was not good, and on which boot of the run (its place)."""

    suite: str
    name: str
    outcome: Outcome
    message: str
    boot: int


@dataclass(frozen=True, slots=True)
class SiteEvent:
    """A kernel event, once a run: how often it came, and in the boot of which place first. `counts` is yes, or why it
    does not count.
    """

    kind: str
    title: str
    fingerprint: str
    times: int
    boot: int
    counts: str


@dataclass(frozen=True, slots=True)
class SiteRun:
    """A kept run. `series` are labels (`NAME vN`); `specs` the words that named them to `run --series`, in the same
    order; `against` is the run that it was compared with, empty for none, and `against_of` what that was of;
    `watched_by` the nightly that made it, of whose job `plan` then is the label.
    """

    name: str
    started: str
    verdict: Verdict
    finished: bool
    plan: str
    reasons: tuple[str, ...]
    kernels: tuple[Provenance, ...]
    series: tuple[str, ...]
    specs: tuple[str, ...]
    suites: tuple[str, ...]
    boots: tuple[SiteBoot, ...]
    bad: tuple[SiteCase, ...]
    events: tuple[SiteEvent, ...]
    seconds: float
    against: str = ""
    against_of: str = ""
    watched_by: str = ""

    @property
    def day(self) -> str:
        return self.started[:10]

    @property
    def clock(self) -> str:
        return self.started[11:16]

    @property
    def executed(self) -> int:
        return sum(boot.executed for boot in self.boots)

    @property
    def bad_times(self) -> int:
        """Bad cases over all boots."""
        return sum(boot.bad for boot in self.boots)

    @property
    def versions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.tree_version for one in self.kernels))


@dataclass(frozen=True, slots=True)
class CaseSpan:
    """A case on the time axis of its boot, in seconds of the guest's clock; `anchor` is its place on the page of the
    console.
    """

    name: str
    outcome: Outcome
    start: float
    end: float
    anchor: str


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that the kernel said, on the time axis of its boot."""

    title: str
    time: float
    anchor: str
    grave: bool


@dataclass(frozen=True, slots=True)
class NightNote:
    """What a nightly adds to the page of a day: sentences, and links (words, address) to what it wrote beside."""

    day: str
    verdict: Verdict
    sentences: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()


@lru_cache(maxsize=65536)  # the same cases and figures are on the pages of all boots
def slug(text: str) -> str:
    """A name for a file: two texts never have the same one, and none leads out of its directory."""
    plain = _NOT_PLAIN.sub("-", text).strip(".-")[:_LONGEST]
    mine = plain == text and text and not _OUR_OWN.search(text)
    return plain if mine else f"{plain}-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:8]}"


def series_and_revision(label: str) -> tuple[str, str]:
    """`ttm-shrinker v8` -> its two parts; the revision is empty where the label has none."""
    match = _REVISION.fullmatch(label)
    return (match["name"], f"v{match['revision']}") if match else (label, "")


def revision_order(revision: str) -> tuple[int, int]:
    """v9 before v10."""
    major, _, minor = revision.removeprefix("v").partition(".")
    return (int(major or 0), int(minor or 0))


def cut(rows: Sequence[T], size: int = PAGE_ROWS) -> Iterator[tuple[int, Sequence[T]]]:
    """A long list as numbered pages, from 1; at least one."""
    for number in range(max(1, -(-len(rows) // size))):
        yield number + 1, rows[number * size : (number + 1) * size]


def page_name(stem: str, number: int) -> str:
    """`index.html`, `index-2.html`, …"""
    return f"{stem}.html" if number == 1 else f"{stem}-{number}.html"


def worst_verdict(verdicts: Iterable[Verdict]) -> Verdict:
    """Bad before cannot tell before good; of none nothing can be told."""
    found = set(verdicts)
    for one in (Verdict.BAD, Verdict.CANNOT_TELL, Verdict.GOOD):
        if one in found:
            return one
    return Verdict.CANNOT_TELL
