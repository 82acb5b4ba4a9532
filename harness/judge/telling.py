# SPDX-License-Identifier: GPL-2.0-only
"""Which boots tell most: those whose result was often another than the time before. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PastBoot:
    """A boot that was made: its machine and suites, and what came of it, the same words for the same result."""

    machine: str
    suites: tuple[str, ...]
    result: str


@dataclass(frozen=True, slots=True)
class Telling:
    """How much a boot is likely to tell, by its machine and suites: the share of boots that ended otherwise than the
    one before them, one more boot and one more change being counted for each. What was never booted tells most: 1.
    """

    shares: Mapping[tuple[str, tuple[str, ...]], float] = field(default_factory=dict)

    def of(self, machine: str, suites: tuple[str, ...]) -> float:
        return self.shares.get((machine, suites), 1.0)


def telling_of(boots: Iterable[PastBoot]) -> Telling:
    """From boots in the order in which they were made."""
    last: dict[tuple[str, tuple[str, ...]], str] = {}
    turns: dict[tuple[str, tuple[str, ...]], int] = {}
    changes: dict[tuple[str, tuple[str, ...]], int] = {}
    for boot in boots:
        key = boot.machine, boot.suites
        if key in last:
            turns[key] = turns.get(key, 0) + 1
            changes[key] = changes.get(key, 0) + (last[key] != boot.result)
        last[key] = boot.result
    return Telling({key: (changes.get(key, 0) + 1) / (turns.get(key, 0) + 1) for key in last})
