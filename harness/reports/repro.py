# SPDX-License-Identifier: GPL-2.0-only
"""What came of a boot that was made again, for people."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from harness.model.outcome import Verdict
from harness.model.repro import Again, Repro
from harness.reports.changes import STYLE
from harness.reports.console import console_on, plain

_MOST = 30


def print_repro(repro: Repro, directory: Path, file: IO[str], *, color: bool | None = None) -> None:
    """Writes the counts; plain when `file` is not a terminal, unless `color` says otherwise."""
    console = console_on(file, color=color)
    for sentence in repro.unlike:
        console.print(f"not the same: {plain(sentence)}")
    what = "good again" if repro.was is Verdict.GOOD else "again what it was"
    console.print(f"{plain(repro.of)}, which was {repro.was}: {what} in {repro.again} of {repro.told} boots")
    if repro.told < repro.boots:
        console.print(f"{repro.boots - repro.told} more boots could not tell")
    for title, found in (("what it had", repro.findings), ("what it had not", repro.more)):
        if found:
            console.print(f"\n{title}:")
            for one in found[:_MOST]:
                console.print(f"  {plain(_line(one, repro.told))}")
            if len(found) > _MOST:
                console.print(f"  and {len(found) - _MOST} more")
    style = STYLE[repro.verdict]
    console.print(f"\nverdict: [{style}]{repro.verdict}[/]   [dim]{plain(directory)}[/]")


def _line(one: Again, of: int) -> str:
    finding = one.finding
    what = f"{finding.outcome} {finding.name}" if finding.outcome else f"{finding.kind}: {finding.name}"
    fingerprint = f"  [{finding.fingerprint}]" if finding.fingerprint else ""
    return f"{one.boots}/{of}  {what}{fingerprint}"
