# SPDX-License-Identifier: GPL-2.0-only
"""The index on PostgreSQL: every statement in its dialect, and all of it on a server where one is installed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import event, make_url
from sqlalchemy.engine import Engine
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql import ClauseElement

from harness.flow.results import Results
from harness.model.errors import InfraError, UserError
from harness.model.outcome import Outcome, Verdict
from harness.model.results import RunQuery
from harness.store.layout import Layout
from harness.store.tables import Base
from tests.unit.postgresql import require_psycopg, running_server
from tests.unit.results_support import NOON, Quiet, keep, plain_report, run_name

EVERYTHING = RunQuery(
    kernel="7.3",
    suite="press*",
    case="[a-c]*",
    outcomes=(Outcome.FAIL,),
    verdict=Verdict.BAD,
    series="",
    machine=("256M", "disk"),
    since=NOON.replace(year=2020),
)


def exercise(results: Results, layout: Layout) -> None:
    """Every question, on two runs, and every way of writing."""
    keep(layout, 2, plain_report(a=Outcome.PASS, b=Outcome.PASS))
    keep(layout, 1, plain_report("7.3.4", a=Outcome.FAIL, b=Outcome.PASS))
    broken = keep(layout, 3, plain_report())
    (broken / "report.json").write_text("{")
    listing = results.list(EVERYTHING, 9)
    assert [run.name for run in listing.runs] == [run_name(1)]
    assert [one.name for one in listing.skipped] == [broken.name]
    assert results.list(RunQuery(kernel="7.4"), 9).runs == ()
    assert results.list(RunQuery(series="x*"), 9).runs == ()
    assert [one.run for one in results.history(RunQuery(case="a"), 9).cases] == [run_name(1), run_name(2)]
    detail = results.run(run_name(1), 9, against=run_name(2))
    assert detail is not None
    assert [one.name for one in detail.cases] == ["pressure.a"]
    assert [str(one.change) for one in detail.comparisons] == ["REGRESSED", "SAME"]
    shutil.rmtree(layout.runs / run_name(2))
    assert results.refresh().dropped == 1
    assert results.refresh(rebuild=True).runs == 1


def test_every_statement_compiles_for_postgresql(scratch_layout: Layout) -> None:
    seen: list[ClauseElement] = []

    def note(_connection: object, statement: object, *_rest: object) -> None:
        if isinstance(statement, ClauseElement):
            seen.append(statement)

    event.listen(Engine, "before_execute", note)
    try:
        exercise(Results(scratch_layout, Quiet()), scratch_layout)
    finally:
        event.remove(Engine, "before_execute", note)
    dialect = make_url("postgresql+psycopg://").get_dialect()()
    texts = {str(statement.compile(dialect=dialect)) for statement in seen}
    assert len(texts) > 20
    assert any(" ~ " in text for text in texts)  # regular expressions
    tables = [str(CreateTable(table).compile(dialect=dialect)) for table in Base.metadata.sorted_tables]
    indexes = [index for table in Base.metadata.sorted_tables for index in table.indexes]
    assert all(str(CreateIndex(index).compile(dialect=dialect)).startswith("CREATE") for index in indexes)
    assert any("ON DELETE CASCADE" in text for text in tables)


def test_without_the_driver_it_is_said_what_to_install(
    scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)  # as if there were none
    with pytest.raises(UserError, match="psycopg"):
        Results(scratch_layout, Quiet(), "postgresql://me@127.0.0.1:1/none")


def test_a_server_that_does_not_answer(scratch_layout: Layout) -> None:
    require_psycopg()
    with pytest.raises(InfraError, match=r"cannot be used: connection"):
        Results(scratch_layout, Quiet(), "postgresql://me:secret@127.0.0.1:1/none").refresh()


@pytest.fixture
def server() -> Iterator[str]:
    with running_server() as url:
        yield url


def test_all_of_it_on_a_server(server: str, scratch_layout: Layout, tmp_path: Path) -> None:
    exercise(Results(scratch_layout, Quiet(), server), scratch_layout)
    assert not (scratch_layout.root / "index.sqlite").exists()
    other = Layout(tmp_path / "other")
    other.root.mkdir()
    with pytest.raises(UserError, match="the index of another store"):
        Results(other, Quiet(), server).refresh()


def test_several_write_to_it_at_once(server: str, scratch_layout: Layout) -> None:
    """Each has connections of its own, finds runs that nobody has indexed yet, and those that others are at."""
    writers, each = 4, 6

    def write(writer: int) -> None:
        results = Results(scratch_layout, Quiet(), server)
        for number in range(each):
            keep(scratch_layout, 1 + number, plain_report(a=Outcome.PASS, b=Outcome.FAIL), number=writer)
            results.refresh()

    with ThreadPoolExecutor(writers) as pool:
        for done in [pool.submit(write, writer) for writer in range(writers)]:
            done.result()
    results = Results(scratch_layout, Quiet(), server)
    last = results.refresh()
    assert (last.read, last.runs, last.cases) == (0, writers * each, 2 * writers * each)  # all had been written
    expected = sorted(run_name(1 + number, writer) for writer in range(writers) for number in range(each))
    assert sorted(run.name for run in results.list(RunQuery(), 99).runs) == expected
    assert sorted(one.run for one in results.history(RunQuery(case="a"), 99).cases) == expected
