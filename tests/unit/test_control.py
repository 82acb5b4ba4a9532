# SPDX-License-Identifier: GPL-2.0-only
"""Frames of the control channel: complete ones are believed, anything else is counted as garbage."""

from __future__ import annotations

import subprocess
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from harness.guest.control import ControlFrame, ControlReader

NOTE = Path(__file__).parents[2] / "guest-scripts" / "note"


def frames_of(data: bytes, step: int = 1 << 20) -> tuple[list[ControlFrame], int]:
    reader = ControlReader()
    frames = [frame for at in range(0, len(data), step) for frame in reader.feed(data[at : at + step])]
    reader.end()
    return frames, reader.garbage_count


def test_frames_in_order() -> None:
    assert frames_of(b"@ready 4 0.92\n@fact 6 cpus=2\n") == (
        [ControlFrame("ready", "0.92"), ControlFrame("fact", "cpus=2")],
        0,
    )


def test_any_cutting_gives_the_same_frames() -> None:
    data = b"@ready 4 0.92\n@fact 6 cpus=2\n@exit 1 2\n"
    assert all(frames_of(data, step) == frames_of(data) for step in range(1, len(data)))


def test_a_frame_cut_short_is_garbage() -> None:
    assert frames_of(b"@exit 1 2\n@result 11 ttm-ku") == ([ControlFrame("exit", "2")], 1)


def test_a_wrong_length_is_garbage() -> None:
    assert frames_of(b"@exit 5 2\n") == ([], 1)


def test_console_text_is_garbage() -> None:
    frames, garbage = frames_of(b"[    1.0] Kernel panic - not syncing\n@exit 1 2\n")
    assert (frames, garbage) == ([ControlFrame("exit", "2")], 1)


def test_an_endless_line_does_not_eat_memory() -> None:
    reader = ControlReader()
    for _ in range(64):
        reader.feed(b"x" * 4096)
    assert reader.garbage_count >= 1


@given(st.binary(max_size=300))
def test_never_raises(data: bytes) -> None:
    frames_of(data)


@given(st.binary(max_size=60))
def test_a_prefix_never_has_other_frames(data: bytes) -> None:
    whole, _ = frames_of(b"@fact 6 cpus=2\n" + data)
    for cut in range(len(data)):
        part, _ = frames_of(b"@fact 6 cpus=2\n" + data[:cut])
        assert whole[: len(part)] == part


def test_what_the_guests_script_writes_is_read() -> None:
    argv = ["sh", "-c", f'sh "{NOTE}" fact "cmdline=a b  c" 3>&1']
    written = subprocess.run(argv, capture_output=True, timeout=10, check=True)
    assert frames_of(written.stdout) == ([ControlFrame("fact", "cmdline=a b  c")], 0)
