# SPDX-License-Identifier: GPL-2.0-only
"""The pages of one run: its report, and what the directories of its boots have (console, telemetry, stall)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from harness.evidence.lines import LogLine, decode
from harness.evidence.oom_class import read_ooms
from harness.evidence.telemetry import Telemetry
from harness.evidence.telemetry import parse as parse_telemetry
from harness.flow.compare import CompareOptions, compare_runs
from harness.flow.run_command import run_command_of
from harness.flow.run_loader import read_report
from harness.flow.run_record import Record, load_record
from harness.model.compare import Leg
from harness.model.errors import HarnessError
from harness.model.figure import Figures
from harness.model.nightly import read_job_plan
from harness.model.oom import Oom
from harness.model.result import Case, Event, Provenance, Report, Run
from harness.model.results import State
from harness.reports.html import COUNTS, counts_words, reddening
from harness.reports.site.console import TOP, anchors, case_anchor, left_out, line_anchor, sections
from harness.reports.site.pages import (
    BootParts,
    against_page,
    boot_page,
    console_name,
    console_page,
    is_bad,
    run_pages,
    severity,
)
from harness.reports.site.timeline import timeline_svg
from harness.reports.site.values import CaseSpan, Moment, SiteBoot, SiteCase, SiteEvent, SiteRun
from harness.store.files import open_regular
from harness.store.layout import Layout
from harness.store.queries import started
from harness.store.rows import series_of
from harness.suites.registry import figures_said

_CONSOLE = 8 << 20  # bytes that are shown; the file has the rest
_TELEMETRY = 32 << 20
_STALL = 256 << 10
_MOST_BAD = 100  # of a run, in its summary
_MOST_EVENTS = 100
_MOST_FIGURES = 400
_IN_MIND = 50_000  # cases of reports that are kept in mind


@dataclass(frozen=True, slots=True)
class ReadRun:
    """A run as it lies in the store. Of a report that was kept alone there is no record."""

    directory: Path
    report: Report
    record: Record | None
    summary: SiteRun


class KeptReports:
    """Reports, read once while they are in mind: a run is compared with one that was read shortly before."""

    def __init__(self) -> None:
        self._found: dict[Path, Report] = {}

    def read(self, directory: Path) -> Report:
        found = self._found.pop(directory, None) or read_report(directory)
        self._found[directory] = found  # the newest last
        while len(self._found) > 1 and sum(len(one.cases) for one in self._found.values()) > _IN_MIND:
            del self._found[next(iter(self._found))]
        return found


def read_run(directory: Path, state: State, reports: KeptReports) -> ReadRun:
    """HarnessError for what cannot be read, or is not believed."""
    report = reports.read(directory)
    try:
        record = load_record(directory)
    except HarnessError:
        record = None
    return ReadRun(directory, report, record, _summary(directory.name, report, record, state is State.FINISHED))


def _summary(name: str, report: Report, record: Record | None, finished: bool) -> SiteRun:
    places = {run.id: place for place, run in enumerate(report.runs)}
    kernels = _kernels(report)
    specs = _specs(record)
    labels = tuple(dict.fromkeys(filter(None, map(series_of, kernels))))
    bad = sorted(filter(is_bad, report.cases), key=severity)
    return SiteRun(
        name=name,
        started=started(name) or report.provenance.started,
        verdict=report.verdict,
        finished=finished,
        plan=read_job_plan(report.plan)[1],
        watched_by=read_job_plan(report.plan)[0],
        reasons=report.reasons[:5],
        kernels=kernels,
        series=labels,
        specs=tuple(specs.get(label, "") for label in labels),
        suites=tuple(dict.fromkeys(suite for run in report.runs for suite in run.cell.suites)),
        boots=tuple(_boot(run, place, report, kernels) for place, run in enumerate(report.runs)),
        bad=tuple(
            SiteCase(one.suite, one.name, one.outcome, one.message[:300], places[one.run]) for one in bad[:_MOST_BAD]
        ),
        events=_events(report, places),
        seconds=sum(stage.seconds for stage in report.stages),
    )


def _kernels(report: Report) -> tuple[Provenance, ...]:
    several = [*report.kernels, report.provenance, *([report.base] if report.base is not None else [])]
    return tuple({one.build_id: one for one in several}.values())


def _specs(record: Record | None) -> dict[str, str]:
    """The label of each series of the run -> the words that asked for it."""
    found: dict[str, str] = {}
    if record is not None:
        for planned in record.cells:
            sides = record.requests[planned.request].sides if planned.request < len(record.requests) else {}
            if planned.leg in sides and (series := sides[planned.leg].series) is not None:
                found.setdefault(series_of(record.kernels[planned.kernel]), str(series))
    return found


def _boot(run: Run, place: int, report: Report, kernels: Iterable[Provenance]) -> SiteBoot:
    mine = [case for case in report.cases if case.run == run.id]
    kernel = next((one for one in kernels if one.build_id == run.cell.build_id), report.provenance)
    machine = run.cell.machine
    figures = {metric.name: metric.value for metric in run.metrics[:_MOST_FIGURES]}
    kills = figures.get("oom_kill")
    return SiteBoot(
        id=run.id,
        place=place,
        leg=run.leg,
        kernel=kernel.tree_version,
        series=series_of(kernel),
        machine=str(machine),
        ram=machine.ram,
        swap=machine.swap,
        suites=run.cell.suites,
        seed=run.cell.seed,
        ending=run.ending,
        verdict=run.verdict,
        executed=sum(case.outcome.executed for case in mine),
        bad=sum(map(is_bad, mine)),
        seconds=sum(stage.seconds for stage in run.stages if stage.name == "boot"),
        kills=None if kills is None else int(kills),
        kept_from=run.kept_from,
        figures=figures,
    )


def _events(report: Report, places: Mapping[str, int]) -> tuple[SiteEvent, ...]:
    red = reddening(report.cases)
    found: dict[tuple[str, str], SiteEvent] = {}
    for event in report.events:
        key = (event.fingerprint, counts_words(event, red))
        known = found.get(key)
        if known is None:
            place = places.get(event.run, 0)
            found[key] = SiteEvent(event.kind, event.title[:300], event.fingerprint, 1, place, key[1])
        else:
            found[key] = replace(known, times=known.times + 1)
    return tuple(sorted(found.values(), key=lambda one: one.counts != COUNTS))[:_MOST_EVENTS]


def pages_of_run(read: ReadRun, layout: Layout, reports: KeptReports) -> Iterator[tuple[str, str]]:
    """All pages of a run, each with its name in the run's folder."""
    run = read.summary
    yield from run_pages(read.report, run)
    if run.against:
        output = compare_runs(
            f"{run.against}:{Leg.TIP}", f"{run.name}:{Leg.TIP}", CompareOptions(), layout, reports.read
        )
        yield "against.html", against_page(run, output)
    cases: dict[str, list[Case]] = {}
    events: dict[str, list[Event]] = {}
    for case in read.report.cases:
        cases.setdefault(case.run, []).append(case)
    for event in read.report.events:
        events.setdefault(event.run, []).append(event)
    for one, boot in zip(read.report.runs, run.boots, strict=True):
        yield from _pages_of_boot(read, one, boot, cases.get(one.id, []), events.get(one.id, []))


def _pages_of_boot(
    read: ReadRun, run: Run, boot: SiteBoot, cases: list[Case], events: list[Event]
) -> Iterator[tuple[str, str]]:
    place = _place(read.directory, run.directory)
    red = reddening(cases)
    judged = [(event, counts_words(event, red)) for event in events]
    grave = [event for event, counts in judged if counts == COUNTS]
    consoles: list[tuple[str, int]] = []
    linked: dict[str, frozenset[str]] = {}
    ooms: list[Oom] = []
    times: dict[int, float] = {}
    for folder in ["", *(one.directory for one in run.more)]:
        lines = _console(place, folder)
        if not lines:
            continue
        ooms += read_ooms(lines)
        if not folder:
            times = {line.number: line.time for line in lines if line.time is not None}
        mine = [event for event in events if event.boot == folder]
        texts = _texts(lines)
        parts = sections(texts, [case for case in cases if case.boot == folder], mine, grave)
        yield f"{console_name(boot, folder)}.html", console_page(read.summary, boot, folder, parts, left_out(texts))
        consoles.append((folder, len(texts)))
        linked[folder] = anchors(parts)
    telemetry = _telemetry(place, run)
    here = linked.get("", frozenset())
    first_console = f"{console_name(boot, '')}.html"
    parts_of_page = BootParts(
        run=run,
        cases=tuple(cases),
        events=tuple(sorted(judged, key=lambda one: one[1] != COUNTS)),
        ooms=tuple(ooms),
        timeline=timeline_svg(telemetry, _spans(cases, times, here), _moments(judged, times, here), first_console),
        consoles=tuple(consoles),
        anchors=linked,
        stall=_start(place, "stall.txt", _STALL).decode("utf-8", "replace"),
        again=run_command_of(run, read.record),
        replay=str(place / "reproduce.sh") if place is not None and not run.cell.machine.at else "",
    )
    yield f"{boot.page}.html", boot_page(read.summary, boot, parts_of_page)


def _place(directory: Path, name: str) -> Path | None:
    """The folder of a boot; None for what lies elsewhere, as somebody else's report may say."""
    place = directory / name
    if place.is_symlink() or not place.is_dir() or place.resolve().parent != directory.resolve():
        return None
    return place


def _start(place: Path | None, name: str, limit: int) -> bytes:
    """The beginning of a file that a guest may have written; empty where there is none that can be read."""
    if place is None or (place / name).is_symlink():
        return b""
    with suppress(OSError):
        with os.fdopen(open_regular(place / name), "rb") as file:
            return file.read(limit)
    return b""


def _console(place: Path | None, folder: str) -> tuple[LogLine, ...]:
    if place is None or (folder and (place / folder).resolve().parent != place.resolve()):
        return ()
    return decode(_start(place / folder if folder else place, "console.log", _CONSOLE))


def _texts(lines: Iterable[LogLine]) -> list[str]:
    """The lines as they are shown, each at its number: a line without a message is empty."""
    texts: list[str] = []
    for line in lines:
        texts += [""] * (line.number - 1 - len(texts))
        stamp = f"[{line.time:12.6f}] " if line.time is not None else ""
        texts.append(stamp + line.text)
    return texts


def _telemetry(place: Path | None, run: Run) -> Telemetry:
    text = _start(place / "results" if place is not None else None, "telemetry.tsv", _TELEMETRY)
    try:
        figures = Figures.of_suites(figures_said(run.cell.suites).values())
    except HarnessError:  # a suite that is no more
        figures = Figures()
    return parse_telemetry(text.decode("utf-8", "replace"), figures) if text else Telemetry()


def _spans(cases: Iterable[Case], times: Mapping[int, float], linked: frozenset[str]) -> list[CaseSpan]:
    found = []
    for case in cases:
        if case.span is None or case.boot:
            continue
        start, end = times.get(case.span.first), times.get(case.span.last)
        if start is None:
            continue
        anchor = case_anchor(case)
        ended = end if end is not None else start + (case.seconds or 0.0)
        found.append(CaseSpan(case.name, case.outcome, start, max(start, ended), anchor if anchor in linked else TOP))
    return found


def _moments(events: Iterable[tuple[Event, str]], times: Mapping[int, float], linked: frozenset[str]) -> list[Moment]:
    found = []
    for event, counts in events:
        if not event.boot and event.span.first in times:
            anchor = line_anchor(event.span.first)
            title = f"{event.kind}: {event.title}"
            place = anchor if anchor in linked else TOP
            found.append(Moment(title, times[event.span.first], place, counts == COUNTS))
    return found
