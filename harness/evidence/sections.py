# SPDX-License-Identifier: GPL-2.0-only
"""The console of a guest, cut at the markers that guest-scripts/init writes to /dev/kmsg. Pure.

Accepted form: `ttm-harness: suite NAME begin` and `ttm-harness: suite NAME end STATUS`. A suite whose end never
came owns everything to the end of the log: what a dying kernel printed belongs to what it was doing. Runners that
start one case after another write `ttm-harness: case SUITE NAME` ahead of each. What lies between `ttm-harness: list
NAME begin` and `… end` was printed while the runner found out which cases there are, and is no result.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.evidence.lines import LogLine

_MARKER = re.compile(r"\s*ttm-harness: suite ([\w.-]+) (begin|end)\b")
_LIST = re.compile(r"\s*ttm-harness: list ([\w.-]+) (begin|end)\s*")
_CASE = re.compile(r"\s*ttm-harness: case ([\w.-]+) ([\w.:@+-]+)\s*")


def cases_begun(lines: Iterable[LogLine], suite: str) -> tuple[tuple[int, str], ...]:
    """The line numbers at which the suite's runner began a case, and its name."""
    found = ((line.number, _CASE.fullmatch(line.text)) for line in lines)
    return tuple((number, match[2]) for number, match in found if match is not None and match[1] == suite)


def suite_sections(lines: Iterable[LogLine]) -> dict[str, tuple[LogLine, ...]]:
    """Suite name -> the lines between its markers, markers left out."""
    sections: dict[str, list[LogLine]] = {}
    current: str | None = None
    listing = False
    for line in lines:
        marker = _MARKER.match(line.text)
        if marker is None:
            if (edge := _LIST.fullmatch(line.text)) is not None and edge[1] == current:
                listing = edge[2] == "begin"
            elif current is not None and not listing:
                sections[current].append(line)
            continue
        listing = False
        if marker[2] == "begin":
            current = marker[1]
            sections.setdefault(current, [])
        elif marker[1] == current:
            current = None
    return {name: tuple(section) for name, section in sections.items()}
