# SPDX-License-Identifier: GPL-2.0-only
"""The kernels of a run: patches gated before anything is built, and what does not build is a finding, not the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from harness.flow.gate import gate_job, gate_kernel, gate_series
from harness.flow.hosts import Hosts
from harness.flow.matrix import Matrix
from harness.flow.prepare import Stopwatch, prepare, series_of
from harness.flow.request import Request
from harness.judge.gate import builds, with_failed_build
from harness.model.errors import BuildFailed, ConfigUnmet, ModuleFailed, UserError
from harness.model.gate import Gate
from harness.model.kernel import KernelSpec, PreparedKernel
from harness.model.progress import MultiProgress
from harness.store.layout import Layout

_MOST_GATES = 64  # that hosts are asked for at a time


@dataclass(frozen=True, slots=True)
class Kernels:
    """What there is to boot, in the order of the matrix, and the gate of each series."""

    prepared: Mapping[KernelSpec, PreparedKernel]
    gates: tuple[Gate, ...] = ()


def each_patch(requests: Sequence[Request], layout: Layout, progress: MultiProgress) -> tuple[Request, ...]:
    """For every request with a series one for each number of its patches."""
    found: list[Request] = []
    for request in requests:
        if request.kernel.series is None:
            raise UserError("there are no patches to take one by one", hint="name a --series")
        count = len(series_of(request.kernel, layout, progress).patches)
        kernels = (replace(request.kernel, upto=number) for number in range(1, count + 1))
        found += (replace(request, kernel=kernel) for kernel in kernels)
    return tuple(found)


def prepare_kernels(
    matrix: Matrix,
    layout: Layout,
    progress: MultiProgress,
    watch: Stopwatch,
    jobs: int | None = None,
    hosts: Hosts | None = None,
    *,
    gated: bool,
) -> Kernels:
    """Every kernel, before the first boot; a mistake of the user's in any of them comes before all boots. With
    `gated` every patch goes through the gate first, and a kernel of which the gate says that it cannot be built, or
    that then does not build, is a finding.

    Raises BuildFailed or ConfigUnmet when a kernel without the series, or without the gate, cannot be made, and
    ModuleFailed for a suite that --suite names: then nothing can be said about the series.
    """
    gates = _gates(matrix, layout, progress, jobs, hosts) if gated else {}
    if gated:
        watch.lap("gate")
    made: dict[KernelSpec, PreparedKernel] = {}
    failed: dict[KernelSpec, str] = {}
    for kernel, suites in matrix.kernels.items():
        gate = gates.get(kernel.whole)
        if gate is not None and not builds(gate, kernel.upto):
            progress.step(f"no kernel with {kernel.patches}: it does not apply, or does not compile")
            continue
        try:
            made[kernel] = prepare(kernel, suites, layout, progress, watch, jobs, hosts)
        except ModuleFailed:
            raise
        except (BuildFailed, ConfigUnmet) as error:
            if gate is None:
                raise
            failed[kernel] = error.message
            progress.step(f"no kernel with {kernel.patches}: it does not build")
    for kernel, message in failed.items():
        gate = gates[kernel.whole]
        built = kernel.before_last(len(gate.patches)) in made
        gates[kernel.whole] = with_failed_build(gate, kernel.upto, message, built)
    return Kernels(made, tuple(gates.values()))


def _gates(
    matrix: Matrix, layout: Layout, progress: MultiProgress, jobs: int | None, hosts: Hosts | None
) -> dict[KernelSpec, Gate]:
    """Of each series, by the kernel with all of it. Where there are `hosts`, of several series at a time."""
    patched = list(dict.fromkeys(one.whole for one in matrix.kernels if one.series is not None))
    if hosts is None or not patched:
        return {one: gate_kernel(one, layout, progress, jobs) for one in patched}
    wanted = [gate_job(one, layout, progress, jobs) for one in patched]
    with ThreadPoolExecutor(min(len(wanted), _MOST_GATES), thread_name_prefix="gate") as pool:
        made = list(pool.map(lambda job: hosts.gate(job, progress), wanted))
    return {
        one: gate or gate_series(job, layout, progress) for one, job, gate in zip(patched, wanted, made, strict=True)
    }
