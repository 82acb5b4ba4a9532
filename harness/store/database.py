# SPDX-License-Identifier: GPL-2.0-only
"""The database that the index is in: a SQLite file of the store, or what a URL names; its schema brought up to date.

What a database says of itself becomes a sentence here. A SQLite file that is none, or that is damaged, is a
`BrokenIndex`: nothing is lost with it.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, StaticPool

from harness.model.errors import InfraError, UserError
from harness.store.files import read_regular, write_atomically
from harness.store.layout import Layout

URL_VARIABLE = "TTM_HARNESS_DB"
SCHEMA = "0001"  # the newest of migrations/versions
MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_TABLE = "ttm_harness_schema"
_WAIT_SECONDS = 60  # for another harness that writes
_CONNECT_SECONDS = 15
_STATEMENT_SECONDS = 600
_SUFFIXES = ("", "-wal", "-shm")
_MAGIC = b"SQLite format 3\0"
_ID = re.compile(r"[0-9a-f]{16}")
_LONGEST_ID = 64
_REVISION = re.compile(r"v(\d{4})_\w+\.py")
# What matters comes as an exception; a traceback of a Ctrl-C that met a closing connection is nobody's business.
logging.getLogger("sqlalchemy").addHandler(logging.NullHandler())


class BrokenIndex(InfraError):
    """The SQLite file is damaged, or of something else."""


@dataclass(frozen=True, slots=True)
class DatabasePlace:
    """Where the index is; `file` is None for a server. `own`: the store's own file, and so ours to set aside."""

    url: URL
    file: Path | None
    own: bool = False

    def __str__(self) -> str:
        return str(self.file) if self.file is not None else self.url.render_as_string(hide_password=True)


def place_of(layout: Layout, url: str | None) -> DatabasePlace:
    """The database that `url` names, else TTM_HARNESS_DB, else index.sqlite in the store."""
    given = url or os.environ.get(URL_VARIABLE, "")
    if not given:
        return DatabasePlace(_sqlite_url(layout.index_file), layout.index_file.absolute(), own=True)
    try:
        parsed = make_url(given)
        backend = parsed.get_backend_name()
    except (ArgumentError, ValueError) as error:
        raise UserError(
            f"the database {given!r} is not a URL: {error}", hint="postgresql://USER@HOST/NAME or sqlite:////FILE"
        ) from error
    if backend == "sqlite" and parsed.database and parsed.database != ":memory:":
        file = Path(parsed.database).absolute()
        return DatabasePlace(_sqlite_url(file), file)
    if backend in ("postgresql", "postgres"):
        return DatabasePlace(parsed.set(drivername="postgresql+psycopg"), None)
    raise UserError(
        f"the index cannot be in a database of the kind {parsed.render_as_string(hide_password=True)!r}",
        hint="postgresql://USER@HOST/NAME or sqlite:////FILE",
    )


def temporary_place() -> DatabasePlace:
    """In the memory of this process alone: for a store that nobody may write to."""
    return DatabasePlace(URL.create("sqlite", database=":memory:"), None)


def _sqlite_url(path: Path) -> URL:
    return URL.create("sqlite", database=str(path.absolute()))


def store_id(layout: Layout) -> str:
    """What tells this store from every other: drawn once, kept in its root. Callers hold the index's lock."""
    path = layout.id_file
    try:
        found = read_regular(path, _LONGEST_ID).decode("ascii", "replace").strip()
    except OSError:
        found = ""
    if not _ID.fullmatch(found):
        found = secrets.token_hex(8)
        write_atomically(path, f"{found}\n")
    return found


def open_engine(place: DatabasePlace) -> Engine:
    """Connections to the database, none of which waits for ever. Nothing is opened yet."""
    if place.url.get_backend_name() == "sqlite":
        # What is in memory is gone with its last connection.
        pool = NullPool if place.file is not None else StaticPool
        engine = create_engine(place.url, poolclass=pool, connect_args={"timeout": _WAIT_SECONDS})
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    limits = f"-c statement_timeout={_STATEMENT_SECONDS}s -c lock_timeout={_WAIT_SECONDS}s"
    arguments = {"connect_timeout": _CONNECT_SECONDS, "options": limits}
    try:
        return create_engine(place.url, poolclass=NullPool, connect_args=arguments)
    except ImportError as error:
        raise UserError(
            f"the database {place} needs {error.name or 'psycopg'}, which is not installed",
            hint="pip install 'ttm-harness[postgresql]'",
        ) from error


def _set_up_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    assert isinstance(connection, sqlite3.Connection)
    # Python's module begins transactions by itself, but not before every statement; see _begin_sqlite.
    connection.isolation_level = None
    # Readers and a writer do not wait for each other. A power cut may take the last transactions, never the file.
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "cache_size=-65536"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def look_before(place: DatabasePlace) -> None:
    """Before anything opens the file, and with that may write to it: UserError where a URL names a file that is no
    database of ours, BrokenIndex where the store's own is not even a file.
    """
    if place.file is None:
        return
    try:
        found = place.file.lstat() if place.own else place.file.stat()
    except OSError:
        return  # not there yet
    if place.own and not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise BrokenIndex(f"the index {place} is no plain file")
    if place.own or not stat.S_ISREG(found.st_mode) or not found.st_size:
        return
    with place.file.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise UserError(
                f"{place} is a file of yours and no database: it is left as it is",
                hint=f"name a file that is not there yet with --db or {URL_VARIABLE}",
            )
    tables = _tables(place.file)
    if tables and VERSION_TABLE not in tables:
        raise _foreign(place, tables)


def _tables(path: Path) -> tuple[str, ...]:
    """The tables of a SQLite file, without a trace of having looked; none where that cannot be told."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?immutable=1", uri=True)) as connection:
            rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
            return tuple(str(name) for (name,) in rows)
    except sqlite3.Error:
        return ()


def _foreign(place: DatabasePlace, tables: Sequence[str]) -> UserError:
    return UserError(
        f"{place} is a database of something else (it has a table {tables[0]!r}): it is left as it is",
        hint=f"name a database of its own with --db or {URL_VARIABLE}",
    )


def bring_up_to_date(engine: Engine, place: DatabasePlace) -> None:
    """Makes the tables, or brings older ones up to date; UserError for those of a newer harness."""
    look_before(place)
    with explained(place), engine.begin() as connection:
        found = _revision(connection, place)
        if found == SCHEMA:
            return
        known = sorted(match[1] for path in MIGRATIONS.glob("versions/*.py") if (match := _REVISION.match(path.name)))
        if found is not None and found not in known:
            raise UserError(
                f"the index {place} was made by a newer ttm-harness: its schema is {found}, this one knows {SCHEMA}",
                hint=f"use the newer one, or name another database with --db or {URL_VARIABLE}",
            )
        _migrate(connection)


def _revision(connection: Connection, place: DatabasePlace) -> str | None:
    """The schema of the database, None where it has no table yet."""
    tables = inspect(connection).get_table_names()
    if VERSION_TABLE in tables:
        row = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).one_or_none()
        return str(row[0]) if row is not None else None
    if tables and place.own:
        raise BrokenIndex(f"{place} is a database of something else (it has a table {tables[0]!r})")
    if tables:
        raise _foreign(place, tables)
    return None


def _migrate(connection: Connection) -> None:
    # Slow to import, and rarely needed.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def set_aside(place: DatabasePlace) -> Path:
    """Gives a broken SQLite file another name, and returns it. Callers hold the index's lock."""
    assert place.file is not None
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    target = place.file.with_name(f"{place.file.name}.broken-{stamp}-{secrets.token_hex(2)}")
    for suffix in _SUFFIXES:
        source = place.file.with_name(place.file.name + suffix)
        if source.exists() or source.is_symlink():
            source.rename(target.with_name(target.name + suffix))
    return target


@contextmanager
def explained(place: DatabasePlace) -> Iterator[None]:
    """Turns what the database raises into BrokenIndex or InfraError, with a sentence."""
    try:
        yield
    except DBAPIError as error:
        raise _explain(error, place) from error
    except SQLAlchemyError as error:
        raise InfraError(f"the index {place} cannot be used: {error}") from error


def _explain(error: DBAPIError, place: DatabasePlace) -> InfraError:
    said = str(error.orig).strip().split("\n")[0]
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or said.startswith("no such"):
            return BrokenIndex(f"the index {place} is damaged: {said}")
        hint = {
            sqlite3.SQLITE_FULL: "free some space; nothing is lost, the run directories are the truth",
            sqlite3.SQLITE_BUSY: "another ttm-harness writes to it; try again",
        }.get(code, f"name another place with --db or {URL_VARIABLE}")
        return InfraError(f"the index {place} cannot be used: {said}", hint=hint)
    return InfraError(f"the index {place} cannot be used: {said}", hint=f"does the server of {URL_VARIABLE} run?")
