# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness frontier`: the line on two axes where a kernel begins to fail."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from harness.cli import completion
from harness.cli.containment import look_at_containment
from harness.cli.guests import GuestOptions
from harness.cli.plainly import speaks_plainly
from harness.cli.progress import TerminalProgress
from harness.cli.searches import Looked, command_words, parse_budget, request_of, search_options
from harness.model.errors import UserError
from harness.store.layout import Layout

if TYPE_CHECKING:
    from harness.flow.planfile import MachineAxes
    from harness.model.frontier import Axis


@click.command()
@click.option("--x", default="ram=64M..512M/32M", show_default=True, metavar="AXIS", help="NAME=FROM..TO[/STEP].")
@click.option(
    "--y",
    default="swap=0..512M/64M",
    show_default=True,
    metavar="AXIS",
    help="Another: swap:zram=…, a key of [machine] of a plan, or a knob of the suite that is a number.",
)
@click.option("--base", shell_complete=completion.sources, help="A source to compare with, on the same picture.")
@click.option("--repeat", type=click.IntRange(1, 100), default=2, show_default=True, help="Boots beside the line.")
@click.option("--most", type=click.IntRange(1, 20_000), default=2000, show_default=True, help="Boots at most.")
@click.option("--budget", metavar="TIME", help="How long it may take, as in 30m; the line is then as fine as it got.")
@click.option("--as", "form", type=click.Choice(["text", "json", "svg", "html"]), default="text", show_default=True)
@speaks_plainly
@search_options
def frontier(
    x: str,
    y: str,
    base: str | None,
    repeat: int,
    most: int,
    budget: str | None,
    form: str,
    wanted: GuestOptions,
    looked: Looked,
) -> None:
    """Find the line on two axes where a kernel begins to fail.

    Boots are made where the line may be, again beside it, and a few in between, to check what was not booted. With
    --base, or --series, both kernels are on one picture. The same command goes on where it was ended, and takes
    results that are there: more time makes the line finer.

    \b
    Exit status: 0 the line is drawn; 1 and the patched kernel is somewhere worse than the
    base; 2 a mistake in the input, as an axis without an order; 3 nothing could be told.
    """
    from harness.flow.axes import parse_axis
    from harness.flow.frontier import Survey
    from harness.flow.frontier import frontier as surveyed
    from harness.flow.laboratory import Budget, Laboratory
    from harness.model.codec import to_json
    from harness.model.tree import SourceSpec
    from harness.reports.frontier import frontier_html, frontier_svg, print_frontier
    from harness.store.files import write_atomically

    progress = TerminalProgress(quiet=wanted.quiet)
    layout = Layout.from_environment()
    try:
        axes = parse_axis(x, looked.suite), parse_axis(y, looked.suite)
        _check_axes(axes, wanted.machine, looked.knobs)
        request = request_of(wanted, looked, progress)
        if base is not None:
            request = replace(request, base=replace(request.kernel.unpatched, source=SourceSpec.parse(base)))
        elif wanted.series is not None:
            request = replace(request, base=request.kernel.unpatched)
        limit = Budget.of(parse_budget(budget))
        look_at_containment(wanted.untrusted)
        survey = Survey(request, axes[0], axes[1], looked.predicate, repeat, most, limit, command_words())
        laboratory = Laboratory(repr((replace(request, seed=None), axes, looked)), layout, progress, wanted.jobs)
        output = surveyed(survey, laboratory, progress)
        pages = {"json": to_json(output), "svg": frontier_svg(output), "html": frontier_html(output)}
        for name, text in pages.items():
            write_atomically(laboratory.place / f"frontier.{name}", text)
    finally:
        progress.close()
    if form == "text":
        print_frontier(output, laboratory.place, sys.stdout)
    else:
        click.echo(pages[form], nl=False)
    sys.exit(output.exit_status)


def _check_axes(axes: tuple[Axis, Axis], machine: MachineAxes, knobs: tuple[str, ...]) -> None:
    names = [one.name for one in axes]
    if names[0] == names[1]:
        raise UserError(f"both axes are {names[0]}", hint="--x ram=… --y swap=…")
    said = {key for key, _ in machine.axes} | {text.partition("=")[0] for words in knobs for text in words.split(",")}
    for name in names:
        if name in said:
            raise UserError(f"{name} is an axis, and has a value of its own, too", hint="leave one of them out")
