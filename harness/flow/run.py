# SPDX-License-Identifier: GPL-2.0-only
"""The main job: source -> tree -> build -> boots -> report."""

from __future__ import annotations

import platform
import secrets
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from harness import __version__
from harness.flow.boots import Bench, boot_cell
from harness.flow.prepare import Request, Stopwatch, prepare
from harness.judge.expectations import overall
from harness.model.build import Build
from harness.model.cell import Cell
from harness.model.errors import UserError
from harness.model.progress import Progress
from harness.model.result import REPORT_SCHEMA, Case, Event, Provenance, Report, Run, Stage
from harness.model.suite import Suite
from harness.model.tree import Tree
from harness.proc import Deadline, run
from harness.store.layout import Layout
from harness.store.runs import new_run_directory, save_report
from harness.suites.knobs import check_knobs
from harness.suites.registry import suite_named

_TOOL_SECONDS = 30.0


def execute(request: Request, layout: Layout, progress: Progress) -> tuple[Report, Path]:
    """Runs the request to a report, which is saved in the returned run directory."""
    suites = tuple(suite_named(name) for name in request.suites)
    if not suites:
        raise UserError("no suite is named", hint="--suite ttm-kunit,xe-kunit")
    check_knobs(request.knobs, suites)
    watch = Stopwatch()
    ready = prepare(request, suites, layout, progress, watch)
    directory = new_run_directory(layout)
    bench = Bench(ready.build, ready.root, ready.accel, directory, progress, ready.modules)
    runs, cases, events = _boot_all(request, suites, ready.build, bench)
    watch.lap("boots")
    report = _report(directory.name, ready.tree, ready.build, runs, cases, events, tuple(watch.stages))
    save_report(directory, report)
    return report, directory


def _boot_all(
    request: Request, suites: tuple[Suite, ...], build: Build, bench: Bench
) -> tuple[tuple[Run, ...], tuple[Case, ...], tuple[Event, ...]]:
    first_seed = secrets.randbits(32) if request.seed is None else request.seed
    groups = _share_boots(suites)
    runs: list[Run] = []
    cases: list[Case] = []
    events: list[Event] = []
    for turn in range(request.repeat):
        for group in groups:
            cell = Cell(
                build_id=build.id,
                machine=replace(request.machine, accel=bench.accel),
                suites=tuple(suite.name for suite in group),
                seed=(first_seed + turn) % 2**32,
                knobs=request.knobs,
            )
            result = boot_cell(cell, group, bench, number=len(runs) + 1)
            runs.append(result.run)
            cases += result.cases
            events += result.events
    return tuple(runs), tuple(cases), tuple(events)


def _share_boots(suites: tuple[Suite, ...]) -> list[tuple[Suite, ...]]:
    """Suites that leave no trace share one boot, in their order; each of the others gets its own."""
    shared = tuple(suite for suite in suites if suite.shares_boot)
    alone = [(suite,) for suite in suites if not suite.shares_boot]
    return [shared, *alone] if shared else list(alone)


def _report(
    name: str,
    tree: Tree,
    build: Build,
    runs: tuple[Run, ...],
    cases: tuple[Case, ...],
    events: tuple[Event, ...],
    stages: tuple[Stage, ...],
) -> Report:
    return Report(
        schema=REPORT_SCHEMA,
        id=name,
        verdict=overall(one.verdict for one in runs),
        reasons=tuple(f"{one.id}: {reason}" for one in runs for reason in one.reasons),
        provenance=_provenance(tree, build),
        runs=runs,
        cases=cases,
        events=events,
        stages=stages,
    )


def _provenance(tree: Tree, build: Build) -> Provenance:
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
        vng=f"virtme-ng {version('virtme-ng')}",
        host=f"{platform.system()} {platform.release()} {platform.machine()}",
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _first_line(argv: tuple[str, ...]) -> str:
    lines = run(argv, deadline=Deadline(_TOOL_SECONDS)).output.splitlines()
    return lines[0].strip() if lines else "unknown"
