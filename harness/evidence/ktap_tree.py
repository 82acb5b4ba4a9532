# SPDX-License-Identifier: GPL-2.0-only
"""The tree of tests as values, and how a parent is judged by its children."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from harness.model.event import Span
from harness.model.outcome import Outcome, worst

_MOST_ASTRAY = 20_000
_HARMLESS = (Outcome.PASS, Outcome.SKIP, Outcome.XFAIL)


class Node(NamedTuple):
    """A test, a suite or a whole document. `number` is None where the log gave none.

    `raw` is what the result line said (`ok`, `not ok # SKIP`), empty if there was none; `reason` the text after
    the directive; `note` says why the parser did not believe or did not find a result. `missing` marks a node
    that only a plan or a gap in the numbers tells of; its span, if any, is where it must have died. A tuple, because
    there is one for each result.
    """

    name: str
    number: int | None = None
    outcome: Outcome = Outcome.INCOMPLETE
    raw: str = ""
    reason: str = ""
    plan: int | None = None
    children: tuple[Node, ...] = ()
    diagnostics: tuple[str, ...] = ()
    span: Span | None = None
    start: float | None = None
    end: float | None = None
    note: str = ""
    missing: bool = False


@dataclass(frozen=True, slots=True)
class KtapLog:
    """The documents in the order in which they were opened, and a sentence for each thing that is not right."""

    documents: tuple[Node, ...]
    errors: tuple[str, ...]


class Numbers:
    """The numbers of the results of a document: a run from 1 on, and what came out of order."""

    __slots__ = ("_more", "_run")

    def __init__(self) -> None:
        self._run = 0
        self._more: set[int] = set()

    def __len__(self) -> int:
        return self._run + len(self._more)

    def __contains__(self, number: int) -> bool:
        return 1 <= number <= self._run or number in self._more

    def goes_on(self, number: int) -> bool:
        """It is the one that comes next, and none is out of order: nearly always."""
        return number == self._run + 1 and not self._more

    @property
    def full(self) -> bool:
        """So many are out of order that nobody will ask for more of them."""
        return len(self._more) >= _MOST_ASTRAY

    def add(self, number: int) -> None:
        if number != self._run + 1:
            if number > self._run and not self.full:
                self._more.add(number)
            return
        self._run = number
        while self._run + 1 in self._more:
            self._run += 1
            self._more.discard(self._run)

    def gaps(self, upto: int) -> list[tuple[int, int]]:
        """The runs of numbers in 1..upto that are not there: {1, 4}, 6 -> [(2, 3), (5, 6)]."""
        return _gaps(self._run, self._more, upto)


def _gaps(run: int, more: set[int], upto: int) -> list[tuple[int, int]]:
    found, due = [], run + 1
    for number in sorted(more):
        if number > due:
            found.append((due, number - 1))
        due = max(due, number + 1)
    if due <= upto:
        found.append((due, upto))
    return found


def judge(own: Outcome, children: tuple[Node, ...], plan: int | None) -> tuple[Outcome, str]:
    """What a parent's result line says, held against its children -> its outcome and a note where they differ."""
    if not children:
        if own is Outcome.PASS:
            return (Outcome.SKIP, "") if plan == 0 else (Outcome.INCOMPLETE, "says ok, but none of its cases is here")
        return own, ""
    bad = [child.outcome for child in children if child.outcome not in _HARMLESS]
    if bad:
        below = worst(bad)
        note = f"says ok, but one of its cases is {below}" if own in _HARMLESS else ""
        return worst([below, own]), note
    if own is Outcome.PASS and all(child.outcome is Outcome.SKIP for child in children):
        return Outcome.SKIP, ""
    return own, ""


def of_document(children: tuple[Node, ...]) -> Outcome:
    """A whole document has no result line: it is as good as its worst child, SKIP if all are."""
    if not children:
        return Outcome.SKIP
    outcome = worst(child.outcome for child in children if child.outcome is not Outcome.SKIP)
    return Outcome.SKIP if all(child.outcome is Outcome.SKIP for child in children) else outcome
