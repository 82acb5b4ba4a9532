# SPDX-License-Identifier: GPL-2.0-only
"""The gate's matrix for people: a row a patch, a column a check."""

from __future__ import annotations

from typing import IO

from rich.console import Console

from harness.model.gate import Gate, GateCheck, Mark
from harness.model.outcome import Verdict
from harness.model.series import say_build_time
from harness.reports.columns import columns
from harness.reports.console import console_on, plain

_STYLE = {Mark.OK: "green", Mark.WARN: "yellow", Mark.BAD: "bold red", Mark.NOT_RUN: "yellow"}
_VERDICT = {Verdict.GOOD: "bold green", Verdict.BAD: "bold red", Verdict.CANNOT_TELL: "bold yellow"}
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
    console = console_on(file, color=color)
    console.print(f"series   {plain(gate.series)}")
    console.print(f"base     {plain(gate.base)}")
    for line in columns(gate_table(gate)):
        console.print(plain(line))
    for line in gate_remarks(gate):
        console.print(f"  [dim]{plain(line)}[/]")
    for patch in gate.patches:
        if said := say_build_time(patch.build_time):
            console.print(f"  {patch.position}/{patch.total} {plain(said)}")
        for check in patch.checks:
            if check.mark is not Mark.OK:
                _print_check(f"{patch.position}/{patch.total}", check, console)
    console.print()
    if gate.first_bad:
        console.print(f"the first bad patch is {gate.first_bad}/{gate.patches[0].total}")
    for reason in gate.reasons if not gate.first_bad else _about_all(gate):
        console.print(f"  {plain(reason)}")
    console.print(f"{word}: [{_VERDICT[gate.verdict]}]{gate.verdict}[/]")


def _about_all(gate: Gate) -> list[str]:
    """The reasons that are of no one patch: what is missing of the series."""
    return [reason for reason in gate.reasons if not reason.startswith("patch ")]


def _print_check(where: str, check: GateCheck, console: Console) -> None:
    console.print(f"  {where} {plain(check.name)} [{_STYLE[check.mark]}]{check.mark}[/]: {plain(check.message)}")
    for line in check.details[:_SHOWN]:
        console.print(f"      {plain(line)}")
    if len(check.details) > _SHOWN:
        console.print(f"      and {len(check.details) - _SHOWN} more")
