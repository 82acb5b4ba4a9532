# SPDX-License-Identifier: GPL-2.0-only
"""What is made for KCIDB is what KCIDB's own library takes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import kcidb_io
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.model.errors import UserError
from harness.model.outcome import Outcome, Verdict
from harness.reports.kcidb import to_kcidb
from tests.unit.compare_support import SPLAT, booted, case, report
from tests.unit.results_support import SERIES


def valid(text: str) -> dict[str, Any]:
    """The data, as the newest schema of the library takes it."""
    data: dict[str, Any] = json.loads(text)
    kcidb_io.schema.LATEST.validate_exactly(data)
    return data


def test_each_outcome_is_one_of_theirs() -> None:
    made = report("r", booted(1, [case(one, name=f"t.{one}") for one in Outcome]))
    found = {test["path"]: test["status"] for test in valid(to_kcidb(made))["tests"]}
    assert found == {
        "boot": "PASS",
        "s.t.PASS": "PASS",
        "s.t.XFAIL": "PASS",
        "s.t.SKIP": "SKIP",
        "s.t.WARN": "FAIL",
        "s.t.FAIL": "FAIL",
        "s.t.CRASH": "FAIL",
        "s.t.TIMEOUT": "FAIL",
        "s.t.INCOMPLETE": "ERROR",
        "s.t.NOT_RUN": "MISS",
    }


def test_objects_refer_to_each_other_and_have_ids_of_their_own() -> None:
    made = report("r", booted(1, [case(Outcome.FAIL, SPLAT), case(Outcome.FAIL)]), booted(2, [case()]))
    series = replace(made.provenance, tree_origin=f"linux-source 7.3.4{SERIES}")
    data = valid(
        to_kcidb(replace(made, provenance=series, base=replace(made.provenance, build_id="c" * 64)), "lab", "a@b")
    )
    for kind in ("checkouts", "builds", "tests"):
        ids = [one["id"] for one in data[kind]]
        assert len(ids) == len(set(ids)) and all(one.startswith("lab:") for one in ids)
    assert {one["checkout_id"] for one in data["builds"]} <= {one["id"] for one in data["checkouts"]}
    assert {one["build_id"] for one in data["tests"]} <= {one["id"] for one in data["builds"]}
    assert any("trace" in one.get("log_excerpt", "") for one in data["tests"])


def test_a_checkout_says_which_patches() -> None:
    made = report("r", booted(1, [case()]))
    plain = valid(to_kcidb(made, message_id="a@b"))["checkouts"][0]
    assert plain["patchset_hash"] == "" and "message_id" not in plain
    commit = "0123456789" * 4
    where = replace(made.provenance, tree_origin=f"git {commit}{SERIES}")
    patched = valid(to_kcidb(replace(made, provenance=where), message_id="a@b"))["checkouts"][0]
    assert patched["message_id"] == "a@b" and patched["git_commit_hash"] == commit and "patchset_hash" not in patched


def test_an_origin_that_they_would_refuse_is_refused() -> None:
    with pytest.raises(UserError, match="name of a CI system"):
        to_kcidb(report("r", booted(1, [case()])), "My Lab")


def test_the_library_says_no() -> None:
    data = json.loads(to_kcidb(report("r", booted(1, [case()]))))
    data["tests"][0]["status"] = "GOOD"
    with pytest.raises(Exception, match="GOOD"):
        kcidb_io.schema.LATEST.validate_exactly(data)


@given(st.text(max_size=60), st.text(max_size=60), st.sampled_from(Verdict))
@settings(deadline=None)
def test_whatever_the_words_are(name: str, word: str, verdict: Verdict) -> None:
    made = report("r", booted(1, [replace(case(Outcome.FAIL), name=name, message=word, diagnostics=(word,))]))
    where = replace(made.provenance, compiler=word, tree_origin=word, tree_version=name)
    run = replace(made.runs[0], verdict=verdict, reasons=(word,))
    valid(to_kcidb(replace(made, provenance=where, runs=(run,)), message_id=word))
