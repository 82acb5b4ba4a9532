# SPDX-License-Identifier: GPL-2.0-only
"""What one boot left behind, read: its cases as they were said, its events, what makes it invalid. Nothing is
required of it yet (collect.py).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.evidence.cases import attach
from harness.evidence.ktap import parse as parse_ktap
from harness.evidence.kunit_state import kunit_state
from harness.evidence.lines import LogLine, decode
from harness.evidence.oom_class import read_ooms
from harness.evidence.parse import parse_ktap_text
from harness.evidence.sections import cases_begun, suite_sections
from harness.evidence.splats import find_events
from harness.evidence.stall import stall_events, suspects
from harness.evidence.telemetry import metrics as telemetry_metrics
from harness.evidence.telemetry import parse as parse_telemetry
from harness.flow.igt_suite import igt_cases
from harness.flow.sources import with_sources
from harness.guest.argv import kernel_cmdline
from harness.guest.boot import Boot
from harness.judge.expectations import differences
from harness.kernel.decode import Objects
from harness.kernel.kconfig import compare_with_running
from harness.model.build import Build, Config
from harness.model.cell import Cell
from harness.model.errors import UserError
from harness.model.figure import Figures
from harness.model.machine import Difference
from harness.model.outcome import Ending
from harness.model.result import Case, Event, Metric, Span
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
_LIST_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Seen:
    """A boot and what it left. `folder` is its own below the cell's, empty for the first; `why` says what a further
    one was for, `asked` counts the cases that it was to run, `alone` that it only confirms another; `troubles` are
    sentences of the host.

    `own` is kunit's record of each suite; `announced` what the runner of each said that it would run, None where it
    said nothing; `notes` speak against nothing; `silence` says why nothing of kunit ran; `stall` why the guest was
    given up, and what stood still.
    """

    boot: Boot
    place: Path
    folder: str
    why: str
    asked: int
    alone: bool
    cases: tuple[Case, ...]
    events: tuple[Event, ...]
    own: Mapping[str, tuple[Case, ...]]
    announced: Mapping[str, tuple[str, ...] | None]
    silence: tuple[str, ...]
    stall: str
    problems: tuple[str, ...]
    doubts: tuple[str, ...]
    unlike: tuple[Difference, ...]
    metrics: tuple[Metric, ...]
    troubles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def part(self) -> BootPart:
        return BootPart(self.folder, self.why, self.asked, self.alone)

    def last_words(self, suite: str) -> str:
        """The last line that the runner of a suite said."""
        return _last_words(self.place / "results" / f"{suite}.log")


@dataclass(frozen=True, slots=True)
class BootPart:
    """What a further boot of a cell is for."""

    folder: str = ""
    why: str = ""
    asked: int = 0
    alone: bool = False
    before: Path | None = None  # the boot whose run this one goes on with, where a runner can do so


FIRST = BootPart()


def observe(
    cell: Cell,
    suites: Sequence[Suite],
    build: Build,
    result: Boot,
    place: Path,
    objects: Objects,
    part: BootPart = FIRST,
    troubles: Sequence[str] = (),
    cmdline: str = "",
) -> Seen:
    """Reads what the boot left in `place`. `objects` are those that the guest ran, `troubles` sentences of the host
    for what makes it invalid, `cmdline` what the kernel was told where that is not what QEMU tells it.
    """
    console, cut = _read_limited(place / "console.log", _CONSOLE_LIMIT)
    lines = decode(console)
    sections = suite_sections(lines)
    problems = [*troubles, *_problems(result, suites, lines)]
    if cut:
        problems.append(f"the console is longer than {_CONSOLE_LIMIT >> 20} MiB; the rest was not read")
    asked = _asked_line(result, console)
    events = stall_events(lines, with_ooms(find_events(lines), lines), asked)
    events, _ = with_sources(events, objects)
    cases: list[Case] = []
    doubts: list[str] = []
    notes: list[str] = []
    settled: dict[Span, Event] = {}
    for suite in suites:
        section = sections.get(suite.name, ())
        if suite.is_igt:
            names = read_announced(place / "results" / f"{suite.name}.announced")
            found = _within(events, section)
            mine, igt = igt_cases(suite, place / "results" / suite.name, section, found, names)
            settled.update((event.span, event) for event in mine.events)
            doubts += [f"{suite.name}: {one}" for one in igt.problems]
            notes += [f"{suite.name}: {igt.version}"] if igt.version else []
            cases += mine.cases
            continue
        log = parse_ktap(section)
        begun = cases_begun(section, suite.name)
        mine = attach(log, suite.name, _within(events, section), suite.expected_splats, begun)
        settled.update((event.span, event) for event in mine.events)
        doubts += [f"{suite.name}: {error}" for error in log.errors]
        cases += mine.cases
    results = place / "results"
    announced = {suite.name: read_announced(results / f"{suite.name}.announced") for suite in suites}
    problems += _broken_promises(result, announced, suites)
    metrics = _telemetry(place, Figures.of_suites(suite.figures for suite in suites))
    if any(suite.sample_ms for suite in suites) and not metrics and result.ending is Ending.FINISHED:
        problems.append("no telemetry came out of the guest")
    return Seen(
        boot=result,
        place=place,
        folder=part.folder,
        why=part.why,
        asked=part.asked,
        alone=part.alone,
        cases=tuple(replace(case, boot=part.folder, events=_of(case.events, part.folder)) for case in cases),
        events=_of([settled.get(event.span, event) for event in events], part.folder),
        own={suite.name: _own_results(results / suite.name) for suite in suites},
        announced=announced,
        silence=kunit_state(lines).reasons,
        stall=_why(result, events, asked),
        problems=tuple(problems),
        doubts=tuple(doubts),
        unlike=_differences(cell, build, result, place, cmdline),
        metrics=metrics,
        troubles=tuple(troubles),
        notes=tuple(notes),
    )


def _of(events: Sequence[Event], folder: str) -> tuple[Event, ...]:
    return tuple(replace(event, boot=folder) for event in events)


def read_announced(path: Path) -> tuple[str, ...] | None:
    """The cases that a runner said it would run, a name a line; None where there is no such file."""
    if path.is_symlink() or not path.is_file():
        return None
    text = _read_limited(path, _LIST_LIMIT)[0].decode("utf-8", "replace")
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _broken_promises(
    result: Boot, announced: Mapping[str, tuple[str, ...] | None], suites: Sequence[Suite]
) -> list[str]:
    """Sentences for a list of cases that did not come, or not whole."""
    said, problems = dict(result.announced), []
    ran = {one.suite for one in result.suites}
    for suite in suites:
        names = announced[suite.name]
        if suite.manifest is None or not suite.announces or suite.name not in ran:
            continue
        if names is None or suite.name not in said:
            problems.append(f"{suite.name}: the guest did not say first which cases it was going to run")
        elif len(names) != said[suite.name]:
            problems.append(
                f"{suite.name}: the guest announced {said[suite.name]} cases, and its list has {len(names)}"
            )
    return problems


def with_ooms(events: Sequence[Event], lines: Sequence[LogLine]) -> tuple[Event, ...]:
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


def _telemetry(place: Path, figures: Figures) -> tuple[Metric, ...]:
    """The metrics of the boot's time series, which is drawn beside it as telemetry.svg where matplotlib is there."""
    recording = place / "results" / "telemetry.tsv"
    if recording.is_symlink() or not recording.is_file():
        return ()
    text = _read_limited(recording, _TELEMETRY_LIMIT)[0].decode("utf-8", "replace")
    telemetry = parse_telemetry(text, figures)
    try:
        title = f"{place.name}: RAM, swap, pressure and the shrinker over time"
        with _DRAWING:
            write_atomically(place / "telemetry.svg", plot_svg(telemetry, title))
    except UserError:
        pass  # the numbers are kept; only the picture needs the extra
    return telemetry_metrics(telemetry)


def _within(events: Sequence[Event], section: Sequence[LogLine]) -> list[Event]:
    if not section:
        return []
    first, last = section[0].number, section[-1].number
    return [event for event in events if first <= event.span.first <= last]


def _problems(result: Boot, suites: Sequence[Suite], lines: Sequence[LogLine]) -> list[str]:
    """Sentences for what makes the boot invalid, whatever its cases say."""
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


def _differences(cell: Cell, build: Build, result: Boot, place: Path, cmdline: str) -> tuple[Difference, ...]:
    if result.facts is None:
        return ()
    cmdline = cmdline or " ".join(kernel_cmdline(cell.machine, cell.machine.accel))
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
