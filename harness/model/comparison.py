# SPDX-License-Identifier: GPL-2.0-only
"""What `ttm-harness compare` says: two sets of boots beside each other."""

from __future__ import annotations

from dataclasses import dataclass

from harness.model.compare import Comparison, EventChange, MetricComparison
from harness.model.known import KnownUse
from harness.model.outcome import Verdict
from harness.model.result import Provenance


@dataclass(frozen=True, slots=True)
class ComparedSide:
    """One side: the words that named it, its runs (each with its leg, `20261121T043256-bf98f3:tip`), its kernels.

    `boots` are evidence; `left_out` are not, because they were not what they were asked to be.
    """

    asked: str
    runs: tuple[str, ...]
    boots: int
    left_out: int
    kernels: tuple[Provenance, ...]


@dataclass(frozen=True, slots=True)
class CompareOutput:
    """The comparison. Its verdict is good when the tip is in nothing worse than the base; its JSON form is described
    by reports/schema/. `remarks` are sentences on what beside the kernel differs.
    """

    schema: str
    verdict: Verdict
    reasons: tuple[str, ...]
    base: ComparedSide
    tip: ComparedSide
    comparisons: tuple[Comparison, ...]
    event_changes: tuple[EventChange, ...]
    metric_changes: MetricComparison
    known: tuple[KnownUse, ...] = ()
    remarks: tuple[str, ...] = ()


COMPARE_SCHEMA = "ttm-harness/compare/1"
