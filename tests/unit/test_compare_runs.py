# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness compare` on kept runs: what is put together, what is refused, what is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result

import harness.reports
from harness.cli.compare import compare
from harness.cli.report import report as report_verb
from harness.flow.collect import CellResult
from harness.flow.planfile import Axes
from harness.flow.plans import Extras, plain_request
from harness.flow.run_record import Planned, Record, assemble, finished_entry, judged, load_record, save_record
from harness.model.cell import Knob
from harness.model.codec import from_json, to_json
from harness.model.compare import Change, Leg, Shift
from harness.model.comparison import CompareOutput
from harness.model.known import KnownIssue, KnownIssues, KnownState
from harness.model.machine import Difference
from harness.model.outcome import Outcome, Verdict
from harness.model.result import Report
from harness.model.units import MIB
from harness.store.journal import Journal
from harness.store.layout import Layout
from harness.store.runs import save_report
from harness.suites import registry as rooms
from harness.suites.registry import Registry
from tests.unit.compare_support import SPLAT, Boot, booted, case, report
from tests.unit.results_support import earned
from tests.unit.test_subjects import SUITE, suite_in

SCHEMA = json.loads((Path(harness.reports.__file__).parent / "schema" / "compare-1.json").read_text())
REPORT_SCHEMA = json.loads((Path(harness.reports.__file__).parent / "schema" / "report-1.json").read_text())
P, F, W = Outcome.PASS, Outcome.FAIL, Outcome.WARN
OLD = {"version": "7.2.1", "tree": "d" * 64, "build": "a" * 64}


@pytest.fixture(autouse=True)
def store(scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv("TTM_HARNESS_STORE", str(scratch_layout.root))
    return scratch_layout


def keep(store: Layout, one: Report) -> Path:
    directory = store.runs / one.id
    directory.mkdir(parents=True)
    save_report(directory, earned(one))
    return directory


def boots(*outcomes: Outcome, leg: Leg = Leg.TIP, first: int = 0, **figures: float) -> list[Boot]:
    return [
        booted(first + number, (case(one, figures={name: value + number for name, value in figures.items()}),), leg)
        for number, one in enumerate(outcomes)
    ]


def called(*words: str, status: int) -> Result:
    done = CliRunner().invoke(compare, list(words))
    assert done.exit_code == status, done.output
    assert "Traceback" not in done.output
    return done


def output(*words: str, status: int) -> CompareOutput:
    text = called(*words, "--as", "json", status=status).stdout
    jsonschema.validate(json.loads(text), SCHEMA)
    return from_json(CompareOutput, text)


def changes(found: CompareOutput) -> dict[str, Change]:
    return {one.name: one.change for one in found.comparisons if one.suite != "boot"}


def test_two_runs(store: Layout) -> None:
    keep(store, report("one", *boots(P), **OLD))
    keep(store, report("two", *boots(F)))
    found = output("one", "two", status=1)
    assert changes(found) == {"t.a": Change.REGRESSED}
    assert (found.base.runs, found.tip.runs) == (("one:tip",), ("two:tip",))
    assert [one.tree_version for one in found.base.kernels] == ["7.2.1"]
    assert changes(output("two", "one", status=0)) == {"t.a": Change.FIXED}


def test_a_run_against_itself_is_the_same(store: Layout) -> None:
    keep(store, report("one", *boots(P, P, P, P, P, ms=10.0)))
    found = output("one", "one", status=0)
    assert set(changes(found).values()) == {Change.SAME}
    assert {one.shift for one in found.metric_changes.changes} == {Shift.SAME}


def test_sets_of_runs_are_repeats(store: Layout) -> None:
    for number in range(4):
        keep(store, report(f"old{number}", *boots(P, first=number, ms=10.0), **OLD))
        keep(store, report(f"new{number}", *boots(P, first=number, ms=20.0 + number)))
    base, tip = (",".join(f"{name}{number}" for number in range(4)) for name in ("old", "new"))
    found = output(base, tip, status=0)
    assert (found.base.boots, found.tip.boots) == (4, 4)
    (ms,) = [one for one in found.metric_changes.changes if one.name == "ms"]
    assert ms.shift is Shift.WORSE
    judged_by_it = called(base, tip, "--metric", "m?", status=1)
    assert "WORSE s t.a ms: median 10 -> 21.5" in judged_by_it.stdout
    called(base, tip, "--metric", "pswp*", status=0)


def test_a_suite_of_the_users_own_says_which_way_is_better(
    store: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as it is where it was; the process that compares has not seen it yet."""
    folder = suite_in(tmp_path / "s", f'{SUITE}\n[figures]\n"given" = {{ better = "more" }}\n')
    (request,) = plain_request(Axes(seeds=(1,)), Extras())
    for name, first in (("one", 10.0), ("two", 20.0)):
        made = {}
        planned = []
        for number in range(1, 6):
            run, cases, _ = booted(number, (case(figures={"given": first + number}),))
            plan = Planned(number, Leg.TIP, "", run.cell, f"key{number}", "shape", 0, 0)
            planned.append(plan)
            made[number] = CellResult(
                replace(run, id=plan.place, directory=plan.place),
                tuple(replace(c, run=plan.place) for c in cases),
                (),
            )
        record = Record("", (replace(request, suites=(str(folder),)),), (report(name).provenance,), tuple(planned))
        directory = keep(store, assemble(name, record, made))
        save_record(directory, record)
        with Journal(directory) as journal:
            for plan in planned:
                journal.append(finished_entry(plan, made[plan.number]))
    fresh = Registry(iter(()))
    monkeypatch.setattr(rooms, "registry", lambda: fresh)
    assert [one.shift for one in output("one", "two", status=0).metric_changes.changes] == [Shift.BETTER]
    assert [one.shift for one in output("two", "one", status=0).metric_changes.changes] == [Shift.WORSE]
    folder.rename(tmp_path / "elsewhere")
    fresh = Registry(iter(()))
    assert [one.shift for one in output("one", "two", status=0).metric_changes.changes] == [Shift.CHANGED]


def test_the_legs_of_one_run(store: Layout) -> None:
    one = report("one", *boots(P, leg=Leg.BASE), *boots(F, first=1))
    keep(store, replace(one, base=one.provenance))
    assert changes(output("one", status=1)) == {"t.a": Change.REGRESSED}
    assert changes(output("one:patched", "one:base", status=0)) == changes(output("one:tip", "one:base", status=0))
    assert changes(output("one:tip", "one:base", status=0)) == {"t.a": Change.FIXED}
    assert "nothing to be compared with" in called("one:tip", status=2).output


def test_a_kernel_of_several(store: Layout) -> None:
    old, new = report("x", *boots(P), **OLD), report("one", *boots(F, first=1))
    both = replace(new, runs=(*old.runs, *new.runs), cases=(*old.cases, *new.cases))
    both = replace(both, kernels=(old.provenance, new.provenance))
    keep(store, both)
    assert "several kernels on one machine: " in called("one", "one", status=2).output
    assert changes(output("one:7.2", "one:7.3.4", status=1)) == {"t.a": Change.REGRESSED}
    assert changes(output("one:aaaaaaaa", "one:bbbbbbbb", status=1)) == {"t.a": Change.REGRESSED}
    assert "it has patched, 7.3.4, 7.2.1" in called("one:7.4", "one", status=2).output
    assert "no boot of '7.3.40'" in called("one:7.3.40", "one", status=2).output


def other_machine(one: Report, mib: int) -> Report:
    runs = tuple(
        replace(run, cell=replace(run.cell, machine=replace(run.cell.machine, ram=mib * MIB))) for run in one.runs
    )
    return replace(one, runs=runs)


def test_machines_are_not_mixed(store: Layout) -> None:
    keep(store, other_machine(report("small", *boots(P), **OLD), 128))
    keep(store, report("large", *boots(F)))
    found = output("small", "large", status=3)
    assert found.comparisons == ()
    assert found.reasons == (
        "no machine is on both sides: 128M RAM on the one, 256M RAM on the other (--across ram)",
    )
    past = output("small", "large", "--across", "ram", status=1)
    assert changes(past) == {"t.a": Change.REGRESSED}
    assert "looked past: ram" in past.remarks
    assert "did you mean ram?" in called("small", "large", "--across", "rma", status=2).output
    third = other_machine(report("third", *boots(P, first=7), **OLD), 256)
    keep(store, third)
    mixed = output("small,third", "large", status=1)
    assert "on the base only, and left out: 128M RAM" in mixed.remarks
    assert {one.machine for one in mixed.comparisons} == {"256M RAM"}


def test_knobs_and_profiles_are_not_mixed(store: Layout) -> None:
    one = report("one", *boots(P), **OLD)
    keep(store, one)
    knobs = tuple(replace(run, cell=replace(run.cell, knobs=(Knob("bo", "1M"),))) for run in one.runs)
    keep(store, replace(one, id="two", runs=knobs))
    assert "no knobs on the one, knobs bo=1M on the other" in called("one", "two", status=3).stdout
    debug = report("debug", *boots(P), version="7.2.1", tree="d" * 64, build="e" * 64)
    keep(store, replace(debug, provenance=replace(debug.provenance, profile="debug")))
    assert "--across profile" in called("one", "debug", status=3).stdout


def test_one_boot_counts_once(store: Layout) -> None:
    """A result that was kept from another run is no second boot."""
    one = report("one", *boots(P), **OLD)
    keep(store, one)
    keep(store, replace(one, id="two", runs=tuple(replace(run, kept_from="one") for run in one.runs)))
    keep(store, report("tip", *boots(P)))
    found = output("one,two", "tip", status=0)
    assert found.base.boots == 1
    assert "one,two: 1 of its results are of one boot with another, and count once" in found.remarks
    assert output("one,one", "tip", status=0).base.boots == 1


def test_boots_that_are_no_evidence_are_left_out(store: Layout) -> None:
    odd = report("odd", *boots(F, F))
    runs = (replace(odd.runs[0], differences=(Difference("RAM", "256M", "128M"),)), odd.runs[1])
    keep(store, replace(odd, runs=runs))
    keep(store, report("one", *boots(P), **OLD))
    found = output("one", "odd", status=1)
    assert (found.tip.boots, found.tip.left_out) == (1, 1)
    lost = tuple(replace(run, problems=("the guest never got ready",)) for run in odd.runs)
    keep(store, replace(odd, id="lost", runs=lost))
    assert "no boot that is evidence" in called("one", "lost", status=3).stdout


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"schema": "ttm-harness/report/1"}',
        "\x00",
        to_json(replace(report("x"), schema="ttm-harness/report/0")),
        to_json(report("x")).replace('"runs"', '"walks"'),
        to_json(report("x", *boots(P))).replace('"FINISHED"', '"DONE"'),
    ],
)
def test_what_is_no_report_is_a_sentence(store: Layout, content: str) -> None:
    (store.runs / "odd").mkdir(parents=True)
    (store.runs / "odd" / "report.json").write_text(content)
    keep(store, report("one", *boots(P)))
    for words in (("odd", "one"), ("one", "odd")):
        done = called(*words, status=2)
        assert "odd" in done.output
        assert "hint: " in done.output
    done = CliRunner().invoke(report_verb, ["odd"])
    assert done.exit_code == 2
    assert "Traceback" not in done.output


def test_a_run_without_a_report(store: Layout) -> None:
    (store.runs / "empty").mkdir(parents=True)
    assert "has no report.json" in called("empty", "empty", status=2).output
    assert "there is no run 'nonsense'" in called("nonsense", "empty", status=2).output
    assert "names no run" in called("empty,", "empty", status=2).output


def test_a_run_by_its_directory(store: Layout, tmp_path: Path) -> None:
    odd = tmp_path / "a,b:c"
    odd.mkdir()
    save_report(odd, earned(report("one", *boots(P))))
    assert output(str(odd), f"{odd}", status=0).base.boots == 1


KNOWN = f"""[[issue]]
name = "k"
reason = "a reason"
owner = "somebody"
expires = 2999-01-31
fingerprints = ["{SPLAT.fingerprint}"]
"""


def test_known_issues(store: Layout, tmp_path: Path) -> None:
    keep(store, report("one", booted(1, (case(P),)), **OLD))
    keep(store, report("two", booted(1, (case(W, SPLAT),))))
    path = tmp_path / "known.toml"
    path.write_text(KNOWN)
    assert output("one", "two", status=1).known == ()
    found = output("one", "two", "--known", str(path), status=0)
    assert changes(found) == {"t.a": Change.KNOWN}
    assert [(one.state, one.cases, one.events) for one in found.known] == [(KnownState.SEEN, 1, 1)]
    path.write_text(KNOWN.replace("2999", "2026"))
    expired = output("one", "two", "--known", str(path), status=1)
    assert any("known issue k expired on 2026-01-31 and counts again" in one for one in expired.reasons)
    path.write_text(KNOWN.replace("owner", "onwer"))
    assert (
        "issue[1].onwer: there is no such key (did you mean owner?)"
        in called("one", "two", "--known", str(path), status=2).output
    )


def test_the_text_says_what_a_reader_needs(store: Layout) -> None:
    keep(store, report("one", *boots(P, P, ms=1.0), **OLD))
    keep(store, report("two", booted(1, (case(W, SPLAT),)), booted(2, (case(P),))))
    text = called("one", "two", status=3).stdout
    assert "7.2.1 lean aaaaaaaaaaaa" in text
    assert "FLAKY   s t.a  PASS  PASS, WARN  2/2 -> 1/2" in text
    assert f"FLAKY   {SPLAT.fingerprint}  warning  WARNING: at f  0/2 -> 1/2" in text
    assert "verdict: cannot tell" in text


def test_few_boots_say_how_many_it_takes(store: Layout) -> None:
    keep(store, report("one", *boots(P, P, ms=1.0), **OLD))
    keep(store, report("two", *boots(P, P, ms=9.0)))
    assert (
        "no change can be called with so few boots: 4 on each side are the least"
        in called("one", "two", status=0).stdout
    )


def test_a_run_against_a_base_reports_the_same(store: Layout) -> None:
    """What `run --base` says of itself is what `compare` says of it."""
    issue = KnownIssue("k", "a reason", "somebody", "2999-01-31", ("dddddddddddd",))
    known = KnownIssues(("f",), "2026-11-21", (issue,))
    other = replace(SPLAT, fingerprint="dddddddddddd")
    old, new = report("x", **OLD).provenance, report("x").provenance
    planned, results = [], {}
    for number in range(1, 11):
        leg = Leg.BASE if number % 2 else Leg.TIP
        tip = leg is Leg.TIP
        one = case(W, SPLAT, figures={"ms": 20.0 + number}) if tip else case(P, figures={"ms": 1.0 + number})
        fast = case(W, other, name="t.b") if tip else case(P, name="t.b")
        quick = case(figures={"ms": (9.0 if tip else 1.0) * (10 + number)}, name="t.c")
        run, cases, events = booted(number, (one, fast, quick), leg)
        cell = replace(run.cell, build_id="b" * 64 if tip else "a" * 64)
        plan = Planned(number, leg, "", cell, f"key{number}", "shape", int(tip), 0)
        planned.append(plan)
        place = plan.place
        results[number] = CellResult(
            replace(run, id=place, directory=place, cell=cell),
            tuple(replace(c, run=place) for c in cases),
            tuple(replace(e, run=place) for e in events),
        )
    record = Record("", plain_request(Axes(seeds=(1,)), Extras()), (old, new), tuple(planned), known=known)
    whole = assemble("whole", record, results)
    directory = keep(store, whole)
    save_record(directory, record)
    assert load_record(directory) == record
    with Journal(directory) as journal:
        for plan in planned:
            journal.append(finished_entry(plan, results[plan.number]))
    jsonschema.validate(json.loads(to_json(whole)), REPORT_SCHEMA)
    assert whole.verdict is Verdict.BAD
    assert [(one.fingerprint, one.change) for one in whole.event_changes] == [
        (SPLAT.fingerprint, Change.REGRESSED),
        ("dddddddddddd", Change.KNOWN),
    ]
    assert [(one.name, one.cases) for one in whole.known] == [("k", 5)]
    assert whole.metric_changes is not None
    assert [(one.case, one.shift) for one in whole.metric_changes.changes] == [("t.c", Shift.WORSE)]
    found = output("whole", status=1)
    assert found.comparisons == whole.comparisons
    assert found.event_changes == whole.event_changes
    assert found.metric_changes == whole.metric_changes
    assert judged(record, [results[2]]).runs[0].verdict is Verdict.BAD
    assert "KNOWN" in CliRunner().invoke(report_verb, ["whole"]).stdout
