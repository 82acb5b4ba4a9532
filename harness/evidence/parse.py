# SPDX-License-Identifier: GPL-2.0-only
"""All parsers of a console log in one call: for `ttm-harness parse ktap|kmsg FILE` and for the flow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.evidence.cases import attach
from harness.evidence.ktap import KtapReader
from harness.evidence.kunit_state import KunitStateReader
from harness.evidence.lines import LineStream, LogLine, decode
from harness.evidence.splats import EventStream, find_events
from harness.model.event import Case, Event
from harness.model.suite import ExpectedSplat

MOST_EVENTS = 10_000  # kept of a log that says the same for hours; the rest is counted


@dataclass(frozen=True, slots=True)
class ParseResult:
    """`events` are all events of the log, those of a case among them; `loose` only those of no case.

    `problems` are sentences for what makes the log less than full evidence.
    """

    cases: tuple[Case, ...]
    events: tuple[Event, ...]
    problems: tuple[str, ...]
    loose: tuple[Event, ...] = ()


def parse_ktap_text(data: bytes, suite: str = "", expected: Sequence[ExpectedSplat] = ()) -> ParseResult:
    """A saved console, dmesg or debugfs results file -> its cases and events. Never raises on any bytes."""
    return _parse_ktap((data,), suite, expected, saved=False)


def parse_ktap_stream(chunks: Iterable[bytes]) -> ParseResult:
    """The same for a saved log that comes in pieces, in memory that does not grow with it."""
    return _parse_ktap(chunks, "", (), saved=True)


def _parse_ktap(chunks: Iterable[bytes], suite: str, expected: Sequence[ExpectedSplat], saved: bool) -> ParseResult:
    stream, reader, state, watch = LineStream(), KtapReader(saved), KunitStateReader(), EventStream()
    events: list[Event] = []
    beyond = 0
    for lines, ends in _lines(stream, chunks):
        reader.feed(lines)
        if not reader.executed:
            for line in lines:
                state.feed(line)
        found = watch.feed(lines, ends)
        room = max(0, MOST_EVENTS - len(events))
        events += found[:room]
        beyond += len(found[room:])
    events.sort(key=lambda event: event.span.first)
    log = reader.finish()
    attached = attach(log, suite, events, expected)
    problems = list(log.errors)
    if beyond:
        problems.append(f"{beyond} more events than the {MOST_EVENTS} kept")
    if not any(case.outcome.executed for case in attached.cases):
        problems += state.finish().reasons
        if not attached.cases:
            problems.append("no KTAP result in it")
    return ParseResult(attached.cases, attached.events, tuple(problems), attached.loose)


def _lines(stream: LineStream, chunks: Iterable[bytes]) -> Iterator[tuple[list[LogLine], bool]]:
    """The lines of a log, block after block, and whether they are the last."""
    for chunk in chunks:
        for block in stream.cut(chunk):
            yield stream.feed(block), False
    yield stream.finish(), True


def parse_kmsg_text(data: bytes) -> ParseResult:
    """A saved kernel log -> its events alone."""
    events = find_events(decode(data))
    return ParseResult((), events, (), events)
