# SPDX-License-Identifier: GPL-2.0-only
"""Kernel messages that are facts of their own: splats, panics, lockups, OOM kills, each with its trace.

One table says what opens an event (recognisers.py), one function how far it goes (`_swallow`). Whether an event is
good or bad for a case is not said here, but for `severity()`: did the kernel die, complain, or just tell.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

from harness.evidence.frames import MOST_FRAMES, WAITING, undecoded
from harness.evidence.frames import frames_of as frames_of
from harness.evidence.frames import function_of as function_of
from harness.evidence.frames import functions as functions
from harness.evidence.frames import telling as telling
from harness.evidence.lines import LogLine
from harness.evidence.recognisers import BLOCKED, CUT, SEVERITY, Extent, Recogniser, Role
from harness.evidence.recognisers import RECOGNISERS as RECOGNISERS
from harness.evidence.recognisers import Severity as Severity
from harness.model.event import Event, Span

MOST_EXCERPT = 60  # lines kept in an event
LONGEST_TITLE = 240
_END_TRACE = "---[ end trace"


_HEAD_WITHIN = 8  # lines from `cut here` to the headline: WARN's own message may stand between
_PATIENCE = 4  # foreign lines (another CPU, a test) that may stand inside a trace
_BANNER_MOST = 600  # lines of a lockdep report before its backtrace
_OOM_MOST = 6000  # a line for each task
_EVENT_MOST = 8000  # lines of any event

_TASK = re.compile(
    r"\bComm: (.{0,64}?) (?:Not t|T)ainted|, CPU#\d+: (.{1,64})/\d+$|INFO: task (.{1,64}?):\d+ blocked"
    r"|stuck for \d+s! \[(.{1,64}):\d+\]|^(.{1,64}?) invoked oom-killer: |\bpid: \d+, name: (.{1,64})$"
    r"|by task (?!\d)(.{1,64})/\d+(?:[: ]|$)|^task:(.{1,64}?) +state:"
)
_ALLOCATION = re.compile(
    r": page allocation failure: order:(?P<order>\d+), mode:(?P<mode>0x[0-9a-f]+)(?:\((?P<flags>[\w|]*)\))?"
    r"(?:, ?nodemask=(?P<mask>\(null\)|[\d,-]*\d))?"
)
_TRACE = re.compile(
    r"\s*(?:Call [Tt]race:|</?(?:TASK|IRQ|NMI|#?[A-Z]{1,6}\d?)>|(?:\[<[0-9a-f]+>\] ?)?(?:\? )?[\w.$]+\+0x[0-9a-f]+/0x"
    r"|[RE][A-Z0-9]{2}: |R\d\d: |[RE]SP: |[RE]IP: |[CFDEG]S: |CR\d: |DR\d: |PKRU: |Code: |EFLAGS: |Modules linked in:"
    r"|CPU: \d|Hardware name: |Tainted: |Workqueue: |Stopper: |#PF: |PGD |P4D |Oops|Kernel Offset: |Comm: |pstate: "
    r"|pc : |lr : |sp : |x\d{1,2} ?: |irq event stamp: |(?:hard|soft)irqs last |---\[ |task:|stack:|Call trace"
    r"|(?:Read|Write) of size |(?:Allocated|Freed) by task|Memory state |[> ][0-9a-f]{16}: |The buggy address"
    r"|page: ?refcount|flags: 0x|raw: [0-9a-f]{16}|page dumped because|page_type:|Mem-Info:|Node \d+ |Sending NMI"
    r"|NMI backtrace |in_atomic\(\): |preempt_count: |RCU nest depth: |INFO: lockdep is turned off|note: "
    r"|\(detected by |\S*\(t=\d+ jiffies|rcu: |\d+ locks? held by |no locks held by |#\d+: |Showing all locks"
    r"|Last potentially related work|Preemption disabled at|Disabling lock debugging|\"echo 0 > /proc|={20,}$"
    r"|stack backtrace:|other info that might|Rebooting in |Dumping ftrace"
    r"|comm \"|hex dump \(|backtrace(?: \(crc|:)|(?:[0-9a-f]{2} ){8}"
    # what scripts/decode_stacktrace.sh adds, and its frames
    r"|All code$|Code starting with|={8,}$|[0-9a-f]{1,4}:\*?\t|(?:\? )?[A-Za-z_][\w.$]* \([^\s():]+\.[chSs]:\d"
    # older x86, arm, arm64
    r"|IP: |RIP {2}|EIP is at "
    r"|Mem abort info:|Data abort info:|(?:ESR|EC|SET|FnV|EA|FSC|ISV|ISS|CM|GCS|Xs|TnD|Overlay)\b.{0,8}="
    r"|\[[0-9a-f]{8,16}\] |(?:swapper|user) pgtable: |pgd = |Internal error: |PC is at |LR is at |Flags: |Control: "
    r"|Process |Stack: |r\d{1,2} ?: |[0-9a-f]{4}: [0-9a-f]{8} |\(?\[<[0-9a-f]{8,16}>\]\)? |\w[\w.]* from "
    r"|Exception stack|Register |Backtrace:|8<--- cut"
    # ppc, riscv, s390, mips
    r"|NIP |LR |NIP:  |GPR\d\d: |CFAR|MSR:  |REGS: |\[c[0-9a-f]{15}\] |Instruction dump:|Faulting instruction"
    r"|(?:epc|ra|gp|tp|t\d|s\d{1,2}|a\d) {0,3}: |status: [0-9a-f]{8}|Krnl |User PSW|\$ ?\d{1,2} {0,3}: |Cause : |$)"
)
# The same for what ends with _END_TRACE: other CPUs go on, and may say much before the headline's `Oops:` comes.
_OOPS_PATIENCE = 12
_GROUP = " are going to be killed due to memory.oom.group set"
_GROUP_WITHIN = 6  # lines from the victim to the word that its whole group dies
_REASON_WITHIN = 3  # lines from the words of a broken list to `cut here`
_VICTIM = re.compile(r"Kill(?:ed)? process \d+ \(|oom_reaper: |Out of memory and no killable|System is deadlocked")
_BACKTRACE = re.compile(r"\s*(?:stack backtrace:|Call [Tt]race)")
_EQUALS = re.compile(r"={10,}$")

_OFFSET = re.compile(r"\+0x[0-9a-f]+(?:/0x[0-9a-f]+)?")
_CPU_WORDS = re.compile(r",? CPU#\d+: \S+/\d+$")
# Up to 6.17: `WARNING: CPU: 0 PID: 1 at FILE:LINE FUNCTION`; since: `WARNING: FILE:LINE at FUNCTION`. Told alike, so
# that a series can be compared across kernels.
_OLD_WARNING = re.compile(r"^WARNING: CPU: \d+ PID: \d+ at (\S+:\d+) (?=\S)")
_CORRUPTION = re.compile(r"(?:list|hlist|rb)_\w{2,20}(?: double add:)? corruption")
_REFINING = re.compile(r"refcount_t: |DMA-API: |(?:list|hlist|rb)_\w{2,20}(?: double add:)? corruption")
_GROUP_VICTIM = re.compile(r"(?:Memory cgroup out of memory|Out of memory): Killed process (\d+) \(")
_VOLATILE = re.compile(r"\b0x[0-9a-f]+|\b[0-9a-f]{8,16}\b|\[[^\]]*:\d+\]|\d+")


def severity(kind: str) -> Severity:
    """What an event of this kind means; an unknown kind is a splat, because nothing passes by default."""
    return SEVERITY.get(kind, Severity.SPLAT)


def find_events(lines: Iterable[LogLine]) -> tuple[Event, ...]:
    """The events of a log in their order. Linear in the size, never raises.

    Lines with a printk time and lines without are looked at apart: what user space writes to the console in the
    middle of a trace is no part of it. Events of one kind of lines do not overlap.
    """
    stream = EventStream()
    return tuple(sorted(stream.feed(lines, ends=True), key=lambda event: event.span.first))


class EventStream:
    """The same for a log that comes in pieces: only events that are not over yet are kept, at most _EVENT_MOST
    lines of each."""

    def __init__(self) -> None:
        self._stamped: list[LogLine] = []
        self._bare: list[LogLine] = []

    @property
    def idle(self) -> bool:
        """No event is open: lines without a needle mean nothing."""
        return not self._stamped and not self._bare

    def feed(self, lines: Iterable[LogLine], ends: bool = False) -> list[Event]:
        """More lines -> the events that are over. `ends`: the log is at its end."""
        lines = tuple(lines)
        self._bare += [line for line in lines if line[2] is None]
        self._stamped += [line for line in lines if line[2] is not None]
        stamped, rest = _events(self._stamped, ends)
        self._stamped = self._stamped[rest:]
        bare, rest = _events(self._bare, ends)
        self._bare = self._bare[rest:]
        return stamped + bare


def _events(lines: Sequence[LogLine], ends: bool) -> tuple[list[Event], int]:
    """The events in lines of one writer, and the index of the first line that may belong to one to come."""
    if not lines:
        return [], 0
    marks = _marks(lines)
    events: list[Event] = []
    free = 0
    for index in sorted(marks):
        row = marks[index]
        if index < free or row.role is Role.REFINES:
            continue
        first = index
        if first > free and _EQUALS.match(lines[first - 1].text):
            first -= 1
        inner: list[tuple[int, int]] = []
        last, over = _swallow(lines, marks, index, row, inner)
        if not over and not ends:
            return events, _reason(lines, marks, index, free) if row is CUT else first
        for start, end in inner:
            events.append(_event(lines, marks, range(start, end + 1), start, marks[start]))
        left = [at for at in range(first, last + 1) if not any(start <= at <= end for start, end in inner)]
        if row is CUT:
            reason = _reason(lines, marks, index, free)
            left = [*([reason] if reason < index else []), *left]
        events.append(_event(lines, marks, left, index, row))
        free = last + 1
    return events, _kept(lines, free)


def _kept(lines: Sequence[LogLine], free: int) -> int:
    """The first of the last lines that may belong to an event to come: its rule, or its reason."""
    if lines and len(lines) > free and _EQUALS.match(lines[-1].text):
        return len(lines) - 1
    for at in range(max(free, len(lines) - _REASON_WITHIN), len(lines)):
        if _CORRUPTION.match(lines[at].text):
            return at
    return len(lines)


def _reason(lines: Sequence[LogLine], marks: dict[int, Recogniser], index: int, free: int) -> int:
    """The line that says which list is broken: the kernel prints it before the `cut here` at `index`."""
    for at in range(index - 1, max(free, index - 1 - _REASON_WITHIN) - 1, -1):
        if at in marks and marks[at].role is Role.REFINES and _CORRUPTION.match(lines[at].text):
            return at
    return index


def _marks(lines: Sequence[LogLine]) -> dict[int, Recogniser]:
    """Index of a line -> what it opens. Each stem is looked for once in the whole text."""
    texts = [line[1] for line in lines]
    text = "\n".join(texts)
    starts: list[int] = []
    best: dict[int, tuple[int, Recogniser]] = {}
    for stem, rows in _ROWS_OF.items():
        at = text.find(stem)
        if at >= 0 and not starts:
            starts = [0, *accumulate(len(one) + 1 for one in texts)]
        while at >= 0:
            index = bisect_right(starts, at) - 1
            said = texts[index]
            for order, row in rows:
                if row.needle in said and row.pattern.search(said):
                    if index not in best or order < best[index][0]:
                        best[index] = (order, row)
                    break
            at = text.find(stem, starts[index + 1])
    return {index: row for index, (_, row) in best.items()}


def _rows_of() -> dict[str, list[tuple[int, Recogniser]]]:
    """The rows of the table by what is looked for: needles with the same beginning are looked for together."""
    found: dict[str, list[tuple[int, Recogniser]]] = {}
    for order, row in enumerate((CUT, *RECOGNISERS)):
        stem = next((stem for stem in _STEMS if stem in row.needle), row.needle)
        found.setdefault(stem, []).append((order, row))
    return found


_STEMS = ("BUG: ", "INFO: ", "WARNING: ", " detected")
_ROWS_OF = _rows_of()


def _swallow(
    lines: Sequence[LogLine], marks: dict[int, Recogniser], index: int, row: Recogniser, inner: list[tuple[int, int]]
) -> tuple[int, bool]:
    """The last line of the event that opens at `index`, and whether it is over: the one place that knows how far a
    trace goes. It is not over when the lines were. `inner` gets the events that broke into an OOM report."""
    if row.extent is Extent.LINE:
        return index, True
    last, foreign, ended = index, 0, False
    eager = {Extent.BANNER: _BANNER_MOST, Extent.OOM: _OOM_MOST}.get(row.extent, 0)
    patience = _OOPS_PATIENCE if row is CUT or row.kind in ("oops", "bug") else _PATIENCE
    if row is CUT:
        eager = 2  # the message of a WARN and its headline
    # Linear: whatever is looked at is swallowed, but for the last few foreign lines.
    end = min(len(lines), index + _EVENT_MOST)
    skip, unsure = index, False  # what broke in goes up to there; it may go on with lines to come
    for at in range(index + 1, end):
        if at <= skip:
            continue
        text, mark = lines[at].text, marks.get(at)
        if row.extent is Extent.OOM and mark is not None and _breaks_in(mark):
            skip, over = _swallow(lines, marks, at, mark, [])
            inner.append((at, skip))
            last, unsure = skip, unsure or not over
            continue
        if mark is not None and (mark.role is Role.OPENS or (ended and mark.role in (Role.JOINS, Role.FOLLOWS))):
            return last, True
        if text.startswith("sysrq: ") or (row.role is Role.FOLLOWS and text.startswith("task:")):
            return last, True
        if row.extent is Extent.OOM and _VICTIM.search(text):
            last, over = _whole_group(lines, at, end)
            return last, over and not unsure
        if text.startswith(_END_TRACE):
            last, ended, foreign, eager = at, True, patience, 0
            continue
        if mark is not None and mark.role is not Role.OPENS and mark.extent is not Extent.LINE:
            last, foreign = at, 0
            if row is CUT:
                eager = 2  # 7.x prints the message after the headline
            continue
        if eager > 0 and not _is_test(text):
            last = at
            eager = 0 if row.extent is Extent.BANNER and _BACKTRACE.match(text) else eager - 1
            continue
        if _TRACE.match(text) and not (ended and not text.strip()):
            last, foreign = (at if text.strip() else last), (foreign if ended else 0)
            continue
        foreign += 1
        if foreign > patience:
            return last, True
    return last, end < len(lines)


def _breaks_in(mark: Recogniser) -> bool:
    """What another CPU may say in the middle of an OOM report: a splat, but no other OOM and no end of it all."""
    return mark.role is Role.OPENS and mark.kind not in ("oom", "panic", "page-alloc-failure", "taint")


def _whole_group(lines: Sequence[LogLine], at: int, end: int) -> tuple[int, bool]:
    """The last line of an OOM kill whose victim is named at `at`: a cgroup may be killed as a whole."""
    last, group = at, False
    for after in range(at + 1, end):
        text = lines[after].text
        if text.endswith(_GROUP):
            last, group = after, True
        elif group and _GROUP_VICTIM.match(text):
            last = after
        elif after - last > _GROUP_WITHIN or " invoked oom-killer: " in text:
            return last, True
    return last, end < len(lines)


def _is_test(text: str) -> bool:
    """A line of a test's own protocol, which stands in a trace only by accident."""
    return text.lstrip().startswith(("ok ", "not ok ", "# ", "KTAP version"))


def _event(
    lines: Sequence[LogLine], marks: dict[int, Recogniser], at: Sequence[int], index: int, row: Recogniser
) -> Event:
    """The event in the lines `at`, which `row` opened at `index`."""
    texts = [lines[one].text for one in at]
    kind, title = _headline(lines, marks, at, index, row)
    frames, modules = frames_of(texts)
    mark = fingerprint(kind, title, functions(texts))
    if row.extent is Extent.OOM:
        title = f"{title}{_others(texts)}"[:LONGEST_TITLE]
    return Event(
        kind=kind,
        title=title,
        fingerprint=mark,
        span=Span(lines[at[0]].number, lines[at[-1]].number),
        lines=tuple(texts[:MOST_EXCERPT]),
        task=task_of(texts),
        modules=modules,
        frames=frames,
    )


def _others(texts: Sequence[str]) -> str:
    """How many more of a cgroup were killed with the first."""
    if not any(text.endswith(_GROUP) for text in texts):
        return ""
    pids = {match[1] for match in map(_GROUP_VICTIM.match, texts) if match is not None}
    if len(pids) < 2:
        return ""
    return f", and {len(pids) - 1} more of its group"


def _headline(
    lines: Sequence[LogLine], marks: dict[int, Recogniser], within: Sequence[int], index: int, row: Recogniser
) -> tuple[str, str]:
    """Kind and title of an event."""
    first, last = lines[index].text, within[-1]
    if row.extent is Extent.OOM:
        told = next((lines[at].text for at in within if at > index and _VICTIM.search(lines[at].text)), first)
        return row.kind, _tidy(told)
    if row.kind == BLOCKED:
        return row.kind, _blocked([lines[at].text for at in within])
    if row is not CUT:
        if row.kind == "hung-task" and "INFO: " not in first and index:
            first = f"{lines[index - 1].text.strip()} {first.strip()}"
        return row.kind, _allocation(first) or _tidy(first)
    kind, head, words = "", "", []
    reason = lines[within[0]].text if within[0] < index and _CORRUPTION.match(lines[within[0]].text) else ""
    if reason:
        kind = "list-corruption"
        words.append(reason)
    for at in range(index + 1, min(last, index + _HEAD_WITHIN) + 1):
        mark, text = marks.get(at), lines[at].text
        if mark is not None and mark.role is Role.JOINS and not head:
            kind, head = (kind or mark.kind), text
            if mark.kind == "bug":
                # BUG() has no words of its own: what stands around it is of others.
                kind, words = mark.kind, [word for word in words if _REFINING.match(word)]
        elif mark is not None and mark.role is Role.REFINES and kind in ("", "warning"):
            kind = mark.kind
            words.append(text)
        elif _TRACE.match(text) or _is_test(text) or (mark is not None and mark.role is Role.JOINS):
            if head:
                break
        elif kind != "bug":
            words.append(text)
    said = " ".join(word.strip() for word in words[:2])
    if not head:
        return kind or CUT.kind, _tidy(said) or "cut here, and nothing after it"
    return kind, _tidy(f"{_tidy(head)}: {said}" if said else head)


def _allocation(text: str) -> str:
    """A failed allocation's headline without the task, in words that do not differ over the versions; else empty."""
    match = _ALLOCATION.search(text)
    if match is None:
        return ""
    flags = match["flags"] or match["mode"]
    mask = f", nodemask {match['mask']}" if match["mask"] else ""
    return f"page allocation failure: order {match['order']}, {flags}{mask}"[:LONGEST_TITLE]


def _blocked(texts: Sequence[str]) -> str:
    """Who waits, and which function is waiting, behind all that waiting itself calls."""
    names = functions(texts, most=MOST_FRAMES)
    place = next((name for name in names if not WAITING.fullmatch(name)), "")
    return f"task {task_of(texts)} is blocked" + (f" in {place}" if place else "")


def task_of(texts: Iterable[str]) -> str:
    """The name of the task that a report is about; empty if it does not say."""
    for text in texts:
        if "Comm: " in text or "CPU#" in text or "task" in text or " invoked oom-" in text or "name: " in text:
            match = _TASK.search(text)
            if match is not None:
                return next(name for name in match.groups() if name is not None)
    return ""


def _tidy(text: str) -> str:
    """A headline without what differs from boot to boot: offsets, CPU and task."""
    text = _CPU_WORDS.sub("", _OFFSET.sub("", undecoded(text.strip())))
    text = _OLD_WARNING.sub(r"WARNING: \1 at ", text)
    return text[:LONGEST_TITLE]


def fingerprint(kind: str, title: str, names: Sequence[str]) -> str:
    """Twelve hex digits that another address, CPU, pid or line number does not change."""
    words = "\0".join((kind, _VOLATILE.sub("N", title), *names))
    return hashlib.sha1(words.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()[:12]
