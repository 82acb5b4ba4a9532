# SPDX-License-Identifier: GPL-2.0-only
"""An OOM report -> where the memory was, in parts that do not overlap."""

from __future__ import annotations

from harness.model.oom import MemcgInfo, MemInfo, OomReport
from harness.model.scenario import MemoryShares


def ledger_of(report: OomReport) -> MemoryShares:
    """Of the whole machine, or of the cgroup that was at its limit: then `managed` is the limit."""
    if report.memcg is not None and not report.memory.zones and not report.memory.totals:
        return _of_group(report.memcg)
    return _of_machine(report.memory)


def _sum(memory: MemInfo, *names: str) -> int | None:
    """The amounts that there are; None where there is none of them."""
    told = [size for size in map(memory.total, names) if size is not None]
    return sum(told) if told else None


def _of_machine(memory: MemInfo) -> MemoryShares:
    managed = _managed(memory)
    free = _sum(memory, "free", "free_pcp")
    on_anon = _sum(memory, "active_anon", "inactive_anon", "isolated_anon", "isolated(anon)")
    shmem, locked = memory.total("shmem"), memory.total("unevictable")
    anon = None if on_anon is None else max(0, on_anon - (shmem or 0))
    # Shared memory lies on the lists of anonymous memory; what does not fit there is locked.
    if locked is not None and on_anon is not None and shmem is not None:
        locked = max(0, locked - max(0, shmem - on_anon))
    file = _sum(memory, "active_file", "inactive_file", "isolated_file", "isolated(file)")
    slab = _sum(memory, "slab_reclaimable", "slab_unreclaimable", "kernel_misc_reclaimable")
    kernel = _sum(memory, "pagetables", "sec_pagetables", "kernel_stack")
    gpu = _sum(memory, "gpu_active", "gpu_reclaim")
    huge = sum(one.total * one.size for one in memory.huge_pages) if memory.huge_pages else None
    parts = (free, anon, shmem, locked, file, slab, kernel, gpu, huge)
    accounted = sum(part for part in parts if part is not None)
    unaccounted = None
    if managed is None and None not in (free, on_anon, file):
        managed = accounted  # at least
    elif managed is not None and None not in (free, on_anon, file, slab):
        unaccounted = max(0, managed - accounted)
    boost = memory.in_zones("boost") or 0
    low_mark, high_mark = memory.in_zones("low"), memory.in_zones("high")
    least = memory.in_zones("min")
    return MemoryShares(
        managed=managed,
        free=free,
        anon=anon,
        file=file,
        shmem=shmem,
        unevictable=locked,
        slab=slab,
        kernel=kernel,
        gpu=gpu,
        huge=huge,
        unaccounted=unaccounted,
        min=None if least is None else max(0, least - boost),
        low=None if low_mark is None else max(0, low_mark - boost),
        high=None if high_mark is None else max(0, high_mark - boost),
        swap_total=memory.swap_total,
        swap_free=memory.swap_free,
    )


def _managed(memory: MemInfo) -> int | None:
    """What the page allocator had."""
    zones = memory.in_zones("managed")
    if memory.ram is None:
        return zones
    # Where the first zones are cut off, their sum is not the whole.
    return max(memory.ram - (memory.reserved or 0), zones or 0) or None


def _of_group(group: MemcgInfo) -> MemoryShares:
    """The stat of cgroup v2, or of v1, whose names differ."""
    stat = {amount.name: amount.size for amount in group.stat}

    def first(*names: str) -> int | None:
        return next((stat[name] for name in names if name in stat), None)

    memory, swap = group.charge("memory"), group.charge("swap")
    # Without a limit of its own it was the limit of one above, which has more; a cut report leaves the parts.
    limit = (memory.limit or memory.usage) if memory is not None else None
    shmem, file = first("shmem"), first("file", "cache")
    anon = first("anon", "rss")
    slab = first("slab")
    if slab is None and "slab_unreclaimable" in stat:
        slab = stat["slab_unreclaimable"] + stat.get("slab_reclaimable", 0)
    kernel = [stat[name] for name in ("kernel_stack", "pagetables", "sec_pagetables") if name in stat]
    parts = (anon, file, slab, *kernel)
    return MemoryShares(
        managed=limit or sum(part for part in parts if part is not None) or None,
        free=None if limit is None or memory is None else max(0, limit - memory.usage),
        anon=anon,
        file=None if file is None else max(0, file - (shmem or 0)),
        shmem=shmem,
        unevictable=first("unevictable"),
        slab=slab,
        kernel=sum(kernel) if kernel else None,
        swap_total=None if swap is None else swap.limit,
        swap_free=None if swap is None or swap.limit is None else max(0, swap.limit - swap.usage),
    )
