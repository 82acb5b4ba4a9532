# SPDX-License-Identifier: GPL-2.0-only
"""What a boot was made into, for people: how much smaller it is, and how to do it again."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from harness.model.search import Answer, MinimiseOutput
from harness.model.units import format_seconds
from harness.reports.columns import columns
from harness.reports.console import console_on, plain


def print_minimised(output: MinimiseOutput, place: Path, file: IO[str], *, color: bool | None = None) -> None:
    console = console_on(file, color=color)
    made = f"{output.boots} boots made, {output.kept} that were there, {format_seconds(output.seconds)}"
    if not output.failed:
        console.print(plain(f"{output.boot} did not fail again: {output.whole}; looked for: {output.question}"))
        console.print(plain(made))
        return
    rows = [("", "was", "is")]
    rows += [(one.name, one.before, one.after or "none") for one in output.shrunk if one.before != one.after]
    stayed = [f"{one.name} {one.before}" for one in output.shrunk if one.before == one.after]
    for line in columns(rows) if len(rows) > 1 else ["nothing of it can be smaller"]:
        console.print(plain(line))
    if stayed:
        console.print(plain(f"as it was: {'; '.join(stayed)}"))
    console.print()
    console.print(plain(f"as it was it failed in {output.whole}; now in {output.smallest}"))
    for sight in [one for one in output.sights if one.answer is Answer.BAD][:1]:
        console.print(plain(f"  {sight.why}  ({sight.run}/{sight.boot})"))
    far = "" if output.finished else "; it had to end before all was tried"
    console.print(plain(f"{made}{far}"))
    console.print()
    console.print(plain(output.command))
    console.print(f"[dim]{plain(place)}/smallest.toml[/]")
    if output.bundle:
        console.print(plain(f"the bundle {output.bundle[:12]} has it for somebody else"))
    elif output.no_bundle:
        console.print(plain(f"no bundle: {output.no_bundle}"))
