# SPDX-License-Identifier: GPL-2.0-only
"""The blocks of an OOM report while they are read: Mem-Info, cgroup, slabs, tasks.

Each takes a line and says whether it was one of its own. A name that comes a second time in one report is
another report's, or a failed allocation's that broke in: the first one stands.
"""

from __future__ import annotations

import re

from harness.evidence.oom_grammar import (
    TaskRow,
    parse_charge,
    parse_free_list,
    parse_huge_pages,
    parse_slab,
    parse_stat,
    parse_task_row,
    sizes_in,
    task_of,
)
from harness.model.oom import (
    Amount,
    Charge,
    FreeList,
    HugePages,
    MemcgInfo,
    MemInfo,
    OomNode,
    OomTask,
    OomZone,
    SlabCache,
)
from harness.model.units import KIB

_PAGE_SIZES = (4 * KIB, 16 * KIB, 64 * KIB)
_MOST = 20000  # rows of one block; no machine has more tasks in a log that anybody keeps

_TOTAL = re.compile(r"([a-z_]{3,40}):(\d{1,18})(?= |$)")
_TOTALS = re.compile(r" ?[a-z_]{3,40}:\d{1,18}(?: [a-z_]{3,40}:\d{1,18})*\s*$")
_NODE = re.compile(r"Node (\d{1,6}) (?=active_anon:\d)")
_ZONE = re.compile(r"(?:Node (\d{1,6}) )?([A-Z]\w{1,15}) (?=free:\d{1,18}kB)")
_UNRECLAIMABLE = re.compile(r"all_unreclaimable\? (yes|no)\b")
_RESERVE = re.compile(r"lowmem_reserve\[\]:((?: +-?\d{1,18})*)\s*$")
_PAGES = re.compile(r"(\d{1,18}) (total pagecache pages|pages in swap cache|pages RAM|pages reserved)$")
_OTHER_PAGES = re.compile(r"(\d{1,18}) (pages HighMem/MovableOnly|pages cma reserved|pages hwpoisoned)$")
_SWAP = re.compile(r"(Free|Total) swap {1,4}= {0,4}(-?\d{1,18})kB$")
_STATS_FOR = re.compile(r"Memory cgroup stats for (/.{0,4000}?):(.{0,4000})$")
_HEAD = re.compile(r"\[ *pid *\] +uid +tgid +total_vm +rss +[\w ]{1,120}\bname$")
_FIELDS = {
    "total pagecache pages": "pagecache",
    "pages in swap cache": "swap_cache",
    "pages RAM": "ram",
    "pages reserved": "reserved",
    "pages HighMem/MovableOnly": "highmem",
    "pages cma reserved": "cma_reserved",
    "pages hwpoisoned": "hwpoisoned",
}


def _amounts(text: str) -> tuple[Amount, ...]:
    return tuple(Amount(name, size) for name, size in sizes_in(text))


class MemBlock:
    """From `Mem-Info:` to `pages reserved`."""

    def __init__(self) -> None:
        self._smallest = 0  # free block
        self._totals: dict[str, int] = {}
        self._nodes: dict[int, OomNode] = {}
        self._zones: dict[tuple[int | None, str], OomZone] = {}
        self._lists: dict[tuple[int | None, str], FreeList] = {}
        self._huge: list[HugePages] = []
        self._pages: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        self._last: tuple[int | None, str] | None = None  # the zone whose reserve comes next

    def take(self, text: str) -> bool:
        """One line; False if it is none of this block. The first letter says which of the forms it may have, however
        far the line is indented: some who pass a log on do that to those of a node.
        """
        bare = text.lstrip(" \t")
        first = bare[:1]
        if first.isupper():
            return self._take_zone(bare) or self._take_node(bare) or self._take_sizes(bare)
        if first.isdecimal():
            return self._take_pages(bare)
        return self._take_totals(text) or self._take_reserve(text) or self._take_sizes(text)

    @property
    def page_size(self) -> int:
        """That of the smallest free block; without the free lists, what is free in pages and in kB tells."""
        zones = sum(one.size for zone in self._zones.values() for one in zone.amounts if one.name == "free")
        pages = self._totals.get("free", 0)
        likely = (size for size in _PAGE_SIZES if zones and abs(pages * size - zones) <= zones // 4)
        return self._smallest or next(likely, _PAGE_SIZES[0])

    def _take_pages(self, text: str) -> bool:
        """The lines behind the free lists, in pages."""
        match = _PAGES.match(text) or _OTHER_PAGES.match(text)
        if match is not None:
            self._pages.setdefault(_FIELDS[match[2]], int(match[1]))
        return match is not None

    def _take_sizes(self, text: str) -> bool:
        """The lines behind the free lists, in kB."""
        match = _SWAP.match(text)
        if match is not None:
            self._sizes.setdefault("swap_free" if match[1] == "Free" else "swap_total", int(match[2]) * KIB)
            return True
        huge = parse_huge_pages(text) if "hugepages_" in text else None
        if huge is not None and len(self._huge) < _MOST:
            self._huge.append(huge)
        return huge is not None

    def _take_zone(self, text: str) -> bool:
        """A zone, or its free list."""
        match = _ZONE.match(text)
        if match is not None:
            key = (int(match[1]) if match[1] else None, match[2])
            self._last = None if key in self._zones else key
            self._zones.setdefault(key, OomZone(key[0], key[1], _amounts(text[match.end() :])))
            return True
        free = parse_free_list(text) if "*" in text else None
        if free is None:
            return False
        if not self._lists and free.blocks and free.blocks[0].size:
            self._smallest = free.blocks[0].size
        self._lists.setdefault((free.node, free.zone), free)
        return True

    def _take_reserve(self, text: str) -> bool:
        """`lowmem_reserve[]: 0 0 0`, of the zone before it."""
        match = _RESERVE.match(text) if text.startswith("lowmem_") else None
        if match is not None and self._last is not None:
            zone = self._zones[self._last]
            pages = tuple(int(word) for word in match[1].split())
            self._zones[self._last] = OomZone(zone.node, zone.name, zone.amounts, pages)
            self._last = None
        return match is not None

    def _take_node(self, text: str) -> bool:
        match = _NODE.match(text)
        if match is None:
            return False
        said = _UNRECLAIMABLE.search(text)
        node = OomNode(int(match[1]), _amounts(text[match.end() :]), None if said is None else said[1] == "yes")
        self._nodes.setdefault(node.node, node)
        return True

    def _take_totals(self, text: str) -> bool:
        """`active_anon:2 …` and the indented lines that follow it, in pages."""
        if ":" not in text or _TOTALS.match(text) is None:
            return False
        if not self._totals and "anon:" not in text:
            return False
        for name, number in _TOTAL.findall(text):
            self._totals.setdefault(name, int(number))
        return True

    def result(self) -> MemInfo:
        """All of it, in bytes."""
        size = self.page_size
        pages = {name: count * size for name, count in self._pages.items()}
        return MemInfo(
            totals=tuple(Amount(name, count * size) for name, count in self._totals.items()),
            nodes=tuple(self._nodes.values()),
            zones=tuple(self._zones.values()),
            free_lists=tuple(self._lists.values()),
            huge_pages=tuple(self._huge),
            pagecache=pages.get("pagecache"),
            swap_cache=pages.get("swap_cache"),
            swap_free=self._sizes.get("swap_free"),
            swap_total=self._sizes.get("swap_total"),
            ram=pages.get("ram"),
            highmem=pages.get("highmem"),
            reserved=pages.get("reserved"),
            cma_reserved=pages.get("cma_reserved"),
            hwpoisoned=pages.get("hwpoisoned"),
        )


class MemcgBlock:
    """The counters of the cgroup at its limit, and its memory.stat."""

    def __init__(self) -> None:
        self._path = ""
        self._charges: dict[str, Charge] = {}
        self._stat: dict[str, int] = {}
        self._open = False

    def take(self, text: str) -> bool:
        """One line; False if it is none of this block."""
        charge = parse_charge(text) if ": usage " in text else None
        if charge is not None:
            self._charges.setdefault(charge.name, charge)
            return True
        match = _STATS_FOR.match(text) if text.startswith("Memory cgroup stats") else None
        if match is not None:
            # Up to 5.1 each descendant has a line of its own behind that of the cgroup at its limit.
            if not self._path:
                self._path, self._open = match[1], True
                self._add(match[2])
            return True
        return self._open and self._add(text)

    def close(self) -> None:
        """What follows is another block."""
        self._open = False

    def _add(self, text: str) -> bool:
        amounts = parse_stat(text)
        for amount in amounts:
            self._stat.setdefault(amount.name, amount.size)
        return bool(amounts)

    def result(self) -> MemcgInfo | None:
        if not self._path and not self._charges:
            return None
        stat = tuple(Amount(name, value) for name, value in self._stat.items())
        return MemcgInfo(self._path, tuple(self._charges.values()), stat)


class TaskBlock:
    """The task table, whichever columns it has, and the listing of slabs before it."""

    def __init__(self) -> None:
        self._columns: tuple[str, ...] = ()
        self._rows: dict[int, TaskRow] = {}
        self._slabs: dict[str, SlabCache] = {}

    def take(self, text: str) -> bool:
        """One line; False if it is none of this block."""
        if text.startswith("["):
            if _HEAD.match(text):
                self._columns = self._columns or tuple(text.replace("[", " ").replace("]", " ").split())
                return True
            row = parse_task_row(text)
            if row is not None and len(row.numbers) >= 5:
                if len(self._rows) < _MOST:
                    self._rows.setdefault(row.pid, row)
                return True
            return False
        if not text.endswith("KB"):
            return False
        slab = parse_slab(text)
        if slab is None:
            return False
        if len(self._slabs) < _MOST:
            self._slabs.setdefault(slab.name, slab)
        return True

    def tasks(self, page_size: int) -> tuple[OomTask, ...]:
        rows = (task_of(row, self._columns, page_size) for row in self._rows.values())
        return tuple(task for task in rows if task is not None)

    def slabs(self) -> tuple[SlabCache, ...]:
        return tuple(self._slabs.values())
