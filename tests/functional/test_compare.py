# SPDX-License-Identifier: GPL-2.0-only
"""Runs of the tiny kernel compared as a user does it: by name, in every form, with known issues."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from harness.flow.compare import CompareOptions, compare_runs
from harness.model.build import Build
from harness.model.compare import Change, Leg
from harness.model.outcome import Verdict
from harness.store.layout import Layout
from tests.functional.test_command import RUN, SCHEMAS, ttm_harness

FILE = """[[issue]]
name = "no-such-splat"
reason = "a fingerprint that no kernel prints"
owner = "this test"
expires = 2999-12-31
fingerprints = ["000000000000"]
"""


@pytest.fixture(scope="module")
def run(tiny: Build) -> str:
    """One run with two boots, by its name."""
    done = ttm_harness(*RUN, "--json", "--seed", "21", "--repeat", "2", status=0)
    return str(json.loads(done.stdout)["id"])


def test_two_real_runs(run: str) -> None:
    other = json.loads(ttm_harness(*RUN, "--json", "--seed", "31", "--repeat", "2", status=0).stdout)["id"]
    found = json.loads(ttm_harness("compare", run, other, "--as", "json", status=0).stdout)
    jsonschema.validate(found, json.loads((SCHEMAS / "compare-1.json").read_text()))
    assert found["verdict"] == "good"
    assert {one["change"] for one in found["comparisons"]} == {Change.SAME}
    assert (found["base"]["boots"], found["tip"]["boots"]) == (2, 2)
    assert "verdict: good" in ttm_harness("compare", run, other, status=0).stdout
    assert ttm_harness("compare", run, other, "--as", "html", status=0).stdout.startswith("<!DOCTYPE html>")


def test_other_machines_are_told_apart(run: str) -> None:
    words = ["96M" if word == "128M" else word for word in RUN]
    small = json.loads(ttm_harness(*words, "--json", "--seed", "21", status=0).stdout)["id"]
    assert "--across ram" in ttm_harness("compare", run, small, status=3).stdout
    ttm_harness("compare", run, small, "--across", "ram", status=0)


def test_a_run_has_no_base_to_be_compared_with(run: str) -> None:
    assert "no boot of 'base'" in ttm_harness("compare", run, status=2).stderr


def test_a_page_of_a_real_run(run: str) -> None:
    text = ttm_harness("report", run, "--as", "html", status=0).stdout
    assert run in text
    assert "kunit-self" in text


def test_known_issues_are_part_of_a_run(tiny: Build, tmp_path: Path, layout: Layout) -> None:
    known = tmp_path / "known.toml"
    known.write_text(FILE)
    report = json.loads(ttm_harness(*RUN, "--json", "--seed", "41", "--known", str(known), status=0).stdout)
    assert [one["state"] for one in report["known"]] == ["STALE"]
    assert "known issue no-such-splat is stale" in ttm_harness("report", report["id"], status=0).stdout
    known.write_text(FILE.replace("expires", "expirse"))
    assert "did you mean expires?" in ttm_harness(*RUN, "--known", str(known), status=2).stderr
    ttm_harness("run", "--resume", "--known", str(known), status=2)
    output = compare_runs(f"{report['id']}:{Leg.TIP}", report["id"], CompareOptions(), layout)
    assert output.verdict is Verdict.GOOD
