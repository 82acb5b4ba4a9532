# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness compare A B`: is B worse than A?"""

from __future__ import annotations

import difflib
import sys

import click

from harness.cli.plainly import speaks_plainly
from harness.model.errors import UserError
from harness.model.machine import TRAITS
from harness.store.layout import Layout


@click.command()
@click.argument("base", metavar="A")
@click.argument("tip", metavar="[B]", default="")
@click.option("--as", "form", type=click.Choice(["text", "json", "html"]), default="text", show_default=True)
@click.option("--known", multiple=True, metavar="FILE", help="Known issues, which do not count; `shipped`: our own.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="GLOB",
    help="A change of such a figure for the worse counts as a regression, too.",
)
@click.option(
    "--across",
    default="",
    metavar="TRAIT[,…]",
    help=f"Look past a difference in: {', '.join(TRAITS)}.",
)
@speaks_plainly
def compare(base: str, tip: str, form: str, known: tuple[str, ...], metrics: tuple[str, ...], across: str) -> None:
    """Compare two sets of kept runs, case by case, event by event, figure by figure.

    \b
    A and B are RUN[,RUN…], each its directory, its name, the end of its name, or
    `latest`. RUN:base and RUN:patched are the two kernels of `run --base` (alone RUN is the
    patched one); RUN:7.3.4 or RUN:BUILD-ID are one kernel of several. Without B the base of
    run A is compared with its patched kernel.
    Exit status: 0 B is in nothing worse; 1 a regression; 3 cannot tell.
    """
    from harness.flow.compare import CompareOptions, compare_runs
    from harness.flow.known_issues import read_known
    from harness.model.codec import to_json

    options = CompareOptions(_traits(across), metrics, read_known(known))
    output = compare_runs(base, tip, options, Layout.to_read())
    if form == "json":
        click.echo(to_json(output), nl=False)
    elif form == "html":
        from harness.reports.html import compare_html

        click.echo(compare_html(output), nl=False)
    else:
        from harness.reports.changes import print_compared

        print_compared(output, sys.stdout)
    sys.exit(output.verdict.exit_status)


def _traits(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in TRAITS:
            near = difflib.get_close_matches(name, TRAITS, 1)
            raise UserError(
                f"--across {name!r} is nothing that boots differ in",
                hint=f"did you mean {near[0]}?" if near else f"one of {', '.join(TRAITS)}",
            )
    return names
