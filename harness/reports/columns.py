# SPDX-License-Identifier: GPL-2.0-only
"""Text in columns, as wide as it needs to be: a table that is cut off or wrapped says nothing in a log or a mail."""

from __future__ import annotations

from collections.abc import Sequence

from harness.model.visible import visible_field


def columns(rows: Sequence[Sequence[str]], right: frozenset[int] | set[int] = frozenset()) -> list[str]:
    """A line for each row, two blanks between columns; those in `right`, counted from 0, are set to the right."""
    rows = [[visible_field(text) for text in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = (
            text.rjust(width) if number in right else text.ljust(width)
            for number, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip())
    return lines
