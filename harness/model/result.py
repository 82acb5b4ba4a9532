# SPDX-License-Identifier: GPL-2.0-only
"""What came out: cases, kernel events, runs, the report over them."""

from __future__ import annotations

from dataclasses import dataclass

from harness.model.cell import Cell
from harness.model.compare import Comparison, EventChange, Leg, MachineRow, MetricComparison
from harness.model.event import PARSE_SCHEMA as PARSE_SCHEMA
from harness.model.event import Case as Case
from harness.model.event import Event as Event
from harness.model.event import Metric as Metric
from harness.model.event import ParseOutput as ParseOutput
from harness.model.gate import Gate
from harness.model.known import KnownUse
from harness.model.machine import Difference, GuestFacts
from harness.model.outcome import Ending, Verdict
from harness.model.presubmit import Presubmit
from harness.model.span import Span as Span


@dataclass(frozen=True, slots=True)
class Stage:
    """How far the host came and how long each step took, in seconds."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class MoreBoot:
    """A further boot of a cell, as a case had ended the one before: `directory` is below the run's own, `why` says
    what for, `cases` counts those that it was to run.
    """

    directory: str
    why: str
    ending: Ending
    cases: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Run:
    """One boot of one cell, judged. `problems` are sentences for what makes the run invalid; `reasons` are
    all that speaks against a good verdict, problems among them; `metrics` are those of the whole boot, from its
    telemetry.

    `group` are the words that tell its machine, and what else differs, from the others of the report; empty when all
    are alike. `kept_from` names the run whose result this is, when the boot was not made again.
    `directory` is relative to the report's own; `accel` is what QEMU said it used. Its cases and events stand in
    the report, each with this run's `id`. Where a case did not end, or the kernel died of one, `more` are the boots
    after the first; ending, facts and metrics are the first one's. `notes` are sentences that speak against nothing.
    `host` names the one that made it, where that was not the one that asked.
    """

    id: str
    cell: Cell
    directory: str
    ending: Ending
    phase: str
    accel: str
    facts: GuestFacts | None
    differences: tuple[Difference, ...]
    problems: tuple[str, ...]
    stages: tuple[Stage, ...]
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    metrics: tuple[Metric, ...] = ()
    leg: Leg = Leg.TIP
    group: str = ""
    kept_from: str = ""
    more: tuple[MoreBoot, ...] = ()
    notes: tuple[str, ...] = ()
    host: str = ""


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a reader needs to get the same again. `started` is ISO 8601 in UTC."""

    harness: str
    tree_origin: str
    tree_id: str
    tree_version: str
    profile: str
    config_id: str
    compiler: str
    build_id: str
    build_warnings: int
    qemu: str
    vng: str
    host: str
    started: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A suite that was not run on a kernel, as --suite did not ask for it. `counts`: it should have been there, so
    nothing good can be said; else the kernel is older than what the suite is about.
    """

    suite: str
    version: str
    build_id: str
    why: str
    counts: bool


@dataclass(frozen=True, slots=True)
class Report:
    """All runs of one command and the verdict over them. Its JSON form is described by reports/schema/.

    With a base, `base` is where its kernel came from, `comparisons` has every case of either side, `event_changes`
    every event, `metric_changes` every figure that differs. With several machines `machines` has a row for each; with
    several kernels on trial `kernels` has all, by their `build_id`. `known` says what became of each known issue,
    `gates` what the gate said of each series, patch by patch, `left_out` which suites some kernel did without.
    With `presubmit` it is a first answer of a few cases, and never stands for the whole.
    """

    schema: str
    id: str
    verdict: Verdict
    reasons: tuple[str, ...]
    provenance: Provenance
    runs: tuple[Run, ...]
    cases: tuple[Case, ...]
    events: tuple[Event, ...]
    stages: tuple[Stage, ...] = ()
    base: Provenance | None = None
    comparisons: tuple[Comparison, ...] = ()
    machines: tuple[MachineRow, ...] = ()
    kernels: tuple[Provenance, ...] = ()
    plan: str = ""
    event_changes: tuple[EventChange, ...] = ()
    metric_changes: MetricComparison | None = None
    known: tuple[KnownUse, ...] = ()
    gates: tuple[Gate, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    presubmit: Presubmit | None = None


REPORT_SCHEMA = "ttm-harness/report/1"
