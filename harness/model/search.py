# SPDX-License-Identifier: GPL-2.0-only
"""What the searches are about: the question that each boot answers, and what was seen.

A search boots something, looks whether it fails in the way that is looked for, and decides by that what to boot next.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Answer(StrEnum):
    """What one boot says to the question of a search."""

    BAD = "bad"  # it failed, in the way that is looked for
    GOOD = "good"  # all that was to run ran, and did not fail
    NOTHING = "nothing"  # no evidence: not built, not as asked for, or it failed in another way


@dataclass(frozen=True, slots=True)
class Predicate:
    """When a boot is bad.

    `red` are globs over whole names of cases (`pressure.hog_beside`): only these count, and without them all that
    ran, and the boot itself. With `fingerprint` (its beginning is enough) only an event that has it is bad.
    `signature`: the fingerprints of what was seen to die where it is bad; a failure that has others is another one,
    and no evidence. None: not known yet, or every failure counts.
    """

    red: tuple[str, ...] = ()
    fingerprint: str = ""
    signature: frozenset[str] | None = None

    def __str__(self) -> str:
        if self.fingerprint:
            return f"an event with the fingerprint {self.fingerprint}"
        return f"a red {' or '.join(self.red)}" if self.red else "anything red"


@dataclass(frozen=True, slots=True)
class Sight:
    """One boot as an answer. `why` is a sentence for it, `fingerprints` those of the events that speak for it; `boot`
    is its folder in the run `run` (empty where nothing was booted), `kept`: it had been made before the search asked.
    """

    answer: Answer
    why: str = ""
    fingerprints: tuple[str, ...] = ()
    seed: int = 0
    run: str = ""
    boot: str = ""
    seconds: float = 0.0
    kept: bool = False

    @property
    def words(self) -> str:
        """The answer with its reason and where to look."""
        place = f"  ({self.run}/{self.boot})" if self.run else ""
        return f"{self.answer}{': ' if self.why else ''}{self.why}{place}"


@dataclass(frozen=True, slots=True)
class BootVotes:
    """How many boots said what."""

    bad: int = 0
    good: int = 0
    nothing: int = 0

    @classmethod
    def of(cls, sights: tuple[Sight, ...] | list[Sight]) -> BootVotes:
        counts = [sum(one.answer is answer for one in sights) for answer in (Answer.BAD, Answer.GOOD, Answer.NOTHING)]
        return cls(*counts)

    @property
    def evidence(self) -> int:
        return self.bad + self.good

    def __str__(self) -> str:
        """`2/3 bad`, n of m; what said nothing is named beside it."""
        words = f"{self.bad}/{self.evidence} bad" if self.evidence else "no evidence"
        return words + (f", {self.nothing} no evidence" if self.nothing and self.evidence else "")


class BisectResult(StrEnum):
    """How a bisection ended."""

    FOUND = "found"
    GOOD_END_IS_BAD = "the good end is bad"
    BAD_END_IS_GOOD = "the bad end is good"
    UNSURE = "cannot tell"

    @property
    def exit_status(self) -> int:
        """The first bad one is a finding; ends that are not as they were said to be are a mistake in the input."""
        return {BisectResult.FOUND: 1, BisectResult.UNSURE: 3}.get(self, 2)


@dataclass(frozen=True, slots=True)
class CandidateSeen:
    """A candidate of a bisection and what was seen of it; `unfit` says why it cannot be had."""

    number: int
    label: str
    version: str
    build_id: str
    sights: tuple[Sight, ...]
    unfit: str = ""

    @property
    def tally(self) -> BootVotes:
        return BootVotes.of(self.sights)


BISECT_SCHEMA = "ttm-harness/bisect/1"


@dataclass(frozen=True, slots=True)
class BisectOutput:
    """What a bisection came to. The first bad candidate is one of those numbered `first` to `last`, at `odds` of 1 as
    things stand; `rate`: how often something bad fails. `command` asks the same question again; `mail` is a draft.
    """

    schema: str
    found: BisectResult
    question: str
    first: int
    last: int
    odds: float
    confidence: float
    rate: float
    boots: int
    kept: int
    seconds: float
    candidates: tuple[CandidateSeen, ...]
    command: str
    why: str = ""
    mail: str = ""

    @property
    def suspects(self) -> tuple[CandidateSeen, ...]:
        return self.candidates[self.first : self.last + 1] if self.found is BisectResult.FOUND else ()


MINIMISE_SCHEMA = "ttm-harness/minimise/1"


@dataclass(frozen=True, slots=True)
class Shrunk:
    """One thing of a boot, before and after, as people write them."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class MinimiseOutput:
    """What was made of a boot that failed. `failed`: it did so again at all; `finished`: nothing smaller is left to
    try. `whole` and `smallest` count the boots of each; `plan` is a plan file, `command` does the same as that.
    `bundle` is the hash that names one of the smallest; else `no_bundle` says why there is none.
    """

    schema: str
    boot: str
    question: str
    failed: bool
    finished: bool
    whole: BootVotes
    smallest: BootVotes
    shrunk: tuple[Shrunk, ...]
    boots: int
    kept: int
    seconds: float
    plan: str
    command: str
    sights: tuple[Sight, ...] = ()
    bundle: str = ""
    no_bundle: str = ""

    @property
    def exit_status(self) -> int:
        """It still fails: a finding. That it did not fail again is no word about the kernel."""
        return 1 if self.failed else 3
