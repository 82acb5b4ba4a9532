# SPDX-License-Identifier: GPL-2.0-only
"""A report for people: what ran on what, what came out, and where the evidence lies."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.table import Table

from harness.model.compare import Cost, Leg, MachineRow
from harness.model.machine import GuestFacts, Machine
from harness.model.outcome import Ending, Outcome, Verdict
from harness.model.result import Case, LeftOut, Provenance, Report, Run
from harness.model.swap import SwapKind
from harness.model.units import MIB, format_seconds
from harness.reports.changes import STYLE, print_changes, print_known
from harness.reports.columns import columns
from harness.reports.console import console_on, plain
from harness.reports.gate import print_gate

_SHOWN_PER_RUN = 12
_SHOWN_RUNS = 12
_SHOWN_OOMS = 2
_SHOWN_PRINTS = 4
_EXCERPT_LINES = 6
_SHA256 = re.compile(r" sha256:[0-9a-f]{64}|[( ]*series [0-9a-f]{64}\)?")
_SHOWN_REASONS = 30


def print_report(report: Report, directory: Path, file: IO[str], *, color: bool | None = None) -> None:
    """Writes the report; plain when `file` is not a terminal, unless `color` says otherwise."""
    console = console_on(file, color=color)
    for word, where in origins(report):
        _print_provenance(word, where, console)
    for line in left_out_words(report.left_out):
        console.print(plain(line))
    for gate in report.gates:
        print_gate(gate, file, word="the gate", color=color)
        console.print()
    shown = _worth_showing(report)
    for run in shown:
        _print_run(run, report, directory, console)
    if len(shown) < len(report.runs):
        console.print(f"and {len(report.runs) - len(shown)} more guests in report.json")
    if report.base is not None:
        print_changes(report.comparisons, report.event_changes, report.metric_changes, report.known, console)
    else:
        print_known(report.known, console)
    for line in spread(report):
        console.print(plain(line))
    if report.machines:
        console.print()
        for line in machine_table(report.machines):
            console.print(plain(line), soft_wrap=True)
    console.print()
    for reason in report.reasons[:_SHOWN_REASONS]:
        console.print(f"  {plain(reason)}")
    style = STYLE[report.verdict]
    presubmit = _presubmit_words(report, console)
    console.print(f"verdict: [{style}]{report.verdict}[/]{presubmit}   [dim]{plain(directory)}[/]")


def _presubmit_words(report: Report, console: Console) -> str:
    """What stands behind the verdict of a first answer, after the lines on how it was chosen."""
    found = report.presubmit
    if found is None:
        return ""
    console.print(f"presubmit: these cases caught {plain(found.sentence)}")
    if found.unknown:
        console.print(plain(f"  no control is in {', '.join(found.unknown)}"), soft_wrap=True)
    if found.left_out:
        console.print(plain(f"  left out for {found.budget:g} s: {', '.join(found.left_out)}"), soft_wrap=True)
    if report.base is not None and not report.gates:
        console.print("  left out: the gate on each patch, which --gate adds")
    return ", as far as these few cases tell (presubmit)"


def spread(report: Report) -> list[str]:
    """How often each case that was ever bad ended in which way, where boots of one kernel were repeated."""
    kinds = {run.id: (run.group, run.leg, run.cell.build_id) for run in report.runs}
    boots = Counter(kinds.values())
    if report.base is not None or max(boots.values(), default=0) < 2:
        return []
    found: dict[tuple[str, str, str], list[Case]] = {}
    for case in report.cases:
        found.setdefault((kinds[case.run][0], case.suite, case.name), []).append(case)
    rows = [("", f"outcomes in {len(report.runs)} boots", "fingerprints")]
    for (group, _, name), cases in found.items():
        if any(case.outcome.finding for case in cases):
            ends = Counter(str(case.outcome) for case in cases)
            prints = Counter(event.fingerprint for case in cases for event in case.events if not event.expected)
            rows.append(
                (
                    f"{name} ({group})" if group else name,
                    ", ".join(f"{count} {word}" for word, count in ends.most_common()),
                    ", ".join(f"{count} {word}" for word, count in prints.most_common(_SHOWN_PRINTS)),
                )
            )
    return ["", *columns(rows)] if len(rows) > 1 else []


def left_out_words(left_out: Iterable[LeftOut]) -> list[str]:
    """A line for each suite that a kernel is too old for; those that should be there are reasons of the verdict."""
    return [f"without  {one.suite}: {one.why}" for one in left_out if not one.counts]


def origins(report: Report) -> list[tuple[str, Provenance]]:
    """The kernels, each once, and what each is. Where none was booted nobody knows more than that they were built."""
    if not report.runs and report.base is None:
        return [("built", one) for one in report.kernels or (report.provenance,)]
    rows = [("base", report.base)] if report.base is not None else []
    rows.append(("kernel", report.provenance))
    told = {one.build_id for _, one in rows}
    return rows + [("also", one) for one in report.kernels if one.build_id not in told]


def _worth_showing(report: Report) -> list[Run]:
    """All guests of a few; of many those that are not good, as far as anybody reads."""
    if len(report.runs) <= _SHOWN_RUNS:
        return list(report.runs)
    return [run for run in report.runs if run.verdict is not Verdict.GOOD][:_SHOWN_RUNS]


def machine_table(rows: Sequence[MachineRow]) -> list[str]:
    """One line a machine: what came out on base and tip, in which cases memory ran out, what it cost."""
    table = machine_rows_words(rows)
    legs = len(table[0]) // 4
    return columns(table, {1 + 4 * place + part for place in range(legs) for part in (2, 3)})


def machine_rows_words(rows: Sequence[MachineRow]) -> list[list[str]]:
    """The words of that table, its head first."""
    legs = [leg for leg in Leg if any(_cost(row, leg) is not None for row in rows)]
    based = Leg.BASE in legs
    head = ["machine"]
    for leg in legs:
        head += [str(leg) if based else "verdict", "OOM kill in", "time", "pages swapped"]
    table = [[*head, "change"] if based else head]
    for row in rows:
        words = [row.machine]
        for leg in legs:
            words += _cost_words(_cost(row, leg))
        table.append([*words, ", ".join(row.changes) or "-"] if based else words)
    return table


def _cost(row: MachineRow, leg: Leg) -> Cost | None:
    return row.base if leg is Leg.BASE else row.tip


def _cost_words(cost: Cost | None) -> list[str]:
    if cost is None:
        return ["-", "-", "-", "-"]
    unclear = cost.boots - cost.good - cost.bad
    counts = ((cost.good, Verdict.GOOD), (cost.bad, Verdict.BAD), (unclear, Verdict.CANNOT_TELL))
    said = [f"{count}/{cost.boots} {word}" if cost.boots > 1 else str(word) for count, word in counts if count]
    cases = [name.rpartition(".")[2] for name in cost.oom_in]
    more = f" and {len(cases) - _SHOWN_OOMS} more" if len(cases) > _SHOWN_OOMS else ""
    return [
        ", ".join(said),
        (", ".join(cases[:_SHOWN_OOMS]) + more) or "-",
        "-" if cost.seconds is None else format_seconds(cost.seconds),
        "-" if cost.swapped is None else f"{cost.swapped:,}",
    ]


def _print_provenance(word: str, where: Provenance, console: Console) -> None:
    warnings = f", {where.build_warnings} warnings" if where.build_warnings else ""
    console.print(f"{word:<8} {plain(where.tree_version)}  ({plain(origin_words(where))})")
    console.print(f"build    {plain(where.build_id[:12])}  {plain(where.profile)}, {plain(where.compiler)}{warnings}")


def origin_words(where: Provenance) -> str:
    """Where the kernel came from, without the hashes, which stand beside it."""
    return without_hash(where.tree_origin)


def without_hash(origin: str) -> str:
    """The origin of a tree as people say it."""
    return _SHA256.sub("", origin)


def _print_run(run: Run, report: Report, directory: Path, console: Console) -> None:
    cases = [case for case in report.cases if case.run == run.id]
    told = (*([run.leg.word] if report.base is not None else []), *([run.group] if run.group else []))
    words = f"[bold]{plain(', '.join(told))}[/]: " if told else ""
    kept = f"   [dim]kept from {plain(run.kept_from)}[/]" if run.kept_from else ""
    where = f"   [dim]on {plain(run.host)}[/]" if run.host else ""
    console.print(f"guest    {words}{plain(reached_words(run))}, seed {run.cell.seed}{kept}{where}")
    if run.ending is not Ending.FINISHED:
        console.print(f"ending   [bold red]{run.ending}[/] in {plain(run.phase)}")
    for one in run.more:
        count = "1 case" if one.cases == 1 else f"{one.cases} cases"
        console.print(f"again    {plain(f'{one.directory}: {one.why} ({count}): {one.ending}')}")
    table = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    table.add_column("suite")
    for word in ("executed", "pass", "not run", "skip", "bad"):
        table.add_column(word, justify="right")
    table.add_column("time", justify="right")
    for suite in run.cell.suites:
        table.add_row(*_row(suite, [case for case in cases if case.suite == suite], run))
    console.print(table)
    for problem in run.problems:
        console.print(f"  [yellow]{plain(problem)}[/]")
    for difference in run.differences:
        console.print(f"  [yellow]asked is not got: {plain(difference)}[/]")
    for note in run.notes:
        console.print(f"  [dim]{plain(note)}[/]")
    shown = [case for case in cases if case.outcome.finding or case.outcome is Outcome.INCOMPLETE]
    shown += [case for case in cases if case.outcome is Outcome.NOT_RUN]
    for case in shown[:_SHOWN_PER_RUN]:
        _print_case(case, console)
    if len(shown) > _SHOWN_PER_RUN:
        console.print(f"  and {len(shown) - _SHOWN_PER_RUN} more in report.json")
    if run.verdict is not Verdict.GOOD:
        console.print(f"  console  {plain(directory / run.directory / 'console.log')}")
    if run.verdict is not Verdict.GOOD and not run.cell.machine.at:
        console.print(f"  replay   {plain(directory / run.directory / 'reproduce.sh')}")


def reached_words(run: Run) -> str:
    """The machine as the guest found it, or as it was asked for where the guest told nothing."""
    facts, machine = run.facts, run.cell.machine
    ram, accel = f"{machine.ram >> 20}M RAM", machine.at or f"{run.accel or machine.accel}"
    if facts is None:
        return f"{ram}, swap {machine.swap}, {accel}"
    free = f"{facts.free >> 20}M free at start"
    return ", ".join((ram, free, _swap(machine, facts), *_settings(machine, facts), f"{facts.cpus} vCPUs", accel))


def _swap(machine: Machine, facts: GuestFacts) -> str:
    """The sum where that is all there is to say, or each area as the guest has it."""
    # swapon keeps one page for its header.
    total = f"{-(-facts.swap_total // MIB)}M swap"
    asked = machine.swap.areas
    if [area.kind for area in asked] in ([], [SwapKind.DISK]) or len(asked) != len(facts.swaps):
        return total
    several = len(asked) > 1
    areas = []
    for area, got in zip(asked, facts.swaps, strict=True):
        words = [f"{-(-got.size // MIB)}M", str(area.kind)]
        if area.kind is SwapKind.ZSWAP and facts.zswap is not None:
            words += [facts.zswap.compressor, f"{facts.zswap.pool_percent}%"] if facts.zswap.enabled else ["off"]
        words += [got.algorithm] if got.algorithm else []
        words += [f"{got.rate / MIB:.1f}M/s" if area.bps else f"{got.rate}/s"] if got.rate else []
        areas.append(" ".join(words) + (f" @{got.priority}" if several else ""))
    return f"{total} ({', '.join(areas)})"


def _settings(machine: Machine, facts: GuestFacts) -> Iterator[str]:
    """What was asked for beside RAM and swap, as it was reached."""
    for setting, _ in machine.asked:
        yield f"{setting.word} {setting.shown(getattr(facts, setting.key))}"
    if machine.free is not None:
        yield f"{facts.held >> 20}M taken away"


def _row(suite: str, cases: list[Case], run: Run) -> tuple[str, ...]:
    seconds = next((stage.seconds for stage in run.stages if stage.name == suite), None)
    outcomes = [case.outcome for case in cases]
    bad = sum(outcome.finding or outcome is Outcome.INCOMPLETE for outcome in outcomes)
    return (
        plain(suite),
        str(sum(outcome.executed for outcome in outcomes)),
        f"[green]{outcomes.count(Outcome.PASS) + outcomes.count(Outcome.XFAIL)}[/]",
        _colored(outcomes.count(Outcome.NOT_RUN), "yellow"),
        str(outcomes.count(Outcome.SKIP)),
        _colored(bad, "bold red"),
        format_seconds(seconds) if seconds is not None else "-",
    )


def _colored(count: int, style: str) -> str:
    return f"[{style}]{count}[/]" if count else "0"


def _print_case(case: Case, console: Console) -> None:
    style = "red" if case.outcome.finding else "yellow"
    folder = f"{case.boot}/" if case.boot else ""
    where = f"  ({folder}console.log:{case.span.first})" if case.span is not None else ""
    console.print(f"  [{style}]{case.outcome}[/] {plain(case.suite)} {plain(case.name)}{where}")
    if case.message:
        console.print(f"      {plain(case.message)}")
    for event in case.events:
        if event.title not in case.message:
            console.print(f"      {plain(event.title)}")
        for line in event.lines[:_EXCERPT_LINES]:
            console.print(f"      [dim]{plain(line)}[/]")
