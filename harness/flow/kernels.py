# SPDX-License-Identifier: GPL-2.0-only
"""The kernels of a run: patches gated before anything is built, and what does not build is a finding, not the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.flow.gate import gate_request
from harness.flow.matrix import kernel_of, kernels_wanted
from harness.flow.prepare import PreparedKernel, Request, Stopwatch, prepare, series_of
from harness.judge.gate import builds, with_failed_build
from harness.model.errors import BuildFailed, ConfigUnmet, ModuleFailed, UserError
from harness.model.gate import Gate
from harness.model.progress import MultiProgress
from harness.store.layout import Layout


@dataclass(frozen=True, slots=True)
class Candidates:
    """What there is to boot: the requests whose kernels were built, these kernels, and the gate of each series."""

    requests: tuple[Request, ...]
    ready: Mapping[Request, PreparedKernel]
    gates: tuple[Gate, ...] = ()


def each_patch(requests: Sequence[Request], layout: Layout, progress: MultiProgress) -> tuple[Request, ...]:
    """For every request with a series one for each number of its patches."""
    found: list[Request] = []
    for request in requests:
        if request.series is None:
            raise UserError("there are no patches to take one by one", hint="name a --series")
        count = len(series_of(request, layout, progress).patches)
        found += (replace(request, upto=number) for number in range(1, count + 1))
    return tuple(found)


def prepare_all(
    requests: Sequence[Request], layout: Layout, progress: MultiProgress, watch: Stopwatch
) -> dict[Request, PreparedKernel]:
    """Every kernel, before the first boot; a mistake of the user's in any request comes before all of them."""
    wanted = kernels_wanted(requests)
    return {kernel: prepare(kernel, suites, layout, progress, watch) for kernel, suites in wanted.items()}


def prepare_gated(
    requests: Sequence[Request], layout: Layout, progress: MultiProgress, watch: Stopwatch
) -> Candidates:
    """Every patch through the gate, then every kernel of which the gate does not say that it cannot be built.

    Raises BuildFailed or ConfigUnmet when a kernel without the series cannot be made, and ModuleFailed for a suite
    that --suite names: then nothing can be said about the series.
    """
    gates = _gates(requests, layout, progress)
    watch.lap("gate")
    ready: dict[Request, PreparedKernel] = {}
    failed: dict[Request, str] = {}
    for kernel, suites in kernels_wanted(requests).items():
        whole = _whole(kernel)
        if whole in gates and not builds(gates[whole], kernel.upto):
            progress.step(f"no kernel with {_patches(kernel)}: it does not apply, or does not compile")
            continue
        try:
            ready[kernel] = prepare(kernel, suites, layout, progress, watch)
        except ModuleFailed:
            raise
        except (BuildFailed, ConfigUnmet) as error:
            if whole not in gates:
                raise
            failed[kernel] = error.message
            progress.step(f"no kernel with {_patches(kernel)}: it does not build")
    for kernel, message in failed.items():
        whole = _whole(kernel)
        built = _with_a_patch_less(kernel, len(gates[whole].patches)) in ready
        gates[whole] = with_failed_build(gates[whole], kernel.upto, message, built)
    left = tuple(request for request in requests if kernel_of(request) in ready)
    return Candidates(left, ready, tuple(gates.values()))


def _gates(requests: Sequence[Request], layout: Layout, progress: MultiProgress) -> dict[Request, Gate]:
    """The gate on every series, once for each source and profile."""
    wanted = (_whole(kernel_of(request)) for request in requests if request.series is not None)
    return {one: gate_request(one, layout, progress) for one in dict.fromkeys(wanted)}


def _whole(kernel: Request) -> Request:
    return replace(kernel, upto=None)


def _with_a_patch_less(kernel: Request, count: int) -> Request:
    """The kernel before the last patch of this one, of a series with `count` patches; the base before the first."""
    number = (kernel.upto or count) - 1
    return replace(kernel, upto=number) if number else replace(kernel, series=None, upto=None)


def _patches(kernel: Request) -> str:
    which = "all patches" if kernel.upto is None else f"patches 1 to {kernel.upto}"
    return f"{which} of {kernel.series}"
