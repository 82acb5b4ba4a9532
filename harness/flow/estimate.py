# SPDX-License-Identifier: GPL-2.0-only
"""What a run would do and how long it would take, before anything is built or booted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.flow.admission import VCPUS_PER_CORE
from harness.flow.history import read_history
from harness.flow.matrix import matrix_of, plan_boots
from harness.flow.prepare import profile_of, too_old_for, tree_of
from harness.flow.request import Request
from harness.flow.resources import cores
from harness.flow.run import tools
from harness.flow.run_record import Planned
from harness.guest import accel
from harness.kernel.build import build_id, find, last_seconds
from harness.kernel.make import compiler_version
from harness.model.machine import Accel
from harness.model.progress import Progress
from harness.model.result import LeftOut
from harness.proc import Deadline
from harness.store.layout import Layout

_TOOL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class KernelAhead:
    """A kernel of the plan. `seconds` is what building it will take: 0 when it is built, None when unknown."""

    version: str
    origin: str
    profile: str
    build_id: str
    accel: Accel
    seconds: float | None
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, slots=True)
class BootAhead:
    """A boot of the plan. `kept` names the run that has its result; `seconds` is None without a past run like it."""

    planned: Planned
    kept: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Estimate:
    kernels: tuple[KernelAhead, ...]
    boots: tuple[BootAhead, ...]
    side_by_side: int
    left_out: tuple[LeftOut, ...] = ()

    @property
    def unknown(self) -> int:
        """How many boots have no known time."""
        return sum(one.seconds is None and not one.kept for one in self.boots)

    @property
    def seconds(self) -> float:
        """Of all that is known: builds one after the other, then boots as many at a time as may be.

        Guests that share the cores slow each other down, so side by side they take no less together.
        """
        builds = sum(one.seconds or 0.0 for one in self.kernels)
        waits = sum(one.seconds or 0.0 for one in self.boots if not one.kept)
        return builds + waits


def estimate(
    requests: Sequence[Request], layout: Layout, progress: Progress, fresh: bool, parallel: int | None
) -> Estimate:
    """Unpacks sources where it must (an id hashes what is in them), but fetches, builds and boots nothing."""
    matrix = matrix_of(requests)
    compiler = compiler_version(Deadline(_TOOL_SECONDS))
    accels = {asked: accel.expected(asked, layout) for asked in matrix.kernels_of_accels()}
    kernels = {}
    for wanted, suites in matrix.kernels.items():
        tree, profile = tree_of(wanted, layout, progress, fetches=False), profile_of(wanted)
        identity = build_id(tree, profile, compiler)
        built = find(tree, profile, layout, Deadline(_TOOL_SECONDS)) is not None
        kernels[wanted] = KernelAhead(
            version=tree.version,
            origin=tree.origin,
            profile=profile.name,
            build_id=identity,
            accel=next(
                accels[row.request.machine.accel] for row in matrix.rows if wanted in row.request.sides.values()
            ),
            seconds=0.0 if built else last_seconds(profile.name, layout) or None,
            left_out=tuple(too_old_for([one for one, lacks in suites.items() if lacks], tree, identity)),
        )
    history = read_history(layout)
    boots = []
    for planned in plan_boots(matrix, kernels, accels, tools()):
        kept = None if fresh else history.result(planned)
        boots.append(
            BootAhead(planned, kept.run.name if kept is not None and kept.whole else "", history.expected(planned))
        )
    most = max(1, int(cores() * VCPUS_PER_CORE))
    left_out = tuple(left for one in kernels.values() for left in one.left_out)
    return Estimate(tuple(kernels.values()), tuple(boots), min(parallel or most, most), left_out)
