# SPDX-License-Identifier: GPL-2.0-only
"""The journal of a run: a line for each boot that begins and ends (lines.py)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.store.lines import LineWriter, read_lines

JOURNAL_FILE = "journal.jsonl"


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


class Journal(LineWriter[Entry]):
    """A journal that is being written, by any thread."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory / JOURNAL_FILE)


def read_journal(directory: Path) -> tuple[Entry, ...]:
    """The entries of a run, none where it has no journal; StoreCorrupt names a line that is broken, but not torn."""
    return read_lines(Entry, directory / JOURNAL_FILE, "a journal")
