# SPDX-License-Identifier: GPL-2.0-only
"""Standard output and error of the program: no character passes that a terminal would obey.

This is the last gate, for whatever way words take. Only rich's consoles (reports/console.py) write beside it, and
they do the same for the words in them.
"""

from __future__ import annotations

import io
import sys
from typing import TextIO

from harness.model.visible import visible


class VisibleStream(io.TextIOWrapper):
    """A text stream over the bytes of `underneath`, in step with it."""

    def __init__(self, underneath: TextIO) -> None:
        # Another encoding than these click would call wrong, and write to the bytes itself.
        encoding = "utf-8" if underneath.encoding.lower() in ("ascii", "us-ascii", "ansi_x3.4-1968") else None
        super().__init__(
            underneath.buffer,
            encoding=encoding or underneath.encoding,
            errors="backslashreplace",
            line_buffering=underneath.isatty(),
            write_through=True,
        )
        self.underneath = underneath

    def write(self, text: str) -> int:
        super().write(visible(text))
        return len(text)


def make_visible() -> None:
    """Puts such streams in the place of the program's own, where these are real ones."""
    if isinstance(sys.stdout, io.TextIOWrapper) and not isinstance(sys.stdout, VisibleStream):
        sys.stdout = VisibleStream(sys.stdout)
    if isinstance(sys.stderr, io.TextIOWrapper) and not isinstance(sys.stderr, VisibleStream):
        sys.stderr = VisibleStream(sys.stderr)
