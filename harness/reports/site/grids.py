# SPDX-License-Identifier: GPL-2.0-only
"""Tables of two axes: RAM x swap, cases x revisions, kernels x nights. Each cell says n of m, and has a colour."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.model.compare import Leg
from harness.model.outcome import Outcome, Verdict, worst
from harness.model.results import Tally
from harness.model.units import format_size
from harness.reports.site.values import SiteBoot


@dataclass(frozen=True, slots=True)
class HeatCell:
    """The boots of one kernel in machines of one RAM and one swap: how many of them were good, bad, neither."""

    boots: int
    good: int
    bad: int
    kills: int
    page: str = ""  # of the worst boot

    @property
    def color(self) -> str:
        return "bad" if self.bad else "good" if self.good == self.boots else "doubt"

    @property
    def words(self) -> str:
        killed = f", {self.kills} OOM kill{'s' * (self.kills != 1)}" if self.kills else ""
        return f"{self.good} of {self.boots} good{killed}"


@dataclass(frozen=True, slots=True)
class Heat:
    """RAM down, swap across, the base beside the tip where there is one."""

    swaps: tuple[tuple[str, tuple[Leg, ...]], ...]  # with the legs that were booted with it
    rows: tuple[tuple[str, tuple[tuple[HeatCell | None, ...], ...]], ...]

    @property
    def based(self) -> bool:
        return any(Leg.BASE in legs for _, legs in self.swaps)


def heat_of(boots: Iterable[tuple[str, SiteBoot]]) -> Heat | None:
    """The map of some boots, each with the path of its page; None where all have the same RAM and swap."""
    found: dict[tuple[int, str, Leg], list[tuple[str, SiteBoot]]] = defaultdict(list)
    sizes: dict[str, tuple[int, str]] = {}
    for page, boot in boots:
        swap = str(boot.swap)
        sizes[swap] = (boot.swap.size, swap)
        found[boot.ram, swap, boot.leg].append((page, boot))
    rams = sorted({ram for ram, _, _ in found})
    swaps = sorted(sizes, key=lambda one: sizes[one])
    if len(rams) * len(swaps) < 2:
        return None
    seen = {(swap, leg) for _, swap, leg in found}
    columns = tuple((swap, tuple(leg for leg in Leg if (swap, leg) in seen)) for swap in swaps)
    rows = tuple(
        (
            format_size(ram),
            tuple(tuple(_heat_cell(found.get((ram, swap, leg), ())) for leg in legs) for swap, legs in columns),
        )
        for ram in rams
    )
    return Heat(columns, rows)


def _heat_cell(boots: Sequence[tuple[str, SiteBoot]]) -> HeatCell | None:
    if not boots:
        return None
    order = (Verdict.BAD, Verdict.CANNOT_TELL, Verdict.GOOD)
    page, _ = min(boots, key=lambda one: order.index(one[1].verdict))
    counts = Counter(boot.verdict for _, boot in boots)
    kills = sum(boot.kills or 0 for _, boot in boots)
    return HeatCell(len(boots), counts[Verdict.GOOD], counts[Verdict.BAD], kills, page)


@dataclass
class Counted:
    """The outcomes of a case in one cell of a table, and in which run that was last."""

    counts: Counter[Outcome] = field(default_factory=Counter)
    run: str = ""

    @property
    def outcome(self) -> Outcome:
        return worst(self.counts)

    @property
    def words(self) -> str:
        """`12` where all is well, else `3/12 FAIL`, the worst of it."""
        total = self.counts.total()
        worst_one = self.outcome
        if worst_one is Outcome.PASS:
            return str(total)
        times = self.counts[worst_one]
        return f"{worst_one}" if total == 1 else f"{times}/{total} {worst_one}"


@dataclass(frozen=True, slots=True)
class Grid:
    """Rows of cells; what differs, or is not good, stands first in `loud`, the others in `quiet`."""

    columns: tuple[str, ...]
    loud: tuple[tuple[tuple[str, ...], tuple[Counted | None, ...]], ...]
    quiet: tuple[tuple[tuple[str, ...], tuple[Counted | None, ...]], ...]

    @property
    def everywhere(self) -> tuple[tuple[tuple[str, ...], tuple[Counted | None, ...]], ...]:
        """What is quiet, and in every column."""
        return tuple(one for one in self.quiet if None not in one[1])

    @property
    def somewhere(self) -> tuple[tuple[tuple[str, ...], tuple[Counted | None, ...]], ...]:
        """What is quiet, and missing in some."""
        return tuple(one for one in self.quiet if None in one[1])


def grid_of(cells: Iterable[tuple[tuple[str, ...], str, Tally]], columns: Sequence[str]) -> Grid:
    """`cells` are (row, column, tally). Columns stand as given, rows in the order in which they come."""
    found: dict[tuple[str, ...], dict[str, Counted]] = {}
    for row, column, tally in cells:
        counted = found.setdefault(row, {}).setdefault(column, Counted())
        counted.counts[tally.outcome] += tally.times
        counted.run = max(counted.run, tally.run)
    rows = [(row, tuple(by_column.get(one) for one in columns)) for row, by_column in found.items()]
    loud = [one for one in rows if _is_loud(found[one[0]])]
    names = {row for row, _ in loud}
    return Grid(tuple(columns), tuple(loud), tuple(one for one in rows if one[0] not in names))


def _is_loud(by_column: Mapping[str, Counted]) -> bool:
    outcomes = {outcome for one in by_column.values() for outcome in one.counts}
    return any(one.finding or one in (Outcome.INCOMPLETE, Outcome.NOT_RUN) for one in outcomes) or (
        len({one.outcome for one in by_column.values()}) > 1
    )
