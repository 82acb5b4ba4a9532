# SPDX-License-Identifier: GPL-2.0-only
"""Requests x kernels -> the boots to be made, in their order, with ids that need no finished build."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from harness import __version__
from harness.flow.admission import Claim
from harness.flow.planfile import value_word
from harness.flow.prepare import Request, base_of, parts_of_root
from harness.flow.resources import most_for_guests
from harness.flow.run_record import Planned
from harness.guest.root import root_id
from harness.kernel.module import sources_id
from harness.model.cell import Cell
from harness.model.compare import Leg
from harness.model.errors import UserError
from harness.model.machine import Accel, Machine
from harness.model.suite import Suite
from harness.model.units import MIB, format_size
from harness.suites.knobs import check_knob_cases, check_knobs
from harness.suites.registry import narrowed, registry, suite_named


@dataclass(frozen=True, slots=True)
class Kernel:
    """What of a kernel decides the cells: `place` in the record's list, `build_id`, profile, the accelerator, and the
    names of the suites that it does without.
    """

    place: int
    build_id: str
    profile: str
    accel: Accel
    left_out: frozenset[str] = frozenset()


def chosen_suites(request: Request) -> tuple[Suite, ...]:
    """The suites by their names, narrowed to the wanted cases; UserError for what cannot be."""
    if len(set(request.suites)) < len(request.suites):
        raise UserError("a suite is named twice", hint="--repeat N boots every cell N times")
    suites = tuple(narrowed(suite_named(name), request.cases) for name in request.suites)
    if not suites:
        raise UserError("no suite is named", hint=f"--suite {','.join(registry().suites)}")
    check_knobs(request.knobs, suites)
    check_knob_cases(request.knobs, request.cases, suites)
    return suites


def legs_of(request: Request) -> dict[Leg, Request]:
    """The request for each leg, the base first."""
    base = base_of(request)
    return {Leg.TIP: request} if base is None else {Leg.BASE: base, Leg.TIP: request}


def kernel_of(request: Request) -> Request:
    """The request with nothing left in it but what its kernel needs: the same for all that share one."""
    return Request(
        source=request.source,
        profile=request.profile,
        machine=Machine(accel=request.machine.accel),
        suites=(),
        fragments=request.fragments,
        series=request.series,
        upto=request.upto,
        mirror=request.mirror,
        jobs=request.jobs,
        as_they_fit=request.as_they_fit,
    )


def kernels_wanted(requests: Sequence[Request]) -> dict[Request, tuple[Suite, ...]]:
    """Every kernel of the requests, each once, with all the suites that it is to run."""
    wanted: dict[Request, dict[str, Suite]] = {}
    for request in requests:
        for one in legs_of(request).values():
            wanted.setdefault(kernel_of(one), {}).update((suite.name, suite) for suite in chosen_suites(request))
    return {kernel: tuple(suites.values()) for kernel, suites in wanted.items()}


def with_seeds(requests: Sequence[Request]) -> tuple[Request, ...]:
    """The requests with a first seed drawn, the same for all, where none is named."""
    drawn = secrets.randbits(32)
    return tuple(replace(one, seed=drawn) if one.seed is None else one for one in requests)


def check_machines(requests: Sequence[Request]) -> None:
    """UserError for a guest that this host could not carry even if it had nothing else to do."""
    most = most_for_guests()
    for machine in dict.fromkeys(request.machine for request in requests):
        claim = Claim.of(machine)
        if claim.ram > most:
            raise UserError(
                f"this host cannot carry a guest with {format_size(machine.ram)} of RAM: it takes "
                f"{claim.ram // MIB}M with QEMU's own, and guests may have {max(0, most) // MIB}M in all",
                hint="a smaller --ram, or another host",
            )


def count_boots(requests: Sequence[Request]) -> int:
    """How many boots the requests come to, without planning them."""
    return sum(
        request.repeat * len(share_boots(chosen_suites(request))) * len(legs_of(request)) for request in requests
    )


def plan_boots(requests: Sequence[Request], kernels: Mapping[Request, Kernel], tools: str) -> tuple[Planned, ...]:
    """Every boot, the legs in turn: what changes on the host meanwhile changes for both.

    `tools` names QEMU and vng with their versions. Every request has its seed.
    """
    if not requests:
        return ()
    labels = group_labels(requests)
    inputs = _Inputs(tools)
    found = []
    for number, (turn, index, group, leg, kernel) in enumerate(_order(requests, kernels), 1):
        request = requests[index]
        cell = Cell(
            build_id=kernel.build_id,
            machine=replace(request.machine, accel=kernel.accel),
            suites=tuple(suite.name for suite in group),
            seed=((request.seed or 0) + turn) % 2**32,
            knobs=request.knobs,
            cases=request.cases or group[0].cases,
        )
        key, shape = inputs.key(cell, group), shape_of(cell, kernel.profile)
        found.append(Planned(number, leg, labels[index], cell, key, shape, kernel.place, index))
    return tuple(found)


def _order(
    requests: Sequence[Request], kernels: Mapping[Request, Kernel]
) -> Iterator[tuple[int, int, tuple[Suite, ...], Leg, Kernel]]:
    for turn in range(max(request.repeat for request in requests)):
        for index, request in enumerate(requests):
            if turn < request.repeat:
                for group in share_boots(chosen_suites(request)):
                    for leg, one in legs_of(request).items():
                        kernel = kernels[kernel_of(one)]
                        if left := tuple(suite for suite in group if suite.name not in kernel.left_out):
                            yield turn, index, left, leg, kernel


def share_boots(suites: tuple[Suite, ...]) -> list[tuple[Suite, ...]]:
    """Suites that leave no trace share one boot, in their order; each of the others gets its own."""
    shared = tuple(suite for suite in suites if suite.shares_boot)
    alone = [(suite,) for suite in suites if not suite.shares_boot]
    return [shared, *alone] if shared else list(alone)


def shape_of(cell: Cell, profile: str) -> str:
    """What boots that take about as long as each other have in common: all but kernel, RAM, swap and seed."""
    knobs = ",".join(sorted(f"{knob.name}={knob.value}" for knob in cell.knobs))
    return " ".join((profile, cell.machine.accel, ",".join(cell.suites), ",".join(cell.cases) or "*", knobs or "-"))


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
        [str(request.source) for request in requests],
        [str(request.series or "no series") for request in requests],
        ["all patches" if request.upto is None else f"patch {request.upto}" for request in requests],
        [request.profile for request in requests],
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
