# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness minimise RUN[/BOOT]`: the smallest boot that still fails in the same way."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from harness.cli.containment import UNTRUSTED, look_at_containment
from harness.cli.plainly import speaks_plainly
from harness.cli.progress import TerminalProgress
from harness.cli.searches import Looked, parse_budget, parse_percent
from harness.store.layout import Layout


@click.command()
@click.argument("boot", metavar="RUN[/BOOT]")
@click.option("--red", multiple=True, metavar="GLOB[,…]", help="Only these cases count, by their whole names.")
@click.option("--fingerprint", default="", metavar="HEX", help="Only an event with this fingerprint counts.")
@click.option("--patches", is_flag=True, help="Fewer patches of its series, too: a build for each number tried.")
@click.option("--config", is_flag=True, help="Fewer Kconfig symbols, too: a build for each set of them tried.")
@click.option(
    "--confidence", default="95%", show_default=True, help="How sure it must be that a smaller one is good."
)
@click.option("--most", type=click.IntRange(1, 10_000), default=300, show_default=True, help="Boots at most.")
@click.option("--budget", metavar="TIME", help="How long it may take, as in 30m.")
@click.option("--plan", type=click.Path(path_type=Path, dir_okay=False), help="Write the plan of the smallest there.")
@click.option("--bundle", type=click.Path(path_type=Path, dir_okay=False), help="Write its bundle there.")
@click.option("--jobs", type=click.IntRange(1, 1024), help="make -j; the number of cores when not given.")
@UNTRUSTED
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object on standard output.")
@click.option("--quiet", is_flag=True, help="No progress.")
@speaks_plainly
def minimise(
    boot: str,
    red: tuple[str, ...],
    fingerprint: str,
    patches: bool,
    config: bool,
    confidence: str,
    most: int,
    budget: str | None,
    plan: Path | None,
    bundle: Path | None,
    jobs: int | None,
    untrusted: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make a kept boot that failed as small as it can be.

    Less RAM, swap and vCPUs, fewer cases before the one that fails, fewer and lower knobs, fewer settings, as long as
    it fails in the same way. What fails only sometimes is booted as often as that needs. Of a RUN alone it is its
    only boot, or the only one with a red case. The same command goes on where it was ended. It ends with the smallest
    as a plan, a command and a bundle (as of `repro --bundle`).

    --config leaves out symbols of the boot's own fragments, and of a profile those that a smaller one has not.

    \b
    Exit status: 1 it still fails, and this is the smallest; 2 a mistake in the input, as a
    boot in which nothing failed; 3 it did not fail again.
    """
    from harness.flow.kept_boot import find_boot
    from harness.flow.laboratory import Budget, Laboratory
    from harness.flow.minimise import MinimiseOptions, subject_of, with_bundle, with_patches, with_symbols
    from harness.flow.minimise import minimise as minimised
    from harness.model.codec import to_json
    from harness.reports.minimise import print_minimised
    from harness.store.files import write_atomically

    layout = Layout.from_environment()
    progress = TerminalProgress(quiet=quiet)
    try:
        looked = Looked("", (), red, fingerprint, False, (), 0).predicate
        share = parse_percent(confidence, "--confidence", 50.1, 99.999)
        options = MinimiseOptions(share, most, Budget.of(parse_budget(budget)))
        subject = subject_of(find_boot(layout, boot), looked)
        look_at_containment(untrusted)
        if patches:
            subject = with_patches(subject, layout, progress)
        what = (subject.boot, subject.predicate, patches, *(("config",) if config else ()))
        laboratory = Laboratory(repr(what), layout, progress, jobs)
        if config:
            subject = with_symbols(subject, laboratory.place)
        output = minimised(subject, options, laboratory, progress)
        output = with_bundle(output, bundle or laboratory.place / "smallest.tar.gz", layout, progress)
        write_atomically(laboratory.place / "minimise.json", to_json(output))
        write_atomically(laboratory.place / "smallest.toml", output.plan)
        if plan is not None and output.failed:
            write_atomically(plan, output.plan)
    finally:
        progress.close()
    if as_json:
        click.echo(to_json(output), nl=False)
    else:
        print_minimised(output, laboratory.place, sys.stdout)
    sys.exit(output.exit_status)
