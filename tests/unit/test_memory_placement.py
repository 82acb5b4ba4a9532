# SPDX-License-Identifier: GPL-2.0-only
"""Where a kernel is in an image: one that was moved at boot, one that was not, and memory that says nothing."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.memory.placement import Placement, find_placement

MAP = 0xFFFF_FFFF_8000_0000
MIB = 1 << 20
LINKED = {
    "_text": MAP + 16 * MIB,
    "linux_banner": MAP + 24 * MIB + 0xD00,
    "level2_kernel_pgt": MAP + 25 * MIB,
    "cpu_number": 0x1F000,
}
NAME = b"Linux version 7.3.4 "
RAM = 256 * MIB


@dataclass
class Ram:
    """Physical memory with a kernel in it; what was not written is zero, as far as RAM goes."""

    parts: dict[int, bytes]

    def read(self, at: int, size: int) -> bytes:
        if at + size > RAM:
            return b""
        for start, data in self.parts.items():
            if start <= at and at + size <= start + len(data):
                return data[at - start : at - start + size]
        return bytes(size)


def kernel(moved: int, offset: int, *, split: bool = False) -> Ram:
    """16 MiB of kernel, `moved` in RAM and `offset` in its map; `split`: the banner's 2 MiB are pages of 4 KiB."""
    first = (16 * MIB + offset) // (2 * MIB)
    entries = [0] * 512
    for number in range(8):
        entries[first + number] = (16 * MIB + moved + number * 2 * MIB) | 0x1E3
    banner = 24 * MIB + 0xD00 + moved
    parts = {banner: NAME + b"(a@b)"}
    if split:
        table = 30 * MIB + moved
        entries[first + 4] = table | 0x63
        parts[table] = struct.pack("<512Q", *(24 * MIB + moved + page * 4096 | 0x63 for page in range(512)))
    parts[25 * MIB + moved] = struct.pack("<512Q", *entries)
    return Ram(parts)


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize(("moved", "offset"), [(0, 0), (100 * MIB, 0), (0, 500 * MIB), (200 * MIB, 900 * MIB)])
def test_a_kernel_is_found_where_it_went(moved: int, offset: int, split: bool) -> None:
    found = find_placement(LINKED, NAME, kernel(moved, offset, split=split).read, RAM)
    assert found == Placement(offset, moved - offset)


def test_names_move_with_it_and_numbers_do_not() -> None:
    found = Placement(4 * MIB, 0).symbols(LINKED)
    assert found["_text"] == LINKED["_text"] + 4 * MIB
    assert found["cpu_number"] == 0x1F000


def test_its_name_in_another_place_of_ram_is_not_it() -> None:
    ram = kernel(100 * MIB, 64 * MIB)
    ram.parts[24 * MIB + 0xD00 + 32 * MIB] = NAME  # a copy, with no page table to it
    assert find_placement(LINKED, NAME, ram.read, RAM) == Placement(64 * MIB, 36 * MIB)


@pytest.mark.parametrize("lost", ["banner", "table", "symbol"])
def test_what_is_not_there_is_not_found(lost: str) -> None:
    ram, linked = kernel(100 * MIB, 64 * MIB), dict(LINKED)
    if lost == "banner":
        ram = kernel(300 * MIB, 0)  # beyond RAM
    elif lost == "table":
        ram.parts[125 * MIB] = bytes(4096)
    else:
        del linked["level2_kernel_pgt"]
    assert find_placement(linked, NAME, ram.read, RAM) is None


def test_a_table_that_leads_elsewhere_is_not_believed() -> None:
    ram = kernel(100 * MIB, 64 * MIB)
    entries = bytearray(ram.parts[125 * MIB])
    entries[8 * 44 : 8 * 45] = struct.pack("<Q", (60 * MIB) | 0x1E3)  # that of the banner
    ram.parts[125 * MIB] = bytes(entries)
    assert find_placement(LINKED, NAME, ram.read, RAM) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=512, max_size=512), st.integers(0, 100))
def test_tables_of_noise_end_in_an_answer(entries: list[int], moved: int) -> None:
    ram = kernel(moved * 2 * MIB, 0)
    ram.parts[25 * MIB + moved * 2 * MIB] = struct.pack("<512Q", *entries)
    find_placement(LINKED, NAME, ram.read, RAM)
