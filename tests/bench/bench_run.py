# SPDX-License-Identifier: GPL-2.0-only
"""The harness beside plain tools for the same work, as ratios in one run: `make bench`.

Cold: `ttm-harness run` with nothing built, over plain `make` plus plain `vng --exec` (ccache off in both, the source
unpacked in both). Warm: the same again with nothing changed, over plain `vng --exec` of the same modules.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.checkout import data_directory
from harness.inputs.resolve import resolve
from harness.kernel.build import find
from harness.kernel.fragments import read_profile
from harness.model.build import Build
from harness.model.tree import SourceSpec
from harness.proc import Deadline
from harness.store.layout import Layout
from tests.functional.conftest import Quiet

PROFILE = os.environ.get("TTM_BENCH_PROFILE", "tiny")
SUITES = {"tiny": "kunit-self", "lean": "ttm-kunit,xe-kunit"}[PROFILE]
MODULES = {
    "tiny": ["kunit-test", "kunit-example-test"],
    "lean": [
        *("ttm_device_test", "ttm_pool_test", "ttm_resource_test", "ttm_tt_test", "ttm_bo_test"),
        *("ttm_bo_validate_test", "xe_test"),
    ],
}[PROFILE]
ROUNDS = 5


def seconds(argv: list[str], env: dict[str, str] | None = None, cwd: Path | None = None) -> float:
    began = time.monotonic()
    subprocess.run(
        argv,
        env={**os.environ, **(env or {})},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
        timeout=7200,
    )
    return time.monotonic() - began


def harness_run(store: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "harness", "run", "--profile", PROFILE, "--suite", SUITES, "--accel", "tcg"),
        *("--source", "debian", "--json"),
    ]


def plain_vng(build: Build, image: Path, modules: Path) -> list[str]:
    """What a kernel developer types today: the host's root, vng's own init, a script of modprobes."""
    script = " && ".join(f"modprobe -d {modules} {module}" for module in MODULES)
    return [
        *("vng", "--run", str(image), "--disable-kvm", "--disable-microvm", "--force-9p", "--memory", "256M"),
        *("--cpus", "2", "--user", "root", "--exec", script),
    ]


@pytest.fixture(scope="module")
def built(layout: Layout) -> Build:
    """The kernel of the user's store, made when it is not there."""
    tree = resolve(SourceSpec.parse("debian"), layout, Deadline(1800), Quiet())
    profile = read_profile(PROFILE, data_directory("kernel-configs"))
    seconds(harness_run(layout.root))
    build = find(tree, profile, layout, Deadline(60))
    assert build is not None
    return build


def test_warm_run_over_plain_vng(built: Build, layout: Layout) -> None:
    plain = plain_vng(built, built.image, built.path / "modules")
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(seconds(harness_run(layout.root)))
        theirs.append(seconds(plain))
    ours.sort()
    theirs.sort()
    mine, peer = ours[ROUNDS // 2], theirs[ROUNDS // 2]
    print(
        f"\nwarm run, profile {PROFILE}: {mine:.2f} s; plain vng: {peer:.2f} s; ratio {mine / peer:.2f} (median of 5)"
    )


def test_cold_run_over_plain_make_and_vng(built: Build, layout: Layout, tmp_path: Path) -> None:
    cold = tmp_path / "store"
    (cold / "sources").mkdir(parents=True)
    for path in layout.sources.iterdir():
        if path.name.startswith("debian-"):
            subprocess.run(["cp", "-al", str(path), str(cold / "sources" / path.name)], check=True)
    for name in ("downloads",):
        if (layout.root / name).is_dir():
            shutil.copytree(layout.root / name, cold / name, symlinks=True)
    no_ccache = {"CCACHE_DISABLE": "1", "TTM_HARNESS_STORE": str(cold)}
    mine = seconds(harness_run(cold), no_ccache)

    objects = tmp_path / "plain"
    objects.mkdir()
    shutil.copy(built.config_path, objects / ".config")
    make = ["make", "-C", str(built.tree.path), f"O={objects}", f"-j{os.cpu_count()}"]
    peer = seconds([*make, "olddefconfig"], no_ccache)
    peer += seconds(["nice", *make, "bzImage", "modules"], no_ccache)
    modules = tmp_path / "modules"
    peer += seconds([*make, "modules_install", f"INSTALL_MOD_PATH={modules}", "INSTALL_MOD_STRIP=1"], no_ccache)
    peer += seconds(plain_vng(built, objects / "arch/x86/boot/bzImage", modules))
    print(f"\ncold run, profile {PROFILE}: {mine:.0f} s; plain make + vng: {peer:.0f} s; ratio {mine / peer:.3f}")
