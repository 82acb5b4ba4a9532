# SPDX-License-Identifier: GPL-2.0-only
"""What is said of TTM in a memory image: what belongs on which list, the text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.model.memory import SCHEMA, Memory
from harness.reports.memory import MOST_LINES, short_lines, text
from harness.subjects.ttm.memory.places import wrong_cursor, wrong_object
from harness.subjects.ttm.memory.values import (
    BufferObject,
    BulkMove,
    Cursor,
    LruList,
    Manager,
    PageVector,
    Place,
    Pool,
    Stretch,
    Ttm,
    TtmDevice,
)
from harness.subjects.ttm.memory.words import part_of

CURSOR = Cursor(0x100, 1, 0, 0xB)
VECTOR = PageVector(("ZERO_ALLOC", "POPULATED"), "cached", 8, 8, 0)
OUT = PageVector(("ZERO_ALLOC", "BACKED_UP"), "cached", 8, 0, 8)
OBJECT = BufferObject(0x200, 32768, 1, 0, 0, False, 0xB, VECTOR)


class TestPlaces:
    def test_a_walk_on_its_own_list(self) -> None:
        assert wrong_cursor(CURSOR, 1, 0) == ""

    @pytest.mark.parametrize(
        ("memory", "priority", "why"),
        [
            (-1, 0, "a walk along memory 1 stands on a list that no walk may go along"),
            (2, 0, "a walk along memory 1 stands on a list of memory 2"),
            (1, 3, "a walk at priority 0 stands on the list of priority 3"),
        ],
    )
    def test_a_walk_on_another_list(self, memory: int, priority: int, why: str) -> None:
        assert wrong_cursor(CURSOR, memory, priority) == why

    @pytest.mark.parametrize(
        ("found", "memory", "priority", "own", "why"),
        [
            (OBJECT, 1, 0, True, ""),
            (replace(OBJECT, vector=OUT), -1, 0, True, ""),
            (replace(OBJECT, pins=1), -1, 0, True, ""),
            (OBJECT, -1, 0, False, ""),
            (OBJECT, -1, 0, True, "it is neither pinned nor out, and no walk sees it here"),
            (OBJECT, 2, 0, True, "it lies in memory 1"),
            (OBJECT, 1, 2, True, "its priority is 0"),
            (replace(OBJECT, vector=OUT), 1, 0, True, "it is pinned or out, and a walk sees it here"),
            (replace(OBJECT, vector=OUT), 1, 0, False, ""),
        ],
    )
    def test_an_object(self, found: BufferObject, memory: int, priority: int, own: bool, why: str) -> None:
        assert wrong_object(found, memory, priority, own=own, moved_late=False) == why

    def test_older_kernels_leave_what_is_pinned_where_it_is(self) -> None:
        assert wrong_object(replace(OBJECT, pins=1), 1, 0, own=True, moved_late=True) == ""
        assert wrong_object(OBJECT, -1, 0, own=True, moved_late=True) == ""


WRONG = "a walk along memory 1 stands on a list that no walk may go along"
DEVICE = TtmDevice(
    address=0x1000,
    name="tp_funcs",
    managers=(Manager(1, "ttm_range_manager_func", True, 4 << 20, 65536),),
    lists=(
        LruList(
            "memory 1, priority 0", 1, 0, (Place(0x11, replace(OBJECT, owner="sh (pid 9)", waiters=("x (pid 3)",))),)
        ),
        LruList("memory 1, priority 1", 1, 1, ()),
        LruList("unevictable", -1, 0, (Place(0x12, cursor=CURSOR, wrong=WRONG),), "the list is torn"),
    ),
    bulk_moves=(BulkMove(0xB, 1, (), (CURSOR,)), BulkMove(0xC, 1, (Stretch(1, 0, 0x5, 0x6),))),
)
TTM = Ttm(
    devices=(DEVICE,),
    objects=2,
    pools=(Pool("write_combined", 0, 3), Pool("write_combined", 1, 1), Pool("uncached", 0, 0, "it cannot be read")),
    pooled=5,
    pool_limit=100,
    problem="the list is torn",
)


def memory_of(ttm: Ttm) -> Memory:
    return Memory(SCHEMA, "7.3.4", (), (), {"ttm": part_of(ttm)})


def test_the_short_form_names_what_stands_where_it_does_not_belong() -> None:
    assert short_lines(memory_of(TTM)) == (
        "device 0x1000 (tp_funcs): 1 object on the list of memory 1, priority 0, 1 walk on the list `unevictable`",
        "  the list `unevictable`: the list is torn",
        f"  a walk 0x100 along memory 1, priority 0, in the bulk move 0xb  WRONG: {WRONG}",
        "TTM counts 2 objects; its pools have 5 pages (20 KiB)",
        "TTM's devices: the list is torn",
        "0 shrinkers",
    )


def test_all_of_it() -> None:
    assert text(memory_of(TTM)).splitlines() == [
        "devices:",
        "  device 0x1000 (tp_funcs)",
        "    memory 1: 64 KiB of 4.0 MiB in use, for ttm_tt (ttm_range_manager_func)",
        "lists:",
        "  the list of memory 1, priority 0 of device 0x1000 (tp_funcs): 1 object",
        "    object 0x200, 32 KiB, memory 1, bulk move 0xb, ZERO_ALLOC|POPULATED, cached, 8 pages and 0 handles of "
        "8, locked by sh (pid 9)",
        "  the list `unevictable` of device 0x1000 (tp_funcs): 1 walk",
        "    the list is torn",
        f"    a walk 0x100 along memory 1, priority 0, in the bulk move 0xb  WRONG: {WRONG}",
        "bulk-moves:",
        "  bulk move 0xb of device 0x1000 (tp_funcs): 1 objects name it, empty: no stretch of any list is its own",
        "    a walk 0x100 along memory 1, priority 0, in the bulk move 0xb",
        "  bulk move 0xc of device 0x1000 (tp_funcs): 1 objects name it",
        "    memory 1, priority 0: resources 0x5 to 0x6",
        "pools:",
        "  write_combined: 3 of order 0, 1 of order 1",
        "  uncached: 0 of order 0 (it cannot be read)",
        "  together 5 pages (20 KiB); TTM counts 5 pages (20 KiB) of at most 100 pages (400 KiB)",
        "locks:",
        "  object 0x200: locked by sh (pid 9); it is waited for by x (pid 3)",
        "tasks:",
        "  0 tasks in all",
        "problems:",
        "  TTM's devices: the list is torn",
    ]


def test_without_ttm() -> None:
    memory = memory_of(Ttm((), -1, (), -1, -1))
    assert short_lines(memory) == ("0 shrinkers",)
    assert "  TTM is not there" in text(memory).splitlines()


def test_a_list_of_thousands_is_cut() -> None:
    many = LruList("memory 1, priority 0", 1, 0, (Place(0x11, OBJECT),) * 5000, "the list is torn")
    said = text(memory_of(replace(TTM, devices=(replace(DEVICE, lists=(many,)),))), ("lists",)).splitlines()
    assert len(said) == MOST_LINES + 3
    assert said[2].strip() == "the list is torn"
    assert said[-1].strip() == f"and {5000 + 1 - MOST_LINES} more"


def test_garbage_is_said_and_no_trouble() -> None:
    mad = BufferObject(
        2**64 - 1, 2**64 - 1, 2**32 - 1, 2**32 - 1, -1, True, 1, replace(VECTOR, size=2**32 - 1, unread=True)
    )
    lists = (LruList("?", 1, 0, (Place(1, mad),)),)
    pools = (Pool("uncached", 2**32 - 1, 2**63),)
    memory = memory_of(replace(TTM, pools=pools, pooled=2**64 - 1, devices=(replace(DEVICE, lists=lists),)))
    assert "cannot be read" in text(memory)
    assert short_lines(memory)
