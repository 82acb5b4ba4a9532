# SPDX-License-Identifier: GPL-2.0-only
"""What the index of the kept runs answers: runs, their boots, a case over the runs, what can be removed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from harness.model.compare import Comparison, Leg
from harness.model.outcome import Ending, Outcome, Verdict

RESULTS_SCHEMA = "ttm-harness/results/1"


class State(StrEnum):
    """How far a run directory came."""

    FINISHED = "finished"  # it has a report
    RUNNING = "running"  # a process works in it
    UNFINISHED = "unfinished"  # killed before its report; `run --resume` goes on with it


@dataclass(frozen=True, slots=True)
class Count:
    """How often an outcome was seen."""

    outcome: Outcome
    times: int


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A run of the store. `started` is ISO 8601 in UTC; `seconds` is the whole command, 0 where nobody measured.

    `kernels` are versions, the base last; `executed` and `bad` count cases of all boots, and `matching` those that
    were asked for.
    """

    name: str
    started: str
    state: State
    verdict: Verdict
    plan: str
    kernels: tuple[str, ...]
    series: tuple[str, ...]
    suites: tuple[str, ...]
    boots: int
    executed: int
    bad: int
    seconds: float
    matching: tuple[Count, ...] = ()


@dataclass(frozen=True, slots=True)
class KeptBoot:
    """A boot of a run. `seconds` is the boot alone; `kept_from` names the run that it was really made in."""

    name: str
    leg: Leg
    kernel: str
    profile: str
    series: str
    machine: str
    suites: tuple[str, ...]
    seed: int
    ending: Ending
    verdict: Verdict
    executed: int
    bad: int
    seconds: float
    kept_from: str


@dataclass(frozen=True, slots=True)
class PastCase:
    """One case in one run, on one kernel of it: every outcome with its count, and what it last said."""

    suite: str
    name: str
    run: str
    started: str
    leg: Leg
    kernel: str
    series: str
    outcomes: tuple[Count, ...]
    message: str


@dataclass(frozen=True, slots=True)
class SeenCase:
    """A case of one boot, as far as a comparison needs it."""

    suite: str
    name: str
    group: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Tally:
    """How often a case came out how, in one run on one kernel."""

    run: str
    leg: Leg
    kernel: str
    series: str
    suite: str
    name: str
    outcome: Outcome
    times: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """An entry of the store's runs/ that is not in the index, and why."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What bringing the index up to date came to: run directories that were read, dropped, skipped; in all."""

    schema: str
    read: int
    dropped: int
    runs: int
    cases: int
    skipped: tuple[Skipped, ...]
    set_aside: str = ""


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which runs are asked for; empty means all.

    A run fits when one of its boots fits `kernel`, `series`, `suite` and every word of `machine`, and has a case
    that fits `case` (a glob, for the whole name or
    for what follows a dot of it) with one of `outcomes`. `kernel` is a version or its beginning (`7.3`), or a glob;
    `series` a part of a name, or a glob.
    """

    kernel: str = ""
    suite: str = ""
    case: str = ""
    outcomes: tuple[Outcome, ...] = ()
    verdict: Verdict | None = None
    state: State | None = None
    series: str = ""
    machine: tuple[str, ...] = ()
    since: datetime | None = None

    @property
    def of_boots(self) -> bool:
        """Whether anything is asked of the boots, and not of the run alone."""
        return bool(self.suite or self.kernel or self.series or self.machine or self.of_cases)

    @property
    def of_cases(self) -> bool:
        """Whether anything is asked of single cases."""
        return bool(self.case or self.outcomes)


@dataclass(frozen=True, slots=True)
class Listing:
    """`results list`: runs, the newest first; `total` fit, at most the wanted number of them is here."""

    schema: str
    total: int
    runs: tuple[KeptRun, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True)
class RunDetail:
    """`results show RUN`: its boots, and every case that is not good. `against` compares with an earlier run."""

    schema: str
    run: KeptRun
    boots: tuple[KeptBoot, ...]
    cases: tuple[PastCase, ...]
    against: str = ""
    comparisons: tuple[Comparison, ...] = ()


@dataclass(frozen=True, slots=True)
class CaseHistory:
    """`results show CASE`: the newest run first."""

    schema: str
    pattern: str
    cases: tuple[PastCase, ...]


class Remains(StrEnum):
    """What can be removed from the store."""

    RUN = "run"
    BUILD = "build"  # with its objects
    OBJECTS = "objects"  # of a build that was never finished, of modules, of a gate
    SOURCE = "source"
    ROOT = "root"  # of guests
    PARCEL = "parcel"  # what another host sent
    DOWNLOAD = "download"
    DAMAGED = "damaged"  # what was set aside because it was not what it should have been
    REPLAY = "replay"  # what came of a bug of the past that was put back
    CACHE = "cache"  # the compiler's
    SEARCH = "search"  # what a bisection and its like noted beside their runs, and their reports


@dataclass(frozen=True, slots=True)
class Removal:
    """One thing to be removed, or removed. `bytes` are freed on the disk when all of the list goes."""

    what: Remains
    name: str
    bytes: int
    why: str


@dataclass(frozen=True, slots=True)
class Pruning:
    """`results prune`: what goes (`done`: is gone), what was to go and is kept, what it frees in bytes."""

    schema: str
    done: bool
    bytes: int
    removals: tuple[Removal, ...]
    kept: tuple[Skipped, ...]
