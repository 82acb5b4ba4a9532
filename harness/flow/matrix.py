# SPDX-License-Identifier: GPL-2.0-only
"""Requests -> the kernels that they need -> the boots to be made, in their order, with ids that need no build."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Protocol

from harness import __version__
from harness.flow.admission import check_machine
from harness.flow.planfile import value_word
from harness.flow.prepare import parts_of_root
from harness.flow.request import Request
from harness.flow.run_record import Planned
from harness.guest.root import root_id
from harness.kernel.module import sources_id
from harness.model.cell import Cell
from harness.model.compare import Leg
from harness.model.errors import UserError
from harness.model.kernel import KernelSpec
from harness.model.machine import Accel, Machine
from harness.model.result import LeftOut
from harness.model.root import RootSpec
from harness.model.suite import Suite
from harness.model.units import format_size
from harness.suites.knobs import check_knob_cases, check_knobs
from harness.suites.registry import narrowed, registry, suite_named


class Known(Protocol):
    """What has to be known of a kernel to plan its boots; it need not be built for that."""

    @property
    def build_id(self) -> str: ...

    @property
    def profile(self) -> str: ...

    @property
    def left_out(self) -> tuple[LeftOut, ...]: ...


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """A request with its suites, those that share a boot together, and the words that tell it from the others."""

    request: Request
    groups: tuple[tuple[Suite, ...], ...]
    label: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """The requests, gone through once. `kernels`: each kernel that they want, once, with all the suites that it is to
    run, and of each whether every request that wants it does without it where it cannot be had.
    """

    rows: tuple[MatrixRow, ...]
    kernels: Mapping[KernelSpec, Mapping[Suite, bool]]

    @property
    def boots(self) -> int:
        """How many boots that is."""
        return sum(row.request.repeat * len(row.groups) * len(row.request.sides) for row in self.rows)

    def kernels_of_accels(self) -> dict[Accel, KernelSpec]:
        """Each accelerator that is asked for, with the first kernel that is to boot with it."""
        found: dict[Accel, KernelSpec] = {}
        for row in self.rows:
            found.setdefault(row.request.machine.accel, row.request.kernel)
        return found

    @property
    def roots(self) -> tuple[RootSpec, ...]:
        """What the suites run in, each once."""
        return tuple(dict.fromkeys(suite.root for row in self.rows for group in row.groups for suite in group))

    def only(self, kernels: Collection[KernelSpec]) -> Matrix:
        """Without the requests whose kernel is not there."""
        return replace(self, rows=tuple(row for row in self.rows if row.request.kernel in kernels))


def matrix_of(requests: Sequence[Request], check: Callable[[Machine], None] | None = None) -> Matrix:
    """UserError for suites, cases and knobs that do not go together, and for machines that `check` refuses: those
    that this host cannot carry, where others do not make the boots.
    """
    check_machines(requests, check)
    rows, kernels = [], dict[KernelSpec, dict[Suite, bool]]()
    for request, label in zip(requests, group_labels(requests), strict=True):
        suites = _chosen_suites(request)
        rows.append(MatrixRow(request, share_boots(suites), label))
        for kernel in request.sides.values():
            wanted = kernels.setdefault(kernel, {})
            for suite in suites:
                wanted[suite] = wanted.get(suite, True) and request.as_they_fit
    return Matrix(tuple(rows), kernels)


def _chosen_suites(request: Request) -> tuple[Suite, ...]:
    if len(set(request.suites)) < len(request.suites):
        raise UserError("a suite is named twice", hint="--repeat N boots every cell N times")
    suites = tuple(narrowed(suite_named(name), request.cases) for name in request.suites)
    if not suites:
        raise UserError("no suite is named", hint=f"--suite {','.join(registry().suites)}")
    check_knobs(request.knobs, suites)
    check_knob_cases(request.knobs, request.cases, suites)
    return suites


def with_seeds(requests: Sequence[Request]) -> tuple[Request, ...]:
    """The requests with a first seed drawn, the same for all, where none is named."""
    drawn = secrets.randbits(32)
    return tuple(replace(one, seed=drawn) if one.seed is None else one for one in requests)


def check_machines(requests: Sequence[Request], check: Callable[[Machine], None] | None = None) -> None:
    """UserError for a guest that this host, or who else is to, could not carry even if it had nothing else to do."""
    for machine in dict.fromkeys(request.machine for request in requests):
        (check or check_machine)(machine)


def plan_boots(
    matrix: Matrix, kernels: Mapping[KernelSpec, Known], accels: Mapping[Accel, Accel], tools: str
) -> tuple[Planned, ...]:
    """Every boot, base and patched kernel in turn: what changes on the host meanwhile changes for both.

    `accels`: what guests run on, by what was asked for. `tools` names QEMU and vng with their versions. Every request
    has its seed, and its kernel is there.
    """
    inputs = _Inputs(tools)
    places = {kernel: place for place, kernel in enumerate(kernels)}
    found = []
    for number, (turn, index, group, leg) in enumerate(_order(matrix, kernels), 1):
        request = matrix.rows[index].request
        wanted = request.sides[leg]
        kernel = kernels[wanted]
        cell = Cell(
            build_id=kernel.build_id,
            machine=replace(request.machine, accel=accels[request.machine.accel]),
            suites=tuple(suite.name for suite in group),
            seed=((request.seed or 0) + turn) % 2**32,
            knobs=request.knobs,
            cases=request.cases or group[0].cases,
            igt=wanted.igt if any(suite.wants_igt for suite in group) else "",
        )
        key, shape = inputs.key(cell, group), shape_of(cell, kernel.profile)
        label = matrix.rows[index].label
        found.append(Planned(number, leg, label, cell, key, shape, places[wanted], index))
    return tuple(found)


def _order(matrix: Matrix, kernels: Mapping[KernelSpec, Known]) -> Iterator[tuple[int, int, tuple[Suite, ...], Leg]]:
    without = {spec: {left.suite for left in kernel.left_out} for spec, kernel in kernels.items()}
    for turn in range(max((row.request.repeat for row in matrix.rows), default=0)):
        for index, row in enumerate(matrix.rows):
            if turn < row.request.repeat:
                for group in row.groups:
                    for leg, kernel in row.request.sides.items():
                        if left := tuple(suite for suite in group if suite.name not in without[kernel]):
                            yield turn, index, left, leg


def share_boots(suites: tuple[Suite, ...]) -> tuple[tuple[Suite, ...], ...]:
    """Suites that leave no trace share a boot with others of the same root, in their order; each of the rest gets its
    own.
    """
    shared: dict[RootSpec, list[Suite]] = {}
    for suite in suites:
        if suite.shares_boot:
            shared.setdefault(suite.root, []).append(suite)
    return (*map(tuple, shared.values()), *((suite,) for suite in suites if not suite.shares_boot))


def shape_of(cell: Cell, profile: str) -> str:
    """What boots that take about as long as each other have in common: all but kernel, RAM, swap and seed."""
    knobs = ",".join(sorted(f"{knob.name}={knob.value}" for knob in cell.knobs))
    return " ".join((profile, cell.machine.accel, ",".join(cell.suites), ",".join(cell.cases) or "*", knobs or "-"))


def key_of(cell: Cell, suites: Sequence[Suite], tools: str) -> str:
    """The key of a boot (run_record.py) if it was made by this harness, with QEMU and vng as `tools` names them."""
    return _Inputs(tools).key(cell, suites)


class _Inputs:
    """Hashes of what a boot is made of beside its cell, each computed once."""

    def __init__(self, tools: str) -> None:
        self._common = (__version__, tools, root_id(parts_of_root()))
        self._modules: dict[Path, str] = {}

    def key(self, cell: Cell, suites: Sequence[Suite]) -> str:
        """64 hex digits: while they are the same, there is no reason to boot again."""
        modules = [self._module(suite.brings) for suite in suites if suite.brings is not None]
        # Where a suite lies is no matter; what lies there is in the root's id and in that of its modules.
        told = [replace(one, folder=Path(), runner=None, needs_module=None, needs_overlay=None) for one in suites]
        words = (cell.id, *self._common, *map(repr, told), *modules)
        return hashlib.sha256("\0".join(words).encode()).hexdigest()

    def _module(self, folder: Path) -> str:
        if folder not in self._modules:
            self._modules[folder] = sources_id(folder)
        return self._modules[folder]


def group_labels(requests: Sequence[Request]) -> tuple[str, ...]:
    """For each request the words that tell it from the others, seed and suites apart; empty when all are alike."""
    names = [one.name for one in fields(Machine) if len({repr(getattr(r.machine, one.name)) for r in requests}) > 1]
    if "swap" in names:
        names = ["ram", *(name for name in names if name != "ram")]
    parts = [
        [str(request.kernel.source) for request in requests],
        [str(request.kernel.series or "no series") for request in requests],
        ["all patches" if one.kernel.upto is None else f"patch {one.kernel.upto}" for one in requests],
        [request.kernel.profile for request in requests],
        *([_machine_word(request.machine, name) for request in requests] for name in names),
        [",".join(f"{knob.name}={knob.value}" for knob in request.knobs) or "no knobs" for request in requests],
    ]
    telling = [part for part in parts if len(set(part)) > 1 or (names and part is parts[4] and names[0] == "ram")]
    return tuple(", ".join(words) for words in zip(*telling, strict=True)) if telling else ("",) * len(requests)


def _machine_word(machine: Machine, name: str) -> str:
    value = getattr(machine, name)
    if name == "ram":
        return f"{format_size(machine.ram)} RAM"
    if name == "cmdline":
        return " ".join(machine.cmdline) or "no argument"
    if name == "cpus":
        return f"{value} vCPUs"
    return f"{name} {'as it is' if value is None else value_word(name, value)}"
