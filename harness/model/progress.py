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
