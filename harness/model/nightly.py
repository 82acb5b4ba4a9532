# SPDX-License-Identifier: GPL-2.0-only
"""A night: what was looked for and found, what was run of it, what came out, and what is left."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from harness.model.known import KnownUse
from harness.model.outcome import Verdict

_JOB_PLAN = re.compile(r"(?P<nightly>[a-z0-9._-]+) [0-9a-f]{16}: (?P<label>.+)", re.DOTALL)
NIGHT_SCHEMA = "ttm-harness/nightly/1"


@dataclass(frozen=True, slots=True)
class FoundKernel:
    """The kernel that a watched source has now. `spec` names it to the harness; `id` is a commit, a package's version
    or a hash of the content.
    """

    watch: str
    ref: str
    spec: str
    id: str
    label: str
    new: bool = False


@dataclass(frozen=True, slots=True)
class FoundRevision:
    """A revision of a series. `id` is made of its patch-ids, so it is the same for one that was only sent again;
    `family` is the same for all revisions of a series. `spec` names a copy in the store; `newest`: of its family.
    """

    watch: str
    family: str
    label: str
    revision: int
    date: str
    id: str
    spec: str
    message_id: str
    patches: int
    new: bool = False
    newest: bool = False


@dataclass(frozen=True, slots=True)
class Resend:
    """Mails that bring the patches of a revision that is known already, whatever number they carry."""

    watch: str
    label: str
    message_id: str
    of: str
    new: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """A plan on one kernel, or on a revision on top of it. `key` hashes all three. `family` and `series` (an id) are
    empty without a `revision`, as is `posted`, its date. `current`: it is about the newest of its kind, and so counts
    for the night's verdict.
    """

    key: str
    label: str
    watch: str
    source_watch: str
    ref: str
    kernel: str
    kernel_spec: str
    plan: str
    family: str = ""
    series: str = ""
    series_spec: str = ""
    current: bool = True
    posted: str = ""
    revision: int = 0


def job_plan(nightly: str, job: Job) -> str:
    """What the run of a job calls its plan: by that it is found again."""
    return f"{nightly} {job.key}: {job.label}"


def read_job_plan(plan: str) -> tuple[str, str]:
    """The nightly and the label that are in the name of a plan; empty and the name where it is none of a job."""
    match = _JOB_PLAN.fullmatch(plan)
    return (match["nightly"], match["label"]) if match is not None else ("", plan)


class Beside(StrEnum):
    """With what a job's run was compared."""

    PREVIOUS = "previous revision"
    BEFORE = "before"  # the same, on the kernel that the source had before


@dataclass(frozen=True, slots=True)
class Against:
    """A comparison with an earlier run. `changes` counts the cases and events that are not the same, by word."""

    beside: Beside
    run: str
    label: str
    verdict: Verdict
    changes: dict[str, int]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sighting:
    """Something bad that boots showed, and that nobody knows of: an event by its `fingerprint`, or a failed case.

    It was seen in `base_seen` of the boots without a series that ran the suite, and in `tip_seen` of those with one.
    """

    suite: str
    case: str
    fingerprint: str
    title: str
    kernel: str
    base_seen: int
    tip_seen: int

    @property
    def key(self) -> str:
        return self.fingerprint or f"{self.suite} {self.case}"

    @property
    def words(self) -> str:
        where = " ".join(filter(None, (self.suite, self.case)))
        return (
            f"{where}: {self.title} (fingerprint {self.fingerprint})"
            if self.fingerprint
            else f"{where}: {self.title}"
        )


@dataclass(frozen=True, slots=True)
class SuiteBoots:
    """How many boots of a run had the suite: without a series, and with one; those that it made itself."""

    suite: str
    base: int
    tip: int


@dataclass(frozen=True, slots=True)
class JobResult:
    """What a job came to. `left` boots were not made; `trouble` says why there is no run, or no whole one."""

    verdict: Verdict
    run: str = ""
    reasons: tuple[str, ...] = ()
    boots: int = 0
    taken_over: int = 0
    left: int = 0
    trouble: str = ""
    against: tuple[Against, ...] = ()
    sightings: tuple[Sighting, ...] = ()
    suites: tuple[SuiteBoots, ...] = ()
    known: tuple[KnownUse, ...] = ()


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job with its newest result. `since`: the night in which it was run; `tonight`: in this one."""

    job: Job
    result: JobResult
    since: str
    tonight: bool


@dataclass(frozen=True, slots=True)
class JobLeft:
    """A job, or the rest of one, that this night had no time or no room for."""

    label: str
    boots: int  # 0: not known, nothing of it was begun
    why: str


@dataclass(frozen=True, slots=True)
class ControlBoot:
    """A bug put into a kernel on purpose, which must have turned a case red. `noticed` is a word of `controls`."""

    name: str
    suite: str
    kernel: str
    noticed: str
    caught: bool
    reasons: tuple[str, ...]
    run: str
    seconds: float


class ProposalKind(StrEnum):
    SUSPECT = "suspect"  # a failure that was not there before
    KNOWN = "known"  # kernels without a series show it
    GONE = "gone"  # a known issue that no longer shows
    EXPIRED = "expired"  # a known issue whose time is over


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a person may want to change in a file of known issues. `seen` of `boots` are of kernels without
    a series.
    """

    kind: ProposalKind
    name: str
    why: str
    suite: str = ""
    case: str = ""
    fingerprint: str = ""
    title: str = ""
    kernel: str = ""
    seen: int = 0
    boots: int = 0
    since: str = ""
    run: str = ""
    expires: str = ""


@dataclass(frozen=True, slots=True)
class Night:
    """One night. Its JSON form is described by reports/schema/.

    `rows` are the jobs that were run since the night before, and those that stand for what is watched; `troubles` are
    sentences for what could not be reached, read or done. `idle`: there was nothing to do.
    """

    schema: str
    name: str
    began: str
    seconds: float
    verdict: Verdict
    reasons: tuple[str, ...]
    idle: bool
    kernels: tuple[FoundKernel, ...]
    revisions: tuple[FoundRevision, ...]
    resends: tuple[Resend, ...]
    rows: tuple[JobRow, ...]
    left: tuple[JobLeft, ...]
    control: ControlBoot | None
    troubles: tuple[str, ...]
    proposals: tuple[Proposal, ...] = ()
    proposals_file: str = ""
    removed: str = ""
    interrupted: str = ""
