# SPDX-License-Identifier: GPL-2.0-only
"""One line of an OOM report -> what it says. Which line belongs to which report is not known here.

Accepted form: kernels 4.9 to 7.x. A field that a kernel does not print is None; a field that is not known is
passed over. No pattern can take more than time linear in the line.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from harness.model.oom import (
    Amount,
    Charge,
    Constraint,
    FreeBlocks,
    FreeList,
    HugePages,
    Invoker,
    Kill,
    OomTask,
    Reaped,
    SlabCache,
)
from harness.model.units import KIB

INVOKED = " invoked oom-killer: "
# PAGE_COUNTER_MAX in KiB on 64 bits is just below 2^63 / 1024; nobody sets a limit of an exbibyte.
_NO_LIMIT = 1 << 60
_COMM = 15

_INVOKER = re.compile(r"(.{1,64}?) invoked oom-killer: ")
_GFP = re.compile(r"gfp_mask=(0x[0-9a-f]{1,16})(?:\(([\w|]{0,600})\)?)?")
_ORDER = re.compile(r"\border=(-?\d{1,9})")
_SCORE_ADJ = re.compile(r"\boom_score_adj[=:](-?\d{1,9})")
_NODEMASK = re.compile(r"\bnodemask=(\(null\)|[\d,-]{0,200}\d)")
_CPU = re.compile(r"CPU: (\d{1,6}) (?:UID: \d+ )?PID: (\d{1,10}) Comm: (.{0,64}?) (?:Not t|T)ainted")
_RELEASE = re.compile(r"(?:Not tainted|Tainted: [A-Z ]{1,80}) ?(\d{1,3}\.\d{1,4}[^\s#]{0,80})")
_CPUSET = re.compile(r"(.{1,64}?) cpuset=(.{0,4000}) mems_allowed=([\d,-]{1,400})$")
_KIND = re.compile(r"oom-kill:constraint=(?:CONSTRAINT_)?(\w{1,40})")
_CONSTRAINT = re.compile(
    r"oom-kill:constraint=(?:CONSTRAINT_)?(?P<kind>\w{1,40}),nodemask=(?P<nodemask>\(null\)|[\d,-]*\d|)"
    r"(?:,cpuset=(?P<cpuset>.{0,4000}?),mems_allowed=(?P<mems>[\d,-]*\d))?"
    r"(?:(?P<global>,global_oom)|,oom_memcg=(?P<oom>/.{0,4000}?))?(?:,task_memcg=(?P<of>/.{0,4000}?))?"
    r"(?:,task=(?P<task>.{0,64}),pid=(?P<pid>\d{1,10}),uid=(?P<uid>\d{1,10}))?$"
)
_OLD_MEMCG = re.compile(r"Task in (/.{0,4000}) killed as a result of limit of (/.{0,4000})$")
_KILLED = re.compile(r"(?:(.{1,80}): )?Killed process (\d{1,10}) \((.{0,64}?)\)(?=,? (?:total-vm|\w+:)|,|$)")
_OLD_KILL = re.compile(r"(.{1,80}): Kill process (\d{1,10}) \((.{0,64})\) score (-?\d{1,10}) or sacrifice child")
_TORN_KILL = re.compile(r"Kill(?:ed)? process \d{1,10} \([^)]{0,16}$")
_EXITING = re.compile(r"(.{1,80}): OOM victim (\d{1,10}) \((.{0,64})\) is already exiting")
_REAPED = re.compile(r"oom_reaper: reaped process (\d{1,10}) \((.{0,64})\)")
_NOT_REAPED = re.compile(r"oom_reaper: unable to reap pid:(\d{1,10}) \((.{0,64})\)")
_SIZE = re.compile(r"([\w()+-]{1,60}):(\d{1,18})[kK]B\b")
_FREE = re.compile(r"(\d{1,12})\*(\d{1,9})kB(?: \(([A-Z]{1,8})\))?")
_FREE_LIST = re.compile(r"(?:Node (\d{1,6}) )?([A-Z]\w{1,15}): (?=\d+\*\d+kB)(.{1,2000}?)= (\d{1,15})kB$")
_HUGE = re.compile(
    r"(?:Node (\d{1,6}) )?hugepages_total=(\d{1,15}) hugepages_free=(\d{1,15}) hugepages_surp=(\d{1,15}) "
    r"hugepages_size=(\d{1,15})kB$"
)
_CHARGE = re.compile(r"(memory|swap|memory\+swap|kmem): usage (\d{1,17})kB, limit (\d{1,17})kB, failcnt (\d{1,20})$")
_SLAB = re.compile(r"(\S.{0,60}?) +(\d{1,15})KB +(\d{1,15})KB$")
_ROW = re.compile(r"\[ *(\d{1,10})\]((?: +-?\d{1,20})+) (.{1,64})$")
_WHY = frozenset({"Out of memory", "Memory cgroup out of memory"})


class TaskRow(NamedTuple):
    """A row of the task table before the page size is known: `numbers` without the pid, and the name."""

    pid: int
    numbers: tuple[int, ...]
    comm: str


def parse_invoker(text: str) -> Invoker | None:
    """`COMM invoked oom-killer: gfp_mask=0x…(FLAGS), order=N, oom_score_adj=N`, cut anywhere behind the colon."""
    match = _INVOKER.match(text)
    if match is None:
        return None
    gfp, order, adj = _GFP.search(text), _ORDER.search(text), _SCORE_ADJ.search(text)
    return Invoker(
        comm=_without_prefix(match[1]),
        gfp_mask=int(gfp[1], 16) if gfp else None,
        gfp_flags=tuple(word for word in (gfp[2] or "").split("|") if word) if gfp else (),
        order=int(order[1]) if order else None,
        oom_score_adj=int(adj[1]) if adj else None,
    )


def _without_prefix(comm: str) -> str:
    """A task's name has at most 15 bytes: what is longer has something of the log's own before it."""
    if len(comm) <= _COMM:
        return comm
    return max(comm.rsplit(": ", 1)[-1], comm.rsplit("] ", 1)[-1], key=lambda rest: (len(rest) <= _COMM, -len(rest)))


def parse_nodemask(text: str) -> str:
    """The node mask that kernels up to 4.18 print with the invoker; empty without one."""
    match = _NODEMASK.search(text)
    return match[1] if match else ""


def parse_cpu(text: str) -> tuple[int, int, str] | None:
    """`CPU: 1 UID: 0 PID: 47 Comm: hog Not tainted 6.12.1 #1` -> CPU, pid, release."""
    match = _CPU.match(text)
    if match is None:
        return None
    release = _RELEASE.search(text)
    return int(match[1]), int(match[2]), release[1] if release else ""


def parse_cpuset(text: str) -> tuple[str, str] | None:
    """`COMM cpuset=/ mems_allowed=0`, kernels up to 5.0 -> cpuset, mems."""
    match = _CPUSET.match(text)
    return (match[2], match[3]) if match else None


def parse_constraint(text: str) -> Constraint | None:
    """`oom-kill:constraint=…`; names with commas in them do no harm, a cut line gives what it has."""
    match = _CONSTRAINT.match(text)
    if match is None:
        kind = _KIND.match(text)
        return Constraint(kind=kind[1]) if kind else None
    return Constraint(
        kind=match["kind"],
        nodemask=match["nodemask"],
        cpuset=match["cpuset"] or "",
        mems_allowed=match["mems"] or "",
        oom_memcg=match["oom"] or "",
        task_memcg=match["of"] or "",
        global_oom=match["global"] is not None,
        task=match["task"] or "",
        pid=int(match["pid"]) if match["pid"] else None,
        uid=int(match["uid"]) if match["uid"] else None,
    )


def parse_old_memcg(text: str) -> Constraint | None:
    """`Task in /a/b killed as a result of limit of /a`, kernels up to 4.20."""
    match = _OLD_MEMCG.match(text)
    return Constraint(kind="MEMCG", task_memcg=match[1], oom_memcg=match[2]) if match else None


def parse_kill(text: str, line: int) -> Kill | None:
    """`[WHY: ]Killed process PID (COMM) total-vm:…`."""
    match = _KILLED.match(text)
    if match is None or (match[1] is not None and not is_why(match[1])):
        return None
    sizes = dict(sizes_in(text[match.end() :]))
    uid = re.search(r"\bUID:(\d{1,10})", text)
    adj = _SCORE_ADJ.search(text)
    return Kill(
        pid=int(match[2]),
        comm=match[3],
        why=match[1] or "",
        line=line,
        uid=int(uid[1]) if uid else None,
        total_vm=sizes.get("total-vm"),
        anon_rss=sizes.get("anon-rss"),
        file_rss=sizes.get("file-rss"),
        shmem_rss=sizes.get("shmem-rss"),
        pgtables=sizes.get("pgtables"),
        oom_score_adj=int(adj[1]) if adj else None,
    )


def parse_old_kill(text: str, line: int) -> Kill | None:
    """`WHY: Kill process PID (COMM) score N or sacrifice child`, kernels up to 5.0; the deed is the next line."""
    match = _OLD_KILL.match(text)
    if match is None or not is_why(match[1]):
        return None
    return Kill(pid=int(match[2]), comm=match[3], why=match[1], line=line, score=int(match[4]))


def is_exiting(text: str) -> bool:
    """`WHY: OOM victim PID (COMM) is already exiting. Skip killing the task`."""
    match = _EXITING.match(text)
    return match is not None and is_why(match[1])


def is_why(text: str) -> bool:
    """What may stand before `: Killed process`; `Out of memory (oom_kill_allocating_task)` is one of them."""
    return text.split(" (", 1)[0] in _WHY


def is_torn(text: str) -> bool:
    """A line that ends within the name of a task: the name has a line end in it."""
    if "Kill" in text:
        return _TORN_KILL.search(text) is not None
    return text.startswith("oom-kill:constraint=") and ",task=" in text and ",uid=" not in text


def parse_reaped(text: str, line: int) -> Reaped | None:
    """A line of the oom_reaper about one process."""
    match = _REAPED.match(text)
    if match is None:
        match = _NOT_REAPED.match(text)
        return Reaped(int(match[1]), match[2], False, line) if match else None
    sizes = dict(sizes_in(text[match.end() :]))
    return Reaped(
        int(match[1]), match[2], True, line, sizes.get("anon-rss"), sizes.get("file-rss"), sizes.get("shmem-rss")
    )


def sizes_in(text: str) -> list[tuple[str, int]]:
    """`name:12kB other:3kB` -> names and bytes. The kernel once wrote KB, for reserved_highatomic."""
    return [(name, int(number) * KIB) for name, number in _SIZE.findall(text)]


def parse_free_list(text: str) -> FreeList | None:
    """`[Node N ]ZONE: 39*4kB (UM) … = 2436kB`."""
    match = _FREE_LIST.match(text)
    if match is None:
        return None
    blocks = tuple(
        FreeBlocks(int(size) * KIB, int(count), types or "") for count, size, types in _FREE.findall(match[3])
    )
    return FreeList(int(match[1]) if match[1] else None, match[2], blocks, int(match[4]) * KIB)


def parse_huge_pages(text: str) -> HugePages | None:
    """`[Node N ]hugepages_total=0 hugepages_free=0 hugepages_surp=0 hugepages_size=2048kB`."""
    match = _HUGE.match(text)
    if match is None:
        return None
    node = int(match[1]) if match[1] else None
    return HugePages(node, int(match[2]), int(match[3]), int(match[4]), int(match[5]) * KIB)


def parse_charge(text: str) -> Charge | None:
    """`memory: usage 24436kB, limit 24576kB, failcnt 90`."""
    match = _CHARGE.match(text)
    if match is None:
        return None
    limit = int(match[3]) * KIB
    return Charge(match[1], int(match[2]) * KIB, limit if limit < _NO_LIMIT else None, int(match[4]))


def parse_stat(text: str) -> list[Amount]:
    """A line of memory.stat: `anon 24854528`, or `cache:0KB rss:123KB …` of kernels up to 5.1."""
    words = text.split()
    if len(words) == 2 and words[1].isdecimal() and len(words[1]) <= 20 and re.fullmatch(r"[a-z]\w{2,60}", words[0]):
        return [Amount(words[0], int(words[1]))] if words[1].isascii() else []
    return [Amount(name, size) for name, size in sizes_in(text)]


def parse_slab(text: str) -> SlabCache | None:
    """`kmalloc-64   12KB   16KB`."""
    match = _SLAB.match(text)
    return SlabCache(match[1], int(match[2]) * KIB, int(match[3]) * KIB) if match else None


def parse_task_row(text: str) -> TaskRow | None:
    """`[   46]     0    46 …  sh`: names may have blanks, and may start with digits."""
    match = _ROW.match(text)
    if match is None:
        return None
    return TaskRow(int(match[1]), tuple(int(word) for word in match[2].split()), match[3])


def task_of(row: TaskRow, columns: tuple[str, ...], page_size: int) -> OomTask | None:
    """A row under its table's head. Without a head (the log is cut) the number of columns decides."""
    if not columns:
        columns = SPLIT_COLUMNS if len(row.numbers) >= len(SPLIT_COLUMNS) - 2 else PLAIN_COLUMNS
    names = columns[1:-1]
    if len(row.numbers) < len(names):
        return None
    numbers = dict(zip(names, row.numbers, strict=False))
    # A name like `7 zip` looks like one more number.
    comm = " ".join((*(str(number) for number in row.numbers[len(names) :]), row.comm))
    swap = numbers.get("swapents")

    def pages(name: str) -> int | None:
        value = numbers.get(name)
        return None if value is None else value * page_size

    return OomTask(
        pid=row.pid,
        uid=numbers.get("uid", 0),
        tgid=numbers.get("tgid", row.pid),
        comm=comm.strip(),
        total_vm=numbers.get("total_vm", 0) * page_size,
        rss=numbers.get("rss", 0) * page_size,
        rss_anon=pages("rss_anon"),
        rss_file=pages("rss_file"),
        rss_shmem=pages("rss_shmem"),
        pgtables=numbers.get("pgtables_bytes", pages("nr_ptes")),
        swap=None if swap is None else swap * page_size,
        oom_score_adj=numbers.get("oom_score_adj"),
    )


PLAIN_COLUMNS = ("pid", "uid", "tgid", "total_vm", "rss", "pgtables_bytes", "swapents", "oom_score_adj", "name")
SPLIT_COLUMNS = (*PLAIN_COLUMNS[:5], "rss_anon", "rss_file", "rss_shmem", *PLAIN_COLUMNS[5:])
