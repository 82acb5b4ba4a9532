# SPDX-License-Identifier: GPL-2.0-only
"""Kernel messages that are facts of their own: splats, panics, lockups, OOM kills, each with its trace.

One table says what opens an event (`RECOGNISERS`), one function how far it goes (`_swallow`). Whether an event is
good or bad for a case is not said here, but for `severity()`: did the kernel die, complain, or just tell.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate

from harness.evidence.lines import Line
from harness.model.result import Event, Span

MOST_EXCERPT = 60  # lines kept in an event
_LONGEST_TITLE = 240
_FRAMES = 5


class Severity(StrEnum):
    """What an event means for whatever was running."""

    DIES = "dies"  # the kernel, or the task in it, did not go on
    SPLAT = "splat"  # it went on, but something is wrong
    NOTE = "note"  # worth knowing, wrong only where somebody says so


class _Role(StrEnum):
    """How a line behaves when an event is already open."""

    OPENS = "opens"  # always an event of its own
    JOINS = "joins"  # part of the open event, if one is open; else opens one
    REFINES = "refines"  # only inside a `cut here` block, where it gives the kind


class _Extent(StrEnum):
    """How the end of an event is found."""

    TRACE = "trace"  # `end trace`, or the last line that looks like a trace
    BANNER = "banner"  # like TRACE, but everything up to a backtrace belongs to it
    OOM = "oom"  # up to the line that names the victim
    LINE = "line"  # the line itself


@dataclass(frozen=True, slots=True)
class Recogniser:
    """A line that contains `needle` and matches `pattern` is of `kind`.

    The needle is what makes it fast: it is looked for in the whole log at once. The pattern is tried only on
    lines that contain it, and must not need more than that line.
    """

    kind: str
    severity: Severity
    needle: str
    pattern: re.Pattern[str]
    role: _Role = _Role.OPENS
    extent: _Extent = _Extent.TRACE


_CUT_HERE = "------------[ cut here ]------------"
_END_TRACE = "---[ end trace"
# Who may stand before `BUG:` and its like: `watchdog: `, `rcu: `, `[drm:foo] `; never a `#` of a test.
_WHO = r"^\s*(?:[\w./-]{1,40}: ){0,3}"


def _row(
    kind: str,
    severity: Severity,
    needle: str,
    pattern: str | None = None,
    role: _Role = _Role.OPENS,
    extent: _Extent = _Extent.TRACE,
) -> Recogniser:
    """`pattern` None: the needle stands at the start of the message, but for the name of a subsystem."""
    return Recogniser(kind, severity, needle, re.compile(pattern or _WHO + re.escape(needle)), role, extent)


_D, _S, _N = Severity.DIES, Severity.SPLAT, Severity.NOTE
_J, _R = _Role.JOINS, _Role.REFINES
_B, _L, _O = _Extent.BANNER, _Extent.LINE, _Extent.OOM

# The order matters where two rows match one line: the first wins.
RECOGNISERS: tuple[Recogniser, ...] = (
    _row("panic", _D, "Kernel panic - not syncing"),
    _row("kasan", _S, "BUG: KASAN:", extent=_B),
    _row("kfence", _S, "BUG: KFENCE:", extent=_B),
    _row("kcsan", _S, "BUG: KCSAN:", extent=_B),
    _row("kmsan", _S, "BUG: KMSAN:", extent=_B),
    _row("oops", _D, "BUG: kernel NULL pointer dereference"),
    _row("oops", _D, "BUG: unable to handle"),
    _row("oops", _D, "Unable to handle kernel"),
    _row("oops", _D, "stack guard page was hit", r"^BUG: \S+ stack guard page was hit"),
    _row("oops", _D, "PANIC: double fault"),
    _row("oops", _D, "general protection fault", r"^\s*(?:Oops: )?general protection fault\b", _J),
    _row("oops", _D, "Oops", r"^\s*(?:Internal error: )?Oops(?:\b| -)", _J),
    _row("oops", _D, "[#", r"^[\w ,/-]{1,60}: [0-9a-f]{4,16} \[#\d{1,9}\]", _J),
    _row("atomic-sleep", _S, "BUG: sleeping function called from invalid context"),
    _row("atomic-sleep", _S, "BUG: scheduling while atomic"),
    _row("atomic-sleep", _S, "BUG: assuming ", _WHO + r"BUG: assuming (?:atomic|non migratable) context"),
    _row("soft-lockup", _S, "BUG: soft lockup"),
    _row("hard-lockup", _D, "hard LOCKUP", r"^(?:NMI )?watchdog: (?:CPU\d+: )?Watchdog detected hard"),
    _row("workqueue-lockup", _S, "BUG: workqueue lockup"),
    _row("rcu-stall", _S, "stall", _WHO + r"INFO: \S{1,40} (?:self-detected|detected) (?:expedited )?stalls? on"),
    _row("hung-task", _S, "for more than", _WHO + r"INFO: task .{1,60} blocked\b.* for more than \d+ seconds"),
    _row("lockdep", _S, "possible circular locking dependency detected", extent=_B),
    _row("lockdep", _S, "possible recursive locking detected", extent=_B),
    _row("lockdep", _S, "possible irq lock inversion dependency detected", extent=_B),
    _row("lockdep", _S, "lock order detected", r"^WARNING: \S+-safe -> \S+-unsafe lock order detected", extent=_B),
    _row("lockdep", _S, "inconsistent lock state", r"^(?:WARNING|\[ INFO): inconsistent lock state", extent=_B),
    _row("lockdep", _S, "suspicious RCU usage", r"^(?:WARNING: |\[ INFO: )suspicious RCU usage", extent=_B),
    _row("lockdep", _S, "bad unlock balance detected", extent=_B),
    _row("lockdep", _S, "bad contention detected", extent=_B),
    _row("lockdep", _S, "Invalid wait context", r"^\[ BUG: Invalid wait context \]", extent=_B),
    _row("lockdep", _S, "held lock freed", extent=_B),
    _row("lockdep", _S, "still has locks held", r"^WARNING: .{1,60} still has locks held!", extent=_B),
    _row("lockdep", _S, "lock held when returning to user space", extent=_B),
    _row("lockdep", _S, "Nested lock was not taken", extent=_B),
    _row("lockdep", _S, "chain_key collision", extent=_B),
    _row("lockdep", _S, "INFO: trying to register non-static key", extent=_B),
    _row("lockdep", _S, "turning off the locking correctness validator", r"^turning off the", _J),
    _row("slab", _S, "BUG ", r"^BUG \S{1,80} \((?:Not t|T)ainted"),
    _row("bad-page", _S, "BUG: Bad page", _WHO + r"BUG: Bad page (?:state|map|cache) in process"),
    _row("bad-page", _S, "BUG: Bad rss-counter state", extent=_L),
    _row("bug", _D, "kernel BUG at ", r"^\s*kernel BUG at ", _J),
    _row("bug-message", _S, "BUG: "),
    _row("ubsan", _S, "UBSAN: ", r"^UBSAN: \S.* in \S+:\d+:\d+", _J),
    _row("refcount", _S, "refcount_t: ", r"^refcount_t: ", _R),
    _row("list-corruption", _S, "corruption", r"^(?:list|hlist|rb)_\w{2,20}(?: double add:)? corruption", _R),
    _row("dma-api", _S, "DMA-API: ", r"^DMA-API: ", _R),
    _row("warning", _S, "WARNING: ", r"^WARNING: (?:CPU: \d+ PID: \d+ at |\S+:\d+ at \S|at \S+\+0x)", _J),
    _row("page-alloc-failure", _N, "page allocation failure", r"^.{1,64}: page allocation failure: order:\d"),
    _row("oom", _N, "invoked oom-killer", r"^.{1,64} invoked oom-killer: ", extent=_O),
    _row("oom", _N, "ut of memory: Kill", r"^(?:Memory cgroup o|O)ut of memory: Kill(?:ed)? process \d", _J, _L),
    _row("kmemleak", _S, "new suspected memory leaks", r"^kmemleak: \d+ new suspected", extent=_L),
    _row("taint", _N, "due to kernel taint", r"due to kernel taint$", _J, _L),
    _row("taint", _N, "taints kernel", r"\btaints kernel\b", _J, _L),
    _row("taint", _N, "tainting kernel", r"\btainting kernel\b", _J, _L),
)

_SEVERITY = {row.kind: row.severity for row in RECOGNISERS}
_CUT = Recogniser("warning", Severity.SPLAT, _CUT_HERE, re.compile(re.escape(_CUT_HERE)))
_HEAD_WITHIN = 8  # lines from `cut here` to the headline: WARN's own message may stand between
_PATIENCE = 4  # foreign lines (another CPU, a test) that may stand inside a trace
_BANNER_MOST = 600  # lines of a lockdep report before its backtrace
_OOM_MOST = 6000  # a line for each task

_FUNCTION = re.compile(r"^\s*(?:\[<[0-9a-f]{8,16}>\] ?)?(\? )?([A-Za-z_][\w.$]{0,120})\+0x[0-9a-f]+/0x[0-9a-f]+")
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
    r"|stack backtrace:|other info that might|Rebooting in |Dumping ftrace|$)"
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


def severity(kind: str) -> Severity:
    """What an event of this kind means; an unknown kind is a splat, because nothing passes by default."""
    return _SEVERITY.get(kind, Severity.SPLAT)


def find_events(lines: Sequence[Line]) -> tuple[Event, ...]:
    """The events of a log in their order. Linear in the size, never raises.

    Lines with a printk time and lines without are looked at apart: what user space writes to the console in the
    middle of a trace is no part of it. Events of one kind of lines do not overlap.
    """
    stamped = [line for line in lines if line.time is not None]
    bare = lines if not stamped else [line for line in lines if line.time is None]
    return tuple(sorted(_events(stamped) + _events(bare), key=lambda event: event.span.first))


def _events(lines: Sequence[Line]) -> list[Event]:
    """The events in lines of one writer."""
    marks = _marks(lines)
    events: list[Event] = []
    free = 0
    for index in sorted(marks):
        row = marks[index]
        if index < free or row.role is _Role.REFINES:
            continue
        first = index
        if first > free and _EQUALS.match(lines[first - 1].text):
            first -= 1
        last = _swallow(lines, marks, index, row)
        events.append(_event(lines, marks, first, index, last, row))
        free = last + 1
    return events


def _marks(lines: Sequence[Line]) -> dict[int, Recogniser]:
    """Index of a line -> what it opens. Each needle is looked for once in the whole text."""
    text = "\n".join(line.text for line in lines)
    starts = [0, *accumulate(len(line.text) + 1 for line in lines)]
    marks: dict[int, Recogniser] = {}
    for row in (_CUT, *RECOGNISERS):
        at = text.find(row.needle)
        while at >= 0:
            index = bisect_right(starts, at) - 1
            if index not in marks and row.pattern.search(lines[index].text):
                marks[index] = row
            at = text.find(row.needle, starts[index + 1])
    return marks


def _swallow(lines: Sequence[Line], marks: dict[int, Recogniser], index: int, row: Recogniser) -> int:
    """The last line of the event that opens at `index`: the one place that knows how far a trace goes."""
    if row.extent is _Extent.LINE:
        return index
    last, foreign, ended = index, 0, False
    eager = {_Extent.BANNER: _BANNER_MOST, _Extent.OOM: _OOM_MOST}.get(row.extent, 0)
    if row is _CUT:
        eager = 2  # the message of a WARN and its headline
    # Linear: whatever is looked at is swallowed, but for the last few foreign lines.
    for at in range(index + 1, len(lines)):
        text, mark = lines[at].text, marks.get(at)
        if mark is not None and (mark.role is _Role.OPENS or (ended and mark.role is _Role.JOINS)):
            break
        if row.extent is _Extent.OOM and _VICTIM.search(text):
            return at
        if text.startswith(_END_TRACE):
            last, ended, foreign, eager = at, True, _PATIENCE, 0
            continue
        if mark is not None and mark.role is not _Role.OPENS and mark.extent is not _Extent.LINE:
            last, foreign = at, 0
            if row is _CUT:
                eager = 2  # 7.x prints the message after the headline
            continue
        if eager > 0 and not _is_test(text):
            last = at
            eager = 0 if row.extent is _Extent.BANNER and _BACKTRACE.match(text) else eager - 1
            continue
        if _TRACE.match(text) and not (ended and not text.strip()):
            last, foreign = (at if text.strip() else last), (foreign if ended else 0)
            continue
        foreign += 1
        if foreign > _PATIENCE:
            break
    return last


def _is_test(text: str) -> bool:
    """A line of a test's own protocol, which stands in a trace only by accident."""
    return text.lstrip().startswith(("ok ", "not ok ", "# ", "KTAP version"))


def _event(
    lines: Sequence[Line], marks: dict[int, Recogniser], first: int, index: int, last: int, row: Recogniser
) -> Event:
    """The event in lines first..last, which `row` opened at `index`."""
    kind, title = _headline(lines, marks, index, last, row)
    texts = [line.text for line in lines[first : last + 1]]
    return Event(
        kind=kind,
        title=title,
        fingerprint=fingerprint(kind, title, functions(texts)),
        span=Span(lines[first].number, lines[last].number),
        lines=tuple(texts[:MOST_EXCERPT]),
    )


def _headline(
    lines: Sequence[Line], marks: dict[int, Recogniser], index: int, last: int, row: Recogniser
) -> tuple[str, str]:
    """Kind and title of an event."""
    if row.extent is _Extent.OOM:
        return row.kind, _tidy(lines[last].text if last > index else lines[index].text)
    if row is not _CUT:
        return row.kind, _tidy(lines[index].text)
    kind, head, words = "", "", []
    for at in range(index + 1, min(last, index + _HEAD_WITHIN) + 1):
        mark, text = marks.get(at), lines[at].text
        if mark is not None and mark.role is _Role.JOINS and not head:
            kind, head = (kind or mark.kind), text
            if mark.kind == "bug":
                kind = mark.kind
        elif mark is not None and mark.role is _Role.REFINES and kind in ("", "warning"):
            kind = mark.kind
            words.append(text)
        elif _TRACE.match(text) or _is_test(text):
            if head:
                break
        else:
            words.append(text)
    said = " ".join(word.strip() for word in words[:2])
    if not head:
        return kind or _CUT.kind, _tidy(said) or "cut here, and nothing after it"
    return kind, _tidy(f"{_tidy(head)}: {said}" if said else head)


def _tidy(text: str) -> str:
    """A headline without what differs from boot to boot: offsets, CPU and task."""
    text = _CPU_WORDS.sub("", _OFFSET.sub("", text.strip()))
    text = _OLD_WARNING.sub(r"WARNING: \1 at ", text)
    return text[:_LONGEST_TITLE]


def functions(texts: Sequence[str]) -> tuple[str, ...]:
    """The functions of a trace that say where it was, innermost first, at most five."""
    names: list[str] = []
    for text in texts:
        at = _AT.search(text) if "+0x" in text else None
        match = _FUNCTION.match(text) if at is None else None
        if at is not None:
            name = at[1]
        elif match is not None and match[1] is None:
            name = match[2]
        else:
            continue
        name = _SUFFIX.sub("", name)
        if name not in names[-1:] and not _MACHINERY.match(name):
            names.append(name)
        if len(names) == _FRAMES:
            break
    return tuple(names)


def fingerprint(kind: str, title: str, names: Sequence[str]) -> str:
    """Twelve hex digits that another address, CPU, pid or line number does not change."""
    words = "\0".join((kind, _VOLATILE.sub("N", title), *names))
    return hashlib.sha1(words.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()[:12]
