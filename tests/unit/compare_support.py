# SPDX-License-Identifier: GPL-2.0-only
"""Boots for comparisons, each made of what a test cares about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.evidence.splats import Severity, severity
from harness.judge.sides import Side, sound
from harness.model.compare import Leg
from harness.model.outcome import Ending, Outcome, Verdict
from harness.model.result import Case, Event, Metric, Report, Run, Span, Stage
from tests.unit.test_reports import REPORT, RUN

SPLAT = Event("warning", "WARNING: at f", "aaaaaaaaaaaa", Span(10, 12), lines=("WARNING: at f", "trace"))
OOM = Event("oom", "OOM with 1023 MiB swap free", "bbbbbbbbbbbb", Span(20, 25))


def is_note(kind: str) -> bool:
    return severity(kind) is Severity.NOTE


def case(
    outcome: Outcome = Outcome.PASS, *events: Event, name: str = "t.a", figures: Mapping[str, float] | None = None
) -> Case:
    metrics = tuple(Metric(one, value) for one, value in (figures or {}).items())
    return Case("s", name, outcome, message=f"why {outcome}", events=events, metrics=metrics)


def booted(
    number: int,
    cases: Sequence[Case],
    leg: Leg = Leg.TIP,
    loose: Sequence[Event] = (),
    seconds: float = 1.0,
    metrics: Mapping[str, float] | None = None,
) -> tuple[Run, tuple[Case, ...], tuple[Event, ...]]:
    """One boot; events belong to their case, `loose` ones to none."""
    name = f"{number:03d}-{leg}"
    run = replace(
        RUN,
        id=name,
        directory=name,
        leg=leg,
        cell=replace(RUN.cell, suites=("s",), seed=number),
        ending=Ending.FINISHED,
        verdict=Verdict.GOOD,
        reasons=(),
        stages=(Stage("s", seconds),),
        metrics=tuple(Metric(one, value) for one, value in (metrics or {}).items()),
    )
    boot = Case("boot", "kernel", Outcome.WARN if loose else Outcome.PASS, events=tuple(loose), run=name)
    mine = (*(replace(one, run=name) for one in cases), boot)
    events = (*(event for one in cases for event in one.events), *loose)
    return run, mine, tuple(replace(event, run=name) for event in events)


Boot = tuple[Run, tuple[Case, ...], tuple[Event, ...]]


def side(*boots: Boot) -> Side:
    return sound(
        [run for run, _, _ in boots],
        [one for _, cases, _ in boots for one in cases],
        [one for _, _, events in boots for one in events],
        {},
    )


def report(name: str, *boots: Boot, version: str = "7.3.4", tree: str = "c" * 64, build: str = "b" * 64) -> Report:
    where = replace(REPORT.provenance, tree_version=version, tree_id=tree, build_id=build)
    return replace(
        REPORT,
        id=name,
        verdict=Verdict.GOOD,
        reasons=(),
        provenance=where,
        runs=tuple(replace(run, cell=replace(run.cell, build_id=build)) for run, _, _ in boots),
        cases=tuple(one for _, cases, _ in boots for one in cases),
        events=tuple(one for _, _, events in boots for one in events),
    )
