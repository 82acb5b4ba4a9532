# SPDX-License-Identifier: GPL-2.0-only
"""Lines -> the tree of tests that KTAP 1, and the TAP 13 and 14 forms that kunit printed before it, describe.

Pessimistic: a node starts as INCOMPLETE and only its own whole result line moves it; what a plan promised and
nobody printed is there as an INCOMPLETE node; a parent is never better than its children. It knows nothing of
splats.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.evidence.ktap_grammar import (
    FAILED,
    PLAN,
    SHAPE,
    SPEAKER,
    STATS,
    SUBTEST,
    VERSION,
    Result,
    indent_of,
    read_result,
)
from harness.evidence.ktap_tree import KtapLog, Node, Numbers, judge, of_document
from harness.evidence.lines import LogLine
from harness.model.event import Span
from harness.model.outcome import Outcome

__all__ = ["DEEPEST", "KtapLog", "KtapReader", "Node", "parse"]

DEEPEST = 32  # levels of nesting; kunit has three
_LEVEL, _LEVELS = 4, 3  # kunit's indentation and depth
MOST_MISSING = 10_000  # nodes made for promises not kept, over a whole log; the rest is one node with a range
MOST_ERRORS = 200
MOST_DIAGNOSTICS = 200  # lines kept of one node
_MOST_STATS = 1000
_MOST_SEEN = 100_000  # openings of documents that are remembered, to know them when dmesg prints them again
_BUDGET = 40_000_000  # bytes that the results of a log may take; what is more is counted
_NODE_BYTES = 1500
_BAD_BEYOND = 5000  # bad results that are kept all the same
_SHORT = 200
_DEEPER = 8  # blanks by which the results of a document may be deeper than its header
_CONTINUED = 24  # lines that a failed expectation may go on after its `#` line

_GOOD = (Outcome.PASS, Outcome.XFAIL)


@dataclass(slots=True)
class _Open:
    """A document that is being read: the results at one indentation."""

    indent: int
    line: int
    time: float | None
    kind: str  # KTAP, TAP, or empty where only `# Subtest` opened it
    void: bool  # beyond its parent's plan: nothing in it can pass
    name: str = ""
    plan: int | None = None
    plan_note: str = ""
    nodes: list[Node] = field(default_factory=list)
    numbers: Numbers = field(default_factory=Numbers)
    next: int = 1
    settled: bool = False  # `indent` is that of its results, no longer that of its header
    beyond: int = 0  # results that are not among the nodes, because there are too many
    diagnostics: list[str] = field(default_factory=list)

    def misfit(self, number: int) -> bool:
        """A number that was there already, or that the plan has not."""
        beyond = self.plan is not None and number > self.plan
        if self.numbers.goes_on(number):
            return beyond
        return number < 1 or beyond or number in self.numbers or self.numbers.full


def parse(lines: Iterable[LogLine]) -> KtapLog:
    """Lines of a console, of /dev/kmsg or of a debugfs results file -> the tests in them. Never raises.

    Accepted form: any number of documents, each opened by `KTAP version 1` or `TAP version 13|14` at any
    indentation; nested ones two or more spaces deeper, opened by a version line, `# Subtest: NAME`, or both.
    Lines with a printk time and lines without are two streams: a document is read from the stream it began in.
    """
    reader = KtapReader()
    reader.feed(lines)
    return reader.finish()


class KtapReader:
    """The same for lines that come one after another. `saved`: the log is a file that somebody keeps, so a last line
    without its newline counts where it is the last result that was promised; a console may have been cut there.
    """

    def __init__(self, saved: bool = False) -> None:
        self._report = _Report()
        self._stamped, self._bare = _Stream(self._report), _Stream(self._report)
        self._saved = saved
        self._last = 0
        self._newest = -1.0  # time of the newest line with a result in it
        self._again = -1.0  # up to this time everything was printed before
        self._seen: set[tuple[float, str]] = set()
        self._failed: set[tuple[float, str]] = set()

    def feed(self, lines: Iterable[LogLine]) -> None:
        """More lines."""
        shape, stamped, bare = SHAPE.match, self._stamped, self._bare
        number = self._last
        for line in lines:
            number, text, time, whole = line
            match = shape(text)
            stream = bare if time is None else stamped
            if match is None:
                if stream.continued:
                    stream.go_on(line)
                continue
            kind = match.lastgroup
            if time is not None:
                if self._again >= 0 or kind == "version":
                    if self._is_again(line, time, match):
                        continue
                else:
                    self._newest = time
                    if kind == "result" and match["result"] == "not ok":
                        self._remember(time, text)
            if whole or not self._saved:
                stream.take(line, match)
            else:
                stream.take_last(line, match)
        self._last = number

    @property
    def executed(self) -> bool:
        """Some case ran."""
        return self._report.executed

    def finish(self) -> KtapLog:
        """The log is at its end."""
        for stream in (self._stamped, self._bare):
            stream.end(self._last)
        documents = [*self._stamped.documents, *self._bare.documents]
        documents.sort(key=lambda node: node.span.first if node.span else 0)
        return KtapLog(tuple(documents), self._report.sentences())

    def _is_again(self, line: LogLine, time: float, match: re.Match[str]) -> bool:
        """Somebody printed the log into itself: the time goes back to an opening that was there before."""
        if match.lastgroup == "version":
            key = (time, line.text)
            if key in self._seen and time < self._newest:
                self._again = max(self._again, self._newest)
            elif time < self._newest:
                self._again = -1.0  # another boot
            if len(self._seen) < _MOST_SEEN:
                self._seen.add(key)
        failed = match["result"] == "not ok"
        if time <= self._again:
            if not failed or (time, line.text) in self._failed:
                return True
            self._again = -1.0  # what was printed before had no such failure: it is another boot, with the same times
        if failed:
            self._remember(time, line.text)
        self._newest = time if self._again < 0 else max(time, self._newest)
        return False

    def _remember(self, time: float, text: str) -> None:
        if len(self._failed) < _MOST_SEEN:
            self._failed.add((time, text))


class _Report:
    """The errors, and the budget for missing nodes that both streams share."""

    def __init__(self) -> None:
        self.missing_left = MOST_MISSING
        self._left = _BUDGET
        self._bad_left = _BAD_BEYOND
        self.executed = False
        self.beyond = 0
        self._errors: list[str] = []
        self._more = 0
        self._stray: list[int] = []
        self._strays = 0

    def error(self, line: int, text: str) -> None:
        if len(self._errors) < MOST_ERRORS:
            self._errors.append(f"line {line}: {text}")
        else:
            self._more += 1

    @property
    def full(self) -> bool:
        """A further error would only be counted."""
        return len(self._errors) >= MOST_ERRORS

    def kept(self, node: Node) -> Node | None:
        """The node, if there is room for it; a bad one in short where there is none."""
        self._left -= _NODE_BYTES + len(node.name) + len(node.reason)
        if node.diagnostics:
            self._left -= sum(map(len, node.diagnostics)) + 60 * len(node.diagnostics)
        if self._left > 0:
            return node
        if node.outcome not in (*_GOOD, Outcome.SKIP) and self._bad_left:
            self._bad_left -= 1
            return node._replace(name=node.name[:_SHORT], reason=node.reason[:_SHORT], diagnostics=())
        self.beyond += 1
        return None

    def stray(self, line: int) -> None:
        """A result line that belongs to nothing. Counted, because a log whose head is lost is full of them."""
        self._strays += 1
        if len(self._stray) < 3:
            self._stray.append(line)

    def sentences(self) -> tuple[str, ...]:
        errors = list(self._errors)
        if self._strays:
            where = ", ".join(str(line) for line in self._stray)
            errors.append(f"result lines that belong to no open suite: {self._strays}, first at line {where}")
        if self.beyond:
            errors.append(f"{self.beyond} results more than can be kept: they are not among the cases")
        if self._more:
            errors.append(f"and {self._more} errors more")
        return tuple(errors)


class _Stream:
    """The open documents of one stream, outermost first."""

    def __init__(self, report: _Report) -> None:
        self.documents: list[Node] = []
        self.continued = 0
        self._failed_at: float | None = None
        self._report = report
        self._stack: list[_Open] = []
        self._edge = 0  # the last line that is part of the structure: what follows belongs to the next result
        self._edge_time: float | None = None
        self._pending: list[str] = []
        self._stats: dict[str, tuple[int, int, int, int]] = {}
        self._speaker = ""
        self._base = 0  # blanks before every line
        self._deeper: int | None = None  # how much deeper than its header a nested document is, in all of the log
        self._tabs: bool | None = None  # whether the log is indented by tabs

    def take(self, line: LogLine, match: re.Match[str]) -> None:
        """One line that looks like KTAP. `match` is that of SHAPE."""
        kind = match.lastgroup
        indent = self._indent(match)
        self.continued = 0
        if kind == "note":
            self._note(line, indent)
        elif kind == "dropped":
            self._report.error(line.number, "the console lost messages here: " + line.text.strip(" *"))
        elif not line.whole:
            if self._stack:
                text = line.text.strip()[:80]
                self._report.error(line.number, f"the line was cut, so it counts for nothing: {text}")
        elif kind == "result":
            self._result(line, indent)
        elif kind == "version":
            self._version(line, indent)
        elif kind == "plan":
            self._plan(line, indent)
        elif self._stack:
            self._report.error(line.number, line.text.strip())
            self._close_down_to(-1, line.number)

    def take_last(self, line: LogLine, match: re.Match[str]) -> None:
        """The last line of a saved log, without a newline: a result, if it is the last one of its document."""
        result = read_result(line.text) if match.lastgroup == "result" else None
        top = self._stack[0] if self._stack else None
        due = top is not None and result is not None and result.number == top.next == top.plan
        if due and self._indent(match) == 0 and all(level.plan == len(level.numbers) for level in self._stack[1:]):
            line = line._replace(whole=True)
        self.take(line, match)

    def _indent(self, match: re.Match[str]) -> int:
        """How deep a line is. Blanks that stand before every line of a document count for nothing; a line that is
        not indented by what the log is indented by is at no depth.
        """
        blanks = match[1]
        if self._tabs is False and not self._base and self._stack:  # nearly always
            return -1 if "\t" in blanks else len(blanks)
        if self._tabs is not None and blanks.strip("\t" if self._tabs else " "):
            return -1
        indent = indent_of(blanks)
        if match.lastgroup == "version" and (not self._stack or indent < self._base):
            self._base = indent if indent < _LEVEL else 0
        return indent - self._base if indent >= self._base else -1

    def _settle(self, level: _Open, indent: int, plan: bool) -> None:
        """A plan or result comes: where are those of its document? As deep as its header; or deeper, where those of
        all nested documents are. The first plan below a nested header tells that for the whole log: kunit prints it
        before any code of a test runs. A result tells it not, as a driver may have printed it.
        """
        fresh = plan and level.plan is None and not level.nodes and not level.beyond
        if fresh and self._deeper is None and level.indent <= indent <= level.indent + _DEEPER:
            self._deeper = indent - level.indent
        if self._deeper is not None and not level.settled:
            level.settled = True
            level.indent += self._deeper

    def go_on(self, line: LogLine) -> None:
        """A line after a failed expectation: part of its text if indented like it or of the same printk."""
        self.continued -= 1
        mine = line.text.startswith("    ") or (line.time is not None and line.time == self._failed_at)
        if mine and line.text.strip() and len(self._pending) < MOST_DIAGNOSTICS:
            self._pending.append(line.text.strip())

    def end(self, last: int) -> None:
        """The log ends here."""
        for level in self._stack:
            if level.name:
                self._report.error(last, f"the log ends inside {level.name}")
        self._close_down_to(-1, last)

    def _move_edge(self, line: LogLine) -> None:
        self._edge, self._edge_time = line.number, line.time

    # Lines that open

    def _note(self, line: LogLine, indent: int) -> None:
        """Accepted form: `# Subtest: NAME`, `# NAME: pass:1 fail:0 skip:0 total:1`, `# anything`."""
        text = line.text.strip()
        if text.startswith("# Subtest:"):
            match = SUBTEST.match(line.text)
            if match is not None and line.whole:
                self._subtest(line, indent, match[1])
                return
        if " total:" in text and line.whole:
            stats = STATS.match(line.text)
            if stats is not None and len(self._stats) < _MOST_STATS:
                self._stats[stats[1]] = (int(stats[2]), int(stats[3]), int(stats[4]), int(stats[5]))
        speaker = SPEAKER.match(text)
        if speaker is not None:
            self._speaker = speaker[1]
        top = self._stack[-1] if self._stack else None
        if top is not None and top.indent == indent and top.plan is None and not top.nodes:
            keep = top.diagnostics
        else:
            keep = self._pending
        if len(keep) < MOST_DIAGNOSTICS:
            keep.append(text)
        if " FAILED at " in text and FAILED.search(text):
            self.continued, self._failed_at = _CONTINUED, line.time

    def _subtest(self, line: LogLine, indent: int, name: str) -> None:
        """`# Subtest: NAME` names the document that a version line just opened, or opens one itself (TAP 14)."""
        top = self._stack[-1] if self._stack else None
        fresh = top is not None and top.indent == indent and not (top.name or top.nodes or top.plan is not None)
        if top is not None and fresh:
            top.name = name
            self._move_edge(line)
            return
        self._open(line, indent, "", name)

    def _version(self, line: LogLine, indent: int) -> None:
        """Accepted form: `KTAP version 1`, `TAP version 13`, `TAP version 14`."""
        match = VERSION.match(line.text)
        if match is None:
            return
        if (match[1], int(match[2])) not in (("KTAP", 1), ("TAP", 13), ("TAP", 14)):
            self._report.error(line.number, f"a version that nobody defined: {line.text.strip()}")
        self._open(line, indent, match[1], "")

    def _open(self, line: LogLine, indent: int, kind: str, name: str) -> None:
        """A document begins; what is open at the same depth or deeper did not get its end."""
        if indent < 0:
            return
        if any(level.indent >= indent for level in self._stack):
            self._close_down_to(indent - 1, line.number - 1)
        if len(self._stack) >= DEEPEST:
            self._report.error(line.number, f"nested deeper than {DEEPEST} levels; not read")
            return
        if not self._stack and indent > 0:
            # A debugfs results file, or a log whose head is lost: its outermost document is not there.
            # kunit's levels are four apart; what closes them later gives them their names.
            for level in range(0, indent, _LEVEL):
                self._stack.append(_Open(level, line.number, line.time, "KTAP", False))
                if len(self._stack) >= _LEVELS:
                    break
        parent = self._stack[-1] if self._stack else None
        if parent is not None and indent - parent.indent < 2:
            self._report.error(line.number, "indented by one space, so it is no nested document; not read")
            return
        void = parent is not None and parent.void
        if parent is not None and not void and parent.plan is not None and len(parent.numbers) >= parent.plan:
            void = True
            self._report.error(line.number, f"a suite beyond the plan 1..{parent.plan}: nothing in it counts")
        if self._tabs is None and indent > 0:
            self._tabs = line.text.startswith("\t")
        self._stack.append(_Open(indent, line.number, line.time, kind, void, name))
        self._move_edge(line)
        if parent is None:
            self._pending.clear()
            self._stats.clear()
        self._speaker = ""

    def _plan(self, line: LogLine, indent: int) -> None:
        """Accepted form: `1..N`, `1..0 # SKIP reason`, at the indentation of the document."""
        match = PLAN.match(line.text)
        if match is None or not self._stack:
            return
        if len(self._stack) > 1:
            self._settle(self._stack[-1], indent, plan=True)
        if self._stack[-1].indent != indent:
            return
        top, plan = self._stack[-1], int(match[1])
        if top.plan is not None and top.plan != plan:
            self._report.error(line.number, f"a second plan: 1..{plan} after 1..{top.plan}; the greater one holds")
            plan = max(plan, top.plan)
        if len(top.numbers) > plan:
            self._report.error(line.number, f"the plan 1..{plan} came after {len(top.numbers)} results")
        top.plan, top.plan_note = plan, (match[2] or "").strip()
        self._move_edge(line)

    # Lines that close

    def _result(self, line: LogLine, indent: int) -> None:
        """A result line at the indentation of an open document, else it is somebody's prose."""
        if self._deeper and len(self._stack) > 1:
            self._settle(self._stack[-1], indent, plan=False)
        depth = len(self._stack) - 1
        while depth >= 0 and self._stack[depth].indent > indent:
            depth -= 1
        result = read_result(line.text)
        if result is None:
            self._report.error(line.number, f"a result that cannot be read: {line.text.strip()[:80]}")
            return
        if depth < 0 or self._stack[depth].indent != indent:
            self._report.stray(line.number)
            return
        level = self._stack[depth]
        if depth and self._deeper is None:
            self._deeper = 0
        inner = self._stack[depth + 1] if depth + 1 < len(self._stack) else None
        if result.number is None and level.kind != "TAP":
            if result.word != "ok":
                self._report.error(line.number, f"`not ok` without a number: {result.name[:80]}")
            return
        if inner is not None and inner.name and inner.name != result.name:
            self._report.error(line.number, f"a result of {result.name[:80] or 'nobody'} inside {inner.name[:80]}")
            return
        number = level.next if result.number is None else result.number
        misfit = level.misfit(number)
        if inner is not None and misfit:
            name = result.name[:80]
            self._report.error(line.number, f"number {number} has no place here, so it does not end {name}")
            return
        if inner is None and misfit and result.outcome in _GOOD and self._report.full:
            self._report.error(line.number, "")  # counted
            return
        if inner is not None:
            self._close_down_to(inner.indent, line.number - 1)
        node = self._node(line, result, number, level, inner)
        if inner is not None:
            self._stack.pop()
        self._store(line, level, node, number, misfit)
        self._move_edge(line)
        self._pending.clear()
        self._stats.clear()
        self._speaker = ""

    def _node(self, line: LogLine, result: Result, number: int, level: _Open, inner: _Open | None) -> Node:
        """The node of a result line, judged together with what stands in its document."""
        outcome, note = result.outcome, ""
        children: tuple[Node, ...] = ()
        first, start, plan = self._edge + 1, self._edge_time, None
        if inner is not None:
            children = self._children(inner, line.number - 1, self._stats.get(result.name))
            outcome, note = judge(result.outcome, children, inner.plan)
            if note:
                self._report.error(line.number, f"{result.name[:80]}: {note}")
            first, start, plan = inner.line, inner.time, inner.plan
        if level.void and outcome in _GOOD:
            outcome, note = Outcome.INCOMPLETE, "beyond the plan"
        said = tuple(self._pending)
        _, _, name, _, raw, reason = result
        last, _, end, _ = line
        if inner is not None:
            said, reason = (*inner.diagnostics, *said), reason or inner.plan_note
        span = Span(first if first < last else last, last)
        return Node(name or f"?{number}", number, outcome, raw, reason, plan, children, said, span, start, end, note)

    def _store(self, line: LogLine, level: _Open, node: Node, number: int, misfit: bool) -> None:
        """Into the document, unless its number says that it has no place there: then only bad news is kept."""
        if not misfit:
            if number != level.next:
                self._report.error(line.number, f"number {number} where {level.next} was due: {node.name[:80]}")
            level.numbers.add(number)
            level.next = max(level.next, number + 1)
            self._append(level, node)
            return
        why = "a second time" if number in level.numbers else f"is outside the plan 1..{level.plan}"
        self._report.error(line.number, f"number {number} {why}: {node.name[:80]}")
        if node.outcome not in _GOOD:
            self._append(level, node)

    def _append(self, level: _Open, node: Node) -> None:
        kept = self._report.kept(node)
        if not self._report.executed:
            self._report.executed = node.outcome.executed and not node.children
        if kept is None:
            level.beyond += 1
        else:
            level.nodes.append(kept)

    def _close_down_to(self, indent: int, last: int) -> None:
        """Close, as cut, every document that is indented by more than `indent`."""
        while self._stack and self._stack[-1].indent > indent:
            level = self._stack.pop()
            parent = self._stack[-1] if self._stack else None
            empty = not (level.name or level.nodes or level.beyond or level.plan)  # not even begun
            if empty and parent is not None:
                continue
            children = self._children(level, last, None)
            node = Node(
                name=level.name,
                outcome=of_document(children) if parent is None else Outcome.INCOMPLETE,
                plan=level.plan,
                children=children,
                diagnostics=tuple(level.diagnostics),
                span=Span(level.line, max(level.line, last)),
                start=level.time,
                note="" if parent is None else "the suite has no result line",
            )
            if parent is None:
                if children or self._report.kept(node) is not None:
                    self.documents.append(node)
                continue
            self._report.error(level.line, f"{level.name or 'a nested document'} has no result line")
            number = parent.next
            self._append(parent, node._replace(name=level.name or f"?{number}", number=number))
            parent.numbers.add(number)
            parent.next = number + 1

    def _children(self, level: _Open, last: int, stats: tuple[int, int, int, int] | None) -> tuple[Node, ...]:
        """The nodes of a document, with one for each that was promised and did not come, in their order."""
        promised = level.plan or 0
        here = len(level.nodes) + level.beyond
        if stats is not None and stats[3] != here:
            self._report.error(last, f"{level.name}: says it ran {stats[3]}, {here} results are here")
            if level.plan is None:
                promised = max(promised, stats[3])
        promised = max(promised, level.next - 1)
        if promised == len(level.numbers) and len(level.numbers) == here:
            return tuple(level.nodes)
        nodes = list(level.nodes)
        if level.plan is not None and len(level.numbers) < level.plan:
            who = level.name or "the document"
            self._report.error(last, f"{who}: {len(level.numbers)} of {level.plan} results arrived")
        died = level.next <= promised and self._edge < last
        for first, upto in level.numbers.gaps(promised):
            self._missing(nodes, first, upto, Span(self._edge + 1, last) if died and first == level.next else None)
        nodes.sort(key=lambda node: node.number or 0)
        return tuple(nodes)

    def _missing(self, nodes: list[Node], first: int, upto: int, died: Span | None) -> None:
        """Nodes for the numbers first..upto, of which nothing was printed."""
        for number in range(first, upto + 1):
            if self._report.missing_left <= 0:
                nodes.append(Node(f"?{number}-{upto}", number, note="no result line", missing=True))
                return
            self._report.missing_left -= 1
            if number > first or died is None:
                nodes.append(Node(f"?{number}", number, note="no result line", missing=True))
                continue
            note = "started, never ended"
            if self._speaker:
                note += f"; the last that spoke was {self._speaker}"
            heard = tuple(self._pending)
            nodes.append(Node(f"?{number}", number, note=note, missing=True, span=died, diagnostics=heard))
            self._edge = died.last  # only the innermost one died there
