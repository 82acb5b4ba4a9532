# SPDX-License-Identifier: GPL-2.0-only
"""A night, published: its summary, and the reports of what it ran, as files that others can fetch or serve."""

from __future__ import annotations

import io
from pathlib import Path

from harness.flow.run_loader import read_plots, read_report
from harness.model.codec import to_json
from harness.model.errors import HarnessError
from harness.model.nightly import Night
from harness.reports.html import report_html
from harness.reports.junit import to_junit
from harness.reports.nightly import print_night
from harness.reports.text import print_report
from harness.store.files import write_atomically
from harness.store.layout import Layout

SUMMARY = "summary"
LATEST = "latest"


def publish(night: Night, layout: Layout, target: Path) -> tuple[str, ...]:
    """Writes TARGET/NIGHT/ and TARGET/latest.*; sentences for what could not be. To do it again changes nothing.

    The one place for all that a night tells the world.
    """
    place = target / night.name
    place.mkdir(parents=True, exist_ok=True)
    troubles = []
    for run in dict.fromkeys(row.result.run for row in night.rows if row.tonight and row.result.run):
        try:
            _report(layout.runs / run, place)
        except HarnessError as error:
            troubles.append(f"the run {run} is not published: {error.message}")
    text, plain = text_of(night), to_json(night)
    for path in (place / SUMMARY, target / LATEST):
        write_atomically(path.with_suffix(".txt"), text)
        write_atomically(path.with_suffix(".json"), plain)
    return tuple(troubles)


def text_of(night: Night) -> str:
    """The summary for people."""
    page = io.StringIO()
    print_night(night, page)
    return page.getvalue()


def _report(directory: Path, place: Path) -> None:
    """A run's report in each of its forms."""
    report = read_report(directory)
    page = io.StringIO()
    print_report(report, directory, page)
    name = place / directory.name
    write_atomically(name.with_suffix(".txt"), page.getvalue())
    write_atomically(name.with_suffix(".json"), to_json(report))
    write_atomically(name.with_suffix(".xml"), to_junit(report))
    write_atomically(name.with_suffix(".html"), report_html(report, directory, read_plots(report, directory)))
