# SPDX-License-Identifier: GPL-2.0-only
"""Scratch directories: an owner's stays, a dead one's goes; a short name works where the long one cannot."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harness.store.layout import Layout
from harness.store.runs import BOOT_SCRATCH, run_directory
from harness.store.scratch import scratch_directory, short_name, sweep_scratch

PROGRAM = """\
import sys, time
from pathlib import Path
from harness.store.layout import Layout
from harness.store.scratch import scratch_directory
with scratch_directory(Layout(Path(sys.argv[1]))) as path:
    (path / "file").touch()
    print(path, flush=True)
    time.sleep(60)
"""


def test_it_is_empty_and_gone_at_the_end(scratch_layout: Layout) -> None:
    with scratch_directory(scratch_layout) as one, scratch_directory(scratch_layout) as other:
        assert one != other and list(one.iterdir()) == []
        (one / "deep").mkdir()
    assert list(scratch_layout.scratch.iterdir()) == []


def test_a_killed_process_s_goes_with_the_next_and_a_living_one_s_stays(scratch_layout: Layout) -> None:
    words = [sys.executable, "-c", PROGRAM, str(scratch_layout.root)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        path = Path(owner.stdout.readline().strip())
        sweep_scratch(scratch_layout)
        assert (path / "file").exists()
        owner.send_signal(signal.SIGKILL)
    sweep_scratch(scratch_layout)
    assert not path.exists()


def test_a_link_among_them_is_not_followed(scratch_layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis").touch()
    (scratch_layout.scratch / "link").symlink_to(tmp_path / "mine")
    sweep_scratch(scratch_layout)
    assert (tmp_path / "mine" / "thesis").exists()


def test_the_sockets_of_killed_boots_are_swept_and_those_of_living_ones_are_not(scratch_layout: Layout) -> None:
    with run_directory(scratch_layout) as dead:
        (dead / "001" / BOOT_SCRATCH).mkdir(parents=True)
        (dead / "001" / BOOT_SCRATCH / "qmp").touch()
    with run_directory(scratch_layout) as alive:
        assert not (dead / "001" / BOOT_SCRATCH).exists()
        (alive / "001" / BOOT_SCRATCH).mkdir(parents=True)
        with run_directory(scratch_layout):
            assert (alive / "001" / BOOT_SCRATCH).exists()


def test_a_socket_is_reached_by_the_short_name(tmp_path: Path) -> None:
    place = tmp_path / ("long" * 30) / ("longer" * 30)
    place.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        with pytest.raises(OSError, match="too long"):
            server.bind(str(place / "qmp"))
        with short_name(place) as short:
            server.bind(str(short / "qmp"))
            server.listen()
            client.connect(str(short / "qmp"))
            assert (short / "qmp").resolve() == place / "qmp"
    assert (place / "qmp").exists()
    assert not short.exists() or os.fspath(short.resolve()) != str(place)
