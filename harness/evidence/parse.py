# SPDX-License-Identifier: GPL-2.0-only
"""All parsers of a console log in one call: for `ttm-harness parse ktap|kmsg FILE` and for the flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.evidence.cases import attach
from harness.evidence.ktap import parse
from harness.evidence.kunit_state import kunit_state
from harness.evidence.lines import decode
from harness.evidence.splats import find_events
from harness.model.result import Case, Event
from harness.model.suite import ExpectedSplat


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
    lines = decode(data)
    log = parse(lines)
    attached = attach(log, suite, find_events(lines), expected)
    problems = list(log.errors)
    if not any(case.outcome.executed for case in attached.cases):
        problems += kunit_state(lines).reasons
        if not attached.cases:
            problems.append("no KTAP result in it")
    return ParseResult(attached.cases, attached.events, tuple(problems), attached.loose)


def parse_kmsg_text(data: bytes) -> ParseResult:
    """A saved kernel log -> its events alone."""
    events = find_events(decode(data))
    return ParseResult((), events, (), events)
