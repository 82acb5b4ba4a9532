# SPDX-License-Identifier: GPL-2.0-only
"""A boot of a kept run -> a live guest like it: its build, its modules, its machine, its seed, cases and knobs. What
could not be had as it was then is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from harness.checkout import data_directory
from harness.flow.admission import check_machine
from harness.flow.boots import BootEnvironment
from harness.flow.kept_boot import StoredBoot
from harness.flow.live import LiveGuest, live_guest
from harness.flow.prepare import Stopwatch, own_modules, prepare, prepare_root, settle_accel
from harness.flow.schedule import CROWD, room_for
from harness.kernel.build import kept_build
from harness.kernel.fragments import read_profile
from harness.model.errors import InfraError, UserError
from harness.model.kernel import PreparedKernel
from harness.model.progress import Progress
from harness.model.suite import Suite
from harness.store.layout import Layout
from harness.store.runs import run_directory
from harness.store.sealed import damage
from harness.suites.registry import suite_named


@contextmanager
def recreated_guest(
    boot: StoredBoot, layout: Layout, progress: Progress, *, jobs: int | None = None
) -> Iterator[tuple[LiveGuest, tuple[str, ...]]]:
    """A live guest like the boot, and sentences for what is not as it was then."""
    check_machine(boot.cell.machine)
    watch = Stopwatch()
    notes: list[str] = []
    suites = _suites(boot, notes)
    kernel, module_tree = _kernel(boot, suites, layout, progress, jobs, notes)
    root = prepare_root(layout, progress, watch)
    if boot.stands_on is None or boot.stands_on.root.name != root.name:
        notes.append("the guest's scripts and programs are those of today")
    machine = boot.cell.machine
    machine = replace(machine, accel=settle_accel(machine.accel, kernel, root, layout, progress, watch))
    if machine != boot.cell.machine:
        notes.append(f"it runs on {machine.accel}, and not on {boot.cell.machine.accel}")
    cell = replace(boot.cell, machine=machine)
    with room_for(machine, layout, progress), run_directory(layout) as directory:
        progress.step(f"boot: {machine}, as {boot.place.name}")
        environment = BootEnvironment(kernel, root, directory, progress, module_tree, crowd=CROWD)
        with live_guest(environment, machine, layout, like=cell, suites=suites) as guest:
            yield guest, tuple(notes)


def _suites(boot: StoredBoot, notes: list[str]) -> tuple[Suite, ...]:
    found = []
    for name in boot.cell.suites:
        try:
            found.append(suite_named(boot.words.get(name, name)))
        except UserError as error:
            notes.append(f"the suite {name} cannot be run in it: {error.message}")
    return tuple(found)


def _kernel(
    boot: StoredBoot,
    suites: Sequence[Suite],
    layout: Layout,
    progress: Progress,
    jobs: int | None,
    notes: list[str],
) -> tuple[PreparedKernel, Path | None]:
    """The build, with the suites' modules; and what the guest gets as /lib/modules, where that is not the build's."""
    ground = boot.stands_on
    build = kept_build(ground.build.name if ground is not None else boot.cell.build_id, layout)
    if build is None:
        kernel = _made_again(boot, suites, layout, progress, jobs)
        notes.append("its kernel was built again, from the same inputs")
        build, slowness = kernel.build, kernel.slowness
    else:
        slowness = read_profile(build.profile.partition("+")[0], data_directory("kernel-configs")).slowness
    extra = _kept_extra(boot)
    modules = {}
    for suite in suites:
        if suite.brings is None and not suite.selftests and not suite.wants_igt:
            continue
        made = extra or own_modules(suite, build, layout, progress, boot.cell.igt)
        if made is not None:
            modules[suite.name] = made
            if made != (ground.extra if ground is not None else None):
                notes.append(f"the modules of {suite.name} were made again, of its sources as they are today")
    own = ground.modules if ground is not None and ground.build not in ground.modules.parents else None
    if own is not None:
        _require_kept(boot, own.parent)
    return PreparedKernel(build, modules, slowness), own


def _kept_extra(boot: StoredBoot) -> Path | None:
    """What the boot's suite brought along, as it was then. That of a boot of `controls` carries the control, and
    nothing else could take its place.
    """
    extra = boot.stands_on.extra if boot.stands_on is not None else None
    if extra is not None and boot.record is None:
        _require_kept(boot, extra)
    return extra if extra is not None and not damage(extra) else None


def _require_kept(boot: StoredBoot, modules: Path) -> None:
    if why := damage(modules):
        raise InfraError(
            f"the modules of the boot {boot.place.name} cannot be had any more: {why}", hint="make the run again"
        )


def _made_again(
    boot: StoredBoot, suites: Sequence[Suite], layout: Layout, progress: Progress, jobs: int | None
) -> PreparedKernel:
    short = boot.cell.build_id[:12]
    if boot.kernel is None:
        raise UserError(
            f"the kernel {short} of {boot.place} is not in the store any more, and nothing there says what it was "
            "made of",
            hint="make the run again",
        )
    progress.step(f"the build {short} is not in the store: it is made again")
    kernel = prepare(boot.kernel, dict.fromkeys(suites, True), layout, progress, Stopwatch(), jobs)
    if kernel.build.id != boot.cell.build_id:
        raise UserError(
            f"the kernel of {boot.place.name} cannot be had again: {boot.kernel.source} now gives the build "
            f"{kernel.build.id[:12]}, and not {short}",
            hint="its source, its configuration or the compiler has changed since; ttm-harness shell --source boots "
            "the new one",
        )
    return kernel
