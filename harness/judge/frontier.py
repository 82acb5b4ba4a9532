# SPDX-License-Identifier: GPL-2.0-only
"""Where on two axes does something begin to fail? Boots go where the line may be, not where nothing changes. Pure.

The grid is cut into rectangles. One whose known points differ is cut in two, until it is a single cell: the line goes
through it. Nothing is assumed of the line's form: a rectangle whose corners agree is taken to be alike inside only
until a boot in its middle, which is made last, says otherwise; then it is cut like any other. Points beside the line
are booted again, as that is where chance decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from math import ceil

from harness.model.frontier import Axis, Need, Standing
from harness.model.search import BootVotes

Point = tuple[int, int]
_FIRST_CUTS = 3  # along each axis
_NOTHING_TWICE = 2  # boots without evidence, before a point is left alone
_MOST_REPEATS = 2  # times the repeats, where a point is flaky


class Phase(IntEnum):
    """What a boot is for, in the order in which they are made."""

    COARSE = 0
    LINE = 1
    AGAIN = 2
    CHECK = 3


@dataclass(frozen=True, slots=True)
class AskPoint:
    point: Point
    phase: Phase


@dataclass(frozen=True, slots=True)
class AxisGrid:
    """So many values on each axis; points beside the line are booted `repeats` times."""

    columns: int
    rows: int
    repeats: int = 2


@dataclass(frozen=True, slots=True)
class _Rectangle:
    """Its corners, the ends included."""

    left: int
    right: int
    low: int
    high: int

    @property
    def corners(self) -> tuple[Point, ...]:
        corners = ((x, y) for y in (self.low, self.high) for x in (self.left, self.right))
        return tuple(dict.fromkeys(corners))

    @property
    def size(self) -> int:
        return max(self.right - self.left, self.high - self.low)

    @property
    def middle(self) -> Point:
        return (self.left + self.right) // 2, (self.low + self.high) // 2

    def halves(self) -> tuple[_Rectangle, _Rectangle]:
        """Cut across the longer side."""
        x, y = self.middle
        if self.right - self.left >= self.high - self.low:
            return _Rectangle(self.left, x, self.low, self.high), _Rectangle(x, self.right, self.low, self.high)
        return _Rectangle(self.left, self.right, self.low, y), _Rectangle(self.left, self.right, y, self.high)

    def holds(self, point: Point) -> bool:
        return self.left <= point[0] <= self.right and self.low <= point[1] <= self.high


def standing(tally: BootVotes) -> Standing:
    """What the boots of a point say together."""
    if tally.bad and tally.good:
        return Standing.FLAKY
    if tally.evidence:
        return Standing.FAILS if tally.bad else Standing.SURVIVES
    return Standing.NOTHING if tally.nothing >= _NOTHING_TWICE else Standing.UNKNOWN


def next_point(grid: AxisGrid, seen: Mapping[Point, BootVotes]) -> AskPoint | None:
    """The point to boot next; None when the line is as fine as the grid, was booted again, and was checked."""
    known = _known(seen)
    leaves = list(_leaves(grid, known))
    missing = sorted(
        ((-leaf.size, corner) for leaf in leaves for corner in leaf.corners if corner not in known),
        key=lambda one: one,
    )
    if missing:
        coarse = any(corner == missing[0][1] for one in _first(grid) for corner in one.corners)
        return AskPoint(missing[0][1], Phase.COARSE if coarse else Phase.LINE)
    for point in _beside_the_line(leaves, known):
        tally = seen.get(point, BootVotes())
        flaky = known[point] is Standing.FLAKY
        if tally.evidence < grid.repeats * (_MOST_REPEATS if flaky else 1) and tally.nothing < grid.repeats + 1:
            return AskPoint(point, Phase.AGAIN)
    unchecked = [leaf for leaf in leaves if leaf.size > 1 and leaf.middle not in known]
    if unchecked:
        return AskPoint(max(unchecked, key=lambda leaf: leaf.size).middle, Phase.CHECK)
    return None


def whole_map(grid: AxisGrid, seen: Mapping[Point, BootVotes]) -> dict[Point, Standing]:
    """Every point of the grid: as it was seen, else as all the corners around it are, else unknown."""
    known = _known(seen)
    found = {(x, y): Standing.UNKNOWN for y in range(grid.rows) for x in range(grid.columns)}
    for leaf in _leaves(grid, known):
        inside = {known.get(corner, Standing.UNKNOWN) for corner in leaf.corners}
        if len(inside) == 1:
            alike = next(iter(inside))
            for y in range(leaf.low, leaf.high + 1):
                found.update(((x, y), alike) for x in range(leaf.left, leaf.right + 1))
    return {**found, **known}


def is_rising(maps: Sequence[Mapping[Point, Standing]]) -> bool:
    """Whether a larger x is easier: by which side of each pair of neighbours in a row survives."""
    votes = 0
    for one in maps:
        for (x, y), here in one.items():
            beside = one.get((x + 1, y))
            if {here, beside} == {Standing.SURVIVES, Standing.FAILS}:
                votes += 1 if beside is Standing.SURVIVES else -1
    return votes >= 0


def needs(grid: AxisGrid, whole: Mapping[Point, Standing], rising: bool) -> tuple[Need, ...]:
    """From where on each row survives, in the direction in which it gets easier."""
    order = list(range(grid.columns)) if rising else list(reversed(range(grid.columns)))
    return tuple(_need(row, order, [whole[x, row] for x in order]) for row in range(grid.rows))


def _need(row: int, order: Sequence[int], line: Sequence[Standing]) -> Need:
    first = len(line)
    while first and line[first - 1] is Standing.SURVIVES:
        first -= 1
    if first == len(line):
        return Need(row, None, known=line[-1] is not Standing.UNKNOWN)
    return Need(row, order[first], not first, not first or line[first - 1] is not Standing.UNKNOWN)


def holes(grid: AxisGrid, whole: Mapping[Point, Standing], rising: bool) -> tuple[Point, ...]:
    """Points that survive though one that should be easier, in the same row, fails."""
    found = []
    for row in range(grid.rows):
        order = list(range(grid.columns)) if rising else list(reversed(range(grid.columns)))
        failing = [place for place, x in enumerate(order) if whole[x, row] is Standing.FAILS]
        last = failing[-1] if failing else -1
        found += [(x, row) for place, x in enumerate(order) if place < last and whole[x, row] is Standing.SURVIVES]
    return tuple(found)


def sentence(x: Axis, y: Axis, rising: bool, base: Sequence[Need], tip: Sequence[Need]) -> tuple[str, bool]:
    """What matters most between two kernels, and whether the tip is anywhere worse."""
    columns = len(x.values)
    pairs = [(before, after) for before, after in zip(base, tip, strict=True) if before.known and after.known]
    if not pairs:
        return "too little was booted to compare the two kernels", False
    worse = [(b, a) for b, a in pairs if _cost(a, columns, rising) > _cost(b, columns, rising)]
    better = [(b, a) for b, a in pairs if _cost(a, columns, rising) < _cost(b, columns, rising)]
    chosen = worse or better
    if not chosen:
        if all(one.place is None for pair in pairs for one in pair):
            return f"neither kernel survives anywhere between {x.at(0)} and {x.at(columns - 1)}", False
        return "both kernels need the same in every row", False
    names = ("the base", "the patched kernel")
    before, after = max(
        chosen, key=lambda pair: abs(_cost(pair[0], columns, rising) - _cost(pair[1], columns, rising))
    )
    winner, loser = (before, after) if worse else (after, before)
    who, other = names if worse else reversed(names)
    assert winner.place is not None
    place = f"{who} survives {'at' if rising else 'up to'} {x.at(winner.place)} with {y.at(winner.row)}"
    if loser.place is None:
        limit = x.at(columns - 1 if rising else 0)
        return f"{place} where {other} fails {'even at' if rising else 'even down to'} {limit}", bool(worse)
    verb = "needs" if rising else "survives up to"
    return f"{place} where {other} {verb} {x.labels[loser.place]}", bool(worse)


def so_far(x: Axis, y: Axis, rising: bool, base: Mapping[Point, Standing], tip: Mapping[Point, Standing]) -> str:
    """The same of a line that is not known yet: one point where the tip survives, and an easier one of the same row
    where the base fails; empty where no two are like that.
    """
    order = list(range(len(x.values))) if rising else list(reversed(range(len(x.values))))
    found = []
    for row in range(len(y.values)):
        lives = [place for place, at in enumerate(order) if tip[at, row] is Standing.SURVIVES]
        dies = [place for place, at in enumerate(order) if base[at, row] is Standing.FAILS]
        if lives and dies and dies[-1] >= lives[0]:
            found.append((dies[-1] - lives[0], -row, order[lives[0]], order[dies[-1]]))
    if not found:
        return ""
    _, row, lives_at, dies_at = max(found)
    return (
        f"so far: the patched kernel survives at {x.at(lives_at)} with {y.at(-row)} where the base fails at "
        f"{x.labels[dies_at]}"
    )


def _cost(need: Need, columns: int, rising: bool) -> int:
    """How far along the row it is until it survives: `columns` for never."""
    if need.place is None:
        return columns
    return need.place if rising else columns - 1 - need.place


def _known(seen: Mapping[Point, BootVotes]) -> dict[Point, Standing]:
    found = {point: standing(tally) for point, tally in seen.items()}
    return {point: one for point, one in found.items() if one is not Standing.UNKNOWN}


def _first(grid: AxisGrid) -> Iterator[_Rectangle]:
    for low, high in _cuts(grid.rows):
        for left, right in _cuts(grid.columns):
            yield _Rectangle(left, right, low, high)


def _cuts(count: int) -> list[tuple[int, int]]:
    """An axis in a few parts: the places where each begins and ends, which is where the next one begins."""
    if count == 1:
        return [(0, 0)]
    step = max(1, ceil((count - 1) / _FIRST_CUTS))
    return list(pairwise([*range(0, count - 1, step), count - 1]))


def _leaves(grid: AxisGrid, known: Mapping[Point, Standing]) -> Iterator[_Rectangle]:
    for rectangle in _first(grid):
        yield from _cut(rectangle, {point: one for point, one in known.items() if rectangle.holds(point)})


def _cut(rectangle: _Rectangle, known: Mapping[Point, Standing]) -> Iterator[_Rectangle]:
    """The rectangle, or its halves where its points differ; not before all its corners are known."""
    ready = all(corner in known for corner in rectangle.corners)
    if rectangle.size <= 1 or not ready or len({_side(one) for one in known.values()}) == 1:
        yield rectangle
        return
    for half in rectangle.halves():
        yield from _cut(half, {point: one for point, one in known.items() if half.holds(point)})


def _side(one: Standing) -> int:
    """On which side of the line; where a guest does not even start is no other side than where it fails."""
    return {Standing.SURVIVES: 0, Standing.FLAKY: 1}.get(one, 2)


def _beside_the_line(leaves: Sequence[_Rectangle], known: Mapping[Point, Standing]) -> list[Point]:
    """The corners of the cells that the line goes through; flaky ones first."""
    found: dict[Point, None] = {}
    for leaf in leaves:
        if leaf.size <= 1 and len({_side(known[corner]) for corner in leaf.corners}) > 1:
            found.update(dict.fromkeys(leaf.corners))
    return sorted(found, key=lambda point: (known[point] is not Standing.FLAKY, point))
