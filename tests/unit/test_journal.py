# SPDX-License-Identifier: GPL-2.0-only
"""The journal: what was appended is there, what was torn is not, and nothing else is believed."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.model.errors import StoreCorrupt
from harness.store.journal import JOURNAL_FILE, Entry, Journal, Step, read_journal

ENTRIES = tuple(
    Entry(Step.FINISHED, number, f"cell{number}", f"{number:03d}-cell{number}", seconds=1.5, verdict="good")
    for number in range(1, 6)
)


def write(directory: Path, entries: tuple[Entry, ...] = ENTRIES) -> Path:
    with Journal(directory) as journal:
        for entry in entries:
            journal.append(entry)
    return directory / JOURNAL_FILE


def test_what_was_appended_is_read(tmp_path: Path) -> None:
    write(tmp_path)
    assert read_journal(tmp_path) == ENTRIES


def test_a_run_without_one_has_no_entries(tmp_path: Path) -> None:
    assert read_journal(tmp_path) == ()


def test_a_journal_goes_on_where_it_was_cut(tmp_path_factory: pytest.TempPathFactory) -> None:
    whole = write(tmp_path_factory.mktemp("whole")).read_bytes()

    @settings(deadline=None)
    @given(st.integers(0, len(whole)))
    def at(cut: int) -> None:
        directory = tmp_path_factory.mktemp("cut")
        (directory / JOURNAL_FILE).write_bytes(whole[:cut])
        lines = whole[:cut].count(b"\n")
        assert read_journal(directory) == ENTRIES[:lines]
        write(directory, ENTRIES[:1])
        assert read_journal(directory) == (*ENTRIES[:lines], ENTRIES[0])

    at()


@pytest.mark.parametrize("line", [b"{}\n", b"\n", b"\xff\n", b"[1]\n", b'{"step": "flown"}\n', b"null\n"])
def test_a_broken_line_that_is_whole_is_said_to_be_corrupt(tmp_path: Path, line: bytes) -> None:
    path = write(tmp_path)
    path.write_bytes(path.read_bytes() + line)
    with pytest.raises(StoreCorrupt, match=rf"{JOURNAL_FILE}:6"):
        read_journal(tmp_path)


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    def write_twenty(journal: Journal, number: int) -> None:
        for _ in range(20):
            journal.append(Entry(Step.BEGUN, number, "x" * 500))

    with Journal(tmp_path) as journal:
        threads = [threading.Thread(target=write_twenty, args=(journal, number)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    entries = read_journal(tmp_path)
    assert len(entries) == 160
    assert {entry.cell for entry in entries} == {"x" * 500}
