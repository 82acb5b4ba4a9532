# SPDX-License-Identifier: GPL-2.0-only
"""The smallest that still fails: sets by delta debugging, numbers by halving. Pure.

A size is tried until it fails once, or until something that fails as often as the whole did would have failed by now.
Sets lose what is not needed (Zeller and Hildebrandt's ddmin, 2002); then each number goes down, the least first, then
by halves. What had been tried in vain is tried again after something else became smaller, until nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil, log

from harness.model.search import BootVotes

_FIRST = 3  # boots of the whole, to see how often it fails
_MOST_FIRST = 10  # when it has not failed yet
_PASSES = 3
_CONFIRM = 3  # boots with evidence of the smallest
_NOTHING_TWICE = 2


@dataclass(frozen=True, slots=True)
class Number:
    """Something that can be less: from `start` down to `least`, in multiples of `step`."""

    name: str
    start: int
    least: int
    step: int = 1


@dataclass(frozen=True, slots=True)
class Items:
    """Something that can have fewer parts; `least` of them stay."""

    name: str
    all: tuple[str, ...]
    least: int = 0


@dataclass(frozen=True, slots=True)
class Reduction:
    """A value for each number and the parts that are left of each set, by their names."""

    numbers: tuple[tuple[str, int], ...]
    sets: tuple[tuple[str, tuple[str, ...]], ...]

    def number(self, name: str) -> int:
        return dict(self.numbers)[name]

    def parts(self, name: str) -> tuple[str, ...]:
        return dict(self.sets)[name]

    def with_number(self, name: str, value: int) -> Reduction:
        return replace(self, numbers=tuple((key, value if key == name else old) for key, old in self.numbers))

    def with_parts(self, name: str, parts: tuple[str, ...]) -> Reduction:
        return replace(self, sets=tuple((key, parts if key == name else old) for key, old in self.sets))


@dataclass(frozen=True, slots=True)
class Problem:
    numbers: tuple[Number, ...]
    sets: tuple[Items, ...]
    confidence: float = 0.95

    @property
    def whole(self) -> Reduction:
        return Reduction(
            tuple((one.name, one.start) for one in self.numbers), tuple((one.name, one.all) for one in self.sets)
        )


@dataclass(frozen=True, slots=True)
class Try:
    """Boot this."""

    size: Reduction


@dataclass(frozen=True, slots=True)
class Smallest:
    """The answer so far; `failed`: the whole failed at all; `finished`: nothing smaller is left to try."""

    size: Reduction
    failed: bool = True
    finished: bool = True


Search = Generator[Reduction, bool, Reduction]


def next_trial(problem: Problem, seen: Mapping[Reduction, BootVotes]) -> Try | Smallest:
    """What to boot next, given what was seen of each size; the same is answered for the same."""
    whole = seen.get(problem.whole, BootVotes())
    if not whole.bad:
        tired = whole.evidence >= _MOST_FIRST or whole.nothing >= _FIRST
        return Smallest(problem.whole, failed=False) if tired else Try(problem.whole)
    if whole.evidence < _FIRST:
        return Try(problem.whole)
    needed = _needed(whole, problem.confidence)
    search = _smaller(problem)
    try:
        size = next(search)
        while (verdict := _fails(seen.get(size, BootVotes()), needed)) is not None:
            size = search.send(verdict)
    except StopIteration as end:
        smallest: Reduction = end.value
        there = seen.get(smallest, BootVotes())
        return Smallest(smallest) if there.evidence >= _CONFIRM else Try(smallest)
    return Try(size)


def best_so_far(problem: Problem, seen: Mapping[Reduction, BootVotes]) -> Smallest:
    """Where the search stands when it must end before it is through."""
    whole = seen.get(problem.whole, BootVotes())
    if not whole.bad:
        return Smallest(problem.whole, failed=False, finished=False)
    best, search = problem.whole, _smaller(problem)
    needed = _needed(whole, problem.confidence)
    try:
        size = next(search)
        while (verdict := _fails(seen.get(size, BootVotes()), needed)) is not None:
            best = size if verdict else best
            size = search.send(verdict)
    except StopIteration as end:
        best = end.value
    return Smallest(best, finished=False)


def _needed(whole: BootVotes, confidence: float) -> int:
    """So many boots without a failure, and something that fails as often as the whole did would have failed."""
    rate = (whole.bad + 1) / (whole.evidence + 2)
    return max(1, ceil(log(1 - confidence) / log(1 - rate)))


def _fails(tally: BootVotes, needed: int) -> bool | None:
    if tally.bad:
        return True
    return False if tally.good >= needed or tally.nothing >= _NOTHING_TWICE else None


def _smaller(problem: Problem) -> Search:
    size = problem.whole
    for _ in range(_PASSES):
        before = size
        for items in problem.sets:
            size = yield from _fewer(size, items)
        for number in problem.numbers:
            size = yield from _less(size, number)
        if size == before:
            break
    return size


def _less(size: Reduction, number: Number) -> Search:
    low, high = number.least, size.number(number.name)  # as far as is known: not at `low`, at `high`
    if high <= low:
        return size
    if (yield size.with_number(number.name, low)):
        return size.with_number(number.name, low)
    while high - low > number.step:
        middle = low + max(1, (high - low) // 2 // number.step) * number.step
        if (yield size.with_number(number.name, middle)):
            high = middle
        else:
            low = middle
    return size.with_number(number.name, high)


def _fewer(size: Reduction, items: Items) -> Search:
    """ddmin: without everything, else without one of so many parts, which become smaller and smaller."""
    kept = list(size.parts(items.name))

    def having(parts: Sequence[str]) -> Reduction:
        return size.with_parts(items.name, tuple(parts))

    fixed = items.all[len(items.all) - items.least :]
    if len(kept) > items.least and (yield having(fixed)):
        return having(fixed)
    loose = [one for one in kept if one not in fixed]
    parts = 2
    while len(loose) > 1:
        parts = min(parts, len(loose))
        pieces = _pieces(loose, parts)
        smaller = yield from _first_that_fails(
            [[one for one in loose if one not in piece] for piece in pieces], lambda left: having((*left, *fixed))
        )
        if smaller is not None:
            loose, parts = smaller, max(2, parts - 1)
        elif parts == len(loose):
            break
        else:
            parts *= 2
    return having((*loose, *fixed))


def _first_that_fails(
    choices: Sequence[list[str]], size_of: Callable[[list[str]], Reduction]
) -> Generator[Reduction, bool, list[str] | None]:
    for left in choices:
        if (yield size_of(left)):
            return left
    return None


def _pieces(parts: Sequence[str], count: int) -> list[list[str]]:
    """The parts in so many pieces of about the same length."""
    ends = [len(parts) * number // count for number in range(count + 1)]
    return [list(parts[first:last]) for first, last in pairwise(ends)]
