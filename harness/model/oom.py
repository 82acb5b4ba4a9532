# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel said when it ran out of memory: one report of the OOM killer, and what it means.

All sizes are bytes. What the log did not say (another version, a cut) is None or empty, never zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.model.span import Span


class OomEnding(StrEnum):
    """How a report ended."""

    KILLED = "killed"
    EXITING = "exiting"  # the victim was already on its way out and was left alone
    NO_VICTIM = "no-victim"  # nobody could be killed; the kernel panics of it unless a cgroup or sysrq asked
    PANIC = "panic"  # panic_on_oom
    UNKNOWN = "unknown"  # the log does not say


class OomClass(StrEnum):
    """What kind of OOM it was; several may hold at once."""

    EXPECTED_VICTIM = "expected-victim"  # who was killed was meant to be
    WRONG_VICTIM = "wrong-victim"
    NO_KILLABLE_PROCESS = "no-killable-process"
    PANIC = "panic"
    MEMCG = "memcg"
    CPUSET = "cpuset"
    MEMORY_POLICY = "memory-policy"
    HIGH_ORDER = "high-order"  # more than one page in a row was asked for
    MANUAL = "manual"  # sysrq f: says nothing about memory
    SWAP_TO_SPARE = "swap-to-spare"
    SHRINKABLE_LEFT = "shrinkable-left"


@dataclass(frozen=True, slots=True)
class Amount:
    """A named size, as the kernel names it (`active_anon`, `managed`, `gpu_active`)."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class OomNode:
    """A `Node N active_anon:…` line."""

    node: int
    amounts: tuple[Amount, ...] = ()
    all_unreclaimable: bool | None = None


@dataclass(frozen=True, slots=True)
class OomZone:
    """A zone with its watermarks. `node` is None where the kernel has but one and does not name it.

    `lowmem_reserve` is in pages, one for each zone of the node.
    """

    node: int | None
    name: str
    amounts: tuple[Amount, ...] = ()
    lowmem_reserve: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class FreeBlocks:
    """The free blocks of one size. `types` are the letters of the migrate types (U, M, E, H, C, I)."""

    size: int
    count: int
    types: str = ""


@dataclass(frozen=True, slots=True)
class FreeList:
    """A free-list line of a zone, smallest block first, so that the index is the order."""

    node: int | None
    zone: str
    blocks: tuple[FreeBlocks, ...]
    total: int


@dataclass(frozen=True, slots=True)
class HugePages:
    """A line of hugetlb; the three are numbers of pages of `size` bytes."""

    node: int | None
    total: int
    free: int
    surplus: int
    size: int


@dataclass(frozen=True, slots=True)
class MemInfo:
    """The Mem-Info block. `totals` are the sums over all nodes that stand at its head."""

    totals: tuple[Amount, ...] = ()
    nodes: tuple[OomNode, ...] = ()
    zones: tuple[OomZone, ...] = ()
    free_lists: tuple[FreeList, ...] = ()
    huge_pages: tuple[HugePages, ...] = ()
    pagecache: int | None = None
    swap_cache: int | None = None
    swap_free: int | None = None
    swap_total: int | None = None
    ram: int | None = None
    highmem: int | None = None
    reserved: int | None = None
    cma_reserved: int | None = None
    hwpoisoned: int | None = None

    def total(self, name: str) -> int | None:
        """One amount of the whole machine, from wherever it stands: the head, the nodes, the zones."""
        head = next((amount.size for amount in self.totals if amount.name == name), None)
        if head is not None:
            return head
        nodes = self.on_nodes(name)
        return self.in_zones(name) if nodes is None else nodes

    def in_zones(self, name: str) -> int | None:
        """The sum of one amount over all zones; None where no zone has it."""
        sizes = [amount.size for zone in self.zones for amount in zone.amounts if amount.name == name]
        return sum(sizes) if sizes else None

    def on_nodes(self, name: str) -> int | None:
        """The sum of one amount over all nodes; None where no node has it."""
        sizes = [amount.size for node in self.nodes for amount in node.amounts if amount.name == name]
        return sum(sizes) if sizes else None


@dataclass(frozen=True, slots=True)
class Charge:
    """A counter of a memory cgroup: `memory`, `swap`, `memory+swap` or `kmem`. `limit` is None for no limit."""

    name: str
    usage: int
    limit: int | None
    failures: int


@dataclass(frozen=True, slots=True)
class MemcgInfo:
    """What is printed in the place of Mem-Info when a cgroup is at its limit. `stat` is its memory.stat.

    The values of `stat` are as the kernel prints them: bytes for memory, plain numbers for events (`pgfault`).
    """

    path: str = ""
    charges: tuple[Charge, ...] = ()
    stat: tuple[Amount, ...] = ()

    def charge(self, name: str) -> Charge | None:
        """The counter of that name."""
        return next((charge for charge in self.charges if charge.name == name), None)


@dataclass(frozen=True, slots=True)
class SlabCache:
    name: str
    used: int
    total: int


@dataclass(frozen=True, slots=True)
class OomTask:
    """A row of the task table. Only newer kernels split the rss."""

    pid: int
    uid: int
    tgid: int
    comm: str
    total_vm: int
    rss: int
    rss_anon: int | None = None
    rss_file: int | None = None
    rss_shmem: int | None = None
    pgtables: int | None = None
    swap: int | None = None
    oom_score_adj: int | None = None


@dataclass(frozen=True, slots=True)
class Kill:
    """A `Killed process` line. `why` is what stood before it; `score` is of kernels up to 5.0.

    `line` is the line of the log, counted from 1.
    """

    pid: int
    comm: str
    why: str
    line: int
    uid: int | None = None
    total_vm: int | None = None
    anon_rss: int | None = None
    file_rss: int | None = None
    shmem_rss: int | None = None
    pgtables: int | None = None
    oom_score_adj: int | None = None
    score: int | None = None

    @property
    def rss(self) -> int | None:
        """The resident size, as far as the line told."""
        parts = [part for part in (self.anon_rss, self.file_rss, self.shmem_rss) if part is not None]
        return sum(parts) if parts else None


@dataclass(frozen=True, slots=True)
class Reaped:
    """A line of the oom_reaper; `able` is False when it gave up."""

    pid: int
    comm: str
    able: bool
    line: int
    anon_rss: int | None = None
    file_rss: int | None = None
    shmem_rss: int | None = None


@dataclass(frozen=True, slots=True)
class Invoker:
    """Who asked for memory, and for what."""

    comm: str = ""
    pid: int | None = None
    cpu: int | None = None
    gfp_mask: int | None = None
    gfp_flags: tuple[str, ...] = ()
    order: int | None = None
    oom_score_adj: int | None = None


@dataclass(frozen=True, slots=True)
class Constraint:
    """The `oom-kill:constraint=…` line, or what older kernels print in its place.

    `kind` is the kernel's word without its CONSTRAINT_: NONE, CPUSET, MEMORY_POLICY, MEMCG; empty when not known.
    """

    kind: str = ""
    nodemask: str = ""
    cpuset: str = ""
    mems_allowed: str = ""
    oom_memcg: str = ""
    task_memcg: str = ""
    global_oom: bool = False
    task: str = ""
    pid: int | None = None
    uid: int | None = None


@dataclass(frozen=True, slots=True)
class OomReport:
    """One report, from the line that says who invoked the OOM killer to the line that says what came of it.

    `complete` is False when one of these two was not seen: the log is cut, or the kernel limited the rate and
    printed the victim alone. `group` is the cgroup that was killed as a whole (memory.oom.group). `panic` is the
    kernel's sentence if it died of it. `page_size` is 4096 unless the free lists say otherwise.
    """

    span: Span
    complete: bool
    ending: OomEnding
    time: float | None = None
    release: str = ""
    invoker: Invoker = Invoker()
    constraint: Constraint = Constraint()
    functions: tuple[str, ...] = ()
    memory: MemInfo = MemInfo()
    memcg: MemcgInfo | None = None
    slabs: tuple[SlabCache, ...] = ()
    tasks: tuple[OomTask, ...] = ()
    kills: tuple[Kill, ...] = ()
    reaped: tuple[Reaped, ...] = ()
    group: str = ""
    panic: str = ""
    page_size: int = 4096

    @property
    def victim(self) -> Kill | None:
        """Who was killed first."""
        return self.kills[0] if self.kills else None

    @property
    def in_memcg(self) -> bool:
        return self.constraint.kind == "MEMCG" or self.memcg is not None or bool(self.constraint.oom_memcg)


@dataclass(frozen=True, slots=True)
class Oom:
    """A report and what it means. `swap_free` is what the one who asked could have used; `shrinkable` is what the
    shrinkers still held. None: the log does not say. `fingerprint` survives another boot."""

    report: OomReport
    classes: tuple[OomClass, ...]
    sentence: str
    fingerprint: str
    swap_free: int | None
    shrinkable: int | None
