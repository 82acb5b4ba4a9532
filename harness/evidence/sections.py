# SPDX-License-Identifier: GPL-2.0-only
"""The console of a guest, cut at the markers that guest-scripts/init writes to /dev/kmsg. Pure.

Accepted form: `ttm-harness: suite NAME begin` and `ttm-harness: suite NAME end STATUS`. A suite whose end never
came owns everything to the end of the log: what a dying kernel printed belongs to what it was doing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.evidence.lines import Line

_MARKER = re.compile(r"\s*ttm-harness: suite ([\w.-]+) (begin|end)\b")


def suite_sections(lines: Iterable[Line]) -> dict[str, tuple[Line, ...]]:
    """Suite name -> the lines between its markers, markers left out."""
    sections: dict[str, list[Line]] = {}
    current: str | None = None
    for line in lines:
        marker = _MARKER.match(line.text)
        if marker is None:
            if current is not None:
                sections[current].append(line)
        elif marker[2] == "begin":
            current = marker[1]
            sections.setdefault(current, [])
        elif marker[1] == current:
            current = None
    return {name: tuple(section) for name, section in sections.items()}
