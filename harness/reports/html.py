# SPDX-License-Identifier: GPL-2.0-only
"""Report -> one HTML file that loads nothing. The only module that imports jinja2; `render` is what it does it with.

What a guest or a series wrote (names of cases, kernel messages, subjects) is escaped by the template engine. Cases
and plots lie packed in the page and are unfolded when somebody opens them, by the one script that the page's own
Content-Security-Policy lets run: it makes text of text, and images of plots, in which no browser runs a script. To
read what failed needs no script.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.model.compare import Change, Leg, MetricChange, Sample, Shift
from harness.model.comparison import CompareOutput
from harness.model.gate import Mark
from harness.model.known import KnownState
from harness.model.outcome import Outcome, Verdict
from harness.model.result import Case, Event, Report, Run
from harness.model.units import about_size, format_seconds
from harness.model.visible import visible
from harness.reports.changes import (
    CALLED,
    figure_name,
    metrics_sentence,
    most_changed,
    outcome_words,
    ratio_words,
    sample_words,
    side_lines,
    worst_first,
)
from harness.reports.gate import gate_remarks, gate_table
from harness.reports.site.values import page_name, series_and_revision, slug
from harness.reports.text import (
    left_out_words,
    machine_rows_words,
    origin_words,
    origins,
    reached_words,
    without_hash,
)

_MOST_ROWS = 1000
_MOST_CASES = 400
_MOST_BOOTS = 200
_MOST_LISTED = 20_000  # cases that are good, over all boots
_MOST_SENTENCES = 40
_MOST_LINES = 200
_BOX_WIDTH = 160
_BOX_MARGIN = 4

COUNTS = "yes"
# Unfolds what lies packed in the page. Words of others become text nodes and an image's address, never markup.
_SCRIPT = (Path(__file__).parent / "templates" / "more.js").read_text(encoding="utf-8")
_SCRIPT_HASH = f"sha256-{b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()}"

_GOOD = (Verdict.GOOD, Mark.OK, Outcome.PASS, Change.FIXED, Shift.BETTER)
_BAD = (
    Verdict.BAD,
    Mark.BAD,
    Outcome.FAIL,
    Outcome.CRASH,
    Outcome.WARN,
    Outcome.TIMEOUT,
    Change.REGRESSED,
    Shift.WORSE,
    KnownState.EXPIRED,
)
_PLAIN = (Change.SAME, Shift.SAME, Shift.UNCLEAR, Change.NEW, KnownState.ELSEWHERE, KnownState.RARE)


@dataclass(frozen=True, slots=True)
class SuiteRow:
    """A suite of one boot."""

    name: str
    counts: Mapping[str, int]
    seconds: str


@dataclass(frozen=True, slots=True)
class _Boot:
    run: Run
    words: str
    suites: tuple[SuiteRow, ...]
    cases: int
    plot: bool


@dataclass(frozen=True, slots=True)
class _Said:
    """An event, how often it came, and whether it counts."""

    event: Event
    times: int
    boots: int
    counts: str


def report_html(report: Report, directory: Path, plots: Mapping[str, str] | None = None) -> str:
    """The page. `plots`: the SVG of each run's telemetry, where there is one."""
    boots, packed = _boots(report, plots or {})
    tips = [run for run in report.runs if run.leg is Leg.TIP] or list(report.runs)
    shown = sorted(tips, key=lambda run: run.verdict is Verdict.GOOD)[:1]
    bad = [case for case in report.cases if case.outcome.finding or case.outcome is Outcome.INCOMPLETE]
    bad += [case for case in report.cases if case.outcome is Outcome.NOT_RUN]
    return render(
        "report.html",
        report=report,
        origins=origins(report),
        left_out=left_out_words(report.left_out),
        again=[str(directory / run.directory / "reproduce.sh") for run in shown if not run.cell.machine.at],
        table=machine_rows_words(report.machines) if report.machines else [],
        bad=bad,
        said=_said(report),
        boots=boots,
        script=Markup(_SCRIPT) if packed else "",
        script_hash=_SCRIPT_HASH,
        packed=packed,
        outcomes=[str(one) for one in Outcome if any(case.outcome is one for case in report.cases)],
    )


def compare_html(output: CompareOutput) -> str:
    """The page of a comparison."""
    sides = (("base", output.base), ("patched", output.tip))
    return render(
        "compare.html",
        output=output,
        sides=[(word, kernel) for word, side in sides for kernel in side.kernels],
        boots=[f"{word}: {side_lines(word, side)[1].strip()}" for word, side in sides],
    )


def render(template: str, **values: object) -> str:
    """A template of templates/ with these values."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.globals.update(
        color=color,
        word=word,
        gate_remarks=gate_remarks,
        gate_table=gate_table,
        worst_first=worst_first,
        outcome_words=outcome_words,
        metrics_sentence=metrics_sentence,
        most_changed=_most_changed,
        figure_name=figure_name,
        sample_words=sample_words,
        origin_words=origin_words,
        ratio_words=ratio_words,
        format_seconds=format_seconds,
        box_scale=_box_scale,
        at=_at,
        about_size=about_size,
        slug=slug,
        without_hash=without_hash,
        page_name=page_name,
        series_and_revision=series_and_revision,
        most_rows=_MOST_ROWS,
        most_cases=_MOST_CASES,
        most_sentences=_MOST_SENTENCES,
        most_lines=_MOST_LINES,
    )
    return environment


def _printable(value: object) -> object:
    """Consoles carry what no page may: escape sequences, NUL, what turns a line round. The templates' own stays."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return visible(value)


@cache
def word(value: StrEnum) -> Markup:
    """An outcome, a verdict, a mark, in its colour: as a macro it was a tenth of what a page costs."""
    return Markup('<span class="word {}">{}</span>').format(color(value), str(value))


def color(value: StrEnum) -> str:
    if value in _PLAIN:
        return "dim"
    return "good" if value in _GOOD else "bad" if value in _BAD else "doubt"


def _said(report: Report) -> list[_Said]:
    """Every fingerprint once, those that count first: what made a case red, and not what was only noted."""
    red = reddening(report.cases)
    by_print: dict[tuple[str, str], list[Event]] = {}
    for event in report.events:
        by_print.setdefault((event.fingerprint, counts_words(event, red)), []).append(event)
    said = [
        _Said(same[0], len(same), len({event.run for event in same}), counts)
        for (_, counts), same in by_print.items()
    ]
    return sorted(said, key=lambda one: (one.counts != COUNTS, -one.boots))


def reddening(cases: Iterable[Case]) -> frozenset[tuple[str, str]]:
    """The events that made a case red: boot and fingerprint of each."""
    return frozenset(
        (case.run, event.fingerprint)
        for case in cases
        if case.outcome.finding or case.outcome is Outcome.INCOMPLETE
        for event in case.events
    )


def counts_words(event: Event, red: frozenset[tuple[str, str]]) -> str:
    """COUNTS, or why the event does not count; `red` as of `reddening`."""
    if event.expected:
        return "no: expected"
    if event.known:
        return f"no: known issue {event.known}"
    return COUNTS if (event.run, event.fingerprint) in red else "no: a note"


def _boots(report: Report, plots: Mapping[str, str]) -> tuple[list[_Boot], str]:
    """The boots to be shown, and their cases and plots, packed."""
    cases: dict[str, list[Case]] = {}
    for case in report.cases:
        cases.setdefault(case.run, []).append(case)
    shown = sorted(report.runs, key=lambda run: run.verdict is Verdict.GOOD)[:_MOST_BOOTS]
    left = _MOST_LISTED
    found, more = [], []
    for run in shown if len(report.runs) > _MOST_BOOTS else report.runs:
        mine = cases.get(run.id, [])
        listed = mine if len(mine) <= left else []
        left -= len(listed)
        more.append({"cases": [_row(case) for case in listed], "plot": plots.get(run.id, "")})
        found.append(_Boot(run, reached_words(run), suites_of(run, mine), len(listed), run.id in plots))
    return found, _packed(more)


def _row(case: Case) -> list[str]:
    """A case as the page's script takes it: outcome, class of the outcome, name, time, message."""
    seconds = "" if case.seconds is None else format_seconds(case.seconds)
    words = (str(case.outcome), color(case.outcome), f"{case.suite} {case.name}", seconds, case.message)
    return [visible(word) for word in words]


def _packed(more: Sequence[Mapping[str, object]]) -> str:
    """gzip in base64: a plot is thirty times as large without. Empty where there is nothing to unfold."""
    if not any(one["cases"] or one["plot"] for one in more):
        return ""
    text = json.dumps(more, ensure_ascii=True, separators=(",", ":"))
    return b64encode(gzip.compress(text.encode("ascii"), mtime=0)).decode("ascii")


def suites_of(run: Run, cases: Sequence[Case]) -> tuple[SuiteRow, ...]:
    """A row for each suite: how often each outcome, and the time."""
    seconds = {stage.name: format_seconds(stage.seconds) for stage in run.stages}
    counts: dict[str, Counter[str]] = {name: Counter() for name in run.cell.suites}
    for case in cases:
        counts.setdefault(case.suite, Counter())[str(case.outcome)] += 1
    return tuple(SuiteRow(name, count, seconds.get(name, "")) for name, count in counts.items())


def _most_changed(changes: Iterable[MetricChange], called_only: bool) -> list[MetricChange]:
    return most_changed(one for one in changes if (one.shift in CALLED) is called_only)


def _box_scale(one: MetricChange) -> tuple[int, float, float]:
    """The width of a drawing, the value at its left, and how many pixels a unit is."""
    low, high = min(one.base.least, one.tip.least), max(one.base.most, one.tip.most)
    room = _BOX_WIDTH - 2 * _BOX_MARGIN
    return _BOX_WIDTH, low, room / (high - low) if high > low else 0.0


def _at(sample: Sample, start: float, scale: float) -> tuple[float, ...]:
    """Where the five numbers of a sample stand, in pixels."""
    values = (sample.least, sample.lower, sample.median, sample.upper, sample.most)
    return tuple(round(_BOX_MARGIN + (value - start) * scale, 1) for value in values)
