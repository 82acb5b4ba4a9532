# SPDX-License-Identifier: GPL-2.0-only
"""What a long piece of work says of itself while it goes on; who shows it, and how, is the command line's matter."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told of the steps of a work and of how far the present one is."""

    def step(self, text: str) -> None:
        """A new step begins, or something worth a line happened."""

    def advance(self, done: int, total: int, unit: str) -> None:
        """The present step has done so much of `total` (0 = unknown)."""


class Board(Progress, Protocol):
    """Progress of several boots side by side, each in a lane of its own; called from any thread."""

    def lane(self, number: int, text: str) -> None:
        """What the boot with that number does now."""

    def lane_ends(self, number: int, text: str) -> None:
        """The boot has ended, as the words say."""


class Lane:
    """One lane as a Progress."""

    def __init__(self, board: Board, number: int) -> None:
        self._board = board
        self._number = number

    def step(self, text: str) -> None:
        self._board.lane(self._number, text)

    def advance(self, done: int, total: int, unit: str) -> None:
        """How far one boot is, nobody knows."""
