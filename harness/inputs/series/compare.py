# SPDX-License-Identifier: GPL-2.0-only
"""Two revisions, patch by patch, as git range-diff does it: never by position. Pure.

Matched by patch-id first, then by subject, then by the changed lines that they have in common.
"""

from __future__ import annotations

import difflib
import re
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, replace

from harness.model.series import Patch, PatchPair, Relation, Series, SeriesDiff

_ALIKE = 0.5  # share of changed lines in common from which two patches with different subjects are one
_CONTAINED = 0.7  # share of a patch's lines from which it is said to have gone into another one
_FEW_LINES = 4  # a patch with fewer tells nothing by its lines
_DIFF_LINES = 4000  # beyond, difflib is too slow to be worth it
_HUNK = re.compile(r"@@ -\S+ \+\S+ @@")


@dataclass(frozen=True, slots=True)
class _Known:
    """A patch with what is compared of it."""

    patch: Patch
    lines: Counter[str]

    @property
    def size(self) -> int:
        return self.lines.total()


def compare_series(old: Series, new: Series) -> SeriesDiff:
    """What became of each patch."""
    before = [_Known(patch, changed_lines(patch)) for patch in old.patches]
    after = [_Known(patch, changed_lines(patch)) for patch in new.patches]
    matches = _match(before, after)
    moved = _moved(matches)
    found: list[tuple[tuple[int, int], PatchPair]] = []
    came_from = {theirs: ours for ours, theirs in matches.items()}
    for at, known in enumerate(after):
        ours = came_from.get(at)
        pair = _new(known, before, old) if ours is None else _pair(before[ours], known, moved=at in moved)
        found.append(((at, 1), pair))
    last = -1
    for at, known in enumerate(before):
        if at in matches:
            last = matches[at]
        else:
            found.append(((last, 2), _gone(known, after, new)))
    pairs = tuple(pair for _, pair in sorted(found, key=lambda one: one[0]))
    notes = tuple(f"{one.label} is not whole: {_lacking(one)}" for one in (old, new) if not one.whole)
    return SeriesDiff(old.label, new.label, old.id, new.id, pairs, notes)


def _lacking(series: Series) -> str:
    numbers = ", ".join(map(str, series.missing))
    missing = [f"{numbers} of {series.total} missing"] if numbers else []
    return "; ".join([*missing, *series.problems])


def changed_lines(patch: Patch) -> Counter[str]:
    """The added and removed lines without their blanks, those with a letter or a digit only."""
    lines: Counter[str] = Counter()
    in_hunk = False
    for line in patch.diff.split("\n"):
        if line.startswith("diff --git "):
            in_hunk = False
        elif line.startswith("@@ "):
            in_hunk = True
        elif in_hunk and line[:1] in ("+", "-") and any(map(str.isalnum, line)):
            lines[line[0] + "".join(line[1:].split())] += 1
    return lines


def similarity(one: Counter[str], other: Counter[str]) -> float:
    """The share of lines in common, 0 to 1."""
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 0.0


def _match(before: list[_Known], after: list[_Known]) -> dict[int, int]:
    """Index in the old series -> index in the new one."""
    matches: dict[int, int] = {}
    taken: set[int] = set()

    def take(old: int, new: int) -> None:
        matches[old] = new
        taken.add(new)

    for key in (_by_id, _by_subject):
        places: dict[str, list[int]] = {}
        for at, known in enumerate(after):
            if at not in taken:
                places.setdefault(key(known), []).append(at)
        for at, known in enumerate(before):
            if at not in matches and places.get(key(known)):
                take(at, places[key(known)].pop(0))
    scored = sorted(
        (-similarity(one.lines, other.lines), abs(here - there), here, there)
        for here, one in enumerate(before)
        if here not in matches and one.size >= _FEW_LINES
        for there, other in enumerate(after)
        if there not in taken and other.size >= _FEW_LINES
    )
    for score, _, here, there in scored:
        if -score >= _ALIKE and here not in matches and there not in taken:
            take(here, there)
    return matches


def _by_id(known: _Known) -> str:
    return known.patch.patch_id


def _by_subject(known: _Known) -> str:
    return " ".join(known.patch.subject.lower().split())


def _moved(matches: dict[int, int]) -> set[int]:
    """Those of the new series that changed places: all that are not in the longest run that kept its order."""
    order = [matches[at] for at in sorted(matches)]
    ends: list[int] = []
    at_end: list[int] = []
    before: list[int] = [-1] * len(order)
    for at, value in enumerate(order):
        place = bisect_left(ends, value)
        before[at] = at_end[place - 1] if place else -1
        if place == len(ends):
            ends.append(value)
            at_end.append(at)
        else:
            ends[place], at_end[place] = value, at
    kept: set[int] = set()
    at = at_end[-1] if at_end else -1
    while at >= 0:
        kept.add(order[at])
        at = before[at]
    return set(order) - kept


def _pair(old: _Known, new: _Known, *, moved: bool) -> PatchPair:
    changes = _changes(old.patch, new.patch)
    return PatchPair(
        relation=Relation.CHANGED if changes else Relation.SAME,
        old=old.patch.position,
        new=new.patch.position,
        subject=new.patch.subject,
        similarity=1.0 if old.patch.patch_id == new.patch.patch_id else round(similarity(old.lines, new.lines), 3),
        moved=moved,
        changes=changes,
        diff=_diff(old.patch, new.patch) if changes else "",
    )


def _changes(old: Patch, new: Patch) -> tuple[str, ...]:
    found: list[str] = []
    if old.patch_id != new.patch_id:
        found.append("diff")
    if old.subject != new.subject:
        found.append("subject")
    if _name(old.author) != _name(new.author):
        found.append("author")
    ours = {f"{one.key}: {one.value}" for one in old.trailers}
    theirs = {f"{one.key}: {one.value}" for one in new.trailers}
    if _prose(old) != _prose(new):
        found.append("message")
    found += [f"+{trailer}" for trailer in sorted(theirs - ours)]
    found += [f"-{trailer}" for trailer in sorted(ours - theirs)]
    return tuple(found)


def _name(author: str) -> str:
    return author.partition("<")[2].rstrip("> ").lower() or author.strip().lower()


def _prose(patch: Patch) -> list[str]:
    """The message without its trailers and blanks."""
    own = {f"{one.key}: {one.value}" for one in patch.trailers}
    return [" ".join(line.split()) for line in patch.body.split("\n") if line.strip() and line.strip() not in own]


def _diff(old: Patch, new: Patch) -> str:
    """The difference of message and diff; '' where that would be too long to compare, or nothing shows."""
    ours, theirs = _text(old), _text(new)
    if len(ours) + len(theirs) > 2 * _DIFF_LINES:
        return ""
    return "\n".join(difflib.unified_diff(ours, theirs, f"{old}", f"{new}", lineterm="", n=3))


def _text(patch: Patch) -> list[str]:
    """A patch without what changes of itself: line numbers and hashes."""
    lines = [f"Subject: {patch.subject}", "", *patch.body.split("\n"), "---"]
    diff = [line for line in patch.diff.split("\n") if not line.startswith("index ")]
    return lines + [_HUNK.sub("@@", line, count=1) if line.startswith("@@ ") else line for line in diff]


def _gone(known: _Known, after: list[_Known], new: Series) -> PatchPair:
    relation = Relation.ABSENT if new.missing else Relation.DROPPED
    pair = PatchPair(relation, known.patch.position, 0, known.patch.subject)
    share, other = _best_home(known, after)
    return replace(pair, relation=Relation.MERGED, other=other, similarity=share) if other else pair


def _new(known: _Known, before: list[_Known], old: Series) -> PatchPair:
    relation = Relation.ABSENT if old.missing else Relation.ADDED
    pair = PatchPair(relation, 0, known.patch.position, known.patch.subject)
    share, other = _best_home(known, before)
    return replace(pair, relation=Relation.SPLIT, other=other, similarity=share) if other else pair


def _best_home(known: _Known, others: list[_Known]) -> tuple[float, int]:
    """The patch that holds most of its lines, and which share; 0 when none holds enough."""
    if known.size < _FEW_LINES:
        return 0.0, 0
    shares = [((known.lines & other.lines).total() / known.size, other.patch.position) for other in others]
    share, position = max(shares, key=lambda one: one[0], default=(0.0, 0))
    return (round(share, 3), position) if share >= _CONTAINED else (0.0, 0)
