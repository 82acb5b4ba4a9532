# SPDX-License-Identifier: GPL-2.0-only
"""What a guest does, for the trace of the command: from its launch to ready, then its suites and their cases.

Times are the host's, when the guest's words come in; the guest sends one as each case begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.guest.control import ControlFrame
from harness.trace import note, now


class BootTrace:
    """Takes the control frames of one boot as they come."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._since = now()
        self._doing = "boot to ready"
        self._suite = ""
        self._suite_began = 0.0

    def on_frame(self, frame: ControlFrame) -> None:
        if frame.kind == "ready":
            self._next("checks before the suites")
        elif frame.kind == "start":
            self._next(f"before the first case of {frame.text}")
            self._suite, self._suite_began = frame.text, self._since
        elif frame.kind == "case":
            self._next(frame.text.partition(" ")[2])
        elif frame.kind == "cases-end":
            self._next("after the last case")
        elif frame.kind == "result":
            self._next("power off")
            self._end_suite()

    def ended(self) -> None:
        """The guest is gone."""
        self._next("")
        self._end_suite()

    def _next(self, doing: str) -> None:
        began, self._since = self._since, now()
        note(self._doing, began, self._since, self._group, "cases")
        self._doing = doing

    def _end_suite(self) -> None:
        if self._suite:
            note(self._suite, self._suite_began, self._since, self._group, "suites")
            self._suite = ""


@contextmanager
def followed(group: str) -> Iterator[BootTrace]:
    """What the guest is at when the block ends, it is at no longer."""
    trace = BootTrace(group)
    try:
        yield trace
    finally:
        trace.ended()
