# SPDX-License-Identifier: GPL-2.0-only
"""What was kept is believed only when it is what was left: verdicts that follow from cases, whole evidence."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.compare import compare
from harness.cli.report import report as report_command
from harness.cli.results import results as results_command
from harness.flow.collect import CellResult
from harness.flow.history import Kept, read_history
from harness.flow.run_loader import read_report
from harness.flow.run_record import (
    Planned,
    Record,
    finished_entry,
    load_result,
    load_results,
    save_record,
    save_result,
    seal_boot,
    take_over,
)
from harness.flow.verdict import unearned
from harness.model.codec import to_json
from harness.model.compare import Leg
from harness.model.errors import StoreDamaged
from harness.model.outcome import Outcome, Verdict
from harness.model.result import LeftOut, Report
from harness.store.journal import Entry, Journal, Step, read_journal
from harness.store.layout import Layout
from harness.store.runs import load_report, save_report
from harness.store.sealed import damage
from tests.unit.results_support import boot, cases, earned, keep, plain_report, provenance, report, run_name


def two_legs(before: Outcome, after: Outcome) -> Report:
    base, tip = provenance("6.12.1"), provenance("7.3.4")
    runs = boot(base, 1, leg=Leg.BASE), boot(tip, 2)
    found = cases(runs[0], {"a": before}) + cases(runs[1], {"a": after})
    return earned(report(runs, found, tip, base=base))


P, F = Outcome.PASS, Outcome.FAIL


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (plain_report(a=P), Verdict.GOOD),
        (plain_report(a=F), Verdict.BAD),
        (earned(plain_report(a=P, b=Outcome.NOT_RUN)), Verdict.CANNOT_TELL),
        (two_legs(P, P), Verdict.GOOD),
        (two_legs(F, P), Verdict.GOOD),
        (two_legs(P, F), Verdict.BAD),
        (two_legs(F, F), Verdict.CANNOT_TELL),
    ],
)
def test_a_verdict_that_was_earned_is_believed_and_another_is_not(found: Report, verdict: Verdict) -> None:
    assert found.verdict is verdict
    assert unearned(found) == ""
    for other in Verdict:
        allowed = {verdict} | ({Verdict.CANNOT_TELL} if verdict is Verdict.GOOD else set())
        assert (unearned(replace(found, verdict=other)) == "") is (other in allowed)


FAILED, PASSED = plain_report(a=F), plain_report(a=P)
FORGERIES: dict[str, tuple[Report, str]] = {
    "good beside a failed case": (
        replace(FAILED, verdict=Verdict.GOOD),
        "its verdict is good, and its boots make it bad",
    ),
    "a boot that is good beside its failed case": (
        replace(FAILED, verdict=Verdict.GOOD, runs=PASSED.runs),
        "boot 001-boot is said to be good, and what was found in it makes it bad: 1 case FAIL",
    ),
    "a case that was made a pass": (
        replace(FAILED, cases=PASSED.cases),
        "boot 001-boot is said to be bad, and what was found in it makes it good",
    ),
    "no cases": (replace(PASSED, cases=()), "no case passed, and none failed"),
    "no boots": (replace(PASSED, cases=(), runs=()), "its verdict is good, and its boots make it cannot"),
    "a case of no boot": (
        replace(PASSED, cases=cases(boot(provenance(), 9), {"a": F})),
        "a case of a boot '009-boot', which is not there",
    ),
    "two boots of one name": (
        replace(PASSED, runs=PASSED.runs * 2),
        "two boots have the same name",
    ),
    "a suite that is missing": (
        replace(PASSED, left_out=(LeftOut("xe-fake", "7.3.4", "b", "it does not build", counts=True),)),
        "its verdict is good, and its boots make it cannot tell",
    ),
    "problems": (
        replace(PASSED, runs=(replace(PASSED.runs[0], problems=("the guest lied",)),)),
        "makes it cannot tell: the guest lied",
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_report_is_refused_by_all_that_read_one(
    name: str, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    forged, why = FORGERIES[name]
    monkeypatch.setenv("TTM_HARNESS_STORE", str(scratch_layout.root))
    directory, other = keep(scratch_layout, 1), keep(scratch_layout, 2, plain_report(a=P))
    save_report(directory, replace(forged, id=directory.name))
    with pytest.raises(StoreDamaged) as caught:
        read_report(directory)
    assert why in caught.value.message and f"{directory}/report.json is not believed" in caught.value.message
    for form in ("text", "json", "junit", "html"):
        done = CliRunner().invoke(report_command, [directory.name, "--as", form])
        assert done.exit_code == 3 and "is not believed" in done.output, done.output
    for words in ((directory.name, other.name), (other.name, directory.name)):
        done = CliRunner().invoke(compare, list(words))
        assert done.exit_code == 3 and "is not believed" in done.output, done.output
    listed = CliRunner().invoke(results_command, ["list", "--json"])
    assert [run["name"] for run in json.loads(listed.stdout)["runs"]] == [other.name]
    assert "is not believed" in listed.output
    for shown in ([directory.name], [other.name, "--against", directory.name]):
        done = CliRunner().invoke(results_command, ["show", *shown])
        assert done.exit_code == 3 and "is not believed" in done.output, done.output


@pytest.fixture
def ended(scratch_layout: Layout) -> Path:
    """A run of one boot that ended as the harness ends it."""
    return run_of(scratch_layout, 1)


def run_of(layout: Layout, days_ago: int) -> Path:
    kernel = provenance()
    planned = boot(kernel)
    directory = layout.runs / run_name(days_ago)
    place = directory / planned.directory
    (place / "results").mkdir(parents=True)
    (place / "console.log").write_text("the kernel's own words\n")
    (place / "control.log").write_text("frames\n")
    (place / "results" / "pressure.log").write_text("ok\n")
    found = earned(report([planned], cases(planned, {"a": P}), kernel))
    result = CellResult(found.runs[0], found.cases, ())
    one = Planned(1, Leg.TIP, "", planned.cell, "k" * 64, "shape", 0, 0)
    save_record(directory, Record("", (), (kernel,), (one,)))
    save_result(place, result)
    with Journal(directory) as journal:
        entry = finished_entry(one, result, sealed=seal_boot(place).id)
        journal.append(replace(entry, place=planned.directory))
        journal.append(
            Entry(Step.ENDED, verdict="good", sealed=save_report(directory, replace(found, id=directory.name)))
        )
    return directory


def kept_in(layout: Layout) -> Kept:
    return read_history(layout).kept["k" * 64]


HARMS: dict[str, Callable[[Path], object]] = {
    "console emptied": lambda place: os.truncate(place / "console.log", 0),
    "control gone": lambda place: (place / "control.log").unlink(),
    "results gone": lambda place: shutil.rmtree(place / "results"),
    "a word changed": lambda place: (place / "console.log").write_text("The kernel's own words\n"),
    "a result changed": lambda place: (place / "result.json").write_text(
        (place / "result.json").read_text().replace('"PASS"', '"XFAIL"')
    ),
    "sealed anew": lambda place: ((place / "console.log").write_text("x"), seal_boot(place)),
    "no seal": lambda place: (place / ".seal").unlink(),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_boot_without_its_evidence_is_not_kept_and_tells_nothing(
    harm: str, ended: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTM_HARNESS_STORE", str(scratch_layout.root))
    kept = kept_in(scratch_layout)
    assert kept.load().run.verdict is Verdict.GOOD
    assert CliRunner().invoke(report_command, [ended.name]).exit_code == 0
    HARMS[harm](ended / "001-boot")
    assert not kept.whole
    with pytest.raises(StoreDamaged):
        kept.load()
    with pytest.raises(StoreDamaged):
        take_over(kept.place, kept.entry.sealed, scratch_layout.runs / "target")
    assert not (scratch_layout.runs / "target").exists()
    done = CliRunner().invoke(report_command, [ended.name])
    assert done.exit_code == 3
    assert "the evidence of 1 boot is not what was left" in done.output
    read = read_report(ended)
    assert (read.verdict, read.runs[0].verdict) == (Verdict.CANNOT_TELL,) * 2
    (ended / "report.json").unlink()
    assert CliRunner().invoke(report_command, [ended.name]).exit_code == 3


@pytest.mark.parametrize("harm", ["gone", "emptied", "cut"])
def test_a_report_without_its_journal_tells_nothing(harm: str, ended: Path) -> None:
    path = ended / "journal.jsonl"
    if harm == "gone":
        path.unlink()
    else:
        path.write_text("" if harm == "emptied" else path.read_text()[:-400])
    read = read_report(ended)
    assert read.verdict is Verdict.CANNOT_TELL
    assert "is not in the journal of the run" in read.reasons[0]


def test_a_run_of_before_the_hashes_is_read_but_not_kept(ended: Path, scratch_layout: Layout) -> None:
    (ended / "001-boot" / ".seal").unlink()
    entries = [replace(entry, sealed="") for entry in read_journal(ended)]
    (ended / "journal.jsonl").unlink()
    with Journal(ended) as journal:
        for entry in entries:
            journal.append(entry)
    assert read_report(ended).verdict is Verdict.GOOD
    one = Planned(1, Leg.TIP, "", boot(provenance()).cell, "", "", 0, 0)
    assert len(load_results(ended, Record("", (), (), (one,)))) == 1
    assert not kept_in(scratch_layout).whole
    with pytest.raises(StoreDamaged, match="was made before its files were hashed"):
        kept_in(scratch_layout).load()


def test_what_is_taken_over_shares_nothing_with_what_it_is_of(ended: Path, scratch_layout: Layout) -> None:
    kept = kept_in(scratch_layout)
    target = scratch_layout.runs / "target"
    take_over(kept.place, kept.entry.sealed, target)
    names = ("console.log", "control.log", "results/pressure.log", "result.json")
    assert all((target / name).read_bytes() == (kept.place / name).read_bytes() for name in names)
    assert all((target / name).stat().st_nlink == 1 for name in names)
    for name in names:
        os.truncate(target / name, 0)
    assert kept.whole and damage(kept.place, thorough=True) == ""


def test_a_boot_that_was_replayed_is_as_good_as_before(ended: Path, scratch_layout: Layout) -> None:
    """By its reproduce.sh, which writes beside what the boot left."""
    (ended / "001-boot" / "again" / "results").mkdir(parents=True)
    (ended / "001-boot" / "again" / "swap.img").touch()
    assert read_report(ended).verdict is Verdict.GOOD
    kept = kept_in(scratch_layout)
    take_over(kept.place, kept.entry.sealed, scratch_layout.runs / "target")
    assert not (scratch_layout.runs / "target" / "again").exists()


def test_a_moved_run_is_as_good_as_before(ended: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(ended, tmp_path / ended.name))
    assert read_report(copy).verdict is Verdict.GOOD


def test_a_report_that_was_changed_after_the_end_is_refused(ended: Path) -> None:
    path = ended / "report.json"
    path.write_text(path.read_text().replace('"seconds": 3.0', '"seconds": 4.0'))
    with pytest.raises(StoreDamaged, match="is not the report with which the run ended"):
        load_report(ended)
    with Journal(ended) as journal:
        journal.append(Entry(Step.RESUMED))
    assert load_report(ended).verdict is Verdict.GOOD, "a run that goes on makes it anew"


def test_a_result_whose_verdict_does_not_follow_is_not_believed(ended: Path) -> None:
    place = ended / "001-boot"
    result = load_result(place)
    save_result(place, replace(result, cases=tuple(replace(one, outcome=F) for one in result.cases)))
    with pytest.raises(StoreDamaged, match=r"result\.json is not believed: boot 001-boot is said to be good"):
        load_result(place)


def test_the_json_of_a_journal_without_hashes_is_still_read(ended: Path) -> None:
    path = ended / "journal.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        del line["sealed"]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [entry.sealed for entry in read_journal(ended)] == ["", ""]
    assert to_json(load_report(ended))
