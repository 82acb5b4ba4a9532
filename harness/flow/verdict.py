# SPDX-License-Identifier: GPL-2.0-only
"""The verdict over all boots of a run; and whether a kept report has the one that its boots led to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from harness.flow.comparison import Contrast, contrasted
from harness.judge.belief import unearned_runs
from harness.judge.compare import verdict_against_base
from harness.judge.expectations import overall
from harness.judge.sides import sound
from harness.model.compare import Leg
from harness.model.gate import Gate
from harness.model.outcome import Verdict
from harness.model.result import Case, Event, LeftOut, Report, Run


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the verdict is about: boots with their cases and events, and what stands beside them."""

    runs: tuple[Run, ...]
    cases: tuple[Case, ...]
    events: tuple[Event, ...]
    gates: tuple[Gate, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


def verdict_on(
    found: Evidence, based: Collection[str], missing: int = 0, also: Sequence[str] = ()
) -> tuple[Verdict, tuple[str, ...], Contrast]:
    """The verdict, the sentences for it (`also` among them), and what differs from the base.

    `based` are the groups of boots that have a base; `missing` boots were not made: then it can be bad, but not good.
    """
    groups = {one.id: one.group for one in found.runs}
    verdict = _standing(found.runs, Leg.TIP)
    reasons = (*(f"{one.id}: {reason}" for one in found.runs for reason in one.reasons), *also)
    contrast = Contrast()
    if based:
        base, tip = (
            sound(
                [one for one in found.runs if one.leg is leg and one.group in based],
                found.cases,
                found.events,
                groups,
            )
            for leg in (Leg.BASE, Leg.TIP)
        )
        contrast = contrasted(base, tip)
        alone = tuple(one for one in found.runs if one.group not in based)
        both = tuple(one for one in found.runs if one.group in based)
        verdict, changes = verdict_against_base(
            contrast.cases, _standing(both, Leg.BASE), _standing(both, Leg.TIP), contrast.events
        )
        verdict = overall((verdict, _standing(alone, Leg.TIP))) if alone else verdict
        reasons = (*changes, *reasons)
    for gate in found.gates:
        reasons = (*(f"the gate: {reason}" for reason in gate.reasons), *reasons)
        verdict = overall((verdict, gate.verdict))
    if gaps := [one for one in found.left_out if one.counts]:
        reasons = (*(f"without the suite {one.suite} on {one.version}: {one.why}" for one in gaps), *reasons)
        verdict = Verdict.CANNOT_TELL if verdict is Verdict.GOOD else verdict
    if missing:
        reasons = (f"the run was interrupted: {missing} boots were not made", *reasons)
        verdict = Verdict.CANNOT_TELL if verdict is Verdict.GOOD else verdict
    return verdict, reasons, contrast


def unearned(report: Report, based: Collection[str] | None = None) -> str:
    """Why the verdict of a report cannot be the one that its boots led to, in a sentence; empty when it can.

    The report itself does not say how many boots are missing, nor which groups, `based`, have a base: one of them may
    have no boot of it. What either could have made of the verdict is believed.
    """
    if why := unearned_runs(report.runs, report.cases):
        return why
    found = Evidence(report.runs, report.cases, report.events, report.gates, report.left_out)
    choices = _based(report) if based is None else (based,)
    verdicts = {verdict_on(found, choice)[0] for choice in choices}
    if Verdict.GOOD in verdicts:
        verdicts.add(Verdict.CANNOT_TELL)
    if report.verdict in verdicts:
        return ""
    return f"its verdict is {report.verdict}, and its boots make it {' or '.join(sorted(verdicts))}"


def _based(report: Report) -> Iterable[frozenset[str]]:
    if report.base is None:
        return (frozenset(),)
    with_base = frozenset(run.group for run in report.runs if run.leg is Leg.BASE)
    return dict.fromkeys((with_base, frozenset(run.group for run in report.runs)))


def _standing(runs: Iterable[Run], leg: Leg) -> Verdict:
    return overall(one.verdict for one in runs if one.leg is leg)
