# SPDX-License-Identifier: GPL-2.0-only
"""xe's shrinker on fake devices: green on a real kernel, red where a bug is put in, and its known bugs known."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.flow.matrix import matrix_of
from harness.flow.planfile import Axes, SuiteName
from harness.flow.plans import Extras, plain_request
from harness.flow.prepare import Stopwatch, prepare
from harness.kernel.overlay import Overlay, read_overlay
from harness.model.errors import SuiteUnfit
from harness.model.outcome import Outcome
from harness.store.layout import Layout
from tests.functional.conftest import Quiet
from tests.kernel.broken_checks import break_checks, table
from tests.kernel.test_run import RUN_SECONDS, executed, ttm_harness


@pytest.mark.parametrize(("swap", "least"), [("disk:1G", 90), ("none", 30)])
def test_an_unbroken_driver_is_green(swap: str, least: int) -> None:
    report = ttm_harness("run", "--suite", "xe-fake", "--swap", swap)
    assert report["verdict"] == "good", report["reasons"]
    assert executed(report, "xe-fake") >= least
    metrics = {metric["name"]: metric["value"] for metric in report["runs"][0]["metrics"]}
    assert metrics["oom_kill"] == 0


def test_one_device_by_its_knob() -> None:
    report = ttm_harness("run", "--suite", "xe-fake", "--knob", "device=nvl", "--case", "asleep_*,content")
    assert report["verdict"] == "good", report["reasons"]
    names = {case["name"] for case in report["cases"] if case["suite"] == "xe-fake"}
    assert {"xe_fake.content.nvl", "xe_fake.asleep_direct.nvl"} <= names
    run = {case["name"] for case in report["cases"] if case["suite"] == "xe-fake" and case["outcome"] != "SKIP"}
    assert not any(name.startswith("xe_fake.") and not name.endswith(".nvl") for name in run)


def test_known_bugs_fail_as_they_are_known_to() -> None:
    report = ttm_harness("run", "--suite", "xe-fake-findings")
    assert report["verdict"] == "good", report["reasons"]
    outcomes = [case["outcome"] for case in report["cases"] if ".suspect_" in case["name"]]
    assert outcomes.count(str(Outcome.XFAIL)) >= 10


def test_a_broken_check_turns_its_case_red_and_so_does_a_case_without_any() -> None:
    """A sample; `python -m tests.kernel.broken_checks` goes through all of them."""
    broken = break_checks(("counts", "returns"), "tgl", each=False)
    assert {"counts", "returns"} == {one.case for one in broken}
    assert "uncounted" in {one.check for one in broken}
    assert len(broken) >= 30
    assert all(one.seen for one in broken), table(broken)


def test_a_control_is_caught_and_a_neutral_one_is_not() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "harness", "controls", "--suite", "xe-fake", "--json"),
            *("--case", "counts,content", "03-every-pin-counts", "38-neutral-pages-once"),
        ],
        capture_output=True,
        text=True,
        timeout=3 * RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    caught, neutral = json.loads(done.stdout)["controls"]
    assert caught["noticed"] == "caught"
    assert caught["cases"][0].startswith("xe_fake.counts.")
    assert neutral["noticed"] == "green"


def test_the_base_without_the_shrinker_is_told_why() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", "--suite", "xe-fake", "--source", "debian:6.12"],
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "too old for xe-fake" in done.stderr
    assert "6.15" in done.stderr and "00c8efc3180f" in done.stderr


def test_a_plan_leaves_it_out_of_a_kernel_without_the_shrinker(tmp_path: Path) -> None:
    plan = tmp_path / "both.toml"
    plan.write_text("suites = ['ttm-kunit', 'xe-fake']\nsource = 'debian:6.12'\n")
    ahead = ttm_harness("run", str(plan), "--list")
    assert [boot["suites"] for boot in ahead["boots"]] == [["ttm-kunit"]]
    assert [one["suite"] for one in ahead["left_out"]] == ["xe-fake"]
    report = ttm_harness("run", str(plan))
    assert report["verdict"] == "good", report["reasons"]
    (left_out,) = report["left_out"]
    assert (left_out["suite"], left_out["counts"]) == ("xe-fake", False)


@pytest.mark.parametrize("named", [False, True])
def test_a_driver_that_it_no_longer_fits_is_no_green(
    named: bool, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_another_time(source: Path) -> Overlay:
        overlay = read_overlay(source)
        hook = replace(overlay.hooks[0], needs=("a_word_that_is_gone(",))
        return replace(overlay, hooks=(hook, *overlay.hooks[1:]))

    monkeypatch.setattr("harness.kernel.overlay.read_overlay", of_another_time)
    said = Axes(suites=(SuiteName("ttm-kunit"), SuiteName("xe-fake")))
    (request,) = plain_request(said, Extras())
    ((kernel, wanted),) = matrix_of((request,)).kernels.items()
    suites = dict.fromkeys(wanted, not named)
    if named:
        with pytest.raises(SuiteUnfit, match="a_word_that_is_gone"):
            prepare(kernel, suites, layout, Quiet(), Stopwatch())
        return
    (left_out,) = prepare(kernel, suites, layout, Quiet(), Stopwatch()).left_out
    assert (left_out.suite, left_out.counts) == ("xe-fake", True)
    assert "a_word_that_is_gone(" in left_out.why
