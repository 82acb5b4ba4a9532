# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness repro RUN[/BOOT]`, and a boot in one file: `--bundle FILE` writes it, `repro FILE` takes it.

`--from-dmesg`, a scenario of somebody's log, is in from_dmesg.py.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli import completion
from harness.cli.containment import UNTRUSTED, look_at_containment
from harness.cli.from_dmesg import FROM_DMESG, DmesgWish, from_dmesg
from harness.cli.plainly import speaks_plainly, tell
from harness.cli.progress import TerminalProgress
from harness.model.errors import UserError
from harness.store.layout import Layout

if TYPE_CHECKING:
    from harness.flow.run import RunOptions
    from harness.model.repro import Repro


@click.command()
@click.argument("boot", metavar="[RUN[/BOOT]|FILE]", default="")
@FROM_DMESG
@click.option("-n", "times", type=click.IntRange(1, 1000), default=1, show_default=True, help="So many boots.")
@click.option("--bundle", type=click.Path(path_type=Path, dir_okay=False), help="Boot nothing; write a bundle of it.")
@click.option("--source", shell_complete=completion.sources, help="The kernel's source, for a bundle or a log.")
@click.option("--parallel", type=click.IntRange(1, 256), help="At most so many guests side by side.")
@click.option("--jobs", type=click.IntRange(1, 1024), help="make -j; the number of cores when not given.")
@UNTRUSTED
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--quiet", is_flag=True, help="No progress.")
@speaks_plainly
def repro(
    boot: str,
    dmesg: DmesgWish,
    times: int,
    bundle: Path | None,
    source: str | None,
    parallel: int | None,
    jobs: int | None,
    untrusted: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make a kept boot again: the same kernel, machine, cases, knobs and seed.

    The kernel is the very build, or made again of what it was made of; what could not be made the same is said. Of a
    RUN alone it is its only boot, or the only one with a red case. BOOT is its number, or the name of its folder.

    --bundle FILE packs the boot for somebody else: configuration, patches, sources of all that ran in the guest,
    console and results, with a script that needs no harness. `repro FILE` checks such a file, and makes its boot.

    \b
    With --from-dmesg a plan is proposed that is to bring about what somebody's log
    reports, an OOM kill or a splat. Exit status: 0 it is printed, or, with --go, it
    does not happen here; 1 it happens again; 2 this is no kernel's log; 3 nothing in
    it can be brought about, or it cannot be told.
    """
    from harness.flow.run import RunOptions

    if dmesg.file is not None:
        if boot or bundle is not None:
            other = boot or f"--bundle {bundle}"
            raise UserError(f"--from-dmesg makes a scenario of a log, and not of {other}", hint="give one of them")
        sys.exit(from_dmesg(dmesg, source, times, parallel, jobs, untrusted, as_json, quiet))
    dmesg.refuse_alone()
    if not boot:
        raise UserError("nothing is named that could be made again", hint="RUN[/BOOT], FILE or --from-dmesg FILE")
    layout = Layout.from_environment()
    progress = TerminalProgress(quiet=quiet)
    try:
        if bundle is not None:
            _pack(boot, bundle, layout, progress)
            return
        look_at_containment(untrusted)
        options = RunOptions(parallel=parallel, jobs=jobs)
        found, directory = _again(boot, source, times, layout, progress, options)
    finally:
        progress.close()
    if as_json:
        from harness.model.codec import to_json

        click.echo(to_json(found), nl=False)
    else:
        from harness.reports.repro import print_repro

        print_repro(found, directory, sys.stdout)
    sys.exit(found.verdict.exit_status)


def _pack(boot: str, target: Path, layout: Layout, progress: TerminalProgress) -> None:
    from harness.flow.bundle import make_bundle
    from harness.flow.kept_boot import find_boot

    identity = make_bundle(find_boot(layout, boot), target, layout, progress)
    progress.close()
    tell(f"{target}: {target.stat().st_size >> 10} KiB, {identity}")


def _again(
    boot: str, source: str | None, times: int, layout: Layout, progress: TerminalProgress, options: RunOptions
) -> tuple[Repro, Path]:
    from harness.flow.bundle import open_bundle
    from harness.flow.kept_boot import find_boot
    from harness.flow.repro import Original, make_again, reproduce
    from harness.model.tree import SourceSpec

    if not Path(boot).is_file():
        if source is not None:
            raise UserError("--source goes with a bundle; a run knows its own", hint="leave it out")
        return reproduce(find_boot(layout, boot), times, layout, progress, options)
    with open_bundle(Path(boot), layout) as opened:
        progress.step(f"the bundle {opened.id[:12]} of {opened.bundle.of} is as it was packed")
        request = opened.request(None if source is None else SourceSpec.parse(source))
        first = Original(opened.bundle.of, opened.bundle.kernel, opened.bundle.key, opened.first)
        return make_again(first, request, times, layout, progress, options)
