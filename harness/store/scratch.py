# SPDX-License-Identifier: GPL-2.0-only
"""Directories for the work of one process. They lie in the store and are locked by their owner, so that what kill -9
leaves goes with the next one, and never what somebody works in.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.store.layout import Layout


@contextmanager
def scratch_directory(layout: Layout) -> Iterator[Path]:
    """An empty directory, gone when the block is left; sweeps what killed processes left."""
    sweep_scratch(layout)
    path, handle = _owned(layout.scratch)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(handle)


def sweep_scratch(layout: Layout) -> None:
    """Removes the scratch directories whose owners are gone."""
    for path in layout.scratch.iterdir():
        try:
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # gone meanwhile, or nothing of ours
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(handle)


def _owned(parent: Path) -> tuple[Path, int]:
    """A fresh directory and its lock. Somebody may sweep it before it is locked: then the next one is tried."""
    while True:
        path = Path(tempfile.mkdtemp(dir=parent))
        try:
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        fcntl.flock(handle, fcntl.LOCK_EX)
        if path.is_dir():  # nobody takes the same name again while it is there
            return path, handle
        os.close(handle)


@contextmanager
def short_name(directory: Path) -> Iterator[Path]:
    """Another name of the directory for this process: short, where its own may be too long for a socket's address."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)
