# SPDX-License-Identifier: GPL-2.0-only
"""Nothing stays in the temporary directory: of a command that ended, of a killed one when the next one comes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from harness.store.temporary import own_temporary_directory, sweep

_HOLDER = """
import pathlib, sys, tempfile, time
from harness.store.temporary import own_temporary_directory
with own_temporary_directory(), tempfile.TemporaryDirectory(prefix="ttm-") as inner:
    (pathlib.Path(inner) / "file").touch()
    print(inner, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_what_is_made_in_the_block_is_gone_with_it(place: Path) -> None:
    with own_temporary_directory():
        inner = Path(tempfile.mkdtemp())
        assert inner.parent.parent == place
    assert list(place.iterdir()) == []
    assert tempfile.gettempdir() == str(place)


def test_what_a_killed_process_left_goes_and_what_somebody_works_in_stays(place: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(place)}
    holders = []
    for _ in range(2):
        holders.append(subprocess.Popen([sys.executable, "-c", _HOLDER], env=environment, stdout=subprocess.PIPE))
    inner = [Path(holder.stdout.readline().decode().strip()) for holder in holders if holder.stdout is not None]
    (place / "ttm-of-link").symlink_to(place)
    try:
        holders[0].send_signal(signal.SIGKILL)
        holders[0].wait(10)
        sweep(place)
        assert [path.is_dir() for path in inner] == [False, True]
        assert not inner[0].parent.exists()
    finally:
        holders[1].send_signal(signal.SIGKILL)
        holders[1].wait(10)
    with own_temporary_directory():
        assert not inner[1].parent.exists()
    assert [path.name for path in place.iterdir()] == ["ttm-of-link"]


def test_without_a_place_for_it_there_is_none(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(place / "nowhere"))
    with own_temporary_directory():
        pass
