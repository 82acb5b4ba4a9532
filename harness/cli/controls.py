# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness controls`: how many of the project's own bugs a suite notices."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from harness.cli import completion
from harness.cli.containment import UNTRUSTED, look_at_containment
from harness.cli.hosts import hosts_at
from harness.cli.machine_axes import ACCELERATORS
from harness.cli.options import ON_OPTION, SHARE_OPTION
from harness.cli.plainly import speaks_plainly
from harness.cli.progress import TerminalProgress
from harness.model.errors import UserError
from harness.model.machine import Accel, Machine, Swap
from harness.model.outcome import Verdict
from harness.model.tree import SourceSpec
from harness.model.units import parse_size
from harness.model.words import parse_globs
from harness.store.files import write_atomically
from harness.store.layout import Layout

if TYPE_CHECKING:  # what is imported where it is used: the help waits for none of it
    from pathlib import Path

    from harness.flow.controls import Control, ControlRun
    from harness.flow.hosts import Hosts
    from harness.model.suite import Suite


@click.command()
@click.argument("names", nargs=-1, metavar="[GLOB]…")
@click.option(
    "--suite",
    "suite_name",
    default="pressure",
    show_default=True,
    shell_complete=completion.suites,
    help="The suite that is to notice them.",
)
@click.option("--source", shell_complete=completion.sources, help="The unbroken kernel.  [default: that of `run`]")
@click.option("--ram", default="256M", show_default=True)
@click.option("--swap", default="disk:1G", show_default=True)
@click.option("--accel", default="auto", show_default=True, type=ACCELERATORS)
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0, 2**32 - 1))
@click.option("--case", "cases", multiple=True, metavar="GLOB[,…]", help="Only these cases of the suite.")
@click.option(
    "--map", "map_only", is_flag=True, help="Boot nothing: what kept runs told, as `run --presubmit` reads it."
)
@ON_OPTION
@SHARE_OPTION
@UNTRUSTED
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@speaks_plainly
def controls(
    names: tuple[str, ...],
    suite_name: str,
    source: str | None,
    ram: str,
    swap: str,
    accel: str,
    seed: int,
    cases: tuple[str, ...],
    map_only: bool,
    where: str,
    share: str,
    untrusted: bool,
    as_json: bool,
) -> None:
    """Put bugs into the kernel on purpose and see whether the suite that looks for them turns red.

    \b
    Exit status: 0 every control was caught and the neutral ones stayed green; 1 one was missed;
    3 of one nothing can be said.
    """
    from harness.flow.controls import Detection, control_set, read_controls
    from harness.flow.plans import default_source
    from harness.suites.registry import narrowed, suite_named

    whole = suite_named(suite_name)
    if map_only:
        if names or cases or source is not None or where:
            raise UserError(
                "--map is of all controls of a suite, and boots nothing",
                hint="leave GLOB, --case, --source and --on out",
            )
        _print_map(whole)
        return
    look_at_containment(untrusted)
    layout = Layout.from_environment()
    globs = parse_globs(cases)
    progress = TerminalProgress()
    wanted = _Wanted(
        read_controls(control_set(whole).folder, names),
        narrowed(whole, globs),
        Machine(parse_size(ram, "--ram"), Swap.parse(swap), accel=Accel(accel)),
        default_source(progress) if source is None else SourceSpec.parse(source),
        seed,
        globs,
    )
    try:
        with hosts_at(where, layout, progress, share) as hosts:
            tried, version, directory = _tried(wanted, layout, progress, hosts)
    finally:
        progress.close()
    if as_json:
        click.echo(_as_json(tried, len(wanted.controls), version), nl=False)
    else:
        for one in tried:
            click.echo(_line(one))
        counts = {word: sum(one.noticed is word for one in tried) for word in Detection}
        click.echo(", ".join(f"{count} {word}" for word, count in counts.items() if count) + f"   {directory}")
    sys.exit(_verdict(tried).exit_status)


def _print_map(suite: Suite) -> None:
    from harness.flow.control_map import map_of
    from harness.model.codec import to_json

    click.echo(to_json(map_of(suite, Layout.to_read())), nl=False)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which controls are tried, by what, on what."""

    controls: tuple[Control, ...]
    suite: Suite
    machine: Machine
    source: SourceSpec
    seed: int
    cases: tuple[str, ...]


def _tried(
    wanted: _Wanted, layout: Layout, progress: TerminalProgress, hosts: Hosts | None
) -> tuple[tuple[ControlRun, ...], str, Path]:
    """What became of the controls, the version of the kernel, and the directory of the boots."""
    from harness.flow.boots import BootEnvironment
    from harness.flow.controls import try_controls
    from harness.flow.hosts import settle_on
    from harness.flow.prepare import Stopwatch, prepare, prepare_root
    from harness.model.kernel import KernelSpec
    from harness.store.runs import run_directory

    if hosts is not None:
        hosts.check_machine(wanted.machine)
    watch = Stopwatch()
    kernel = prepare(KernelSpec(wanted.source), {wanted.suite: False}, layout, progress, watch, builder=hosts)
    root = prepare_root(layout, progress, watch)
    settled = settle_on(hosts, wanted.machine.accel, kernel, root, layout, progress, watch)
    machine = replace(wanted.machine, accel=settled)
    version, total = kernel.build.tree.version, len(wanted.controls)
    ended: list[ControlRun] = []
    with run_directory(layout) as directory:

        def note(one: ControlRun) -> None:
            progress.step(_line(one))
            ended.append(one)
            # Hours of boots: what ended is there also when the rest never does.
            write_atomically(directory / "controls.json", _as_json(ended, total, version))

        environment = BootEnvironment(kernel, root, directory, progress)
        tried = try_controls(
            wanted.controls, wanted.suite, machine, environment, layout, wanted.seed, note, wanted.cases, hosts
        )
        write_atomically(directory / "controls.json", _as_json(tried, total, version))
    return tried, version, directory


def _as_json(tried: Sequence[ControlRun], chosen: int, kernel: str) -> str:
    plain = {
        "schema": "ttm-harness/controls/1",
        "verdict": str(_verdict(tried, chosen - len(tried))),
        "kernel": kernel,
        "left": chosen - len(tried),
        "controls": [_plain(one) for one in tried],
    }
    return json.dumps(plain, indent=1) + "\n"


def _verdict(tried: Sequence[ControlRun], left: int = 0) -> Verdict:
    from harness.flow.controls import Detection

    if any(one.noticed in (Detection.MISSED, Detection.FALSE_RED) for one in tried):
        return Verdict.BAD
    if left or any(one.noticed in (Detection.CANNOT_TELL, Detection.MISAPPLIED) for one in tried):
        return Verdict.CANNOT_TELL
    return Verdict.GOOD


def _line(one: ControlRun) -> str:
    why = ", ".join(one.cases[:3]) or "; ".join(one.reasons[:2])
    return f"{one.noticed:<12}{one.control.kind:<11}{one.control.name:<44}{one.seconds:6.1f} s  {why}"


def _plain(one: ControlRun) -> dict[str, object]:
    return {
        "name": one.control.name,
        "class": one.control.kind,
        "noticed": str(one.noticed),
        "cases": list(one.cases),
        "reasons": list(one.reasons),
        "seconds": round(one.seconds, 1),
        "directory": one.directory,
    }
