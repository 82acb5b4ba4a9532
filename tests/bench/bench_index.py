# SPDX-License-Identifier: GPL-2.0-only
"""The index of a million cases: list, filter, history, compare; each also as the ratio to a scan of the reports.

The scan is what the same question costs without an index: reading the report.json of every run. It is measured on a
few of them and multiplied. BENCH_CASES (1000000) and BENCH_DB (a PostgreSQL URL; else SQLite) change what is
measured.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from harness.flow.results import Results
from harness.model.outcome import Outcome, Verdict
from harness.model.result import Report
from harness.model.results import State, Wanted
from harness.store.database import explained, open_engine, place_of
from harness.store.index import Names, write_run
from harness.store.layout import Layout
from harness.store.rows import RunValues, rows_of
from harness.store.runs import load_report
from tests.unit.results_support import SERIES, Quiet, boot, cases, keep, provenance, report

_BOOTS, _CASES = 20, 100  # of a run; 100 cases are what pressure has
_NAMES = 5_000
_KERNELS = ("6.12.117", "6.15.3", "7.1.9", "7.3.4", "7.4-rc2")
_SWAPS = ("none", "disk:1G", "zram:256M")
_SCANNED = 3  # runs
_TURNS = 3


def one_report(number: int) -> Report:
    """A run of 20 boots with 100 cases each; one case in a thousand is bad."""
    kernel = provenance(_KERNELS[number % len(_KERNELS)], SERIES if number % 7 == 0 else "")
    boots, found = [], []
    for place in range(_BOOTS):
        run = boot(kernel, place + 1, ram=(128, 192, 256, 512)[place % 4], swap=_SWAPS[place % 3])
        boots.append(run)
        first = (number * 37 + place % 4 * _CASES) % _NAMES
        outcomes = {
            f"group{(first + case) % _NAMES // 50}.case{(first + case) % _NAMES}": Outcome.FAIL
            if (number * 31 + place * 7 + case) % 1000 == 0
            else Outcome.PASS
            for case in range(_CASES)
        }
        found += [
            replace(case, message="") if case.outcome is Outcome.PASS else case for case in cases(run, outcomes)
        ]
    return report(boots, found, kernel, Verdict.BAD if number % 11 == 0 else Verdict.GOOD)


def fill(layout: Layout, results: Results, url: str | None, runs: int) -> list[str]:
    """Run directories with small stand-ins of reports, and their rows by the harness's own way of inserting."""
    results.refresh()
    place, names, made = place_of(layout, url), Names(), []
    engine = open_engine(place)
    for number in range(runs):
        path = keep(layout, number / 4, number=number)
        (path / "report.json").write_text("{}")
        seen = (path / "report.json").lstat()
        rows = rows_of(one_report(number), State.FINISHED)
        own = {"name": path.name, "stamp": f"finished {seen.st_ino}.{seen.st_size}.{seen.st_mtime_ns}", "trouble": ""}
        with explained(place), engine.begin() as connection:
            write_run(connection, RunValues({**rows.values, **own}, rows.boots), names)
        made.append(path.name)
    return made


def scan_seconds(layout: Layout, runs: int) -> float:
    """What reading the reports of so many runs takes."""
    paths = [keep(layout, 1000 + number, one_report(number)) for number in range(_SCANNED)]
    began = time.monotonic()
    for path in paths:
        load_report(path)
    took = time.monotonic() - began
    for path in paths:
        shutil.rmtree(path)
    return took / _SCANNED * runs


def test_questions_to_a_million_cases(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "store")
    layout.root.mkdir()
    url = os.environ.get("BENCH_DB")
    runs = max(4, int(os.environ.get("BENCH_CASES", "1000000")) // (_BOOTS * _CASES))
    scan = scan_seconds(layout, runs)
    results = Results(layout, Quiet(), url)
    began = time.monotonic()
    made = fill(layout, results, url, runs)
    total = runs * _BOOTS * _CASES
    print(f"\n{total} cases in {runs} runs, written in {time.monotonic() - began:.0f} s to {results.where}")
    print(f"a scan of all reports: {scan:.0f} s, from {_SCANNED} of them; load {os.getloadavg()[0]:.1f}")
    middle = runs // 2
    questions: dict[str, Callable[[], object]] = {
        "nothing new (refresh)": results.refresh,
        "list, the newest 20": lambda: results.list(Wanted(), 20).runs,
        "list, one case": lambda: results.list(Wanted(case="group3.case150"), 20).runs,
        "list, a glob over 50 names": lambda: results.list(Wanted(case="group3.*"), 20).runs,
        "list, all cases (*)": lambda: results.list(Wanted(case="*"), 20).runs,
        "list, any FAIL": lambda: results.list(Wanted(outcomes=(Outcome.FAIL,)), 20).runs,
        "list, a case that FAILs on 7.3 with zram": lambda: results.list(
            Wanted(kernel="7.3", case="group7.*", outcomes=(Outcome.FAIL,), machine=("zram",)), 20
        ),
        "list, kernel, series, machine": lambda: (
            results.list(Wanted(kernel="7", series="ttm-shrinker@v8", machine=("256M",)), 20).runs
        ),
        "history of one case": lambda: results.history(Wanted(case="group3.case150"), 50).cases,
        "history of a glob": lambda: results.history(Wanted(case="group3.*"), 50).cases,
        "show a run": lambda: results.run(made[middle], 20),
        "compare two runs": lambda: results.run(made[middle], 20, against=made[middle + 5 if runs > 9 else 0]),
    }
    for words, question in questions.items():
        took = min(timed(question) for _ in range(_TURNS))
        print(f"{words:<42} {took:7.3f} s, {scan / took:8.0f} times as fast as the scan")


def timed(question: Callable[[], object]) -> float:
    began = time.monotonic()
    assert question()
    return time.monotonic() - began
