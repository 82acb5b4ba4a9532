# SPDX-License-Identifier: GPL-2.0-only
"""What boots measured on base and tip -> which figures changed, as far as the repeats bear it. Pure.

A figure of a case counts only where the case passed: what a case measured while it failed is no measure of it. What
was measured over a whole boot counts only where both sides executed the same cases.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from harness.judge.sides import Side
from harness.judge.statistics import adjusted, boots_needed, least_chance, mann_whitney, summary
from harness.model.compare import MetricChange, MetricComparison, Shift
from harness.model.figure import Better, Figure, Figures
from harness.model.outcome import Outcome
from harness.model.result import Case, Run

LEVEL = 0.05
LEAST_CHANGE = 0.05
TEST = "Mann-Whitney U, two-sided, exact; Benjamini-Hochberg over all figures"
_SECONDS = "seconds"
_TIMES = (_SECONDS, f"*.{_SECONDS}", "ms", "*_ms", "longest_gap")
_LEAST_SECONDS = 0.1  # what takes less than this on both sides is the noise of a guest's clock

# Of each suite, by its name, what it says of its figures.
Said = Mapping[str, tuple[Figure, ...]]


@dataclass(frozen=True, slots=True, order=True)
class _Place:
    machine: str
    suite: str
    case: str
    name: str


_Values = dict[_Place, list[float]]


def compare_metrics(base: Side, tip: Side, said: Said) -> MetricComparison:
    """Every figure that both sides have and that is not one and the same value in all boots. Times of several hosts
    are not compared: they say more of the hosts.
    """
    before, after = _of_cases(base), _of_cases(tip)
    notes = tuple(_take_boots(base, tip, before, after))
    hosts = sorted({run.host or "this host" for run in (*base.runs, *tip.runs)})
    if len(hosts) > 1:
        after = {figure: values for figure, values in after.items() if not _is_time(figure, said)}
        notes = (*notes, f"no times are compared: the boots were made on {', '.join(hosts)}")
    found: list[MetricChange] = []
    for figure in after:
        old, new = before.get(figure), after[figure]
        if old and len({*old, *new}) > 1 and not _is_noise(figure, [*old, *new]):
            found.append(_tested(figure, old, new))
    tests = [place for place, one in enumerate(found) if one.chance is not None]
    chances = adjusted([found[place].chance or 0.0 for place in tests])
    for place, chance in zip(tests, chances, strict=True):
        found[place] = _called(found[place], chance, said)
    return MetricComparison(
        test=TEST,
        level=LEVEL,
        least_change=LEAST_CHANGE,
        tested=len(tests),
        needed=boots_needed(LEVEL),
        needed_alone=boots_needed(LEVEL, max(1, len(tests) or len(found))),
        changes=tuple(found),
        notes=notes,
    )


def better(suites: str, name: str, said: Said) -> Better:
    """Which way the figure of these suites (with commas between) should go."""
    return Figures.of_suites(said.get(suite, ()) for suite in suites.split(",")).of(name).better


def _is_time(figure: _Place, said: Said) -> bool:
    suites = figure.suite.split(",")
    unit = Figures.of_suites(said.get(suite, ()) for suite in suites).of(figure.name).unit
    return any(fnmatchcase(figure.name, glob) for glob in _TIMES) or unit.seconds > 0


def _is_noise(figure: _Place, values: list[float]) -> bool:
    """Judged on both sides together, so that it favours neither."""
    return figure.name == _SECONDS and max(values) < _LEAST_SECONDS


def _tested(figure: _Place, old: list[float], new: list[float]) -> MetricChange:
    chance, effect = mann_whitney(old, new)
    enough = least_chance(len(old), len(new)) <= LEVEL
    return MetricChange(
        suite=figure.suite,
        case=figure.case,
        name=figure.name,
        shift=Shift.UNCLEAR,
        base=summary(old),
        tip=summary(new),
        chance=chance if enough else None,
        effect=effect,
        machine=figure.machine,
    )


def _called(one: MetricChange, chance: float, said: Said) -> MetricChange:
    raw = one.chance or 0.0
    apart = abs(one.tip.median - one.base.median)
    if raw > LEVEL or apart < LEAST_CHANGE * max(abs(one.tip.median), abs(one.base.median)) or not apart:
        shift = Shift.SAME
    elif chance > LEVEL:
        shift = Shift.UNCLEAR
    elif (wanted := better(one.suite, one.name, said)) is Better.NEITHER:
        shift = Shift.CHANGED
    else:
        grew = one.tip.median > one.base.median
        shift = Shift.BETTER if grew is (wanted is Better.MORE) else Shift.WORSE
    return replace(one, chance=chance, shift=shift)


def _of_cases(side: Side) -> _Values:
    found: _Values = {}
    for case in side.cases:
        if case.outcome is Outcome.PASS:
            for name, value in _figures(case):
                found.setdefault(_Place(side.group(case.run), case.suite, case.name, name), []).append(value)
    return found


def _figures(case: Case) -> Iterator[tuple[str, float]]:
    if case.seconds is not None:
        yield _SECONDS, case.seconds
    for metric in case.metrics:
        yield metric.name, metric.value


def _take_boots(base: Side, tip: Side, before: _Values, after: _Values) -> Iterator[str]:
    """Adds what was measured over whole boots; yields a sentence for each machine where that means nothing."""
    old, new = _boots(base), _boots(tip)
    for (machine, suites), runs in new.items():
        others = old.get((machine, suites))
        if others is None:
            continue
        differ = {frozenset(names) for names in (*runs.values(), *others.values())}
        if len(differ) > 1:
            least, most = min(map(len, differ)), max(map(len, differ))
            counts = f"{least} to {most} cases" if least < most else f"{most} cases each, but not the same"
            where = f" ({machine})" if machine else ""
            yield f"what was measured over whole boots of {suites}{where} is left out: they executed {counts}"
            continue
        for side, values in ((base, before), (tip, after)):
            for run in side.runs:
                if (side.group(run.id), _suites(run)) == (machine, suites):
                    for name, value in _of_boot(run):
                        values.setdefault(_Place(machine, suites, "", name), []).append(value)


def _boots(side: Side) -> dict[tuple[str, str], dict[str, set[tuple[str, str]]]]:
    """For each machine and suites the runs, and for each run the cases that it executed."""
    found: dict[tuple[str, str], dict[str, set[tuple[str, str]]]] = {}
    executed: dict[str, set[tuple[str, str]]] = {}
    for case in side.cases:
        if case.outcome.executed:
            executed.setdefault(case.run, set()).add((case.suite, case.name))
    for run in side.runs:
        found.setdefault((side.group(run.id), _suites(run)), {})[run.id] = executed.get(run.id, set())
    return found


def _suites(run: Run) -> str:
    return ",".join(run.cell.suites)


def _of_boot(run: Run) -> Iterator[tuple[str, float]]:
    for stage in run.stages:
        if stage.name in run.cell.suites:
            yield f"{stage.name}.{_SECONDS}" if len(run.cell.suites) > 1 else _SECONDS, stage.seconds
    telemetry = {metric.name: metric.value for metric in run.metrics}
    telemetry.pop(_SECONDS, None)  # how long the sampler ran, which the suite's own time says better
    yield from telemetry.items()
