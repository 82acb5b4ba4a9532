# SPDX-License-Identifier: GPL-2.0-only
"""A matrix of short cells on this host: wall time over the ideal, for several degrees of side by side.

The ideal is the processor time of everything that ran (guests, QEMU, the harness) over the number of cores: what a
scheduler without gaps would take. Other work on the host makes every figure larger. BENCH_CELLS (24) and
BENCH_PARALLEL ("1 2 3 4") change what is measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from harness.flow.resources import cores
from harness.model.build import Build
from tests.functional.conftest import tiny as tiny

_PLAN = """
profile = "tiny"
suites = ["kunit-self"]
repeat = {repeat}
[machine]
ram = ["96M", "128M"]
swap = ["none", "disk:64M"]
accel = "tcg"
"""
_CELLS = 4  # a turn of the plan above


def measure(plan: Path, parallel: int) -> tuple[float, float, float]:
    """Wall seconds of all boots, processor seconds of the whole command, the longest boot in seconds."""
    began = time.monotonic()
    argv = [sys.executable, "-m", "harness", "run", str(plan), "--fresh", "--json", "--parallel", str(parallel)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as command:
        assert command.stdout is not None
        report = json.loads(command.stdout.read())
        _, status, used = os.wait4(command.pid, 0)
        command.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - began
    assert command.returncode == 0, report["reasons"]
    longest = max(stage["seconds"] for run in report["runs"] for stage in run["stages"] if stage["name"] == "boot")
    boots = next(stage["seconds"] for stage in report["stages"] if stage["name"] == "boots")
    assert boots <= wall
    return boots, used.ru_utime + used.ru_stime, longest


def test_wall_time_over_the_ideal(tiny: Build, tmp_path: Path) -> None:
    cells = int(os.environ.get("BENCH_CELLS", "24"))
    plan = tmp_path / "matrix.toml"
    plan.write_text(_PLAN.format(repeat=max(1, cells // _CELLS)))
    print(f"\n{cells} cells, {cores()} cores, load {os.getloadavg()[0]:.1f} before")
    for parallel in map(int, os.environ.get("BENCH_PARALLEL", "1 2 3 4").split()):
        wall, used, longest = measure(plan, parallel)
        ideal = used / cores()
        print(
            f"{parallel} side by side: {wall:.1f} s, ideal {ideal:.1f} s, ratio {wall / ideal:.2f}, "
            f"longest boot {longest:.1f} s, load {os.getloadavg()[0]:.1f}"
        )
