# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness history`: what once went wrong with the shrinker, brought back: would it have been seen?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli import completion
from harness.cli.containment import UNTRUSTED, look_at_containment
from harness.cli.plainly import speaks_plainly
from harness.cli.progress import TerminalProgress
from harness.model.build import DEFAULT_PROFILE
from harness.model.errors import StoreDamaged
from harness.model.machine import Accel, Machine, Swap
from harness.model.tree import SourceSpec
from harness.model.units import parse_size
from harness.store.files import write_atomically
from harness.store.layout import Layout

if TYPE_CHECKING:  # what is imported where it is used: the help waits for none of it
    from harness.model.regression import HistoryOutput, Regression, Replay

_MOST_PREPARED = 3  # times: an object of the store may be damaged, or go, while boots rest on it


@click.command()
@click.argument("names", nargs=-1, metavar="[GLOB]…")
@click.option("--list", "only_list", is_flag=True, help="What there is, without a replay.")
@click.option("--source", shell_complete=completion.sources, help="The unbroken kernel.  [default: that of `run`]")
@click.option("--ram", default="256M", show_default=True)
@click.option("--swap", default="disk:1G", show_default=True)
@click.option("--accel", default="auto", show_default=True, type=click.Choice([word.value for word in Accel]))
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0, 2**32 - 1))
@click.option("--fresh", is_flag=True, help="Replay again what was replayed before.")
@UNTRUSTED
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--markdown", is_flag=True, help="The table as docs/history.md has it.")
@speaks_plainly
def history(
    names: tuple[str, ...],
    only_list: bool,
    source: str | None,
    ram: str,
    swap: str,
    accel: str,
    seed: int,
    fresh: bool,
    untrusted: bool,
    as_json: bool,
    markdown: bool,
) -> None:
    """Bring bugs of the past back into the kernel, one by one, and see what notices them.

    patches/history/ describes them; GLOB is over their ids, as in 'R*'. What has ended is kept: the same command
    goes on where it was ended, by kill -9 too.

    \b
    Exit status: 0 each that can be brought back was seen; 1 one was not;
    3 of one nothing can be said.
    """
    from harness.flow.replays import ReplayContext, chosen_regressions, prepared_for, replay
    from harness.flow.run import tools
    from harness.model.codec import to_json
    from harness.store.runs import run_directory

    chosen = chosen_regressions(names)
    if only_list:
        _print(_output("", chosen, ()), as_json, markdown)
        return
    look_at_containment(untrusted)
    layout, progress = Layout.from_environment(), TerminalProgress()
    machine = Machine(parse_size(ram, "--ram"), Swap.parse(swap), accel=Accel(accel))
    spec = None if source is None else SourceSpec.parse(source)
    ended: list[Replay] = []
    for turn in range(1, _MOST_PREPARED + 1):
        with run_directory(layout) as directory:
            environment, settled = prepared_for(chosen, spec, machine, directory, layout, progress)
            context = ReplayContext(environment, settled, layout, tools(), DEFAULT_PROFILE, seed, fresh)
            version = context.tree.version

            def note(one: Replay, version: str = version, directory: Path = directory) -> None:
                ended.append(one)
                progress.step(f"{one.id}: {one.outcome}")
                # An hour of boots: what ended is there also when the rest never does.
                write_atomically(directory / "history.json", to_json(_output(version, chosen, ended)))

            over = {one.id for one in ended}
            try:
                replay([one for one in chosen if one.id not in over], context, note)
                break
            except StoreDamaged as error:
                if turn == _MOST_PREPARED:
                    raise
                progress.step(f"{error.message}: it is made again")
    found = _output(version, chosen, ended)
    progress.close()
    _print(found, as_json, markdown)
    sys.exit(found.verdict.exit_status)


def _print(found: HistoryOutput, as_json: bool, markdown: bool) -> None:
    from harness.model.codec import to_json
    from harness.reports.history import history_markdown, print_history

    if as_json:
        click.echo(to_json(found), nl=False)
    elif markdown:
        click.echo(history_markdown(found), nl=False)
    else:
        print_history(found, sys.stdout)


def _output(kernel: str, chosen: Sequence[Regression], ended: Sequence[Replay]) -> HistoryOutput:
    from harness.model.regression import HISTORY_SCHEMA, HistoryOutput, Told, verdict_of_replays

    made = {one.id: one for one in ended}
    told = tuple(Told(one, one.days, one.kind, made.get(one.id)) for one in chosen)
    left = len(chosen) - len(made)
    return HistoryOutput(HISTORY_SCHEMA, verdict_of_replays(tuple(ended), left), kernel, left, told)
