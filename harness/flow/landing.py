# SPDX-License-Identifier: GPL-2.0-only
"""Where in a C file a patch landed: with little context an offset can take it into a twin of its function."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from difflib import SequenceMatcher


def spans_of(text: str, name: str) -> tuple[range, ...]:
    """The lines (from 0) of each top-level definition of `name`: a function, a variable, a macro.

    Kernel style is taken for granted: what is defined at the top level begins in the first column.
    """
    lines = text.splitlines()
    found = []
    number = 0
    while number < len(lines):
        if not _begins(lines[number], name):
            number += 1
            continue
        end = _end(lines, number)
        if end is not None:
            found.append(range(_head(lines, number), end + 1))
        number = (end or number) + 1
    return tuple(found)


def _begins(line: str, name: str) -> bool:
    if not line or line[0].isspace() or line.startswith(("}", "/", "*")):
        return False
    word = re.escape(name)
    if line.startswith("#"):
        return re.match(rf"#\s*define\s+{word}\b", line) is not None
    # The name is followed by what makes it a definition, not an argument of one.
    return re.search(rf"(?<![\w.>]){word}(?:\(|\s*(?:\[[^\]]*\])*\s*[={{]|\s*(?:\[[^\]]*\])*;)", line) is not None


def _head(lines: Sequence[str], number: int) -> int:
    """The type of a function may stand on a line of its own above its name."""
    above = lines[number - 1] if number else ""
    return number - 1 if re.match(r"[A-Za-z_][\w\s\*]*$", above) else number


def _end(lines: Sequence[str], number: int) -> int | None:
    """Where what begins there ends; None for a prototype, which defines nothing."""
    if lines[number].startswith("#"):
        while lines[number].endswith("\\") and number + 1 < len(lines):
            number += 1
        return number
    body = False
    for here in range(number, len(lines)):
        line = lines[here].rstrip()
        body = body or "{" in line
        if not body and line.endswith(";"):
            return here if "(" not in lines[number].split("=")[0] else None
        # The closing brace stands in the first column, or behind the opening one.
        if body and (line.startswith("}") or (here == number and line.endswith(("}", "};")))):
            return here
    return None


def changed_lines(before: str, after: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The lines (from 0) that `before` has and `after` has not, and the other way round."""
    gone: list[int] = []
    new: list[int] = []
    matcher = SequenceMatcher(None, before.splitlines(), after.splitlines(), autojunk=False)
    for word, i1, i2, j1, j2 in matcher.get_opcodes():
        if word != "equal":
            gone.extend(range(i1, i2))
            new.extend(range(j1, j2))
    return tuple(gone), tuple(new)


def landed_outside(before: str, after: str, functions: Sequence[str]) -> tuple[int, ...]:
    """The changed lines (from 1, as in the patched file; those that are gone as before) outside all `functions`."""
    gone, new = changed_lines(before, after)
    outside: set[int] = set()
    for text, changed in ((before, gone), (after, new)):
        inside = [span for name in functions for span in spans_of(text, name)]
        outside.update(line + 1 for line in changed if not any(line in span for span in inside))
    return tuple(sorted(outside))


def definitions_at(text: str, wanted: Sequence[int]) -> frozenset[str]:
    """The names of the top-level definitions (functions, variables, types, macros) that have these lines (from 0, the
    first one first).
    """
    lines = text.splitlines()
    found = set()
    number = 0
    while number < len(lines):
        name = _name_begun(lines[number])
        end = _end(lines, number) if name else None
        if end is not None:
            place = bisect_left(wanted, _head(lines, number))
            if place < len(wanted) and wanted[place] <= end:
                found.add(name)
        number = (number if end is None else end) + 1
    return frozenset(found)


def _name_begun(line: str) -> str:
    """The name of what a line may be the beginning of; empty for what is no definition."""
    if match := re.match(r"#\s*define\s+(\w+)", line):
        return match[1]
    if not line or not (line[0].isalpha() or line[0] == "_"):
        return ""
    if match := re.match(r"(?:typedef\s+)?(?:struct|union|enum)\s+(\w+)\s*\{", line):
        return match[1]
    match = re.search(r"(\w+)(?:\(|\s*(?:\[[^\]]*\])*\s*[={]|\s*(?:\[[^\]]*\])*;)", line)
    return match[1] if match else ""


def definitions_changed(before: str, after: str) -> frozenset[str]:
    """The names of the definitions that differ between two texts of a C file."""
    gone, new = changed_lines(before, after)
    return definitions_at(before, gone) | definitions_at(after, new)
