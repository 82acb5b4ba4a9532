# SPDX-License-Identifier: GPL-2.0-only
"""The tree of tests and the kernel's events -> flat cases, each with what the kernel said while it ran.

Told apart here: an event that a suite expects of a case, one that nobody expects, and one outside every case.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from harness.evidence.ktap import KtapLog, Node
from harness.evidence.splats import Severity, severity
from harness.model.event import Case, Event
from harness.model.outcome import Outcome, worst
from harness.model.suite import ExpectedSplat

_SPOKEN = re.compile(r"^# (?:[^:]{1,200}: )?")
_FAILED = re.compile(r"(?:EXPECTATION|ASSERTION) FAILED at ")
# kunit's own bookkeeping: true, but not what a reader of a failure looks for
_HOUSEKEEPING = re.compile(
    r"# (?:module: |Totals: |.*: pass:\d+ fail:\d+|[^:\s]+\.(?:speed|module|is_init): |(?:speed|is_init): )"
)
# a figure of the case, as a runner prints them (figures.py)
_FIGURE = re.compile(r"# [\w.-]+: [a-z]\w*=-?\d+(?:\.\d+)?")
_LONGEST_MESSAGE = 400
_NUMBERED = re.compile(r"\?\d+")  # what ktap.py calls a result that never came
_SATISFIED = (Outcome.PASS, Outcome.XFAIL, Outcome.SKIP)
_BAD = (Outcome.FAIL, Outcome.CRASH, Outcome.TIMEOUT, Outcome.INCOMPLETE)


@dataclass(frozen=True, slots=True)
class Attached:
    """`cases` carry the events that were printed while they ran; `loose` are the events of no case.

    `events` are all of them; `expected` is filled in everywhere.
    """

    cases: tuple[Case, ...]
    events: tuple[Event, ...]
    loose: tuple[Event, ...]


def cases(
    log: KtapLog, suite: str, events: Sequence[Event] = (), expected: Sequence[ExpectedSplat] = ()
) -> tuple[Case, ...]:
    """The leaves of a log, named `ktap_suite.case` or `ktap_suite.case.param`, with their events."""
    return attach(log, suite, events, expected).cases


def attach(
    log: KtapLog,
    suite: str,
    events: Sequence[Event] = (),
    expected: Sequence[ExpectedSplat] = (),
    begun: Sequence[tuple[int, str]] = (),
) -> Attached:
    """Like cases(), and with what became of each event.

    An event belongs to the case in whose span it begins. Unexpected, it makes a PASS a CRASH if the kernel died
    of it, a WARN if not; a note (an OOM kill, a failed allocation) is kept and changes nothing. Kernels from 7.1
    on suppress the warnings that a kunit case declares, so that there is no mark of them in a log; older ones
    print them bare: only the suite's list (`expected`) can tell these from others.
    A case that has no result has no name but a number; with `begun`, the lines at which a runner said which case it
    begins, it has its own, and is compared with what it was elsewhere. That is so for a runner that prints one
    document with its suite's name for all of its cases; others print a header for each.
    """
    flat = list(_flatten(log))
    taken = {leaf.name for leaf in flat}
    flat = [_called(leaf, suite, begun, taken) for leaf in flat]
    owners = _owners(flat, events)
    mine: dict[int, list[Event]] = {}
    settled: list[Event] = []
    loose: list[Event] = []
    for event, owner in zip(events, owners, strict=True):
        if owner is None:
            settled.append(event)
            loose.append(event)
            continue
        event = _settle(event, flat[owner].name, expected)
        settled.append(event)
        mine.setdefault(owner, []).append(event)
    done = tuple(_with_events(_case(suite, leaf), mine.get(index, ())) for index, leaf in enumerate(flat))
    return Attached(done, tuple(settled), tuple(loose))


class _Leaf(NamedTuple):
    name: str
    node: Node


def _flatten(log: KtapLog) -> Iterator[_Leaf]:
    for document in log.documents:
        for node in document.children:
            yield from _leaves(node, "")


def _called(leaf: _Leaf, suite: str, begun: Sequence[tuple[int, str]], taken: Collection[str]) -> _Leaf:
    """A leaf that was started and never ended, by the name under which it was started last."""
    span = leaf.node.span
    head, _, number = leaf.name.rpartition(".")
    if not leaf.node.missing or span is None or head != suite or not _NUMBERED.fullmatch(number):
        return leaf
    names = [name for line, name in begun if span.first <= line <= span.last]
    name = f"{head}.{names[-1]}" if names else leaf.name
    return leaf if name in taken else leaf._replace(name=name)


def _leaves(node: Node, path: str) -> Iterator[_Leaf]:
    """The leaves below a node, and the node itself where it is worse than they are.

    A suite that failed in its own set-up, or that never got its result line, would else be green.
    """
    name = f"{path}.{node.name}" if path else node.name
    if not node.children:
        yield _Leaf(name, node)
        return
    seen: list[_Leaf] = []
    for child in node.children:
        seen.extend(_leaves(child, name))
    yield from seen
    if node.outcome in _BAD and not any(leaf.node.outcome in _BAD for leaf in seen):
        yield _Leaf(name, node._replace(children=(), span=None))


def _owners(flat: Sequence[_Leaf], events: Sequence[Event]) -> list[int | None]:
    """For each event the index of the leaf in whose span it begins."""
    spans = sorted((leaf.node.span.first, leaf.node.span.last, i) for i, leaf in enumerate(flat) if leaf.node.span)
    firsts = [first for first, _, _ in spans]
    owners: list[int | None] = []
    for event in events:
        at = bisect_right(firsts, event.span.first) - 1
        inside = at >= 0 and spans[at][1] >= event.span.first
        owners.append(spans[at][2] if inside else None)
    return owners


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _settle(event: Event, case: str, expected: Iterable[ExpectedSplat]) -> Event:
    """Fill in `expected` if the suite's list names this event in this case. A panic is never expected."""
    if event.kind == "panic":
        return event
    for splat in expected:
        if _compiled(splat.case).fullmatch(case) and _compiled(splat.title).search(event.title):
            return replace(event, expected=splat.reason)
    return event


def _with_events(case: Case, events: Sequence[Event]) -> Case:
    """The case with its events, downgraded by the unexpected ones."""
    if not events:
        return case
    outcome, why = case.outcome, ""
    for event in events:
        if event.expected:
            continue
        grave = severity(event.kind)
        if grave is Severity.DIES and outcome is not Outcome.CRASH:
            outcome, why = worst([outcome, Outcome.CRASH]), event.title
        elif grave is Severity.SPLAT and outcome in (Outcome.PASS, Outcome.XFAIL):
            outcome, why = Outcome.WARN, event.title
    if outcome is case.outcome:
        return replace(case, events=tuple(events))
    message = f"{why} ({case.message})" if case.message else why
    return replace(case, outcome=outcome, message=message[:_LONGEST_MESSAGE], events=tuple(events))


def _case(suite: str, leaf: _Leaf) -> Case:
    node = leaf.node
    seconds = None
    if node.start is not None and node.end is not None and node.end >= node.start and not node.missing:
        seconds = round(node.end - node.start, 6)
    message = _message(node)[:_LONGEST_MESSAGE]
    return Case(suite, leaf.name, node.outcome, seconds, message, node.raw, node.span, node.diagnostics)


def _message(node: Node) -> str:
    """The one line that tells why: the parser's note, the directive's text, or what the test said of its failure."""
    if node.outcome in _SATISFIED:
        return node.reason
    if node.note:
        return node.note
    for at, text in enumerate(node.diagnostics):
        if _FAILED.search(text):
            follow = node.diagnostics[at + 1] if at + 1 < len(node.diagnostics) else ""
            said = _SPOKEN.sub("", text)
            return f"{said}: {follow}" if follow and not follow.startswith("#") else said
    if node.reason:
        return node.reason
    for text in node.diagnostics:
        if text.startswith("#") and not _HOUSEKEEPING.match(text) and not _FIGURE.fullmatch(text):
            return _SPOKEN.sub("", text).strip(" #")
    return ""
