# SPDX-License-Identifier: GPL-2.0-only
"""Does a verdict follow from what is written beside it? What was kept may have been changed since. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.judge.expectations import verdict_of
from harness.model.result import Case, Run


def unearned_run(run: Run, cases: Iterable[Case]) -> str:
    """Why the verdict of a boot cannot be the one that its cases led to, in a sentence; empty when it is."""
    verdict, reasons = verdict_of((*run.problems, *map(str, run.differences)), cases)
    if verdict is run.verdict:
        return ""
    why = f": {reasons[0]}" if reasons else ""
    return f"boot {run.id} is said to be {run.verdict}, and what was found in it makes it {verdict}{why}"


def unearned_runs(runs: Sequence[Run], cases: Sequence[Case]) -> str:
    """The same for all boots of a report; a case belongs to one of them."""
    by_run: dict[str, list[Case]] = {run.id: [] for run in runs}
    if len(by_run) < len(runs):
        return "two boots have the same name"
    for case in cases:
        if case.run not in by_run:
            return f"there is a case of a boot {case.run!r}, which is not there"
        by_run[case.run].append(case)
    return next((why for run in runs if (why := unearned_run(run, by_run[run.id]))), "")
