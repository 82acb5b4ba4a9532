# SPDX-License-Identifier: GPL-2.0-only
"""The main job: requests -> kernels -> boots -> report, for one machine as for a plan's thousands."""

from __future__ import annotations

import platform
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol

from harness import __version__
from harness.flow.admission import NO_CLAIM, VCPUS_PER_CORE, Claim, Tokens
from harness.flow.boots import BootEnvironment, Stopped
from harness.flow.collect import CellResult
from harness.flow.devices import devices_lent, with_devices
from harness.flow.history import History, Kept, read_history
from harness.flow.hosts import Hosts, SetAside, boot_on, settle_on
from harness.flow.inspect import notes_of_images
from harness.flow.kernels import Kernels, prepare_kernels
from harness.flow.matrix import Matrix, matrix_of, plan_boots, with_seeds
from harness.flow.prepare import Stopwatch, prepare, prepare_other, prepare_root
from harness.flow.request import Request
from harness.flow.resources import cores, last_to_die, room_for_guests
from harness.flow.run_record import (
    Planned,
    Record,
    assemble,
    enough,
    finished_boots,
    finished_entry,
    judged,
    load_record,
    renamed,
    save_record,
    save_result,
    seal_boot,
    take_over,
)
from harness.flow.schedule import WAITS, Task, side_by_side
from harness.flow.test_machines import TestMachines, require_fit
from harness.guest.test_machine import NO_HANDS, Hands
from harness.model.arch import guest_arch
from harness.model.compare import Leg
from harness.model.errors import InfraError, StoreCorrupt, StoreDamaged, UserError
from harness.model.kernel import KernelSpec, PreparedKernel
from harness.model.known import NOTHING_KNOWN, KnownIssues
from harness.model.machine import Accel
from harness.model.pci import PciDevice
from harness.model.presubmit import Presubmit
from harness.model.progress import MultiProgress, TaskProgress
from harness.model.result import Provenance, Report, Stage
from harness.model.root import PreparedRoot, RootSpec
from harness.model.suite import Suite
from harness.model.units import format_seconds
from harness.proc import Deadline, run
from harness.store.claims import Claims
from harness.store.journal import JOURNAL_FILE, Entry, Journal, Step, read_journal
from harness.store.layout import Layout
from harness.store.remove import remove
from harness.store.runs import (
    REPORT_FILE,
    find_run,
    held_again,
    is_held,
    run_directories,
    run_directory,
    save_report,
)
from harness.store.sealed import set_aside
from harness.trace import span

_TOOL_SECONDS = 30.0


class Pace(Protocol):
    """Who has no time for all boots says which come first, and whether another may begin. Asked from any thread."""

    def opens(self, planned: Sequence[Planned]) -> None:
        """These boots are to be made; everything before them is done."""

    def worth(self, planned: Planned) -> float:
        """The boots that are worth most come first; base and tip are worth the same."""

    def begins(self, planned: Planned) -> bool:
        """Whether there is time for it. What does not begin is left to `resume`."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is made: the name of its plan, at most how many guests side by side (None: as many as tokens
    allow), whether results of earlier runs are kept, what is known of its kernels, whether every patch of a series
    goes through the gate first, how many processes make may have (None: one a core), whether boots that are all
    alike are made each, its `pace`, if time is short, and whether guests leave images of their memory; whether the
    first bad boot is the last, and whether the host treats its guests badly. `hosts` make the boots, and what kernels
    need, where that is not this one, `hands` what can be done to a test
    machine. `presubmit` says how the few cases were chosen, where they are a first answer.
    """

    plan: str = ""
    parallel: int | None = None
    fresh: bool = True
    known: KnownIssues = NOTHING_KNOWN
    gate: bool = True
    jobs: int | None = None
    each: bool = False
    pace: Pace | None = None
    keep_state: bool = False
    until_fail: bool = False
    stress: bool = False
    hosts: Hosts | None = None
    hands: Hands = NO_HANDS
    presubmit: Presubmit | None = None


def execute(
    requests: Sequence[Request], layout: Layout, progress: MultiProgress, options: RunOptions | None = None
) -> tuple[Report, Path]:
    """Runs the requests to a report, which is saved in the returned run directory.

    What ended before an interruption, by Ctrl-C or by kill -9, is kept there, and `resume` goes on from it.
    """
    options = options or RunOptions()
    requests = with_seeds(requests)
    if options.hosts is None:
        requests = with_devices(requests)
    matrix = matrix_of(requests, options.hosts.check_machine if options.hosts is not None else None)
    _look_at_machines(requests, options, layout, progress)
    watch = Stopwatch()
    kernels = prepare_kernels(matrix, layout, progress, watch, options.jobs, options.hosts, gated=options.gate)
    matrix = matrix.only(kernels.prepared)
    _require_fit(matrix, kernels, options.hands)
    host = _host(matrix, kernels, layout, progress, watch, options.hosts)
    cells = plan_boots(matrix, kernels.prepared, host.accels, _tools(options.stress))
    left_out = tuple(dict.fromkeys(left for one in kernels.prepared.values() for left in one.left_out))
    if matrix.rows and not any(one.leg is Leg.TIP for one in cells):
        cells = ()  # nothing to compare a base with
        if not any(one.counts for one in left_out):
            raise UserError(
                "the kernel is too old for all of the suites",
                hint=f"a newer --source: {'; '.join(one.why for one in left_out)}",
            )
    record = Record(
        plan=options.plan,
        requests=tuple(row.request for row in matrix.rows),
        kernels=tuple(map(_provenance, kernels.prepared.values())),
        cells=cells,
        gates=kernels.gates,
        known=options.known,
        left_out=left_out,
        each=options.each,
        until_fail=options.until_fail,
        stress=options.stress,
        presubmit=options.presubmit,
    )
    history = History() if options.fresh else read_history(layout)
    with run_directory(layout) as directory:
        save_record(directory, record)
        boots = _Boots(directory, record, matrix, kernels, host, layout, progress, options, history)
        return boots.run(watch), directory


def resume(
    layout: Layout,
    name: str,
    progress: MultiProgress,
    parallel: int | None = None,
    jobs: int | None = None,
    pace: Pace | None = None,
    keep_state: bool = False,
    hosts: Hosts | None = None,
    hands: Hands = NO_HANDS,
) -> tuple[Report, Path]:
    """Goes on with the run of that name, or with the newest unfinished one when the name is empty."""
    directory = find_run(layout, name) if name else _unfinished(layout)
    with held_again(directory):
        record = load_record(directory)
        matrix = matrix_of(record.requests, hosts.check_machine if hosts is not None else None)
        watch = Stopwatch()
        kernels = prepare_kernels(matrix, layout, progress, watch, jobs, hosts, gated=False)
        host = _host(matrix, kernels, layout, progress, watch, hosts)
        planned = plan_boots(matrix, kernels.prepared, host.accels, _tools(record.stress))
        if [one.key for one in planned] != [one.key for one in record.cells]:
            raise UserError(
                f"what the run {directory.name} is made of has changed since it began (its sources, this harness or "
                "QEMU), so its boots cannot be put together with new ones",
                hint="start it anew; with a plan, results that are still right are kept",
            )
        options = RunOptions(
            record.plan, parallel, jobs=jobs, pace=pace, keep_state=keep_state, hosts=hosts, hands=hands
        )
        boots = _Boots(directory, record, matrix, kernels, host, layout, progress, options, History())
        return boots.run(watch), directory


def _look_at_machines(
    requests: Sequence[Request], options: RunOptions, layout: Layout, progress: MultiProgress
) -> None:
    """What a test machine is lacking is told before the long work."""
    machines = [one.machine for one in requests if one.machine.at]
    if machines and (options.stress or options.keep_state):
        what = "--stress" if options.stress else "--keep-state"
        raise UserError(f"{what} is for guests, which this host can stop", hint="leave it out, or --machine")
    if machines and options.hosts is not None:
        raise UserError("a test machine is reached from here, and not from a host of a fleet", hint="leave one out")
    TestMachines(layout, hands=options.hands).require_usable(machines, progress)


def _require_fit(matrix: Matrix, kernels: Kernels, hands: Hands) -> None:
    for row in matrix.rows:
        if row.request.machine.at:
            suites = [suite for group in row.groups for suite in group]
            for wanted in row.request.sides.values():
                require_fit(kernels.prepared[wanted], suites, hands)


def _unfinished(layout: Layout) -> Path:
    for directory in run_directories(layout):
        if (directory / JOURNAL_FILE).is_file() and not is_held(directory):
            try:
                entries = read_journal(directory)
            except StoreCorrupt:
                continue
            ends = [entry.step for entry in entries if entry.step in (Step.ENDED, Step.RESUMED)]
            if not ends or ends[-1] is Step.RESUMED:
                return directory
    raise UserError("no run in the store is unfinished", hint="ttm-harness run starts one")


@dataclass(frozen=True, slots=True)
class _Host:
    """What all guests have of this host: their root, those that suites run in, and what they run on by what was asked
    for.
    """

    root: Path
    others: Mapping[RootSpec, PreparedRoot | None]
    accels: Mapping[Accel, Accel]


def _host(
    matrix: Matrix,
    kernels: Kernels,
    layout: Layout,
    progress: MultiProgress,
    watch: Stopwatch,
    hosts: Hosts | None = None,
) -> _Host:
    root = prepare_root(layout, progress, watch)
    others = {spec: prepare_other(spec, root, layout, progress, watch) for spec in matrix.roots}
    wanted = matrix.kernels_of_accels().items()
    accels = {
        asked: settle_on(hosts, asked, kernels.prepared[kernel], root, layout, progress, watch)
        for asked, kernel in wanted
    }
    return _Host(root, others, accels)


class _Boots:
    """The boots of one run. Its tasks are called in threads of their own."""

    def __init__(
        self,
        directory: Path,
        record: Record,
        matrix: Matrix,
        kernels: Kernels,
        host: _Host,
        layout: Layout,
        progress: MultiProgress,
        options: RunOptions,
        history: History,
    ) -> None:
        self._directory = directory
        self._record = record
        self._matrix = matrix
        self._prepared = dict(kernels.prepared)
        self._host = host
        self._layout = layout
        self._progress = progress
        self._history = history
        self._jobs = options.jobs
        self._pace = options.pace
        self._keep_state = options.keep_state
        self._stop = threading.Event()
        self._machines = TestMachines(layout, self._stop, options.hands)
        self._lock = threading.Lock()
        self._repairs = threading.Lock()
        self._results: dict[int, CellResult] = {}
        self._devices: Mapping[str, str] = {}
        self._aside: list[str] = []  # sentences for boots that were given up
        self._lost: list[str] = []  # why results that are there are not believed
        vcpus = max(1, int(cores() * VCPUS_PER_CORE))
        self._hosts = options.hosts
        most = vcpus if self._hosts is None else self._hosts.most
        self._most = max(1, min(options.parallel or most, len(record.cells)))
        self._vcpus = vcpus
        # Others may start beside a guest after its own pace was measured.
        self._crowd = max(1.0, vcpus / cores()) if self._most > 1 else 1.0

    def run(self, watch: Stopwatch) -> Report:
        """All boots that are still to be made, then the report."""
        with Journal(self._directory) as journal:
            self._journal = journal
            if read_journal(self._directory):
                journal.append(Entry(Step.RESUMED))
                (self._directory / REPORT_FILE).unlink(missing_ok=True)  # it is on fewer boots, or on others
            self._results = self._results_before()
            left = [one for one in self._record.cells if one.number not in self._results]
            left = [one for one in left if not self._keep(one)]
            self._tell_lost()
            if self._pace is not None:
                self._pace.opens(left)
                left.sort(key=self._pace.worth, reverse=True)
            done = [one for one in self._record.cells if one.number in self._results]
            first = {} if self._record.each else {one.key: one for one in reversed((*done, *left))}
            twins = [one for one in left if first.get(one.key, one) is not one]
            tasks = [Task(self._claim(one), self._task(one)) for one in left if one not in twins]
            self._announce(len(tasks))
            machines = [one.cell.machine for one in left if one not in twins and self._hosts is None]
            try:
                with last_to_die(), devices_lent(machines, self._layout, self._progress) as self._devices:
                    side_by_side(tasks, self._tokens(), self._most, self._stop, self._no_room)
                for one in (twin for twin in twins if first[twin.key].number in self._results):
                    kept = self._kept_here(first[one.key])
                    self._take(one, kept, kept.entry.kept_from)
            except BaseException:
                if self._results:
                    save_report(self._directory, self._report())
                raise
            self._machines.leave(self._progress)
            watch.lap("boots")
            with span("report"):
                report = self._report(tuple(watch.stages))
            saved = save_report(self._directory, report)
            if len(self._results) == len(self._record.cells):  # else `resume` has something to go on with
                journal.append(Entry(Step.ENDED, verdict=str(report.verdict), sealed=saved))
        return report

    def _claim(self, planned: Planned) -> Claim:
        """What a boot takes from this host."""
        return Claim.of(planned.cell.machine) if self._hosts is None else NO_CLAIM

    def _tokens(self) -> Tokens:
        if self._hosts is not None:
            return Tokens(lambda: 0, 0)
        return Tokens(room_for_guests, self._vcpus, Claims(self._layout))

    def _report(self, stages: tuple[Stage, ...] = ()) -> Report:
        return assemble(self._directory.name, self._record, self._results, stages, tuple(self._aside))

    def _results_before(self) -> dict[int, CellResult]:
        """The results of boots that ended before, as far as their evidence is still what they left."""
        finished = finished_boots(self._directory)
        found = {}
        for one in self._record.cells:
            if one.number not in finished:
                continue
            place = self._directory / one.place
            try:
                found[one.number] = Kept(self._directory, replace(finished[one.number], place=one.place)).load()
            except InfraError as error:
                self._lost.append(error.message)
                if place.is_dir():
                    set_aside(place, self._layout)
        return found

    def _tell_lost(self) -> None:
        if self._lost:
            what = "1 result that was there is" if len(self._lost) == 1 else f"{len(self._lost)} that were there are"
            self._progress.step(f"{what} not believed, and booted again: {self._lost[0]}")

    def _announce(self, boots: int) -> None:
        total = len(self._record.cells)
        if total > 1:
            kept = f", {total - boots} results are there already" if boots < total else ""
            self._progress.step(f"{boots} of {total} boots{kept}, at most {self._most} side by side")

    def _no_room(self) -> None:
        self._progress.step(WAITS)

    def _task(self, planned: Planned) -> Callable[[], None]:
        return lambda: self._boot(planned)

    def _boot(self, planned: Planned) -> None:
        no_time = self._pace is not None and not self._pace.begins(planned)
        if self._stop.is_set() or no_time or self._is_enough():
            return
        place = self._directory / planned.place
        remove(place)  # of an interrupted attempt
        self._journal.append(Entry(Step.BEGUN, planned.number, planned.cell.id, planned.place))
        try:
            result = self._booted(planned)
        except Stopped:
            self._progress.task_ends(planned.number, f"boot {planned.number}: ended")
            return
        except SetAside as error:
            self._aside.append(error.message)
            self._progress.task_ends(planned.number, self._aside[-1])
            return
        result = renamed(result, planned.place, planned.leg, planned.group)
        self._finish(planned, result, "")
        seconds = finished_entry(planned, result).seconds
        verdict = judged(self._record, (result,)).runs[0].verdict
        self._progress.task_ends(planned.number, f"boot {planned.number}: {verdict}, {format_seconds(seconds)}")

    def _is_enough(self) -> bool:
        with self._lock:
            made = tuple(self._results.values())
        return self._record.until_fail and enough(self._record, judged(self._record, made).runs)

    def _booted(self, planned: Planned) -> CellResult:
        """What came of the boot. When what it rests on was damaged, that is made again, and so is the boot, once."""
        groups = self._matrix.rows[planned.request].groups
        suites = tuple(suite for group in groups for suite in group if suite.name in planned.cell.suites)
        try:
            return self._boot_cell(planned, suites)
        except StoreDamaged as error:
            self._progress.step(f"boot {planned.number} is made again: {error.message}")
            self._repair(self._wanted(planned))
        shutil.rmtree(self._directory / planned.place, ignore_errors=True)
        return self._boot_cell(planned, suites)

    def _boot_cell(self, planned: Planned, suites: Sequence[Suite]) -> CellResult:
        environment = self._environment(planned, suites)
        result = boot_on(self._hosts, planned.cell, suites, environment, planned.number)
        if not self._keep_state:
            return result
        notes = notes_of_images(self._directory, planned.place, self._layout, environment.progress)
        return replace(result, run=replace(result.run, notes=(*result.run.notes, *notes)))

    def _environment(self, planned: Planned, suites: Sequence[Suite]) -> BootEnvironment:
        return BootEnvironment(
            kernel=self._prepared[self._wanted(planned)],
            root=self._host.root,
            directory=self._directory,
            progress=TaskProgress(self._progress, planned.number),
            stop=self._stop,
            other=self._host.others[suites[0].root],  # those that share a boot have the same
            keep_state=self._keep_state,
            crowd=self._crowd,
            stress=self._record.stress,
            elsewhere=self._machines.boot,
            device=self._device(planned),
        )

    def _device(self, planned: Planned) -> str:
        """What was taken of the kind that the boot asks for; empty where it names its device itself."""
        asked = planned.cell.machine.device
        return self._devices.get(asked, "") if asked and not PciDevice.parse(asked).address else ""

    def _wanted(self, planned: Planned) -> KernelSpec:
        return self._matrix.rows[planned.request].request.sides[planned.leg]

    def _repair(self, wanted: KernelSpec) -> None:
        """Prepares a kernel and the roots anew: what is damaged is named, set aside and made again there."""
        with self._repairs:
            before, suites = self._prepared[wanted], self._matrix.kernels[wanted]
            kernel = prepare(wanted, suites, self._layout, self._progress, Stopwatch(), self._jobs)
            root = prepare_root(self._layout, self._progress, Stopwatch())
            for spec in self._host.others:
                prepare_other(spec, root, self._layout, self._progress, Stopwatch())
            if (kernel.build.id, kernel.modules, root) != (before.build.id, before.modules, self._host.root):
                raise InfraError(
                    "what the boots rest on was damaged, and what it was made of has changed meanwhile",
                    hint="start the run anew",
                )
            self._prepared[wanted] = kernel

    def _finish(self, planned: Planned, result: CellResult, kept_from: str) -> None:
        place = self._directory / planned.place
        save_result(place, result)
        self._journal.append(finished_entry(planned, result, kept_from, seal_boot(place).id))
        with self._lock:
            self._results[planned.number] = result
            done = len(self._results)
        if len(self._record.cells) > 1:
            self._progress.advance(done, len(self._record.cells), "boots")

    def _keep(self, planned: Planned) -> bool:
        """Takes the result of an earlier run over, if there is one whose evidence is still what the boot left."""
        kept = self._history.result(planned)
        if kept is None:
            return False
        try:
            self._take(planned, kept, kept.entry.kept_from or kept.run.name)
        except (InfraError, FileNotFoundError) as error:
            if kept.run.is_dir():  # else `results prune` was quicker
                self._lost.append(error.message if isinstance(error, InfraError) else str(error))
            return False
        return True

    def _kept_here(self, planned: Planned) -> Kept:
        return Kept(self._directory, finished_boots(self._directory)[planned.number])

    def _take(self, planned: Planned, kept: Kept, kept_from: str) -> None:
        result = kept.load()
        place = self._directory / planned.place
        take_over(kept.place, kept.entry.sealed, place)
        self._finish(planned, renamed(result, planned.place, planned.leg, planned.group, kept_from), kept_from)


def tools() -> str:
    """QEMU and vng with their versions."""
    return f"{_first_line((guest_arch().qemu, '--version'))}, virtme-ng {_version_of('virtme-ng')}"


def _tools(stress: bool) -> str:
    """What a boot under stress gave is no answer for one without."""
    return f"{tools()}, under stress" if stress else tools()


def _provenance(kernel: PreparedKernel) -> Provenance:
    tree, build = kernel.build.tree, kernel.build
    return Provenance(
        harness=__version__,
        tree_origin=tree.origin,
        tree_id=tree.id,
        tree_version=tree.version,
        profile=build.profile,
        config_id=build.config_id,
        compiler=build.compiler,
        build_id=build.id,
        build_warnings=len(build.warnings),
        qemu=_first_line((guest_arch().qemu, "--version")),
        vng=f"virtme-ng {_version_of('virtme-ng')}",
        host=f"{platform.system()} {platform.release()} {platform.machine()}",
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _first_line(argv: tuple[str, ...]) -> str:
    lines = run(argv, deadline=Deadline(_TOOL_SECONDS)).output.splitlines()
    return lines[0].strip() if lines else "unknown"


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of the distribution"
