# SPDX-License-Identifier: GPL-2.0-only
"""What is typed into a shell in a guest: all of it goes there, but for what `~` begins at the beginning of a line."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli.guests import Written
from harness.cli.shell import Keys


class Typed:
    """What is read from a terminal, piece by piece."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)

    def read(self, size: int, /) -> bytes:
        piece = self._pieces.pop(0) if self._pieces else b""
        assert len(piece) <= size
        return piece


def typed(*pieces: bytes) -> tuple[bytes, bool, bytes]:
    """What went to the guest, whether that was ended, and what was said here."""
    out, ended = io.BytesIO(), []
    keys = Keys(Typed(*pieces), Written(out), lambda: ended.append(True), lambda number: f"image {number}")
    passed = bytearray()
    while piece := keys.read(4096):
        passed += piece
    assert bool(ended) is keys.left
    return bytes(passed), keys.left, out.getvalue()


@pytest.mark.parametrize(
    ("pieces", "passed", "left"),
    [
        ((b"ls\r",), b"ls\r", False),
        ((b"~.",), b"", True),
        ((b"ls\r~.more",), b"ls\r", True),
        ((b"ls\r", b"~", b"."), b"ls\r", True),
        ((b"sleep 9\r\x03~.",), b"sleep 9\r\x03", True),
        ((b"cd ~/x\r",), b"cd ~/x\r", False),
        ((b"ls ~.\r",), b"ls ~.\r", False),
        ((b"~~.\r",), b"~.\r", False),
        ((b"~x\r~.",), b"~x\r", True),
        ((b"~\r~.",), b"~\r", True),
        ((b"~?~.",), b"", True),
        ((b"a~m\r~m~m~.",), b"a~m\r", True),
        ((b"\x1b[A\x00\xff",), b"\x1b[A\x00\xff", False),
    ],
)
def test_keys(pieces: tuple[bytes, ...], passed: bytes, left: bool) -> None:
    assert typed(*pieces)[:2] == (passed, left)


def test_the_help_is_for_this_side() -> None:
    passed, _, said = typed(b"~?ls\r")
    assert passed == b"ls\r"
    assert b"~." in said


def test_images_are_counted_and_the_shell_goes_on() -> None:
    passed, left, said = typed(b"~m~mls\r")
    assert (passed, left, said) == (b"ls\r", False, b"\r\nimage 1\r\n\r\nimage 2\r\n")


@given(st.lists(st.binary(min_size=1, max_size=200), max_size=10))
def test_without_the_escape_every_byte_goes_to_the_guest(pieces: list[bytes]) -> None:
    pieces = [piece.replace(b"~", b"-") for piece in pieces]
    assert typed(*pieces) == (b"".join(pieces), False, b"")


@given(st.binary(max_size=200), st.integers(1, 5))
def test_in_however_many_pieces_it_comes(data: bytes, size: int) -> None:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert typed(*pieces) == typed(*([data] if data else []))
