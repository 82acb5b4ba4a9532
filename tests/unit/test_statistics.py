# SPDX-License-Identifier: GPL-2.0-only
"""The arithmetic of comparisons, against what counting by hand and published tables give."""

from __future__ import annotations

from itertools import combinations
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.judge import statistics
from harness.judge.statistics import (
    MOST_EXACT,
    adjusted,
    boots_needed,
    fisher,
    least_chance,
    mann_whitney,
    summary,
)

small = st.lists(st.integers(0, 5).map(float), min_size=1, max_size=5)


def by_hand(before: list[float], after: list[float]) -> float:
    """The permutation test on rank sums by trying every split."""
    values = before + after
    rank = {one: sum(v < one for v in values) + (sum(v == one for v in values) + 1) / 2 for one in values}
    middle = len(after) * (len(values) + 1) / 2
    off = abs(sum(rank[one] for one in after) - middle)
    splits = list(combinations([rank[one] for one in values], len(after)))
    return sum(abs(sum(split) - middle) >= off for split in splits) / len(splits)


@given(small, small)
def test_the_exact_test_is_the_count_of_all_splits(before: list[float], after: list[float]) -> None:
    assert mann_whitney(before, after)[0] == pytest.approx(by_hand(before, after))


@given(small, small)
def test_sides_can_be_exchanged(before: list[float], after: list[float]) -> None:
    p, delta = mann_whitney(before, after)
    back, other = mann_whitney(after, before)
    assert p == pytest.approx(back)
    assert delta == pytest.approx(-other)
    assert 0 < p <= 1
    assert -1 <= delta <= 1


def test_published_values() -> None:
    # All of one side above the other: 2/C(8,4), 2/C(10,5); critical U = 2 at 5 against 5, two-sided 5 %.
    p, delta = mann_whitney([1, 2, 3, 4], [5, 6, 7, 8])
    assert p == pytest.approx(2 / 70)
    assert delta == 1
    assert mann_whitney([1, 2, 3, 4, 7], [5, 6, 8, 9, 10])[0] == pytest.approx(0.0317, abs=1e-4)
    assert mann_whitney([1, 2, 3, 6, 7], [4, 5, 8, 9, 10])[0] > 0.05


def test_equal_values_say_nothing() -> None:
    assert mann_whitney([3.0] * 5, [3.0] * 5) == (1.0, 0.0)
    assert mann_whitney([3.0] * 50, [3.0] * 50) == (1.0, 0.0)


@pytest.mark.parametrize("gap", [1.5, 3.5, 5.5])
def test_the_approximation_meets_the_exact_test(gap: float, monkeypatch: pytest.MonkeyPatch) -> None:
    half = MOST_EXACT // 2
    before, after = [float(n) for n in range(half)], [n + gap for n in range(half)]
    exact = mann_whitney(before, after)[0]
    monkeypatch.setattr(statistics, "MOST_EXACT", 0)
    assert mann_whitney(before, after)[0] == pytest.approx(exact, rel=0.1)
    assert mann_whitney([0.0] * 40, [1.0] * 40)[0] < 1e-9


def test_fisher() -> None:
    assert fisher(3, 4, 1, 4) == pytest.approx(34 / 70)  # the lady tasting tea
    assert fisher(0, 20, 10, 20) == pytest.approx(0.00044, abs=1e-4)
    assert fisher(0, 1, 1, 1) == 1.0
    assert fisher(0, 3, 0, 3) == 1.0
    assert fisher(0, 3, 3, 3) == pytest.approx(2 / comb(6, 3))


def test_many_questions_need_more() -> None:
    assert adjusted([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.5])
    assert adjusted([]) == []
    assert adjusted([0.04] * 3) == pytest.approx([0.04] * 3)


@given(st.lists(st.floats(0, 1), max_size=8))
def test_adjusting_never_makes_anything_surer(chances: list[float]) -> None:
    assert all(now >= then - 1e-12 for now, then in zip(adjusted(chances), chances, strict=True))


def test_how_many_boots_it_takes() -> None:
    assert boots_needed(0.05) == 4
    assert boots_needed(0.05, 200) == 8
    assert least_chance(3, 3) == 0.1
    assert least_chance(0, 3) == 1.0
    assert least_chance(1, 1) == 1.0


def test_five_numbers() -> None:
    found = summary([1.0, 2.0, 3.0, 4.0, 100.0])
    assert (found.least, found.lower, found.median, found.upper, found.most) == (1, 2, 3, 4, 100)
