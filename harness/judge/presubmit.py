# SPDX-License-Identifier: GPL-2.0-only
"""Which few cases to run first: those that caught the controls in the functions that differ, within a budget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.model.presubmit import ControlMap, Presubmit

_LEAST_SECONDS = 0.1  # what no case is quicker than: a list has 0.0 for the quickest


def choose(
    maps: Sequence[ControlMap],
    seconds: Mapping[str, Mapping[str, float]],
    changed: frozenset[str],
    budget: float,
) -> Presubmit:
    """A small set of cases that caught every control in the `changed` functions that was ever caught, as far as it
    fits into `budget` seconds. `seconds` has what each case of each suite takes; a case that is not there any more is
    none.

    Taken one by one: that which catches most of what is not caught yet in a second. Where no control in what differs
    was ever caught, all controls count.
    """
    seen = _sights(maps, seconds)
    known = frozenset(name for functions, _ in seen.values() for name in functions)
    within = {key: red for key, (functions, red) in seen.items() if not changed.isdisjoint(functions)}
    anywhere = not any(within.values())
    wanted = {key: red for key, (_, red) in seen.items()} if anywhere else within
    costs = {
        (suite, case): max(_LEAST_SECONDS, cost) for suite, cases in seconds.items() for case, cost in cases.items()
    }
    chosen, left = _cover(wanted, costs, budget)
    caught = sum(1 for red in wanted.values() if not red.isdisjoint(chosen))
    suites = {suite for suite, _ in (*chosen, *left)}
    return Presubmit(
        budget=budget,
        functions=tuple(sorted(name for name in changed if name in known)),
        unknown=tuple(sorted(name for name in changed if name not in known)),
        chosen=_names(chosen),
        left_out=_names(left),
        caught=caught,
        controls=len(wanted),
        seconds=round(sum(costs[one] for one in chosen), 1),
        whole=round(sum(cost for (suite, _), cost in costs.items() if suite in suites), 1),
        anywhere=anywhere,
        kernels=tuple(dict.fromkeys(one.kernel for one in maps)),
    )


_Case = tuple[str, str]  # a suite, and a case of it


def _sights(
    maps: Iterable[ControlMap], seconds: Mapping[str, Mapping[str, float]]
) -> dict[_Case, tuple[tuple[str, ...], frozenset[_Case]]]:
    """For each control, by suite and name: its functions, and the cases that saw it."""
    found = {}
    for one in maps:
        there = seconds.get(one.suite, {})
        for sight in one.controls:
            red = frozenset((one.suite, case) for case in sight.red if case in there)
            found[one.suite, sight.control] = (sight.functions, red)
    return found


def _cover(
    wanted: Mapping[_Case, frozenset[_Case]], costs: Mapping[_Case, float], budget: float
) -> tuple[list[_Case], list[_Case]]:
    """The cases that fit, and those that are needed for the rest and do not."""
    open_ = {key: red for key, red in wanted.items() if red}
    chosen: list[_Case] = []
    left: list[_Case] = []
    spent = 0.0
    while open_:
        gains: dict[_Case, int] = {}
        for red in open_.values():
            for case in red:
                gains[case] = gains.get(case, 0) + 1
        # By name where two are alike, so that the same is chosen each time.
        best = max(sorted(gains), key=lambda case: gains[case] / costs[case])
        fits = spent + costs[best] <= budget
        if fits:
            spent += costs[best]
            chosen.append(best)
            open_ = {key: red for key, red in open_.items() if best not in red}
        else:
            left.append(best)
            open_ = {key: red - {best} for key, red in open_.items() if red - {best}}
    return _without_needless(chosen, wanted), left


def _without_needless(chosen: Sequence[_Case], wanted: Mapping[_Case, frozenset[_Case]]) -> list[_Case]:
    """Without the cases whose controls later ones have caught as well."""
    kept = list(chosen)
    for case in chosen:
        rest = [one for one in kept if one != case]
        if all(not red.isdisjoint(rest) for red in wanted.values() if case in red):
            kept = rest
    return kept


def _names(cases: Iterable[_Case]) -> tuple[str, ...]:
    return tuple(f"{suite}:{case}" for suite, case in cases)
