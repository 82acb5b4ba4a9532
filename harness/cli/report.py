# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness report RUN --as text|junit|json|html`."""

from __future__ import annotations

import sys

import click

from harness.cli.plainly import speaks_plainly
from harness.store.layout import Layout


@click.command()
@click.argument("run", default="latest")
@click.option("--as", "form", type=click.Choice(["text", "junit", "json", "html"]), default="text", show_default=True)
@speaks_plainly
def report(run: str, form: str) -> None:
    """The report of a kept RUN (its directory, its name, the end of its name, or `latest`)."""
    from harness.flow.run_loader import read_plots, read_report
    from harness.store.runs import find_run

    directory = find_run(Layout.to_read(), run)
    kept = read_report(directory)
    if form == "json":
        from harness.model.codec import to_json

        click.echo(to_json(kept), nl=False)
    elif form == "junit":
        from harness.reports.junit import to_junit

        click.echo(to_junit(kept))
    elif form == "html":
        from harness.reports.html import report_html

        click.echo(report_html(kept, directory, read_plots(kept, directory)), nl=False)
    else:
        from harness.reports.text import print_report

        print_report(kept, directory, sys.stdout)
    sys.exit(kept.verdict.exit_status)
