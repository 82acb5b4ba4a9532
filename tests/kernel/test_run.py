# SPDX-License-Identifier: GPL-2.0-only
"""Whole runs on real kernels, as a user starts them. The first one builds; the others find the builds again."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pytest

RUN_SECONDS = 3600


def ttm_harness(*words: str, status: int = 0) -> dict[str, Any]:
    argv = [sys.executable, "-m", "harness", *words, "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
    assert done.returncode == status, done.stdout[-8000:] + done.stderr[-8000:]
    plain: dict[str, Any] = json.loads(done.stdout)
    return plain


def executed(report: dict[str, Any], suite: str) -> int:
    done = ("PASS", "XFAIL", "WARN", "FAIL", "CRASH", "TIMEOUT")
    return sum(case["suite"] == suite and case["outcome"] in done for case in report["cases"])


def test_kunit_on_the_newest_kernel() -> None:
    report = ttm_harness("run", "--suite", "ttm-kunit,xe-kunit")
    assert report["verdict"] == "good", report["reasons"]
    assert executed(report, "ttm-kunit") >= 101
    assert executed(report, "xe-kunit") >= 262
    facts = report["runs"][0]["facts"]
    assert 254 << 20 <= facts["ram"] <= 256 << 20
    assert facts["swap_total"] == (1 << 30) - 4096
    assert report["runs"][0]["differences"] == []


def test_asked_again_it_takes_seconds() -> None:
    began = time.monotonic()
    report = ttm_harness("run", "--suite", "ttm-kunit")
    stages = {stage["name"]: stage["seconds"] for stage in report["stages"]}
    # Not a figure, a property: nothing was downloaded, configured or compiled.
    assert stages["source"] + stages["build"] < (time.monotonic() - began) / 2


def test_live_suites_without_the_hardware_are_not_run() -> None:
    report = ttm_harness("run", "--suite", "xe-live", status=3)
    assert report["verdict"] == "cannot tell"
    outcomes = {case["name"]: case["outcome"] for case in report["cases"] if case["suite"] == "xe-live"}
    assert "PASS" not in outcomes.values()
    assert any(outcome == "NOT_RUN" and name.startswith("xe_bo_shrink") for name, outcome in outcomes.items())


def test_ttm_kunit_on_the_base() -> None:
    report = ttm_harness("run", "--source", "debian:6.12", "--suite", "ttm-kunit")
    assert report["verdict"] == "good", report["reasons"]
    assert report["provenance"]["tree_version"].startswith("6.12.")


@pytest.mark.parametrize("ram", ["24M"])
def test_too_little_ram_cannot_be_told(ram: str) -> None:
    report = ttm_harness("run", "--suite", "ttm-kunit", "--ram", ram, status=3)
    assert report["verdict"] == "cannot tell"
