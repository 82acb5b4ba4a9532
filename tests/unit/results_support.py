# SPDX-License-Identifier: GPL-2.0-only
"""Run directories as the harness leaves them, made of reports that are made up."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from harness.flow.verdict import Evidence, verdict_on
from harness.judge.expectations import verdict_of
from harness.model.cell import Cell
from harness.model.compare import Leg
from harness.model.machine import Accel, Machine, Swap
from harness.model.outcome import Ending, Outcome, Verdict
from harness.model.result import REPORT_SCHEMA, Case, Provenance, Report, Run, Stage
from harness.model.units import MIB
from harness.store.layout import Layout
from harness.store.runs import STAMP, save_report

NOON = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
SERIES = ", with patches 1 to 3 of 3 of ttm-shrinker v8 (series " + "a" * 64 + ")"


class Quiet:
    """Progress that is only remembered."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def step(self, text: str) -> None:
        self.said.append(text)

    def advance(self, done: int, total: int, unit: str) -> None: ...


def provenance(version: str = "7.3.4", series: str = "") -> Provenance:
    return Provenance(
        harness="0",
        tree_origin=f"linux-source {version}{series}",
        tree_id="t" * 64,
        tree_version=version,
        profile="lean",
        config_id="c",
        compiler="gcc",
        build_id=f"build of {version}{series}",
        build_warnings=0,
        qemu="qemu",
        vng="vng",
        host="Linux",
        started=NOON.isoformat(),
    )


def boot(
    kernel: Provenance,
    number: int = 1,
    *,
    ram: int = 256,
    swap: str = "disk:1G",
    leg: Leg = Leg.TIP,
    suites: tuple[str, ...] = ("pressure",),
    verdict: Verdict = Verdict.GOOD,
) -> Run:
    machine = Machine(ram=ram * MIB, swap=Swap.parse(swap), accel=Accel.TCG)
    name = f"{number:03d}-boot"
    cell = Cell(kernel.build_id, machine, suites, seed=number)
    stages = (Stage("boot", 2.5),)
    return Run(name, cell, name, Ending.FINISHED, "end", "tcg", None, (), (), stages, verdict, leg=leg)


def cases(run: Run, outcomes: dict[str, Outcome]) -> tuple[Case, ...]:
    suite = run.cell.suites[0]
    return tuple(
        Case(suite, f"{suite}.{name}", outcome, message=f"it is {outcome}", run=run.id)
        for name, outcome in outcomes.items()
    )


def report(
    runs: Iterable[Run],
    found: Iterable[Case],
    kernel: Provenance,
    verdict: Verdict = Verdict.GOOD,
    base: Provenance | None = None,
) -> Report:
    stages = (Stage("boots", 3.0),)
    return Report(REPORT_SCHEMA, "r", verdict, (), kernel, tuple(runs), tuple(found), (), stages, base)


def plain_report(version: str = "7.3.4", **outcomes: Outcome) -> Report:
    """One boot of one kernel with those cases of the suite pressure; a PASS of `a` when none is named."""
    kernel = provenance(version)
    run = boot(kernel)
    bad = any(outcome.finding for outcome in outcomes.values())
    verdict_of = Verdict.BAD if bad else Verdict.GOOD
    return report([replace(run, verdict=verdict_of)], cases(run, outcomes or {"a": Outcome.PASS}), kernel, verdict_of)


def run_name(days_ago: float, number: int = 0) -> str:
    return f"{(NOON - timedelta(days=days_ago)).strftime(STAMP)}-{number:06x}"


def keep(layout: Layout, days_ago: float, what: Report | None = None, number: int = 0, size: int = 0) -> Path:
    """A run directory of so many days ago, with a console log of `size` bytes; no report when there is none."""
    path = layout.runs / run_name(days_ago, number)
    path.mkdir()
    if size:
        (path / "001-boot").mkdir()
        (path / "001-boot" / "console.log").write_bytes(os.urandom(size))
    if what is not None:
        save_report(path, replace(earned(what), id=path.name))
    return path


def earned(what: Report) -> Report:
    """The report with the verdicts that its cases lead to: no other one is believed."""
    runs = tuple(
        replace(run, verdict=verdict_of((*run.problems, *map(str, run.differences)), mine)[0])
        for run in what.runs
        for mine in [[case for case in what.cases if case.run == run.id]]
    )
    based = {run.group for run in runs if run.leg is Leg.BASE}
    return replace(what, runs=runs, verdict=verdict_on(Evidence(runs, what.cases, what.events), based)[0])
