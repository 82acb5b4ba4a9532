# SPDX-License-Identifier: GPL-2.0-only
"""The gate's matrix for people: a row a patch, a column a check."""

from __future__ import annotations

from typing import IO

from rich.console import Console
from rich.markup import escape

from harness.model.gate import Gate, GateCheck, Mark
from harness.model.outcome import Standing
from harness.reports.columns import columns

_STYLE = {Mark.OK: "green", Mark.WARN: "yellow", Mark.BAD: "bold red", Mark.NOT_RUN: "yellow"}
_VERDICT = {Standing.GOOD: "bold green", Standing.BAD: "bold red", Standing.CANNOT_TELL: "bold yellow"}
_SHOWN = 5


def gate_table(gate: Gate) -> list[list[str]]:
    """The words of the matrix, its head first."""
    names = list(dict.fromkeys(check.name for patch in gate.patches for check in patch.checks))
    rows = [["patch", *names, ""]]
    for patch in gate.patches:
        made = {check.name: str(check.mark) for check in patch.checks}
        rows.append([f"{patch.position}/{patch.total}", *(made.get(name, "-") for name in names), patch.subject])
    return rows


def gate_remarks(gate: Gate) -> list[str]:
    """What was not looked at for warnings though none was found, once each: `ok` alone would say too much."""
    checks = [check for patch in gate.patches for check in patch.checks if check.name == "warnings"]
    said = (f"warnings: {check.message}" for check in checks if check.mark is Mark.OK and check.message)
    return list(dict.fromkeys(said))


def print_gate(gate: Gate, file: IO[str], *, word: str = "verdict", color: bool | None = None) -> None:
    """Writes the matrix, what is behind each mark that is not ok, and the verdict after `word`."""
    console = Console(file=file, force_terminal=color, highlight=False, soft_wrap=True)
    console.print(f"series   {escape(gate.series)}")
    console.print(f"base     {escape(gate.base)}")
    for line in columns(gate_table(gate)):
        console.print(escape(line))
    for line in gate_remarks(gate):
        console.print(f"  [dim]{escape(line)}[/]")
    for patch in gate.patches:
        for check in patch.checks:
            if check.mark is not Mark.OK:
                _print_check(f"{patch.position}/{patch.total}", check, console)
    console.print()
    if gate.first_bad:
        console.print(f"the first bad patch is {gate.first_bad}/{gate.patches[0].total}")
    for reason in gate.reasons if not gate.first_bad else _about_all(gate):
        console.print(f"  {escape(reason)}")
    console.print(f"{word}: [{_VERDICT[gate.verdict]}]{gate.verdict}[/]")


def _about_all(gate: Gate) -> list[str]:
    """The reasons that are of no one patch: what is missing of the series."""
    return [reason for reason in gate.reasons if not reason.startswith("patch ")]


def _print_check(where: str, check: GateCheck, console: Console) -> None:
    console.print(f"  {where} {check.name} [{_STYLE[check.mark]}]{check.mark}[/]: {escape(check.message)}")
    for line in check.details[:_SHOWN]:
        console.print(f"      {escape(line)}")
    if len(check.details) > _SHOWN:
        console.print(f"      and {len(check.details) - _SHOWN} more")
