# SPDX-License-Identifier: GPL-2.0-only
"""A place in a backtrace: as the kernel prints it, and in its sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Frame(NamedTuple):
    """`function+0xOFFSET/0xSIZE [module]`; `module` is empty for the kernel itself.

    `returns` is True for a return address, the usual thing on a stack: the call is before it. An instruction
    pointer (`RIP:`) is exact.
    """

    function: str
    offset: int
    size: int
    module: str = ""
    returns: bool = True


class SourcePlace(NamedTuple):
    """A line of a source; `file` is relative to the kernel tree, or to the module's own sources."""

    function: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Decoded:
    """Frame -> its places, innermost first: functions that were inlined, then the function that the frame names.

    A frame without a place is one of which there is nothing to say for certain. `problem` is a sentence for what was
    not decoded at all, and why; empty when all was looked up.
    """

    places: Mapping[Frame, tuple[SourcePlace, ...]] = field(default_factory=dict)
    problem: str = ""
