# SPDX-License-Identifier: GPL-2.0-only
"""The comparison as `run --base` and `compare` make it: with what is known taken out, by case, event and figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.evidence.splats import Severity, severity
from harness.judge.compare import compare
from harness.judge.events import compare_events
from harness.judge.known import WithKnownIssues, excuse
from harness.judge.metrics import compare_metrics
from harness.judge.sides import Side
from harness.model.compare import Comparison, EventChange, MetricComparison
from harness.model.known import KnownIssues
from harness.model.result import Case, Event, Provenance, Run
from harness.model.tree import version_tuple
from harness.suites.registry import figures_said


@dataclass(frozen=True, slots=True)
class Contrast:
    """Two sides compared; empty where there is only one."""

    cases: tuple[Comparison, ...] = ()
    events: tuple[EventChange, ...] = ()
    metrics: MetricComparison | None = None


def contrasted(base: Side, tip: Side) -> Contrast:
    return Contrast(
        compare(base.cases, tip.cases, {**base.groups, **tip.groups}),
        compare_events(base, tip, is_note),
        metrics_between(base, tip),
    )


def metrics_between(base: Side, tip: Side) -> MetricComparison:
    """The figures of both sides compared, as their suites understand them."""
    suites = {name for run in (*base.runs, *tip.runs) for name in run.cell.suites}
    return compare_metrics(base, tip, figures_said(suites))


def without_known(
    known: KnownIssues,
    kernels: Iterable[Provenance],
    runs: Sequence[Run],
    cases: Sequence[Case],
    events: Sequence[Event],
) -> WithKnownIssues:
    """The results with what is known of their `kernels` marked as such."""
    versions = {one.build_id: version_tuple(one.tree_version)[:2] for one in kernels}
    return excuse(known, (runs, cases, events), versions, is_note)


def is_note(kind: str) -> bool:
    """Events of this kind are wrong only where somebody says so."""
    return severity(kind) is Severity.NOTE
