# SPDX-License-Identifier: GPL-2.0-only
"""What a fleet costs: a boot on a worker beside one here, and how well four workers are used.

Guests stand in for QEMU: they say what a guest says, and doze. BENCH_BOOTS (200) and BENCH_SECONDS (4) change what is
measured. Other work on the host makes every time worse, so processor seconds are printed beside them: of who asks,
and of all, the fleet's start and the guests among it. What is lost when processes are killed: tests/attack/fleet.py.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

import pytest

from harness.fleet.clusters import fleet
from harness.flow.run import RunOptions, execute
from tests.attack.fleet import asked, ground_in
from tests.unit.stand_in.cells import good

WORKERS = 4
BOOTS = int(os.environ.get("BENCH_BOOTS", "200"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "4"))

pytestmark = pytest.mark.timeout(3600)


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds from the first boot to the report; of processor, of who asks, and of all with the fleet's start."""

    wall: float
    asker: float
    whole: float


def processor() -> float:
    """Seconds of this process and of all that it has waited for."""
    used = (getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def cost(place: Path, monkeypatch: pytest.MonkeyPatch, where: str, boots: int, parallel: int | None) -> Cost:
    """That of so many boots there; here, where no place is named."""
    ground = ground_in(place, monkeypatch)
    ground.plays(*[(("doze", SECONDS), *good())] * boots)
    whole = processor()
    with ExitStack() as stack:
        hosts = stack.enter_context(fleet(where, ground.layout, ground.told)) if where else None
        began, used = time.monotonic(), time.process_time()
        report, _ = execute(asked(boots), ground.layout, ground.told, RunOptions(parallel=parallel, hosts=hosts))
        assert len(report.runs) == boots
        wall, asker = time.monotonic() - began, time.process_time() - used
    made = Cost(wall, asker, processor() - whole)
    print(
        f"\n{where or 'here'}: {boots} boots in {wall:.1f} s; of processor {made.asker / boots:.3f} s a boot of who "
        f"asks, {made.whole / boots:.3f} s of all; load {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores"
    )
    return made


def test_what_a_boot_costs_more_and_what_four_workers_gain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = max(4, BOOTS // 20)
    local = cost(tmp_path / "a", monkeypatch, "", few, 1).wall / few
    single = cost(tmp_path / "b", monkeypatch, "local:1", few, 1).wall / few
    whole = cost(tmp_path / "c", monkeypatch, f"local:{WORKERS}", BOOTS, None).wall
    doze, ideal = BOOTS * SECONDS / WORKERS, BOOTS * local / WORKERS
    print(
        f"\na boot: {local:.2f} s here, {single:.2f} s on a worker: {single - local:+.2f} s; {BOOTS} boots on "
        f"{WORKERS} workers: {whole:.1f} s, ideal {ideal:.1f} s, efficiency {ideal / whole:.0%}; of what guests doze "
        f"alone {doze / whole:.0%}"
    )
