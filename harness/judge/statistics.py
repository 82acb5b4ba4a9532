# SPDX-License-Identifier: GPL-2.0-only
"""Few repeats of noisy figures -> what may be said of them. The tests are exact: they assume nothing of the noise.

Mann-Whitney's U for figures (Mann and Whitney 1947), Fisher's exact test for n of m, Benjamini and Hochberg's step-up
(1995) for many questions at once. Pure.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from math import comb, erfc, sqrt
from statistics import median, quantiles

from harness.model.compare import Sample

# Up to so many values on both sides together the test is exact: C(64, 32) still fits into 64 bits.
MOST_EXACT = 64
_WORD = 64


def summary(values: Sequence[float]) -> Sample:
    """The five numbers of a sample that has at least one value; quartiles include the ends."""
    if len(values) == 1:
        return Sample(1, values[0], values[0], values[0], values[0], values[0])
    lower, _, upper = quantiles(values, n=4, method="inclusive")
    return Sample(len(values), min(values), lower, median(values), upper, max(values))


def mann_whitney(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    """Two samples with at least one value each -> (two-sided p, Cliff's delta).

    p: how often chance alone would set the ranks at least as far apart, ties counted as they are. Delta: how much
    more often a value of `after` is above one of `before` than below it, from -1 to 1.
    """
    ranks = _doubled_ranks([*before, *after])
    size, whole = len(after), len(ranks)
    after_sum = sum(ranks[len(before) :])
    expected = size * (whole + 1)  # of the doubled sum
    delta = (after_sum - expected) / (len(before) * size)
    off = abs(after_sum - expected)
    if whole <= MOST_EXACT:
        ways = _rank_sums(tuple(sorted(ranks)), size)
        extreme = sum(count for total, count in enumerate(ways) if abs(total - expected) >= off)
        return extreme / comb(whole, size), delta
    return _normal_tail(ranks, len(before), size, off), delta


def fisher(bad_before: int, before: int, bad_after: int, after: int) -> float:
    """Two-sided p of Fisher's exact test: `bad_before` of `before` against `bad_after` of `after`."""
    bad = bad_before + bad_after
    seen = comb(before, bad_before) * comb(after, bad_after)
    ways = (comb(before, some) * comb(after, bad - some) for some in range(max(0, bad - after), min(bad, before) + 1))
    return sum(one for one in ways if one <= seen) / comb(before + after, bad)


def adjusted(chances: Sequence[float]) -> list[float]:
    """p-values of one family -> those that keep the share of false discoveries below the level they are held to."""
    order = sorted(range(len(chances)), key=chances.__getitem__, reverse=True)
    found, least = [1.0] * len(chances), 1.0
    for place, index in enumerate(order):
        least = min(least, chances[index] * len(chances) / (len(chances) - place))
        found[index] = least
    return found


def least_chance(before: int, after: int) -> float:
    """The smallest p that so many values can give at all: every value of one side above all of the other."""
    return min(1.0, 2 / comb(before + after, before)) if before and after else 1.0


def boots_needed(level: float, questions: int = 1) -> int:
    """How many boots a side must have before one figure alone, among `questions`, can be called changed."""
    boots = 1
    while least_chance(boots, boots) * questions > level:
        boots += 1
    return boots


def _doubled_ranks(values: Sequence[float]) -> list[int]:
    """Twice the rank of each value, from 1 on: equal values share the mean of their ranks, which may be a half."""
    ranks: dict[float, int] = {}
    done = 0
    for value, same in groupby(sorted(values)):
        count = sum(1 for _ in same)
        ranks[value] = 2 * done + count + 1
        done += count
    return [ranks[value] for value in values]


@lru_cache(maxsize=512)
def _rank_sums(ranks: tuple[int, ...], size: int) -> tuple[int, ...]:
    """For every sum, from 0 on, the number of ways to take `size` of the ranks that come to it.

    A long integer holds one 64-bit word for each sum, so that a rank is added to all of them by one shift.
    """
    ways = [1] + [0] * size
    for rank in ranks:
        for taken in range(size, 0, -1):
            ways[taken] += ways[taken - 1] << (_WORD * rank)
    sums = sum(ranks) + 1
    return struct.unpack(f"<{sums}Q", ways[size].to_bytes(sums * _WORD // 8, "little"))


def _normal_tail(ranks: Sequence[int], before: int, after: int, off: int) -> float:
    """The same p for large samples, by the normal approximation with its corrections for ties and for steps."""
    whole = before + after
    ties = sum(count**3 - count for count in Counter(ranks).values())
    variance = before * after / 12 * (whole + 1 - ties / (whole * (whole - 1)))
    if variance <= 0:
        return 1.0
    return min(1.0, erfc(max(0.0, off / 2 - 0.5) / sqrt(2 * variance)))
