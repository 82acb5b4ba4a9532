# SPDX-License-Identifier: GPL-2.0-only
"""Runs x machines -> one row a machine: what came out on base and tip, where memory ran out, what it cost. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median

from harness.model.compare import Change, Comparison, Cost, Leg, MachineRow
from harness.model.figure import Figure
from harness.model.outcome import Verdict
from harness.model.result import Case, Run

_OOM = "oom"


def machine_rows(
    runs: Sequence[Run], cases: Sequence[Case], comparisons: Sequence[Comparison], costs: Sequence[Figure] = ()
) -> tuple[MachineRow, ...]:
    """A row for each group of runs, in their order. `costs` are the figures that the suites call so."""
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(case.run, []).append(case)
    rows = []
    for group in dict.fromkeys(run.group for run in runs):
        mine = [run for run in runs if run.group == group]
        base, tip = (_cost([run for run in mine if run.leg is leg], found, costs) for leg in (Leg.BASE, Leg.TIP))
        changed = Counter(one.change for one in comparisons if one.machine == group)
        rows.append(
            MachineRow(
                group,
                base,
                tip,
                tuple(f"{changed[one]} {one}" for one in Change if changed[one] and one is not Change.SAME),
            )
        )
    return tuple(rows)


def _cost(runs: Sequence[Run], cases: dict[str, list[Case]], costs: Sequence[Figure]) -> Cost | None:
    if not runs:
        return None
    mine = [case for run in runs for case in cases.get(run.id, ())]
    verdicts = Counter(run.verdict for run in runs)
    return Cost(
        boots=len(runs),
        good=verdicts[Verdict.GOOD],
        bad=verdicts[Verdict.BAD],
        kills=sum(event.kind == _OOM for case in mine for event in case.events),
        oom_in=tuple(dict.fromkeys(case.name for case in mine if any(event.kind == _OOM for event in case.events))),
        seconds=_middle([_suite_seconds(run) for run in runs]),
        swapped=_whole(runs, "pswpout"),
        figures={figure.bare: _whole(runs, figure.name) for figure in costs},
    )


def _suite_seconds(run: Run) -> float | None:
    """What the suites took; the boot before and after is the host's matter."""
    seconds = [stage.seconds for stage in run.stages if stage.name in run.cell.suites]
    return sum(seconds) if seconds else None


def _whole(runs: Sequence[Run], name: str) -> int | None:
    """The metric, in the middle of the boots that have it."""
    middle = _middle([next((one.value for one in run.metrics if one.name == name), None) for run in runs])
    return None if middle is None else round(middle)


def _middle(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
