# SPDX-License-Identifier: GPL-2.0-only
"""The `ttm-harness run` that makes a boot again, from what is known of its cell and its kernel."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from harness.model.cell import Cell
from harness.model.kernel import KernelSpec
from harness.model.machine import Machine
from harness.model.units import format_size


def run_command(cell: Cell, kernel: KernelSpec | None, base: KernelSpec | None = None) -> str:
    """One line for a shell. Without `kernel` (only the report was kept) it says --source of nothing."""
    return shlex.join(["ttm-harness", "run", *_words(cell, kernel, base)])


def _words(cell: Cell, kernel: KernelSpec | None, base: KernelSpec | None) -> Iterator[str]:
    if kernel is not None:
        yield from ("--source", str(kernel.source))
        if kernel.series is not None:
            yield from ("--series", str(kernel.series))
        if base is not None and base != kernel.unpatched:
            yield from ("--base", str(base.source))
        if kernel.profile != "lean":
            yield from ("--profile", kernel.profile)
        for fragment in kernel.fragments:
            yield from ("--fragment", str(fragment))
    yield from ("--suite", ",".join(cell.suites))
    if cell.cases:
        yield from ("--case", ",".join(cell.cases))
    if cell.knobs:
        yield from ("--knob", ",".join(f"{knob.name}={knob.value}" for knob in cell.knobs))
    yield from _machine(cell.machine)
    yield from ("--seed", str(cell.seed))


def _machine(machine: Machine) -> Iterator[str]:
    usual = Machine()
    yield from ("--ram", format_size(machine.ram), "--swap", str(machine.swap))
    if machine.cpus != usual.cpus:
        yield from ("--cpus", str(machine.cpus))
    for word in machine.cmdline:
        yield f"--append={word}"
    for setting, value in machine.asked:
        yield from (f"--{setting.key.replace('_', '-')}", setting.shown(value))
    if machine.free is not None:
        yield from ("--free", format_size(machine.free))
