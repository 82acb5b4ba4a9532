# SPDX-License-Identifier: GPL-2.0-only
"""The forms of a report: what each must carry, and that its JSON is what the schema says."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness.reports
from harness.model.cell import Cell
from harness.model.codec import from_json, to_json
from harness.model.compare import Leg
from harness.model.machine import SETTINGS, Accel, Difference, GuestFacts, Machine, Swap
from harness.model.outcome import Ending, Outcome, Verdict
from harness.model.result import Case, Event, MoreBoot, Provenance, Report, Run, Span, Stage
from harness.model.swap import SwapFacts, ZswapFacts
from harness.model.units import GIB, MIB
from harness.reports.junit import to_junit
from harness.reports.text import print_report

SCHEMA = json.loads((Path(harness.reports.__file__).parent / "schema" / "report-1.json").read_text())
FACTS = GuestFacts("7.3.4", "ro", 2, 267889664, 250699776, 235966464, 1073737728, "5", 0)
SPLAT = Event("warning", "WARNING: at f", "abcdef", Span(10, 12), lines=("WARNING: at f", "trace"), run="001-x")
RUN = Run(
    id="001-x",
    cell=Cell("b" * 64, Machine(accel=Accel.TCG), ("s", "t"), 5),
    directory="001-x",
    ending=Ending.FINISHED,
    phase="shutdown",
    accel="tcg",
    facts=FACTS,
    differences=(),
    problems=(),
    stages=(Stage("s", 1.5),),
    verdict=Verdict.BAD,
    reasons=("1 case FAIL",),
)
REPORT = Report(
    schema="ttm-harness/report/1",
    id="20261120T000000-abcdef",
    verdict=Verdict.BAD,
    reasons=("001-x: 1 case FAIL",),
    provenance=Provenance(
        "0.1.0",
        "linux-source-7.3 7.3.4-1",
        "c" * 64,
        "7.3.4",
        "lean",
        "d" * 64,
        "gcc",
        "b" * 64,
        0,
        "q",
        "v",
        "h",
        "t",
    ),
    runs=(RUN,),
    cases=(
        *(Case("s", f"a.{outcome.lower()}", outcome, message=f"why [{outcome}]", run="001-x") for outcome in Outcome),
        Case("boot", "kernel", Outcome.WARN, message="WARNING: at f", events=(SPLAT,), run="001-x"),
    ),
    events=(SPLAT,),
)


def text_of(report: Report) -> str:
    out = io.StringIO()
    print_report(report, Path("/runs/x"), out)
    return out.getvalue()


def test_json_is_what_the_schema_says_and_reads_back() -> None:
    jsonschema.validate(json.loads(to_json(REPORT)), SCHEMA)
    assert from_json(Report, to_json(REPORT)) == REPORT


def test_the_schema_refuses_an_unknown_outcome() -> None:
    plain = json.loads(to_json(REPORT))
    plain["cases"][0]["outcome"] = "OK"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(plain, SCHEMA)


def test_the_text_shows_what_is_bad_and_where_to_look() -> None:
    text = text_of(REPORT)
    assert "verdict: bad" in text
    assert "FAIL s a.fail" in text
    assert "why [FAIL]" in text
    assert "NOT_RUN s a.not_run" in text
    assert "/runs/x/001-x/reproduce.sh" in text
    assert "WARNING: at f" in text
    assert "a.pass" not in text


def test_boots_after_the_first_are_told_in_text_and_json() -> None:
    more = (MoreBoot("alone-1", "a.fail did not end: alone", Ending.TIMEOUT, 1, 30.0),)
    cases = tuple(replace(case, boot="rest-1", span=Span(3, 4)) for case in REPORT.cases)
    events = (replace(SPLAT, boot="rest-1"),)
    run = replace(RUN, ending=Ending.TIMEOUT, more=more, notes=("s: a.new: new",))
    report = replace(REPORT, runs=(run,), cases=cases, events=events)
    jsonschema.validate(json.loads(to_json(report)), SCHEMA)
    assert from_json(Report, to_json(report)) == report
    text = text_of(report)
    assert "alone-1: a.fail did not end: alone (1 case): TIMEOUT" in text
    assert "s: a.new: new" in text
    assert "FAIL s a.fail  (rest-1/console.log:3)" in text


def test_the_text_of_a_good_report_has_no_replay() -> None:
    good = replace(REPORT, verdict=Verdict.GOOD, reasons=(), runs=(replace(RUN, verdict=Verdict.GOOD, reasons=()),))
    assert "reproduce.sh" not in text_of(replace(good, cases=good.cases[:1], events=()))


def test_problems_and_differences_are_shown() -> None:
    run = replace(RUN, problems=("the guest never got ready",), differences=(Difference("RAM", "256M", "128M"),))
    text = text_of(replace(REPORT, runs=(run,)))
    assert "the guest never got ready" in text
    assert "RAM: asked 256M, got 128M" in text


def test_the_guest_is_shown_as_it_was_reached() -> None:
    assert "225M free at start, 1024M swap, 2 vCPUs, tcg" in text_of(REPORT)
    swap = Swap.parse("zram:128M:zstd@9+slow:1G:4M@3")
    machine = Machine(swap=swap, memory_max=128 * MIB, swappiness=10, free=64 * MIB)
    swaps = (SwapFacts(128 * MIB - 4096, 9, 0, "lz4", ("lz4",)), SwapFacts(GIB - 4096, 3, 4 * MIB))
    facts = replace(FACTS, swap_total=1152 * MIB - 8192, swaps=swaps, swappiness=60, held=99 * MIB)
    text = text_of(replace(REPORT, runs=(replace(RUN, cell=replace(RUN.cell, machine=machine), facts=facts),)))
    assert (
        "1152M swap (128M zram lz4 @9, 1024M slow 4.0M/s @3), memory.max none, swappiness 60, 99M taken away" in text
    )


def test_zswap_is_shown_as_it_was_reached() -> None:
    run = replace(RUN, cell=replace(RUN.cell, machine=Machine(swap=Swap.parse("zswap:1G:zstd"))))
    facts = replace(FACTS, swaps=(SwapFacts(GIB - 4096, -1),), zswap=ZswapFacts(True, "lz4", 20))
    assert "1024M swap (1024M zswap lz4 20%)" in text_of(replace(REPORT, runs=(replace(run, facts=facts),)))
    off = replace(facts, zswap=ZswapFacts(False, "lz4", 20))
    assert "1024M swap (1024M zswap off)" in text_of(replace(REPORT, runs=(replace(run, facts=off),)))


def test_a_report_of_before_the_machines_axes_is_read() -> None:
    plain = json.loads(to_json(REPORT))
    machine, facts = plain["runs"][0]["cell"]["machine"], plain["runs"][0]["facts"]
    for name in (*(one.key for one in SETTINGS), "free"):
        del machine[name]
    for name in ("swaps", "zswap", *(one.key for one in SETTINGS)):
        del facts[name]
    for name in ("held", "free_pcp"):
        del facts[name]
    machine["swap"] = {"kind": "disk", "size": GIB}
    assert from_json(Report, json.dumps(plain)) == REPORT
    machine["swap"] = {"kind": "none", "size": 0}
    assert from_json(Report, json.dumps(plain)).runs[0].cell.machine.swap == Swap()


def test_junit_counts() -> None:
    root = ElementTree.fromstring(to_junit(REPORT))
    suites = {suite.get("name"): suite for suite in root.iter("testsuite")}
    assert set(suites) == {"s", "t", "boot"}
    suite = suites["s"]
    assert suite.get("tests") == str(len(Outcome))
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("2", "4", "2")
    properties = {one.get("name"): one.get("value") for one in suite.iter("property")}
    assert properties["seed"] == "5"
    assert properties["kernel"] == "7.3.4"


def test_what_the_kernel_said_outside_every_case_is_a_failure_in_junit() -> None:
    root = ElementTree.fromstring(to_junit(REPORT))
    boot = next(suite for suite in root.iter("testsuite") if suite.get("name") == "boot")
    assert [failure.get("message") for failure in boot.iter("failure")] == ["WARNING: at f"]


def test_the_base_is_not_on_trial_in_junit() -> None:
    root = ElementTree.fromstring(to_junit(replace(REPORT, runs=(replace(RUN, leg=Leg.BASE),))))
    assert list(root.iter("testcase")) == []


def test_a_problem_of_the_run_is_an_error_in_junit() -> None:
    root = ElementTree.fromstring(to_junit(replace(REPORT, runs=(replace(RUN, problems=("lost",)),), cases=())))
    assert [error.get("message") for error in root.iter("error")] == ["lost"]


def test_junit_survives_what_a_console_prints() -> None:
    case = Case("s", "a\x00b", Outcome.FAIL, message="\x1b[2J]]>&<", diagnostics=("\x07",), run="001-x")
    ElementTree.fromstring(to_junit(replace(REPORT, cases=(case,))))


@given(st.text())
def test_cleaned_text_is_xml(text: str) -> None:
    case = Case("s", "n", Outcome.FAIL, message=text, diagnostics=(text,), run="001-x")
    ElementTree.fromstring(to_junit(replace(REPORT, cases=(case,))))


def test_a_guest_is_said_once() -> None:
    out = io.StringIO()
    print_report(REPORT, Path("/runs/x"), out)
    [line] = [line for line in out.getvalue().splitlines() if line.startswith("guest")]
    assert line.count("M RAM") == 1
    assert line.endswith(f"seed {REPORT.runs[0].cell.seed}")
