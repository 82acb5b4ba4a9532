# SPDX-License-Identifier: GPL-2.0-only
"""The two sides of a comparison: the boots that are evidence, and what each of them came through. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from harness.model.outcome import Outcome
from harness.model.result import Case, Event, Run

BOOT = ("boot", "kernel")  # the case that a boot is itself, see expectations.boot_case

# (machine, suite, case)
Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Side:
    """Boots of one kernel, with their cases and events; every run has an id of its own on its side.

    `groups` has the words for the machine of each run: what is compared is compared on the same machine only.
    """

    runs: tuple[Run, ...]
    cases: tuple[Case, ...]
    events: tuple[Event, ...]
    groups: Mapping[str, str]

    def group(self, run: str) -> str:
        return self.groups.get(run, "")

    def executed(self, outcomes: Collection[Outcome]) -> dict[Key, set[str]]:
        """The runs in which each case ended with one of the outcomes."""
        found: dict[Key, set[str]] = {}
        for case in self.cases:
            if case.outcome in outcomes:
                found.setdefault((self.group(case.run), case.suite, case.name), set()).add(case.run)
        return found


def sound(runs: Iterable[Run], cases: Iterable[Case], events: Iterable[Event], groups: Mapping[str, str]) -> Side:
    """The side without the invalid boots: what was not as asked for speaks against no kernel."""
    kept = tuple(run for run in runs if not run.problems and not run.differences)
    names = {run.id for run in kept}
    return Side(
        kept,
        tuple(case for case in cases if case.run in names),
        tuple(event for event in events if event.run in names),
        groups,
    )


def only(side: Side, groups: Collection[str]) -> Side:
    """The side without the machines that are not among `groups`."""
    runs = [run for run in side.runs if side.group(run.id) in groups]
    return sound(runs, side.cases, side.events, side.groups)
