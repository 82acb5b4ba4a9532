# SPDX-License-Identifier: GPL-2.0-only
"""A file of values, one JSON object a line, appended and synced to the disk before anything builds on it.

What was killed in the middle of a line leaves a torn last one, which counts as never written.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

from harness.model.codec import from_json, to_plain
from harness.model.errors import StoreCorrupt
from harness.store.files import explain_os_error, read_regular

T = TypeVar("T")
_LARGEST = 256 << 20


class LineWriter(Generic[T]):
    """A file that is being written, by any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._file = os.open(
                self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644
            )
            self._cut_torn_line()
            _sync_directory(path.parent)
        except OSError as error:
            raise explain_os_error(error, f"cannot write {self._path}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def append(self, entry: T) -> None:
        """On the disk when this returns."""
        line = (json.dumps(to_plain(entry), ensure_ascii=False) + "\n").encode()
        try:
            with self._lock:
                while line:
                    line = line[os.write(self._file, line) :]
                os.fsync(self._file)
        except OSError as error:
            raise explain_os_error(error, f"cannot write {self._path}") from error

    def _cut_torn_line(self) -> None:
        whole = read_regular(self._path, _LARGEST).rfind(b"\n") + 1
        os.ftruncate(self._file, whole)


def read_lines(kind: type[T], path: Path, what: str) -> tuple[T, ...]:
    """The values of a file, none where there is none; StoreCorrupt names a line that is broken, but not torn, as no
    line of `what`.
    """
    try:
        *lines, _ = read_regular(path, _LARGEST).split(b"\n")
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise explain_os_error(error, f"cannot read {path}") from error
    entries = []
    for number, line in enumerate(lines, 1):
        try:
            entries.append(from_json(kind, line.decode("utf-8")))
        except (StoreCorrupt, UnicodeDecodeError) as error:
            raise StoreCorrupt(f"{path}:{number} is no line of {what}: {error}") from error
    return tuple(entries)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
