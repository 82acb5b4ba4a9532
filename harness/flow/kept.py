# SPDX-License-Identifier: GPL-2.0-only
"""Kept runs, read again: the report, of a killed run, too, and the plots beside it."""

from __future__ import annotations

from pathlib import Path

from harness.flow.record import RECORD_FILE, assembled
from harness.model.errors import StoreCorrupt, UserError
from harness.model.result import REPORT_SCHEMA, Report
from harness.store.runs import REPORT_FILE, load_report

_PLOT = "telemetry.svg"
_LARGEST_PLOT = 2 << 20
_MOST_PLOTS = 24 << 20  # a page must still open


def read_report(directory: Path) -> Report:
    """The report of a run directory, of a killed run's boots, too. UserError for what another harness wrote."""
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
    return report


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
