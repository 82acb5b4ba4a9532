# SPDX-License-Identifier: GPL-2.0-only
"""The harness beside plain tools for the same work, as ratios in one run: `make bench`.

Cold: `ttm-harness run` of the profile tiny with nothing built, over plain `make` alone (ccache off in both, the
source unpacked in both; the boot counts for us only, because vng's own init does not run on tiny). Warm: `run` of the
kunit suites on lean with nothing changed, over plain `vng --exec` of the same modules, if that runs them at all;
peer.config has what vng itself wants of the kernel.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from harness.model.build import Build
from harness.model.codec import from_json
from harness.proc import search_path
from harness.store.layout import Layout

COLD = ("tiny", "kunit-self")
# vng's init and its way to run a script want more of a kernel than lean has.
PEER = Path(__file__).with_name("peer.config")
WARM = ("lean", "ttm-kunit,xe-kunit", "--fragment", str(PEER))
MODULES = (
    *("ttm_device_test", "ttm_pool_test", "ttm_resource_test", "ttm_tt_test", "ttm_bo_test"),
    *("ttm_bo_validate_test", "xe_test"),
)
ROUNDS = 5
PATH = os.pathsep.join(search_path())  # vng lies beside this Python


def seconds(argv: list[str], env: dict[str, str] | None = None, check: bool = True) -> float:
    """Wall time. vng's status says nothing (255 with its fallback of the console), so it is not looked at."""
    began = time.monotonic()
    subprocess.run(
        argv,
        env={**os.environ, "PATH": PATH, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=check,
        timeout=7200,
    )
    return time.monotonic() - began


def harness_run(profile: str, suites: str, *more: str) -> list[str]:
    words = ("run", "--profile", profile, "--suite", suites, "--accel", "tcg", "--source", "debian", "--json", *more)
    return [sys.executable, "-m", "harness", *words]


def plain_vng(build: Build) -> list[str]:
    """What a kernel developer types today: the host's root, vng's own init, a script of modprobes."""
    script = "; ".join(f"modprobe -d {build.path / 'modules'} {module}" for module in MODULES)
    return [
        *("vng", "--run", str(build.image), "--disable-kvm", "--disable-microvm", "--force-9p", "--memory", "256M"),
        *("--cpus", "2", "--user", "root", "--exec", script),
    ]


def built(layout: Layout, profile: str, suites: str, *more: str) -> Build:
    """The kernel of the user's store, made when it is not there."""
    said = subprocess.run(harness_run(profile, suites, *more), capture_output=True, check=True, timeout=7200)
    identity = json.loads(said.stdout)["provenance"]["build_id"]
    path = layout.builds / identity[:16]
    build = from_json(Build, (path / "build.json").read_text())
    return replace(build, path=path)


def test_warm_run_over_plain_vng(layout: Layout) -> None:
    plain = plain_vng(built(layout, *WARM))
    ours, theirs = [], []
    said = subprocess.run(
        [plain[0], "-v", *plain[1:]],
        env={**os.environ, "PATH": PATH},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    peer_works = (said.stdout + said.stderr).count(b" ok ") > 100
    for _ in range(ROUNDS):
        ours.append(seconds(harness_run(*WARM)))
        theirs.append(seconds(plain, check=False))
    mine, peer = sorted(ours)[ROUNDS // 2], sorted(theirs)[ROUNDS // 2]
    if peer_works:
        print(f"\nwarm run: {mine:.2f} s; plain vng: {peer:.2f} s; ratio {mine / peer:.2f} (medians of {ROUNDS})")
    else:
        # Its init ended without having run the modules.
        print(f"\nwarm run: {mine:.2f} s; plain vng spends {peer:.2f} s without running the tests: no ratio")


def test_cold_run_over_plain_make(layout: Layout, tmp_path: Path) -> None:
    build = built(layout, *COLD)
    cold = tmp_path / "store"
    (cold / "sources").mkdir(parents=True)
    for path in layout.sources.glob("debian-*"):
        subprocess.run(["cp", "-al", str(path), str(cold / "sources" / path.name)], check=True)
    shutil.copytree(layout.downloads, cold / "downloads", symlinks=True)
    no_ccache = {"CCACHE_DISABLE": "1"}
    mine = seconds(harness_run(*COLD), {**no_ccache, "TTM_HARNESS_STORE": str(cold)})

    objects = tmp_path / "plain"
    objects.mkdir()
    shutil.copy(build.config_path, objects / ".config")
    make = ["make", "-C", str(build.tree.path), f"O={objects}", f"-j{os.cpu_count()}"]
    peer = seconds([*make, "olddefconfig"])
    peer += seconds(["nice", *make, "bzImage", "modules"])
    peer += seconds([*make, "modules_install", f"INSTALL_MOD_PATH={tmp_path / 'modules'}", "INSTALL_MOD_STRIP=1"])
    print(f"\ncold run: {mine:.0f} s; plain make: {peer:.0f} s; ratio {mine / peer:.3f}")
