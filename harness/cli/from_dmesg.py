# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness repro --from-dmesg FILE`: from somebody's log to a plan, and to its run."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.containment import look_at_containment
from harness.cli.progress import TerminalProgress
from harness.model.errors import UserError
from harness.model.outcome import Verdict
from harness.model.units import parse_size
from harness.store.files import explain_os_error, write_atomically
from harness.store.layout import Layout

if TYPE_CHECKING:
    from harness.model.scenario import Reproduction


@dataclass(frozen=True, slots=True)
class DmesgWish:
    """What the options of FROM_DMESG say."""

    file: str | None
    go: bool
    plan: Path | None
    number: int | None
    ram: str | None

    def refuse_alone(self) -> None:
        """These options are about a log."""
        if self.go or self.plan is not None or self.number is not None or self.ram:
            raise UserError(
                "--go, --out, --report and --ram belong to --from-dmesg",
                hint="a kept boot is made as it was",
            )


_OPTIONS = (
    click.option(
        "--from-dmesg",
        "dmesg_file",
        metavar="FILE",
        help="Propose a plan for what this log reports; `-`: standard input.",
    ),
    click.option("--go", "dmesg_go", is_flag=True, help="Run the plan, and say how alike the two reports are."),
    click.option(
        "--out",
        "dmesg_plan",
        metavar="PLAN",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Write the plan to this file, for `ttm-harness run PLAN`.",
    ),
    click.option("--report", "dmesg_number", type=click.IntRange(1), help="Which report of the log, counted from 1."),
    click.option("--ram", "dmesg_ram", metavar="SIZE", help="RAM of the guest; the rest is scaled.  [at most 512M]"),
)


def FROM_DMESG(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options, and makes of them its argument `dmesg`."""

    @functools.wraps(command)
    def with_wish(**options: object) -> None:
        own = {name: options.pop(f"dmesg_{name}") for name in DmesgWish.__dataclass_fields__}
        command(dmesg=DmesgWish(**own), **options)  # type: ignore[arg-type]

    decorated: Callable[..., None] = with_wish
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def from_dmesg(
    wish: DmesgWish,
    wanted: str | None,
    times: int,
    parallel: int | None,
    jobs: int | None,
    untrusted: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """The exit status. `wanted` is a source."""
    from harness.cli.logfile import LogFiles
    from harness.flow.from_dmesg import Wish, carry_out, propose_plan, read_log
    from harness.flow.plans import default_source
    from harness.flow.run import RunOptions
    from harness.model.tree import SourceSpec

    assert wish.file is not None
    log = LogFiles((wish.file,))
    seen = read_log(log.chunks())
    progress = TerminalProgress(quiet=quiet)
    try:
        source = None if wanted is None else SourceSpec.parse(wanted)
        ram = None if wish.ram is None else parse_size(wish.ram, "--ram")
        found = propose_plan(seen, Wish(wish.number, ram, source), source or default_source(progress))
        _tell(found, log.trouble)
        _write(wish.plan, found.plan)
        if not wish.go:
            _print(found, wish.plan, as_json)
            return 0
        if not as_json and wish.plan is None:
            click.echo(found.plan)
        look_at_containment(untrusted)
        options = RunOptions(parallel=parallel, jobs=jobs, gate=False)
        found, report = carry_out(found, times, Layout.from_environment(), progress, options)
    finally:
        progress.close()
    if as_json:
        _print(found, wish.plan, as_json)
    else:
        from harness.reports.scenario import likeness_lines

        for reason in report.reasons if found.again is None else ():
            click.echo(f"  {reason}")
        for line in likeness_lines(found.likeness) if found.likeness else ():
            click.echo(line)
        click.echo(f"{found.said}   {found.run}")
    return {True: Verdict.BAD, False: Verdict.GOOD, None: Verdict.CANNOT_TELL}[found.again].exit_status


def _tell(found: Reproduction, trouble: str) -> None:
    """For people: what was found in the log, and what the plan does not have."""
    scenario = found.scenario
    assert scenario is not None
    first, last = scenario.span.first, scenario.span.last
    click.echo(f"lines {first} to {last}: {scenario.sentence}", err=True)
    for line in (*((trouble,) if trouble else ()), *found.problems):
        click.echo(f"  {line}", err=True)
    for line in scenario.notes:
        click.echo(f"  not alike: {line}", err=True)


def _write(path: Path | None, text: str) -> None:
    if path is None:
        return
    try:
        write_atomically(path, text)
    except OSError as error:
        raise explain_os_error(error, f"cannot write {path}") from error
    click.echo(f"the plan: {path}; ttm-harness run {path}", err=True)


def _print(found: Reproduction, path: Path | None, as_json: bool) -> None:
    if as_json:
        from harness.model.codec import to_json

        click.echo(to_json(found), nl=False)
    elif path is None:
        click.echo(found.plan, nl=False)
    sys.stdout.flush()
