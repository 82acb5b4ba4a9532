# SPDX-License-Identifier: GPL-2.0-only
"""The pressure suite on real kernels: green where nothing is broken, red where something is."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.kernel.test_run import RUN_SECONDS, executed, ttm_harness

# One of each class with a case that turns red by it, and one that breaks nothing.
CAUGHT = {
    "04-partial-backup-forgets-tail": "backup_split",
    "11-restore-keeps-shmem-copy": "move_failed",
    "20-wb-run-counts-allocations": "any_order",
    "35-partial-reports-all": "backup_partial",
    "41-backup-leaves-gpuactive": "move_failed",
    "54-shrink-stays-on-lru": "move_failed",
    "57-alloc-ignores-retry-mayfail": "oom_mayfail",
    "58-readback-may-oom": "oom_mayfail",
    "69-purge-ignores-busy": "busy_nowait",
    "102-pool-scan-zero-for-stop": "pool_contract",
}
NEUTRAL = "76-neutral-suitable-early-return"


def figures_of(report: dict[str, Any], case: str) -> list[dict[str, float]]:
    """What each boot's case printed."""
    return [
        {metric["name"]: metric["value"] for metric in one["metrics"]}
        for one in report["cases"]
        if one["name"] == f"pressure.{case}"
    ]


@pytest.mark.parametrize(("swap", "least"), [("disk:1G", 92), ("none", 42)])
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


def test_all_memory_in_use_kills_nobody() -> None:
    """Two machines side by side; who else runs out of memory meanwhile is given some."""
    report = ttm_harness("run", "--suite", "pressure", "--case", "oom_mayfail", "--repeat", "2", "--seed", "100")
    assert report["verdict"] == "good", report["reasons"]
    assert executed(report, "pressure") == 2
    for run in report["runs"]:
        assert {metric["name"]: metric["value"] for metric in run["metrics"]}["oom_kill"] == 0
    for figures in figures_of(report, "oom_mayfail"):
        assert 150 < figures["objects"] < 256
        assert figures["restores_failed"] > 0
        assert figures["backups"] > 0


@pytest.mark.parametrize("attribute", ["failslab", "fail_page_alloc"])
def test_allocations_of_the_load_fail_by_chance(attribute: str) -> None:
    asked = f"{attribute}=20%,{attribute}_interval=2,{attribute}_times=40,total=60%"
    report = ttm_harness("run", "--suite", "pressure", "--case", "pressure_wc", "--knob", asked, "--seed", "7")
    assert report["verdict"] == "good", report["reasons"]
    (figures,) = figures_of(report, "pressure_wc")
    assert figures[f"{attribute}_percent"] == 20
    assert figures[f"{attribute}_interval"] == 2
    assert 0 < figures[f"{attribute}_failures"] <= 40
    assert figures["objects"] > 0


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


def test_a_broken_check_turns_its_case_red() -> None:
    """A sample of what `make checks` does with all of them."""
    report = ttm_harness("run", "--suite", "pressure-checks", "--case", "evict_order,walk_evict,count_contract")
    assert report["verdict"] == "good", report["reasons"]
    for case in ("evict_order", "walk_evict", "count_contract"):
        (figures,) = figures_of(report, case)
        assert figures["red"] == figures["broken"] > 3


def test_bugs_put_in_on_purpose_are_caught() -> None:
    """By these cases; that all of them are green where nothing is broken is seen above."""
    cases = ",".join(sorted(set(CAUGHT.values())))
    done = subprocess.run(
        [sys.executable, "-m", "harness", "controls", "--case", cases, *CAUGHT, NEUTRAL, "--json"],
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    found = {one["name"]: one["noticed"] for one in json.loads(done.stdout)["controls"]}
    assert found == {**dict.fromkeys(CAUGHT, "caught"), NEUTRAL: "green"}
    assert done.returncode == 0
