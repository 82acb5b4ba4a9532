# SPDX-License-Identifier: GPL-2.0-only
"""The index of the run directories: what it finds, what it skips, and that nothing can break it for good."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from hypothesis import given
from hypothesis import strategies as st

from harness.flow.results import Results
from harness.flow.run_record import Planned, Record, save_record
from harness.model.codec import to_json, to_plain
from harness.model.compare import Change, Leg
from harness.model.errors import HarnessError, InfraError, UserError
from harness.model.machine import Difference
from harness.model.outcome import Outcome, Verdict
from harness.model.result import Provenance
from harness.model.results import Count, RunQuery, State
from harness.store import database
from harness.store.database import bring_up_to_date, open_engine, place_of
from harness.store.layout import Layout
from harness.store.queries import glob_regex
from harness.store.runs import held_again
from harness.store.tables import Base
from tests.unit.results_support import (
    NOON,
    SERIES,
    Quiet,
    boot,
    cases,
    earned,
    keep,
    plain_report,
    provenance,
    report,
    run_name,
)

ALL = RunQuery()


@pytest.fixture
def results(scratch_layout: Layout) -> Results:
    return Results(scratch_layout, Quiet())


def names(results: Results, wanted: RunQuery = ALL, limit: int = 100) -> list[str]:
    return [run.name for run in results.list(wanted, limit).runs]


def rows(layout: Layout, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(layout.root / "index.sqlite") as connection:
        return connection.execute(query).fetchall()


def test_a_run_is_there_as_soon_as_its_report_is(results: Results, scratch_layout: Layout) -> None:
    assert names(results) == []
    keep(scratch_layout, 2, plain_report())
    assert names(results) == [run_name(2)]
    keep(scratch_layout, 1, plain_report(a=Outcome.FAIL, b=Outcome.PASS, c=Outcome.SKIP))
    newest, oldest = results.list(ALL, 100).runs
    assert (newest.verdict, newest.executed, newest.bad, newest.boots) == (Verdict.BAD, 2, 1, 1)
    assert (newest.kernels, newest.suites, newest.seconds) == (("7.3.4",), ("pressure",), 3.0)
    assert oldest.started == (NOON - timedelta(days=2)).isoformat()


def test_only_what_changed_is_read_again(results: Results, scratch_layout: Layout) -> None:
    first, second = keep(scratch_layout, 2, plain_report()), keep(scratch_layout, 1, plain_report())
    assert results.refresh().read == 2
    assert results.refresh().read == 0
    shutil.rmtree(first)
    again = results.refresh()
    assert (again.read, again.dropped, again.runs) == (0, 1, 1)
    assert rows(scratch_layout, "SELECT count(*) FROM cases") == [(1,)]
    keep_report(second, plain_report(a=Outcome.CRASH))
    assert results.refresh().read == 1
    assert [run.verdict for run in results.list(ALL, 9).runs] == [Verdict.BAD]
    assert results.refresh(rebuild=True).read == 1


def keep_report(directory: Path, what: object) -> None:
    (directory / "report.json").write_text(to_json(what))


@pytest.fixture
def several(scratch_layout: Layout) -> Layout:
    """A base and a tip with a series; an older kernel in a smaller machine; a bad one."""
    base, tip = provenance("6.12.117"), provenance("7.3.4", SERIES)
    before, after = boot(base, 1, leg=Leg.BASE), boot(tip, 2, swap="zram:256M")
    found = cases(before, {"evict": Outcome.CRASH}) + cases(after, {"evict": Outcome.PASS, "scan": Outcome.PASS})
    keep(scratch_layout, 10, report([before, after], found, tip, base=base))
    old = provenance("7.30.1")
    small = boot(old, ram=128, swap="none", suites=("ttm-kunit",))
    keep(scratch_layout, 5, report([small], cases(small, {"ttm_pool.alloc": Outcome.PASS}), old))
    keep(scratch_layout, 1, plain_report("7.3.4-rc2", evict=Outcome.FAIL))
    return scratch_layout


@pytest.mark.parametrize(
    ("wanted", "days"),
    [
        (RunQuery(kernel="7.3"), [1, 10]),
        (RunQuery(kernel="7.3.4"), [1, 10]),
        (RunQuery(kernel="7.3.4-rc2"), [1]),
        (RunQuery(kernel="7.30*"), [5]),
        (RunQuery(kernel="7"), [1, 5, 10]),
        (RunQuery(kernel="6.1"), []),
        (RunQuery(series="shrinker"), [10]),
        (RunQuery(series="ttm-shrinker@v8"), [10]),
        (RunQuery(series="ttm-shrinker@v9"), []),
        (RunQuery(series="ttm-* v?"), [10]),
        (RunQuery(suite="ttm-kunit"), [5]),
        (RunQuery(suite="kunit"), []),
        (RunQuery(suite="p*e"), [1, 10]),
        (RunQuery(suite="pressure", case="ttm_pool.alloc"), []),
        (RunQuery(case="pressure.e*"), [1, 10]),
        (RunQuery(case="evict"), [1, 10]),
        (RunQuery(case="vict"), []),
        (RunQuery(case="ttm_pool.[a-b]*"), [5]),
        (RunQuery(outcomes=(Outcome.CRASH, Outcome.FAIL)), [1, 10]),
        (RunQuery(case="scan", outcomes=(Outcome.CRASH,)), []),
        (RunQuery(verdict=Verdict.BAD), [1]),
        (RunQuery(verdict=Verdict.CANNOT_TELL), []),
        (RunQuery(machine=("128M",)), [5]),
        (RunQuery(machine=("256M", "zram")), [10]),
        (RunQuery(machine=("56M",)), []),
        (RunQuery(machine=("1G", "disk")), [1, 10]),
        # The base has disk, the tip has zram: no boot of one kernel in the other's machine.
        (RunQuery(kernel="6.12", machine=("zram",)), []),
        (RunQuery(kernel="6.12", case="scan"), []),
        (RunQuery(since=NOON - timedelta(days=6)), [1, 5]),
        (RunQuery(state=State.UNFINISHED), []),
    ],
)
def test_filters(several: Layout, wanted: RunQuery, days: list[int]) -> None:
    assert names(Results(several, Quiet()), wanted) == [run_name(ago) for ago in days]


def test_what_was_asked_for_is_counted_and_the_rest_is_only_a_number(several: Layout) -> None:
    listing = Results(several, Quiet()).list(RunQuery(case="evict"), 1)
    assert listing.total == 2
    assert [run.matching for run in listing.runs] == [(Count(Outcome.FAIL, 1),)]


def test_the_history_of_a_case(several: Layout) -> None:
    results = Results(several, Quiet())
    found = results.history(RunQuery(case="evict"), 10).cases
    assert [(one.run, str(one.leg), one.kernel, one.outcomes[0].outcome) for one in found] == [
        (run_name(1), "tip", "7.3.4-rc2", Outcome.FAIL),
        (run_name(10), "tip", "7.3.4", Outcome.PASS),
        (run_name(10), "base", "6.12.117", Outcome.CRASH),
    ]
    assert found[0].message == "it is FAIL"
    assert len(results.history(RunQuery(case="evict"), 2).cases) == 2
    with pytest.raises(UserError, match="no case of that name"):
        results.history(RunQuery(case="evicted"), 10)


def test_repeats_are_n_of_m_and_the_message_is_that_of_the_finding(results: Results, scratch_layout: Layout) -> None:
    kernel = provenance()
    boots = [boot(kernel, number) for number in (1, 2, 3)]
    outcomes = (Outcome.PASS, Outcome.FAIL, Outcome.PASS)
    found = [case for one, outcome in zip(boots, outcomes, strict=True) for case in cases(one, {"a": outcome})]
    keep(scratch_layout, 1, report(boots, found, kernel))
    (past,) = results.history(RunQuery(case="a"), 9).cases
    assert past.outcomes == (Count(Outcome.PASS, 2), Count(Outcome.FAIL, 1))
    assert past.message == "it is FAIL"
    detail = results.run("latest", 9)
    assert detail is not None
    assert [one.seed for one in detail.boots] == [1, 2, 3]
    assert [one.name for one in detail.cases] == ["pressure.a"]


def test_two_runs_beside_each_other(results: Results, scratch_layout: Layout) -> None:
    keep(scratch_layout, 2, plain_report(a=Outcome.FAIL, b=Outcome.PASS, c=Outcome.PASS))
    keep(scratch_layout, 1, plain_report(a=Outcome.PASS, b=Outcome.CRASH, d=Outcome.PASS))
    detail = results.run(run_name(1), 9, against=run_name(2))
    assert detail is not None
    changes = {one.name: one.change for one in detail.comparisons}
    assert changes == {
        "pressure.a": Change.FIXED,
        "pressure.b": Change.REGRESSED,
        "pressure.c": Change.GONE,
        "pressure.d": Change.NEW,
    }


def test_a_boot_in_another_machine_than_asked_is_no_evidence(results: Results, scratch_layout: Layout) -> None:
    keep(scratch_layout, 2, plain_report())
    kernel = provenance()
    run = replace(boot(kernel), differences=(Difference("RAM", "256M", "128M"),))
    keep(scratch_layout, 1, report([run], cases(run, {"a": Outcome.FAIL}), kernel, Verdict.CANNOT_TELL))
    detail = results.run("latest", 9, against=run_name(2))
    assert detail is not None
    assert [one.change for one in detail.comparisons] == [Change.GONE]


def truncated(path: Path) -> None:
    file = path / "report.json"
    file.write_text(file.read_text()[:500])


def changed(path: Path, change: Callable[[dict[str, object]], None]) -> None:
    plain = json.loads((path / "report.json").read_text())
    change(plain)
    (path / "report.json").write_text(json.dumps(plain))


def another_schema(path: Path) -> None:
    changed(path, lambda plain: plain.update(schema="ttm-harness/report/99"))


def unknown_key(path: Path) -> None:
    changed(path, lambda plain: plain.update(mood="cheerful"))


def huge_seed(path: Path) -> None:
    file = path / "report.json"
    file.write_text(re.sub(r'"seed": \d+', '"seed": 1' + "0" * 30, file.read_text()))


def stray_case(path: Path) -> None:
    file = path / "report.json"
    file.write_text(re.sub(r'"run": "001-boot"', '"run": "002-boot"', file.read_text()))


def deep(path: Path) -> None:
    (path / "report.json").write_text("[" * 100_000)


def no_text(path: Path) -> None:
    (path / "report.json").write_bytes(b"\xff\xfe\0\0")


def empty(path: Path) -> None:
    (path / "report.json").write_text("")


def a_directory(path: Path) -> None:
    (path / "report.json").unlink()
    (path / "report.json").mkdir()


def a_pipe(path: Path) -> None:
    (path / "report.json").unlink()
    os.mkfifo(path / "report.json")


def a_link(path: Path) -> None:
    (path / "report.json").rename(path / "other.json")
    (path / "report.json").symlink_to("other.json")


def gone(path: Path) -> None:
    (path / "report.json").unlink()


def broken_record(path: Path) -> None:
    (path / "report.json").unlink()
    (path / "run.json").write_text('{"plan": 1}')


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (truncated, "not the JSON of a Report"),
        (another_schema, "ttm-harness/report/99"),
        (unknown_key, "not the JSON of a Report"),
        (huge_seed, "seed that is none"),
        (stray_case, "case of a boot '002-boot'"),
        (deep, "nested too deep"),
        (no_text, "cannot be read"),
        (empty, "not the JSON of a Report"),
        (a_directory, "not a plain file"),
        (a_pipe, "not a plain file"),
        (a_link, "not a plain file"),
        (gone, "no report.json and no run.json"),
        (broken_record, "not the JSON of a Record"),
    ],
)
def test_a_damaged_run_is_told_and_skipped(
    results: Results, scratch_layout: Layout, damage: Callable[[Path], None], why: str
) -> None:
    keep(scratch_layout, 3, plain_report())
    bad = keep(scratch_layout, 2, plain_report())
    keep(scratch_layout, 1, plain_report())
    assert len(names(results)) == 3
    damage(bad)
    for _ in range(2):  # the second time from the index
        listing = results.list(ALL, 9)
        assert [run.name for run in listing.runs] == [run_name(1), run_name(3)]
        assert [(one.name, why in one.why) for one in listing.skipped] == [(bad.name, True)], listing.skipped
    assert rows(scratch_layout, "SELECT count(*) FROM boots") == [(2,)]
    with pytest.raises(HarnessError, match=r"not in the index|is not believed"):
        results.run(bad.name, 9)
    shutil.rmtree(bad)
    keep(scratch_layout, 2, plain_report())
    assert len(names(results)) == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_report_that_may_not_be_read(results: Results, scratch_layout: Layout) -> None:
    (keep(scratch_layout, 1, plain_report()) / "report.json").chmod(0)
    assert "cannot be read" in results.list(ALL, 9).skipped[0].why


def test_what_is_no_run_is_left_alone(results: Results, scratch_layout: Layout) -> None:
    kept = keep(scratch_layout, 1, plain_report())
    (scratch_layout.runs / "notes").mkdir()
    (scratch_layout.runs / "20261120T000000-zzzzzz").mkdir()
    (scratch_layout.runs / "README").write_text("mine")
    (scratch_layout.runs / run_name(4)).symlink_to(kept)
    (scratch_layout.runs / "caf\udce9").mkdir()
    listing = results.list(ALL, 9)
    assert [run.name for run in listing.runs] == [kept.name]
    assert len(listing.skipped) == 5
    assert {"it is not a run directory", "it is a symbolic link"} == {one.why for one in listing.skipped}
    assert list((scratch_layout.runs / "notes").iterdir()) == []
    json.loads(to_json(listing).encode())


def test_text_that_no_database_takes(results: Results, scratch_layout: Layout) -> None:
    kernel = provenance()
    run = boot(kernel)
    odd = replace(cases(run, {"a": Outcome.FAIL})[0], name="a\0b\ud800 'c' %s", message="x\0y\udfff")
    path = keep(scratch_layout, 1)
    (path / "report.json").write_text(json.dumps(to_plain(earned(report([run], [odd], kernel)))))
    assert names(results) == [path.name]
    (past,) = results.history(RunQuery(case="a??*'c' %s"), 9).cases
    assert (past.name, past.message) == ("a?b? 'c' %s", "x?y?")


def _planned(kernel: Provenance) -> Planned:
    return Planned(1, Leg.TIP, "", boot(kernel).cell, "key", "shape", 0, 0)


def test_a_run_that_is_made_and_one_that_was_killed(results: Results, scratch_layout: Layout) -> None:
    path = keep(scratch_layout, 1)
    with held_again(path):
        assert results.list(ALL, 9).skipped == ()  # it has only begun
        kernel = provenance()
        save_record(path, Record("stress", (), (kernel,), (_planned(kernel),)))
        (run,) = results.list(ALL, 9).runs
        assert (run.state, run.kernels, run.plan) == (State.RUNNING, ("7.3.4",), "stress")
        assert names(results, RunQuery(state=State.RUNNING)) == [path.name]
    (run,) = results.list(ALL, 9).runs
    assert run.state is State.UNFINISHED
    assert names(results, RunQuery(state=State.UNFINISHED)) == [path.name]
    assert names(results, RunQuery(verdict=Verdict.CANNOT_TELL)) == []
    keep_report(path, plain_report())
    (run,) = results.list(ALL, 9).runs
    assert run.state is State.FINISHED


_INDEXING = (
    "import sys\nfrom pathlib import Path\nfrom harness.flow.results import Results\n"
    "from harness.store.layout import Layout\nfrom tests.unit.results_support import Quiet\n"
    "print(Results(Layout(Path(sys.argv[1])), Quiet()).refresh().runs, flush=True)\n"
)


def indexing(layout: Layout) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", _INDEXING, str(layout.root)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_harnesses_on_one_store(results: Results, scratch_layout: Layout) -> None:
    for number in range(40):
        keep(scratch_layout, 1, plain_report(), number)
    both = [indexing(scratch_layout) for _ in range(2)]
    for one in both:
        out, err = one.communicate(timeout=120)
        assert (one.returncode, out, err) == (0, "40\n", "")
    assert rows(scratch_layout, "SELECT count(*) FROM cases") == [(40,)]


def test_kill_9_in_the_middle_leaves_whole_runs(results: Results, scratch_layout: Layout) -> None:
    for number in range(400):
        keep(scratch_layout, 1, plain_report(a=Outcome.PASS, b=Outcome.PASS, c=Outcome.FAIL), number)
    killed = indexing(scratch_layout)
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        try:
            if rows(scratch_layout, "SELECT count(*) FROM runs")[0] > (20,):
                break
        except sqlite3.Error:
            pass  # not made yet
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=10)
    assert rows(scratch_layout, "PRAGMA integrity_check") == [("ok",)]
    ((runs,),) = rows(scratch_layout, "SELECT count(*) FROM runs")
    assert isinstance(runs, int)
    assert 20 < runs < 400
    assert rows(scratch_layout, "SELECT count(*) FROM cases") == [(3 * runs,)]
    assert results.refresh().read == 400 - runs
    assert len(names(results, RunQuery(outcomes=(Outcome.FAIL,)), 1000)) == 400


def test_an_index_of_a_newer_harness_is_left_alone(results: Results, scratch_layout: Layout) -> None:
    results.refresh()
    with sqlite3.connect(scratch_layout.root / "index.sqlite") as connection:
        connection.execute(f"UPDATE {database.VERSION_TABLE} SET version_num = '0999'")
    with pytest.raises(UserError, match=r"made by a newer ttm-harness: its schema is 0999"):
        results.refresh()
    assert rows(scratch_layout, f"SELECT version_num FROM {database.VERSION_TABLE}") == [("0999",)]


def other_text(path: Path) -> None:
    path.write_text("shopping list\n" * 1000)


def other_database(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")


def zeros(path: Path) -> None:
    """What a power cut can make of pages, all but the first."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xaa" * (size - 4096))


def no_table(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE cases")


@pytest.mark.parametrize("damage", [other_text, other_database, zeros, no_table])
def test_a_broken_file_is_set_aside_and_made_anew(scratch_layout: Layout, damage: Callable[[Path], None]) -> None:
    keep(scratch_layout, 1, plain_report())
    path = scratch_layout.root / "index.sqlite"
    Results(scratch_layout, Quiet()).refresh()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    damage(path)
    progress = Quiet()
    (past,) = Results(scratch_layout, progress).history(RunQuery(case="a"), 9).cases
    assert past.run == run_name(1)
    (aside,) = scratch_layout.root.glob("index.sqlite.broken-*[0-9a-f]")
    assert any(aside.name in said for said in progress.said), progress.said
    progress = Quiet()
    Results(scratch_layout, progress).refresh()
    assert progress.said == []


def test_a_place_that_cannot_be_a_database(scratch_layout: Layout) -> None:
    (scratch_layout.root / "index.sqlite").mkdir()
    with pytest.raises(InfraError, match="cannot be used"):
        Results(scratch_layout, Quiet()).refresh()
    with pytest.raises(InfraError, match="unable to open"):
        Results(scratch_layout, Quiet(), f"sqlite:///{scratch_layout.root}/no/such/place").refresh()


def test_an_index_belongs_to_one_store(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shared.sqlite"
    stores = [Layout(tmp_path / name) for name in ("one", "two")]
    for layout in stores:
        layout.root.mkdir()
        keep(layout, 1, plain_report())
    mine, yours = (Results(layout, Quiet(), url) for layout in stores)
    mine.refresh()
    with pytest.raises(UserError, match="the index of another store"):
        yours.refresh()
    assert yours.refresh(rebuild=True).runs == 1
    with pytest.raises(UserError, match="the index of another store"):
        mine.refresh()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mysql://a:secret@h/d", "mysql"),
        ("sqlite://", "cannot be in"),
        ("nonsense", "not a URL"),
        ("nosuch://x/y", "kind|not a URL"),
    ],
)
def test_a_url_of_something_else(scratch_layout: Layout, url: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        place_of(scratch_layout, url)
    assert "secret" not in caught.value.message


def test_a_server_is_named_without_its_password(scratch_layout: Layout) -> None:
    place = place_of(scratch_layout, "postgresql://me:secret@db.example/results")
    assert str(place) == "postgresql+psycopg://me:***@db.example/results"
    assert place.file is None


def test_the_variable_names_the_place(scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(database.URL_VARIABLE, f"sqlite:///{scratch_layout.root}/other.sqlite")
    Results(scratch_layout, Quiet()).refresh()
    assert (scratch_layout.root / "other.sqlite").is_file()
    assert not (scratch_layout.root / "index.sqlite").exists()


def test_the_migrations_make_what_the_code_has(scratch_layout: Layout) -> None:
    place = place_of(scratch_layout, None)
    engine = open_engine(place)
    bring_up_to_date(engine, place)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": database.VERSION_TABLE})
        assert compare_metadata(context, Base.metadata) == []
    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [database.SCHEMA]


_ALPHABET = st.text(alphabet="ab.[]!^*?-+\\({$ é", max_size=8)


@given(glob=_ALPHABET, text=_ALPHABET)
def test_a_glob_as_a_regular_expression(glob: str, text: str) -> None:
    try:
        pattern = re.compile(glob_regex(glob))
    except UserError:
        assert "[" in glob  # a range from back to front
        return
    if "^" not in glob and "-" not in glob:  # [^a] is [!a] for us as for sh, and b-a is nothing for fnmatch
        assert bool(pattern.search(text)) == fnmatchcase(text, glob)


def test_a_glob_that_is_none(several: Layout) -> None:
    with pytest.raises(UserError, match="not a glob"):
        Results(several, Quiet()).list(RunQuery(case="a[z-a]"), 9)


def test_no_room_for_the_index(scratch_layout: Layout) -> None:
    for number in range(20):
        keep(scratch_layout, 1, plain_report(), number)
    environment = {**os.environ, "TTM_HARNESS_STORE": str(scratch_layout.root)}
    command = f"ulimit -f 64; exec {sys.executable} -m harness results list"
    argv = ["sh", "-c", command]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "the index" in done.stderr
    assert "cannot be used" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(names(Results(scratch_layout, Quiet()))) == 20


def digest(path: Path) -> tuple[bytes, int]:
    return path.read_bytes(), path.stat().st_mtime_ns


def test_a_file_of_the_users_is_no_place_for_the_index(scratch_layout: Layout, tmp_path: Path) -> None:
    file = tmp_path / "thesis.txt"
    file.write_text("years of work\n" * 100)
    before = digest(file)
    with pytest.raises(UserError, match="no database: it is left as it is"):
        Results(scratch_layout, Quiet(), f"sqlite:///{file}").refresh()
    assert digest(file) == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("thesis")] == ["thesis.txt"]


def test_a_database_of_something_else_gets_no_tables(scratch_layout: Layout, tmp_path: Path) -> None:
    file = tmp_path / "recipes.sqlite"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    before = digest(file)
    with pytest.raises(UserError, match="has a table 'recipes'"):
        Results(scratch_layout, Quiet(), f"sqlite:///{file}").refresh()
    assert digest(file) == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("recipes")] == ["recipes.sqlite"]


def test_a_damaged_database_that_a_url_names_is_not_set_aside(scratch_layout: Layout, tmp_path: Path) -> None:
    file = tmp_path / "ours.sqlite"
    Results(scratch_layout, Quiet(), f"sqlite:///{file}").refresh()
    zeros(file)
    before = file.read_bytes()
    with pytest.raises(InfraError, match=r"is damaged|cannot be used"):
        Results(scratch_layout, Quiet(), f"sqlite:///{file}").refresh()
    assert file.read_bytes() == before


def test_an_index_that_is_a_link_is_set_aside_and_what_it_leads_to_stays(
    scratch_layout: Layout, tmp_path: Path
) -> None:
    file = tmp_path / "precious"
    file.write_text("years of work")
    (scratch_layout.root / "index.sqlite").symlink_to(file)
    assert Results(scratch_layout, Quiet()).refresh().set_aside
    assert file.read_text() == "years of work"
    assert not (scratch_layout.root / "index.sqlite").is_symlink()


def test_a_store_that_must_not_be_written_is_read(scratch_layout: Layout) -> None:
    keep(scratch_layout, 1, plain_report())
    before = sorted(scratch_layout.root.rglob("*"))
    results = Results(Layout(scratch_layout.root, written=False), Quiet())
    assert names(results, RunQuery(), 9) == [run_name(1)]
    assert results.run(run_name(1), 9) is not None
    assert sorted(scratch_layout.root.rglob("*")) == before


@pytest.mark.parametrize("content", ["", "\xff\xfe", "{}", "x" * 100])
def test_a_store_whose_name_is_damaged_gets_a_new_one(scratch_layout: Layout, content: str) -> None:
    keep(scratch_layout, 1, plain_report())
    Results(scratch_layout, Quiet()).refresh()
    (scratch_layout.root / "id").write_text(content, encoding="latin-1")
    assert Results(scratch_layout, Quiet()).refresh().runs == 1
