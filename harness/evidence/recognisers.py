# SPDX-License-Identifier: GPL-2.0-only
"""The table of kernel messages that are events: what opens one, of which kind, and how its end is found."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache


class Severity(StrEnum):
    """What an event means for whatever was running."""

    DIES = "dies"  # the kernel, or the task in it, did not go on
    SPLAT = "splat"  # it went on, but something is wrong
    NOTE = "note"  # worth knowing, wrong only where somebody says so


class Role(StrEnum):
    """How a line behaves when an event is already open."""

    OPENS = "opens"  # always an event of its own
    JOINS = "joins"  # part of the open event, if one is open; else opens one
    FOLLOWS = "follows"  # part of the open event of another kind; opens one where there is none, or one of its own
    REFINES = "refines"  # only inside a `cut here` block, where it gives the kind


class Extent(StrEnum):
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
    source: str
    role: Role = Role.OPENS
    extent: Extent = Extent.TRACE

    @property
    def pattern(self) -> re.Pattern[str]:
        """Compiled when its needle is first found: a hundred of them would be a tenth of a start."""
        return _compiled(self.source)


@cache
def _compiled(source: str) -> re.Pattern[str]:
    return re.compile(source)


BLOCKED = "blocked-task"  # in what sysrq w and t print
CUT_HERE = "------------[ cut here ]------------"
# Who may stand before `BUG:` and its like: `watchdog: `, `NMI watchdog: `, `rcu: `; never a `#` of a test.
_WHO = r"^\s*(?:NMI (?=watchdog))?(?:[\w./-]{1,40}: ){0,3}"
# A headline of lockdep; up to 4.11 in brackets.
_LOCK = r"^(?:\[ )?(?:WARNING|BUG|INFO): "


def _row(
    kind: str,
    severity: Severity,
    needle: str,
    pattern: str | None = None,
    role: Role = Role.OPENS,
    extent: Extent = Extent.TRACE,
) -> Recogniser:
    """`pattern` None: the needle stands at the start of the message, but for the name of a subsystem."""
    return Recogniser(kind, severity, needle, pattern or _WHO + re.escape(needle), role, extent)


_OOM_KILL = (
    r"^(?:Memory cgroup o|O)ut of memory(?: \(\w+\))?: (?:Kill(?:ed)? process \d|OOM victim \d+ .* already exiting)"
)
_D, _S, _N = Severity.DIES, Severity.SPLAT, Severity.NOTE
_J, _R = Role.JOINS, Role.REFINES
_B, _L, _O = Extent.BANNER, Extent.LINE, Extent.OOM

# The order matters where two rows match one line: the first wins.
RECOGNISERS: tuple[Recogniser, ...] = (
    _row("panic", _D, "Kernel panic - not syncing"),
    _row("kasan", _S, "BUG: KASAN:", extent=_B),
    _row("kfence", _S, "BUG: KFENCE:", extent=_B),
    _row("kcsan", _S, "BUG: KCSAN:", extent=_B),
    _row("kmsan", _S, "BUG: KMSAN:", extent=_B),
    _row("oops", _D, "BUG: kernel NULL pointer dereference"),
    _row("oops", _D, "BUG: unable to handle"),
    _row("oops", _D, "Unable to handle kernel", r"^\s*(?:BUG: |CPU \d{1,5} |Alert: )?Unable to handle kernel"),
    _row("oops", _D, "ernel NULL pointer dereference", r"^\s*(?:BUG: )?[Kk]ernel NULL pointer dereference"),
    _row("oops", _D, "Kernel attempted to ", r"^\s*(?:BUG: )?Kernel attempted to (?:read|write|execute)", _J),
    _row("oops", _D, "Unhandled ", r"^Unhandled (?:fault|prefetch abort): .{1,80} \(?0x[0-9a-f]+"),
    _row("oops", _D, "Insufficient stack space to handle exception"),
    _row("oops", _D, "stack guard page was hit", r"^BUG: (?:\S+ )?stack guard page was hit"),
    _row("oops", _D, "PANIC: double fault"),
    _row("oops", _D, "general protection fault", r"^\s*(?:Oops: )?general protection fault\b", _J),
    _row("oops", _D, "Internal error: ", r"^\s*Internal error: (?:Oops\b|.{1,80} \[#\d{1,9}\])", _J),
    _row(
        "oops",
        _D,
        "Oops",
        r"^\s*Oops(?:: [0-9a-f]{4,16}\b|[^\n#]{0,120}\[#\d{1,9}\]| - [a-z]|: Exception in kernel)",
        _J,
    ),
    _row("oops", _D, "[#", r"^[\w ,/-]{1,60}: [0-9a-f]{4,16} \[#\d{1,9}\]", _J),
    _row("atomic-sleep", _S, "BUG: sleeping function called from invalid context"),
    _row("atomic-sleep", _S, "BUG: scheduling while atomic"),
    _row("atomic-sleep", _S, "BUG: assuming ", _WHO + r"BUG: assuming (?:atomic|non migratable) context"),
    _row("soft-lockup", _S, "BUG: soft lockup"),
    _row(
        "hard-lockup",
        _D,
        "hard LOCKUP",
        r"^(?:NMI )?(?:watchdog: )?(?:CPU ?\d+:? )?(?:Watchdog detected|self-detected|detected) hard LOCKUP",
    ),
    _row("workqueue-lockup", _S, "BUG: workqueue lockup"),
    _row("rcu-stall", _S, "INFO: ", _WHO + r"INFO: \S{1,40} (?:self-detected|detected) (?:expedited )?stalls? on"),
    _row("hung-task", _S, "INFO: task ", _WHO + r"INFO: task .{1,60}? can't die for more than \d+ seconds"),
    # The rest of it, where the name of the task has a line end in it.
    _row("hung-task", _S, " blocked for more than ", r"^(?!.*INFO: ).{0,40}:\d+ blocked for more than \d+ seconds"),
    _row("hung-task", _S, "INFO: task ", _WHO + r"INFO: task .{1,60}? blocked\b.* for more than \d+ seconds"),
    _row(BLOCKED, _N, "state:D", r"^task:.{1,60}? +state:D\b", Role.FOLLOWS),
    *(
        _row("lockdep", _S, needle, _LOCK + (pattern or re.escape(needle)), extent=_B)
        for needle, pattern in (
            ("possible circular locking dependency detected", ""),
            ("possible recursive locking detected", ""),
            ("possible irq lock inversion dependency detected", ""),
            ("lock order detected", r"\S+-safe -> \S+-unsafe lock order detected"),
            ("inconsistent lock state", ""),
            ("suspicious RCU usage", ""),
            ("bad unlock balance detected", ""),
            ("bad contention detected", ""),
            ("nvalid wait context", r"[Ii]nvalid wait context"),
            ("held lock freed", ""),
            ("still has locks held", r".{1,60} still has locks held!"),
            ("lock held when returning to user space", ""),
            ("ested lock was not taken", r"[Nn]ested lock was not taken"),
        )
    ),
    _row("lockdep", _S, "chain_key collision", extent=_B),
    _row("lockdep", _S, "INFO: trying to register non-static key", extent=_B),
    _row("lockdep", _S, "turning off the locking correctness validator", r"^turning off the", _J),
    # A line of KASAN's report, in kernels up to 4.7: its `BUG: KASAN:` stands before it.
    _row("slab", _S, "kasan: bad access detected", r"^BUG \S{1,80} \((?:Not t|T)ainted[^)]*\): kasan:", Role.REFINES),
    _row("slab", _S, "BUG ", r"^BUG \S{1,80} \((?:Not t|T)ainted"),
    _row("slab", _S, "INFO: ", r"^INFO: (?:(?:Freed|Allocated) in \S+ age=|Slab 0x[0-9a-f]+ )", _J),
    _row("bad-page", _S, "BUG: Bad page", _WHO + r"BUG: Bad page (?:state|map|cache) in process"),
    _row("bad-page", _S, "BUG: Bad rss-counter state", extent=_L),
    _row("lockdep", _S, "BUG: MAX_", _WHO + r"BUG: MAX_(?:LOCK|STACK)\w* too low"),
    _row("lockdep", _S, "has not been registered", r"^BUG: key \S+ has not been registered"),
    _row("spinlock", _S, "BUG: spinlock "),
    _row("spinlock", _S, "BUG: rwlock "),
    _row("bug", _D, "kernel BUG at ", r"^\s*kernel BUG at ", _J),
    # A tool's word for kmemleak's report, whose own headline follows.
    _row("kmemleak", _S, "BUG: memory leak", r"BUG: memory leak$", Role.REFINES),
    _row("bug-message", _S, "BUG: "),
    _row("ubsan", _S, "UBSAN: ", r"^UBSAN: \S.* in \S+:\d+:\d+", _J),
    _row("refcount", _S, "refcount_t: ", r"^refcount_t: ", _R),
    _row("list-corruption", _S, "corruption", r"^(?:list|hlist|rb)_\w{2,20}(?: double add:)? corruption", _R),
    _row("dma-api", _S, "DMA-API: ", r"^DMA-API: .*(?:out of memory|ENOMEM)", extent=_L),
    _row("dma-api", _S, "DMA-API: ", r"^DMA-API: ", _R),
    _row("warning", _S, "WARNING: ", r"^WARNING: (?:CPU: \d+ PID: \d+ at |\S+:\d+ at \S|at \S+(?:\+0x|:\d+ ))", _J),
    _row("warning", _S, "WARNING: kernel stack ", r"^WARNING: kernel stack .{1,80} has bad ", _J, _L),
    _row("refcount", _S, "unregister_netdevice: waiting for ", None, _J, _L),
    _row(
        "bug-message",
        _S,
        "VFS: ",
        r"^VFS: (?:Close: file count is (?:0|zero)|Busy inodes after unmount of )",
        extent=_L,
    ),
    _row("page-alloc-failure", _N, "page allocation failure", r"^.{1,64}: page allocation failure: order:\d"),
    _row("oom", _N, "invoked oom-killer", r"^.{1,64} invoked oom-killer: ", extent=_O),
    _row("page-alloc-failure", _N, "vmalloc error: ", r"^.{1,64}: vmalloc error: size \d"),
    _row("page-alloc-failure", _N, "SLUB: Unable to allocate memory", r"^SLUB: Unable to allocate memory on", _J),
    _row("oom", _N, "ut of memory", _OOM_KILL, _J, _L),
    _row("oom", _N, "Out of memory and no killable", r"^Out of memory and no killable process", _J, _L),
    _row("kmemleak", _S, "new suspected memory leaks", r"^kmemleak: \d+ new suspected", extent=_L),
    _row("kmemleak", _S, "unreferenced object 0x", r"^(?:kmemleak: )?unreferenced object 0x[0-9a-f]+ \(size \d"),
    _row("swap-error", _S, " swap file entry ", r"^\w{3,30}: (?:Bad|Unused) swap file entry ", extent=_L),
    _row("swap-error", _S, " swap offset entry ", r"^\w{3,30}: (?:Bad|Unused) swap offset entry ", extent=_L),
    _row("swap-error", _S, "-error on swap-device", r"^(?:Read|Write)-error on swap-device", extent=_L),
    _row("watchdog", _N, "watchdog did not stop", r"^watchdog: \S+: watchdog did not stop!", extent=_L),
    _row("watchdog", _N, "timekeeping watchdog", r"^clocksource: timekeeping watchdog on CPU\d+: Marking", extent=_L),
    _row("cpu-hog", _N, " hogged CPU for", r"^workqueue: \S+ .{0,40}hogged CPU for >\d+us", extent=_L),
    _row("taint", _N, "due to kernel taint", r"due to kernel taint$", _J, _L),
    _row("taint", _N, "taints kernel", r"\btaints kernel\b", _J, _L),
    _row("taint", _N, "tainting kernel", r"\btainting kernel\b", _J, _L),
)

SEVERITY = {row.kind: row.severity for row in RECOGNISERS}
# A block that a headline inside it names; without one it is a warning.
CUT = Recogniser("warning", Severity.SPLAT, CUT_HERE, re.escape(CUT_HERE))
