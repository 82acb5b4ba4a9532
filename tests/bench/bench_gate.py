# SPDX-License-Identifier: GPL-2.0-only
"""What the gate costs, beside plain make for the same sources: `make bench`.

A patch of one file on a built tree: `series gate`, and `run --series` with its boots, over make in a developer's own
built tree with the same change, and a boot of what it made. Seven patches, each of another file: over building base
and tip once, without ccache as a developer's plain make does. The patches are new each time (a number in them), so
that nothing was compiled before.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.checkout import data_directory
from harness.inputs.resolve import resolve
from harness.kernel.build import obtain
from harness.kernel.fragments import read_profile
from harness.kernel.incremental import Seed, plant
from harness.kernel.make import OBJECTS, variables
from harness.model.build import Build
from harness.model.tree import SourceSpec
from harness.proc import Deadline
from harness.store.layout import Layout
from tests.bench.bench_run import plain_vng, seconds
from tests.functional.conftest import Quiet
from tests.mails import patch_mail

SECONDS = 7200
FOLDER = "drivers/gpu/drm/ttm"
FILES = ("ttm_tt", "ttm_bo", "ttm_bo_util", "ttm_device", "ttm_pool", "ttm_resource", "ttm_range_manager")


@pytest.fixture(scope="module")
def base(layout: Layout) -> Build:
    tree = resolve(SourceSpec.parse("debian"), layout, Deadline(SECONDS), Quiet())
    return obtain(tree, read_profile("lean", data_directory("kernel-configs")), layout, Deadline(SECONDS), Quiet())


def edits(tree: Path, name: str) -> dict[str, tuple[str, str]]:
    """A new function at the end of a file; nobody calls it, so that one patch does not depend on another."""
    path = f"{FOLDER}/{name}.c"
    last = (tree / path).read_text().splitlines(keepends=True)[-8:]
    stamp = f"{name}_{time.time_ns()}"
    new = f"\nint {stamp}(void);\nint {stamp}(void)\n{{\n\treturn {len(name)};\n}}\n"
    return {path: ("".join(last), "".join(last) + new)}


def harness(*words: str) -> float:
    return seconds([sys.executable, "-m", "harness", *words, "--source", "debian", "--json"])


def make(objects: Path, *words: str, cache: str) -> list[str]:
    argv = ["make", "-C", str(objects.parent), f"O={objects}", *variables(), f"-j{os.cpu_count()}", *words]
    return [*argv[:1], f"CC={cache}gcc", *argv[1:]]


def test_one_patch_over_make_and_a_boot(base: Build, layout: Layout, tmp_path: Path) -> None:
    mail = tmp_path / "one.mbox"
    change = edits(base.tree.path, FILES[0])
    mail.write_text(patch_mail(base.tree.path, change))
    # A developer's own: a built tree, a change in it.
    own = tmp_path / "own"
    assert plant(
        Seed(base, frozenset()), replace(base.tree, path=own), own, layout.locks / "bench", Deadline(SECONDS)
    )
    subprocess.run(["cp", "-al", f"{base.tree.path}/.", f"{own}/"], check=True)
    shutil.copy(base.config_path, own / OBJECTS / ".config")
    home = {"HOME": str(tmp_path), "CCACHE_DISABLE": "1"}
    argv = make(own / OBJECTS, "bzImage", "modules", cache="ccache ")  # the very command, or all is made again
    seconds(argv, home)
    (path, (old, new)) = next(iter(change.items()))
    text = (own / path).read_text()
    (own / path).unlink()
    (own / path).write_text(text.replace(old, new))
    peer = seconds(argv, home)
    boot = seconds(plain_vng(base), check=False)
    gate = harness("series", "gate", f"mbox:{mail}")
    stamp = edits(base.tree.path, FILES[0])
    mail.write_text(patch_mail(base.tree.path, stamp))
    both = harness("run", "--series", f"mbox:{mail}", "--suite", "ttm-kunit")
    print(
        f"\none patch: make {peer:.1f} s and a boot {boot:.1f} s; series gate {gate:.1f} s, ratio "
        f"{gate / (peer + boot):.2f}; run --series with two boots {both:.1f} s, ratio {both / (peer + boot):.2f}"
    )


def test_seven_patches_over_building_twice(base: Build, tmp_path: Path) -> None:
    mail = tmp_path / "seven.mbox"
    mails = [
        patch_mail(base.tree.path, edits(base.tree.path, name), number=f"{number}/{len(FILES)}", name=name)
        for number, name in enumerate(FILES, 1)
    ]
    mail.write_text("".join(f"From nobody Fri Jan  2 03:04:05 2026\n{text}\n" for text in mails))
    gate = harness("series", "gate", f"mbox:{mail}")
    place = tmp_path / "place"
    (place / OBJECTS).mkdir(parents=True)
    subprocess.run(["cp", "-al", f"{base.tree.path}/.", f"{place}/"], check=True)
    shutil.copy(base.config_path, place / OBJECTS / ".config")
    once = seconds(make(place / OBJECTS, "olddefconfig", cache=""))
    once += seconds(["nice", *make(place / OBJECTS, "bzImage", "modules", cache="")])
    print(
        f"\nseven patches: {gate:.0f} s; plain make builds one kernel in {once:.0f} s; ratio {gate / (2 * once):.2f}"
    )
