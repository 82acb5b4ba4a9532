# SPDX-License-Identifier: GPL-2.0-only
"""A PostgreSQL server for a test alone: in a scratch directory, on a socket there, as a user without rights."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_PROGRAMS = "/usr/lib/postgresql"


def missing(message: str) -> None:
    """At home a test without a server is skipped; on CI, where doctor --fix --with-tests installs one, it fails."""
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def require_psycopg() -> None:
    if importlib.util.find_spec("psycopg") is None:
        missing("psycopg is not installed (pip install 'psycopg[binary]')")


@contextmanager
def running_server() -> Iterator[str]:
    """The URL of a server that is there until the block is left."""
    require_psycopg()
    programs = sorted(Path(_PROGRAMS).glob("*/bin/initdb"))
    if not programs:
        missing("no PostgreSQL server is installed (apt-get install postgresql)")
    folder = programs[-1].parent
    with tempfile.TemporaryDirectory(prefix="ttm-pg-") as place:  # a short path, which a socket needs
        as_user: list[str] = []
        if os.geteuid() == 0:  # which initdb refuses
            as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
            shutil.chown(place, "nobody", "nogroup")

        def run(program: str, *words: str) -> None:
            argv = [*as_user, str(folder / program), "-D", f"{place}/data", *words]
            done = subprocess.run(argv, cwd=place, capture_output=True, text=True, timeout=300, check=False)
            assert done.returncode == 0, done.stdout + done.stderr

        run("initdb", "-A", "trust", "-U", "me", "-N", "--encoding=UTF8", "--locale=C")
        options = f"-c listen_addresses='' -c unix_socket_directories={place} -c fsync=off"
        run("pg_ctl", "-w", "-t", "120", "-l", f"{place}/log", "-o", options, "start")
        try:
            yield f"postgresql://me@/postgres?host={place}"
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")
