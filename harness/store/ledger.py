# SPDX-License-Identifier: GPL-2.0-only
"""What a nightly has seen and done, over all its nights: STORE/nightly/NAME/ledger.jsonl, its summaries beside it.

Run directories are the truth about runs; here is which of them is which job's. A line is on the disk before anything
builds on it, so what was killed goes on from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.model.nightly import ControlBoot, Job, JobResult
from harness.store.layout import Layout
from harness.store.lines import LineWriter, read_lines

LEDGER_FILE = "ledger.jsonl"


class LedgerEvent(StrEnum):
    OPENED = "opened"  # a night begins
    FOUND = "found"  # a kernel, a revision, mails of one: `key` is what tells it
    BEGUN = "begun"  # a job
    ENDED = "ended"  # a job, with what came out
    CONTROL = "control"
    SENDING = "sending"  # something to others, told by `key`, is about to go
    SENT = "sent"  # it went
    UNSENT = "unsent"  # it did not; `label` says why
    CLOSED = "closed"  # a night: its summary is written, and published


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One line. `at` is the time, and `night` the name of the night, both in UTC. A night that closed has its verdict
    as `label`, and its `reasons`; `idle`: it had nothing to do, and no trouble.
    """

    what: LedgerEvent
    at: str
    night: str
    key: str = ""
    label: str = ""
    family: str = ""
    job: Job | None = None
    result: JobResult | None = None
    control: ControlBoot | None = None
    reasons: tuple[str, ...] = ()
    idle: bool = False


class Ledger(LineWriter[LedgerEntry]):
    """The ledger of one nightly, being written."""

    def __init__(self, place: Path) -> None:
        super().__init__(place / LEDGER_FILE)


def read_ledger(place: Path) -> tuple[LedgerEntry, ...]:
    """All that was noted, oldest first."""
    return read_lines(LedgerEntry, place / LEDGER_FILE, "a nightly's ledger")


def place_of(layout: Layout, name: str) -> Path:
    """The directory of the nightly of that name."""
    path = layout.nightly / name
    path.mkdir(exist_ok=True)
    return path
