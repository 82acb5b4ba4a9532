# SPDX-License-Identifier: GPL-2.0-only
"""What a run is to do, on the disk before it begins, and the report put together from that and the boots' results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.flow.collect import CellResult
from harness.flow.comparison import without_known
from harness.flow.request import Request
from harness.flow.verdict import Evidence, verdict_on
from harness.judge.belief import unearned_run
from harness.judge.known import WithKnownIssues
from harness.judge.machines import machine_rows
from harness.model.cell import Cell
from harness.model.codec import from_json, to_json
from harness.model.compare import Leg
from harness.model.errors import StoreCorrupt, StoreDamaged, UserError
from harness.model.figure import Figure, Figures
from harness.model.gate import Gate
from harness.model.known import NOTHING_KNOWN, KnownIssues
from harness.model.outcome import Verdict
from harness.model.presubmit import Presubmit
from harness.model.result import REPORT_SCHEMA, LeftOut, Provenance, Report, Run, Stage
from harness.store.files import copy_apart, read_regular, write_atomically
from harness.store.journal import Entry, Step, read_journal
from harness.store.remove import remove
from harness.store.runs import BOOT_REPLAY
from harness.store.runs import RECORD_FILE as RECORD_FILE
from harness.store.sealed import Seal, paths_but, require_sealed, seal
from harness.suites.registry import figures_said

RESULT_FILE = "result.json"
_LARGEST = 256 << 20


@dataclass(frozen=True, slots=True)
class Planned:
    """A boot to be made. `group` are the words that tell its machine from the others of the run.

    `key` hashes all that goes into the boot: cell, suites, scripts, modules, root, tools. `kernel` and `request`
    are places in the record's lists.
    """

    number: int
    leg: Leg
    group: str
    cell: Cell
    key: str
    shape: str
    kernel: int
    request: int

    @property
    def place(self) -> str:
        return f"{self.number:03d}-{self.cell.id}"


@dataclass(frozen=True, slots=True)
class Record:
    """A run: the plan's name (empty for none), what was asked for with every seed drawn, kernels, boots in order.

    `gates` is what the gate said of each series beforehand; `known` are the known issues as they were on the day it
    began, `left_out` which suites some kernel does without. `each`: boots that are all alike are made, every one;
    else one of them stands for the others. `until_fail`: the first bad boot is the last; `stress`: the host treats
    the guests badly. `presubmit`: how its few cases were chosen, where it is no more than a first answer.
    """

    plan: str
    requests: tuple[Request, ...]
    kernels: tuple[Provenance, ...]
    cells: tuple[Planned, ...]
    gates: tuple[Gate, ...] = ()
    known: KnownIssues = NOTHING_KNOWN
    left_out: tuple[LeftOut, ...] = ()
    each: bool = False
    until_fail: bool = False
    stress: bool = False
    presubmit: Presubmit | None = None


def save_record(directory: Path, record: Record) -> None:
    write_atomically(directory / RECORD_FILE, to_json(record))


def load_record(directory: Path) -> Record:
    """UserError when the directory has none, StoreCorrupt when it cannot be read."""
    try:
        text = read_regular(directory / RECORD_FILE, _LARGEST).decode("utf-8")
        return from_json(Record, text, str(directory / RECORD_FILE))
    except FileNotFoundError:
        raise UserError(f"{directory} has no {RECORD_FILE}", hint="only a run that began to boot can go on") from None
    except (OSError, UnicodeDecodeError) as error:
        raise StoreCorrupt(f"{directory / RECORD_FILE} cannot be read: {error}") from error


def load_results(directory: Path, record: Record) -> dict[int, CellResult]:
    """The results of the boots that the journal has as finished, by number; StoreDamaged when one is not what its
    boot left. (An older harness did not say what that was.)
    """
    finished = finished_boots(directory)
    found = {}
    for number in (one.number for one in record.cells if one.number in finished):
        place = directory / finished[number].place
        if finished[number].sealed:
            require_sealed(place, finished[number].sealed)
        found[number] = load_result(place)
    return found


def finished_boots(directory: Path) -> dict[int, Entry]:
    """What the journal says last of each boot that it has as finished."""
    return {entry.number: entry for entry in read_journal(directory) if entry.step is Step.FINISHED}


def load_result(place: Path) -> CellResult:
    """StoreCorrupt when it cannot be read, StoreDamaged when its verdict is not the one that its cases led to."""
    try:
        text = read_regular(place / RESULT_FILE, _LARGEST).decode("utf-8")
        result = from_json(CellResult, text, str(place / RESULT_FILE))
    except (OSError, UnicodeDecodeError) as error:
        raise StoreCorrupt(f"{place / RESULT_FILE} cannot be read: {error}") from error
    if why := unearned_run(result.run, result.cases):
        raise StoreDamaged(f"{place / RESULT_FILE} is not believed: {why}")
    return result


def save_result(place: Path, result: CellResult) -> None:
    write_atomically(place / RESULT_FILE, to_json(result))


def renamed(result: CellResult, place: str, leg: Leg, group: str, kept_from: str = "") -> CellResult:
    """The result as one of the boot `place` of this run."""
    return CellResult(
        run=replace(result.run, id=place, directory=place, leg=leg, group=group, kept_from=kept_from),
        cases=tuple(replace(case, run=place) for case in result.cases),
        events=tuple(replace(event, run=place) for event in result.events),
    )


def take_over(source: Path, sealed: str, target: Path) -> None:
    """Copies the evidence of a kept boot; StoreDamaged when it is not what its seal, of the id `sealed`, says."""
    require_sealed(source, sealed)
    remove(target)
    copy_apart(source, target, without=BOOT_REPLAY)
    if seal_boot(target).id != sealed:
        raise StoreDamaged(f"{source} changed while it was copied")


def seal_boot(place: Path) -> Seal:
    """Hashes all that a boot left, the result too; somebody may replay it beside that."""
    return seal(place, paths_but(place, BOOT_REPLAY))


def finished_entry(planned: Planned, result: CellResult, kept_from: str = "", sealed: str = "") -> Entry:
    return Entry(
        step=Step.FINISHED,
        number=planned.number,
        cell=planned.cell.id,
        place=planned.place,
        key=planned.key,
        shape=planned.shape,
        seconds=sum(stage.seconds for stage in result.run.stages if stage.name == "boot"),
        verdict=str(result.run.verdict),
        kept_from=kept_from,
        sealed=sealed,
    )


def assemble(
    name: str,
    record: Record,
    results: Mapping[int, CellResult],
    stages: tuple[Stage, ...] = (),
    told: Sequence[str] = (),
) -> Report:
    """The report on the boots that were made; while some are missing it can be bad, but not good. `told` are
    sentences for those that were given up.
    """
    made = [results[one.number] for one in record.cells if one.number in results]
    excused = judged(record, made)
    runs, cases, events = excused.runs, excused.cases, excused.events
    based = groups_with_base(record)
    missing = len(record.cells) - len(made)
    also = [*told, *(one.sentence for one in excused.uses if one.counts_again)]
    if missing and enough(record, runs):
        also.append(f"ended at the first bad boot: {missing} of {len(record.cells)} were not made")
        missing = 0
    verdict, reasons, contrast = verdict_on(
        Evidence(runs, cases, events, record.gates, record.left_out), based, missing, also
    )
    kernels = {leg: [record.kernels[one.kernel] for one in record.cells if one.leg is leg] for leg in Leg}
    several = len(record.kernels) > 1 + bool(based)
    return Report(
        schema=REPORT_SCHEMA,
        id=name,
        verdict=verdict,
        reasons=reasons,
        provenance=(kernels[Leg.TIP] or list(record.kernels))[0],
        runs=runs,
        cases=cases,
        events=events,
        stages=stages,
        base=_base_of(record, kernels) if based else None,
        comparisons=contrast.cases,
        machines=machine_rows(runs, cases, contrast.cases, _costs(record))
        if len({one.group for one in record.cells}) > 1
        else (),
        kernels=record.kernels if several else (),
        plan=record.plan,
        event_changes=contrast.events,
        metric_changes=contrast.metrics,
        known=excused.uses,
        gates=record.gates,
        left_out=record.left_out,
        presubmit=record.presubmit,
    )


def enough(record: Record, runs: Iterable[Run]) -> bool:
    """Whether a run that ends at its first bad boot has one."""
    return record.until_fail and any(one.verdict is Verdict.BAD for one in runs)


def _costs(record: Record) -> tuple[Figure, ...]:
    """The figures that the suites of a run call its cost."""
    tables = figures_said(name for one in record.cells for name in one.cell.suites)
    return tuple(one for one in Figures.of_suites(tables.values()).own if one.cost)


def groups_with_base(record: Record) -> frozenset[str]:
    return frozenset(one.group for one in record.cells if one.leg is Leg.BASE or _has_base(record, one))


def _has_base(record: Record, planned: Planned) -> bool:
    """Whether a base was asked for; suites that it is too old for have no boot there."""
    return planned.request < len(record.requests) and record.requests[planned.request].base is not None


def _base_of(record: Record, kernels: Mapping[Leg, Sequence[Provenance]]) -> Provenance | None:
    tips = {one.build_id for one in kernels[Leg.TIP]}
    others = (one for one in record.kernels if one.build_id not in tips)
    return next(iter(kernels[Leg.BASE]), None) or next(others, None)


def judged(record: Record, results: Sequence[CellResult]) -> WithKnownIssues:
    """The results of some boots with what the run knows of marked as known."""
    return without_known(
        record.known,
        record.kernels,
        [one.run for one in results],
        [case for one in results for case in one.cases],
        [event for one in results for event in one.events],
    )


def assembled(directory: Path) -> Report:
    """The report of a run directory from what its boots left: of a run that was killed, too."""
    record = load_record(directory)
    return assemble(directory.name, record, load_results(directory, record))
