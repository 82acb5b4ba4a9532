# SPDX-License-Identifier: GPL-2.0-only
"""The pressure suite on real kernels: green where nothing is broken, red where something is."""

from __future__ import annotations

import json
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from tests.kernel.test_run import RUN_SECONDS, executed, ttm_harness

# One of each class, and one that breaks nothing.
CAUGHT = (
    "04-partial-backup-forgets-tail",
    "11-restore-keeps-shmem-copy",
    "20-wb-run-counts-allocations",
    "35-partial-reports-all",
    "41-backup-leaves-gpuactive",
    "54-shrink-stays-on-lru",
    "57-alloc-ignores-retry-mayfail",
    "69-purge-ignores-busy",
)
NEUTRAL = "76-neutral-suitable-early-return"


@pytest.mark.parametrize(("swap", "least"), [("disk:1G", 85), ("none", 35)])
def test_an_unbroken_kernel_is_green(swap: str, least: int) -> None:
    report = ttm_harness("run", "--suite", "pressure", "--swap", swap)
    assert report["verdict"] == "good", report["reasons"]
    assert executed(report, "pressure") >= least
    metrics = {metric["name"]: metric["value"] for metric in report["runs"][0]["metrics"]}
    assert metrics["oom_kill"] == 0
    assert metrics["stat.purged"] > 0
    if swap != "none":
        assert metrics["stat.backed_up"] > 100_000
        assert metrics["pswpout"] > 10_000


def test_the_plot_is_drawn() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", "--suite", "pressure", "--case", "pressure_mixed", "--json"],
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    report = json.loads(done.stdout)
    from harness.store.layout import Layout

    place = Layout.from_environment().runs / report["id"] / report["runs"][0]["directory"]
    assert ElementTree.parse(place / "telemetry.svg").getroot().tag.endswith("svg")


def test_objects_beside_a_hog_on_the_base_and_merged() -> None:
    report = ttm_harness(
        "run", "--suite", "pressure", "--case", "hog_beside", "--base", "debian:6.12", "--source", "debian"
    )
    changes = {one["name"]: one["change"] for one in report["comparisons"]}
    assert changes["pressure.hog_beside"] == "FIXED"
    assert report["verdict"] == "good"


def test_known_bugs_of_merged_kernels_show() -> None:
    report = ttm_harness("run", "--suite", "pressure-findings")
    assert report["verdict"] == "good", report["reasons"]
    outcomes = {case["name"]: case["outcome"] for case in report["cases"]}
    assert "pressure.suspect_e_again" in outcomes


def test_bugs_put_in_on_purpose_are_caught() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "controls", *CAUGHT, NEUTRAL, "--json"],
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    found = {one["name"]: one["noticed"] for one in json.loads(done.stdout)["controls"]}
    assert found == {**dict.fromkeys(CAUGHT, "caught"), NEUTRAL: "green"}
    assert done.returncode == 0
