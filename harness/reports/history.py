# SPDX-License-Identifier: GPL-2.0-only
"""The table of `ttm-harness history`: each bug, who said so and when, and what sees it here."""

from __future__ import annotations

from collections import Counter
from typing import IO

from harness.model.outcome import Verdict
from harness.model.regression import HistoryOutput, Told
from harness.reports.columns import columns
from harness.reports.console import console_on, plain

_HEAD = ["bug", "", "reported", "by", "seen here by", "in"]
_STYLE = {Verdict.GOOD: "bold green", Verdict.BAD: "bold red", Verdict.CANNOT_TELL: "bold yellow"}
_CASES = 2  # of the cases that turned red, so many are named


def history_table(found: HistoryOutput) -> list[list[str]]:
    """The words of the table, its head first."""
    return [_HEAD, *(_row(one) for one in found.regressions)]


def _row(one: Told) -> list[str]:
    bug = one.regression
    return [bug.id, bug.what, reported(one), bug.by, *_seen(one)]


def reported(one: Told) -> str:
    """`2026-04-28, 464 days after v6.13`; as much of it as is known."""
    bug = one.regression
    if one.days is None or not bug.arrived:
        return bug.said
    days = "the day on which" if not one.days else f"{one.days} {'day' if one.days == 1 else 'days'} after"
    return f"{bug.said}, {days} {bug.arrived}"


def _seen(one: Told) -> list[str]:
    if one.replay is None:
        return ["", ""]
    if not one.replay.by:
        return [str(one.replay.outcome), ""]
    cases = [case.partition(".")[2] or case for case in one.replay.by]
    more = f" and {len(cases) - _CASES} more" if len(cases) > _CASES else ""
    return [f"{', '.join(cases[:_CASES])}{more}", f"{one.replay.seconds:.0f} s"]


def history_markdown(found: HistoryOutput) -> str:
    """The same table for a page, where what was not seen says why in its place."""
    lines = ["| | bug | said first | seen here by | in |", "|---|---|---|---|---|"]
    for one in found.regressions:
        seen, seconds = _seen(one)
        why = "; ".join(one.replay.reasons) if one.replay is not None and not one.replay.by else ""
        cells = (one.regression.id, one.regression.what, reported(one), f"{seen}: {why}" if why else seen, seconds)
        lines.append("".join(f"| {cell.replace('|', '/')} " if cell else "| " for cell in cells) + "|")
    return "\n".join((*lines, ""))


def print_history(found: HistoryOutput, file: IO[str], *, color: bool | None = None) -> None:
    """Writes the table, why what was not seen was not, the sum, and the verdict."""
    console = console_on(file, color=color)
    for line in columns(history_table(found), right={len(_HEAD) - 1}):
        console.print(plain(line))
    console.print()
    made = [one for one in found.regressions if one.replay is not None]
    for one in made:
        assert one.replay is not None
        if not one.replay.by:
            console.print(
                f"  {plain(one.regression.id)} {one.replay.outcome}: {plain('; '.join(one.replay.reasons))}"
            )
    if not made:
        return
    counts = Counter(str(one.replay.outcome) for one in made if one.replay is not None)
    console.print(plain(f"{len(found.regressions)} bugs: {', '.join(f'{n} {word}' for word, n in counts.items())}"))
    console.print(f"verdict: [{_STYLE[found.verdict]}]{found.verdict}[/]")
