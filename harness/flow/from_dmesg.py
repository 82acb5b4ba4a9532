# SPDX-License-Identifier: GPL-2.0-only
"""Somebody's log -> what it says, a plan that is to bring the same about, and what came of its run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from harness.evidence.architecture import arch_of, arch_of_registers
from harness.evidence.host import HostReader
from harness.evidence.oom_class import judge_oom
from harness.evidence.splats import Severity, severity
from harness.evidence.stream import stream_kmsg
from harness.flow.planfile import Axes, parse_plan
from harness.flow.plans import Extras, requests_of
from harness.flow.run import RunOptions, execute
from harness.judge.likeness import compare_ooms, same_kind
from harness.judge.scenario import propose
from harness.judge.splat_scenario import modules_of, propose_for_splats
from harness.model.errors import NoScenario, UserError
from harness.model.event import Event
from harness.model.oom import Oom, OomClass
from harness.model.outcome import Ending, Verdict
from harness.model.progress import MultiProgress
from harness.model.result import Report
from harness.model.scenario import SCENARIO_SCHEMA, ChosenKey, HostFacts, Reproduction, Scenario
from harness.model.subject import SplatSet
from harness.model.tree import SourceSpec, version_tuple
from harness.model.units import MIB, format_size
from harness.reports.scenario import plan_text
from harness.store.layout import Layout
from harness.suites.registry import registry

PLAN_NAME = "the proposed plan"
_MOST = 500  # reports, and events, that are kept of a log
_OLDEST = "6.12"  # that the modules of the suites are built for
_MERGED = (6, 15)
_CHUNK = 1 << 18
_LEAST_RAM = 64 * MIB


@dataclass(frozen=True, slots=True)
class SeenLog:
    """What a log has in it."""

    facts: HostFacts
    ooms: tuple[Oom, ...]
    splats: tuple[Event, ...]
    lines: int
    kernel: bool
    backwards: bool


def read_log(chunks: Iterable[bytes]) -> SeenLog:
    """A log of any size, in memory that does not grow with it."""
    host = HostReader()
    ooms: list[Oom] = []
    splats: list[Event] = []
    lines, kernel, backwards = 0, False, False
    for piece in stream_kmsg(chunks, host):
        lines, backwards = piece.lines, piece.backwards
        kernel = kernel or piece.kernel or bool(piece.events) or bool(piece.ooms)
        ooms += [judge_oom(report) for report in piece.ooms[: _MOST - len(ooms)]]
        told = [event for event in piece.events if severity(event.kind) is not Severity.NOTE]
        splats += told[: _MOST - len(splats)]
    splats.sort(key=lambda event: event.span.first)
    return SeenLog(host.facts(), tuple(ooms), tuple(splats), lines, kernel, backwards)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user says in place of the proposal: the number of the report (from 1), RAM, the source."""

    report: int | None = None
    ram: int | None = None
    source: SourceSpec | None = None


def propose_plan(log: SeenLog, wish: Wish, default: SourceSpec) -> Reproduction:
    """The scenario and its plan, which is checked as any plan is. NoScenario where nothing can be brought about,
    UserError where this is no log of a kernel."""
    if not log.kernel:
        raise UserError(
            "there is no line of a kernel in it" if log.lines else "the log is empty",
            hint="a report of the OOM killer or a splat, from dmesg, journalctl -k, /var/log/kern.log or a mail",
        )
    if wish.ram is not None and (wish.ram < _LEAST_RAM or wish.ram % MIB):
        raise UserError(
            f"a guest with {format_size(wish.ram)} of RAM has no room for a scenario",
            hint=f"whole MiB, {format_size(_LEAST_RAM)} or more",
        )
    oom, event, scenario = _scenario(log, wish)
    text = plan_text(scenario, _source(scenario, wish, default))
    requests_of(parse_plan(text, PLAN_NAME), Axes(), Extras())
    return Reproduction(
        SCENARIO_SCHEMA,
        log.facts,
        oom,
        event,
        scenario,
        text,
        reports=len(log.ooms),
        problems=tuple(_problems(log, oom)),
    )


def _scenario(log: SeenLog, wish: Wish) -> tuple[Oom | None, Event | None, Scenario]:
    sets = _splat_sets()
    modules = modules_of(sets)
    if wish.report is not None:
        if wish.report > len(log.ooms):
            raise UserError(f"there is no report {wish.report} in it", hint=f"it has {len(log.ooms)}")
        oom = log.ooms[wish.report - 1]
        return oom, None, propose(oom, _with_arch(log, oom), modules, wish.ram)
    refused: NoScenario | None = None
    for oom in log.ooms:
        try:
            return oom, None, propose(oom, _with_arch(log, oom), modules, wish.ram)
        except NoScenario as error:
            refused = refused or error
    if log.splats:
        try:
            lines = (line for event in log.splats for line in event.lines)
            facts = replace(log.facts, arch=arch_of_registers(lines) or arch_of((), log.facts.release))
            event, scenario = propose_for_splats(log.splats, sets, facts, wish.ram)
            return None, event, scenario
        except NoScenario as error:
            refused = refused or error
    raise refused or NoScenario(
        f"the kernel's log ({log.lines} lines) has no report of the OOM killer and no splat in it",
        hint="was it cut? journalctl -k -b -1 is the log of the boot before",
    )


def _with_arch(log: SeenLog, oom: Oom) -> HostFacts:
    report = oom.report
    arch = arch_of(report.functions, report.release or log.facts.release)
    if not arch and any(zone.name == "HighMem" for zone in report.memory.zones):
        arch = "a 32-bit machine"
    return replace(log.facts, arch=arch)


def _splat_sets() -> tuple[SplatSet, ...]:
    return tuple(one for subject in registry().subjects.values() for one in subject.splats)


def _problems(log: SeenLog, oom: Oom | None) -> list[str]:
    said = []
    if len(log.ooms) > 1 and oom is not None:
        said.append(
            f"the log has {len(log.ooms)} reports; this is number {log.ooms.index(oom) + 1}, --report N takes another"
        )
    if log.backwards:
        said.append("the newest line comes first: lines are counted from the oldest one")
    if oom is not None and log.splats:
        said.append(f"beside it the log has a splat (line {log.splats[0].span.first}): {log.splats[0].title}")
    return said


def _source(scenario: Scenario, wish: Wish, default: SourceSpec) -> ChosenKey:
    """The kernel that is nearest to the report's, of those that the suites can be had on."""
    release = scenario.release
    if wish.source is not None:
        return ChosenKey(
            "source", str(wish.source), f"as asked for; the report is of {release or 'an unknown kernel'}"
        )
    version = version_tuple(release)
    if not release or version[:2] >= _MERGED:
        said = f"the report is of {release}, which has the shrinker" if release else "the report names no kernel"
        return ChosenKey("source", str(default), f"{said}; --source kernel.org:VERSION for another")
    old = SourceSpec(default.kind, what=_OLDEST)
    near = "" if version >= version_tuple(_OLDEST) else f", older than {_OLDEST}, the first that the suites know"
    return ChosenKey("source", str(old), f"the report is of {release}{near}; a kernel from before the shrinker")


def carry_out(
    found: Reproduction, times: int, layout: Layout, progress: MultiProgress, options: RunOptions
) -> tuple[Reproduction, Report]:
    """Runs the plan, and says how alike what came of it is."""
    plan = parse_plan(found.plan, PLAN_NAME)
    requests = [replace(one, repeat=times) for one in requests_of(plan, Axes(), Extras())]
    report, directory = execute(requests, layout, progress, options)
    outcome = _Outcome(found, report, directory)
    return outcome.told(), report


@dataclass
class _Outcome:
    """What the boots of a run came to, against what was to come again."""

    found: Reproduction
    report: Report
    directory: Path
    same: int = 0
    other: int = 0
    nothing: int = 0
    best: Oom | None = None

    def told(self) -> Reproduction:
        for one in self.report.runs:
            self._look_at_oom(self.directory / one.directory / "console.log", one.verdict, one.ending)
        boots, theirs = len(self.report.runs), self.found.oom
        again = True if self.same else (False if self.nothing == boots and boots else None)
        fields = compare_ooms(theirs, self.best) if theirs is not None and self.best is not None else ()
        return replace(
            self.found,
            run=str(self.directory),
            ours=self.best,
            likeness=fields,
            again=again,
            said=self._sentence(boots),
        )

    def _look_at_oom(self, console: Path, verdict: Verdict, ending: Ending) -> None:
        theirs = self.found.oom
        if theirs is None:
            self._look_at_splat(verdict, ending)
            return
        ours = [oom for oom in read_console(console).ooms if OomClass.MANUAL not in oom.classes]
        same = [oom for oom in ours if same_kind(theirs, oom)]
        if same:
            self.same += 1
            if self.best is None or not same_kind(theirs, self.best):
                self.best = same[0]
        elif ours:
            self.other += 1
            self.best = self.best or ours[0]
        elif verdict is Verdict.GOOD and ending is Ending.FINISHED:
            self.nothing += 1

    def _look_at_splat(self, verdict: Verdict, ending: Ending) -> None:
        event = self.found.event
        marks = {one.fingerprint for one in self.report.events}
        if event is not None and event.fingerprint in marks:
            self.same += 1
        elif verdict is Verdict.GOOD and ending is Ending.FINISHED:
            self.nothing += 1
        else:
            self.other += 1

    def _sentence(self, boots: int) -> str:
        what = (
            "ran out of memory with the same classes" if self.found.oom is not None else "complained in the same way"
        )
        if self.same:
            return f"it happens again: {self.same} of {boots} boots {what}"
        if boots and self.nothing == boots:
            return f"it does not happen here: {boots} of {boots} boots went through, and nobody was killed"
        if self.other:
            return f"something else happened: {self.other} of {boots} boots went wrong, in another way"
        return "it cannot be told: no boot came to its end"


def read_console(path: Path) -> SeenLog:
    """The console of a boot."""
    with path.open("rb") as file:
        return read_log(iter(lambda: file.read(_CHUNK), b""))
