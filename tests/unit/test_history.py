# SPDX-License-Identifier: GPL-2.0-only
"""What the journals of past runs know: results that can be kept, and how long boots took."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.flow import history
from harness.flow.history import Kept, read_history
from harness.flow.run_record import Planned
from harness.model.compare import Leg
from harness.model.outcome import Verdict
from harness.store.journal import JOURNAL_FILE, Entry, Journal, Step
from harness.store.layout import Layout
from tests.unit.results_support import run_name
from tests.unit.stand_in.cells import cell

PLANNED = Planned(1, Leg.TIP, "", cell(), "k" * 64, "lean tcg p * -", 0, 0)


def finished(seconds: float = 1.0, verdict: Verdict = Verdict.GOOD, kept_from: str = "", **other: str) -> Entry:
    named = {"cell": PLANNED.cell.id, "key": PLANNED.key, "shape": PLANNED.shape, "place": PLANNED.place, **other}
    return Entry(Step.FINISHED, 1, seconds=seconds, verdict=str(verdict), kept_from=kept_from, **named)


def journal(layout: Layout, days_ago: float, *entries: Entry) -> Path:
    directory = layout.runs / run_name(days_ago)
    directory.mkdir()
    (directory / PLANNED.place).mkdir()
    with Journal(directory) as file:
        for entry in entries:
            file.append(entry)
    return directory


def test_a_store_without_runs_knows_nothing(scratch_layout: Layout) -> None:
    found = read_history(scratch_layout)
    assert (found.result(PLANNED), found.expected(PLANNED)) == (None, None)


def test_the_newest_result_of_a_key_is_kept(scratch_layout: Layout) -> None:
    journal(scratch_layout, 3, finished())
    newest = journal(scratch_layout, 1, Entry(Step.BEGUN, 1, key=PLANNED.key), finished(verdict=Verdict.BAD))
    journal(scratch_layout, 0.5, finished(key="other"))
    assert read_history(scratch_layout).result(PLANNED) == Kept(newest, finished(verdict=Verdict.BAD))


def test_what_could_not_be_told_or_is_gone_is_not_kept(scratch_layout: Layout) -> None:
    oldest = journal(scratch_layout, 3, finished())
    journal(scratch_layout, 2, finished(verdict=Verdict.CANNOT_TELL))
    (journal(scratch_layout, 1, finished()) / PLANNED.place).rmdir()
    kept = read_history(scratch_layout).result(PLANNED)
    assert kept is not None
    assert (kept.run, kept.place) == (oldest, oldest / PLANNED.place)
    assert not kept.whole  # there is nothing in it


def test_a_boot_takes_what_the_same_cell_took_and_else_its_shape(scratch_layout: Layout) -> None:
    journal(scratch_layout, 1, finished(10.0, cell="another"), finished(20.0, cell="another"))
    assert read_history(scratch_layout).expected(PLANNED) == 15.0
    journal(scratch_layout, 2, finished(2.0), finished(4.0), finished(9.0), finished(999.0, kept_from="elsewhere"))
    assert read_history(scratch_layout).expected(PLANNED) == 4.0


def test_the_newest_boots_of_a_shape_are_enough(scratch_layout: Layout) -> None:
    journal(scratch_layout, 1, *(finished(1.0) for _ in range(25)))
    journal(scratch_layout, 2, *(finished(50.0) for _ in range(100)))
    found = read_history(scratch_layout)
    assert found.expected(PLANNED) == 1.0
    assert {len(known) for known in found.seconds.values()} == {25}


def test_only_the_newest_runs_are_looked_at(scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_MOST", 2)
    journal(scratch_layout, 1, finished(key="a"), finished(key="b"), finished(key="c"))
    journal(scratch_layout, 2, finished(key="d"))
    assert sorted(read_history(scratch_layout).kept) == ["a", "b", "c"]


def test_a_journal_that_cannot_be_read_tells_nothing(scratch_layout: Layout) -> None:
    (journal(scratch_layout, 1, finished()) / JOURNAL_FILE).write_text("no journal\n")
    older = journal(scratch_layout, 2, finished(3.0))
    found = read_history(scratch_layout)
    assert found.expected(PLANNED) == 3.0
    assert found.kept[PLANNED.key].run == older
