# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness inspect`: a look into the memory of a guest that is no more."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from harness.cli.plainly import speaks_plainly
from harness.cli.progress import TerminalProgress
from harness.model.errors import UserError
from harness.model.visible import visible
from harness.store.layout import Layout


@click.command()
@click.argument("image", metavar="RUN[/BOOT[/IMAGE]]")
@click.option(
    "--print",
    "wanted",
    multiple=True,
    metavar="WHAT[,…]",
    help="shrinkers, locks, tasks, problems, and what subjects have (docs/inspect.md); all; short, as in a report.",
)
@click.option(
    "--script", type=click.Path(path_type=Path), help="A Python file to run; the names of the prompt are there."
)
@click.option(
    "--timeout", type=click.FloatRange(0.0, min_open=True), default=600.0, show_default=True, help="Of --script."
)
@click.option("--json", "as_json", is_flag=True, help="All that was read, as one JSON object.")
@click.option("--quiet", is_flag=True, help="No progress.")
@speaks_plainly
def inspect(
    image: str, wanted: tuple[str, ...], script: Path | None, timeout: float, as_json: bool, quiet: bool
) -> None:
    """A look into the memory that `run --keep-state` kept of a guest, with drgn.

    On a terminal and without options: a Python prompt, on which `memory` is all that was read, `kernel` reads with
    bounds, `program` is drgn's own, and `readers` are those of the subjects. Else all is printed: what the subjects
    read and what stands where it does not belong, shrinkers, tasks and what they wait for. IMAGE may be the file
    itself, too.
    """
    from harness.flow import inspect as flow
    from harness.model.codec import to_json
    from harness.reports.memory import sections, short_lines, text

    named = [word.strip() for words in wanted for word in words.split(",") if word.strip()]
    if (script is not None) + bool(named) + as_json > 1:
        raise UserError("--print, --script and --json are three ways to look", hint="give one of them")
    layout = Layout.from_environment()
    progress = TerminalProgress(quiet=quiet)
    try:
        found = flow.find_image(layout, image)
        if script is not None:
            flow.run_script(found, script, layout, progress, lambda line: click.echo(visible(line)), timeout)
            return
        if not named and not as_json and sys.stdin.isatty() and sys.stdout.isatty():
            progress.close()
            flow.prompt(found, layout, progress)
            return
        memory = flow.inspect(found, layout, progress)
    finally:
        progress.close()
    there = (*sections(memory), "all", "short")
    if unknown := [word for word in named if word not in there]:
        raise UserError(f"--print {unknown[0]!r}: there is no such thing", hint=f"one of {', '.join(there)}")
    if as_json:
        click.echo(to_json(memory), nl=False)
    elif "short" in named:
        click.echo(visible("\n".join(short_lines(memory))))
    else:
        click.echo(visible(text(memory, () if "all" in named else named)), nl=False)
