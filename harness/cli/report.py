# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness report RUN --as text|junit|json`."""

from __future__ import annotations

import sys

import click

from harness.cli import speaks_plainly
from harness.flow.record import RECORD_FILE, assembled
from harness.model.codec import to_json
from harness.store.layout import Layout
from harness.store.runs import REPORT_FILE, find_run, load_report


@click.command()
@click.argument("run", default="latest")
@click.option("--as", "form", type=click.Choice(["text", "junit", "json"]), default="text", show_default=True)
@speaks_plainly
def report(run: str, form: str) -> None:
    """The report of a kept RUN (its directory, its name, the end of its name, or `latest`)."""
    directory = find_run(Layout.from_environment(), run)
    # A run that was killed has no report yet, but what its boots left to make one of.
    killed = not (directory / REPORT_FILE).is_file() and (directory / RECORD_FILE).is_file()
    kept = assembled(directory) if killed else load_report(directory)
    if form == "json":
        click.echo(to_json(kept), nl=False)
    elif form == "junit":
        from harness.reports.junit import to_junit

        click.echo(to_junit(kept))
    else:
        from harness.reports.text import print_report

        print_report(kept, directory, sys.stdout)
    sys.exit(kept.verdict.exit_status)
