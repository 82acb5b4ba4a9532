# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness nightly`: what is watched is looked at, what is new of it is run, and one summary tells of it.

Every start is a night. What an earlier one did not come to, because it was killed or had no time, is simply still to
be done; what it did is told by the next summary that is written. So a kill at any moment loses nothing, and nothing
is done twice.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from harness.flow.admission import Claim
from harness.flow.hosts import Hosts
from harness.flow.known_issues import SHIPPED, read_known
from harness.flow.nightly_config import NightlyConfig
from harness.flow.nightly_control import control_boot
from harness.flow.nightly_jobs import Crew, JobBudget, against, jobs_of
from harness.flow.nightly_look import Looker, NightlySurvey
from harness.flow.outbox import Outbox, send_all
from harness.flow.publish import Publisher, day_of
from harness.flow.request import Request
from harness.flow.resources import room_for_guests
from harness.flow.results import Results
from harness.judge.ageing import PastResult, proposals
from harness.judge.known import newly_excused
from harness.judge.night import verdict_of_night
from harness.judge.telling import Telling
from harness.model.errors import DeadlineExceeded, HarnessError, InfraError
from harness.model.known import KnownIssues
from harness.model.nightly import NIGHT_SCHEMA, Against, Job, JobLeft, JobResult, JobRow, Night, Proposal
from harness.model.outcome import Verdict
from harness.model.progress import MultiProgress
from harness.model.units import about_size
from harness.proc import Deadline
from harness.reports.proposals import to_proposals
from harness.store.files import locked, write_atomically
from harness.store.layout import Layout
from harness.store.ledger import Ledger, LedgerEntry, LedgerEvent, place_of, read_ledger
from harness.store.prune import PruneLimits, prune
from harness.store.runs import STAMP

_ASKED_SECONDS = 1.0
_NO_TIME = "no time left"
_AGEING_RESULTS = 400  # the newest results from which proposals are made


@dataclass(frozen=True, slots=True)
class Ends:
    """When a night is to end, on the monotonic clock; None: when all is done."""

    at: float | None = None

    @property
    def left(self) -> float | None:
        """Seconds, never below zero."""
        return None if self.at is None else max(0.0, self.at - time.monotonic())

    @property
    def over(self) -> bool:
        return self.left == 0.0


def ends_of(budget: float | None, until: tuple[int, int] | None, now: datetime) -> Ends:
    """The earlier of `budget` seconds from now and the next time that clocks here show `until`."""
    seconds = [] if budget is None else [budget]
    if until is not None:
        local = now.astimezone()
        end = local.replace(hour=until[0], minute=until[1], second=0, microsecond=0)
        end = end if end > local else end + timedelta(days=1)
        seconds.append((end - local).total_seconds())
    return Ends(time.monotonic() + min(seconds)) if seconds else Ends()


def night(
    config: NightlyConfig,
    beside: Path,
    layout: Layout,
    progress: MultiProgress,
    ends: Ends,
    hosts: Hosts | None = None,
) -> Night:
    """One night. `beside` is where paths of the config begin; `hosts` make the boots, where that is not this one.
    InfraError while another one of that name goes on.
    """
    with _alone(config, layout):
        place = place_of(layout, config.name)
        with Ledger(place) as ledger:
            return _Night(config, beside, layout, progress, ends, place, ledger, hosts).make()


def preview(config: NightlyConfig, beside: Path, layout: Layout, progress: MultiProgress) -> Night:
    """What a night would find and do; nothing is run or noted, but new series are copied to the store."""
    with _alone(config, layout):
        return _Night(config, beside, layout, progress, Ends(), place_of(layout, config.name), None).ahead()


@contextmanager
def _alone(config: NightlyConfig, layout: Layout) -> Iterator[None]:
    lock = layout.locks / f"nightly-{config.name}"
    try:
        with locked(lock, Deadline(_ASKED_SECONDS)):
            yield
    except DeadlineExceeded as error:
        if error.what != f"waiting for {lock.name}":
            raise
        raise InfraError(
            f"the nightly {config.name} is at work already, in another process",
            hint="wait for it, or end it; what it did is kept",
        ) from None


@dataclass(slots=True)
class _Past:
    """What the ledger says of the nights before."""

    entries: tuple[LedgerEntry, ...]
    since_closed: tuple[LedgerEntry, ...] = ()
    ended: dict[str, list[LedgerEntry]] = field(default_factory=dict)
    begun: dict[str, str] = field(default_factory=dict)  # the first time of each job
    control: LedgerEntry | None = None
    controls: int = 0

    @classmethod
    def of(cls, entries: tuple[LedgerEntry, ...]) -> _Past:
        past = cls(entries)
        for one in entries:
            past.take(one)
        return past

    def take(self, one: LedgerEntry) -> None:
        match one.what:
            case LedgerEvent.CLOSED:
                self.since_closed = ()
            case LedgerEvent.BEGUN if one.job is not None:
                self.begun.setdefault(one.job.key, one.at)
            case LedgerEvent.ENDED if one.job is not None:
                self.ended.setdefault(one.job.key, []).append(one)
            case LedgerEvent.CONTROL:
                self.control, self.controls = one, self.controls + 1
        if one.what in (LedgerEvent.BEGUN, LedgerEvent.ENDED, LedgerEvent.CONTROL):
            self.since_closed = (*self.since_closed, one)

    def newest(self, job: Job) -> LedgerEntry | None:
        return self.ended[job.key][-1] if job.key in self.ended else None

    def is_tonight(self, entry: LedgerEntry) -> bool:
        return any(one is entry for one in self.since_closed)

    def results(self) -> list[tuple[Job, JobResult]]:
        """All that ended, the oldest first."""
        return [(one.job, one.result) for one in self.entries if one.job is not None and one.result is not None]


class _Night:
    """One night at work."""

    def __init__(
        self,
        config: NightlyConfig,
        beside: Path,
        layout: Layout,
        progress: MultiProgress,
        ends: Ends,
        place: Path,
        ledger: Ledger | None,
        hosts: Hosts | None = None,
    ) -> None:
        self._hosts = hosts
        self._config = config
        self._beside = beside
        self._layout = layout
        self._progress = progress
        self._ends = ends
        self._place = place
        self._ledger = ledger
        self._began = datetime.now(UTC)
        self._clock = time.monotonic()
        self._past = _Past.of(read_ledger(place))
        self._name = self._free_name()
        self._left: dict[str, JobLeft] = {}
        self._against: dict[str, tuple[Against, ...]] = {}
        self._troubles: list[str] = []
        self._removed = ""
        self._known = self._read_known()

    def _free_name(self) -> str:
        """The time, which no night before may have."""
        names = {one.night for one in self._past.entries}
        moment = self._began
        while (name := moment.strftime(STAMP)) in names:
            moment += timedelta(seconds=1)
        return name

    def _read_known(self) -> KnownIssues:
        return read_known([one if one == SHIPPED else str(self._beside / one) for one in self._config.known])

    def _entry(self, what: LedgerEvent, **words: object) -> LedgerEntry:
        now = datetime.now(UTC).strftime(STAMP)
        return LedgerEntry(what, now, self._name, **words)  # type: ignore[arg-type]  # the fields of an entry

    def _note(self, entry: LedgerEntry) -> LedgerEntry:
        """On the disk, and in mind."""
        if self._ledger is not None:
            self._ledger.append(entry)
        self._past.entries = (*self._past.entries, entry)
        self._past.take(entry)
        return entry

    def _look(self) -> tuple[NightlySurvey, dict[Job, tuple[Request, ...]]]:
        parts = (self._config, self._beside, self._place, self._past.entries, self._layout, self._progress)
        look = Looker(*parts, self._entry).look()
        self._troubles += look.troubles
        return look, jobs_of(self._config, look, self._beside)

    def ahead(self) -> Night:
        look, jobs = self._look()
        for job in filter(self._is_to_do, jobs):
            self._left[job.key] = JobLeft(job.label, 0, "to be run")
        return self._told(look, jobs, idle=not self._left, aged=())

    def make(self) -> Night:
        self._note(self._entry(LedgerEvent.OPENED))
        look, jobs = self._look()
        for entry in look.notes:
            self._note(entry)
        to_do = [job for job in jobs if self._is_to_do(job)]
        self._try_control(look, bool(to_do))
        self._run_all({job: jobs[job] for job in to_do})
        self._compare(jobs)
        self._retain()
        idle = not to_do and not self._past.since_closed
        aged = self._age() if not idle else ()
        told = self._told(look, jobs, idle=idle, aged=aged)
        troubles = self._publisher.publish(told) + self._send(told)
        if troubles:  # which the summary must tell, too
            self._troubles += troubles
            told = self._told(look, jobs, idle=idle, aged=aged)
            self._publisher.publish(told)
        quiet = told.idle and not told.troubles
        self._note(self._entry(LedgerEvent.CLOSED, label=str(told.verdict), reasons=told.reasons, idle=quiet))
        return told

    def _send(self, told: Night) -> list[str]:
        def note(what: LedgerEvent, key: str, label: str) -> None:
            self._note(self._entry(what, key=key, label=label))

        outbox = Outbox(self._past.entries, note)
        return send_all(told, self._config, self._layout, self._progress, outbox)

    @property
    def _publisher(self) -> Publisher:
        parts = (self._layout, self._target, self._config.publish, self._progress, self._past.entries)
        return Publisher(*parts)

    @property
    def _target(self) -> Path:
        named = self._config.publish.directory
        return self._beside / Path(named).expanduser() if named else self._place / "published"

    def _is_to_do(self, job: Job) -> bool:
        """Never run, not to its end, or without an answer, which some more nights may bring; or bad by what is among
        the known issues by now: its boots are there, and are only judged again.
        """
        newest = self._past.newest(job)
        if newest is None or newest.result is None or newest.result.left:
            return True
        if newest.result.verdict is Verdict.BAD and newly_excused(self._known, newest.result):
            return True
        if newest.result.verdict is not Verdict.CANNOT_TELL or self._past.is_tonight(newest):
            return False
        tried = {one.night for one in self._past.ended[job.key] if one.result is not None and not one.result.left}
        return len(tried) < self._config.tries

    def _try_control(self, look: NightlySurvey, work: bool) -> None:
        """Once a night, unless nothing is to be run and the last one was caught."""
        config, last = self._config.control, self._past.control
        if config.off:
            return
        if last is not None and last.control is not None and last.control.caught:
            if self._past.is_tonight(last) or not (work or config.always):
                return
        elif last is None and not (work or config.always):
            return
        wanted = config.source or self._config.source[0].name
        kernel = next((one for one in look.kernels if one.watch == wanted), None)
        if kernel is None:
            self._troubles.append(f"no control was tried: the source {wanted} has no kernel tonight")
        elif why := self._no_room(Claim.of(config.machine).ram):
            self._troubles.append(f"no control was tried: {why}")
        else:
            tried = control_boot(config, kernel.spec, self._past.controls, self._layout, self._progress, self._hosts)
            self._note(self._entry(LedgerEvent.CONTROL, control=tried))

    def _run_all(self, jobs: Mapping[Job, tuple[Request, ...]]) -> None:
        """Each job with an equal part of the time that is left; what that leaves over goes to those not done."""
        telling = self._telling() if jobs else Telling()
        waiting = list(jobs)
        while waiting:
            again = []
            for number, job in enumerate(waiting):
                rest = len(waiting) - number
                if self._run_one(job, jobs[job], telling, rest):
                    again.append(job)
            waiting = [] if self._ends.over else again

    def _run_one(self, job: Job, requests: Sequence[Request], telling: Telling, rest: int) -> bool:
        """Whether boots are left of it that time may be found for."""
        why = _NO_TIME if self._ends.over else self._no_room(max(Claim.of(one.machine).ram for one in requests))
        if why:
            before = self._past.newest(job)
            left = before.result.left if before is not None and before.result is not None else 0
            self._left[job.key] = JobLeft(job.label, left, why)
            return False
        newest = self._past.newest(job)
        noted = newest.result.run if newest is not None and newest.result is not None else ""
        self._progress.step(f"job {job.label}")
        self._note(self._entry(LedgerEvent.BEGUN, label=job.label, job=job))
        share = JobBudget(self._layout, telling, lambda: self._share(rest))
        crew = Crew(self._config, self._layout, self._progress, self._known, self._hosts)
        result = crew.run(job, requests, self._past.begun[job.key], noted, share)
        self._note(self._entry(LedgerEvent.ENDED, label=job.label, job=job, result=result))
        self._left.pop(job.key, None)
        if result.left:
            self._left[job.key] = JobLeft(job.label, result.left, _NO_TIME)
        return bool(result.left) and not self._ends.over

    def _compare(self, jobs: Mapping[Job, tuple[Request, ...]]) -> None:
        """What ended since the last summary, with what was before it: when all is run, for a revision is run before
        the one that it came after.
        """
        for job in jobs:
            newest = self._past.newest(job)
            if (
                newest is not None
                and newest.result is not None
                and newest.result.run
                and self._past.is_tonight(newest)
            ):
                past = self._past.results()
                self._against[job.key] = tuple(against(job, newest.result, past, self._known, self._layout))

    def _share(self, rest: int) -> float | None:
        left = self._ends.left
        return None if left is None else left / rest

    def _telling(self) -> Telling:
        try:
            return Results(self._layout, self._progress).telling()
        except HarnessError as error:
            self._progress.step(f"nothing is known of what boots told before: {error.message}")
            return Telling()

    def _no_room(self, ram: int) -> str:
        """Why nothing may be begun now; empty where it may."""
        guard = self._config.guard
        free = shutil.disk_usage(self._layout.root).free
        if free < guard.disk and not self._removed:
            self._retain()
            free = shutil.disk_usage(self._layout.root).free
        if free < guard.disk:
            return f"the disk of the store has {about_size(free)} free, and [guard] wants {about_size(guard.disk)}"
        room, needed = room_for_guests(), max(ram, guard.ram)
        if self._hosts is None and room < needed:
            return f"this host has {about_size(max(0, room))} of RAM for guests, and {about_size(needed)} are needed"
        return ""

    def _retain(self) -> None:
        """What [keep] no longer keeps."""
        keep = self._config.keep
        if (keep.age, keep.size, keep.unused) == (None, None, None):
            return
        age, unused = (None if one is None else timedelta(seconds=one) for one in (keep.age, keep.unused))
        try:
            gone = prune(self._layout, PruneLimits(age=age, size=keep.size, unused=unused), datetime.now(UTC))
        except HarnessError as error:
            self._troubles.append(f"what is old could not be removed: {error.message}")
            return
        if gone.removals:
            self._removed = f"{len(gone.removals)} things of the store were removed, {about_size(gone.bytes)}"

    def _age(self) -> tuple[Proposal, ...]:
        """Proposals, written beside the person's own file, which nothing here touches."""
        results = [
            PastResult(day_of(one.night), one.result)
            for one in self._past.entries
            if one.what is LedgerEvent.ENDED and one.result is not None
        ]
        found = proposals(results[-_AGEING_RESULTS:], self._known, day_of(self._name))
        write_atomically(self._proposals_file, to_proposals(found, self._name))
        return found

    @property
    def _proposals_file(self) -> Path:
        own = [one for one in self._config.known if one != SHIPPED]
        if not own:
            return self._place / "known-issues.proposals.toml"
        file = self._beside / own[0]
        return file.with_name(f"{file.stem}.proposals.toml")

    def _told(
        self, look: NightlySurvey, jobs: Mapping[Job, tuple[Request, ...]], *, idle: bool, aged: tuple[Proposal, ...]
    ) -> Night:
        rows = tuple(self._rows(jobs))
        control = self._past.control.control if self._past.control is not None else None
        shown = control if not idle or (control is not None and not control.caught) else None
        shown = None if self._config.control.off else shown
        left = tuple(self._left.values())
        verdict, reasons = verdict_of_night(rows, left, shown, self._troubles)
        unfinished = {one.night for one in self._past.since_closed} - {self._name}
        return Night(
            schema=NIGHT_SCHEMA,
            name=self._name,
            began=self._began.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - self._clock, 1),
            verdict=verdict,
            reasons=reasons,
            idle=idle,
            kernels=look.kernels,
            revisions=look.revisions,
            resends=look.resends,
            rows=rows,
            left=left,
            control=shown,
            troubles=tuple(self._troubles),
            proposals=aged,
            proposals_file=str(self._proposals_file) if aged else "",
            removed=self._removed,
            interrupted=", ".join(sorted(unfinished)),
        )

    def _rows(self, jobs: Mapping[Job, tuple[Request, ...]]) -> Iterator[JobRow]:
        """What is watched now with its newest result, and what else ended since the last summary."""
        for job in jobs:
            newest = self._past.newest(job)
            if newest is not None and newest.result is not None:
                result = replace(newest.result, against=self._against.get(job.key, newest.result.against))
                yield JobRow(job, result, newest.night, self._past.is_tonight(newest))
        keys = {job.key for job in jobs}
        for key, entries in self._past.ended.items():
            last = entries[-1]
            if key not in keys and self._past.is_tonight(last) and last.job is not None and last.result is not None:
                yield JobRow(replace(last.job, current=False), last.result, last.night, True)
