# SPDX-License-Identifier: GPL-2.0-only
"""The journal of a run: one JSON object a line, appended and synced to the disk before anything builds on it.

What was killed in the middle of a line leaves a torn last one, which counts as never written.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType

from harness.model.codec import from_json, to_plain
from harness.model.errors import StoreCorrupt
from harness.store.files import explain_os_error, read_regular

JOURNAL_FILE = "journal.jsonl"
_LARGEST = 256 << 20


class Step(StrEnum):
    BEGUN = "begun"
    FINISHED = "finished"  # its result.json is on the disk
    RESUMED = "resumed"  # the whole run: what it ended with before is no more
    ENDED = "ended"  # the whole run


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. `place` is the boot's folder, `key` hashes all that went into the boot, `shape` says what is alike.

    `seconds` is what the boot took. A result that was taken over from another run names it in `kept_from`. `sealed`:
    the id of the seal of the boot's folder, or the sha256 of the report; empty in journals of an older harness.
    """

    step: Step
    number: int = 0
    cell: str = ""
    place: str = ""
    key: str = ""
    shape: str = ""
    seconds: float = 0.0
    verdict: str = ""
    kept_from: str = ""
    sealed: str = ""


class Journal:
    """A journal that is being written, by any thread."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / JOURNAL_FILE
        self._lock = threading.Lock()
        try:
            self._file = os.open(
                self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644
            )
            self._cut_torn_line()
            _sync_directory(directory)
        except OSError as error:
            raise explain_os_error(error, f"cannot write {self._path}") from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def append(self, entry: Entry) -> None:
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


def read_journal(directory: Path) -> tuple[Entry, ...]:
    """The entries of a run, none where it has no journal; StoreCorrupt names a line that is broken, but not torn."""
    path = directory / JOURNAL_FILE
    try:
        *lines, _ = read_regular(path, _LARGEST).split(b"\n")
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise explain_os_error(error, f"cannot read {path}") from error
    entries = []
    for number, line in enumerate(lines, 1):
        try:
            entries.append(from_json(Entry, line.decode("utf-8")))
        except (StoreCorrupt, UnicodeDecodeError) as error:
            raise StoreCorrupt(f"{path}:{number} is no line of a journal: {error}") from error
    return tuple(entries)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
