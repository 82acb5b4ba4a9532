# SPDX-License-Identifier: GPL-2.0-only
"""A hunk that finds no place, beside the text of the tree where it was probably meant to go. Pure."""

from __future__ import annotations

import difflib
from collections import Counter

from harness.inputs.series.diff import Hunk

_WIDTH = 56
_LINES = 80
_AROUND = 2
_NEAR = 6  # lines around a result in which one of its context has to stand
_COMMON = 40  # a line that a file has more often than this tells nothing of a place


def likely_place(hunk: Hunk, text: list[str]) -> tuple[int, int]:
    """The index in `text` that most lines of the hunk's old side vote for, and how many of them did."""
    where: dict[str, list[int]] = {}
    for at, line in enumerate(text):
        if line.strip():
            where.setdefault(line.strip(), []).append(at)
    votes: Counter[int] = Counter()
    for number, line in enumerate(hunk.old_side):
        places = where.get(line.strip(), [])
        if len(places) <= _COMMON:
            votes.update(at - number for at in places)
    expected = max(0, hunk.old_start - 1)
    if not votes:
        return min(expected, len(text)), 0
    most = max(votes.values())
    best = min((at for at, count in votes.items() if count == most), key=lambda at: (abs(at - expected), at))
    return max(0, best), most


def has_result(hunk: Hunk, text: list[str]) -> bool:
    """Whether each run of lines that a hunk adds stands in the text, with a neighbour that it has in the hunk, and
    what it removes does not stand there instead.
    """
    runs = _runs(hunk)
    added = [run for run, _ in runs if run]
    if not any(any(map(str.isalnum, line)) for run in added for line in run):
        return False
    for run, near in runs:
        places = [at for at in range(len(text) - len(run) + 1) if text[at : at + len(run)] == run] if run else []
        if run and not any(_neighbours(text, at, len(run)) & near for at in places):
            return False
    removed = [line[1:] for line in hunk.lines if line[0] == "-"]
    wanted = {line for run in added for line in run}
    return all(line in wanted or not line.strip() or line not in text for line in removed if len(line.strip()) > 1)


def _runs(hunk: Hunk) -> list[tuple[list[str], set[str]]]:
    """The runs of added lines, each with the lines of context around it that tell a place."""
    found: list[tuple[list[str], set[str]]] = []
    after = [line for line in hunk.lines if line[0] in " +"]
    at = 0
    while at < len(after):
        end = at
        while end < len(after) and after[end][0] == "+":
            end += 1
        if end > at:
            near = {line[1:] for line in after[max(0, at - _NEAR) : at] + after[end : end + _NEAR] if line[0] == " "}
            found.append(([line[1:] for line in after[at:end]], near))
        at = max(end, at + 1)
    return found


def _neighbours(text: list[str], at: int, count: int) -> set[str]:
    lines = text[max(0, at - _NEAR) : at] + text[at + count : at + count + _NEAR]
    return {line for line in lines if any(map(str.isalnum, line))}


def show_conflict(path: str, hunk: Hunk, text: list[str]) -> str:
    """Two columns: what the hunk looks for, what the tree has; `!` before lines that differ."""
    old = list(hunk.old_side)[:_LINES]
    at, votes = likely_place(hunk, text)
    begin = max(0, at - _AROUND) if votes else at
    tree = text[begin : at + len(old) + _AROUND]
    found = f"{votes} of {len(hunk.old_side)} lines are found around line {at + 1}" if votes else "nothing alike"
    lines = [f"{path}: the hunk looks for the left, the tree has the right ({found})"]
    lines += _columns(old, tree, hunk.old_start, begin + 1)
    if len(hunk.old_side) > _LINES:
        lines.append(f"  … {len(hunk.old_side) - _LINES} more lines")
    return "\n".join(lines)


def _columns(left: list[str], right: list[str], left_number: int, right_number: int) -> list[str]:
    """Equal lines face each other."""
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    lines: list[str] = []
    for what, a, b, c, d in matcher.get_opcodes():
        mark = " " if what == "equal" else "!"
        for number in range(max(b - a, d - c)):
            here = f"{left_number + a + number:>6} {_cell(left[a + number])}" if a + number < b else " " * 7
            there = f"{right_number + c + number:>6} {_cell(right[c + number])}" if c + number < d else ""
            lines.append(f"{mark} {here:<{_WIDTH + 7}} | {there}".rstrip())
    return lines


def _cell(line: str) -> str:
    text = line.expandtabs(4)
    text = "".join([one if one.isprintable() else "\ufffd" for one in text])
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"
