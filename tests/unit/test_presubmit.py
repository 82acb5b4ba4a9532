# SPDX-License-Identifier: GPL-2.0-only
"""`run --presubmit`: what controls told, which cases are chosen by it, and that they never stand for the whole."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

import harness.reports
from harness.cli.compare import compare
from harness.cli.controls import controls
from harness.cli.report import report
from harness.cli.results import results
from harness.cli.run import run
from harness.flow import control_map
from harness.flow.control_map import kept_maps, map_of
from harness.flow.controls import control_set, read_controls
from harness.flow.landing import definitions_changed
from harness.flow.presubmit import cases_of, presubmit_of
from harness.flow.run import RunOptions
from harness.flow.site import write_site
from harness.flow.tell import notice, post_checks
from harness.judge.presubmit import choose
from harness.model.codec import from_json, to_json
from harness.model.errors import UserError
from harness.model.kernel import KernelSpec
from harness.model.presubmit import CONTROL_MAP_SCHEMA, PRESUBMIT_PLAN, ControlMap, ControlSight, Presubmit
from harness.model.result import Report
from harness.model.tree import SourceSpec
from harness.reports.html import report_html
from harness.reports.junit import to_junit
from harness.reports.text import print_report
from harness.store.layout import Layout
from harness.store.runs import save_report
from harness.suites.registry import suite_named
from tests.unit.results_support import Quiet, earned
from tests.unit.test_reports import REPORT

SECONDS = {"s": {"s.quick": 0.5, "s.slow": 20.0, "s.both": 1.0, "s.new": 3.0}}


def told(*controls: tuple[str, str, tuple[str, ...]]) -> ControlMap:
    sights = tuple(ControlSight(name, (function,), red) for name, function, red in controls)
    return ControlMap(CONTROL_MAP_SCHEMA, "s", "7.3.4", "2026-12-01", sights)


MAP = told(
    ("01", "f", ("s.both", "s.slow")),
    ("02", "f", ("s.both",)),
    ("03", "f", ("s.slow",)),
    ("04", "g", ("s.quick",)),
    ("05", "g", ("s.gone",)),
)


def chosen(*changed: str, budget: float = 60.0) -> Presubmit:
    return choose((MAP,), SECONDS, frozenset(changed), budget)


def test_the_smallest_set_that_caught_all_is_chosen_the_sharpest_first() -> None:
    found = chosen("f", "h")
    assert (found.chosen, found.left_out) == (("s:s.both", "s:s.slow"), ())
    assert (found.caught, found.controls, found.seconds, found.whole) == (3, 3, 21.0, 24.5)
    assert (found.functions, found.unknown, found.anywhere) == (("f",), ("h",), False)
    assert found.sentence == "3 of 3 controls in these functions in 21 s of 24 s (put into 7.3.4)"
    assert chosen("g").chosen == ("s:s.quick",)


def test_what_does_not_fit_into_the_budget_is_named() -> None:
    found = chosen("f", budget=10.0)
    assert (found.chosen, found.left_out) == (("s:s.both",), ("s:s.slow",))
    assert (found.caught, found.controls) == (2, 3)
    assert not chosen("f", budget=0.3).chosen


def test_a_case_that_is_gone_catches_nothing() -> None:
    found = chosen("g")
    assert (found.caught, found.controls) == (1, 2)


def test_without_a_control_in_what_differs_all_count_and_it_is_said() -> None:
    found = chosen("h")
    assert found.anywhere and found.chosen == ("s:s.both", "s:s.quick", "s:s.slow")
    assert (found.caught, found.controls) == (4, 5)
    assert "(none is in what differs)" in found.sentence


def test_controls_that_nothing_ever_caught_count_and_choose_nothing() -> None:
    unseen = told(("01", "f", ("s.both",)), ("02", "f", ()), ("03", "g", ()), ("04", "g", ("s.gone",)))
    found = choose((unseen,), SECONDS, frozenset({"f"}), 60.0)
    assert (found.chosen, found.caught, found.controls) == (("s:s.both",), 1, 2)
    found = choose((unseen,), SECONDS, frozenset({"g"}), 60.0)
    assert found.anywhere and (found.chosen, found.caught, found.controls) == (("s:s.both",), 1, 4)
    assert "(none of those in what differs was ever caught)" in found.sentence


def test_a_case_that_others_made_needless_is_dropped() -> None:
    one = told(("1", "f", ("s.quick",)), ("2", "f", ("s.quick", "s.both")), ("3", "f", ("s.both",)))
    found = choose((one,), SECONDS, frozenset({"f"}), 60.0)
    assert set(found.chosen) == {"s:s.quick", "s:s.both"}
    late = told(
        ("1", "f", ("s.quick", "s.new")),
        ("2", "f", ("s.new",)),
        ("3", "f", ("s.quick", "s.new")),
        ("4", "f", ("s.new", "s.both")),
    )
    assert choose((late,), SECONDS, frozenset({"f"}), 60.0).chosen == ("s:s.new",)


C = """\
#include <linux/x.h>
#define LIMIT \\
\t3
static int count = 3;
static const int table[] = {
\t1,
};
struct load {
\tint a;
};
static int
first(int a)
{
\treturn a;
}

int second(int b,
\t   int c)
{
\treturn b + c;
}
EXPORT_SYMBOL(second);
"""


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("return a;", "return 1;", {"first"}),
        ("\t   int c", "\t   long c", {"second"}),
        ("\tint a;", "\tlong a;", {"load"}),
        ("\t1,", "\t2,", {"table"}),
        ("count = 3", "count = 4", {"count"}),
        ("\t3\n", "\t4\n", {"LIMIT"}),
        ("<linux/x.h>", "<linux/y.h>", set()),
        ("static int\nfirst(int a)\n{\n\treturn a;\n}\n", "", {"first"}),
        ("\treturn b + c;\n", "", {"second"}),
    ],
)
def test_the_definition_that_differs_is_named(old: str, new: str, names: set[str]) -> None:
    assert definitions_changed(C, C.replace(old, new)) == names
    assert definitions_changed(C.replace(old, new), C) == names


def test_a_large_new_file_takes_no_minutes() -> None:
    text = "".join(f"int f{number}(void)\n{{\n\treturn 0;\n}}\n" for number in range(5000))
    began = time.process_time()
    assert len(definitions_changed("", text)) == 5000
    assert time.process_time() - began < 10


def keep_outcomes(layout: Layout, name: str, rows: object, kernel: str = "7.3.4") -> None:
    folder = layout.root / "test-runs" / name
    folder.mkdir(parents=True)
    text = json.dumps({"schema": "x", "kernel": kernel, "controls": rows})
    (folder / "controls.json").write_text(text)


def row(name: str, *cases: str, noticed: str = "caught") -> dict[str, object]:
    return {"name": name, "noticed": noticed, "cases": list(cases)}


def test_a_map_is_what_kept_runs_tell(scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_map, "kept_maps", lambda: ())
    suite = suite_named("xe-fake")
    with pytest.raises(UserError, match="no kept run tells of controls of xe-fake"):
        map_of(suite, scratch_layout)
    keep_outcomes(
        scratch_layout,
        "20261130T120000-aaaaaa",
        [
            row("03-every-pin-counts", "xe_fake.counts.tgl", "kernel", "xe_fake.no_such_case"),
            row("38-neutral-pages-once", "xe_fake.counts.tgl", noticed="false red"),
            row("55-walk-not-by-trylock", "xe_fake.content.tgl", noticed="cannot tell"),
        ],
    )
    keep_outcomes(scratch_layout, "20261201T120000-bbbbbb", [row("03-every-pin-counts", "xe_fake.purge.dg1")])
    keep_outcomes(scratch_layout, "20261202T120000-cccccc", [row("04-x", "xe_fake.purge.dg1")], kernel="6.15.1")
    for number, text in enumerate(("", "[]", '{"kernel": 1, "controls": 3}', '{"kernel": "7.3.4", "controls": [1]}')):
        folder = scratch_layout.root / "runs" / f"20261130T12000{number}-dddddd"
        folder.mkdir(parents=True)
        (folder / "controls.json").write_text(text)
    found = map_of(suite, scratch_layout)
    assert (found.kernel, found.date) == ("7.3.4", "2026-12-01")
    (sight,) = found.controls
    assert sight.control == "03-every-pin-counts" and sight.red == ("xe_fake.counts", "xe_fake.purge")
    assert sight.functions and "55-walk-not-by-trylock" in found.unseen
    assert "38-neutral-pages-once" not in found.unseen
    # What the map knew from other stores stays, as long as there is such a control and such a case.
    other = ControlSight(
        "55-walk-not-by-trylock", functions_of("55-walk-not-by-trylock"), ("xe_fake.content", "x.gone")
    )
    changed = ControlSight("04-x", ("gone",), ("xe_fake.content",))
    old = replace(found, date="2026-11-01", controls=(other, replace(sight, red=("xe_fake.content",)), changed))
    monkeypatch.setattr(control_map, "kept_maps", lambda: (replace(old, kernel="7.3.3"), old))
    both = map_of(suite, scratch_layout)
    assert both.date == "2026-12-01"
    assert {one.control: one.red for one in both.controls} == {
        "03-every-pin-counts": ("xe_fake.content", "xe_fake.counts", "xe_fake.purge"),
        "55-walk-not-by-trylock": ("xe_fake.content",),
    }
    keep_outcomes(
        scratch_layout,
        "20261203T120000-eeeeee",
        [row("03-every-pin-counts", "xe_fake.purge.dg1")],
        kernel="7.3.5-rc1",
    )
    assert map_of(suite, scratch_layout).kernel == "7.3.5-rc1"


def functions_of(control: str) -> tuple[str, ...]:
    return next(
        one.functions for one in read_controls(control_set(suite_named("xe-fake")).folder) if one.name == control
    )


def test_a_map_is_of_all_controls_of_the_suite(scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTM_HARNESS_STORE", str(scratch_layout.root))
    keep_outcomes(scratch_layout, "20261201T120000-bbbbbb", [row("03-every-pin-counts", "xe_fake.purge.dg1")])
    words = ["--suite", "xe-fake", "--map"]
    assert json.loads(CliRunner().invoke(controls, words).stdout)["kernel"] == "7.3.4"
    for more in (["03-*"], ["--case", "purge"], ["--source", "debian"], ["--on", "local:2"]):
        ended = CliRunner().invoke(controls, [*words, *more])
        assert ended.exit_code == 2 and "--map is of all controls" in ended.stderr


def test_the_maps_of_the_subjects_fit_their_controls_and_lists() -> None:
    maps = kept_maps()
    assert {one.suite for one in maps} >= {"pressure", "xe-fake", "drm-shmem"}
    for one in maps:
        suite = suite_named(one.suite)
        patches = {control.name: control for control in read_controls(control_set(suite).folder)}
        assert suite.manifest is not None
        names = {case.name for case in suite.manifest.cases}
        for sight in one.controls:
            assert sight.functions == patches[sight.control].functions, sight.control
            assert sight.red and set(sight.red) <= names, f"{sight.control}: `controls --map` writes this file"
        assert set(one.unseen) <= patches.keys()


def test_what_is_not_committed_is_looked_at(tmp_path: Path, scratch_layout: Layout) -> None:
    source = tmp_path / "linux"
    file = source / "drivers/gpu/drm/ttm/ttm_pool.c"
    file.parent.mkdir(parents=True)
    file.write_text("int ttm_pool_backup(int a)\n{\n\treturn a;\n}\n\nint other(void)\n{\n\treturn 0;\n}\n")
    git = ["git", "-C", str(source), "-c", "user.name=x", "-c", "user.email=x@y.invalid"]
    kernel = KernelSpec(SourceSpec.parse(str(source)))
    with pytest.raises(UserError, match="is no git checkout"):
        presubmit_of(kernel, 60.0, scratch_layout, Quiet())
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"}
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], check=True, env=environment)
    with pytest.raises(UserError, match=r"nothing in .* differs from its last commit"):
        presubmit_of(kernel, 60.0, scratch_layout, Quiet())
    file.write_text(file.read_text().replace("return a", "return a + 1"))
    (file.parent / "ttm_new.c").write_text("int ttm_new(void)\n{\n\treturn 0;\n}\n")
    found = presubmit_of(kernel, 60.0, scratch_layout, Quiet())
    assert (found.functions, found.unknown, found.anywhere) == (("ttm_pool_backup",), ("ttm_new",), False)
    assert "backup_split" in cases_of(found)["pressure"]
    known = [one for one in read_controls(control_set(suite_named("pressure")).folder) if not one.neutral]
    assert found.controls == sum("ttm_pool_backup" in one.functions for one in known) > found.caught > 0
    file.write_text(file.read_text().replace("return a + 1", "return a").replace("return 0", "return 1"))
    found = presubmit_of(kernel, 60.0, scratch_layout, Quiet())
    # No control is in it: the sharpest cases of the suite for what lies in that folder.
    assert found.anywhere and found.unknown == ("other", "ttm_new") and set(cases_of(found)) == {"pressure"}
    assert found.controls == len(known)
    with pytest.raises(UserError, match=r"no case .* fits into 0\.01 s"):
        presubmit_of(kernel, 0.01, scratch_layout, Quiet())
    with pytest.raises(UserError, match="nothing says what is changed in debian"):
        presubmit_of(KernelSpec(SourceSpec.parse("debian")), 60.0, scratch_layout, Quiet())


FIRST = replace(REPORT, plan=PRESUBMIT_PLAN, presubmit=chosen("f", "h", budget=10.0))

FIRST_PRESSURE = replace(chosen("f"), chosen=("pressure:pressure.backup_split",))


def test_a_report_says_that_it_is_a_first_answer(tmp_path: Path) -> None:
    schema = json.loads((Path(harness.reports.__file__).parent / "schema" / "report-1.json").read_text())
    jsonschema.validate(json.loads(to_json(FIRST)), schema)
    assert from_json(Report, to_json(FIRST)) == FIRST
    with (tmp_path / "text").open("w") as file:
        print_report(FIRST, tmp_path, file)
    text = (tmp_path / "text").read_text()
    assert "presubmit: these cases caught 2 of 3 controls in these functions in 1 s of 24 s (put into 7.3.4)" in text
    assert "no control is in h" in text and "left out for 10 s: s:s.slow" in text
    assert f"verdict: {REPORT.verdict}, as far as these few cases tell (presubmit)" in text
    assert "the gate" not in text
    with (tmp_path / "text").open("w") as file:
        print_report(replace(FIRST, base=FIRST.provenance), tmp_path, file)
    assert "left out: the gate on each patch, which --gate adds" in (tmp_path / "text").read_text()


def test_it_never_stands_for_the_whole(
    tmp_path: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTM_HARNESS_STORE", str(scratch_layout.root))
    for name, one in (("20261201T000000-aaaaaa", FIRST), ("20261201T000001-bbbbbb", REPORT)):
        directory = scratch_layout.runs / name
        directory.mkdir(parents=True)
        save_report(directory, earned(replace(one, id=name)))
    with pytest.raises(UserError, match="no check of a series"):
        post_checks(FIRST, "https://patchwork.invalid/series/1/")
    ended = CliRunner().invoke(report, ["aaaaaa", "--as", "mail"])
    assert ended.exit_code == 2 and "which is no check of a series" in ended.stderr
    listed = CliRunner().invoke(results, ["list"]).stdout.splitlines()
    assert [line.endswith("(presubmit)") for line in listed[-2:]] == [False, True]
    assert write_site(scratch_layout, tmp_path / "site", Quiet()).runs == 1
    pages = "".join(path.read_text() for path in (tmp_path / "site").rglob("*.[hj]*"))
    assert "bbbbbb" in pages and "aaaaaa" not in pages
    assert notice(FIRST, tmp_path)["presubmit"] and not notice(REPORT, tmp_path)["presubmit"]
    assert "presubmit" in to_junit(FIRST) and "presubmit" not in to_junit(REPORT)
    assert "A first answer of a few cases (presubmit)" in report_html(FIRST, tmp_path)
    for words in (("aaaaaa", "bbbbbb"), ("bbbbbb", "aaaaaa")):
        ended = CliRunner().invoke(compare, words)
        assert ended.exit_code == 2
        assert "was a run with --presubmit: a few chosen cases, which never stand for the whole" in ended.stderr


def test_a_run_is_marked_as_a_first_answer(
    tmp_path: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[RunOptions] = []

    def execute(_requests: object, _layout: object, _progress: object, options: RunOptions) -> None:
        asked.append(options)
        raise UserError("enough")

    monkeypatch.setenv("TTM_HARNESS_STORE", str(scratch_layout.root))
    monkeypatch.setattr("harness.flow.run.execute", execute)
    monkeypatch.setattr("harness.flow.presubmit.presubmit_of", lambda *_: FIRST_PRESSURE)
    for more in ([], ["--fresh"], ["--keep-state"], ["--gate"]):
        assert CliRunner().invoke(run, ["--presubmit", "--source", str(tmp_path), *more]).exit_code == 2
    assert [(one.plan, one.presubmit) for one in asked] == [(PRESUBMIT_PLAN, FIRST_PRESSURE)] * 4
    assert [one.fresh for one in asked] == [False, True, True, False]
    assert [one.gate for one in asked] == [False, False, False, True]
    assert CliRunner().invoke(run, ["--source", str(tmp_path)]).exit_code == 2 and asked[-1].gate


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--presubmit", "--suite", "pressure"), "chooses suites and cases itself"),
        (("--presubmit", "--case", "x"), "chooses suites and cases itself"),
        (("--presubmit", "ttm-shrinker"), "is no part of a plan"),
        (("--presubmit", "--resume"), "leave PLAN"),
        (("--budget", "60s"), "--budget is for --presubmit"),
        (("--presubmit", "--budget", "soon", "--source", "debian"), "is no time"),
    ],
)
def test_what_does_not_go_together_is_refused(
    words: tuple[str, ...], said: str, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTM_HARNESS_STORE", str(scratch_layout.root))
    ended = CliRunner().invoke(run, ["--list", *words])
    assert ended.exit_code == 2 and said in ended.stderr
