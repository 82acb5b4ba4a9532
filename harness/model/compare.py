# SPDX-License-Identifier: GPL-2.0-only
"""Two sets of results beside each other, case by case."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum

from harness.model.outcome import Outcome


class Leg(StrEnum):
    """Which of the two kernels of a comparison a run is of; without a base every run is of the tip.

    The values are those of the JSON forms; people read `word`, for `tip` is a tree to them.
    """

    BASE = "base"
    TIP = "tip"

    @property
    def word(self) -> str:
        """`base` or `patched`."""
        return "base" if self is Leg.BASE else "patched"


class Change(StrEnum):
    """What became of a case between the base and the kernel under test."""

    FIXED = "FIXED"
    REGRESSED = "REGRESSED"
    SAME = "SAME"
    NEW = "NEW"  # not executed on the base
    GONE = "GONE"  # executed on the base only
    FLAKY = "FLAKY"  # good and bad within one side; n of m is stated; it does not count against the patched kernel
    KNOWN = "KNOWN"  # worse, or flaky, but only where a known issue says so


@dataclass(frozen=True, slots=True)
class Comparison:
    """One case on both sides, with every outcome that was seen (one a boot).

    `machine` tells the machine (and what else differs) from the others of the run; empty when there is only one.
    `known` names the known issues that boots of either side ran into.
    """

    suite: str
    name: str
    change: Change
    base: tuple[Outcome, ...]
    tip: tuple[Outcome, ...]
    machine: str = ""
    known: tuple[str, ...] = ()

    @property
    def counts(self) -> str:
        """`2/3 -> 3/3`: good of executed, on the base and on the tip."""
        return f"{_good(self.base)} -> {_good(self.tip)}"


def _good(outcomes: tuple[Outcome, ...]) -> str:
    executed = [outcome for outcome in outcomes if outcome.executed]
    good = sum(not outcome.finding and outcome is not Outcome.XFAIL for outcome in executed)
    return f"{good}/{len(executed)}"


@dataclass(frozen=True, slots=True)
class EventChange:
    """A kernel event, told by its fingerprint, on both sides: seen in `base_seen` of `base_boots` boots, and so on.

    A side's boots are those that came through the case in which the event shows, so 0 of 0 says nothing; `cases` are
    these cases. A `note` (an OOM kill, a taint) and what a suite expected of itself is never a regression.
    """

    kind: str
    title: str
    fingerprint: str
    change: Change
    base_seen: int
    base_boots: int
    tip_seen: int
    tip_boots: int
    cases: tuple[str, ...] = ()
    note: bool = False
    machine: str = ""
    known: tuple[str, ...] = ()

    @property
    def counts(self) -> str:
        """`0/3 -> 3/3`: seen in n of m boots, on the base and on the tip."""
        return f"{self.base_seen}/{self.base_boots} -> {self.tip_seen}/{self.tip_boots}"


class Shift(StrEnum):
    """What became of a figure between the base and the tip."""

    SAME = "SAME"  # no change to be seen
    BETTER = "BETTER"
    WORSE = "WORSE"
    CHANGED = "CHANGED"  # changed; whether for the better is not known
    UNCLEAR = "UNCLEAR"  # looks different, but there are too few boots to call it a change


@dataclass(frozen=True, slots=True)
class Sample:
    """What some boots measured: how many values, the least, the quartiles with the median, the most."""

    count: int
    least: float
    lower: float
    median: float
    upper: float
    most: float


@dataclass(frozen=True, slots=True)
class MetricChange:
    """A figure on both sides. `case` is empty for what was measured over the whole boot.

    `chance` is the p of the test, adjusted for all figures that were tested; None where there were too few boots to
    test. `effect` is Cliff's delta, from -1 (all boots lower than before) to 1.
    """

    suite: str
    case: str
    name: str
    shift: Shift
    base: Sample
    tip: Sample
    chance: float | None
    effect: float
    machine: str = ""

    @property
    def ratio(self) -> float | None:
        """By how much the median grew, 0.5 being by a half; None where it was not above 0, or fell below."""
        if self.base.median <= 0 or self.tip.median < 0:
            return None
        return self.tip.median / self.base.median - 1


@dataclass(frozen=True, slots=True)
class MetricComparison:
    """All figures that differ at all, and how they were tested.

    A change is called at `level` after the correction, and only when the medians are `least_change` apart (a share of
    the larger). `tested` figures had boots enough and varied; `needed` boots a side are the least with which
    anything can be called, `needed_alone` those with which one figure alone among `tested` can. `notes` say what was
    not compared, and why.
    """

    test: str
    level: float
    least_change: float
    tested: int
    needed: int
    needed_alone: int
    changes: tuple[MetricChange, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cost:
    """What the boots of one kernel in one machine came to. `good`, `bad`: of `boots`; the others could not tell.

    `kills` are OOM kills in all boots, `oom_in` the cases in which they came. `seconds` of the suites, `swapped`
    in pages and `figures`, those that the suites call a cost, are medians over the boots; None where nobody measured.
    In JSON the figures stand beside the rest, by their names.
    """

    boots: int
    good: int
    bad: int
    kills: int
    oom_in: tuple[str, ...]
    seconds: float | None
    swapped: int | None
    figures: dict[str, int | None] = field(default_factory=dict)

    @staticmethod
    def upgraded(plain: dict[str, object]) -> dict[str, object]:
        """The figures together, as the value has them."""
        own = {key: value for key, value in plain.items() if key in COST_KEYS}
        return {**own, "figures": {key: value for key, value in plain.items() if key not in own}}


# What each cost has, whatever was run.
COST_KEYS = frozenset(one.name for one in fields(Cost)) - {"figures"}


@dataclass(frozen=True, slots=True)
class MachineRow:
    """One line of the table over all machines of a plan. `changes` are counts, as in `2 FIXED`."""

    machine: str
    base: Cost | None
    tip: Cost | None
    changes: tuple[str, ...] = ()
