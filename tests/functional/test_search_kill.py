# SPDX-License-Identifier: GPL-2.0-only
"""A search that is killed at any moment goes on, and makes no boot twice."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from harness.model.build import Build
from harness.store.journal import Step, read_journal
from harness.store.layout import Layout
from tests.conftest import in_store
from tests.functional.test_kill import processes_of
from tests.functional.test_plan import plan as plan  # the store that it makes is this test's

AXES = ("--x", "ram=96M..160M/32M", "--y", "cpus=1..2")
WORDS = ("frontier", "--profile", "tiny", "--suite", "kunit-self", "--swap", "none", "--accel", "tcg", *AXES)
POINTS = 6


def finished(store: Path) -> Counter[str]:
    """How often the boot of each cell was made, over all runs."""
    runs = [path for path in (store / "runs").glob("*") if path.is_dir()]
    entries = [entry for path in runs for entry in read_journal(path)]
    return Counter(entry.key for entry in entries if entry.step is Step.FINISHED and not entry.kept_from)


def test_kills_at_random_moments(tiny: Build, layout: Layout, plan: Path) -> None:
    store = plan.parent / "store"
    argv = [sys.executable, "-m", "harness", *WORDS, "--repeat", "1", "--quiet", "--as", "json"]
    env = {**in_store(store), "TTM_HARNESS_RUNS": "runs"}
    chance = random.Random(20261130)
    for _ in range(6):
        command = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(2.0, 15.0))
        command.send_signal(signal.SIGKILL)
        command.wait(10)
        limit = time.monotonic() + 10
        while processes_of(store) and time.monotonic() < limit:
            time.sleep(0.1)
        assert processes_of(store) == []
    there = finished(store)
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    output = json.loads(done.stdout)
    assert output["finished"]
    assert output["sentences"] == ["it survives everywhere"]
    assert output["kept"] == len(there)
    assert output["kept"] + output["boots"] == POINTS
    assert set(finished(store).values()) == {1}
