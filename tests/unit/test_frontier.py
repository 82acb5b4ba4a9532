# SPDX-License-Identifier: GPL-2.0-only
"""The search for the line where something begins to fail, against regions that are made up."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.judge.frontier import (
    AxisGrid,
    Phase,
    Point,
    holes,
    is_rising,
    needs,
    next_point,
    sentence,
    so_far,
    whole_map,
)
from harness.model.frontier import Axis, Need, Standing
from harness.model.search import Answer, BootVotes, Sight

Oracle = Callable[[Point], Answer]
GRID = AxisGrid(16, 9, repeats=2)
RAM = Axis("ram", tuple(range(16)), tuple(f"{32 * (one + 1)}M" for one in range(16)))
SWAP = Axis("swap", tuple(range(9)), tuple(f"{64 * one}M" for one in range(9)), "disk")


def where(bad: Callable[[int, int], bool]) -> Oracle:
    return lambda point: Answer.BAD if bad(*point) else Answer.GOOD


def boots(grid: AxisGrid, oracle: Oracle, most: int = 10_000) -> tuple[dict[Point, BootVotes], list[Phase]]:
    sights: dict[Point, list[Sight]] = {}
    phases: list[Phase] = []
    while len(phases) < most:
        ask = next_point(grid, {point: BootVotes.of(of) for point, of in sights.items()})
        if ask is None:
            break
        x, y = ask.point
        assert 0 <= x < grid.columns
        assert 0 <= y < grid.rows
        phases.append(ask.phase)
        sights.setdefault(ask.point, []).append(Sight(oracle(ask.point)))
        assert len(phases) < 8 * grid.columns * grid.rows, "it does not end"
    return {point: BootVotes.of(of) for point, of in sights.items()}, phases


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(0, 16), min_size=9, max_size=9))
def test_a_monotone_line_is_found_exactly(steps: list[int]) -> None:
    line = sorted(steps, reverse=True)  # the more swap, the less RAM is needed
    seen, _ = boots(GRID, where(lambda x, y: x < line[y]))
    whole = whole_map(GRID, seen)
    for (x, y), one in whole.items():
        assert one is (Standing.FAILS if x < line[y] else Standing.SURVIVES), (x, y)


def test_most_of_the_grid_is_never_booted() -> None:
    grid = AxisGrid(40, 21, repeats=1)
    seen, _ = boots(grid, where(lambda x, y: x + y < 25))
    assert len(seen) < 40 * 21 // 3


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.2, 0.8))
def test_any_region_at_all_ends_and_what_was_seen_stands(seed: int, share: float) -> None:
    chance, grid = random.Random(seed), AxisGrid(9, 5)
    bad = {(x, y) for x in range(9) for y in range(5) if chance.random() < share}
    seen, _ = boots(grid, where(lambda x, y: (x, y) in bad))
    whole = whole_map(grid, seen)
    assert all(whole[point] is (Standing.FAILS if point in bad else Standing.SURVIVES) for point in seen)


def test_an_island_in_the_middle_of_a_rectangle_is_seen() -> None:
    """All corners of the first cuts survive: only a boot in between shows that not all of it does."""
    seen, phases = boots(GRID, where(lambda x, y: (5 <= x <= 7) and (y == 1)))
    whole = whole_map(GRID, seen)
    assert Phase.CHECK in phases
    assert {x for x in range(16) if whole[x, 1] is Standing.FAILS} == {5, 6, 7}
    assert holes(GRID, whole, True) == tuple((x, 1) for x in range(5))


def test_coarse_comes_before_the_line_and_checks_come_last() -> None:
    _, phases = boots(GRID, where(lambda x, y: x < 7))
    assert phases == sorted(phases)
    assert set(phases) == set(Phase)


def test_beside_the_line_boots_are_repeated_and_elsewhere_not() -> None:
    seen, _ = boots(GRID, where(lambda x, y: x < 7))
    assert all(seen[x, y].evidence == 2 for x in (6, 7) for y in range(9) if (x, y) in seen)
    assert {tally.evidence for (x, _), tally in seen.items() if abs(x - 6.5) > 1} == {1}


def test_what_is_flaky_is_n_of_m() -> None:
    counts = Counter[Point]()

    def oracle(point: Point) -> Answer:
        counts[point] += 1
        if point[0] == 6:
            return Answer.BAD if counts[point] % 2 else Answer.GOOD
        return Answer.BAD if point[0] < 6 else Answer.GOOD

    seen, _ = boots(GRID, oracle)
    whole = whole_map(GRID, seen)
    assert {seen[point].evidence for point in seen if point[0] == 6} == {4}
    assert {whole[6, y] for y in range(9)} >= {Standing.FLAKY}
    assert {one.place for one in needs(GRID, whole, True)} == {7}


def test_where_a_guest_does_not_start_is_no_evidence() -> None:
    def oracle(point: Point) -> Answer:
        return Answer.NOTHING if point[0] < 2 else Answer.BAD if point[0] < 5 else Answer.GOOD

    seen, _ = boots(GRID, oracle)
    whole = whole_map(GRID, seen)
    assert whole[0, 0] is Standing.NOTHING
    assert {one.place for one in needs(GRID, whole, True)} == {5}
    assert seen[0, 0] == BootVotes(nothing=2)


def test_a_time_that_ends_leaves_a_coarse_line() -> None:
    seen, _ = boots(GRID, where(lambda x, y: x < 7), most=18)
    found = needs(GRID, whole_map(GRID, seen), True)
    assert not all(one.known for one in found)
    assert all(one.place is not None and one.place >= 7 for one in found if one.known)


@pytest.mark.parametrize(("columns", "rows"), [(1, 1), (1, 7), (7, 1), (2, 2)])
def test_small_grids(columns: int, rows: int) -> None:
    grid = AxisGrid(columns, rows)
    seen, _ = boots(grid, where(lambda x, y: x + y < 1))
    whole = whole_map(grid, seen)
    assert whole[0, 0] is Standing.FAILS
    assert sum(one is Standing.FAILS for one in whole.values()) == 1


def test_the_direction_is_seen_and_not_assumed() -> None:
    for bad, rising in ((lambda x, y: x < 5, True), (lambda x, y: x > 5, False)):
        whole = whole_map(GRID, boots(GRID, where(bad))[0])
        assert is_rising([whole]) is rising
        assert {one.place for one in needs(GRID, whole, rising)} == {5}


def line(*places: int | None) -> tuple[Need, ...]:
    return tuple(Need(row, place, place == 0) for row, place in enumerate(places))


def test_the_sentence() -> None:
    base, tip = line(13, 13, 13), line(11, 9, 5)
    assert sentence(RAM, SWAP, True, base, tip) == (
        "the patched kernel survives at 192M of RAM with 128M of swap where the base needs 448M",
        False,
    )
    assert sentence(RAM, SWAP, True, line(None, 3, 3), line(4, 3, 3))[0] == (
        "the patched kernel survives at 160M of RAM with no swap where the base fails even at 512M of RAM"
    )


def test_the_sentence_of_what_is_worse_is_a_finding() -> None:
    words, worse = sentence(RAM, SWAP, True, line(2, 2), line(1, 9))
    assert worse
    assert words == "the base survives at 96M of RAM with 64M of swap where the patched kernel needs 320M"


def test_the_sentence_where_there_is_no_difference() -> None:
    assert sentence(RAM, SWAP, True, line(2, 2), line(2, 2)) == ("both kernels need the same in every row", False)
    assert "neither" in sentence(RAM, SWAP, True, line(None), line(None))[0]
    gap = (Need(0, 3, known=False),)
    assert "too little" in sentence(RAM, SWAP, True, gap, gap)[0]


def test_the_sentence_of_a_line_that_is_not_known_yet() -> None:
    base, tip = (dict.fromkeys(((x, y) for x in range(16) for y in range(9)), Standing.UNKNOWN) for _ in range(2))
    assert so_far(RAM, SWAP, True, base, tip) == ""
    base |= {(3, 2): Standing.FAILS, (5, 2): Standing.FAILS}
    tip |= {(3, 2): Standing.SURVIVES, (9, 4): Standing.SURVIVES}
    assert so_far(RAM, SWAP, True, base, tip) == (
        "so far: the patched kernel survives at 128M of RAM with 128M of swap where the base fails at 192M"
    )


def test_the_sentence_of_an_axis_that_gets_harder() -> None:
    total = Axis("total", (50, 100, 150), ("50%", "100%", "150%"))
    words, worse = sentence(total, SWAP, False, line(0), line(1))
    assert (words, worse) == (
        "the patched kernel survives up to total=100% with no swap where the base survives up to 50%",
        False,
    )
