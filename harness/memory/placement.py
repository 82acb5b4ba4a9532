# SPDX-License-Identifier: GPL-2.0-only
"""Where a kernel of x86-64 put itself at boot, told by its memory alone. Pure.

With CONFIG_RANDOMIZE_BASE it goes to an address of its own in RAM, and to another one in its map. The kernel would
say both in VMCOREINFO; ours have none. The name of the kernel in RAM tells the first: it is as far from its place as
all else is. The page table of the kernel's own map, which has that place in RAM now, tells the second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

_MAP = 0xFFFF_FFFF_8000_0000  # __START_KERNEL_map: what is here is at 0 of RAM, in a kernel that nobody moved
_ALIGNED = 2 << 20  # CONFIG_PHYSICAL_ALIGN is this at least
_PAGE = 4096
_PRESENT, _LARGE = 1, 1 << 7  # bits of an entry
_PLACE = 0x000F_FFFF_FFFF_F000  # of an entry, what is an address
_TABLE = "level2_kernel_pgt"  # its 512 entries, of 2 MiB each, are the map from its beginning on

ReadPhysical = Callable[[int, int], bytes]  # address, size; nothing where there is no memory


@dataclass(frozen=True, slots=True)
class Placement:
    """`offset` is between where names are and where the System.map has them; `phys_base` is the kernel's own word for
    where in RAM its map begins.
    """

    offset: int
    phys_base: int

    def symbols(self, linked: Mapping[str, int]) -> dict[str, int]:
        """Where the names are. Numbers that are below the map are no places of it (per-CPU offsets)."""
        return {name: at + self.offset if at >= _MAP else at for name, at in linked.items()}


def find_placement(linked: Mapping[str, int], name: bytes, read: ReadPhysical, most: int) -> Placement | None:
    """Of the kernel that says `name` at its linux_banner, in RAM that ends at `most`. None where it is not there."""
    try:
        banner, table, text = (linked[one] - _MAP for one in ("linux_banner", _TABLE, "_text"))
    except KeyError:
        return None
    for moved in range(0, most, _ALIGNED):
        if read(banner + moved, len(name)) != name:
            continue
        entries = _entries(read(table + moved, _PAGE))
        first = next((number for number, one in enumerate(entries) if one & _PRESENT), 0)
        offset = (first - text // _ALIGNED) * _ALIGNED  # of entries before the kernel's text none is there
        if offset >= 0 and _in_ram(entries, banner + offset, read) == banner + moved:
            return Placement(offset, moved - offset)
    return None


def _in_ram(entries: tuple[int, ...], at: int, read: ReadPhysical) -> int:
    """Where something of the map is in RAM, by its page table; -1 where that says nothing."""
    number = at // _ALIGNED
    entry = entries[number] if number < len(entries) else 0
    if not entry & _PRESENT:
        return -1
    if entry & _LARGE:
        return (entry & _PLACE & -_ALIGNED) + at % _ALIGNED
    page = _entries(read(entry & _PLACE, _PAGE))[at % _ALIGNED // _PAGE :][:1]
    return (page[0] & _PLACE) + at % _PAGE if page and page[0] & _PRESENT else -1


def _entries(page: bytes) -> tuple[int, ...]:
    return tuple(memoryview(page).cast("Q")) if len(page) == _PAGE else ()
