# SPDX-License-Identifier: GPL-2.0-only
"""The control boot of a night: a kernel that is good, with one bug put into it, must turn red."""

from __future__ import annotations

from dataclasses import replace

from harness.flow.boots import BootEnvironment
from harness.flow.controls import Detection, control_set, read_controls, try_controls
from harness.flow.hosts import Hosts, settle_on
from harness.flow.nightly_config import ControlConfig
from harness.flow.prepare import Stopwatch, prepare, prepare_root
from harness.model.errors import HarnessError
from harness.model.kernel import KernelSpec
from harness.model.nightly import ControlBoot
from harness.model.progress import Progress
from harness.model.tree import SourceSpec
from harness.store.layout import Layout
from harness.store.runs import run_directory
from harness.suites.registry import narrowed, suite_named

_SEED = 1


def control_boot(
    config: ControlConfig, kernel: str, turn: int, layout: Layout, progress: Progress, hosts: Hosts | None = None
) -> ControlBoot:
    """One of the controls, in their turn, on the kernel of that source. Where anything fails it is not caught."""
    try:
        return _try(config, kernel, turn, layout, progress, hosts)
    except HarnessError as error:
        name = config.names[turn % len(config.names)]
        word = str(Detection.CANNOT_TELL)
        return ControlBoot(name, config.suite, kernel, word, False, (error.message,), "", 0.0)


def _try(
    config: ControlConfig, source: str, turn: int, layout: Layout, progress: Progress, hosts: Hosts | None
) -> ControlBoot:
    whole = suite_named(config.suite)
    suite = narrowed(whole, config.cases)
    controls = [one for one in read_controls(control_set(whole).folder, config.names) if not one.neutral]
    control = controls[turn % len(controls)]
    progress.step(f"the control of this night: {control.name}")
    watch = Stopwatch()
    kernel = prepare(KernelSpec(SourceSpec.parse(source)), {suite: False}, layout, progress, watch, builder=hosts)
    root = prepare_root(layout, progress, watch)
    accel = settle_on(hosts, config.machine.accel, kernel, root, layout, progress, watch)
    machine = replace(config.machine, accel=accel)
    with run_directory(layout) as directory:
        environment = BootEnvironment(kernel, root, directory, progress)
        (tried,) = try_controls(
            (control,), suite, machine, environment, layout, _SEED, lambda one: None, config.cases, hosts
        )
    return ControlBoot(
        name=control.name,
        suite=config.suite,
        kernel=kernel.build.tree.version,
        noticed=str(tried.noticed),
        caught=tried.noticed is Detection.CAUGHT,
        reasons=tried.reasons or tried.cases,
        run=directory.name,
        seconds=tried.seconds,
    )
