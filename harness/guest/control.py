# SPDX-License-Identifier: GPL-2.0-only
"""The control channel: bytes of a virtio-serial port -> frames. Pure.

Accepted form of a frame: a line `@KIND LENGTH TEXT` where LENGTH is the number of bytes of TEXT. guest-scripts/note
writes each in one write, so frames of several processes follow one another whole. Anything else is garbage, kept
and counted: it makes the run invalid.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_FRAME = re.compile(rb"@([a-z-]{1,16}) (\d{1,7}) (.*)", re.DOTALL)
_LONGEST = 1 << 16


@dataclass(frozen=True, slots=True)
class ControlFrame:
    kind: str
    text: str


class ControlReader:
    """Feed it what the port gave; it returns the frames that are complete. `garbage` keeps the first bad lines."""

    def __init__(self) -> None:
        self._rest = b""
        self.garbage: list[str] = []
        self.garbage_count = 0

    def feed(self, data: bytes) -> list[ControlFrame]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        frames = []
        for line in lines:
            frame = self._frame(line)
            if frame is not None:
                frames.append(frame)
        if len(self._rest) > _LONGEST:
            self._bad(self._rest[:80])
            self._rest = b""
        return frames

    def end(self) -> None:
        """No more bytes will come: a frame that was begun is garbage."""
        if self._rest:
            self._bad(self._rest[:80])
            self._rest = b""

    def _frame(self, line: bytes) -> ControlFrame | None:
        match = _FRAME.fullmatch(line)
        if match is None or int(match[2]) != len(match[3]):
            self._bad(line)
            return None
        return ControlFrame(match[1].decode("ascii"), match[3].decode("utf-8", "replace"))

    def _bad(self, line: bytes) -> None:
        self.garbage_count += 1
        if len(self.garbage) < 10:
            self.garbage.append(line[:80].decode("utf-8", "replace"))
