# SPDX-License-Identifier: GPL-2.0-only
"""Other hosts that make the boots of a run: what is asked of them. Who they are, and how they are reached, is the
matter of the room `fleet`; what came of a boot is read and judged here, as if it had been made here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from harness.flow.boots import BootEnvironment, boot_cell, objects_in
from harness.flow.collect import CellResult, read_out
from harness.flow.gate import GateJob
from harness.flow.observe import BootPart, Seen, observe
from harness.flow.prepare import Builder, Stopwatch, settle_accel
from harness.guest.boot import Boot
from harness.model.cell import Cell
from harness.model.errors import InfraError
from harness.model.gate import Gate
from harness.model.kernel import PreparedKernel
from harness.model.machine import Accel, Machine
from harness.model.progress import Progress
from harness.model.suite import Suite
from harness.store.layout import Layout


@dataclass(frozen=True, slots=True)
class Booted:
    """A boot as its host tells it; the rest of what it left is its evidence. `troubles` are the host's sentences."""

    part: BootPart
    boot: Boot
    troubles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FromHost:
    """The boots of a cell that another host made. `notes` are sentences for the report: what was left out, and what
    was done more than once.
    """

    host: str
    boots: tuple[Seen, ...]
    notes: tuple[str, ...]


class SetAside(InfraError):
    """A boot that is not tried any more: the message says what became of those who tried. The others go on."""


class Hosts(Builder, Protocol):
    """Called from any thread."""

    @property
    def most(self) -> int:
        """How many boots they can have at once, with those that wait for their turn."""

    def check_machine(self, machine: Machine) -> None:
        """UserError for a guest that none of them could carry."""

    def accel(self, asked: Accel) -> Accel:
        """What guests run on when that is asked for; UserError when none has it."""

    def gate(self, job: GateJob, progress: Progress) -> Gate | None:
        """The gate on a series, by one of them; None where no other host can, or may."""

    def boots_of(self, cell: Cell, suites: Sequence[Suite], environment: BootEnvironment, number: int) -> FromHost:
        """As flow.boots.boots_of, on one of them. When it returns, all that the boots left is in the environment's
        directory, and is what they left.

        Raises Stopped when the command ends, SetAside for a boot that costs one host after the other.
        """


def seen_here(cell: Cell, suites: Sequence[Suite], environment: BootEnvironment, place: Path, booted: Booted) -> Seen:
    """What a boot left, read by this host, which has the sources and the objects of its kernel."""
    own = place / booted.part.folder if booted.part.folder else place
    objects = objects_in(suites, environment)
    return observe(cell, suites, environment.kernel.build, booted.boot, own, objects, booted.part, booted.troubles)


def boot_on(
    hosts: Hosts | None, cell: Cell, suites: Sequence[Suite], environment: BootEnvironment, number: int
) -> CellResult:
    """As `boot_cell`, by one of the hosts where there are any."""
    if hosts is None:
        return boot_cell(cell, suites, environment, number)
    made = hosts.boots_of(cell, suites, environment, number)
    result = read_out(cell, suites, environment.kernel.build, made.boots, made.notes)
    return replace(result, run=replace(result.run, host=made.host))


def settle_on(
    hosts: Hosts | None,
    asked: Accel,
    kernel: PreparedKernel,
    root: Path,
    layout: Layout,
    progress: Progress,
    watch: Stopwatch,
) -> Accel:
    """What guests run on when that is asked for: on this host, or on the hosts where there are any."""
    if hosts is not None:
        return hosts.accel(asked)
    return settle_accel(asked, kernel, root, layout, progress, watch)
