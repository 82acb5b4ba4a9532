# SPDX-License-Identifier: GPL-2.0-only
"""One temporary directory for all of a process, so that what a kill -9 leaves is known by its lock and goes with the
next command.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "ttm-of-"


@contextmanager
def own_temporary_directory() -> Iterator[None]:
    """Whatever asks for a temporary file or directory in the block finds it in there. Where none can be made, it is
    as it always was: who needs one will say so.
    """
    before = tempfile.tempdir
    try:
        place = Path(tempfile.gettempdir())
        sweep(place)
        own = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        lock = os.open(own, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError:
        yield
        return
    tempfile.tempdir = str(own)
    try:
        yield
    finally:
        tempfile.tempdir = before
        shutil.rmtree(own, ignore_errors=True)
        os.close(lock)


def sweep(place: Path) -> None:
    """Removes the directories of processes that are gone; a link or somebody else's stays."""
    for path in place.glob(f"{_PREFIX}*"):
        try:
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            # One that is just being made has nothing in it yet, and may not be locked yet.
            if os.fstat(handle).st_uid == os.geteuid() and os.listdir(handle):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            elif os.fstat(handle).st_uid == os.geteuid() and _is_old(handle):
                path.rmdir()
        except OSError:
            continue
        finally:
            os.close(handle)


def _is_old(handle: int) -> bool:
    return os.fstat(handle).st_mtime < time.time() - 3600
