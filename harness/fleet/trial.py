# SPDX-License-Identifier: GPL-2.0-only
"""A boot, or a build, and what became of those who tried it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from harness.model.progress import Progress

MOST_LOSSES = 2  # of one boot


class NoAnswer(Exception):
    """A try came to nothing, by no word of the kernel's; the text says how."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where, and when on this host's clock, a worker began an order. `token` is this beginning's own."""

    host: str
    address: str
    token: str
    at: float


@dataclass
class Trial:
    """Changed by Dask's thread as the words of workers come. `key` is that of an order: each try has one."""

    title: str  # the boot, or the build, as its worker says it first
    progress: Progress
    begun: dict[str, list[Beginning]] = field(default_factory=dict)  # key -> one after the other
    doubts: dict[str, str] = field(default_factory=dict)  # key -> why its guest may be more than slow
    losses: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    why_again: str = ""  # a clause: why a second try was begun beside the first
    changed: threading.Event = field(default_factory=threading.Event)

    @property
    def name(self) -> str:
        return self.title.partition(":")[0]

    def begins(self, key: str, host: str, address: str, token: str) -> None:
        """A worker says so, once or more often."""
        before = self.begun.setdefault(key, [])
        if any(one.token == token for one in before):
            return
        if before:
            self.loses(f"the worker on {before[-1].host} was lost while it made it")
        before.append(Beginning(host, address, token, time.monotonic()))
        self.doubts.pop(key, None)
        self.progress.step(f"{self.title}, on {host}")
        self.changed.set()

    def loses(self, how: str) -> None:
        self.losses.append(how)
        self.progress.step(f"  {how}")
        self.changed.set()

    def last(self, key: str) -> Beginning | None:
        """Where it is now."""
        before = self.begun.get(key)
        return before[-1] if before else None

    @property
    def is_hopeless(self) -> bool:
        return len(self.losses) >= MOST_LOSSES
