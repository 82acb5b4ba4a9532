# SPDX-License-Identifier: GPL-2.0-only
"""The main job: source -> tree -> build -> boots -> report."""

from __future__ import annotations

import platform
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from harness import __version__
from harness.flow.boots import Bench, boot_cell
from harness.flow.prepare import Ready, Request, Stopwatch, prepare
from harness.judge.compare import compare, standing_against_base
from harness.judge.expectations import overall
from harness.model.cell import Cell
from harness.model.compare import Comparison, Leg
from harness.model.errors import UserError
from harness.model.outcome import Standing
from harness.model.progress import Progress
from harness.model.result import REPORT_SCHEMA, Case, Event, Provenance, Report, Run, Stage
from harness.model.suite import Suite
from harness.proc import Deadline, run
from harness.store.layout import Layout
from harness.store.runs import run_directory, save_report
from harness.suites.knobs import check_knob_cases, check_knobs
from harness.suites.registry import narrowed, suite_named

_TOOL_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class _Results:
    runs: tuple[Run, ...] = ()
    cases: tuple[Case, ...] = ()
    events: tuple[Event, ...] = ()

    def __add__(self, other: _Results) -> _Results:
        return _Results(self.runs + other.runs, self.cases + other.cases, self.events + other.events)

    def standing(self, leg: Leg) -> Standing:
        return overall(one.verdict for one in self.runs if one.leg is leg)

    def evidence(self, leg: Leg) -> tuple[Case, ...]:
        """The cases of the leg's runs that are evidence: what differs from what was asked for blames nobody."""
        ids = {one.id for one in self.runs if one.leg is leg and not one.problems and not one.differences}
        return tuple(case for case in self.cases if case.run in ids)


def execute(request: Request, layout: Layout, progress: Progress) -> tuple[Report, Path]:
    """Runs the request to a report, which is saved in the returned run directory, and after every boot before."""
    suites = chosen_suites(request)
    watch = Stopwatch()
    legs = {Leg.TIP: prepare(request, suites, layout, progress, watch)}
    base = base_of(request)
    if base is not None:
        legs = {Leg.BASE: prepare(base, suites, layout, progress, watch), **legs}
    where = {leg: _provenance(ready) for leg, ready in legs.items()}
    with run_directory(layout) as directory:
        results = _Results()
        cells = list(_cells(request, suites, legs))
        for number, (leg, group, cell) in enumerate(cells, 1):
            ready = legs[leg]
            bench = Bench(ready.build, ready.root, ready.accel, directory, progress, ready.modules)
            one = boot_cell(cell, group, bench, number)
            results += _Results((replace(one.run, leg=leg),), one.cases, one.events)
            if number < len(cells):
                save_report(directory, _report(directory.name, where, results, (), missing=len(cells) - number))
        watch.lap("boots")
        report = _report(directory.name, where, results, tuple(watch.stages))
        save_report(directory, report)
    return report, directory


def chosen_suites(request: Request) -> tuple[Suite, ...]:
    """The suites by their names, narrowed to the wanted cases; UserError for what cannot be."""
    if len(set(request.suites)) < len(request.suites):
        raise UserError("a suite is named twice", hint="--repeat N boots every cell N times")
    suites = tuple(narrowed(suite_named(name), request.cases) for name in request.suites)
    if not suites:
        raise UserError("no suite is named", hint="--suite ttm-kunit,xe-kunit")
    check_knobs(request.knobs, suites)
    check_knob_cases(request.knobs, request.cases, suites)
    return suites


def base_of(request: Request) -> Request | None:
    """The request for the base leg: the named base, or the source without the series; None without either."""
    if request.base is not None:
        return replace(request, source=request.base, series=None)
    return replace(request, series=None) if request.series is not None else None


def _cells(
    request: Request, suites: tuple[Suite, ...], legs: Mapping[Leg, Ready]
) -> Iterator[tuple[Leg, tuple[Suite, ...], Cell]]:
    """Every cell on every leg, the legs in turn: what changes on the host meanwhile changes for both."""
    first_seed = secrets.randbits(32) if request.seed is None else request.seed
    for turn in range(request.repeat):
        for group in _share_boots(suites):
            for leg, ready in legs.items():
                yield (
                    leg,
                    group,
                    Cell(
                        build_id=ready.build.id,
                        machine=replace(request.machine, accel=ready.accel),
                        suites=tuple(suite.name for suite in group),
                        seed=(first_seed + turn) % 2**32,
                        knobs=request.knobs,
                        cases=request.cases or group[0].cases,
                    ),
                )


def _share_boots(suites: tuple[Suite, ...]) -> list[tuple[Suite, ...]]:
    """Suites that leave no trace share one boot, in their order; each of the others gets its own."""
    shared = tuple(suite for suite in suites if suite.shares_boot)
    alone = [(suite,) for suite in suites if not suite.shares_boot]
    return [shared, *alone] if shared else list(alone)


def _report(
    name: str, where: Mapping[Leg, Provenance], results: _Results, stages: tuple[Stage, ...], missing: int = 0
) -> Report:
    """The report on what was booted; with boots still `missing` it can be bad, but not good."""
    verdict = results.standing(Leg.TIP)
    reasons = tuple(f"{one.id}: {reason}" for one in results.runs for reason in one.reasons)
    comparisons: tuple[Comparison, ...] = ()
    if Leg.BASE in where:
        comparisons = compare(results.evidence(Leg.BASE), results.evidence(Leg.TIP))
        verdict, changes = standing_against_base(comparisons, results.standing(Leg.BASE), verdict)
        reasons = (*changes, *reasons)
    if missing:
        reasons = (f"the run was interrupted: {missing} boots were not made", *reasons)
        verdict = Standing.CANNOT_TELL if verdict is Standing.GOOD else verdict
    return Report(
        schema=REPORT_SCHEMA,
        id=name,
        verdict=verdict,
        reasons=reasons,
        provenance=where[Leg.TIP],
        runs=results.runs,
        cases=results.cases,
        events=results.events,
        stages=stages,
        base=where.get(Leg.BASE),
        comparisons=comparisons,
    )


def _provenance(ready: Ready) -> Provenance:
    tree, build = ready.tree, ready.build
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
        qemu=_first_line(("qemu-system-x86_64", "--version")),
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
