# SPDX-License-Identifier: GPL-2.0-only
"""The summary of a night for people: what counts first, then what was found, run, left, and may be known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO

from harness.model.nightly import Against, JobRow, Night
from harness.model.outcome import Verdict
from harness.model.units import format_seconds
from harness.reports.columns import columns
from harness.reports.console import console_on, plain

_SHOWN = 40
_SHOWN_REASONS = 3


def print_night(night: Night, file: IO[str]) -> None:
    """The whole summary."""
    console = console_on(file)
    for line in _lines(night):
        console.print(plain(line) if line else "")


def print_ahead(night: Night, file: IO[str]) -> None:
    """What a night would do."""
    console = console_on(file)
    lines = [*night.troubles, *_new(night), *_listed("to be run", [one.label for one in night.left])]
    for line in lines or ["nothing new since the night before"]:
        console.print(plain(line) if line else "")


def _lines(night: Night) -> Iterator[str]:
    yield f"night {night.name}: {night.verdict}"
    if night.interrupted:
        yield f"goes on from {night.interrupted}, which did not come to its end"
    if night.idle:
        yield f"nothing new since the night before; looked at in {format_seconds(night.seconds)}"
    else:
        yield f"took {format_seconds(night.seconds)}"
    yield from _listed("", night.reasons)
    yield from _new(night)
    if tonight := [row for row in night.rows if row.tonight]:
        yield from ("", "run")
        yield from _table(tonight)
        yield from (f"  {line}" for row in tonight for line in _changes(row))
    if standing := [row for row in night.rows if not row.tonight]:
        yield from ("", "stands from before")
        yield from _table(standing)
    yield from _listed("left", [_left(one.label, one.boots, one.why) for one in night.left])
    if night.control is not None:
        one = night.control
        why = f": {one.reasons[0]}" if one.reasons else ""
        yield from ("", f"control {one.name} in {one.kernel}: {one.noticed}{why}")
    elif not night.idle:
        yield from ("", "no control boot: nothing shows that a bug would have been seen")
    yield from _listed("known issues", [f"{one.kind}: {one.name}: {one.why}" for one in night.proposals])
    if night.proposals:
        yield f"  proposals are in {night.proposals_file}"
    if night.removed:
        yield from ("", night.removed)


def _new(night: Night) -> Iterator[str]:
    kernels = [f"{one.label}  ({one.watch})" for one in night.kernels if one.new]
    revisions = [f"{one.label}  ({one.watch})" for one in night.revisions if one.new]
    yield from _listed("new", [*kernels, *revisions])
    again = [f"{one.label} is {one.of} sent again  ({one.watch})" for one in night.resends if one.new]
    yield from _listed("resent", again)


def _listed(heading: str, lines: Sequence[str]) -> Iterator[str]:
    if not lines:
        return
    if heading:
        yield from ("", heading)
    yield from (f"  {line}" for line in _some(lines))


def _some(lines: Sequence[str]) -> Iterator[str]:
    yield from lines[:_SHOWN]
    if len(lines) > _SHOWN:
        yield f"and {len(lines) - _SHOWN} more"


def _table(rows: Sequence[JobRow]) -> Iterator[str]:
    table = [["job", "boots", "taken over", "left", "verdict", "run"]]
    for row in rows:
        result = row.result
        counts = [str(number) if number else "-" for number in (result.boots, result.taken_over, result.left)]
        label = row.job.label if row.job.current else f"{row.job.label} (there is a newer one)"
        table.append([label, *counts, str(result.verdict), result.run or result.trouble or "-"])
    yield from (f"  {line}" for line in columns(table, {1, 2, 3}))


def _changes(row: JobRow) -> Iterator[str]:
    yield from _some([f"{row.job.label} showed {one.words}" for one in row.result.sightings])
    if row.result.verdict is not Verdict.GOOD and not row.result.sightings:
        yield from (f"{row.job.label}: {reason}" for reason in row.result.reasons[:_SHOWN_REASONS])
    for one in row.result.against:
        yield f"{row.job.label} against {one.label} ({one.beside}): {changes_words(one)}"
        yield from (f"  {reason}" for reason in one.reasons)


def changes_words(one: Against) -> str:
    """`5 NEW, 1 FIXED`."""
    if not one.changes:
        return "cannot tell" if one.verdict.exit_status == 3 else "nothing changed"
    return ", ".join(f"{count} {word}" for word, count in one.changes.items())


def _left(label: str, boots: int, why: str) -> str:
    return f"{label}: {f'{boots} boots, ' if boots else ''}{why}"
