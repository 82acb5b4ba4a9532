# SPDX-License-Identifier: GPL-2.0-only
"""A kept boot, made again: the same build, machine, suites, cases, knobs and seed, as often as is asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from harness.flow.collect import CellResult
from harness.flow.comparison import is_note
from harness.flow.kept_boot import StoredBoot
from harness.flow.matrix import key_of
from harness.flow.request import Request
from harness.flow.run import RunOptions, execute
from harness.flow.run_record import Planned, Record, load_record
from harness.judge.repro import judge_again, same_sources, unlike_kernels
from harness.model.errors import UserError
from harness.model.progress import MultiProgress
from harness.model.repro import Repro
from harness.model.result import Provenance
from harness.store.layout import Layout
from harness.suites.registry import narrowed, suite_named


def asked_of(kept: StoredBoot) -> BootToRepeat:
    """UserError for a boot of `controls`, or of a live guest: nothing says what it was made of."""
    if kept.record is None or kept.planned is None:
        raise UserError(
            f"nothing says what the boot {kept.name} was made of: no `run` made it",
            hint=f"ttm-harness shell {kept.name} is a guest like it, while the store has its kernel",
        )
    return BootToRepeat(kept, kept.record, kept.planned)


@dataclass(frozen=True, slots=True)
class BootToRepeat:
    """A kept boot, with what its run was to do."""

    kept: StoredBoot
    record: Record
    planned: Planned

    @property
    def kernel(self) -> Provenance:
        """What it ran on."""
        return self.record.kernels[self.planned.kernel]

    @property
    def request(self) -> Request:
        """What asks for this boot alone, on the very build that it ran on."""
        asked, cell = self.record.requests[self.planned.request], self.kept.cell
        return replace(
            asked,
            kernel=replace(asked.sides[self.planned.leg], build=cell.build_id),
            base=None,
            machine=cell.machine,
            suites=tuple(word for word in asked.suites if suite_named(word).name in cell.suites),
            cases=cell.cases,
            knobs=cell.knobs,
            seed=cell.seed,
            repeat=1,
            as_they_fit=False,
        )


@dataclass(frozen=True, slots=True)
class Original:
    """The boot that is to be made again: its name, what it ran on, its key ('' where unknown), what came of it."""

    name: str
    kernel: Provenance
    key: str
    result: CellResult


def reproduce(
    kept: StoredBoot, times: int, layout: Layout, progress: MultiProgress, options: RunOptions
) -> tuple[Repro, Path]:
    """Makes the boot again, `times` times with the same seed, and says what came again."""
    asked = asked_of(kept)
    key = asked.planned.key if kept.cell == asked.planned.cell else ""  # one that went on with another has none
    first = Original(kept.name, asked.kernel, key, kept.load())
    return make_again(first, asked.request, times, layout, progress, options)


def make_again(
    first: Original, request: Request, times: int, layout: Layout, progress: MultiProgress, options: RunOptions
) -> tuple[Repro, Path]:
    """Makes the boot that the request asks for, and compares what comes of it with the first one."""
    requests = (request,) * times
    report, directory = execute(requests, layout, progress, replace(options, gate=False, fresh=True, each=True))
    now = load_record(directory)
    unlike = unlike_kernels(first.kernel, now.kernels[0])
    other_suite = _other_suite(first, request)
    if other_suite:
        unlike = (*unlike, "the suite, its modules or the guest's root are not those of then")
    same_code = not other_suite and same_sources(first.kernel, now.kernels[0])
    told = (first.result.run, first.result.cases, first.result.events)
    found = judge_again(
        first.name,
        told,
        directory.name,
        report.runs,
        report.cases,
        report.events,
        unlike,
        is_note,
        same_code=same_code,
    )
    return found, directory


def _other_suite(first: Original, request: Request) -> bool:
    """Whether what this harness has beside the kernel is not what the first boot was made of: were it, the key of
    that boot would come out again with its own build and tools.
    """
    if not first.key:
        return False
    cell = first.result.run.cell
    suites = tuple(narrowed(suite_named(word), cell.cases) for word in request.suites)
    return key_of(cell, suites, f"{first.kernel.qemu}, {first.kernel.vng}") != first.key
