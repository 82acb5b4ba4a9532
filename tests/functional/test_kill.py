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

from harness.model.build import Build
from harness.store.layout import Layout
from tests.conftest import in_store
from tests.mails import patch_mail

EDIT = ("struct swap_extent {\n", "struct swap_extent {\n\tunsigned long harness_test;\n")
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
    """A series that a hundred objects are made of: kills fall on patching, compiling, linking and booting."""
    store = tmp_path / "store"
    # The source is shared by hard links. What a command could write to is a copy.
    (store / "sources").mkdir(parents=True)
    place = next(path for path in layout.sources.iterdir() if tiny.tree.path.is_relative_to(path))
    subprocess.run(["cp", "-al", str(place), str(store / "sources" / place.name)], check=True)
    for path in (layout.downloads, tiny.path, tiny.objects.parent):
        copy = store / path.relative_to(layout.root)
        copy.parent.mkdir(exist_ok=True)
        subprocess.run(["cp", "-a", str(path), str(copy)], check=True)
    mbox = tmp_path / "one.mbox"
    mbox.write_text(patch_mail(tiny.tree.path, {"include/linux/swap.h": EDIT}))
    argv = [sys.executable, "-m", "harness", *RUN, "--series", f"mbox:{mbox}", "--no-gate"]
    env = in_store(store)
    chance = random.Random(20261120)
    for _ in range(10):
        command = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.3, 20.0))
        command.send_signal(signal.SIGKILL)
        command.wait(10)
        limit = time.monotonic() + 10
        while processes_of(store) and time.monotonic() < limit:
            time.sleep(0.1)
        assert processes_of(store) == []
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
