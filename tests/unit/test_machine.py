# SPDX-License-Identifier: GPL-2.0-only
"""The machine's axes: their words, what is refused before anything is built, and the identity of a cell."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.cell import Cell
from harness.model.codec import from_json, to_json
from harness.model.errors import StoreCorrupt, UserError
from harness.model.machine import Accel, Machine, Swap
from harness.model.swap import SLOW_RATE, SwapArea, SwapKind
from harness.model.units import GIB, MIB

ALGORITHMS = st.sampled_from(["", "lz4", "lzo-rle", "zstd", "842", "deflate"])
PAGES = st.integers(min_value=256, max_value=(1 << 32) - 1)


@st.composite
def area(draw: st.DrawFn, kinds: tuple[SwapKind, ...] = tuple(SwapKind)) -> SwapArea:
    kind = draw(st.sampled_from(kinds))
    bps = draw(st.integers(64 << 10, 1 << 40)) if kind in (SwapKind.SLOW, SwapKind.ZSWAP) else 0
    iops = draw(st.integers(10, 999_999_999)) if bps and draw(st.booleans()) else 0
    return SwapArea(
        kind,
        draw(PAGES) * 4096,
        draw(st.none() | st.integers(0, 32767)),
        algorithm=draw(ALGORITHMS) if kind in (SwapKind.ZRAM, SwapKind.ZSWAP) else "",
        pool_percent=draw(st.integers(0, 100)) if kind is SwapKind.ZSWAP else 0,
        bps=0 if iops else bps,
        iops=iops,
    )


@st.composite
def swaps(draw: st.DrawFn) -> Swap:
    first = draw(area())
    if first.kind is SwapKind.ZSWAP:
        others = [replace(first, size=size * 4096) for size in draw(st.lists(PAGES, max_size=3))]
    else:
        others = draw(st.lists(area((SwapKind.DISK, SwapKind.SLOW, SwapKind.ZRAM)), max_size=3))
    areas = (first, *others)
    if len(areas) > 1:
        areas = tuple(replace(one, priority=draw(st.integers(0, 32767))) for one in areas)
    return Swap(areas)


@given(swaps())
def test_swap_reads_back(swap: Swap) -> None:
    assert Swap.parse(str(swap)) == swap
    assert from_json(Machine, to_json(Machine(ram=1 << 50, swap=swap))).swap == swap


@given(st.text(alphabet="diskslowzramzswap0123456789MGK:+@%iops ", max_size=40))
def test_any_text_is_swap_or_refused(text: str) -> None:
    try:
        swap = Swap.parse(text)
    except UserError as refusal:
        assert refusal.message
    else:
        assert Swap.parse(str(swap)) == swap


@pytest.mark.parametrize(
    ("text", "areas", "shown"),
    [
        ("none", (), "none"),
        ("disk:1G", (SwapArea(SwapKind.DISK, GIB),), "disk:1G"),
        ("zram:512M", (SwapArea(SwapKind.ZRAM, 512 * MIB),), "zram:512M"),
        ("zram:512M:zstd", (SwapArea(SwapKind.ZRAM, 512 * MIB, algorithm="zstd"),), "zram:512M:zstd"),
        ("zswap:1G:20%:lz4", (SwapArea(SwapKind.ZSWAP, GIB, None, "lz4", 20),), "zswap:1G:lz4:20%"),
        ("slow:1G", (SwapArea(SwapKind.SLOW, GIB, bps=SLOW_RATE),), "slow:1G:4M"),
        ("slow:1G:100iops", (SwapArea(SwapKind.SLOW, GIB, iops=100),), "slow:1G:100iops"),
        (
            "zram:128M+disk:512M",
            (SwapArea(SwapKind.ZRAM, 128 * MIB, 1), SwapArea(SwapKind.DISK, 512 * MIB, 0)),
            "zram:128M@1+disk:512M@0",
        ),
        (
            "disk:512M@10+zram:128M@100",
            (SwapArea(SwapKind.DISK, 512 * MIB, 10), SwapArea(SwapKind.ZRAM, 128 * MIB, 100)),
            "disk:512M@10+zram:128M@100",
        ),
    ],
)
def test_swap(text: str, areas: tuple[SwapArea, ...], shown: str) -> None:
    swap = Swap.parse(text)
    assert swap == Swap(areas)
    assert str(swap) == shown
    assert swap.size == sum(one.size for one in areas)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "+",
            "disk",
            "disk:",
            "none:1G",
            "none+disk:1G",
            "tape:1G",
            "disk:0",
            "disk:4K",
            "disk:xyz",
            "disk:1000001",
        ),
        *(
            "disk:1G+",
            "disk:1G@",
            "disk:1G@-1",
            "disk:1G@x",
            "disk:1G@40000",
            "disk:1G@1@2",
            "disk:16T",
            "disk:1G:lz4",
        ),
        *("disk:1G:4M", "zram:1G:4M", "zram:1G:lz4:zstd", "zram:1G:20%", "zram:1G:../x", "zram:1G:lz4;reboot"),
        *("zswap:1G:0%", "zswap:1G:101%", "slow:1G:1K", "slow:1G:0", "slow:1G:1iops", "slow:1G:4M:100iops"),
        *("disk:1G@1+disk:1G", "zswap:1G+disk:1G", "zswap:1G:lz4+zswap:1G:zstd", "zswap:1G+zram:64M"),
        "+".join(["disk:1M"] * 9),
    ],
)
def test_impossible_swap(text: str) -> None:
    with pytest.raises(UserError):
        Swap.parse(text)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"ram": 4 * MIB}, "cannot have 4M"),
        ({"ram": 256 * MIB + 1}, "of RAM"),
        ({"cpus": 0}, "0 vCPUs"),
        ({"cpus": 64}, "64 vCPUs"),
        ({"swap": Swap.parse("zram:1025M")}, "1025M of zram"),
        ({"swap": Swap.parse("zram:512M+zram:513M")}, "1025M of zram"),
        ({"memory_max": 512 * MIB}, "memory.max of 512M"),
        ({"memory_max": MIB}, "memory.max of 1M"),
        ({"memory_max": 64 * MIB + 1}, "memory.max of"),
        ({"memory_high": 512 * MIB}, "memory.high of 512M"),
        ({"memory_high": 65 * MIB, "memory_max": 64 * MIB}, "never reached"),
        ({"swappiness": 201}, "swappiness cannot be 201"),
        ({"swappiness": -1}, "swappiness cannot be -1"),
        ({"min_free": 129 * MIB}, "129M cannot be kept free"),
        ({"min_free": 1025}, "cannot be kept free"),
        ({"min_free": 0}, "cannot be kept free"),
        ({"watermark_scale": 0}, "watermark_scale_factor cannot be 0"),
        ({"watermark_scale": 3001}, "watermark_scale_factor"),
        ({"free": 256 * MIB}, "256M of 256M of RAM cannot be free"),
        ({"free": 1024}, "cannot be free"),
        ({"free": 8 * MIB, "min_free": 16 * MIB}, "cannot be free"),
    ],
)
def test_impossible_machines(wrong: dict[str, int], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as refusal:
        Machine(**wrong)  # type: ignore[arg-type]
    assert refusal.value.hint


AXES = Machine(
    ram=512 * MIB,
    swap=Swap.parse("zram:64M"),
    cpus=4,
    accel=Accel.TCG,
    cmdline=("quux",),
    memory_max=64 * MIB,
    memory_high=32 * MIB,
    swappiness=10,
    min_free=2 * MIB,
    watermark_scale=20,
    page_cluster=0,
    free=100 * MIB,
    device="vfio:0000:03:00.0",
)


def test_a_word_of_the_command_line_is_no_setting() -> None:
    said = [
        Machine(swappiness=10),
        Machine(cmdline=("swappiness=10",)),
        Machine(free=64 * MIB),
        Machine(cmdline=(f"free={64 * MIB}",)),
        Machine(cmdline=("a", "b")),
        Machine(cmdline=("a b",)),
    ]
    assert len({Cell("b" * 64, one, ("s",), 7).id for one in said}) == len(said)


@pytest.mark.parametrize("axis", [field.name for field in fields(Machine)])
def test_every_axis_makes_another_cell(axis: str) -> None:
    plain = Cell("b" * 64, Machine(), ("s",), 7)
    value: Any = "ssh:root@box" if axis == "at" else getattr(AXES, axis)  # no guest has both
    other = replace(plain, machine=replace(Machine(), **{axis: value}))
    assert plain.id != other.id
    assert from_json(Cell, to_json(other)) == other


def test_the_readme_writes_swap_as_it_is_read() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    words = re.findall(r"--swap (\S+)", text)
    assert len(words) > 2
    for word in words:
        Swap.parse(word)


def test_a_machine_in_words() -> None:
    assert str(Machine(accel=Accel.TCG)) == "256M RAM, swap disk:1G, 2 vCPUs, tcg"
    asked = Machine(
        ram=512 * MIB,
        swap=Swap.parse("zram:64M"),
        cpus=4,
        accel=Accel.TCG,
        memory_max=64 * MIB,
        memory_high=32 * MIB,
        swappiness=10,
        min_free=2 * MIB,
        page_cluster=0,
        free=100 * MIB,
    )
    assert str(asked) == (
        "512M RAM, swap zram:64M, 4 vCPUs, tcg, memory.max 64M, memory.high 32M, min_free 2M, swappiness 10, "
        "page_cluster 0, 100M free at start"
    )


@pytest.mark.parametrize("swap", ['"tape:1G"', '{"kind": "tape", "size": 5}', '{"kind": "disk"}', "3", "null"])
def test_swap_of_a_broken_file_is_said_to_be_corrupt(swap: str) -> None:
    text = to_json(Machine()).replace('"disk:1G"', swap)
    assert swap in text
    with pytest.raises(StoreCorrupt):
        from_json(Machine, text)
