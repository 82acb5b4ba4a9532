# SPDX-License-Identifier: GPL-2.0-only
"""A console, cut into what can be folded: the boot, each case, what lies between. Events and cases have anchors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.model.event import Case, Event
from harness.model.outcome import Outcome

_MOST_LINES = 40_000  # on the page of one console
_WELL = (Outcome.PASS, Outcome.XFAIL, Outcome.SKIP)


@dataclass(frozen=True, slots=True)
class ConsoleLine:
    """A line; `anchor` where something links to it, `kind` of the event that it is of: `grave`, `note`, or none."""

    number: int
    text: str
    anchor: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """Some lines under one title. `outcome` is that of the case that it is; `open` when there is something to see."""

    title: str
    anchor: str
    outcome: Outcome | None
    open: bool
    first: int
    lines: tuple[ConsoleLine, ...]
    events: tuple[str, ...] = ()


def line_anchor(number: int) -> str:
    return f"L{number}"


def case_anchor(case: Case) -> str:
    """Where a case begins; the first line of the console for one that left no trace."""
    return f"case-{case.span.first}" if case.span is not None else "console"


def sections(
    lines: Sequence[str], cases: Sequence[Case], events: Sequence[Event], grave: Sequence[Event]
) -> tuple[Section, ...]:
    """The console of one boot. `cases` and `events` are those of it, `grave` the events that count."""
    marks: dict[int, str] = {}
    for event in events:
        kind = "grave" if event in grave else "note"
        for number in range(event.span.first, event.span.last + 1):
            if marks.get(number) != "grave":
                marks[number] = kind
    anchors = {event.span.first for event in events}
    made: list[Section] = []
    place = 1
    shown = lines[:_MOST_LINES]
    for case in _in_order(cases):
        assert case.span is not None
        first, last = max(case.span.first, place), min(case.span.last, len(shown))
        if last < first:
            continue
        if first > place:
            made.append(_section(_between(made), None, place, first - 1, shown, marks, anchors, events))
        made.append(_section(f"{case.suite} {case.name}", case, first, last, shown, marks, anchors, events))
        place = last + 1
    if place <= len(shown):
        made.append(_section(_between(made), None, place, len(shown), shown, marks, anchors, events))
    return tuple(made)


def left_out(lines: Sequence[str]) -> int:
    """How many lines of a console are not on its page."""
    return max(0, len(lines) - _MOST_LINES)


def _in_order(cases: Sequence[Case]) -> Iterator[Case]:
    yield from sorted((case for case in cases if case.span is not None), key=lambda case: case.span.first)  # type: ignore[union-attr]  # filtered


def _between(made: Sequence[Section]) -> str:
    return "between" if made else "boot"


def _section(
    title: str,
    case: Case | None,
    first: int,
    last: int,
    lines: Sequence[str],
    marks: Mapping[int, str],
    anchors: set[int],
    events: Sequence[Event],
) -> Section:
    shown = tuple(
        ConsoleLine(
            number, lines[number - 1], line_anchor(number) if number in anchors else "", marks.get(number, "")
        )
        for number in range(first, last + 1)
    )
    said = tuple(f"{event.kind}: {event.title}" for event in events if first <= event.span.first <= last)
    loud = any(line.kind == "grave" for line in shown) or (case is not None and case.outcome not in _WELL)
    anchor = case_anchor(case) if case is not None else f"from-{first}"
    return Section(title, anchor, case.outcome if case is not None else None, loud, first, shown, said)
