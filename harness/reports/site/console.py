# SPDX-License-Identifier: GPL-2.0-only
"""A console, cut into what can be folded: the boot, each case, what lies between. Events and cases have anchors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from harness.model.event import Case, Event
from harness.model.outcome import Outcome
from harness.model.visible import visible

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
class ConsoleFold:
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
    """Where a case begins, if it has a section."""
    return f"case-{case.span.first}" if case.span is not None else TOP


def sections(
    lines: Sequence[str], cases: Sequence[Case], events: Sequence[Event], grave: Sequence[Event]
) -> tuple[ConsoleFold, ...]:
    """The console of one boot. `cases` and `events` are those of it, `grave` the events that count."""
    marked = _Marked(lines[:_MOST_LINES], {one.span.first: one for one in events}, _marks(events, grave))
    made: list[ConsoleFold] = []
    place, end = 1, len(marked.lines)
    for case in sorted(cases, key=lambda one: one.span.first if one.span is not None else 0):
        if case.span is None:
            continue
        first, last = max(case.span.first, place), min(case.span.last, end)
        if last < first:
            continue
        if first > place:
            made.append(_section("between" if made else "boot", None, place, first - 1, marked))
        made.append(_section(f"{case.suite} {case.name}", case, first, last, marked))
        place = last + 1
    if place <= end:
        made.append(_section("the end" if made else "all of it", None, place, end, marked))
    return tuple(made)


def lines_html(lines: Sequence[ConsoleLine]) -> Markup:
    """The lines of a section. Not by the template engine, which takes three times as long: a site has millions."""
    return Markup("".join(map(_line_html, lines)))


def _line_html(line: ConsoleLine) -> str:
    anchor = f' id="{line.anchor}"' if line.anchor else ""
    kind = f' class="{line.kind}"' if line.kind else ""
    return f'<span{anchor}{kind} data-n="{line.number}">{escape(visible(line.text))}</span>'


TOP = "console"  # the anchor of a page of a console itself


def anchors(found: Sequence[ConsoleFold]) -> frozenset[str]:
    """What can be linked to: sections, and the first lines of events."""
    lines = {line.anchor for section in found for line in section.lines if line.anchor}
    return frozenset({section.anchor for section in found} | lines)


def left_out(lines: Sequence[str]) -> int:
    """How many lines of a console are not on its page."""
    return max(0, len(lines) - _MOST_LINES)


@dataclass(frozen=True, slots=True)
class _Marked:
    """The lines of a console, the event that begins in each, and of which kind of event a line is."""

    lines: Sequence[str]
    events: Mapping[int, Event]
    marks: Mapping[int, str]


def _marks(events: Sequence[Event], grave: Sequence[Event]) -> dict[int, str]:
    marks: dict[int, str] = {}
    for event in events:
        kind = "grave" if event in grave else "note"
        for number in range(event.span.first, event.span.last + 1):
            if marks.get(number) != "grave":
                marks[number] = kind
    return marks


def _section(title: str, case: Case | None, first: int, last: int, marked: _Marked) -> ConsoleFold:
    numbers = range(first, last + 1)
    begin = [marked.events[number] for number in numbers if number in marked.events]
    anchors = {event.span.first for event in begin}
    shown = tuple(
        ConsoleLine(
            number,
            marked.lines[number - 1],
            line_anchor(number) if number in anchors else "",
            marked.marks.get(number, ""),
        )
        for number in numbers
    )
    loud = any(line.kind == "grave" for line in shown) or (case is not None and case.outcome not in _WELL)
    anchor = case_anchor(case) if case is not None else f"from-{first}"
    said = tuple(f"{event.kind}: {event.title}" for event in begin)
    return ConsoleFold(title, anchor, case.outcome if case is not None else None, loud, first, shown, said)
