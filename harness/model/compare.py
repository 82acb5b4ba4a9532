# SPDX-License-Identifier: GPL-2.0-only
"""Two sets of results beside each other, case by case."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.model.outcome import Outcome


class Leg(StrEnum):
    """Which of the two kernels of a comparison a run is of; without a base every run is of the tip."""

    BASE = "base"
    TIP = "tip"


class Change(StrEnum):
    """What became of a case between the base and the kernel under test."""

    FIXED = "FIXED"
    REGRESSED = "REGRESSED"
    SAME = "SAME"
    NEW = "NEW"  # not executed on the base
    GONE = "GONE"  # executed on the base only
    FLAKY = "FLAKY"  # good and bad within one side; n of m is stated, and nobody is blamed


@dataclass(frozen=True, slots=True)
class Comparison:
    """One case on both sides, with every outcome that was seen (one a boot).

    `machine` tells the machine (and what else differs) from the others of the run; empty when there is only one.
    """

    suite: str
    name: str
    change: Change
    base: tuple[Outcome, ...]
    tip: tuple[Outcome, ...]
    machine: str = ""

    @property
    def counts(self) -> str:
        """`2/3 -> 3/3`: good of executed, on the base and on the tip."""
        return f"{_good(self.base)} -> {_good(self.tip)}"


def _good(outcomes: tuple[Outcome, ...]) -> str:
    executed = [outcome for outcome in outcomes if outcome.executed]
    good = sum(not outcome.finding and outcome is not Outcome.XFAIL for outcome in executed)
    return f"{good}/{len(executed)}"


@dataclass(frozen=True, slots=True)
class Cost:
    """What the boots of one kernel in one machine came to. `good`, `bad`: of `boots`; the others could not tell.

    `kills` are OOM kills in all boots, `oom_in` the cases in which they came. `seconds` of the suites and `swapped`
    and `backed_up` in pages (by the kernel's swap, by TTM's backup) are medians over the boots; None where nobody
    measured.
    """

    boots: int
    good: int
    bad: int
    kills: int
    oom_in: tuple[str, ...]
    seconds: float | None
    swapped: int | None
    backed_up: int | None


@dataclass(frozen=True, slots=True)
class MachineRow:
    """One line of the table over all machines of a plan. `changes` are counts, as in `2 FIXED`."""

    machine: str
    base: Cost | None
    tip: Cost | None
    changes: tuple[str, ...] = ()
