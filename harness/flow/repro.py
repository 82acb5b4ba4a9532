# SPDX-License-Identifier: GPL-2.0-only
"""A kept boot, made again: the same build, machine, suites, cases, knobs and seed, as often as is asked."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from harness.flow.collect import CellResult
from harness.flow.comparison import is_note
from harness.flow.request import Request
from harness.flow.run import RunOptions, execute
from harness.flow.run_record import Planned, Record, finished_boots, load_record, load_result
from harness.judge.repro import judge_again, unlike_kernels
from harness.model.errors import UserError
from harness.model.outcome import Verdict
from harness.model.progress import MultiProgress
from harness.model.repro import Repro
from harness.model.result import Provenance
from harness.store.layout import Layout
from harness.store.runs import find_run
from harness.store.sealed import require_sealed
from harness.suites.registry import suite_named

_BOOT = re.compile(r"(?P<number>\d{1,5})(?:-[0-9a-f]{12})?")


@dataclass(frozen=True, slots=True)
class KeptBoot:
    """A boot of a run of the store, with what the run was to do."""

    run: Path
    record: Record
    planned: Planned
    sealed: str  # the id of the seal on what it left

    @property
    def name(self) -> str:
        """RUN/BOOT."""
        return f"{self.run.name}/{self.planned.place}"

    @property
    def place(self) -> Path:
        return self.run / self.planned.place

    @property
    def kernel(self) -> Provenance:
        """What it ran on."""
        return self.record.kernels[self.planned.kernel]

    @property
    def request(self) -> Request:
        """What asks for this boot alone, on the very build that it ran on."""
        asked, cell = self.record.requests[self.planned.request], self.planned.cell
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

    def load(self) -> CellResult:
        """What came of it; StoreDamaged when its evidence is not what it left."""
        if self.sealed:
            require_sealed(self.place, self.sealed)
        return load_result(self.place)


def kept_boot(layout: Layout, words: str) -> KeptBoot:
    """RUN or RUN/BOOT, a number or the name of its folder; of a RUN alone it is the one boot, or the first bad one.

    UserError where there is no such boot, or none that ended.
    """
    name, _, wanted = words.rstrip("/").rpartition("/")
    match = _BOOT.fullmatch(wanted)
    if not name or match is None:
        name, match = words, None
    directory = find_run(layout, name)
    record = load_record(directory)
    finished = finished_boots(directory)
    boots = [
        KeptBoot(directory, record, one, finished[one.number].sealed)
        for one in record.cells
        if one.number in finished and (directory / one.place).is_dir()
    ]
    if match is not None:
        boots = [one for one in boots if one.planned.number == int(match["number"])]
    if not boots:
        which = f"no boot {wanted} that ended" if match is not None else "no boot that ended"
        raise UserError(f"the run {directory.name} has {which}", hint=f"ttm-harness report {directory.name}")
    return next((one for one in boots if finished[one.planned.number].verdict == Verdict.BAD), boots[0])


@dataclass(frozen=True, slots=True)
class Original:
    """The boot that is to be made again: its name, what it ran on, its key, and what came of it."""

    name: str
    kernel: Provenance
    key: str
    result: CellResult


def reproduce(
    kept: KeptBoot, times: int, layout: Layout, progress: MultiProgress, options: RunOptions
) -> tuple[Repro, Path]:
    """Makes the boot again, `times` times with the same seed, and says what came again."""
    first = Original(kept.name, kept.kernel, kept.planned.key, kept.load())
    return make_again(first, kept.request, times, layout, progress, options)


def make_again(
    first: Original, request: Request, times: int, layout: Layout, progress: MultiProgress, options: RunOptions
) -> tuple[Repro, Path]:
    """Makes the boot that the request asks for, and compares what comes of it with the first one."""
    requests = (request,) * times
    report, directory = execute(requests, layout, progress, replace(options, gate=False, fresh=True, each=True))
    now = load_record(directory)
    unlike = unlike_kernels(first.kernel, now.kernels[0])
    if not unlike and now.cells[0].key != first.key:
        unlike = ("the suite, its modules or the guest's root are not those of then",)
    told = (first.result.run, first.result.cases, first.result.events)
    found = judge_again(first.name, told, directory.name, report.runs, report.cases, report.events, unlike, is_note)
    return found, directory
