# SPDX-License-Identifier: GPL-2.0-only
"""What changed between two kernels, for people: cases, events, figures, known issues. What is the same is counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import IO, TypeVar

from rich.console import Console

from harness.model.compare import Change, Comparison, EventChange, MetricChange, MetricComparison, Sample, Shift
from harness.model.comparison import ComparedSide, CompareOutput
from harness.model.known import KnownState, KnownUse
from harness.model.outcome import Outcome, Verdict
from harness.reports.columns import columns
from harness.reports.console import console_on, plain

STYLE = {Verdict.GOOD: "bold green", Verdict.BAD: "bold red", Verdict.CANNOT_TELL: "bold yellow"}
CALLED = (Shift.WORSE, Shift.BETTER, Shift.CHANGED)
_ORDER = (Change.REGRESSED, Change.FLAKY, Change.KNOWN, Change.GONE, Change.FIXED, Change.NEW, Change.SAME)
_SHOWN = 40
_LONGEST_TITLE = 100
_THOUSAND = 1000


def print_compared(output: CompareOutput, file: IO[str], *, color: bool | None = None) -> None:
    """Writes the whole comparison."""
    console = console_on(file, color=color)
    for word, side in (("base", output.base), ("patched", output.tip)):
        for line in side_lines(word, side):
            console.print(plain(line))
    for remark in output.remarks:
        console.print(f"remark   {plain(remark)}")
    print_changes(output.comparisons, output.event_changes, output.metric_changes, output.known, console)
    console.print()
    for reason in output.reasons[:_SHOWN]:
        console.print(f"  {plain(reason)}")
    console.print(f"verdict: [{STYLE[output.verdict]}]{output.verdict}[/]")


def side_lines(word: str, side: ComparedSide) -> list[str]:
    kernels = ", ".join(f"{one.tree_version} {one.profile} {one.build_id[:12]}" for one in side.kernels)
    boots = f"{side.boots} boots" if side.boots != 1 else "1 boot"
    left_out = f", {side.left_out} left out as invalid" if side.left_out else ""
    return [f"{word:<8} {kernels or 'no kernel'}", f"         {boots}{left_out}: {', '.join(side.runs)}"]


def print_changes(
    cases: Sequence[Comparison],
    events: Sequence[EventChange],
    metrics: MetricComparison | None,
    known: Sequence[KnownUse],
    console: Console,
) -> None:
    """The tables of one comparison, each with what it leaves out counted."""
    _print_cases(cases, console)
    _print_events(events, console)
    if metrics is not None:
        _print_metrics(metrics, console)
    print_known(known, console)


def _print_cases(cases: Sequence[Comparison], console: Console) -> None:
    if not cases:
        return
    changed = worst_first(cases)
    console.print(f"\nagainst the base: {len(cases) - len(changed)} cases the same, {len(changed)} not")
    rows = [
        (
            str(one.change),
            f"{one.suite} {one.name}",
            outcome_words(one.base),
            outcome_words(one.tip),
            one.counts,
            ", ".join(one.known),
            one.machine,
        )
        for one in changed
    ]
    _print_table(("change", "case", "base", "patched", "good", "known issue", "machine"), rows, console)


def _print_events(events: Sequence[EventChange], console: Console) -> None:
    if not events:
        return
    changed = worst_first(events)
    console.print(f"\nwhat the kernels said: {len(events) - len(changed)} events the same, {len(changed)} not")
    rows = [
        (
            str(one.change),
            one.fingerprint,
            one.kind,
            one.title[:_LONGEST_TITLE],
            one.counts,
            ", ".join(one.known),
            one.machine,
        )
        for one in changed
    ]
    _print_table(("change", "event", "kind", "title", "boots", "known issue", "machine"), rows, console)


def _print_metrics(metrics: MetricComparison, console: Console) -> None:
    called = most_changed(one for one in metrics.changes if one.shift in CALLED)
    if not metrics.changes and not metrics.notes:
        return
    console.print(f"\nfigures: {plain(metrics_sentence(metrics))}")
    rows = [
        (
            str(one.shift),
            figure_name(one),
            sample_words(one.base),
            sample_words(one.tip),
            ratio_words(one),
            "" if one.chance is None else f"{one.chance:.2g}",
            one.machine,
        )
        for one in called
    ]
    head = ("change", "figure", "base: median [quartiles]", "patched: median [quartiles]", "by", "p", "machine")
    _print_table(head, rows, console)
    for note in metrics.notes:
        console.print(f"  {plain(note)}")


def print_known(known: Sequence[KnownUse], console: Console) -> None:
    if not known:
        return
    rows = [
        (str(one.state), one.name, f"{one.cases}", f"{one.events}", one.expires, one.owner, one.reason)
        for one in known
        if one.state is not KnownState.ELSEWHERE
    ]
    elsewhere = len(known) - len(rows)
    console.print(
        f"\nknown issues: {len(rows)}" + (f", and {elsewhere} of other kernels or suites" if elsewhere else "")
    )
    _print_table(("state", "issue", "cases", "events", "expires", "owner", "reason"), rows, console)
    for one in known:
        if one.sentence:
            console.print(f"  [yellow]{plain(one.sentence)}[/]")


def _print_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], console: Console) -> None:
    """Columns in which no row says anything are left out."""
    if not rows:
        return
    kept = [place for place in range(len(head)) if any(row[place] for row in rows)]
    table = [[row[place] for place in kept] for row in (head, *rows[:_SHOWN])]
    for line in columns(table):
        console.print(plain(line))
    if len(rows) > _SHOWN:
        console.print(f"and {len(rows) - _SHOWN} more, in the JSON and HTML forms")


_Changed = TypeVar("_Changed", Comparison, EventChange)


def worst_first(changes: Iterable[_Changed]) -> list[_Changed]:
    """What is not the same, in the order in which a reader wants to know."""
    return sorted((one for one in changes if one.change is not Change.SAME), key=lambda one: _ORDER.index(one.change))


def outcome_words(outcomes: Iterable[Outcome]) -> str:
    return ", ".join(sorted({str(outcome) for outcome in outcomes})) or "-"


def figure_name(one: MetricChange) -> str:
    return " ".join(word for word in (one.suite, one.case, one.name) if word)


def most_changed(changes: Iterable[MetricChange]) -> list[MetricChange]:
    """Those called worse first, then by how far the medians are apart."""
    order = list(Shift)
    order.sort(key=lambda shift: (shift is not Shift.WORSE, shift is not Shift.BETTER))
    return sorted(changes, key=lambda one: (order.index(one.shift), -_apart(one), figure_name(one)))


def _apart(one: MetricChange) -> float:
    largest = max(abs(one.base.median), abs(one.tip.median))
    return abs(one.tip.median - one.base.median) / largest if largest else 0.0


def number(value: float) -> str:
    """Four digits, as people read them: 1,234,567 and 0.01234."""
    return f"{value:,.0f}" if abs(value) >= _THOUSAND or value == int(value) else f"{value:.4g}"


def sample_words(sample: Sample) -> str:
    if sample.count == 1:
        return number(sample.median)
    return f"{number(sample.median)} [{number(sample.lower)}, {number(sample.upper)}]"


def ratio_words(one: MetricChange) -> str:
    return "-" if one.ratio is None else f"{one.ratio:+.0%}"


def metrics_sentence(metrics: MetricComparison) -> str:
    """What was tested, how, and what it would take."""
    called = sum(one.shift in CALLED for one in metrics.changes)
    unclear = sum(one.shift is Shift.UNCLEAR for one in metrics.changes)
    if not metrics.changes:
        return "none differs"
    if not metrics.tested:
        return (
            f"{len(metrics.changes)} differ, and no change can be called with so few boots: "
            f"{metrics.needed} on each side are the least, {metrics.needed_alone} to call one figure alone"
        )
    more = f", {unclear} may have, in too few boots to say so" if unclear else ""
    how = f"{metrics.test}, p <= {metrics.level:g}, medians at least {metrics.least_change:.0%} apart"
    alone = f"{metrics.needed_alone} boots a side would tell of one figure alone"
    return f"{called} of {metrics.tested} that vary changed{more} ({how}; {alone})"
