# SPDX-License-Identifier: GPL-2.0-only
"""Kept runs, read again: the report, of a killed run, too, and the plots beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from harness.flow.run_record import RECORD_FILE, assembled, finished_boots, groups_with_base, load_record
from harness.flow.verdict import unearned
from harness.model.errors import HarnessError, StoreCorrupt, StoreDamaged, UserError
from harness.model.outcome import Verdict
from harness.model.result import REPORT_SCHEMA, Report
from harness.store.journal import Entry
from harness.store.runs import REPORT_FILE, load_report
from harness.store.sealed import damage, read_seal

_PLOT = "telemetry.svg"
_LARGEST_PLOT = 2 << 20
_MOST_PLOTS = 24 << 20  # a page must still open


def read_report(directory: Path) -> Report:
    """The report of a run directory, of a killed run's boots, too. UserError for what another harness wrote,
    StoreDamaged for a verdict that is not believed; what has lost its evidence tells nothing.
    """
    try:
        killed = not (directory / REPORT_FILE).is_file() and (directory / RECORD_FILE).is_file()
        report = assembled(directory) if killed else load_report(directory)
    except StoreCorrupt as error:
        raise UserError(
            f"{directory} is no run that this harness can read: {error.message}",
            hint="another version wrote it, or it is damaged; run it again",
        ) from error
    if report.schema != REPORT_SCHEMA:
        raise UserError(
            f"the report of {directory} is of the form {report.schema!r}, this harness reads {REPORT_SCHEMA!r}",
            hint="run it again",
        )
    require_earned(report, directory)
    return _with_lost(report, _lost(report, directory))


def require_earned(report: Report, directory: Path) -> None:
    """StoreDamaged when the report says something else than its boots."""
    try:
        based = groups_with_base(load_record(directory))
    except HarnessError:  # the report alone was kept
        based = None
    if why := unearned(report, based):
        raise StoreDamaged(
            f"{directory / REPORT_FILE} is not believed: {why}",
            hint="it was changed, or another version of the harness wrote it; run it again",
        )


def _lost(report: Report, directory: Path) -> Mapping[str, str]:
    """The boots, by their folders, whose evidence is not what they left, and why. An older harness did not say what
    that was, and where the report alone was kept, nobody does.
    """
    if not (directory / RECORD_FILE).exists():
        return {}
    finished = {entry.place: entry for entry in finished_boots(directory).values()}
    whys = {run.directory: _why_lost(directory / run.directory, finished.get(run.directory)) for run in report.runs}
    return {place: why for place, why in whys.items() if why}


def _why_lost(place: Path, entry: Entry | None) -> str:
    if entry is None:
        return f"{place} is not in the journal of the run"
    if not entry.sealed:
        return ""
    try:
        same = read_seal(place).id == entry.sealed
    except StoreDamaged as error:
        return error.message
    return damage(place) if same else f"{place} is not sealed as it was when it was made"


def _with_lost(report: Report, lost: Mapping[str, str]) -> Report:
    if not lost:
        return report
    runs = tuple(
        replace(
            run,
            problems=(*run.problems, lost[run.directory]),
            reasons=(lost[run.directory], *run.reasons),
            verdict=Verdict.CANNOT_TELL,
        )
        if run.directory in lost
        else run
        for run in report.runs
    )
    why = f"the evidence of {len(lost)} boot{'s' if len(lost) > 1 else ''} is not what was left: {min(lost.values())}"
    return replace(report, runs=runs, verdict=Verdict.CANNOT_TELL, reasons=(why, *report.reasons))


def read_plots(report: Report, directory: Path) -> dict[str, str]:
    """The text of each run's plot, as long as all together stay small enough. Links, and what lies elsewhere than
    in the run directory, are left out: a report may have been written by somebody else.
    """
    found: dict[str, str] = {}
    left = _MOST_PLOTS
    for run in report.runs:
        path = directory / run.directory / _PLOT
        if path.is_symlink() or not path.is_file() or path.resolve().parent.parent != directory.resolve():
            continue
        size = path.stat().st_size
        if size <= min(left, _LARGEST_PLOT):
            found[run.id] = path.read_text(encoding="utf-8", errors="replace")
            left -= size
    return found
