# SPDX-License-Identifier: GPL-2.0-only
"""Whether a guest that takes long is only slow, by what it has said so far: only such a boot may be made elsewhere,
too, and be ended when that one is first. A guest that is silent, or that has said something bad, may be a finding.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from harness.flow.splat_words import splat_words

SILENT_SECONDS = 30.0
SILENT = f"it had said nothing for {SILENT_SECONDS:.0f} s"
_PIECE = 1 << 20
_OVERLAP = 1024  # of the end of a piece: what begins in it may be bad
_LONGEST = 80  # of what is quoted
_BEAT = re.compile(rb"@beat [^\n]*\n?")
_BAD = re.compile(
    rb"not ok \d|# .{0,200}?(?:FAILED|EXPECTATION)|Kernel panic|Oops|BUG: |WARNING: |KASAN|invoked oom-killer"
    rb"|Out of memory|blocked for more than|detected stalls? on|self-detected stall"
    # igt_runner's results are in files: what its tests say meanwhile, and how a runner ended
    rb"|\[IGT\] .{1,200}?(?:, (?:FAIL|CRASH|TIMEOUT)|exiting, ret=(?!0\b|77\b)\d)|@result \d{1,3} \S{1,80} [1-9]"
)


class Pulse:
    """Looks at the boots below a directory, each time at what is new there."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._clock = clock
        self._moved = clock()
        self._offsets: dict[Path, int] = {}
        self._ends: dict[Path, bytes] = {}
        self._bad = ""

    def doubt(self) -> str:
        """Why it may be more than slow, as a clause; empty when it gets on, or has not begun to speak."""
        for depth in ("*", "*/*"):
            for name in ("console.log", "control.log"):
                for file in self._directory.glob(f"{depth}/{name}"):
                    self._look(file)
        silent = self._clock() - self._moved
        if not self._bad and self._offsets and silent > SILENT_SECONDS:
            return SILENT
        return self._bad

    def _look(self, file: Path) -> None:
        offset = self._offsets.setdefault(file, 0)
        try:
            with file.open("rb") as source:
                source.seek(offset)
                piece = source.read(_PIECE)
        except OSError:
            return
        self._offsets[file] = offset + len(piece)
        if _BEAT.sub(b"", piece).strip():
            self._moved = self._clock()
        text = self._ends.get(file, b"") + piece
        if not self._bad and (bad := _bad_words(text)):
            self._bad = f"it had said {bad!r}"
        self._ends[file] = text[-_OVERLAP:]


def _bad_words(text: bytes) -> str:
    """The first that may be a finding: of a case, or of the kernel. Empty where none is."""
    if (found := _BAD.search(text)) is not None:
        return found[0].decode("ascii", "replace")
    return splat_words(text.decode("ascii", "replace"))[:_LONGEST]
