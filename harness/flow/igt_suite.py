# SPDX-License-Identifier: GPL-2.0-only
"""Suites whose tests igt_runner runs: where the user's own IGT comes in, and the results as cases of a suite."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from itertools import islice
from pathlib import Path

from harness.evidence.cases import Attached, attach
from harness.evidence.igt import ABORTED, IgtLog
from harness.evidence.ktap import KtapLog, Node
from harness.evidence.lines import LogLine
from harness.evidence.sections import cases_begun
from harness.flow.igt_results import read_igt
from harness.inputs.igt import keep_igt as keep_in_store
from harness.inputs.source_cache import Work
from harness.model.event import Case, Event
from harness.model.outcome import Outcome
from harness.model.progress import Progress
from harness.model.span import Span
from harness.model.suite import Suite
from harness.proc import Deadline
from harness.store.layout import Layout

_KEEP_SECONDS = 1800.0
_MOST_SAID = 200  # lines
_PREFIX = "igt@"


def keep_igt(text: str, layout: Layout, progress: Progress) -> str:
    """`DIR` or `tar:FILE` of --igt -> the id under which the store keeps it."""
    return keep_in_store(text, Work(layout, Deadline(_KEEP_SECONDS), progress))


def igt_cases(
    suite: Suite, results: Path, section: Sequence[LogLine], events: Sequence[Event], asked: Collection[str] | None
) -> tuple[Attached, IgtLog]:
    """The cases of a suite from what igt_runner left in `results`, with the kernel's events of `section`, the suite's
    part of the console; and all that was there.

    The runner says to the kernel's log which test begins: up to the next one all that the kernel says is that test's.
    `asked` are the names that were to run in this boot: in one that went on, others are an earlier boot's.
    """
    log = read_igt(results) if not results.is_symlink() else IgtLog((), ("its results are a link",))
    begun = cases_begun(section, suite.name)
    last = section[-1].number if section else 0
    spans = {
        name: Span(line, (begun[at + 1][0] - 1) if at + 1 < len(begun) else last)
        for at, (line, name) in enumerate(begun)
    }
    mine = [case for case in log.cases if _asked(f"{suite.name}.{_short(case)}", asked)]
    placed = [(case, spans.get(_short(case))) for case in mine]
    nodes = tuple(_node(case, span, _said(section, span)) for case, span in placed)
    whole = Node(suite.name, outcome=Outcome.PASS, children=nodes)
    document = Node("", children=(whole,))
    return attach(KtapLog((document,), ()), suite.name, events, suite.expected_splats), log


def _short(case: Case) -> str:
    return case.name.removeprefix(_PREFIX)


def _asked(name: str, asked: Collection[str] | None) -> bool:
    """A case that was to run, a dynamic subtest of one, or the runner's own word that it gave up."""
    if asked is None or name in asked or name.endswith(ABORTED.removeprefix(_PREFIX)):
        return True
    return name.rpartition("@")[0] in asked


def _said(section: Sequence[LogLine], span: Span | None) -> tuple[str, ...]:
    """What kunit said in the kernel's log meanwhile, of tests that are run by way of it."""
    if span is None:
        return ()
    begin = bisect_left(section, span.first, key=lambda line: line.number)
    end = bisect_right(section, span.last, key=lambda line: line.number)
    lines = (line.text.strip() for line in section[begin:end])
    return tuple(islice((text for text in lines if text.startswith("# ")), _MOST_SAID))


def _node(case: Case, span: Span | None, said: tuple[str, ...]) -> Node:
    return Node(
        _short(case),
        outcome=case.outcome,
        raw=case.raw,
        reason=case.message,
        diagnostics=(*case.diagnostics, *said),
        span=span,
        start=None if case.seconds is None else 0.0,
        end=case.seconds,
        note=case.message,
    )
