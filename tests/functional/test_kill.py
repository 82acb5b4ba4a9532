# SPDX-License-Identifier: GPL-2.0-only
"""Kill -9 at any moment: nothing goes on running, and the next command uses the store as it is."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from harness.kernel.make import find_cache
from harness.model.build import Build
from harness.store.layout import Layout
from tests.conftest import in_store

RUN = ("run", "--profile", "tiny", "--suite", "kunit-self", "--accel", "tcg", "--ram", "128M", "--quiet")


def processes_of(store: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            if str(store) in words:
                found.append(words[:120])
    return found


def test_ten_kills_at_random_moments(tiny: Build, layout: Layout, tmp_path: Path) -> None:
    # The source is shared by hard links, so that the kills fall on configuring, building and booting.
    store = tmp_path / "store"
    (store / "sources").mkdir(parents=True)
    place = next(path for path in layout.sources.iterdir() if tiny.tree.path.is_relative_to(path))
    subprocess.run(["cp", "-al", str(place), str(store / "sources" / place.name)], check=True)
    for path in (layout.downloads, find_cache(layout.root)):
        if path is not None and path.is_dir():
            subprocess.run(["cp", "-a", str(path), str(store / path.name)], check=True)
    argv = [sys.executable, "-m", "harness", *RUN]
    env = in_store(store)
    chance = random.Random(20261120)
    for _ in range(10):
        command = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.3, 15.0))
        command.send_signal(signal.SIGKILL)
        command.wait(10)
        limit = time.monotonic() + 10
        while processes_of(store) and time.monotonic() < limit:
            time.sleep(0.1)
        assert processes_of(store) == []
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
