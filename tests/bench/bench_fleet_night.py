# SPDX-License-Identifier: GPL-2.0-only
"""A night of 5,000 cells on 20 hosts, simulated: what limits it, and how far from ideal it is.

`around` and `asker` of COSTS are what bench_fleet.py measured; how long boots take, how many guests a host holds and
what a kernel takes are assumed. Boots are given out in their order to whatever host has room, as Dask does;
the one who asks reads and judges one result after the other, as that is Python in one process. Each host
gets a kernel once, over the asker's line.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, replace
from statistics import fmean

HOSTS, CELLS, KERNELS = 20, 5_000, 8


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds, but for `guests` (of a host) and `share` (of the boots that are long). `asker` is its processor's, a
    boot; `around` is what a worker and the way there and back take; `kernel` is what one takes to a host.
    """

    guests: int = 8
    short: float = 30.0  # kunit
    long: float = 170.0  # pressure, xe-fake
    share: float = 0.5
    spread: float = 0.2
    around: float = 0.85
    asker: float = 0.1
    kernel: float = 2.0


COSTS = Costs()


def night(costs: Costs, hosts: int, cells: int, seed: int = 1) -> tuple[float, float, float]:
    """Seconds that it takes; that it would take without overheads or gaps; the asker's share of it at work."""
    chance = random.Random(seed)
    free = [(0.0, host) for host in range(hosts) for _ in range(costs.guests)]
    line = 0.0  # when the asker's line is free
    has: dict[tuple[int, int], float] = {}
    ended: list[float] = []
    work = 0.0
    for cell in range(cells):
        usual = costs.long if chance.random() < costs.share else costs.short
        seconds = max(1.0, chance.gauss(usual, costs.spread * usual))
        at, host = heapq.heappop(free)
        place = (host, cell * KERNELS // cells)
        if place not in has:
            line = max(line, at) + costs.kernel
            has[place] = line
        over = max(at, has[place]) + seconds + costs.around
        heapq.heappush(free, (over, host))
        ended.append(over)
        work += seconds
    judged = 0.0
    for one in sorted(ended):
        judged = max(judged, one) + costs.asker
    return judged, work / (hosts * costs.guests), costs.asker * cells / judged


def test_a_night() -> None:
    for name, costs, hosts in (
        ("by default", COSTS, HOSTS),
        ("no kernel to be sent", replace(COSTS, kernel=0.0), HOSTS),
        ("nothing around a boot", replace(COSTS, around=0.0), HOSTS),
        ("an asker ten times slower", replace(COSTS, asker=10 * COSTS.asker), HOSTS),
        ("a hundred hosts", COSTS, 5 * HOSTS),
    ):
        times = [night(costs, hosts, CELLS, seed) for seed in range(5)]
        took, ideal, busy = (fmean(column) for column in zip(*times, strict=True))
        print(f"\n{name}: {took / 60:.1f} min, ideal {ideal / 60:.1f} min: {ideal / took:.0%}; asker busy {busy:.0%}")
