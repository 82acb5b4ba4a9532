# SPDX-License-Identifier: GPL-2.0-only
"""The pages over many runs: nights, series, kernels, cases, figures, the map of RAM and swap, the search index."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.flow.series import SeriesContext
from harness.flow.series import diff as series_diff
from harness.model.codec import from_json, to_json
from harness.model.compare import Leg
from harness.model.errors import HarnessError, StoreCorrupt
from harness.model.outcome import Outcome
from harness.model.progress import Progress
from harness.model.result import Provenance
from harness.model.results import Tally
from harness.model.series import SeriesDiff, SeriesForm, SeriesSpec
from harness.model.visible import visible
from harness.reports.site import pages
from harness.reports.site.dots import dots_svg
from harness.reports.site.grids import Counted, Grid, Heat, grid_of, heat_of
from harness.reports.site.values import (
    PAGE_ROWS,
    NightNote,
    SiteBoot,
    SiteCase,
    SiteRun,
    revision_order,
    series_and_revision,
    slug,
    worst_verdict,
)
from harness.store.files import read_regular, write_atomically
from harness.store.layout import Layout

Page = tuple[str, str]

_NIGHTS = 30  # columns of the pages of cases
_SAID = 100  # lines of what a case said
_MAP_RUNS = 1000
_FIGURE_BOOTS = 600  # dots of a figure, the newest boots
_FIGURE_GROUPS = 12
_SHARD = 4000  # entries of the search index in one file
_LARGEST = 64 << 20
_SERIES_ID = re.compile(r"\(series ([0-9a-f]{64})\)")
_HERE = (SeriesForm.MBOX, SeriesForm.DIRECTORY, SeriesForm.GIT, SeriesForm.FILE)  # nothing is fetched for a page


@dataclass(frozen=True, slots=True)
class ListContext:
    """Where things lie, whom to tell, where range-diffs are remembered, and what a nightly says of its days."""

    layout: Layout
    progress: Progress
    data: Path
    notes: tuple[NightNote, ...]


def all_lists(runs: Sequence[SiteRun], tallies: Sequence[Tally], context: ListContext) -> Iterator[Page]:
    """Every page that is not of one run. `runs` are the newest first, as are `tallies`."""
    yield "style.css", pages.style()
    yield "search.js", pages.script()
    nights = _nights(runs, context.notes)
    yield from pages.home(nights, runs)
    for night in nights:
        for name, text in pages.night_pages(night):
            yield f"nights/{name}", text
    yield from _series(runs, tallies, context)
    yield from _kernels(runs, tallies)
    yield from _cases(runs, tallies)
    yield from _figures(runs)
    yield "map.html", pages.map_page(list(_maps(runs[:_MAP_RUNS])), min(len(runs), _MAP_RUNS))
    yield from _search(runs, tallies)


def _nights(runs: Sequence[SiteRun], notes: Sequence[NightNote]) -> list[pages.DayOfRuns]:
    by_day: dict[str, list[SiteRun]] = defaultdict(list)
    told = {note.day: note for note in notes}
    for run in runs:
        by_day[run.day].append(run)
    days = sorted({*by_day, *told}, reverse=True)
    return [pages.DayOfRuns(day, tuple(by_day.get(day, ())), told.get(day)) for day in days]


def _boots(runs: Iterable[SiteRun]) -> Iterator[tuple[str, SiteBoot]]:
    for run in runs:
        for boot in run.boots:
            yield f"runs/{run.name}/{boot.page}.html", boot


# Series


def _series(runs: Sequence[SiteRun], tallies: Sequence[Tally], context: ListContext) -> Iterator[Page]:
    by_name: dict[str, list[SiteRun]] = defaultdict(list)
    for run in runs:
        for name in dict.fromkeys(series_and_revision(label)[0] for label in run.series):
            by_name[name].append(run)
    rows = []
    for name, mine in sorted(by_name.items(), key=lambda one: one[1][0].name, reverse=True):
        revisions = _revisions(name, mine, context)
        labels = [one.label for one in revisions]
        cases = _series_grid(labels, mine, tallies)
        maps = [(label, heat) for label in reversed(labels) if (heat := heat_of(_of_series(label, mine))) is not None]
        yield f"series/{slug(name)}.html", pages.series_page(name, revisions, cases, maps, mine)
        newest = revisions[-1]
        rows.append((f"{slug(name)}.html", (name, newest.label, newest.verdict, str(len(mine)), mine[0].day)))
    heads = ("series", "newest revision", "verdict", "runs", "last run")
    for page, text in pages.list_pages("Series", "index", heads, rows, right=(3,)):
        yield f"series/{page}", text


def _of_series(label: str, runs: Iterable[SiteRun]) -> Iterator[tuple[str, SiteBoot]]:
    """The boots of one revision, and those of the base in the same runs."""
    for page, boot in _boots(run for run in runs if label in run.series):
        if boot.series == label or boot.leg is Leg.BASE:
            yield page, boot


def _revisions(name: str, runs: Sequence[SiteRun], context: ListContext) -> list[pages.RevisionRow]:
    """The oldest first."""
    newest: dict[str, SiteRun] = {}
    counts: dict[str, int] = defaultdict(int)
    for run in runs:
        for label in run.series:
            if series_and_revision(label)[0] == name:
                newest.setdefault(label, run)
                counts[label] += 1
    labels = sorted(newest, key=lambda label: revision_order(series_and_revision(label)[1]))
    rows, before = [], ""
    for label in labels:
        run = newest[label]
        summary, found = _diff(before, label, newest, context) if before else ("the first that was run", None)
        rows.append(pages.RevisionRow(label, run.verdict, counts[label], run.name, summary, found))
        before = label
    return rows


def _diff(old: str, new: str, newest: Mapping[str, SiteRun], context: ListContext) -> tuple[str, SeriesDiff | None]:
    """What changed between two revisions, made once; or why that is not known."""
    specs = [_spec(label, newest[label]) for label in (old, new)]
    ids = [_series_id(label, newest[label]) for label in (old, new)]
    if ids[0] == ids[1] and ids[0]:
        return "the same patches", None
    if not all(specs):
        return "where the patches were is not known", None
    if any(SeriesSpec.parse(spec).form not in _HERE for spec in specs):
        return f"ttm-harness series diff {specs[0]} {specs[1]}", None
    key = hashlib.sha256("\0".join([*ids, *specs]).encode()).hexdigest()[:32]
    path = context.data / f"diff-{key}.json"
    try:
        found = from_json(SeriesDiff, read_regular(path, _LARGEST).decode())
    except (OSError, UnicodeDecodeError, StoreCorrupt):
        try:
            found = series_diff(specs[0], specs[1], SeriesContext(context.layout, context.progress))
        except HarnessError as error:
            return f"cannot be told: {error.message}", None
        write_atomically(path, to_json(found))
    return pages.diff_summary(found), found


def _spec(label: str, run: SiteRun) -> str:
    return run.specs[run.series.index(label)]


def _series_id(label: str, run: SiteRun) -> str:
    for kernel in run.kernels:
        if label in kernel.tree_origin and (match := _SERIES_ID.search(kernel.tree_origin)):
            return match[1]
    return ""


def _series_grid(labels: Sequence[str], runs: Sequence[SiteRun], tallies: Sequence[Tally]) -> Grid:
    names = {run.name for run in runs}
    based = any(boot.leg is Leg.BASE for run in runs for boot in run.boots)
    columns = [*(["base"] if based else []), *labels]
    cells = (
        ((f"{one.suite} {one.name}",), "base" if one.leg is Leg.BASE else one.series, one)
        for one in tallies
        if one.run in names and (one.leg is Leg.BASE or one.series in labels)
    )
    return grid_of(cells, columns)


# Kernels


def _kernels(runs: Sequence[SiteRun], tallies: Sequence[Tally]) -> Iterator[Page]:
    by_version: dict[str, list[SiteRun]] = defaultdict(list)
    for run in runs:
        for version in run.versions:
            by_version[version].append(run)
    by_kernel: dict[str, list[Tally]] = defaultdict(list)
    for one in tallies:
        by_kernel[one.kernel].append(one)
    days = {run.name: run.day for run in runs}
    rows = []
    for version, mine in by_version.items():
        own = by_kernel.get(version, [])
        shown = sorted({days[one.run] for one in own if one.run in days})[-_NIGHTS:]
        cells = (((f"{one.suite} {one.name}",), days[one.run], one) for one in own if days.get(one.run) in shown)
        of_kernel = [(page, boot) for page, boot in _boots(mine) if boot.kernel == version]
        grid = grid_of(cells, shown)
        builds = {kernel.build_id: kernel for run in mine for kernel in run.kernels if kernel.tree_version == version}
        text = pages.kernel_page(
            version, _named(builds.values()), grid, heat_of(of_kernel), _events(version, mine), mine
        )
        yield f"kernels/{slug(version)}.html", text
        verdict = worst_verdict(run.verdict for run in mine if run.day == mine[0].day)
        rows.append((f"{slug(version)}.html", (version, verdict, str(len(mine)), str(len(of_kernel)), mine[0].day)))
    heads = ("kernel", "last night", "runs", "boots", "last run")
    for page, text in pages.list_pages("Kernels", "index", heads, rows, right=(2, 3)):
        yield f"kernels/{page}", text


def _named(builds: Iterable[Provenance]) -> list[tuple[str, Provenance]]:
    return [("built", one) for one in list(builds)[:PAGE_ROWS]]


def _events(version: str, runs: Sequence[SiteRun]) -> list[pages.EventRow]:
    """Each event of a kernel once, where it was seen last; those that count first."""
    found: dict[tuple[str, str], pages.EventRow] = {}
    for run in runs:
        for event in run.events:
            boot = run.boots[event.boot]
            if boot.kernel != version:
                continue
            key = (event.fingerprint, event.counts)
            known = found.get(key)
            if known is None:
                found[key] = pages.EventRow(event, 1, event.times, run.name, boot.page)
            else:
                found[key] = replace(known, runs=known.runs + 1, times=known.times + event.times)
    return sorted(found.values(), key=lambda one: (one.event.counts != "yes", -one.runs))


# Cases


def _cases(runs: Sequence[SiteRun], tallies: Sequence[Tally]) -> Iterator[Page]:
    days = {run.name: run.day for run in runs}
    by_case: dict[tuple[str, str], list[Tally]] = defaultdict(list)
    for one in tallies:
        if one.run in days:
            by_case[one.suite, one.name].append(one)
    said = _said(runs)
    by_suite: dict[str, list[tuple[str, tuple[str | Outcome, ...]]]] = defaultdict(list)
    for (suite, name), mine in by_case.items():
        shown = sorted({days[one.run] for one in mine})[-_NIGHTS:]
        cells = (
            ((one.kernel + (" (base)" if one.leg is Leg.BASE else ""), one.series), days[one.run], one)
            for one in mine
            if days[one.run] in shown
        )
        yield (
            pages.case_path(suite, name),
            pages.case_page(suite, name, grid_of(cells, shown), said.get((suite, name), [])),
        )
        last = Counted()
        whole = Counted()
        for one in mine:
            whole.counts[one.outcome] += one.times
            if days[one.run] == shown[-1]:
                last.counts[one.outcome] += one.times
        bad = sum(
            times for outcome, times in whole.counts.items() if outcome.finding or outcome is Outcome.INCOMPLETE
        )
        row = (name, last.outcome, shown[-1], f"{bad}" if bad else "", str(whole.counts.total()))
        by_suite[suite].append((f"{slug(suite)}/{slug(name)}.html", row))
    heads = ("case", "last night it ran", "which was", "bad", "boots")
    for suite, rows in by_suite.items():
        trail = (("Cases", "index.html"),)
        for page, text in pages.list_pages(suite, slug(suite), heads, rows, right=(3, 4), trail=trail):
            yield f"cases/{page}", text
    suites = [(f"{slug(suite)}.html", (suite, str(len(rows)))) for suite, rows in sorted(by_suite.items())]
    for page, text in pages.list_pages("Cases", "index", ("suite", "cases"), suites, right=(1,)):
        yield f"cases/{page}", text


def _said(runs: Sequence[SiteRun]) -> dict[tuple[str, str], list[tuple[SiteRun, SiteBoot, SiteCase]]]:
    found: dict[tuple[str, str], list[tuple[SiteRun, SiteBoot, SiteCase]]] = defaultdict(list)
    for run in runs:
        for case in run.bad:
            mine = found[case.suite, case.name]
            if len(mine) < _SAID:
                mine.append((run, run.boots[case.boot], case))
    return found


# Figures


def _figures(runs: Sequence[SiteRun]) -> Iterator[Page]:
    """Dots for the newest boots, machine by machine; a run that only repeats an older one's boots brings none."""
    points: dict[str, dict[str, list[pages.Point]]] = defaultdict(lambda: defaultdict(list))
    left = _FIGURE_BOOTS
    for run in runs:
        for boot in run.boots:
            if boot.kept_from or not boot.figures or left <= 0:
                continue
            left -= 1
            group = f"{', '.join(boot.suites)}: {boot.machine}"
            for name, value in boot.figures.items():
                points[name][group].append(pages.Point(run.name, boot.page, boot.kernel, boot.series, value))
    rows = []
    for name, groups in sorted(points.items()):
        largest = sorted(groups.items(), key=lambda one: -len(one[1]))
        shown = [
            pages.FigureGroup(title, tuple(some), dots_svg(name, some)) for title, some in largest[:_FIGURE_GROUPS]
        ]
        total = sum(len(some) for some in groups.values())
        words = f"A dot for each of the newest {total} boots; the colour is the kernel."
        if len(largest) > len(shown):
            words += f" {len(largest) - len(shown)} groups with fewer boots are left out."
        yield f"figures/{slug(name)}.html", pages.figure_page(name, words, shown)
        rows.append((f"{slug(name)}.html", (name, str(total), str(len(groups)))))
    heads = ("figure", "boots", "machines")
    for page, text in pages.list_pages(
        "Figures", "index", heads, rows, right=(1, 2), words="Of the whole boot, by run."
    ):
        yield f"figures/{page}", text


# The map


def _maps(runs: Sequence[SiteRun]) -> Iterator[tuple[str, Heat]]:
    """A map for each kernel; base and tip stand beside each other where a run had both."""
    by_kernel: dict[str, list[tuple[str, SiteBoot]]] = defaultdict(list)
    for run in runs:
        tips = [boot for boot in run.boots if boot.leg is Leg.TIP]
        for page, boot in _boots((run,)):
            for label in dict.fromkeys(map(_label, tips)) if boot.leg is Leg.BASE else (_label(boot),):
                by_kernel[label].append((page, boot))
    for label, boots in by_kernel.items():
        if (heat := heat_of(boots)) is not None:
            yield label, heat


def _label(boot: SiteBoot) -> str:
    return f"{boot.kernel} with {boot.series}" if boot.series else boot.kernel


# The search


def _search(runs: Sequence[SiteRun], tallies: Sequence[Tally]) -> Iterator[Page]:
    """Shards of (kind, words, address, note): names first, then the runs, month by month, the newest first."""
    months: dict[str, list[list[str]]] = defaultdict(list)
    names = [
        ["case", f"{suite} {name}", pages.case_path(suite, name), ""]
        for suite, name in dict.fromkeys((one.suite, one.name) for one in tallies)
    ]
    for run in runs:
        months[run.day[:7]] += _entries(run)
    shards: list[str] = []
    total = 0
    for stem, entries in (("names", names), *months.items()):
        for number in range(0, len(entries), _SHARD):
            path = f"search/{slug(stem)}-{number // _SHARD + 1}.js"
            some = [[visible(word) for word in entry] for entry in entries[number : number + _SHARD]]
            yield path, f"ttmIndex({json.dumps(some, ensure_ascii=True, separators=(',', ':'))});\n"
            shards.append(path)
        total += len(entries)
    yield "search.html", pages.search_page(shards, total)


def _entries(run: SiteRun) -> Iterator[list[str]]:
    home = f"runs/{run.name}/index.html"
    words = " ".join([run.name, *run.series, *run.versions, *run.suites, run.plan])
    yield ["run", words, home, str(run.verdict)]
    for case in run.bad:
        yield [
            "finding",
            f"{case.suite} {case.name}",
            f"runs/{run.name}/{run.boots[case.boot].page}.html",
            f"{case.outcome} {run.name}",
        ]
    for event in run.events:
        path = f"runs/{run.name}/{run.boots[event.boot].page}.html#events"
        yield ["event", f"{event.kind} {event.title} {event.fingerprint}", path, run.name]
