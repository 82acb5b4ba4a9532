# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness run`: the main job, from a source to a verdict."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from harness.cli import speaks_plainly
from harness.cli.machine_options import machine_options
from harness.cli.progress import TerminalProgress
from harness.flow.prepare import DEFAULT_PROFILE, Request
from harness.flow.run import execute
from harness.model.cell import Knob
from harness.model.codec import to_json
from harness.model.errors import UserError
from harness.model.machine import Machine
from harness.model.series import SeriesSpec
from harness.model.tree import SourceSpec
from harness.store.layout import Layout
from harness.suites.registry import QUICK


@click.command()
@click.option(
    "--source",
    default="debian",
    show_default=True,
    help="debian[:VERSION], DIR, git:DIR@REV, tar:FILE, kernel.org:VERSION",
)
@click.option(
    "--series",
    help="Patches on top, with the source as base: mbox:FILE, dir:PATH, git:DIR@A..B, lore:MSGID, NAME@vN, …",
)
@click.option("--mirror", type=click.Path(path_type=Path), help="A directory of mboxes to ask instead of lore.")
@click.option("--base", help="A source to compare with: both are run, in turn, and what changed is judged.")
@click.option(
    "--profile", default=DEFAULT_PROFILE, show_default=True, help="A profile of kernel-configs/profiles.toml."
)
@click.option(
    "--fragment",
    "fragments",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Your own Kconfig fragment, on top of the profile.",
)
@click.option("--suite", "suites", default=",".join(QUICK), show_default=True, help="Suites, with commas.")
@click.option("--repeat", default=1, show_default=True, type=click.IntRange(1, 10_000), help="Boots of each cell.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Seed of the first boot; drawn when not given.")
@click.option("--case", "cases", default="", metavar="GLOB[,…]", help="Only these cases of the suite pressure.")
@click.option("--knob", "knobs", multiple=True, metavar="NAME=VALUE[,…]", help="Parameters of the suites.")
@click.option("--jobs", type=click.IntRange(1, 1024), help="make -j; the number of cores when not given.")
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object on standard output.")
@click.option("--quiet", is_flag=True, help="No progress.")
@speaks_plainly
@machine_options
def run(
    source: str,
    series: str | None,
    mirror: Path | None,
    base: str | None,
    profile: str,
    fragments: tuple[Path, ...],
    machine: Machine,
    suites: str,
    repeat: int,
    seed: int | None,
    cases: str,
    knobs: tuple[str, ...],
    jobs: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Build a kernel, boot it small, run suites in it, and say what came out.

    Without options: the newest kernel source that has the merged TTM shrinker, in 256M of RAM with 1G of swap.
    """
    request = Request(
        source=SourceSpec.parse(source),
        profile=profile,
        machine=machine,
        suites=tuple(name.strip() for name in suites.split(",") if name.strip()),
        repeat=repeat,
        seed=seed,
        knobs=_knobs(knobs),
        fragments=fragments,
        cases=_globs(cases),
        series=SeriesSpec.parse(series) if series is not None else None,
        mirror=mirror,
        base=SourceSpec.parse(base) if base is not None else None,
        jobs=jobs,
    )
    progress = TerminalProgress(quiet=quiet)
    try:
        report, directory = execute(request, Layout.from_environment(), progress)
    finally:
        progress.close()
    if as_json:
        click.echo(to_json(report), nl=False)
    else:
        from harness.reports.text import print_report

        print_report(report, directory, sys.stdout)
    sys.exit(report.verdict.exit_status)


def _globs(text: str) -> tuple[str, ...]:
    globs = tuple(word.strip() for word in text.split(",") if word.strip())
    for glob in globs:
        if not re.fullmatch(r"[\w*?\[\]-]+", glob, re.ASCII):
            raise UserError(f"the case {glob!r} is not a glob of letters, digits, _ - * ? and [ ]")
    return globs


def _knobs(texts: tuple[str, ...]) -> tuple[Knob, ...]:
    knobs = []
    for text in texts:
        for part in filter(None, text.split(",")):
            name, equals, value = part.partition("=")
            if not equals or not name or not value:
                raise UserError(f"the knob {part!r} is not NAME=VALUE")
            knobs.append(Knob(name, value))
    return tuple(knobs)
