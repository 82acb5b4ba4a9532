# SPDX-License-Identifier: GPL-2.0-only
"""The index of the run directories: brought up to date before it is asked, made anew at any time.

The directories are the truth. A run is written in one transaction, under a lock of the store, so a killed process
leaves runs that are in the index whole and runs that are not in it yet. What cannot be read is remembered with the
reason, and read again when it changes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, delete, func, insert, select

from harness.model.errors import HarnessError, StoreCorrupt, UserError
from harness.model.outcome import Verdict
from harness.model.progress import Progress
from harness.model.result import Report
from harness.model.results import RESULTS_SCHEMA, Refreshed, Skipped, State
from harness.proc import Deadline
from harness.store.database import (
    BrokenIndex,
    bring_up_to_date,
    explained,
    open_engine,
    place_of,
    set_aside,
    store_id,
    temporary_place,
)
from harness.store.files import locked
from harness.store.journal import JOURNAL_FILE
from harness.store.layout import Layout
from harness.store.rows import RunValues, Values, clean, rows_of
from harness.store.runs import RECORD_FILE, REPORT_FILE, RUN_NAME, has_boots, is_held
from harness.store.tables import BootRow, CaseRow, NameRow, RunRow, StoreRow

T = TypeVar("T")
# Reads the report of a run directory in that state; HarnessError when it cannot.
Load = Callable[[Path, State], Report]

_LOCK_SECONDS = 1800.0  # a first index over years of runs
_WORTH_TELLING = 10  # runs


@dataclass(frozen=True, slots=True)
class _Found:
    """A run directory as it is now. `stamp` is another one when what would be read of it is."""

    path: Path
    state: State
    stamp: str


class Index:
    """The index of one store; `url` as in `place_of`."""

    def __init__(self, layout: Layout, url: str | None = None) -> None:
        self._layout = layout
        self.place = place_of(layout, url)
        if self.place.own and not layout.written:
            self.place = temporary_place()
        self._engine = open_engine(self.place)

    def refresh(self, load: Load, progress: Progress, *, rebuild: bool = False) -> Refreshed:
        """Reads what is new or changed in the store's runs/, drops what is gone; with `rebuild`, reads all again.

        A broken SQLite file is set aside and made anew. UserError when it is the index of another store, or was made
        by a newer harness; InfraError when the database cannot be used.
        """

        def waiting() -> None:
            progress.step("waiting for another ttm-harness that brings the index up to date")

        with self._alone(waiting):
            try:
                return self._refresh(load, progress, rebuild)
            except BrokenIndex:
                if not self.place.own:
                    raise
                aside = set_aside(self.place)
                return replace(self._refresh(load, progress, rebuild), set_aside=str(aside))

    def break_off(self) -> Path:
        """Sets a SQLite file that turned out to be broken aside; the next refresh makes a new one."""
        with self._alone():
            return set_aside(self.place)

    @contextmanager
    def _alone(self, waiting: Callable[[], None] | None = None) -> Iterator[None]:
        """The lock of the index; nobody else has what is in the memory of this process."""
        if not self._layout.written:
            yield
            return
        with locked(self._layout.locks / "index", Deadline(_LOCK_SECONDS), waiting):
            yield

    def ask(self, question: Callable[[Connection], T]) -> T:
        """The answer to a question of queries.py, from one state of the index."""
        with explained(self.place), self._engine.connect() as connection:
            return question(connection)

    def _refresh(self, load: Load, progress: Progress, rebuild: bool) -> Refreshed:
        bring_up_to_date(self._engine, self.place)
        self._claim(rebuild)
        present, skipped = _look_around(self._layout.runs)
        with explained(self.place), self._engine.connect() as connection:
            known = {str(name): str(stamp) for name, stamp in connection.execute(select(RunRow.name, RunRow.stamp))}
        gone = sorted(known.keys() - {one.path.name for one in present})
        for name in gone:
            self._write(name, None)
        new = [one for one in present if known.get(one.path.name) != one.stamp]
        if len(new) >= _WORTH_TELLING:
            progress.step(f"reading {len(new)} runs into the index {self.place}")
        names = Names()
        for number, one in enumerate(new, 1):
            self._read(one, load, names)
            if len(new) >= _WORTH_TELLING:
                progress.advance(number, len(new), "runs")
        return self._counted(len(new), len(gone), skipped)

    def _claim(self, rebuild: bool) -> None:
        """Sees to it that the index is this store's."""
        mine = store_id(self._layout) if self._layout.written else ""
        with explained(self.place), self._engine.begin() as connection:
            whose = connection.execute(select(StoreRow.id)).scalar()
            if rebuild:
                for table in (CaseRow, BootRow, RunRow, NameRow, StoreRow):
                    connection.execute(delete(table))
            elif whose not in (None, mine) and self.place.own:
                raise BrokenIndex(f"{self.place} is the index of another store")
            elif whose not in (None, mine):
                raise UserError(
                    f"{self.place} is the index of another store",
                    hint="name a database of its own for this one, or take it over with `results index --rebuild`",
                )
            if rebuild or whose is None:
                connection.execute(insert(StoreRow).values(id=mine))

    def _read(self, found: _Found, load: Load, names: Names) -> None:
        name = found.path.name
        values: Values = {"name": name, "stamp": found.stamp, "trouble": ""}
        try:
            rows = rows_of(load(found.path, found.state), found.state)
        except RecursionError:
            rows = _no_rows("its JSON is nested too deep")
        except HarnessError as error:
            rows = _no_rows(error.message)
        try:
            self._write(name, RunValues({**values, **rows.values}, rows.boots), names)
        except (OverflowError, UnicodeError) as error:
            names.forget()
            rows = _no_rows(f"it holds what a database cannot: {error}")
            self._write(name, RunValues({**values, **rows.values}, ()), names)

    def _write(self, name: str, rows: RunValues | None, names: Names | None = None) -> None:
        """Puts the rows of the run in the place of those that were there; None leaves none."""
        with explained(self.place), self._engine.begin() as connection:
            connection.execute(delete(RunRow).where(RunRow.name == name))
            if rows is not None:
                write_run(connection, rows, names or Names())

    def _counted(self, read: int, dropped: int, skipped: list[Skipped]) -> Refreshed:
        with explained(self.place), self._engine.connect() as connection:
            troubles = select(RunRow.name, RunRow.trouble).where(RunRow.trouble != "").order_by(RunRow.name)
            skipped += [Skipped(name, why) for name, why in connection.execute(troubles)]
            count = select(func.count(), func.coalesce(func.sum(RunRow.executed), 0)).where(RunRow.trouble == "")
            runs, cases = connection.execute(count).one()
        told = tuple(sorted(skipped, key=lambda one: one.name))
        return Refreshed(RESULTS_SCHEMA, read, dropped, runs, int(cases), told)


def _no_rows(trouble: str) -> RunValues:
    values: Values = {
        "trouble": clean(trouble),
        "state": str(State.FINISHED),
        "verdict": str(Verdict.CANNOT_TELL),
        **dict.fromkeys(("plan", "kernels", "series", "suites"), ""),
        **dict.fromkeys(("boots", "executed", "bad", "seconds"), 0),
    }
    return RunValues(values, ())


def write_run(connection: Connection, rows: RunValues, names: Names) -> None:
    """Adds a run with its boots and cases; nothing of it may be there yet."""
    run_id = _added(connection, RunRow, rows.values)
    for boot in rows.boots:
        boot_id = _added(connection, BootRow, {**boot.values, "run_id": run_id})
        values = [
            {
                "boot_id": boot_id,
                "position": position,
                "name_id": names.id_of(connection, case.suite, case.name),
                "outcome": case.outcome,
                "seconds": case.seconds,
                "message": case.message,
            }
            for position, case in enumerate(boot.cases)
        ]
        if values:
            connection.execute(insert(CaseRow), values)


def _added(connection: Connection, table: type[RunRow | BootRow | NameRow], values: Values) -> int:
    key = connection.execute(insert(table).values(**values)).inserted_primary_key
    assert key is not None
    return int(key[0])


class Names:
    """The numbers of the names of cases, read once, and added to as new ones come."""

    def __init__(self) -> None:
        self._ids: dict[tuple[str, str], int] | None = None

    def id_of(self, connection: Connection, suite: str, name: str) -> int:
        if self._ids is None:
            rows = connection.execute(select(NameRow.suite, NameRow.name, NameRow.id))
            self._ids = {(one, other): number for one, other, number in rows}
        if (suite, name) not in self._ids:
            self._ids[suite, name] = _added(connection, NameRow, {"suite": suite, "name": name})
        return self._ids[suite, name]

    def forget(self) -> None:
        """After a transaction that was not committed."""
        self._ids = None


def _look_around(runs: Path) -> tuple[list[_Found], list[Skipped]]:
    """The run directories, oldest first, and what else lies in runs/."""
    present, skipped = [], []
    for entry in sorted(os.scandir(runs) if runs.is_dir() else (), key=lambda one: one.name):
        try:
            found = _look(entry)
        except FileNotFoundError:
            continue  # removed meanwhile
        except (StoreCorrupt, OSError) as error:
            why = error.message if isinstance(error, StoreCorrupt) else f"it cannot be read: {error.strerror}"
            skipped.append(Skipped(clean(os.fsencode(entry.name).decode("utf-8", "replace")), why))
            continue
        if found is not None:
            present.append(found)
    return present, skipped


def _look(entry: os.DirEntry[str]) -> _Found | None:
    """What the entry is; None for a run that has only begun, and for what has boots and no verdict by its nature: of
    `shell`, `exec`, `controls`. StoreCorrupt says why it is no run of the index.
    """
    if entry.is_symlink():
        raise StoreCorrupt("it is a symbolic link")
    if not entry.is_dir(follow_symlinks=False) or not RUN_NAME.fullmatch(entry.name):
        raise StoreCorrupt("it is not a run directory")
    path = Path(entry.path)
    if (stamp := _stamp(path / REPORT_FILE)) is not None:
        return _Found(path, State.FINISHED, f"finished {stamp}")
    held, record = is_held(path), _stamp(path / RECORD_FILE)
    if record is not None:
        if held:
            return _Found(path, State.RUNNING, f"running {record}")
        return _Found(path, State.UNFINISHED, f"unfinished {record} {_stamp(path / JOURNAL_FILE)}")
    if held or has_boots(path):
        return None
    raise StoreCorrupt(f"it has no {REPORT_FILE} and no {RECORD_FILE}: it is no run, or one without a boot")


def _stamp(path: Path) -> str | None:
    """What changes when the file does; None where there is none. StoreCorrupt for what is no plain file."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise StoreCorrupt(f"its {path.name} is not a plain file")
    return f"{found.st_ino}.{found.st_size}.{found.st_mtime_ns}"
