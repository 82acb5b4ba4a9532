# SPDX-License-Identifier: GPL-2.0-only
"""The suite drm-shmem on real kernels: green where nothing is broken, red where something is."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.kernel.test_run import RUN_SECONDS, executed, ttm_harness

# Some of the kinds of object or call that is broken, and one that breaks nothing.
CAUGHT = ("01-purge-stays-mapped", "09-madvise-revives", "14-vmap-does-not-pin", "22-failed-table-keeps-pages")
NEUTRAL = "32-neutral-madvise"
CASES = "madvise_states,purgeable_conditions,fail_get"  # which notice them


@pytest.mark.parametrize(("source", "swap", "least"), [("debian", "disk:1G", 41), ("debian:6.12", "none", 39)])
def test_an_unbroken_kernel_is_green(source: str, swap: str, least: int) -> None:
    report = ttm_harness("run", "--source", source, "--suite", "drm-shmem", "--swap", swap)
    assert report["verdict"] == "good", report["reasons"]
    assert executed(report, "drm-shmem") >= least - (4 if source == "debian:6.12" else 0)
    metrics = {metric["name"]: metric["value"] for metric in report["runs"][0]["metrics"]}
    assert metrics["oom_kill"] == 0
    assert metrics["stat.purged_pages"] > 20_000
    if swap != "none":
        assert metrics["pswpout"] > 5_000


def test_a_broken_check_turns_its_case_red() -> None:
    report = ttm_harness("run", "--suite", "drm-shmem-checks", "--case", "counts,purge_frees,map_purged")
    assert report["verdict"] == "good", report["reasons"]
    for case in ("counts", "purge_frees", "map_purged"):
        (one,) = (one for one in report["cases"] if one["name"] == f"drm-shmem.{case}")
        figures = {metric["name"]: metric["value"] for metric in one["metrics"]}
        assert figures["red"] == figures["broken"] > 3


def test_bugs_put_in_on_purpose_are_caught() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "harness",
            "controls",
            "--suite",
            "drm-shmem",
            "--case",
            CASES,
            *CAUGHT,
            NEUTRAL,
            "--json",
        ],
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    found = {one["name"]: one["noticed"] for one in json.loads(done.stdout)["controls"]}
    assert found == {**dict.fromkeys(CAUGHT, "caught"), NEUTRAL: "green"}
    assert done.returncode == 0
