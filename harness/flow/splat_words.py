# SPDX-License-Identifier: GPL-2.0-only
"""The words of a kernel that something is wrong, in a piece of its log as it comes, and not as whole events."""

from __future__ import annotations

import re

from harness.evidence.recognisers import RECOGNISERS, Role, Severity

_STAMP = re.compile(r"^(?:<\d{1,3}>)?(?:\[[ \d.TC]{1,30}\] ?){1,2}")
_ROWS = tuple(row for row in RECOGNISERS if row.severity is not Severity.NOTE and row.role is not Role.REFINES)


def splat_words(said: str) -> str:
    """The first line that opens more than a note, without its time; empty where none does."""
    rows = [row for row in _ROWS if row.needle in said]
    for line in said.splitlines() if rows else ():
        words = _STAMP.sub("", line)
        if any(row.needle in words and row.pattern.search(words) for row in rows):
            return words.strip()
    return ""
