# SPDX-License-Identifier: GPL-2.0-only
"""What the boots of a cell left -> its cases, its events, its verdict. Mostly that is one boot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.evidence.figures import figures
from harness.evidence.splats import Severity, severity
from harness.flow.continuation import joined
from harness.flow.observe import Seen
from harness.judge.expectations import boot_case, contradictions, require, verdict_of
from harness.judge.manifest import surprises
from harness.model.build import Build
from harness.model.cell import Cell
from harness.model.features import features_of
from harness.model.outcome import Ending, Outcome, worst
from harness.model.result import Case, Event, MoreBoot, Run, Stage
from harness.model.suite import Ground, Suite

# Bad page, died, warned, soft lockup (Documentation/admin-guide/tainted-kernels.rst): never without a word.
_SPLAT_TAINTS = 1 << 5 | 1 << 7 | 1 << 9 | 1 << 14


@dataclass(frozen=True, slots=True)
class CellResult:
    run: Run
    cases: tuple[Case, ...]
    events: tuple[Event, ...]


def read_out(
    cell: Cell, suites: Sequence[Suite], build: Build, boots: Sequence[Seen], notes: Sequence[str] = ()
) -> CellResult:
    """Judges the boots of a cell, the first one first. `notes` are sentences that go into the run."""
    first = boots[0]
    name = first.place.name
    parts = [seen for seen in boots if not seen.alone]
    found = features_of(build.tree, (feature for suite in suites for feature in suite.features))
    ground = ground_of(cell, build, found.promised)
    told = [
        *notes,
        *(dict.fromkeys(note for seen in parts for note in seen.notes)),
        *(trouble for seen in boots for trouble in seen.boot.image_troubles),
    ]
    if found.missing:
        told.append(
            f"the tree lacks what Linux {build.tree.version} should have: {', '.join(found.missing)}; what needs it "
            "is asked for all the same (a mixture, or a features.toml whose words are no longer right)"
        )
    if found.by_version:
        told.append(
            f"by the kernel's version alone, for the files are not in its tree: {', '.join(found.by_version)}"
        )
    problems = [*first.problems, *(f"{seen.folder}: {one}" for seen in parts[1:] for one in seen.problems)]
    cases: list[Case] = []
    for suite in suites:
        said = joined(suite, boots)
        announced = _announced(suite, parts)
        judged = require(suite, ground, said, announced)
        for seen in parts:
            problems += contradictions(suite.name, _of(judged, seen), seen.own[suite.name])
        # What kunit says of its silence is no help to a suite that is not kunit's.
        if suite.is_kunit and not any(case.outcome.executed for case in judged):
            problems += [f"{suite.name}: {reason}" for reason in first.silence]
        if announced is not None:
            told += surprises(suite, ground, judged, announced)
        cases += (with_figures(case) for case in judged)
    problems[:0] = _failed_runners(cell, parts, cases)  # the cause of what else is missing
    cases.append(_boot_case(cell, parts, cases))
    if all(seen.boot.ending is Ending.FINISHED for seen in parts) and not any(case.outcome.finding for case in cases):
        # beside a finding it is no news that the log is not whole
        problems += [doubt for seen in parts for doubt in seen.doubts]
    problems += _silent_taints(parts, cases)
    unlike = tuple(dict.fromkeys(one for seen in parts for one in seen.unlike))
    verdict, reasons = verdict_of((*problems, *map(str, unlike)), cases)
    run = Run(
        id=name,
        cell=cell,
        directory=name,
        ending=first.boot.ending,
        phase=first.boot.phase,
        accel=first.boot.accel,
        facts=first.boot.facts,
        differences=unlike,
        problems=tuple(problems),
        stages=_stages(boots),
        verdict=verdict,
        reasons=reasons,
        metrics=first.metrics,
        more=tuple(
            MoreBoot(seen.folder, seen.why, seen.boot.ending, seen.asked, seen.boot.seconds) for seen in boots[1:]
        ),
        notes=tuple(told),
    )
    events = [replace(event, run=name) for seen in parts for event in seen.events]
    return CellResult(run, tuple(replace(case, run=name) for case in cases), tuple(events))


def ground_of(cell: Cell, build: Build, features: frozenset[str]) -> Ground:
    """What of a cell decides which cases must run."""
    lines = build.config_path.read_text(encoding="utf-8").splitlines()
    symbols = {line.removeprefix("CONFIG_").split("=")[0] for line in lines if line.startswith("CONFIG_")}
    machine = cell.machine
    ram = machine.ram if machine.free is None else min(machine.ram, machine.free)
    knobs = frozenset(knob.name for knob in cell.knobs)
    return Ground(build.tree.version_tuple, machine.swap.size > 0, ram, frozenset(symbols), knobs, features)


def with_figures(case: Case) -> Case:
    """With what it printed; a figure that was its proof is there already."""
    there = {metric.name for metric in case.metrics}
    printed = (metric for metric in figures(case.diagnostics) if metric.name not in there)
    return replace(case, metrics=(*case.metrics, *printed))


def _announced(suite: Suite, parts: Sequence[Seen]) -> tuple[str, ...] | None:
    lists = [names for seen in parts if (names := seen.announced[suite.name]) is not None]
    return tuple(dict.fromkeys(name for names in lists for name in names)) if lists else None


def _of(cases: Sequence[Case], seen: Seen) -> list[Case]:
    return [case for case in cases if case.boot == seen.folder]


def _failed_runners(cell: Cell, parts: Sequence[Seen], cases: Sequence[Case]) -> list[str]:
    """The kernel kills the task that it oopsed in, be it the runner: then the crash is the news."""
    crashed = {case.suite for case in cases if case.outcome is Outcome.CRASH}
    return [
        f"the runner of {one.suite} could not do its work (status {one.status}): {seen.last_words(one.suite)}"
        for seen in parts
        for one in seen.boot.suites
        if one.status and one.suite not in crashed and one.suite in cell.suites
    ]


def _boot_case(cell: Cell, parts: Sequence[Seen], cases: Sequence[Case]) -> Case:
    """The boots as one case, as the worst of them was."""
    made = []
    for seen in parts:
        loud = _loud(seen, cases)
        in_suite = seen.boot.phase in cell.suites or bool(seen.boot.suites)
        fatal = any(severity(event.kind) is Severity.DIES for event in loud)
        made.append(boot_case(seen.boot.ending, seen.boot.phase, in_suite, loud, fatal, seen.stall))
    gravest = worst(case.outcome for case in made)
    told = "; ".join(dict.fromkeys(case.message for case in made if case.message))
    return replace(
        next(case for case in made if case.outcome is gravest),
        message=told,
        events=tuple(event for case in made for event in case.events),
    )


def _silent_taints(parts: Sequence[Seen], cases: Sequence[Case]) -> list[str]:
    return [
        f"the kernel is tainted ({seen.boot.taint_end}) by something that its console does not show"
        for seen in parts
        if (seen.boot.taint_end or 0) & _SPLAT_TAINTS
        and not _loud(seen, cases)
        and not any(case.events for case in _of(cases, seen))
    ]


def _stages(boots: Sequence[Seen]) -> tuple[Stage, ...]:
    """Of the first boot, when it was ready; of the suites and of the boots the seconds of all together."""
    suites: dict[str, float] = {}
    for seen in boots:
        for one in seen.boot.suites:
            suites[one.suite] = suites.get(one.suite, 0.0) + one.seconds
    stages = (Stage(name, seconds) for name, seconds in suites.items())
    return (
        Stage("ready", boots[0].boot.ready_after or 0.0),
        *stages,
        Stage("boot", sum(seen.boot.seconds for seen in boots)),
    )


def _loud(seen: Seen, cases: Sequence[Case]) -> list[Event]:
    """The unexpected events, more than notes, for which no case stands as a finding: none of them may be lost."""
    told = {event.span for case in _of(cases, seen) if case.outcome.finding for event in case.events}
    return [
        event
        for event in seen.events
        if not event.expected and event.span not in told and severity(event.kind) is not Severity.NOTE
    ]
