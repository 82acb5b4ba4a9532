# SPDX-License-Identifier: GPL-2.0-only
"""What past runs in the store know: results that can be kept, and how long boots took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from harness.flow.collect import CellResult
from harness.flow.run_record import Planned, load_result
from harness.model.errors import InfraError
from harness.model.outcome import Verdict
from harness.store.journal import Entry, Step, read_journal
from harness.store.layout import Layout
from harness.store.runs import run_directories
from harness.store.sealed import require_sealed

# An inconclusive boot is made again.
_KEPT = (Verdict.GOOD, Verdict.BAD)
_ENOUGH = 25  # boots of a shape, the newest ones
_MOST = 50_000  # boots that are looked at, the newest ones: a second's reading at the start of a plan


@dataclass(frozen=True, slots=True)
class Kept:
    """A finished boot of an earlier run."""

    run: Path
    entry: Entry

    @property
    def place(self) -> Path:
        return self.run / self.entry.place

    def load(self) -> CellResult:
        """Its result; StoreDamaged when its evidence is not what the boot left."""
        require_sealed(self.place, self.entry.sealed)
        return load_result(self.place)

    @property
    def whole(self) -> bool:
        """Whether it can be taken over."""
        try:
            self.load()
        except InfraError:
            return False
        return True


@dataclass
class History:
    """The newest finished boot by key, and seconds by cell and by shape."""

    kept: dict[str, Kept] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def result(self, planned: Planned) -> Kept | None:
        return self.kept.get(planned.key)

    def expected(self, planned: Planned) -> float | None:
        """Seconds that the boot will take: as the same cell did, else as those of its shape; None: no past run."""
        known = self.seconds.get(planned.cell.id) or self.seconds.get(planned.shape)
        return median(known) if known else None


def read_history(layout: Layout) -> History:
    """The journals of the newest runs, up to so many boots; one that cannot be read tells nothing."""
    history = History()
    boots = 0
    for directory in run_directories(layout):
        if boots >= _MOST:
            break
        try:
            entries: Sequence[Entry] = read_journal(directory)
        except InfraError:
            continue
        for entry in entries:
            if entry.step is Step.FINISHED:
                boots += 1
                _take(history, directory, entry)
    return history


def _take(history: History, directory: Path, entry: Entry) -> None:
    if entry.verdict in _KEPT and entry.key not in history.kept and (directory / entry.place).is_dir():
        history.kept[entry.key] = Kept(directory, entry)
    if not entry.kept_from:
        for name in (entry.cell, entry.shape):
            known = history.seconds.setdefault(name, [])
            if len(known) < _ENOUGH:
                known.append(entry.seconds)
