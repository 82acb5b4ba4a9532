# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness nightly CONFIG`: one night, unattended."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from harness.cli.containment import UNTRUSTED, look_at_containment
from harness.cli.hosts import hosts_at
from harness.cli.options import ON_OPTION, SHARE_OPTION
from harness.cli.plainly import speaks_plainly
from harness.cli.progress import TerminalProgress
from harness.store.layout import Layout


@click.command()
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--until", default="", metavar="HH:MM", help="No boot begins that would go on after this, by this clock."
)
@click.option("--budget", default="", metavar="TIME", help="The same, so long from now: 90min, 4h.")
@ON_OPTION
@SHARE_OPTION
@click.option("--list", "list_only", is_flag=True, help="Show what is new and would be run, and end.")
@UNTRUSTED
@click.option("--json", "as_json", is_flag=True, help="The summary as one JSON object on standard output.")
@click.option("--quiet", is_flag=True, help="No progress.")
@speaks_plainly
def nightly(
    config: Path,
    until: str,
    budget: str,
    where: str,
    share: str,
    list_only: bool,
    untrusted: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Find new kernels and revisions, run what is missing, compare, publish; safe to kill and start again.

    CONFIG is a TOML file (docs/nightly.md). What was killed, or had no time, goes on with the next start.

    \b
    Exit status: 0 all that is watched was run and is good; 1 a finding; 2 a mistake in CONFIG;
    3 something could not be reached, tested or seen to turn red.
    """
    from harness.flow.nightly import ends_of, night, preview
    from harness.flow.nightly_config import parse_budget, parse_clock, read_nightly
    from harness.model.codec import to_json
    from harness.reports.nightly import print_ahead, print_night

    read = read_nightly(config)
    seconds = parse_budget(budget) if budget else None if until else read.budget
    clock = parse_clock(until) if until else None if budget else read.until
    if not list_only:
        look_at_containment(untrusted)
    layout = Layout.from_environment()
    progress = TerminalProgress(quiet=quiet)
    beside = config.absolute().parent
    try:
        if list_only:
            told = preview(read, beside, layout, progress)
        else:
            with hosts_at(where, layout, progress, share) as hosts:
                told = night(read, beside, layout, progress, ends_of(seconds, clock, datetime.now(UTC)), hosts)
    except KeyboardInterrupt:
        progress.step("ended; what is finished is kept, and the next start goes on with the rest")
        raise
    finally:
        progress.close()
    if as_json:
        click.echo(to_json(told), nl=False)
    elif list_only:
        print_ahead(told, sys.stdout)
    else:
        print_night(told, sys.stdout)
    if not list_only:
        sys.exit(told.verdict.exit_status)
