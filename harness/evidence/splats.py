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

from harness.evidence.lines import Line
from harness.evidence.recognisers import BLOCKED, CUT, SEVERITY, Extent, Recogniser, Role
from harness.evidence.recognisers import RECOGNISERS as RECOGNISERS
from harness.evidence.recognisers import Severity as Severity
from harness.model.result import Event, Span

MOST_EXCERPT = 60  # lines kept in an event
LONGEST_TITLE = 240
_FRAMES = 5
_MOST_FRAMES = 32
_END_TRACE = "---[ end trace"


_HEAD_WITHIN = 8  # lines from `cut here` to the headline: WARN's own message may stand between
_PATIENCE = 4  # foreign lines (another CPU, a test) that may stand inside a trace
_BANNER_MOST = 600  # lines of a lockdep report before its backtrace
_OOM_MOST = 6000  # a line for each task
_EVENT_MOST = 8000  # lines of any event

_FUNCTION = re.compile(r"^\s*(?:\[<[0-9a-f]{8,16}>\] ?)?(\? )?([A-Za-z_][\w.$]{0,120})\+0x[0-9a-f]+/0x[0-9a-f]+")
_FRAME = re.compile(
    r"(?:\s*(?:\[<[0-9a-f]{8,16}>\] ?)?|RIP: (?:0010|0060):|EIP: |pc : )"
    r"([A-Za-z_][\w.$]{0,120}\+0x[0-9a-f]+/0x[0-9a-f]+(?: \[(\w{1,60})(?: [0-9a-f]{8,64})?\])?)"
)
_TASK = re.compile(
    r"\bComm: (.{0,64}?) (?:Not t|T)ainted|, CPU#\d+: (.{1,64})/\d+$|INFO: task (.{1,64}?):\d+ blocked"
    r"|stuck for \d+s! \[(.{1,64}):\d+\]|^(.{1,64}?) invoked oom-killer: |\bpid: \d+, name: (.{1,64})$"
    r"|by task (?!\d)(.{1,64})/\d+(?:[: ]|$)|^task:(.{1,64}?) +state:"
)
_ALLOCATION = re.compile(
    r": page allocation failure: order:(?P<order>\d+), mode:(?P<mode>0x[0-9a-f]+)(?:\((?P<flags>[\w|]*)\))?"
    r"(?:, ?nodemask=(?P<mask>\(null\)|[\d,-]*\d))?"
)
_AT = re.compile(r"\b(?:RIP: (?:0010|0060):|EIP: |pc : )([A-Za-z_][\w.$]{0,120})\+0x")
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
    r"|comm \"|hex dump \(|backtrace(?: \(crc|:)|(?:[0-9a-f]{2} ){8}|$)"
)
_VICTIM = re.compile(r"Kill(?:ed)? process \d+ \(|oom_reaper: |Out of memory and no killable|System is deadlocked")
_BACKTRACE = re.compile(r"\s*(?:stack backtrace:|Call [Tt]race)")
_EQUALS = re.compile(r"={10,}$")

_OFFSET = re.compile(r"\+0x[0-9a-f]+(?:/0x[0-9a-f]+)?")
_CPU_WORDS = re.compile(r",? CPU#\d+: \S+/\d+$")
# Up to 6.17: `WARNING: CPU: 0 PID: 1 at FILE:LINE FUNCTION`; since: `WARNING: FILE:LINE at FUNCTION`. Told alike, so
# that a series can be compared across kernels.
_OLD_WARNING = re.compile(r"^WARNING: CPU: \d+ PID: \d+ at (\S+:\d+) (?=\S)")
_VOLATILE = re.compile(r"\b0x[0-9a-f]+|\b[0-9a-f]{8,16}\b|\[[^\]]*:\d+\]|\d+")
_SUFFIX = re.compile(r"\.(?:constprop|isra|part|cold|llvm)\b.*$")
# What any report has on its stack, whatever went wrong.
_MACHINERY = re.compile(
    r"(?:__|asm_|exc_|do_)?(?:dump_stack\w*|show_stack\w*|v?panic|warn|report_bug|handle_bug|exc_invalid_op|invalid_op"
    r"|asm_exc_\w+|kasan_\w+|print_report|__kasan_\w+|dump_header|warn_slowpath\w*|warn_printk|die\w*|print_\w+_bug"
    r"|oops_\w+|nmi_\w+|lockdep_rcu_suspicious|lock_acquire|__lock_acquire|validate_chain|check_\w+)$"
)

# Between the scheduler and the function that waits.
_WAITING = re.compile(
    r"_*(?:io_|preempt_|rt_mutex_)?schedule\w*|\w*_wait_common|(?:do_)?wait_for_\w+|\w*wait_on_\w+|bit_wait\w*"
    r"|\w*mutex_lock\w*|\w*rwsem_\w+|_*down(?:_\w+)?|_*(?:raw_)?(?:spin|read|write)_lock\w*|_*folio_(?:wait|lock)\w*"
    r"|synchronize_\w+|_*flush_\w+|msleep\w*"
)


def severity(kind: str) -> Severity:
    """What an event of this kind means; an unknown kind is a splat, because nothing passes by default."""
    return SEVERITY.get(kind, Severity.SPLAT)


def find_events(lines: Iterable[Line]) -> tuple[Event, ...]:
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
        self._stamped: list[Line] = []
        self._bare: list[Line] = []

    @property
    def idle(self) -> bool:
        """No event is open: lines without a needle mean nothing."""
        return not self._stamped and not self._bare

    def feed(self, lines: Iterable[Line], ends: bool = False) -> list[Event]:
        """More lines -> the events that are over. `ends`: the log is at its end."""
        for line in lines:
            (self._bare if line.time is None else self._stamped).append(line)
        stamped, rest = _events(self._stamped, ends)
        self._stamped = self._stamped[rest:]
        bare, rest = _events(self._bare, ends)
        self._bare = self._bare[rest:]
        return stamped + bare


def _events(lines: Sequence[Line], ends: bool) -> tuple[list[Event], int]:
    """The events in lines of one writer, and the index of the first line that may belong to one to come."""
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
        last, over = _swallow(lines, marks, index, row)
        if not over and not ends:
            return events, first
        events.append(_event(lines, marks, first, index, last, row))
        free = last + 1
    if lines and len(lines) > free and _EQUALS.match(lines[-1].text):
        return events, len(lines) - 1
    return events, len(lines)


def _marks(lines: Sequence[Line]) -> dict[int, Recogniser]:
    """Index of a line -> what it opens. Each needle is looked for once in the whole text."""
    text = "\n".join(line.text for line in lines)
    starts = [0, *accumulate(len(line.text) + 1 for line in lines)]
    marks: dict[int, Recogniser] = {}
    for row in (CUT, *RECOGNISERS):
        at = text.find(row.needle)
        while at >= 0:
            index = bisect_right(starts, at) - 1
            if index not in marks and row.pattern.search(lines[index].text):
                marks[index] = row
            at = text.find(row.needle, starts[index + 1])
    return marks


def _swallow(lines: Sequence[Line], marks: dict[int, Recogniser], index: int, row: Recogniser) -> tuple[int, bool]:
    """The last line of the event that opens at `index`, and whether it is over: the one place that knows how far a
    trace goes. It is not over when the lines were."""
    if row.extent is Extent.LINE:
        return index, True
    last, foreign, ended = index, 0, False
    eager = {Extent.BANNER: _BANNER_MOST, Extent.OOM: _OOM_MOST}.get(row.extent, 0)
    if row is CUT:
        eager = 2  # the message of a WARN and its headline
    # Linear: whatever is looked at is swallowed, but for the last few foreign lines.
    end = min(len(lines), index + _EVENT_MOST)
    for at in range(index + 1, end):
        text, mark = lines[at].text, marks.get(at)
        if mark is not None and (mark.role is Role.OPENS or (ended and mark.role in (Role.JOINS, Role.FOLLOWS))):
            return last, True
        if text.startswith("sysrq: ") or (row.role is Role.FOLLOWS and text.startswith("task:")):
            return last, True
        if row.extent is Extent.OOM and _VICTIM.search(text):
            return at, True
        if text.startswith(_END_TRACE):
            last, ended, foreign, eager = at, True, _PATIENCE, 0
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
        if foreign > _PATIENCE:
            return last, True
    return last, end < len(lines)


def _is_test(text: str) -> bool:
    """A line of a test's own protocol, which stands in a trace only by accident."""
    return text.lstrip().startswith(("ok ", "not ok ", "# ", "KTAP version"))


def _event(
    lines: Sequence[Line], marks: dict[int, Recogniser], first: int, index: int, last: int, row: Recogniser
) -> Event:
    """The event in lines first..last, which `row` opened at `index`."""
    kind, title = _headline(lines, marks, index, last, row)
    texts = [line.text for line in lines[first : last + 1]]
    frames, modules = frames_of(texts)
    return Event(
        kind=kind,
        title=title,
        fingerprint=fingerprint(kind, title, functions(texts)),
        span=Span(lines[first].number, lines[last].number),
        lines=tuple(texts[:MOST_EXCERPT]),
        task=task_of(texts),
        modules=modules,
        frames=frames,
    )


def _headline(
    lines: Sequence[Line], marks: dict[int, Recogniser], index: int, last: int, row: Recogniser
) -> tuple[str, str]:
    """Kind and title of an event."""
    if row.extent is Extent.OOM:
        told = lines[last].text if _VICTIM.search(lines[last].text) else lines[index].text
        return row.kind, _tidy(told)
    if row.kind == BLOCKED:
        return row.kind, _blocked([line.text for line in lines[index : last + 1]])
    if row is not CUT:
        return row.kind, _allocation(lines[index].text) or _tidy(lines[index].text)
    kind, head, words = "", "", []
    for at in range(index + 1, min(last, index + _HEAD_WITHIN) + 1):
        mark, text = marks.get(at), lines[at].text
        if mark is not None and mark.role is Role.JOINS and not head:
            kind, head = (kind or mark.kind), text
            if mark.kind == "bug":
                kind = mark.kind
        elif mark is not None and mark.role is Role.REFINES and kind in ("", "warning"):
            kind = mark.kind
            words.append(text)
        elif _TRACE.match(text) or _is_test(text):
            if head:
                break
        else:
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
    names = functions(texts, most=_MOST_FRAMES)
    place = next((name for name in names if not _WAITING.fullmatch(name)), "")
    return f"task {task_of(texts)} is blocked" + (f" in {place}" if place else "")


def task_of(texts: Iterable[str]) -> str:
    """The name of the task that a report is about; empty if it does not say."""
    for text in texts:
        if "Comm: " in text or "CPU#" in text or "task" in text or " invoked oom-" in text or "name: " in text:
            match = _TASK.search(text)
            if match is not None:
                return next(name for name in match.groups() if name is not None)
    return ""


def frames_of(texts: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The frames of a trace as printed, innermost first, without guesses, at most 32; and their modules."""
    frames: list[str] = []
    modules: dict[str, None] = {}
    for text in texts:
        match = _FRAME.match(text) if "+0x" in text else None
        if match is None:
            continue
        if match[1] not in frames[-1:]:
            frames.append(match[1])
        if match[2] is not None:
            modules[match[2]] = None
        if len(frames) == _MOST_FRAMES:
            break
    return tuple(frames), tuple(modules)


def _tidy(text: str) -> str:
    """A headline without what differs from boot to boot: offsets, CPU and task."""
    text = _CPU_WORDS.sub("", _OFFSET.sub("", text.strip()))
    text = _OLD_WARNING.sub(r"WARNING: \1 at ", text)
    return text[:LONGEST_TITLE]


def function_of(text: str) -> str | None:
    """The function that a line of a trace names; None for a guess (`? foo`) and for any other line."""
    if "+0x" not in text:
        return None
    at = _AT.search(text)
    if at is not None:
        return _SUFFIX.sub("", at[1])
    match = _FUNCTION.match(text)
    return None if match is None or match[1] is not None else _SUFFIX.sub("", match[2])


def functions(texts: Iterable[str], most: int = _FRAMES) -> tuple[str, ...]:
    """The functions of a trace that say where it was, innermost first, at most five."""
    names: list[str] = []
    for text in texts:
        name = function_of(text)
        if name is None:
            continue
        if name not in names[-1:] and not _MACHINERY.match(name):
            names.append(name)
        if len(names) == most:
            break
    return tuple(names)


def telling(text: str) -> bool:
    """Whether a line of a trace names a function that says where it was."""
    name = function_of(text)
    return name is not None and not _MACHINERY.match(name) and not _WAITING.fullmatch(name)


def fingerprint(kind: str, title: str, names: Sequence[str]) -> str:
    """Twelve hex digits that another address, CPU, pid or line number does not change."""
    words = "\0".join((kind, _VOLATILE.sub("N", title), *names))
    return hashlib.sha1(words.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()[:12]
