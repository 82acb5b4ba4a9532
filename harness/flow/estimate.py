# SPDX-License-Identifier: GPL-2.0-only
"""What a run would do and how long it would take, before anything is built or booted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.flow.admission import VCPUS_PER_CORE
from harness.flow.history import read_history
from harness.flow.matrix import Kernel, check_machines, kernels_wanted, plan_boots
from harness.flow.prepare import Request, profile_of, too_old_for, tree_of
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
    """A kernel of the plan. `seconds` is what building it will take: 0 when it is built, None when nobody knows."""

    version: str
    origin: str
    profile: str
    build_id: str
    accel: Accel
    seconds: float | None


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
        """How many boots nobody can tell the time of."""
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
    check_machines(requests)
    compiler = compiler_version(Deadline(_TOOL_SECONDS))
    ahead, kernels = [], {}
    left_out: list[LeftOut] = []
    for place, (request, suites) in enumerate(kernels_wanted(requests).items()):
        tree, profile = tree_of(request, layout, progress, fetches=False), profile_of(request)
        identity = build_id(tree, profile, compiler)
        settled = accel.expected(request.machine.accel, layout)
        built = find(tree, profile, layout, Deadline(_TOOL_SECONDS)) is not None
        seconds = 0.0 if built else last_seconds(profile.name, layout) or None
        ahead.append(KernelAhead(tree.version, tree.origin, profile.name, identity, settled, seconds))
        without = tuple(too_old_for(suites, tree.version, identity)) if request.as_they_fit else ()
        left_out += without
        names = frozenset(one.suite for one in without)
        kernels[request] = Kernel(place, identity, profile.name, settled, names)
    history = read_history(layout)
    boots = []
    for planned in plan_boots(requests, kernels, tools()):
        kept = None if fresh else history.result(planned)
        boots.append(
            BootAhead(planned, kept.run.name if kept is not None and kept.whole else "", history.expected(planned))
        )
    most = max(1, int(cores() * VCPUS_PER_CORE))
    return Estimate(tuple(ahead), tuple(boots), min(parallel or most, most), tuple(left_out))
