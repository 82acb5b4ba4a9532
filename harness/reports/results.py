# SPDX-License-Identifier: GPL-2.0-only
"""The kept results for people: tables of runs, of boots, of a case over the runs, of what can go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import IO

from rich.console import Console

from harness.model.compare import Change, Leg
from harness.model.outcome import Outcome, Verdict
from harness.model.presubmit import PRESUBMIT_PLAN
from harness.model.results import CaseHistory, Count, KeptRun, Listing, PastCase, Pruning, Remains, RunDetail, State
from harness.model.units import about_size, format_seconds
from harness.reports.columns import columns
from harness.reports.console import console_on, plain

_SHOWN_BOOTS = 40
_SHOWN_CHANGES = 40
_SHOWN_REMOVALS = 40
_LONGEST = 60  # characters of a message in a table


def print_listing(listing: Listing, file: IO[str]) -> None:
    """A line for each run; with cases asked for, how they came out."""
    console = _console(file)
    if not listing.runs:
        console.print("no run fits" if listing.total == 0 else f"{listing.total} runs fit")
        return
    counted = any(run.matching for run in listing.runs)
    table = [["run", "kernel", "series", "suites", "boots", "cases", "bad", "time", "verdict"]]
    if counted:
        table[0].append("of those asked for")
    for run in listing.runs:
        table.append([*_row(run), *([_counts(run.matching)] if counted else [])])
    _print_columns(table, {4, 5, 6, 7}, console)
    if len(listing.runs) < listing.total:
        console.print(f"and {listing.total - len(listing.runs)} older ones (--limit)")


def _row(run: KeptRun) -> list[str]:
    return [
        run.name,
        " -> ".join(reversed(run.kernels)) or "-",
        ", ".join(run.series) or "-",
        ", ".join(run.suites) or "-",
        str(run.boots),
        str(run.executed),
        str(run.bad),
        format_seconds(run.seconds) if run.seconds else "-",
        _standing(run),
    ]


def _standing(run: KeptRun) -> str:
    words = str(run.verdict) if run.state is State.FINISHED else str(run.state)
    return f"{words} (presubmit)" if run.plan == PRESUBMIT_PLAN else words


def print_run(detail: RunDetail, file: IO[str]) -> None:
    """The run, a line for each boot, the cases that are not good, and what changed against another run."""
    console = _console(file)
    run = detail.run
    console.print(
        f"run      {plain(run.name)}   started {run.started}" + (f"   plan {plain(run.plan)}" if run.plan else "")
    )
    console.print(f"kernel   {plain(' -> '.join(reversed(run.kernels)))}")
    if run.series:
        console.print(f"series   {plain(', '.join(run.series))}")
    table = [["boot", "side", "kernel", "machine", "suites", "seed", "cases", "bad", "time", "ending", "verdict"]]
    for boot in detail.boots[:_SHOWN_BOOTS]:
        words = (boot.name, boot.leg.word, boot.kernel, boot.machine, ", ".join(boot.suites), str(boot.seed))
        numbers = (str(boot.executed), str(boot.bad), format_seconds(boot.seconds))
        table.append([*words, *numbers, str(boot.ending), str(boot.verdict)])
    if detail.boots:
        console.print()
        _print_columns(table, {5, 6, 7, 8}, console)
    if len(detail.boots) > _SHOWN_BOOTS:
        console.print(f"and {len(detail.boots) - _SHOWN_BOOTS} more boots (--json has all)")
    if detail.cases:
        console.print()
        _print_cases(detail.cases, console, with_run=False)
    if detail.against:
        _print_changes(detail, console)
    console.print(
        f"\nverdict: {_standing(run)}   (`ttm-harness report {plain(run.name)}` has the reasons and the evidence)"
    )


def _print_changes(detail: RunDetail, console: Console) -> None:
    changed = [one for one in detail.comparisons if one.change is not Change.SAME]
    same = len(detail.comparisons) - len(changed)
    console.print(f"\nagainst {plain(detail.against)}: {same} cases the same, {len(changed)} not")
    table = [["change", "case", "before", "now", "good", "machine"]]
    for one in changed[:_SHOWN_CHANGES]:
        sides = (", ".join(sorted({str(outcome) for outcome in side})) or "-" for side in (one.base, one.tip))
        table.append([str(one.change), f"{one.suite} {one.name}", *sides, one.counts, one.machine or "-"])
    if changed:
        _print_columns(table, set(), console)
    if len(changed) > _SHOWN_CHANGES:
        console.print(f"and {len(changed) - _SHOWN_CHANGES} more (--json has all)")


def print_history(history: CaseHistory, file: IO[str]) -> None:
    """The case's outcomes by run, the newest first."""
    _print_cases(history.cases, _console(file), with_run=True)


def _print_cases(cases: Sequence[PastCase], console: Console, *, with_run: bool) -> None:
    table = [[*(["run"] if with_run else []), "case", "leg", "kernel", "series", "outcomes", "message"]]
    for one in cases:
        where = [one.run] if with_run else []
        words = [f"{one.suite} {one.name}", one.leg.word, one.kernel, one.series or "-", _counts(one.outcomes)]
        table.append([*where, *words, _short(one.message)])
    if all(one.leg is Leg.TIP for one in cases):
        place = table[0].index("leg")
        table = [[*row[:place], *row[place + 1 :]] for row in table]
    _print_columns(table, set(), console)


def _counts(counts: Iterable[Count]) -> str:
    """`PASS`, or `3 PASS, 1 FAIL` for several boots."""
    found = list(counts)
    if len(found) == 1 and found[0].times == 1:
        return str(found[0].outcome)
    return ", ".join(f"{one.times} {one.outcome}" for one in found) or "-"


def _short(message: str) -> str:
    line = message.split("\n")[0]
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def print_pruning(pruning: Pruning, file: IO[str]) -> None:
    """What goes, or is gone, with the bytes that it frees."""
    console = _console(file)
    table = [["what", "name", "frees", "why"]]
    for one in pruning.removals[:_SHOWN_REMOVALS]:
        table.append([str(one.what), one.name, about_size(one.bytes), one.why])
    if pruning.removals:
        _print_columns(table, {2}, console)
    if len(pruning.removals) > _SHOWN_REMOVALS:
        console.print(f"and {len(pruning.removals) - _SHOWN_REMOVALS} more (--json has all)")
    for kept in pruning.kept:
        console.print(f"{plain(kept.name)} is kept: {plain(kept.why)}")
    console.print(_sum(pruning))


def _sum(pruning: Pruning) -> str:
    if not pruning.removals:
        return "nothing to remove"
    counts = ((kind, sum(one.what is kind for one in pruning.removals)) for kind in Remains)
    plural = {
        Remains.RUN: "runs",
        Remains.BUILD: "builds",
        Remains.OBJECTS: "object directories",
        Remains.SOURCE: "sources",
        Remains.ROOT: "guest roots",
        Remains.PARCEL: "parcels of other hosts",
        Remains.REPLAY: "replays of past bugs",
        Remains.DOWNLOAD: "downloads",
        Remains.DAMAGED: "damaged things",
        Remains.CACHE: "parts of the compiler's cache",
        Remains.SEARCH: "searches",
    }
    words = ", ".join(f"{count} {plural[kind]}" for kind, count in counts if count)
    size = f"{about_size(pruning.bytes)} ({pruning.bytes} bytes)"
    return f"removed {words}: {size}" if pruning.done else f"would remove {words}: {size}; --yes does it"


_STYLE = {str(Verdict.GOOD): "green", str(Verdict.BAD): "bold red", str(Verdict.CANNOT_TELL): "yellow"}
_STYLE |= {str(one): "red" for one in Outcome if one.finding}


def _console(file: IO[str]) -> Console:
    return console_on(file)


def _print_columns(table: list[list[str]], right: set[int], console: Console) -> None:
    head, *lines = columns(table, right)
    console.print(plain(head), style="bold")
    for row, line in zip(table[1:], lines, strict=True):
        console.print(plain(line), style=next((_STYLE[word] for word in reversed(row) if word in _STYLE), None))
