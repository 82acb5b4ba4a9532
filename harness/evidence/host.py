# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel log says of the machine outside of its reports: version, command line, RAM, swap."""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.evidence.lines import LogLine
from harness.model.scenario import HostFacts, SeenSwap
from harness.model.units import KIB

# What stands in such lines: also what a stream may skip by.
NEEDLES = ("Linux version ", "ommand line: ", "K available (", " swap on ", "zswap: loaded")
_VERSION = re.compile(r"Linux version (\d{1,3}\.\d{1,4}[^\s(]{0,80})")
_COMMAND_LINE = re.compile(r"(?:Kernel c|C)ommand line: ?(.{0,4096})")
_MEMORY = re.compile(r"Memory: (\d{1,15})K/(\d{1,15})K available \(")
_SWAP = re.compile(r"Adding (\d{1,15})k swap on (\S{1,200}?)\.? {1,4}(?:Priority|extents|across)")
_MOST = 16  # areas


class HostReader:
    """Takes lines; what a later boot says stands in the place of what an earlier one said."""

    def __init__(self) -> None:
        self._begin("")

    def _begin(self, release: str) -> None:
        """A boot: nothing of the one before holds."""
        self._release = release
        self._cmdline: tuple[str, ...] = ()
        self._ram: int | None = None
        self._swaps: dict[str, SeenSwap] = {}
        self._zswap = False

    def feed(self, lines: Iterable[LogLine]) -> None:
        """Some lines of the log, in their order."""
        for line in lines:
            text = line[1]
            if any(needle in text for needle in NEEDLES):
                self._take(text)

    def _take(self, text: str) -> None:
        if match := _VERSION.match(text):
            self._begin(match[1])
        elif match := _COMMAND_LINE.match(text):
            self._cmdline = tuple(match[1].split())
        elif match := _MEMORY.match(text):
            self._ram = int(match[2]) * KIB
        elif match := _SWAP.match(text):
            if len(self._swaps) < _MOST or match[2] in self._swaps:
                self._swaps[match[2]] = SeenSwap(match[2], int(match[1]) * KIB)
        elif text.startswith("zswap: loaded"):
            self._zswap = True

    def facts(self) -> HostFacts:
        """All of it until now."""
        zswap = self._zswap or any(word in self._cmdline for word in ("zswap.enabled=1", "zswap.enabled=Y"))
        return HostFacts(self._release, self._cmdline, self._ram, tuple(self._swaps.values()), zswap)
