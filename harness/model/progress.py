# SPDX-License-Identifier: GPL-2.0-only
"""What a long piece of work says of itself while it goes on; who shows it, and how, is the command line's matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Progress(Protocol):
    """Told of the steps of a work and of how far the present one is."""

    def step(self, text: str) -> None:
        """A new step begins, or something worth a line happened."""

    def advance(self, done: int, total: int, unit: str) -> None:
        """The present step has done so much of `total` (0 = unknown)."""


class MultiProgress(Progress, Protocol):
    """Progress of several boots side by side, each in a task of its own; called from any thread."""

    def task(self, number: int, text: str) -> None:
        """What the boot with that number does now."""

    def task_ends(self, number: int, text: str) -> None:
        """The boot has ended, as the words say."""


@dataclass(frozen=True, slots=True)
class HostDoing:
    """What a host of a fleet does now, by the names of its boots and builds, and how many it has ended."""

    host: str
    works: tuple[str, ...]
    ended: int


class FleetProgress(Progress, Protocol):
    """Progress of hosts side by side; called from any thread."""

    def hosts(self, doing: Sequence[HostDoing]) -> None:
        """What each host does now."""


class TaskProgress:
    """One task as a Progress."""

    def __init__(self, progress: MultiProgress, number: int) -> None:
        self._progress = progress
        self._number = number

    def step(self, text: str) -> None:
        self._progress.task(self._number, text)

    def advance(self, done: int, total: int, unit: str) -> None:
        """How far one boot is, nobody knows."""
