# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness report`: a kept run, in the form that is asked for; told to others where that is asked for."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.plainly import speaks_plainly
from harness.model.errors import UserError
from harness.store.layout import Layout

if TYPE_CHECKING:  # what is imported where it is used
    from harness.model.result import Report

_FORMS = ("text", "junit", "json", "html", "kcidb", "mail")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What only some forms need."""

    origin: str
    sender: str
    to: tuple[str, ...]
    url: str


@click.command()
@click.argument("run", default="latest")
@click.option("--as", "form", type=click.Choice(_FORMS), default="text", show_default=True)
@click.option(
    "--url", default="", metavar="URL", help="Where people find the report; for mail, --patchwork, --notify."
)
@click.option("--from", "sender", default="", metavar="ADDRESS", help="Of the mail.")
@click.option("--to", multiple=True, metavar="ADDRESS", help="Of the mail; else the author of the series.")
@click.option("--send", default="", metavar="smtp://HOST", help="Send the mail; without it, it is only a draft.")
@click.option("--origin", default="", metavar="NAME", help="Of KCIDB: your CI system.  [default: ttm_harness]")
@click.option("--patchwork", default="", metavar="URL", help="Post the checks to this series or patch.")
@click.option("--notify", default="", metavar="COMMAND", help="Give the verdict to a command, as JSON on its input.")
@speaks_plainly
def report(
    run: str,
    form: str,
    url: str,
    sender: str,
    to: tuple[str, ...],
    send: str,
    origin: str,
    patchwork: str,
    notify: str,
) -> None:
    """The report of a kept RUN (its directory, its name, the end of its name, or `latest`).

    \b
    Nothing leaves this host but by --send, --patchwork and --notify. A password of the mail
    server is taken from TTM_HARNESS_SMTP_PASSWORD, a token of the patchwork from
    TTM_HARNESS_PATCHWORK_TOKEN. docs/pages.md tells of each form.
    """
    from harness.flow.run_loader import read_report
    from harness.store.runs import find_run

    if send and form != "mail":
        raise UserError("--send sends a mail", hint="--as mail --send " + send)
    directory = find_run(Layout.to_read(), run)
    kept = read_report(directory)
    if form == "mail":
        _mail(kept, directory, _Asked(origin, sender, to, url), send)
    else:
        _print(kept, directory, form, origin)
    if patchwork:
        from harness.flow.tell import post_checks

        for patch, check in post_checks(kept, patchwork, url):
            click.echo(f"patch {patch}: {check.context} {check.state}: {check.description}", err=True)
    if notify:
        from harness.flow.tell import notice
        from harness.flow.tell import notify as call

        call(notify, notice(kept, directory, url))
    sys.exit(kept.verdict.exit_status)


def _print(kept: Report, directory: Path, form: str, origin: str) -> None:
    if form == "json":
        from harness.model.codec import to_json

        click.echo(to_json(kept), nl=False)
    elif form == "junit":
        from harness.reports.junit import to_junit

        click.echo(to_junit(kept))
    elif form == "html":
        from harness.flow.run_loader import read_plots
        from harness.reports.html import report_html

        click.echo(report_html(kept, directory, read_plots(kept, directory)), nl=False)
    elif form == "kcidb":
        from harness.cli.progress import TerminalProgress
        from harness.flow.tell import posting_of, record_of
        from harness.reports.kcidb import ORIGIN, to_kcidb

        posting = posting_of(kept, record_of(directory), Layout.to_read(), TerminalProgress())
        click.echo(to_kcidb(kept, origin or ORIGIN, posting.message_id), nl=False)
    else:
        from harness.reports.text import print_report

        print_report(kept, directory, sys.stdout)


def _mail(kept: Report, directory: Path, asked: _Asked, send: str) -> None:
    """The draft on standard output; sent, where a server is named."""
    from harness.cli.progress import TerminalProgress
    from harness.flow.tell import again_lines, posting_of, record_of, require_whole, send_mail
    from harness.reports.mail import Envelope, draft

    require_whole(kept)
    record = record_of(directory)
    posting = posting_of(kept, record, Layout.to_read(), TerminalProgress())
    envelope = Envelope(asked.sender, asked.to, asked.url)
    mail = draft(kept, posting, envelope, again_lines(kept, record, posting.message_id))
    if send:
        send_mail(mail, send)
        click.echo(f"sent to {mail['To']}", err=True)
    click.echo(mail.as_bytes(), nl=False)
