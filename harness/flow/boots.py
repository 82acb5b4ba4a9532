# SPDX-License-Identifier: GPL-2.0-only
"""One cell -> one run: its directory, its boot, its evidence, its verdict."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.evidence.cases import attach
from harness.evidence.figures import figures
from harness.evidence.ktap import parse as parse_ktap
from harness.evidence.kunit_state import kunit_state
from harness.evidence.lines import Line, decode
from harness.evidence.oom_class import read_ooms
from harness.evidence.parse import parse_ktap_text
from harness.evidence.sections import suite_sections
from harness.evidence.splats import Severity, find_events, severity
from harness.evidence.telemetry import metrics as telemetry_metrics
from harness.evidence.telemetry import parse as parse_telemetry
from harness.guest.argv import SWAP_SERIAL, Launch, Share, kernel_cmdline, vng_argv
from harness.guest.boot import Boot, Limits, boot
from harness.guest.control import Frame
from harness.guest.swap import make_swap_image
from harness.judge.expectations import boot_case, contradictions, differences, require, standing
from harness.kernel.kconfig import compare_with_running
from harness.model.build import Build, Config
from harness.model.cell import Cell
from harness.model.codec import to_json
from harness.model.errors import UserError
from harness.model.machine import Accel, Difference, SwapKind
from harness.model.outcome import Ending
from harness.model.progress import Progress
from harness.model.result import Case, Event, Metric, Run, Span, Stage
from harness.model.suite import Suite
from harness.proc import search_path
from harness.reports.plot import plot_svg
from harness.store.files import write_atomically

# What a boot of the lean kernel takes from the start of vng to `ready` on the machine that the limits were set for
# (2 cores, TCG); slower machines get longer limits in proportion.
REFERENCE_READY_SECONDS = 2.0
_BOOT_SECONDS = 90.0
_SILENCE_SECONDS = 60.0
_AROUND_SUITES_SECONDS = 30.0
_CONFIG_LIMIT = 1 << 20
_BAD_DISK_BYTES = 64 << 20
_TELEMETRY_LIMIT = 64 << 20
_CONSOLE_LIMIT = 256 << 20
# Bad page, died, warned, soft lockup (Documentation/admin-guide/tainted-kernels.rst): never without a word.
_SPLAT_TAINTS = 1 << 5 | 1 << 7 | 1 << 9 | 1 << 14


@dataclass(frozen=True, slots=True)
class Bench:
    """What all cells of a command share."""

    build: Build
    root: Path
    accel: Accel
    directory: Path
    progress: Progress
    modules: Mapping[str, Path] = field(default_factory=dict)  # suite -> its own modules, or other extra files
    module_tree: Path | None = None  # what the guest gets as /lib/modules, where it is not the build's own
    stop_at_first: bool = False  # a suite may end at its first red case


@dataclass(frozen=True, slots=True)
class CellResult:
    run: Run
    cases: tuple[Case, ...]
    events: tuple[Event, ...]


def boot_cell(cell: Cell, suites: Sequence[Suite], bench: Bench, number: int) -> CellResult:
    """Boots the cell once and judges what came of it. Everything to do it again is written before the boot."""
    name = f"{number:03d}-{cell.id}"
    place = bench.directory / name
    results = place / "results"
    results.mkdir(parents=True)
    swap_disk = place / "swap.img" if cell.machine.swap.kind is SwapKind.DISK else None
    bad_disk = place / "bad.img" if any(suite.bad_disk for suite in suites) else None
    with tempfile.TemporaryDirectory(prefix="ttm-") as sockets:
        launch = Launch(
            image=bench.build.image,
            root=bench.root,
            machine=cell.machine,
            accel=cell.machine.accel,
            shares=shares_of(results, bench.module_tree or bench.build.modules, _extra(suites, bench)),
            swap_disk=swap_disk,
            control=place / "control.log",
            qmp=Path(sockets) / "qmp",
            bad_disk=bad_disk,
        )
        _write_before(place, results, cell, suites, launch, bench)
        if swap_disk is not None:
            make_swap_image(swap_disk, cell.machine.swap.size)
        if bad_disk is not None:
            make_swap_image(bad_disk, _BAD_DISK_BYTES)
        bench.progress.step(f"boot {number}: {cell.machine}: {', '.join(cell.suites)}")
        limits = Limits(
            boot=_BOOT_SECONDS,
            run=_AROUND_SUITES_SECONDS + sum(suite.deadline for suite in suites),
            silence=_SILENCE_SECONDS,
        )
        try:
            result = boot(launch, place / "console.log", limits, _shown(bench.progress), REFERENCE_READY_SECONDS)
        finally:
            for disk in (swap_disk, bad_disk):
                if disk is not None:
                    disk.unlink(missing_ok=True)  # their content is the guest's memory, of no use afterwards
    write_atomically(place / "launcher.log", result.launcher)
    if result.stall:
        write_atomically(place / "stall.txt", result.stall)
    return _judge(name, cell, suites, bench, result, place)


def shares_of(results: Path, modules: Path, extra: Path | None = None) -> tuple[Share, ...]:
    """The 9p shares of every guest: results to write, modules and the suite's extra files to read."""
    shares = [Share("ttm.results", results, writable=True), Share("ttm.modules", modules)]
    if extra is not None:
        shares.append(Share("ttm.extra", extra))
    return tuple(shares)


def _extra(suites: Sequence[Suite], bench: Bench) -> Path | None:
    """What the cell's suite brings along; suites that do so have a boot of their own."""
    return next((bench.modules[suite.name] for suite in suites if suite.name in bench.modules), None)


def job_text(cell: Cell, stop_at_first: bool = False, sample_ms: int = 0) -> str:
    """The shell file that guest-scripts/init reads: see guest-scripts/README.md."""
    knobs = ",".join(f"{knob.name}={knob.value}" for knob in cell.knobs)
    serial = SWAP_SERIAL if cell.machine.swap.kind is SwapKind.DISK else ""
    values = {
        "TTM_SEED": str(cell.seed),
        "TTM_KNOBS": knobs,
        "TTM_CASES": ",".join(cell.cases),
        "TTM_SWAP_SERIAL": serial,
    }
    if sample_ms:
        values["TTM_SAMPLE_MS"] = str(sample_ms)
    if stop_at_first:
        values["TTM_STOP_AT_FIRST"] = "1"
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def suites_text(suites: Sequence[Suite]) -> str:
    """One line a suite: its name, its runner, the runner's arguments."""
    return "".join(" ".join((suite.name, suite.script, *suite.arguments)) + "\n" for suite in suites)


def _write_before(
    place: Path, results: Path, cell: Cell, suites: Sequence[Suite], launch: Launch, bench: Bench
) -> None:
    sample_ms = max(suite.sample_ms for suite in suites)
    write_atomically(results / "job", job_text(cell, bench.stop_at_first, sample_ms))
    write_atomically(results / "suites", suites_text(suites))
    write_atomically(place / "cell.json", to_json(cell))
    write_atomically(place / "config", bench.build.config_path.read_text(encoding="utf-8"))
    write_atomically(place / "argv", shlex.join(vng_argv(launch)) + "\n")
    write_atomically(place / "reproduce.sh", reproduce_text(cell, launch), executable=True)


def reproduce_text(cell: Cell, launch: Launch) -> str:
    """A script that boots the same guest again, without the harness, with its console on the terminal."""
    again = Path("again")
    shares = (Share("ttm.results", again / "results", writable=True), *launch.shares[1:])
    replay = replace(
        launch,
        shares=shares,
        swap_disk=again / "swap.img" if launch.swap_disk else None,
        bad_disk=again / "bad.img" if launch.bad_disk else None,
        control=again / "control.log",
        qmp=again / "qmp",
    )
    disks = ""
    if launch.swap_disk is not None:
        disks += f"truncate -s {cell.machine.swap.size} again/swap.img\nmkswap -q again/swap.img\n"
    if launch.bad_disk is not None:
        disks += f"truncate -s {_BAD_DISK_BYTES} again/bad.img\nmkswap -q again/bad.img\n"
    return (
        "#!/bin/sh\n"
        f"# Cell {cell.id}: {cell.machine}, suites {', '.join(cell.suites)}, seed {cell.seed}.\n"
        "# Needs vng and mkswap; writes to the folder `again` beside this script.\n"
        "set -eu\n"
        f"PATH={shlex.quote(os.pathsep.join(search_path()))}\n"
        'cd "$(dirname "$0")"\n'
        "rm -rf again\n"
        "mkdir -p again/results\n"
        "cp results/job results/suites again/results/\n"
        f"{disks}"
        f"exec {shlex.join(vng_argv(replay))}\n"
    )


def _shown(progress: Progress) -> Callable[[Frame], None]:
    def on_frame(frame: Frame) -> None:
        if frame.kind == "start":
            progress.step(f"  suite {frame.text}")

    return on_frame


def _judge(name: str, cell: Cell, suites: Sequence[Suite], bench: Bench, result: Boot, place: Path) -> CellResult:
    console, cut = _read_limited(place / "console.log", _CONSOLE_LIMIT)
    lines = decode(console)
    sections = suite_sections(lines)
    problems = _problems(result, suites, lines)
    if cut:
        problems.append(f"the console is longer than {_CONSOLE_LIMIT >> 20} MiB; the rest was not read")
    events = _with_ooms(find_events(lines), lines)
    cases: list[Case] = []
    doubts: list[str] = []
    settled: dict[Span, Event] = {}
    for suite in suites:
        section = sections.get(suite.name, ())
        log = parse_ktap(section)
        mine = attach(log, suite.name, _within(events, section), suite.expected_splats)
        settled.update((event.span, event) for event in mine.events)
        judged = require(suite, bench.build.tree.version_tuple, mine.cases, swap=cell.machine.swap.size > 0)
        doubts += [f"{suite.name}: {error}" for error in log.errors]
        doubts += contradictions(suite.name, judged, _own_results(place / "results" / suite.name))
        if not any(case.outcome.executed for case in judged):
            problems += [f"{suite.name}: {reason}" for reason in kunit_state(lines).reasons]
        cases += (replace(case, metrics=figures(case.diagnostics)) for case in judged)
    events = tuple(settled.get(event.span, event) for event in events)
    loud = _loud(events, cases)
    in_suite = result.phase in cell.suites or bool(result.suites)
    fatal = any(severity(event.kind) is Severity.DIES for event in loud)
    cases.append(boot_case(result.ending, result.phase, in_suite, loud, fatal))
    if result.ending is Ending.FINISHED and not any(case.outcome.finding for case in cases):
        problems += doubts  # beside a finding it is no news that the log is not whole
    if result.taint_end and not loud and not any(case.events for case in cases) and result.taint_end & _SPLAT_TAINTS:
        problems.append(f"the kernel is tainted ({result.taint_end}) by something that its console does not show")
    metrics = _telemetry(place)
    if any(suite.sample_ms for suite in suites) and not metrics and result.ending is Ending.FINISHED:
        problems.append("no telemetry came out of the guest")
    unlike = _differences(cell, bench.build, result, place)
    verdict, reasons = standing((*problems, *map(str, unlike)), cases)
    stages = [Stage("ready", result.ready_after or 0.0), *(Stage(one.suite, one.seconds) for one in result.suites)]
    run = Run(
        id=name,
        cell=cell,
        directory=name,
        ending=result.ending,
        phase=result.phase,
        accel=result.accel,
        facts=result.facts,
        differences=unlike,
        problems=tuple(problems),
        stages=(*stages, Stage("boot", result.seconds)),
        verdict=verdict,
        reasons=reasons,
        metrics=metrics,
    )
    return CellResult(
        run, tuple(replace(case, run=name) for case in cases), tuple(replace(event, run=name) for event in events)
    )


def _with_ooms(events: Sequence[Event], lines: Sequence[Line]) -> tuple[Event, ...]:
    """OOM events are titled by what they mean: who was killed, with how much swap free."""
    sentences = {oom.report.span.first: oom.sentence for oom in read_ooms(lines)}
    return tuple(replace(event, title=sentences.get(event.span.first, event.title)) for event in events)


def _loud(events: Sequence[Event], cases: Sequence[Case]) -> list[Event]:
    """The unexpected events, more than notes, for which no case stands as a finding: none of them may be lost."""
    told = {event.span for case in cases if case.outcome.finding for event in case.events}
    return [
        event
        for event in events
        if not event.expected and event.span not in told and severity(event.kind) is not Severity.NOTE
    ]


def _own_results(folder: Path) -> tuple[Case, ...]:
    """What kunit itself wrote of its suites under debugfs, on a channel that the console cannot disturb."""
    cases: list[Case] = []
    for path in sorted(folder.glob("*.ktap")):
        if path.is_file() and not path.is_symlink():
            cases += parse_ktap_text(_read_limited(path, _CONFIG_LIMIT)[0]).cases
    return tuple(cases)


def _read_limited(path: Path, limit: int) -> tuple[bytes, bool]:
    """At most `limit` bytes of a file that an untrusted guest may have written, and whether there were more."""
    with path.open("rb") as file:
        data = file.read(limit)
        return data, bool(file.read(1))


def _telemetry(place: Path) -> tuple[Metric, ...]:
    """The metrics of the boot's time series, which is drawn beside it as telemetry.svg where matplotlib is there."""
    recording = place / "results" / "telemetry.tsv"
    if recording.is_symlink() or not recording.is_file():
        return ()
    telemetry = parse_telemetry(_read_limited(recording, _TELEMETRY_LIMIT)[0].decode("utf-8", "replace"))
    try:
        title = f"{place.name}: RAM, swap, pressure and the shrinker over time"
        write_atomically(place / "telemetry.svg", plot_svg(telemetry, title))
    except UserError:
        pass  # the numbers are kept; only the picture needs the extra
    return telemetry_metrics(telemetry)


def _within(events: Sequence[Event], section: Sequence[Line]) -> list[Event]:
    if not section:
        return []
    first, last = section[0].number, section[-1].number
    return [event for event in events if first <= event.span.first <= last]


def _problems(result: Boot, suites: Sequence[Suite], lines: Sequence[Line]) -> list[str]:
    """Sentences for what makes the boot no evidence, whatever its cases say."""
    problems = []
    if result.garbage:
        problems.append(f"the control channel carried broken frames, the first {result.garbage[0]!r}")
    if result.ready_after is None:
        last = next((line.text for line in reversed(lines) if line.text.strip()), "nothing")
        told = result.launcher.strip().splitlines()
        words = f"; the launcher said {told[-1]!r}" if told else ""
        problems.append(f"the guest never got ready; its console ends with {last.strip()!r}{words}")
    elif result.facts is None:
        problems.append("the guest did not report what it is")
    finished = {one.suite for one in result.suites}
    if result.ending is Ending.FINISHED:
        for suite in suites:
            if suite.name not in finished:
                problems.append(f"suite {suite.name} was not run to its end")
    for one in result.suites:
        if one.status:
            problems.append(f"the runner of {one.suite} could not do its work (status {one.status}, see its .log)")
    if result.ready_after is not None and not result.accel:
        problems.append("QEMU did not say whether it used KVM or TCG")
    return problems


def _differences(cell: Cell, build: Build, result: Boot, place: Path) -> tuple[Difference, ...]:
    if result.facts is None:
        return ()
    cmdline = " ".join(kernel_cmdline(cell.machine, cell.machine.accel))
    found = list(differences(cell.machine, build.release, cmdline, cell.seed, result.facts))
    if result.accel and result.accel != cell.machine.accel:
        found.append(Difference("accelerator", str(cell.machine.accel), result.accel))
    found += _config_differences(build, place / "results" / "config")
    return tuple(found)


def _config_differences(build: Build, running: Path) -> tuple[Difference, ...]:
    """The guest's /proc/config.gz against the build's own; what the guest wrote is read with care."""
    if running.is_symlink() or not running.is_file() or not running.stat().st_size:
        return (Difference("config", "readable in /proc/config.gz", "nothing"),)
    text = _read_limited(running, _CONFIG_LIMIT)[0].decode("utf-8", "replace")
    config = Config(build.config_id, build.profile, build.config_path.read_text(encoding="utf-8"))
    return compare_with_running(config, text)
