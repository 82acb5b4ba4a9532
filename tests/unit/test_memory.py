# SPDX-License-Identifier: GPL-2.0-only
"""What is said of a memory image: walks that end whatever memory holds, what belongs on which list, the text."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.memory.walk import ring, wrong_cursor, wrong_object
from harness.model.codec import from_json, to_json
from harness.model.memory import (
    BufferObject,
    BulkMove,
    Cursor,
    LruList,
    Manager,
    Memory,
    PageVector,
    Place,
    Pool,
    Shrinker,
    Stretch,
    Task,
    TtmDevice,
)
from harness.reports.memory import MOST_LINES, short_lines, text


def circle(*addresses: int) -> dict[int, tuple[int, int]]:
    count = len(addresses)
    return {at: (addresses[(i + 1) % count], addresses[i - 1]) for i, at in enumerate(addresses)}


class TestRing:
    @pytest.mark.parametrize("nodes", [(), (2,), (2, 3, 4)])
    def test_a_whole_list(self, nodes: tuple[int, ...]) -> None:
        found = ring(1, circle(1, *nodes).__getitem__)
        assert (found.nodes, found.problem) == (nodes, "")

    def test_a_head_that_was_never_made_a_list(self) -> None:
        assert ring(1, {1: (0, 0)}.__getitem__) == ring(1, circle(1).__getitem__)

    def test_a_list_that_goes_round_without_its_head(self) -> None:
        nodes = {**circle(1, 2, 3, 4), 4: (2, 3), 2: (3, 4)}
        nodes[2] = (3, 1)
        found = ring(1, nodes.__getitem__)
        assert found.nodes == (2, 3, 4)
        assert found.problem == "the list is torn behind 0x4: 0x2 does not point back"

    def test_one_to_nowhere(self) -> None:
        nodes = circle(1, 2, 3)
        nodes[2] = (0xDEAD, 1)
        found = ring(1, nodes.__getitem__)
        assert (found.nodes, found.problem) == ((2,), "the list leads from 0x2 to nowhere")

    def test_one_that_is_longer_than_any(self) -> None:
        found = ring(0, lambda at: (at + 1, at - 1) if at else (1, -1), most=100)
        assert len(found.nodes) == 100
        assert found.problem == "the list is longer than 100; the rest was not read"

    @given(st.dictionaries(st.integers(0, 8), st.tuples(st.integers(0, 8), st.integers(0, 8))))
    def test_every_walk_ends(self, nodes: dict[int, tuple[int, int]]) -> None:
        found = ring(0, nodes.__getitem__)
        assert len(found.nodes) == len(set(found.nodes)) <= 8


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
MEMORY = Memory(
    release="7.3.4",
    devices=(DEVICE,),
    objects=2,
    pools=(Pool("write_combined", 0, 3), Pool("write_combined", 1, 1), Pool("uncached", 0, 0, "it cannot be read")),
    pooled=5,
    pool_limit=100,
    shrinkers=(Shrinker("drm-xe", "xe_shrinker_count", 7, (("shrinkable_pages", 12),)), Shrinker("sb", "super", 0)),
    tasks=(
        Task(1, "init", "S", 0),
        Task(3, "x", "D", 1, ("schedule+0x1",), "for the mutex 0x77, held by sh (pid 9)"),
        Task(9, "sh", "on CPU", 0, ("panic+0x1",)),
    ),
    problems=("tasks: the list is torn",),
)


def test_the_short_form_names_what_stands_where_it_does_not_belong() -> None:
    assert short_lines(MEMORY) == (
        "device 0x1000 (tp_funcs): 1 object on the list of memory 1, priority 0, 1 walk on the list `unevictable`",
        "  the list `unevictable`: the list is torn",
        f"  a walk 0x100 along memory 1, priority 0, in the bulk move 0xb  WRONG: {WRONG}",
        "TTM counts 2 objects; its pools have 5 pages (20 KiB)",
        "2 shrinkers; drm-xe: 7 deferred, shrinkable_pages 12",
        "x (pid 3), D, waits for the mutex 0x77, held by sh (pid 9)",
        "tasks: the list is torn",
    )


def test_all_of_it() -> None:
    said = text(MEMORY)
    for line in (
        "  device 0x1000 (tp_funcs)",
        "    memory 1: 64 KiB of 4.0 MiB in use, for ttm_tt (ttm_range_manager_func)",
        "    object 0x200, 32 KiB, memory 1, bulk move 0xb, ZERO_ALLOC|POPULATED, cached, 8 pages and 0 handles of "
        "8, locked by sh (pid 9)",
        "  bulk move 0xb of device 0x1000 (tp_funcs): 1 objects name it, empty: no stretch of any list is its own",
        "    memory 1, priority 0: resources 0x5 to 0x6",
        "  write_combined: 3 of order 0, 1 of order 1",
        "  uncached: 0 of order 0 (it cannot be read)",
        "  together 5 pages (20 KiB); TTM counts 5 pages (20 KiB) of at most 100 pages (400 KiB)",
        "  object 0x200: locked by sh (pid 9); it is waited for by x (pid 3)",
        "  sh (pid 9), on CPU, CPU 0",
        "    panic+0x1",
        "  3 tasks in all",
        "  tasks: the list is torn",
    ):
        assert line in said.splitlines()


def test_only_what_is_asked_for() -> None:
    assert text(MEMORY, ("pools",)).startswith("pools:\n")
    assert "tasks" not in text(MEMORY, ("pools",))


def test_without_ttm() -> None:
    memory = Memory("7.3.4", (), -1, (), -1, -1, (), ())
    assert short_lines(memory) == ("0 shrinkers",)
    assert "  TTM is not there" in text(memory).splitlines()


def test_a_list_of_thousands_is_cut() -> None:
    many = LruList("memory 1, priority 0", 1, 0, (Place(0x11, OBJECT),) * 5000)
    said = text(replace(MEMORY, devices=(replace(DEVICE, lists=(many,)),)), ("lists",)).splitlines()
    assert len(said) == MOST_LINES + 3
    assert said[-1].strip() == f"and {5000 - MOST_LINES} more"


def test_garbage_is_said_and_no_trouble() -> None:
    mad = BufferObject(
        2**64 - 1, 2**64 - 1, 2**32 - 1, 2**32 - 1, -1, True, 1, replace(VECTOR, size=2**32 - 1, unread=True)
    )
    pool = Pool("uncached", 2**32 - 1, 2**63)
    memory = replace(
        MEMORY,
        pools=(pool,),
        pooled=2**64 - 1,
        devices=(replace(DEVICE, lists=(LruList("?", 1, 0, (Place(1, mad),)),)),),
    )
    assert "cannot be read" in text(memory)
    assert short_lines(memory)


def test_it_comes_back_from_json() -> None:
    assert from_json(Memory, to_json(MEMORY), "a test") == MEMORY


def test_drgn_is_where_only_the_reader_needs_it() -> None:
    """The harness itself works without: no other room imports what imports it."""
    import subprocess
    import sys

    code = "import sys, harness.flow.inspect, harness.cli.inspect, harness.flow.live; sys.exit('drgn' in sys.modules)"
    assert subprocess.run((sys.executable, "-c", code), check=False).returncode == 0
