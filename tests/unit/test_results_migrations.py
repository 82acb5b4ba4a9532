# SPDX-License-Identifier: GPL-2.0-only
"""Databases with data in them, brought up to date by a migration that is made up: on SQLite and on a server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from harness.flow.results import Results
from harness.model.errors import HarnessError
from harness.model.outcome import Outcome
from harness.model.results import RunQuery
from harness.store import database
from harness.store.database import VERSION_TABLE, bring_up_to_date, open_engine, place_of
from harness.store.layout import Layout
from tests.unit.postgresql import running_server
from tests.unit.results_support import Quiet, keep, plain_report

NEXT = '''\
"""Boots say on which host they were made; found by it."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"


def upgrade() -> None:
    op.add_column("boots", sa.Column("host", sa.String(), nullable=False, server_default="here"))
    op.create_index("ix_boots_host", "boots", ["host"])
    op.execute("UPDATE runs SET plan = 'moved'")
    {more}
'''
NEWER = "9998"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'index.sqlite'}"
        return
    with running_server() as server:
        yield server


def newer_harness(place: Path, monkeypatch: pytest.MonkeyPatch, more: str = "") -> None:
    """From now on the code is one schema further."""
    folder = place / "migrations"
    shutil.copytree(database.MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    text_of = NEXT.format(revision=NEWER, before=database.SCHEMA, more=more)
    (folder / "versions" / f"v{NEWER}_host.py").write_text(text_of)
    monkeypatch.setattr(database, "MIGRATIONS", folder)
    monkeypatch.setattr(database, "SCHEMA", NEWER)


def fill(layout: Layout, url: str) -> list[tuple[str, tuple[Outcome, ...]]]:
    keep(layout, 2, plain_report(a=Outcome.PASS, b=Outcome.FAIL))
    keep(layout, 1, plain_report("7.2.1", a=Outcome.PASS))
    return answers(layout, url)


def answers(layout: Layout, url: str) -> list[tuple[str, tuple[Outcome, ...]]]:
    found = Results(layout, Quiet(), url).history(RunQuery(case="*"), 50).cases
    return [(f"{one.run} {one.name} {one.kernel}", tuple(count.outcome for count in one.outcomes)) for one in found]


def ask(layout: Layout, url: str, question: str) -> list[object]:
    with open_engine(place_of(layout, url)).connect() as connection:
        return [row[0] for row in connection.execute(text(question))]


def test_what_is_there_is_kept(
    url: str, scratch_layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fill(scratch_layout, url)
    assert len(before) == 3
    newer_harness(tmp_path, monkeypatch)
    place = place_of(scratch_layout, url)
    bring_up_to_date(open_engine(place), place)
    assert ask(scratch_layout, url, f"SELECT version_num FROM {VERSION_TABLE}") == [NEWER]
    assert ask(scratch_layout, url, "SELECT host FROM boots") == ["here", "here"]
    assert set(ask(scratch_layout, url, "SELECT plan FROM runs")) == {"moved"}  # and nothing was read anew
    assert answers(scratch_layout, url) == before
    bring_up_to_date(open_engine(place), place)  # there is nothing to do any more


def test_one_that_fails_in_the_middle_changes_nothing(
    url: str, scratch_layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, schema = fill(scratch_layout, url), database.SCHEMA
    with monkeypatch.context() as patch:
        newer_harness(tmp_path, patch, 'op.execute("SELECT 1 FROM nowhere")')
        place = place_of(scratch_layout, url)
        with pytest.raises(HarnessError, match="nowhere"):
            bring_up_to_date(open_engine(place), place)
    assert ask(scratch_layout, url, f"SELECT version_num FROM {VERSION_TABLE}") == [schema]
    assert "moved" not in ask(scratch_layout, url, "SELECT plan FROM runs")
    assert answers(scratch_layout, url) == before
