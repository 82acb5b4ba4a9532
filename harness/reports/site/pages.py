# SPDX-License-Identifier: GPL-2.0-only
"""Each page of the site: values in, HTML out. The templates are templates/site/."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from html import escape

from markupsafe import Markup

from harness.model.comparison import CompareOutput
from harness.model.event import Event, Metric
from harness.model.oom import Amount, Oom, OomReport
from harness.model.outcome import Outcome, Verdict
from harness.model.result import Case, Provenance, Report, Run
from harness.model.series import SeriesDiff
from harness.model.units import about_size, format_seconds, format_size
from harness.model.visible import visible
from harness.reports.changes import side_lines
from harness.reports.html import render, suites_of, word
from harness.reports.site.console import TOP, ConsoleFold, case_anchor, line_anchor, lines_html
from harness.reports.site.grids import Grid, Heat, heat_of
from harness.reports.site.values import (
    PAGE_ROWS,
    NightNote,
    SiteBoot,
    SiteCase,
    SiteEvent,
    SiteRun,
    cut,
    page_name,
    slug,
    worst_verdict,
)
from harness.reports.text import left_out_words, origins

_NEWEST = 20
_WORST = (Outcome.CRASH, Outcome.FAIL, Outcome.TIMEOUT, Outcome.WARN, Outcome.INCOMPLETE, Outcome.NOT_RUN)


@dataclass(frozen=True, slots=True)
class DayOfRuns:
    """The runs of a day (UTC), the newest first, and what a nightly said of it."""

    day: str
    runs: tuple[SiteRun, ...]
    note: NightNote | None = None

    @property
    def verdict(self) -> Verdict:
        if self.note is not None:
            return self.note.verdict
        return worst_verdict(run.verdict for run in self.runs)

    @property
    def boots(self) -> int:
        return sum(len(run.boots) for run in self.runs)

    @property
    def executed(self) -> int:
        return sum(run.executed for run in self.runs)

    @property
    def bad(self) -> int:
        return sum(run.bad_times for run in self.runs)

    @property
    def series(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one for run in self.runs for one in run.series))

    def count(self, verdict: str) -> int:
        return sum(run.verdict == verdict for run in self.runs)


def style() -> str:
    """The one style sheet."""
    return render("site/style.css")


def script() -> str:
    """What the search runs."""
    return render("site/search.js")


def home(nights: Sequence[DayOfRuns], runs: Sequence[SiteRun]) -> Iterator[tuple[str, str]]:
    """The nights, page by page; the newest runs on the first. Each is a name and a text."""
    pages = list(cut(nights))
    for number, rows in pages:
        yield (
            page_name("index", number),
            render(
                "site/home.html",
                nights=rows,
                number=number,
                of=len(pages),
                newest=runs[:_NEWEST],
                runs=len(runs),
                boots=sum(len(run.boots) for run in runs),
                of_days=len(nights),
            ),
        )


def night_pages(night: DayOfRuns) -> Iterator[tuple[str, str]]:
    pages = list(cut(night.runs))
    for number, rows in pages:
        yield (
            page_name(night.day, number),
            render("site/night.html", night=night, rows=rows, number=number, of=len(pages)),
        )


def run_pages(report: Report, run: SiteRun) -> Iterator[tuple[str, str]]:
    """A run: what came out first, then its boots, page by page."""
    boots = {boot.id: boot for boot in run.boots}
    bad = sorted((one for one in report.cases if is_bad(one)), key=severity)
    pages = list(cut(run.boots))
    for number, rows in pages:
        yield (
            page_name("index", number),
            render(
                "site/run.html",
                report=report,
                run=run,
                boots=rows,
                number=number,
                of=len(pages),
                bad=[(case, boots[case.run]) for case in bad] if number == 1 else [],
                map=heat_of((f"{boot.page}.html", boot) for boot in run.boots),
                origins=origins(report),
                left_out=left_out_words(report.left_out),
            ),
        )


def is_bad(case: Case) -> bool:
    return case.outcome in _WORST


def severity(case: Case) -> int:
    """The order of cases that are bad."""
    return _WORST.index(case.outcome)


@dataclass(frozen=True, slots=True)
class BootParts:
    """What belongs to the page of a boot: of the report what is of it, and what only its directory has.

    `consoles` are the folders of its boots that have a console (empty for the first) with the lines of each,
    `anchors` what can be linked to in each; `again` is the command line, `replay` the script on the
    host that made it.
    """

    run: Run
    cases: tuple[Case, ...]
    events: tuple[tuple[Event, str], ...]
    ooms: tuple[Oom, ...]
    timeline: str
    consoles: tuple[tuple[str, int], ...]
    anchors: Mapping[str, frozenset[str]]
    stall: str
    again: str
    replay: str

    def at(self, folder: str, anchor: str) -> str:
        """The anchor, or the top of the console where it has none: of a long one not all is shown."""
        return anchor if anchor in self.anchors.get(folder, ()) else TOP


def boot_page(run: SiteRun, boot: SiteBoot, parts: BootParts) -> str:
    bad = sorted(filter(is_bad, parts.cases), key=severity)
    return render(
        "site/boot.html",
        run=run,
        boot=boot,
        of=parts.run,
        bad=bad,
        cases=len(parts.cases),
        rows=_case_rows(parts.cases),
        figures=_figure_rows(parts.run.metrics),
        suites=suites_of(parts.run, parts.cases),
        outcomes=[str(one) for one in Outcome if any(case.outcome is one for case in parts.cases)],
        events=parts.events,
        ooms=parts.ooms,
        timeline=Markup(parts.timeline),
        consoles=parts.consoles,
        line_of=lambda one, anchor: f"{console_name(boot, one.boot)}.html#{parts.at(one.boot, anchor)}",
        console_page=lambda folder: f"{console_name(boot, folder)}.html",
        stall=parts.stall,
        again=parts.again,
        replay=parts.replay,
        asked=list(_asked(parts.run)),
        case_anchor=case_anchor,
        line_anchor=line_anchor,
        case_page=lambda case: case_path(case.suite, case.name),
        oom_nodes=_oom_nodes,
        oom_zones=_oom_zones,
        amount_names=_amount_names,
    )


def _case_rows(cases: Iterable[Case]) -> Markup:
    """Not by the template engine, which takes five times as long: a site has millions."""
    return Markup("".join(map(_case_row, cases)))


def _case_row(case: Case) -> str:
    seconds = format_seconds(case.seconds) if case.seconds is not None else ""
    name, message = (escape(visible(text)) for text in (f"{case.suite} {case.name}", case.message))
    path = case_path(case.suite, case.name)
    return (
        f'<tr><td>{word(case.outcome)}</td><td class="id"><a href="../../{path}">{name}</a></td><td class="n nw">'
        f"{seconds}</td><td>{message}</td></tr>\n"
    )


def _figure_rows(figures: Iterable[Metric]) -> Markup:
    return Markup("".join(map(_figure_row, figures)))


def _figure_row(figure: Metric) -> str:
    value = f"{figure.value:,.6g}" if figure.value < 1e6 else f"{figure.value:,.0f}"
    path, name = f"../../figures/{slug(figure.name)}.html", escape(visible(figure.name))
    return f'<tr><th scope="row"><a href="{path}">{name}</a></th><td class="n">{value}</td></tr>\n'


def console_name(boot: SiteBoot, folder: str) -> str:
    return f"{boot.page}-{slug(folder)}-console" if folder else f"{boot.page}-console"


def console_page(run: SiteRun, boot: SiteBoot, folder: str, parts: tuple[ConsoleFold, ...], left_out: int) -> str:
    return render(
        "site/console.html",
        run=run,
        boot=boot,
        folder=folder,
        sections=parts,
        left_out=left_out,
        lines_html=lines_html,
    )


@cache
def case_path(suite: str, name: str) -> str:
    """From the top of the site."""
    return f"cases/{slug(suite)}/{slug(name)}.html"


def _asked(run: Run) -> Iterator[tuple[str, str, str, bool]]:
    """What was asked of the machine beside what the guest found; what differs is what the judge says."""
    facts, machine = run.facts, run.cell.machine
    if facts is None:
        return
    unlike = {one.what for one in run.differences}
    rows = [
        ("RAM", format_size(machine.ram), about_size(facts.ram)),
        ("swap", str(machine.swap), about_size(facts.swap_total) if facts.swap_total else "none"),
        ("vCPUs", str(machine.cpus), str(facts.cpus)),
        ("accelerator", str(machine.accel), run.accel or "not told"),
        ("seed", str(run.cell.seed), facts.seed),
        ("kernel", "", facts.release),
        ("free at start", format_size(machine.free) if machine.free is not None else "", f"{facts.free >> 20}M"),
    ]
    rows += [(one.name, one.shown(value), one.shown(getattr(facts, one.key))) for one, value in machine.asked]
    rows.append(("command line", " ".join(machine.cmdline), facts.cmdline))
    for what, asked, got in rows:
        yield what, asked, got, what not in unlike


def _amounts(found: Iterable[Amount]) -> dict[str, int]:
    return {one.name: one.size for one in found}


def _oom_nodes(report: OomReport) -> list[tuple[str, dict[str, int]]]:
    return [(str(node.node), _amounts(node.amounts)) for node in report.memory.nodes]


def _oom_zones(report: OomReport) -> list[tuple[str, dict[str, int]]]:
    return [(zone.name, _amounts(zone.amounts)) for zone in report.memory.zones]


def _amount_names(rows: Sequence[tuple[str, Mapping[str, int]]]) -> list[str]:
    """What is 0 in every column is left out."""
    names = dict.fromkeys(name for _, found in rows for name in found)
    return [name for name in names if any(found.get(name) for _, found in rows)]


def against_page(run: SiteRun, output: CompareOutput) -> str:
    sides = (("base", output.base), ("tip", output.tip))
    return render(
        "site/against.html",
        run=run,
        output=output,
        sides=[(word, kernel) for word, side in sides for kernel in side.kernels],
        boots=[f"{word}: {side_lines(word, side)[1].strip()}" for word, side in sides],
    )


@dataclass(frozen=True, slots=True)
class RevisionRow:
    """A revision of a series; `diff` against the one before, or `summary` says why there is none."""

    label: str
    verdict: Verdict
    runs: int
    newest: str
    summary: str
    diff: SeriesDiff | None = None


def diff_summary(diff: SeriesDiff) -> str:
    """`12 same, 3 changed, 1 added`."""
    counts = Counter(pair.relation for pair in diff.pairs)
    return ", ".join(f"{times} {relation}" for relation, times in counts.most_common())


def series_page(
    name: str,
    revisions: Sequence[RevisionRow],
    cases: Grid,
    maps: Sequence[tuple[str, Heat]],
    runs: Sequence[SiteRun],
) -> str:
    return render(
        "site/series.html",
        name=name,
        revisions=revisions,
        cases=cases,
        maps=maps,
        runs=runs[:PAGE_ROWS],
        links=_Links(),
    )


class _Links:
    """From the row of a grid to the page of its case."""

    def __getitem__(self, row: tuple[str, ...]) -> str:
        suite, _, name = row[0].partition(" ")
        return case_path(suite, name)


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event over several runs, and where it was seen last."""

    event: SiteEvent
    runs: int
    times: int
    run: str
    page: str


def kernel_page(
    version: str,
    builds: Sequence[tuple[str, Provenance]],
    cases: Grid,
    heat: Heat | None,
    events: Sequence[EventRow],
    runs: Sequence[SiteRun],
) -> str:
    return render(
        "site/kernel.html",
        version=version,
        builds=builds,
        cases=cases,
        map=heat,
        events=events,
        runs=runs[:PAGE_ROWS],
        links=_Links(),
    )


def list_pages(
    title: str,
    stem: str,
    heads: Sequence[str],
    rows: Sequence[tuple[str, Sequence[str | StrEnum]]],
    *,
    right: Sequence[int] = (),
    words: str = "",
    root: str = "../",
    trail: Sequence[tuple[str, str]] = (),
) -> Iterator[tuple[str, str]]:
    """A list of links with something beside each: (path, cells), the first of which is the link."""
    pages = list(cut(rows))
    for number, some in pages:
        yield (
            page_name(stem, number),
            render(
                "site/list.html",
                title=title,
                stem=stem,
                heads=heads,
                rows=[
                    (path, [cell if isinstance(cell, StrEnum) else str(cell) for cell in cells])
                    for path, cells in some
                ],
                right=right,
                words=words,
                root=root,
                trail=trail,
                number=number,
                of=len(pages),
            ),
        )


def case_page(suite: str, name: str, grid: Grid, said: Sequence[tuple[SiteRun, SiteBoot, SiteCase]]) -> str:
    return render(
        "site/case.html",
        suite=suite,
        name=name,
        rows=(*grid.loud, *grid.quiet),
        columns=grid.columns,
        nights=len(grid.columns),
        said=said,
    )


@dataclass(frozen=True, slots=True)
class Point:
    """A figure of one boot."""

    run: str
    page: str
    kernel: str
    series: str
    value: float


@dataclass(frozen=True, slots=True)
class FigureGroup:
    """A figure in boots that are alike: the same suites on the same machine. The newest first."""

    title: str
    points: tuple[Point, ...]
    drawing: str

    @property
    def svg(self) -> Markup:
        return Markup(self.drawing)


def figure_page(name: str, words: str, groups: Sequence[FigureGroup]) -> str:
    return render("site/figure.html", name=name, words=words, groups=groups)


def map_page(maps: Sequence[tuple[str, Heat]], runs: int) -> str:
    return render("site/map.html", maps=maps, of_runs=runs)


def search_page(shards: Sequence[str], entries: int) -> str:
    return render("site/search.html", shards=shards, entries=entries)
