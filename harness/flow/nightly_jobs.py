# SPDX-License-Identifier: GPL-2.0-only
"""The jobs of a night: from what was found to requests of `run`, each run once however often the night is killed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from harness.flow.compare import CompareOptions, compare_runs
from harness.flow.comparison import is_note
from harness.flow.history import read_history
from harness.flow.hosts import Hosts
from harness.flow.nightly_config import NightlyConfig
from harness.flow.nightly_look import NightlySurvey
from harness.flow.planfile import Axes, OptionalSeries
from harness.flow.plans import Extras, load_plan, requests_of
from harness.flow.request import Request
from harness.flow.run import RunOptions, execute, resume
from harness.flow.run_loader import read_report
from harness.flow.run_record import Planned, load_record
from harness.judge.telling import Telling
from harness.model.codec import to_json
from harness.model.compare import Change, Leg
from harness.model.errors import HarnessError, UserError
from harness.model.known import KnownIssues
from harness.model.nightly import (
    Against,
    Beside,
    FoundKernel,
    FoundRevision,
    Job,
    JobResult,
    Sighting,
    SuiteBoots,
    job_plan,
)
from harness.model.outcome import Outcome, Verdict
from harness.model.progress import MultiProgress
from harness.model.result import Case, Event, Report, Run
from harness.model.series import SeriesSpec
from harness.model.tree import SourceSpec
from harness.store.journal import Step, read_journal
from harness.store.layout import Layout
from harness.store.runs import run_directories

_SHOWN_REASONS = 12
_UNKNOWN_SECONDS = 60.0  # of a boot unlike all that were made
_FAILED = (Outcome.FAIL, Outcome.TIMEOUT)


def jobs_of(config: NightlyConfig, look: NightlySurvey, beside: Path) -> dict[Job, tuple[Request, ...]]:
    """Every job that what was found comes to: revisions first, then kernels, then what there is a newer one of."""
    found: dict[Job, tuple[Request, ...]] = {}
    sources = {one.name: one for one in config.source}
    for series in config.series:
        for revision in (one for one in look.revisions if one.watch == series.name):
            for kernel in (one for one in look.kernels if one.watch in series.sources):
                found |= _job(kernel, revision, config.plan_of(series), beside)
    for kernel in look.kernels:
        if not sources[kernel.watch].only_for_series:
            found |= _job(kernel, None, config.plan_of(sources[kernel.watch]), beside)
    order = sorted(found, key=lambda job: (not job.current, not job.family))
    return {job: found[job] for job in order}


def _job(
    kernel: FoundKernel, revision: FoundRevision | None, plan: str, beside: Path
) -> dict[Job, tuple[Request, ...]]:
    """The plan on this kernel; its own word for source and series gives way."""
    series = () if revision is None else (OptionalSeries(SeriesSpec.parse(revision.spec)),)
    said = Axes(source=(SourceSpec.parse(kernel.spec),), series=series)
    requests = requests_of(load_plan(plan, beside), said, Extras())
    words = (kernel.id, revision.id if revision is not None else "", *map(to_json, requests))
    job = Job(
        key=hashlib.sha256("\0".join(words).encode()).hexdigest()[:16],
        label=f"{revision.label} on {kernel.label}" if revision is not None else f"{kernel.watch} {kernel.label}",
        watch=revision.watch if revision is not None else kernel.watch,
        source_watch=kernel.watch,
        ref=kernel.ref,
        kernel=kernel.id,
        kernel_spec=kernel.spec,
        plan=plan,
        family=revision.family if revision is not None else "",
        series=revision.id if revision is not None else "",
        series_spec=revision.spec if revision is not None else "",
        current=revision is None or revision.newest,
        posted=revision.date if revision is not None else "",
        revision=revision.revision if revision is not None else 0,
    )
    return {job: requests}


class JobBudget:
    """A job's part of the night: its boots by what they told before, until its seconds are over.

    The seconds are asked for when the boots begin. One boot is always made, so that every night gets on.
    """

    def __init__(self, layout: Layout, telling: Telling, seconds: Callable[[], float | None]) -> None:
        self._telling = telling
        self._seconds = seconds
        self._history = read_history(layout)
        self._ends: float | None = None
        self._begun = 0

    def opens(self, planned: Sequence[Planned]) -> None:
        seconds = self._seconds()
        self._ends = None if seconds is None else time.monotonic() + seconds

    def worth(self, planned: Planned) -> float:
        """How much it is likely to tell for each second that it takes."""
        told = self._telling.of(str(planned.cell.machine), planned.cell.suites)
        seconds = self._history.seconds.get(planned.shape)  # of a cell of its own, base and tip would not be alike
        return told / max(1.0, median(seconds) if seconds else _UNKNOWN_SECONDS)

    def begins(self, planned: Planned) -> bool:
        expected = self._history.expected(planned) or 0.0
        fits = self._ends is None or time.monotonic() + expected <= self._ends
        if fits or not self._begun:
            self._begun += 1
            return True
        return False


@dataclass(frozen=True, slots=True)
class Crew:
    """What all jobs of a night are run with; `hosts` make the boots, where that is not this one."""

    config: NightlyConfig
    layout: Layout
    progress: MultiProgress
    known: KnownIssues
    hosts: Hosts | None = None

    def name_of(self, job: Job) -> str:
        return job_plan(self.config.name, job)

    def run(self, job: Job, requests: Sequence[Request], since: str, noted: str, pace: JobBudget) -> JobResult:
        """The job, from where an earlier attempt was killed or had no time left; runs from the stamp `since` on may
        be that. The run `noted` is the one whose result is known. What goes wrong is the result's `trouble`.
        """
        try:
            report, directory = self._run(job, requests, since, noted, pace)
        except HarnessError as error:
            return JobResult(Verdict.CANNOT_TELL, trouble=error.message)
        return result_of(job, report, len(load_record(directory).cells))

    def _run(
        self, job: Job, requests: Sequence[Request], since: str, noted: str, pace: JobBudget
    ) -> tuple[Report, Path]:
        earlier = self._earlier(job, since)
        if earlier is not None and _is_whole(earlier) and earlier.name != noted:
            return read_report(earlier), earlier  # killed after its end, before anybody noted it
        if earlier is not None and not _is_whole(earlier):
            try:
                options = (self.config.parallel, self.config.jobs, pace)
                return resume(self.layout, earlier.name, self.progress, *options, hosts=self.hosts)
            except UserError as error:
                self.progress.step(f"{earlier.name} is not gone on with: {error.message}")
        options_anew = RunOptions(
            self.name_of(job),
            self.config.parallel,
            fresh=False,
            known=self.known,
            jobs=self.config.jobs,
            pace=pace,
            hosts=self.hosts,
        )
        return execute(requests, self.layout, self.progress, options_anew)

    def _earlier(self, job: Job, since: str) -> Path | None:
        """The newest run of the job that has begun to boot."""
        name = self.name_of(job)
        for directory in run_directories(self.layout):
            if directory.name < since:
                break
            try:
                if load_record(directory).plan == name:
                    return directory
            except HarnessError:
                continue
        return None


def _is_whole(directory: Path) -> bool:
    ends = [one.step for one in read_journal(directory) if one.step in (Step.ENDED, Step.RESUMED)]
    return bool(ends) and ends[-1] is Step.ENDED


def result_of(job: Job, report: Report, cells: int) -> JobResult:
    """What a night keeps of a report."""
    sides = _Sides(job, report)
    return JobResult(
        verdict=report.verdict,
        run=report.id,
        reasons=report.reasons[:_SHOWN_REASONS],
        boots=len(report.runs),
        taken_over=sum(bool(run.kept_from) for run in report.runs),
        left=cells - len(report.runs),
        sightings=tuple(sides.sightings()),
        suites=tuple(sides.suites()),
        known=report.known,
    )


class _Sides:
    """The boots that a run made itself, and that are evidence, told apart by whether a series is in their kernel."""

    def __init__(self, job: Job, report: Report) -> None:
        self._report = report
        own = [run for run in report.runs if not run.kept_from and not run.problems and not run.differences]
        self._base = {run.id: not job.series or run.leg is Leg.BASE for run in own}
        self._runs: dict[str, Run] = {run.id: run for run in own}
        kernels = (report.provenance, *((report.base,) if report.base else ()), *report.kernels)
        self._versions = {one.build_id: one.tree_version for one in kernels}

    def suites(self) -> Iterator[SuiteBoots]:
        names = dict.fromkeys(name for run in self._runs.values() for name in run.cell.suites)
        for name in names:
            sides = [self._base[run.id] for run in self._runs.values() if name in run.cell.suites]
            yield SuiteBoots(name, sum(sides), len(sides) - sum(sides))

    def sightings(self) -> Iterator[Sighting]:
        """Each thing that boots showed and nobody knows of, once, with the boots that did."""
        seen: dict[str, tuple[Sighting, set[str]]] = {}
        for run, sighting in self._all():
            seen.setdefault(sighting.key, (sighting, set()))[1].add(run)
        for first, runs in seen.values():
            base = sum(self._base[run] for run in runs)
            yield Sighting(
                first.suite, first.case, first.fingerprint, first.title, first.kernel, base, len(runs) - base
            )

    def _all(self) -> Iterator[tuple[str, Sighting]]:
        owners = {
            (event.run, event.boot, event.span, event.fingerprint): case
            for case in self._report.cases
            for event in case.events
        }
        for event in filter(self._is_unknown, self._report.events):
            case = owners.get((event.run, event.boot, event.span, event.fingerprint))
            suite = case.suite if case is not None else self._runs[event.run].cell.suites[0]
            name = case.name if case is not None else ""
            yield event.run, self._sighting(event.run, suite, name, event.fingerprint, event.title)
        for case in self._report.cases:
            if case.outcome in _FAILED and case.run in self._runs and not self._has_loud(case):
                yield case.run, self._sighting(case.run, case.suite, case.name, "", case.message or str(case.outcome))

    def _is_unknown(self, event: Event) -> bool:
        return event.run in self._runs and not event.expected and not event.known and not is_note(event.kind)

    def _has_loud(self, case: Case) -> bool:
        return any(not event.expected and not is_note(event.kind) for event in case.events)

    def _sighting(self, run: str, suite: str, case: str, fingerprint: str, title: str) -> Sighting:
        version = self._versions.get(self._runs[run].cell.build_id, "")
        return Sighting(suite, case, fingerprint, title, version, 0, 0)


def against(
    job: Job, result: JobResult, past: Iterable[tuple[Job, JobResult]], known: KnownIssues, layout: Layout
) -> Iterator[Against]:
    """The run beside that of a revision before, and beside the same one on the kernel that was there before."""
    others = [(one, made) for one, made in past if made.run and made.run != result.run and one.plan == job.plan]
    previous = sorted(
        (pair for pair in others if _is_earlier(pair[0], job)),
        key=lambda pair: (pair[0].posted, pair[0].revision),
    )
    same_kernel = [pair for pair in previous if pair[0].kernel == job.kernel]
    before = [
        (one, made)
        for one, made in others
        if (one.series, one.source_watch, one.ref) == (job.series, job.source_watch, job.ref)
        and one.kernel != job.kernel
    ]
    choices = ((Beside.PREVIOUS, (same_kernel or previous) if job.family else []), (Beside.BEFORE, before))
    for beside, found in choices:
        if found:
            other, made = found[-1]
            yield _against(beside, other, made, result, known, layout)


def _is_earlier(other: Job, job: Job) -> bool:
    """Whether it is about a revision of the same series that was posted before."""
    return (
        other.family == job.family
        and other.series != job.series
        and (other.posted, other.revision) < (job.posted, job.revision)
    )


def _against(
    beside: Beside, other: Job, made: JobResult, result: JobResult, known: KnownIssues, layout: Layout
) -> Against:
    try:
        output = compare_runs(made.run, result.run, CompareOptions(known=known), layout)
    except HarnessError as error:
        return Against(beside, made.run, other.label, Verdict.CANNOT_TELL, {}, (error.message,))
    events = (one for one in output.event_changes if not one.note)  # a note (a taint) never counts
    all_of_them = [*(one.change for one in output.comparisons), *(one.change for one in events)]
    words = [str(one) for one in all_of_them if one is not Change.SAME]
    changes = {word: words.count(word) for word in dict.fromkeys(words)}
    return Against(beside, made.run, other.label, output.verdict, changes, output.reasons[:_SHOWN_REASONS])
