# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness repro RUN[/BOOT]`."""

from __future__ import annotations

import sys

import click

from harness.cli.containment import UNTRUSTED, look_at_containment
from harness.cli.plainly import speaks_plainly
from harness.cli.progress import TerminalProgress
from harness.store.layout import Layout


@click.command()
@click.argument("boot", metavar="RUN[/BOOT]")
@click.option("-n", "times", type=click.IntRange(1, 1000), default=1, show_default=True, help="So many boots.")
@click.option("--parallel", type=click.IntRange(1, 256), help="At most so many guests side by side.")
@click.option("--jobs", type=click.IntRange(1, 1024), help="make -j; the number of cores when not given.")
@UNTRUSTED
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--quiet", is_flag=True, help="No progress.")
@speaks_plainly
def repro(
    boot: str,
    times: int,
    parallel: int | None,
    jobs: int | None,
    untrusted: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make a kept boot again: the same kernel, machine, cases, knobs and seed.

    The kernel is the very build, or made again of what it was made of; what could not be made the same is said. Of a
    RUN alone it is the first boot that was bad. BOOT is its number, or the name of its folder.
    """
    from harness.flow.repro import kept_boot, reproduce
    from harness.flow.run import RunOptions

    look_at_containment(untrusted)
    layout = Layout.from_environment()
    kept = kept_boot(layout, boot)
    progress = TerminalProgress(quiet=quiet)
    try:
        found, directory = reproduce(kept, times, layout, progress, RunOptions(parallel=parallel, jobs=jobs))
    finally:
        progress.close()
    if as_json:
        from harness.model.codec import to_json

        click.echo(to_json(found), nl=False)
    else:
        from harness.reports.repro import print_repro

        print_repro(found, directory, sys.stdout)
    sys.exit(found.verdict.exit_status)
