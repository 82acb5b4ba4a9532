# SPDX-License-Identifier: GPL-2.0-only
"""What one boot left behind -> its cases, its events, its verdict."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.evidence.cases import attach
from harness.evidence.figures import figures
from harness.evidence.ktap import parse as parse_ktap
from harness.evidence.kunit_state import kunit_state
from harness.evidence.lines import Line, decode
from harness.evidence.oom_class import read_ooms
from harness.evidence.parse import parse_ktap_text
from harness.evidence.sections import cases_begun, suite_sections
from harness.evidence.splats import Severity, find_events, severity
from harness.evidence.stall import stall_events, suspects
from harness.evidence.telemetry import metrics as telemetry_metrics
from harness.evidence.telemetry import parse as parse_telemetry
from harness.flow.sources import with_sources
from harness.guest.argv import kernel_cmdline
from harness.guest.boot import Boot
from harness.judge.expectations import boot_case, contradictions, differences, require, standing
from harness.kernel.decode import Objects
from harness.kernel.kconfig import compare_with_running
from harness.model.build import Build, Config
from harness.model.cell import Cell
from harness.model.errors import UserError
from harness.model.machine import Difference
from harness.model.outcome import Ending, Outcome
from harness.model.result import Case, Event, Metric, Run, Span, Stage
from harness.model.suite import Suite
from harness.model.units import about_size
from harness.reports.plot import plot_svg
from harness.store.files import write_atomically

_CONFIG_LIMIT = 1 << 20
_LAST_WORDS = 200  # characters of a runner's last line
_END_OF_LOG = 1 << 16
_DRAWING = threading.Lock()  # matplotlib has global settings
_TELEMETRY_LIMIT = 64 << 20
_CONSOLE_LIMIT = 256 << 20
# Bad page, died, warned, soft lockup (Documentation/admin-guide/tainted-kernels.rst): never without a word.
_SPLAT_TAINTS = 1 << 5 | 1 << 7 | 1 << 9 | 1 << 14


@dataclass(frozen=True, slots=True)
class CellResult:
    run: Run
    cases: tuple[Case, ...]
    events: tuple[Event, ...]


def read_out(
    cell: Cell, suites: Sequence[Suite], build: Build, result: Boot, place: Path, objects: Objects
) -> CellResult:
    """Reads what the boot left in `place` and judges it. `objects` are those that the guest ran."""
    name = place.name
    console, cut = _read_limited(place / "console.log", _CONSOLE_LIMIT)
    lines = decode(console)
    sections = suite_sections(lines)
    problems = _problems(result, suites, lines)
    if cut:
        problems.append(f"the console is longer than {_CONSOLE_LIMIT >> 20} MiB; the rest was not read")
    asked = _asked_line(result, console)
    events = stall_events(lines, _with_ooms(find_events(lines), lines), asked)
    events, _ = with_sources(events, objects)
    cases: list[Case] = []
    doubts: list[str] = []
    settled: dict[Span, Event] = {}
    for suite in suites:
        section = sections.get(suite.name, ())
        log = parse_ktap(section)
        begun = cases_begun(section, suite.name)
        mine = attach(log, suite.name, _within(events, section), suite.expected_splats, begun)
        settled.update((event.span, event) for event in mine.events)
        judged = require(suite, build.tree.version_tuple, mine.cases, swap=cell.machine.swap.size > 0)
        doubts += [f"{suite.name}: {error}" for error in log.errors]
        doubts += contradictions(suite.name, judged, _own_results(place / "results" / suite.name))
        # What kunit says of its silence is no help to a suite that is not kunit's.
        if suite.script == "suite-kunit" and not any(case.outcome.executed for case in judged):
            problems += [f"{suite.name}: {reason}" for reason in kunit_state(lines).reasons]
        cases += (replace(case, metrics=figures(case.diagnostics)) for case in judged)
    # The kernel kills the task that it oopsed in, be it the runner: then the crash is the news.
    crashed = {case.suite for case in cases if case.outcome is Outcome.CRASH}
    problems += [
        f"the runner of {one.suite} could not do its work (status {one.status}): "
        f"{_last_words(place / 'results' / f'{one.suite}.log')}"
        for one in result.suites
        if one.status and one.suite not in crashed and one.suite in cell.suites
    ]
    events = tuple(settled.get(event.span, event) for event in events)
    loud = _loud(events, cases)
    in_suite = result.phase in cell.suites or bool(result.suites)
    fatal = any(severity(event.kind) is Severity.DIES for event in loud)
    cases.append(boot_case(result.ending, result.phase, in_suite, loud, fatal, _why(result, events, asked)))
    if result.ending is Ending.FINISHED and not any(case.outcome.finding for case in cases):
        problems += doubts  # beside a finding it is no news that the log is not whole
    if result.taint_end and not loud and not any(case.events for case in cases) and result.taint_end & _SPLAT_TAINTS:
        problems.append(f"the kernel is tainted ({result.taint_end}) by something that its console does not show")
    metrics = _telemetry(place)
    if any(suite.sample_ms for suite in suites) and not metrics and result.ending is Ending.FINISHED:
        problems.append("no telemetry came out of the guest")
    unlike = _differences(cell, build, result, place)
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


def _asked_line(result: Boot, console: bytes) -> int:
    """The first line of what the kernel answered when its guest was given up; behind the last one when it was not."""
    end = len(console) if result.stall is None else result.stall.asked_at
    return console.count(b"\n", 0, end) + (2 if result.stall is None else 1)


def _why(result: Boot, events: Sequence[Event], asked: int) -> str:
    """Why the guest was given up, and what stood still; empty where it was not given up."""
    if result.stall is None:
        return ""
    return "; ".join(part for part in (result.stall.why, suspects(events, asked)) if part)


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


def _last_words(log: Path) -> str:
    """The last line that a runner said, in printable characters: a guest may have written anything."""
    if log.is_symlink() or not log.is_file():
        return "it has no .log"
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _END_OF_LOG))
        said = file.read(_END_OF_LOG).decode("utf-8", "replace").splitlines()
    line = next((line.strip() for line in reversed(said) if line.strip()), "its .log is empty")
    return "".join(one if one.isprintable() else "?" for one in line[:_LAST_WORDS])


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
        with _DRAWING:
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
    if result.left_out:
        problems.append(f"the console was too long to be kept: {about_size(result.left_out)} are left out of it")
    if result.ready_after is None:
        last = next((line.text for line in reversed(lines) if line.text.strip()), "nothing")
        told = result.launcher.strip().splitlines()
        words = f"; the launcher said {told[-1]!r}" if told else ""
        problems.append(f"the guest never got ready; its console ends with {last.strip()!r}{words}")
    elif result.facts is None:
        problems.append("the guest did not report what it is")
    if result.ending is Ending.HUNG and result.stall is not None and not result.stall.machine_ran:
        state = f"its state is {result.stall.status!r}" if result.stall.status else "its monitor does not answer"
        problems.append(f"QEMU did not run the guest any more ({state}), so that the kernel is not to blame")
    finished = {one.suite for one in result.suites}
    if result.ending is Ending.FINISHED:
        for suite in suites:
            if suite.name not in finished:
                problems.append(f"suite {suite.name} was not run to its end")
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
