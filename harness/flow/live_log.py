# SPDX-License-Identifier: GPL-2.0-only
"""The console of a guest that goes on -> the events that its kernel has printed so far, each with its sources."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from dataclasses import replace
from pathlib import Path

from harness.evidence.lines import LineStream, LogLine
from harness.evidence.splats import EventStream
from harness.flow.observe import with_ooms
from harness.flow.sources import Objects, with_sources
from harness.model.event import Event
from harness.proc import Deadline

_POLL_SECONDS = 0.02
_BLOCK = 1 << 20
_RECENT = 4000  # lines; what an OOM says of itself
MARK = "ttm-harness: mark %d."
_MARK = re.compile(rb"ttm-harness: mark (\d{1,9})\.")
_MARK_BYTES = 64  # that may be cut by the end of what is read


class LiveLog:
    """Reads on where it was left. Memory is flat but for the events, of which all are kept."""

    def __init__(self, console: Path, objects: Objects) -> None:
        self._objects = objects
        self._console = console
        self._offset = 0
        self._lines, self._events = LineStream(), EventStream()
        self._recent: deque[LogLine] = deque(maxlen=_RECENT)
        self._found: list[Event] = []
        self._end = b""
        self._marked = 0
        self._lock = threading.RLock()

    def add_objects(self, directory: Path) -> None:
        """Modules are looked for there, too, and first."""
        with self._lock:
            self._objects = replace(self._objects, module_directories=(directory, *self._objects.module_directories))

    def look(self, *, over: bool = False) -> tuple[Event, ...]:
        """All events up to now; the last ones of them only where more has followed, or it is `over`: there is nothing
        more to come of them.
        """
        with self._lock:
            self._read()
            if over:
                self._take((), over=True)
            return tuple(self._found)

    @property
    def has_read_all(self) -> bool:
        """The console has grown by nothing since it was last looked at."""
        with self._lock:
            return self._console.stat().st_size == self._offset

    def wait_for(self, number: int, deadline: Deadline) -> bool:
        """Until the console has the mark of that number, or a later one; False when time is up."""
        while True:
            with self._lock:
                self._read()
                if self._marked >= number:
                    return True
            if deadline.passed:
                return False
            time.sleep(_POLL_SECONDS)

    def _read(self) -> None:
        try:
            with self._console.open("rb") as file:
                file.seek(self._offset)
                while data := file.read(_BLOCK):
                    self._offset += len(data)
                    self._feed(data)
        except FileNotFoundError:
            return

    def _feed(self, data: bytes) -> None:
        seen = self._end + data
        self._marked = max((int(number) for number in _MARK.findall(seen)), default=self._marked)
        self._end = seen[-_MARK_BYTES:]
        for block in self._lines.cut(data):
            self._take(self._lines.feed(block))
        if rest := self._lines.rest():
            self._take(self._lines.feed(rest))

    def _take(self, lines: list[LogLine] | tuple[()], *, over: bool = False) -> None:
        self._recent += lines
        if events := self._events.feed(lines, ends=over):
            known = with_ooms(events, tuple(self._recent))
            self._found += with_sources(known, self._objects)[0]
