# SPDX-License-Identifier: GPL-2.0-only
"""The index of ten million cases: list, filter, history, compare; each also as the ratio to a scan of the reports.

The scan is what the same question costs without an index: reading the report.json of every run. It is measured on a
few of them and multiplied. BENCH_CASES (10000000) and BENCH_DB (a PostgreSQL URL; else SQLite) change what is
measured. With BENCH_KEEP, a directory, what was filled is kept there, and measured again without being filled again.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, text

from harness.flow.results import Results
from harness.model.outcome import Outcome, Verdict
from harness.model.result import Report
from harness.model.results import RunQuery, State
from harness.store.database import explained, open_engine, place_of
from harness.store.index import Names, write_run
from harness.store.layout import Layout
from harness.store.rows import RunValues, rows_of
from harness.store.runs import load_report, run_directories
from harness.store.tables import Base, BootRow, CaseRow, RunRow
from tests.unit.results_support import SERIES, Quiet, boot, cases, keep, provenance, report

_BOOTS, _CASES = 20, 100  # of a run; 100 cases are what pressure has
_NAMES = 5_000
_KERNELS = ("6.12.117", "6.15.3", "7.1.9", "7.3.4", "7.4-rc2")
_SWAPS = ("none", "disk:1G", "zram:256M")
_SCANNED = 3  # runs
_TURNS = 3
_BATCH = 50  # runs in a transaction
_FIRST_ID = 1_000_000
_DIFFERENT = 750  # runs, after which they come again under other names: to make them costs more than to write them
_SECONDS = 1.0  # no question may take longer


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


@cache
def rows_like(number: int) -> RunValues:
    return rows_of(one_report(number), State.FINISHED)


def fill(layout: Layout, results: Results, url: str | None, runs: int) -> list[str]:
    """Run directories with small stand-ins of reports, and their rows: some by the harness's own way of inserting, to
    see what that costs, more in bulk, and the rest as copies that the database makes of these.
    """
    results.refresh()
    place, names, made = place_of(layout, url), Names(), []
    engine = open_engine(place)
    began = time.monotonic()
    for first in range(0, runs, _BATCH):
        last = min(runs, first + _BATCH)
        batch = [(number, keep(layout, number / 4, number=number)) for number in range(first, last)]
        made += [path.name for _, path in batch]
        rows = [(number, named(path, rows_like(number % _DIFFERENT))) for number, path in batch]
        with explained(place), engine.begin() as connection:
            if first == 0:
                for _, one in rows:
                    write_run(connection, one, names)
            else:
                write_in_bulk(connection, rows, names, with_cases=first < _BATCH + _DIFFERENT)
        if first == 0:
            print(f"\none by one {last * _BOOTS * _CASES / (time.monotonic() - began):.0f} cases a second")
    with explained(place), engine.begin() as connection:
        copy_cases(connection, runs)
    return made


def copy_cases(connection: Connection, runs: int) -> None:
    """The cases of runs from `_BATCH` on, again and again under the numbers of later boots."""
    index = next(
        iter(Base.metadata.tables[CaseRow.__tablename__].indexes)
    )  # made anew afterwards: in one go, as in a database that was filled
    index.drop(connection)
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")  # each key is there
    begin = _FIRST_ID + _BATCH * _BOOTS
    for first in range(_BATCH + _DIFFERENT, runs, _DIFFERENT):
        shift = (first - _BATCH) * _BOOTS
        end = begin + min(_DIFFERENT, runs - first) * _BOOTS
        connection.exec_driver_sql(
            f"INSERT INTO cases SELECT boot_id + {shift}, position, name_id, outcome, seconds, message FROM cases "
            f"WHERE boot_id >= {begin} AND boot_id < {end}"
        )
    index.create(connection)
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("ANALYZE")  # which a server does by itself, after a while


def named(path: Path, rows: RunValues) -> RunValues:
    (path / "report.json").write_text("{}")
    seen = (path / "report.json").lstat()
    own = {"name": path.name, "stamp": f"finished {seen.st_ino}.{seen.st_size}.{seen.st_mtime_ns}", "trouble": ""}
    return RunValues({**rows.values, **own}, rows.boots)


def write_in_bulk(
    connection: Connection, batch: list[tuple[int, RunValues]], names: Names, *, with_cases: bool
) -> None:
    """With numbers of our own, above all that there are; COPY where there is that."""
    runs, boots, cases = [], [], []
    for number, rows in batch:
        run_id = _FIRST_ID + number
        runs.append({**rows.values, "id": run_id})
        for place, one in enumerate(rows.boots):
            boot_id = _FIRST_ID + number * _BOOTS + place
            boots.append({**one.values, "id": boot_id, "run_id": run_id})
            cases += [
                (
                    boot_id,
                    position,
                    names.id_of(connection, case.suite, case.name),
                    case.outcome,
                    case.seconds,
                    case.message,
                )
                for position, case in enumerate(one.cases)
            ]
    connection.execute(insert(RunRow), runs)
    connection.execute(insert(BootRow), boots)
    if not with_cases:
        return
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("INSERT INTO cases VALUES (?, ?, ?, ?, ?, ?)", cases)
        return
    cursor: Any = connection.connection.cursor()  # psycopg's, which has more than DBAPI asks for
    with cursor.copy("COPY cases FROM STDIN") as copy:
        for row in cases:
            copy.write_row(row)
    cursor.close()


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


@pytest.mark.timeout(7200)
def test_questions_to_ten_million_cases(tmp_path: Path) -> None:
    kept = os.environ.get("BENCH_KEEP")
    layout = Layout(Path(kept) if kept else tmp_path / "store")
    layout.root.mkdir(exist_ok=True)
    url = os.environ.get("BENCH_DB")
    runs = max(4, int(os.environ.get("BENCH_CASES", "10000000")) // (_BOOTS * _CASES))
    made = [path.name for path in run_directories(layout)]  # the newest first, as they are filled
    scan = scan_seconds(layout, runs)
    results = Results(layout, Quiet(), url)
    began = time.monotonic()
    if not made:
        made = fill(layout, results, url, runs)
        print(f"written in {time.monotonic() - began:.0f} s")
    assert len(made) == runs, "BENCH_KEEP has another number of runs"
    print(f"{runs * _BOOTS * _CASES} cases in {runs} runs in {results.where}")
    print(f"a scan of all reports: {scan:.0f} s, from {_SCANNED} of them; load {os.getloadavg()[0]:.1f}")
    middle = runs // 2
    questions: dict[str, Callable[[], object]] = {
        "nothing new (refresh)": results.refresh,
        "list, the newest 20": lambda: results.list(RunQuery(), 20).runs,
        "list, one case": lambda: results.list(RunQuery(case="group3.case150"), 20).runs,
        "list, a glob over 50 names": lambda: results.list(RunQuery(case="group3.*"), 20).runs,
        "list, all cases (*)": lambda: results.list(RunQuery(case="*"), 20).runs,
        "list, any FAIL": lambda: results.list(RunQuery(outcomes=(Outcome.FAIL,)), 20).runs,
        "list, a case that FAILs on 7.3 with zram": lambda: results.list(
            RunQuery(kernel="7.3", case="group7.*", outcomes=(Outcome.FAIL,), machine=("zram",)), 20
        ),
        "list, kernel, series, machine": lambda: (
            results.list(RunQuery(kernel="7", series="ttm-shrinker@v8", machine=("256M",)), 20).runs
        ),
        "history of one case": lambda: results.history(RunQuery(case="group3.case150"), 50).cases,
        "history of a glob": lambda: results.history(RunQuery(case="group3.*"), 50).cases,
        "show a run": lambda: results.run(made[middle], 20),
        "what boots told before": lambda: results.telling().shares,
        "compare two runs": lambda: results.run(made[middle], 20, against=made[middle + 5 if runs > 9 else 0]),
    }
    server = postmaster_of(layout, url)
    print(f"{'':<42} first     best     CPU here, at the server")
    for words, question in questions.items():
        turns = [timed(question, server) for _ in range(_TURNS)]
        took, cpu, there = (min(column) for column in zip(*turns, strict=True))
        slow = "" if turns[0][0] <= _SECONDS else f", above {_SECONDS:g} s"
        print(
            f"{words:<42}{turns[0][0]:6.3f} s {took:6.3f} s {cpu:6.3f} s {there:6.2f} s, "
            f"{scan / took:8.0f} times the scan{slow}",
            flush=True,
        )


def timed(question: Callable[[], object], server: int | None) -> tuple[float, float, float]:
    """Seconds by the clock, of this process on a CPU, and of the server's processes on a CPU."""
    there, began, worked = children_cpu(server), time.monotonic(), time.process_time()
    assert question()
    took, cpu = time.monotonic() - began, time.process_time() - worked
    if server is not None:
        time.sleep(0.2)  # until it has taken note of the end of its child
    return took, cpu, children_cpu(server) - there


def postmaster_of(layout: Layout, url: str | None) -> int | None:
    """The process of a PostgreSQL server on this host, whose children answer; None for SQLite."""
    if url is None:
        return None
    with open_engine(place_of(layout, url)).connect() as connection:
        backend = int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
        return int(stat_of(backend)[1])


def children_cpu(process: int | None) -> float:
    """Seconds of CPU that the children of a process took that have ended."""
    if process is None:
        return 0.0
    fields = stat_of(process)
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def stat_of(process: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
