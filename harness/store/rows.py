# SPDX-License-Identifier: GPL-2.0-only
"""A report -> the rows of the index. Pure but for its types."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from harness.model.compare import Leg
from harness.model.errors import StoreCorrupt
from harness.model.outcome import Outcome
from harness.model.result import REPORT_SCHEMA, Case, Provenance, Report, Run
from harness.model.results import State

Values = dict[str, object]

# What inputs/series/apply.py adds to the origin of a tree.
_SERIES = re.compile(r", with patches .+? of \d+ of (?P<label>.+) \(series [0-9a-f]{64}\)")
# A database takes neither NUL nor half of a surrogate pair; JSON can carry both.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_MOST = 2**63


@dataclass(frozen=True, slots=True)
class CaseValues:
    """A case; the name's place in its table is found when it is written."""

    suite: str
    name: str
    outcome: str
    seconds: float | None
    message: str


@dataclass(frozen=True, slots=True)
class BootValues:
    values: Values
    cases: tuple[CaseValues, ...]


@dataclass(frozen=True, slots=True)
class RunValues:
    values: Values
    boots: tuple[BootValues, ...]


def rows_of(report: Report, state: State) -> RunValues:
    """StoreCorrupt for a report of another schema, and for one that does not fit together."""
    if report.schema != REPORT_SCHEMA:
        raise StoreCorrupt(f"the report has the schema {clean(report.schema)!r}, which this version does not read")
    cases: dict[str, list[Case]] = {run.id: [] for run in report.runs}
    for case in report.cases:
        if case.run not in cases:
            raise StoreCorrupt(f"the report has a case of a boot {clean(case.run)!r}, which it has not")
        cases[case.run].append(case)
    boots = tuple(_boot(run, _where(run, report), cases[run.id]) for run in report.runs)
    kernels = [*(report.kernels or (report.provenance,)), *((report.base,) if report.base is not None else ())]
    values: Values = {
        "state": str(state),
        "verdict": str(report.verdict),
        "plan": clean(report.plan),
        "kernels": _lines(one.tree_version for one in kernels),
        "series": _lines(filter(None, map(series_of, kernels))),
        "suites": _lines(suite for run in report.runs for suite in run.cell.suites),
        "boots": len(boots),
        "executed": sum(case.outcome.executed for case in report.cases),
        "bad": sum(map(_is_bad, report.cases)),
        "seconds": _finite(sum(stage.seconds for stage in report.stages)),
    }
    return RunValues(values, boots)


def series_of(kernel: Provenance) -> str:
    """The name and revision of the series that was applied to the kernel's sources; empty for none."""
    match = _SERIES.search(kernel.tree_origin)
    return clean(match["label"]) if match is not None else ""


def clean(text: str) -> str:
    """The text with a question mark for what no database takes."""
    return _UNSTORABLE.sub("?", text)


def _where(run: Run, report: Report) -> Provenance:
    base = [report.base] if report.base is not None else []
    kernels: list[Provenance] = [*report.kernels, *base, report.provenance]
    for kernel in kernels:
        if kernel.build_id == run.cell.build_id:
            return kernel
    return report.base if report.base is not None and run.leg is Leg.BASE else report.provenance


def _boot(run: Run, kernel: Provenance, cases: list[Case]) -> BootValues:
    if not 0 <= run.cell.seed < _MOST:
        raise StoreCorrupt(f"the report has a seed that is none: {run.cell.seed}")
    values: Values = {
        "name": clean(run.id),
        "leg": str(run.leg),
        "kernel": clean(kernel.tree_version),
        "profile": clean(kernel.profile),
        "series": series_of(kernel),
        "build_id": clean(run.cell.build_id),
        "cell": run.cell.id,
        "group": clean(run.group),
        "machine": clean(str(run.cell.machine)),
        "suites": _lines(run.cell.suites),
        "seed": run.cell.seed,
        "ending": str(run.ending),
        "verdict": str(run.verdict),
        "sound": not run.problems and not run.differences,
        "executed": sum(case.outcome.executed for case in cases),
        "bad": sum(map(_is_bad, cases)),
        "seconds": _finite(sum(stage.seconds for stage in run.stages if stage.name == "boot")),
        "kept_from": clean(run.kept_from),
    }
    return BootValues(values, tuple(map(_case, cases)))


def _case(case: Case) -> CaseValues:
    seconds = None if case.seconds is None else _finite(case.seconds)
    return CaseValues(clean(case.suite), clean(case.name), str(case.outcome), seconds, clean(case.message))


def _is_bad(case: Case) -> bool:
    return case.outcome.finding or case.outcome is Outcome.INCOMPLETE


def _lines(words: Iterable[str]) -> str:
    return "\n".join(dict.fromkeys(clean(word).replace("\n", " ") for word in words))


def _finite(seconds: float) -> float:
    return seconds if math.isfinite(seconds) else 0.0
