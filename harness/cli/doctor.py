# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness doctor [--fix] [--json]`."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from harness.cli.plainly import EXIT_CANNOT_TELL, speaks_plainly
from harness.store.layout import Layout

if TYPE_CHECKING:  # what is imported where it is used: the help waits for none of it
    from harness.flow.doctor import HostCheck

_MARK = {"ok": "[green]ok[/]", "missing": "[bold red]missing[/]", "absent": "[yellow]absent[/]"}


@click.command()
@click.option("--fix", "do_fix", is_flag=True, help="Install what is missing (asks for root through sudo).")
@click.option("--with-tests", is_flag=True, help="Look for what the project's own tests need, too.")
@click.option("--brief", is_flag=True, help="Only what is missing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@speaks_plainly
def doctor(do_fix: bool, with_tests: bool, brief: bool, as_json: bool) -> None:
    """What this host can do, what is missing, and the exact command that installs it."""
    from harness.flow.doctor import Status, examine, family_of_host, fix, install_command, take_back

    layout = Layout.from_environment()
    family = family_of_host()
    if do_fix:
        take_back(layout)
    findings = examine(layout, with_tests)
    command = install_command(findings, family)
    # What would only help is installed along with what is needed, not for its own sake; what contains builds is.
    if do_fix and command and any(_wanted(finding) for finding in findings):
        for finding in findings:
            if finding.status is not Status.OK and finding.package:
                click.echo(f"to be installed: {finding.package} ({finding.detail})", err=True)
        click.echo(f"as root: {shlex.join(command)}", err=True)
        fix(findings, family)
        findings = examine(layout, with_tests)
        command = install_command(findings, family)
    able = all(finding.status is not Status.MISSING for finding in findings)
    if as_json:
        told = {"able": able, "install": shlex.join(command), "findings": [asdict(finding) for finding in findings]}
        click.echo(json.dumps(told, indent=1))
    elif not brief:
        _print(findings)
        if command:
            click.echo(f"\nto install what is missing or absent:\n  {shlex.join(command)}")
        click.echo("\nthis host can run the harness" if able else "\nthis host cannot run the harness yet")
    elif not able:
        _print(tuple(finding for finding in findings if finding.status is Status.MISSING))
    sys.exit(0 if able else EXIT_CANNOT_TELL)


def _wanted(finding: HostCheck) -> bool:
    from harness.flow.doctor import CONTAINMENT, Status

    return finding.status is Status.MISSING or (
        finding.name == CONTAINMENT and finding.status is Status.ABSENT and bool(finding.package)
    )


def _print(findings: tuple[HostCheck, ...]) -> None:
    from rich.table import Table

    from harness.reports.console import console_on, plain

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for finding in findings:
        table.add_row(plain(finding.name), _MARK[finding.status], plain(finding.detail))
    console_on(sys.stdout).print(table)
