# SPDX-License-Identifier: GPL-2.0-only
"""Several machines in one report: each compared with itself, and one table over all."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

from harness.flow.collect import CellResult
from harness.flow.planfile import Axes
from harness.flow.plans import Extras, plain_request
from harness.flow.run_record import Planned, Record, assemble, load_record, save_record
from harness.judge.compare import compare
from harness.model.cell import Cell
from harness.model.codec import from_json, to_json
from harness.model.compare import Change, Cost, Leg
from harness.model.errors import StoreCorrupt
from harness.model.gate import GATE_SCHEMA, Gate
from harness.model.machine import Machine
from harness.model.outcome import Outcome, Verdict
from harness.model.result import Case, Event, LeftOut, Metric, Report, Span, Stage
from harness.model.tree import SourceSpec
from harness.model.units import MIB
from harness.reports.columns import columns
from harness.reports.junit import to_junit
from harness.reports.text import print_report
from tests.unit.test_reports import REPORT, RUN, SCHEMA

OOM = Event("oom", "OOM with 1023 MiB swap free", "f", Span(1, 2))
SMALL, LARGE = "192M RAM, swap none", "1G RAM, swap none"
FACTS = replace(REPORT.provenance, build_id="b" * 64)
TIP = replace(FACTS, build_id="c" * 64, tree_version="7.3.5")


def booted(number: int, leg: Leg, group: str, outcome: Outcome) -> tuple[Planned, CellResult]:
    build = FACTS if leg is Leg.BASE else TIP
    cell = Cell(build.build_id, Machine(ram=(192 if group == SMALL else 1024) * MIB), ("pressure",), 1)
    planned = Planned(number, leg, group, cell, f"key{number}", "shape", 0 if leg is Leg.BASE else 1, 0)
    place = planned.place
    case = Case("pressure", "pressure.hog", outcome, events=(OOM,) if outcome is Outcome.FAIL else (), run=place)
    run = replace(
        RUN,
        id=place,
        directory=place,
        cell=cell,
        leg=leg,
        group=group,
        verdict=Verdict.BAD if outcome is Outcome.FAIL else Verdict.GOOD,
        reasons=(),
        stages=(Stage("ready", 1.0), Stage("pressure", 10.0 * number), Stage("boot", 99.0)),
        metrics=(Metric("pswpout", 1000.0 * number), Metric("stat.backed_up", 7.0)),
    )
    return planned, CellResult(run, (case,), ())


def report_on(
    *outcomes: tuple[Leg, str, Outcome],
    missing: int = 0,
    gates: tuple[Gate, ...] = (),
    left_out: tuple[LeftOut, ...] = (),
) -> Report:
    boots = [booted(number, *one) for number, one in enumerate(outcomes, 1)]
    requests = plain_request(Axes(seeds=(1,)), Extras())
    record = Record("mine.toml", requests, (FACTS, TIP), tuple(planned for planned, _ in boots), gates)
    record = replace(record, left_out=left_out)
    results = {planned.number: result for planned, result in boots[: len(boots) - missing]}
    return assemble("20261121T000000-abcdef", record, results)


FIXED_SMALL = (
    (Leg.BASE, SMALL, Outcome.FAIL),
    (Leg.TIP, SMALL, Outcome.PASS),
    (Leg.BASE, LARGE, Outcome.PASS),
    (Leg.TIP, LARGE, Outcome.PASS),
)


def test_a_machine_is_compared_with_itself_only() -> None:
    report = report_on(*FIXED_SMALL)
    assert {one.machine: one.change for one in report.comparisons} == {SMALL: Change.FIXED, LARGE: Change.SAME}
    assert report.verdict is Verdict.GOOD
    mixed = report_on(
        (Leg.BASE, SMALL, Outcome.FAIL),
        (Leg.TIP, SMALL, Outcome.PASS),
        (Leg.BASE, LARGE, Outcome.PASS),
        (Leg.TIP, LARGE, Outcome.FAIL),
    )
    # Taken together this would be FLAKY on both sides, and nobody would be blamed.
    assert {one.machine: one.change for one in mixed.comparisons} == {SMALL: Change.FIXED, LARGE: Change.REGRESSED}
    assert mixed.verdict is Verdict.BAD
    assert f"REGRESSED pressure pressure.hog ({LARGE}): 1/1 -> 0/1" in mixed.reasons


def test_without_groups_a_comparison_names_no_machine() -> None:
    assert [one.machine for one in compare((Case("s", "a", run="x"),), (Case("s", "a", run="y"),))] == [""]


def test_a_missing_boot_is_no_green() -> None:
    report = report_on(*FIXED_SMALL, missing=1)
    assert report.verdict is Verdict.CANNOT_TELL
    assert "1 boots were not made" in report.reasons[0]


@pytest.mark.parametrize("counts", [False, True])
def test_a_suite_that_should_have_been_there_leaves_no_green(counts: bool) -> None:
    gone = LeftOut("xe-fake", "7.4.0", "a" * 64, "xe_bo.c has no 'shrink('", counts)
    report = report_on(*FIXED_SMALL, left_out=(gone,))
    assert report.verdict is (Verdict.CANNOT_TELL if counts else Verdict.GOOD)
    assert (report.reasons[:1] == ("without the suite xe-fake on 7.4.0: xe_bo.c has no 'shrink('",)) is counts
    out = io.StringIO()
    print_report(report, Path("/runs/x"), out)
    assert out.getvalue().count("xe_bo.c has no 'shrink('") == 1


@pytest.mark.parametrize("outcome", [Outcome.PASS, Outcome.FAIL])
def test_a_suite_that_the_base_is_too_old_for_cannot_be_compared(outcome: Outcome) -> None:
    (request,) = plain_request(Axes(seeds=(1,), base=(SourceSpec.parse("debian:6.12"),)), Extras())
    planned, result = booted(1, Leg.TIP, SMALL, outcome)
    gone = LeftOut("pressure", "6.12.9", FACTS.build_id, "too old", counts=False)
    record = Record("mine.toml", (request,), (FACTS, TIP), (planned,), left_out=(gone,))
    report = assemble("20261121T000000-abcdef", record, {1: result})
    assert report.verdict is Verdict.CANNOT_TELL  # whether good or bad: nothing is known of the base
    assert (report.base, report.provenance) == (FACTS, TIP)


def test_a_suite_that_only_the_new_kernel_has_is_judged_beside_what_was_compared() -> None:
    requests = plain_request(Axes(seeds=(1,), base=(SourceSpec.parse("debian:6.12"),)), Extras())
    for outcome, verdict in ((Outcome.PASS, Verdict.GOOD), (Outcome.FAIL, Verdict.CANNOT_TELL)):
        boots = [
            booted(1, Leg.BASE, SMALL, Outcome.PASS),
            booted(2, Leg.TIP, SMALL, Outcome.PASS),
            booted(3, Leg.TIP, LARGE, outcome),
        ]
        record = Record("mine.toml", requests, (FACTS, TIP), tuple(planned for planned, _ in boots))
        report = assemble("20261121T000000-abcdef", record, {planned.number: result for planned, result in boots})
        assert report.verdict is verdict


@pytest.mark.parametrize("gate", Verdict)
def test_a_run_is_no_better_than_the_gate_of_its_series(gate: Verdict) -> None:
    reasons = () if gate is Verdict.GOOD else ("2/3 it: objects: broken",)
    one = Gate(GATE_SCHEMA, gate, reasons, "it", "a" * 64, "7.3.4", 0, ())
    report = report_on(*FIXED_SMALL, gates=(one,))
    assert report.verdict is gate
    assert [one for one in report.reasons if one.startswith("the gate")] == [f"the gate: {one}" for one in reasons]
    out = io.StringIO()
    print_report(report, Path("/runs/x"), out)
    assert f"the gate: {gate}" in out.getvalue()
    assert out.getvalue().count("verdict:") == 1


def test_a_machine_without_a_base_is_judged_alone() -> None:
    report = report_on(
        (Leg.BASE, SMALL, Outcome.PASS), (Leg.TIP, SMALL, Outcome.PASS), (Leg.TIP, LARGE, Outcome.FAIL)
    )
    assert [one.machine for one in report.comparisons] == [SMALL]
    assert report.verdict is Verdict.BAD


def test_the_rows_say_where_memory_ran_out_and_what_it_cost() -> None:
    small, large = report_on(*FIXED_SMALL).machines
    assert small.machine == SMALL
    assert small.base is not None
    assert (small.base.boots, small.base.good, small.base.bad, small.base.kills) == (1, 0, 1, 1)
    assert small.base.oom_in == ("pressure.hog",)
    assert (small.base.seconds, small.base.swapped, small.base.figures) == (10.0, 1000, {"backed_up": 7})
    assert small.changes == ("1 FIXED",)
    assert large.tip is not None
    assert (large.tip.kills, large.tip.oom_in, large.changes) == (0, (), ())


def test_the_table_is_one_line_a_machine() -> None:
    out = io.StringIO()
    print_report(report_on(*FIXED_SMALL), Path("/runs/x"), out)
    text = out.getvalue()
    (line,) = [line for line in text.splitlines() if line.startswith(SMALL)]
    assert line.split() == [
        *SMALL.split(),
        "bad",
        "hog",
        "10",
        "s",
        "1,000",
        "good",
        "-",
        "20",
        "s",
        "2,000",
        "1",
        "FIXED",
    ]
    (head,) = [line for line in text.splitlines() if line.startswith("machine ")]
    assert head.index("tip") == line.index("good")
    assert "hog" in line[head.index("OOM kill in") :]


def test_repeats_are_counted_and_a_machine_without_a_base_has_fewer_columns() -> None:
    report = report_on((Leg.TIP, SMALL, Outcome.PASS), (Leg.TIP, SMALL, Outcome.FAIL), (Leg.TIP, LARGE, Outcome.PASS))
    out = io.StringIO()
    print_report(report, Path("/runs/x"), out)
    assert "1/2 good, 1/2 bad" in out.getvalue()
    assert "change" not in out.getvalue()
    assert report.machines[0].tip is not None
    assert report.machines[0].tip.seconds == 15.0


def test_one_machine_has_no_table() -> None:
    assert report_on((Leg.BASE, "", Outcome.PASS), (Leg.TIP, "", Outcome.PASS)).machines == ()


def test_json_and_junit_carry_it() -> None:
    report = report_on(*FIXED_SMALL)
    jsonschema.validate(json.loads(to_json(report)), SCHEMA)
    assert from_json(Report, to_json(report)) == report
    root = ElementTree.fromstring(to_junit(report))
    suite = next(suite for suite in root.iter("testsuite") if suite.get("name") == f"pressure [{SMALL}]")
    properties = {one.get("name"): one.get("value") for one in suite.iter("property")}
    assert properties["group"] == SMALL
    assert properties["base.oom"] == "1 in pressure.hog"
    assert [name for name in properties if name and name.startswith("tip.")] == [
        *("tip.good", "tip.oom", "tip.seconds", "tip.swapped", "tip.backed_up")
    ]
    assert (properties["tip.swapped"], properties["tip.backed_up"]) == ("2000", "7")
    assert properties["changes"] == "1 FIXED"


def test_a_figure_that_a_suite_calls_its_cost_stands_beside_the_others() -> None:
    """As reports had it from the first, when there was only one and everybody knew its name."""
    (row, _) = report_on(*FIXED_SMALL).machines
    plain = json.loads(to_json(row))["base"]
    assert plain == {
        "boots": 1,
        "good": 0,
        "bad": 1,
        "kills": 1,
        "oom_in": ["pressure.hog"],
        "seconds": 10.0,
        "swapped": 1000,
        "backed_up": 7,
    }
    assert list(plain)[-1] == "backed_up"
    for value in (7, None):
        assert from_json(Cost, json.dumps({**plain, "backed_up": value})).figures == {"backed_up": value}
    assert from_json(Cost, json.dumps({key: plain[key] for key in plain if key != "backed_up"})).figures == {}
    with pytest.raises(StoreCorrupt, match="backed_up"):
        from_json(Cost, json.dumps({**plain, "backed_up": "many"}))


def test_each_row_has_the_costs_of_all_suites_that_ran() -> None:
    boots = [booted(number, Leg.TIP, group, Outcome.PASS) for number, group in enumerate((SMALL, LARGE), 1)]
    others = [replace(planned, cell=replace(planned.cell, suites=("drm-shmem", "gone"))) for planned, _ in boots[1:]]
    record = Record("", plain_request(Axes(seeds=(1,)), Extras()), (FACTS, TIP), (boots[0][0], *others))
    report = assemble("20261121T000000-abcdef", record, {planned.number: result for planned, result in boots})
    assert [row.tip.figures for row in report.machines if row.tip] == [{"backed_up": 7, "purged_pages": None}] * 2
    assert "purged_pages" not in to_junit(report)


def test_many_guests_are_not_all_shown() -> None:
    report = report_on(*((Leg.TIP, f"{ram}M RAM", Outcome.PASS) for ram in range(100, 130)))
    out = io.StringIO()
    print_report(report, Path("/runs/x"), out)
    assert "and 30 more guests" in out.getvalue()
    assert sum(line.startswith("129M RAM") for line in out.getvalue().splitlines()) == 1


def test_a_record_reads_back(tmp_path: Path) -> None:
    planned, _ = booted(1, Leg.TIP, SMALL, Outcome.PASS)
    record = Record("", plain_request(Axes(seeds=(1,)), Extras()), (TIP,), (planned,))
    save_record(tmp_path, record)
    assert load_record(tmp_path) == record


def test_columns() -> None:
    assert columns([("a", "1"), ("bbb", "22")], {1}) == ["a     1", "bbb  22"]
