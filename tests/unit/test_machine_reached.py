# SPDX-License-Identifier: GPL-2.0-only
"""What the guest is told, what it reports, and what of the machine was not reached: a no for every axis."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.flow.boots import job_text
from harness.guest.facts import guest_facts
from harness.guest.job import machine_job
from harness.judge.machine import machine_differences
from harness.model.cell import Cell
from harness.model.machine import SETTINGS, GuestFacts, Machine, Swap
from harness.model.swap import SwapFacts, ZswapFacts
from harness.model.units import MIB

# What guest-scripts/load/facts.c printed on 7.3.4 with the machine below.
REPORTED = {
    "release": "7.3.4",
    "cmdline": "console=ttyS0,115200 ro",
    "cpus": "2",
    "ram": "267889664",
    "mem_total": "249954304",
    "mem_free": "103086400",
    "free_pcp": "3000000",
    "swap_total": "704630784",
    "swap0": "134213632 100 0 lzo-rle lzo lz4 [zstd]",
    "swap1": "536866816 10 0",
    "swap2": "33550336 7 1048272",
    "zswap": "N lzo 20",
    "memory_max": "134217728",
    "memory_high": "100663296",
    **{one.sysctl: "1" for one in SETTINGS if one.sysctl},
    "swappiness": "10",
    "min_free_kbytes": "2048",
    "watermark_scale_factor": "50",
    "held": "115605504",
    "seed": "1",
    "taint": "0",
}
MACHINE = Machine(
    swap=Swap.parse("zram:128M:zstd@100+disk:512M@10+slow:32M:1M@7"),
    memory_max=128 * MIB,
    memory_high=96 * MIB,
    swappiness=10,
    min_free=2 * MIB,
    watermark_scale=50,
    free=100 * MIB,
)


def reported(**changes: str) -> GuestFacts:
    facts = guest_facts({**REPORTED, **changes})
    assert facts is not None
    return facts


def unlike(facts: GuestFacts, machine: Machine = MACHINE) -> list[str]:
    return [str(one) for one in machine_differences(machine, facts)]


def test_what_the_guest_reports_is_read() -> None:
    facts = reported()
    assert facts.swaps == (
        SwapFacts(134213632, 100, 0, "zstd", ("lzo-rle", "lzo", "lz4", "zstd")),
        SwapFacts(536866816, 10),
        SwapFacts(33550336, 7, 1048272),
    )
    assert facts.zswap == ZswapFacts(False, "lzo", 20)
    assert (facts.memory_max, facts.memory_high, facts.held) == (128 * MIB, 96 * MIB, 115605504)
    assert unlike(facts) == []


def test_a_kernel_without_any_of_it() -> None:
    facts = reported(zswap="", memory_max="", memory_high="max", swappiness="")
    assert facts.zswap is None
    assert (facts.memory_max, facts.memory_high, facts.swappiness) == (None, None, None)


@pytest.mark.parametrize("name", sorted(set(REPORTED) - {"swap2"}))
def test_a_fact_that_is_missing_makes_no_facts(name: str) -> None:
    assert guest_facts({key: value for key, value in REPORTED.items() if key != name}) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"ram": "lots"},
        {"swap0": "134213632 100"},
        {"swap1": "x 1 2"},
        {"swap4": "1 2 3"},
        {"zswap": "Y"},
        {"held": ""},
    ],
)
def test_a_fact_of_another_form_makes_no_facts(changes: dict[str, str]) -> None:
    assert guest_facts({**REPORTED, **changes}) is None


@given(st.dictionaries(st.sampled_from([*REPORTED, "swap3", "swap99"]), st.text(max_size=20)))
def test_reading_facts_never_raises(changes: dict[str, str]) -> None:
    guest_facts({**REPORTED, **changes})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"ram": "134217728"}, "RAM: asked 256M, got 128M"),
        ({"swap0": "0 0 0", "swap_total": "570417152"}, "swap zram:128M:zstd@100: asked 128M, got nothing"),
        ({"swap1": "536862720 10 0", "swap_total": "704626688"}, "swap disk:512M@10: asked 512M, got 524280K"),
        ({"swap1": "536866816 -2 0"}, "priority of swap disk:512M@10: asked 10, got -2"),
        (
            {"swap0": "134213632 100 0 [lzo-rle] lzo lz4"},
            "compression of swap zram:128M:zstd@100: asked zstd, got lzo-rle of lzo-rle, lzo, lz4",
        ),
        ({"swap0": "134213632 100 0"}, "compression of swap zram:128M:zstd@100: asked zstd, got none"),
        ({"swap2": "33550336 7 900000000"}, "bytes a second of swap slow:32M:1M@7: asked 1048576, got 900000000"),
        ({"swap2": "33550336 7 300000"}, "bytes a second of swap slow:32M:1M@7: asked 1048576, got 300000"),
        ({"swap2": "33550336 7 0"}, "bytes a second of swap slow:32M:1M@7: asked 1048576, got 0"),
        ({"swap_total": "804630784"}, "swap: asked 672M, got 804630784"),
        ({"zswap": "Y lzo 20"}, "zswap: asked off, got on"),
        ({"memory_max": "max"}, "memory.max of the load: asked 128M, got no limit"),
        ({"memory_max": "134213632"}, "memory.max of the load: asked 128M, got 131068K"),
        ({"memory_high": ""}, "memory.high of the load: asked 96M, got no limit"),
        ({"swappiness": "60"}, "vm.swappiness: asked 10, got 60"),
        ({"swappiness": ""}, "vm.swappiness: asked 10, got nothing"),
        ({"min_free_kbytes": "1968"}, "vm.min_free_kbytes: asked 2M, got 1968K"),
        ({"watermark_scale_factor": "10"}, "vm.watermark_scale_factor: asked 50, got 10"),
        ({"mem_free": "222443840"}, "free RAM at start: asked 100M, got 215.0M with 110.2M taken away"),
        ({"mem_free": "96614720"}, "free RAM at start: asked 100M, got 95.0M with 110.2M taken away"),
    ],
)
def test_asked_is_not_got(changes: dict[str, str], sentence: str) -> None:
    found = unlike(reported(**changes))
    assert found[0] == sentence
    # An area that is not there has no compression either; nothing else tells the same twice.
    assert all("compression" in one for one in found[1:])


ZSWAP = Machine(swap=Swap.parse("zswap:64M:zstd:30%"))
BEHIND = {"swap0": "67104768 -1 0", "swap_total": "67104768"}


@pytest.mark.parametrize(
    ("zswap", "sentences"),
    [
        ("Y zstd 30", []),
        ("", ["zswap: asked on, got no zswap in this kernel"]),
        ("N zstd 30", ["zswap: asked on, got off"]),
        ("Y lzo 30", ["compressor of zswap: asked zstd, got lzo"]),
        ("Y zstd 20", ["max_pool_percent of zswap: asked 30, got 20"]),
    ],
)
def test_zswap_asked_for(zswap: str, sentences: list[str]) -> None:
    report = {key: value for key, value in REPORTED.items() if key not in ("swap1", "swap2")}
    facts = guest_facts({**report, **BEHIND, "zswap": zswap})
    assert facts is not None
    assert unlike(facts, ZSWAP) == sentences


def test_operations_a_second() -> None:
    machine = replace(MACHINE, swap=Swap.parse("zram:128M:zstd@100+disk:512M@10+slow:32M:100iops@7"))
    assert unlike(reported(swap2="33550336 7 98"), machine) == []
    assert unlike(reported(swap2="33550336 7 4000"), machine) == [
        "operations a second of swap slow:32M:100iops@7: asked 100, got 4000"
    ]


def test_what_was_not_asked_for_is_not_judged() -> None:
    facts = replace(reported(), swaps=(), swap_total=0, swappiness=1, min_free=1, watermark_scale=1, mem_free=1)
    assert unlike(facts, Machine(swap=Swap())) == []


def sysctls(**asked: int) -> str:
    """All that there are, in their order."""
    return "".join(f"{one.sysctl} {asked.get(one.sysctl, '-')}\n" for one in SETTINGS if one.sysctl)


def test_the_guest_is_told() -> None:
    assert machine_job(MACHINE) == {
        "HARNESS_SWAP": (
            "0 zram 134217728 100 zstd - -\n1 harness-swap1 536870912 10 - - -\n"
            "2 harness-swap2 33554432 7 - 1048576 bps\n"
        ),
        "HARNESS_MEMORY_MAX": "134217728",
        "HARNESS_MEMORY_HIGH": "100663296",
        "HARNESS_SYSCTLS": sysctls(swappiness=10, min_free_kbytes=2048, watermark_scale_factor=50),
        "HARNESS_FREE": "104857600",
    }
    left_alone = {"HARNESS_SYSCTLS": sysctls()}
    assert machine_job(ZSWAP) == {
        "HARNESS_SWAP": "0 harness-swap0 67108864 - - - -\n",
        "HARNESS_ZSWAP": "zstd 30",
        **left_alone,
    }
    assert machine_job(Machine(swap=Swap.parse("zswap:64M:100iops"))) == {
        "HARNESS_SWAP": "0 harness-swap0 67108864 - - 100 iops\n",
        "HARNESS_ZSWAP": "- -",
        **left_alone,
    }
    assert machine_job(Machine(swap=Swap())) == left_alone


def test_a_shell_reads_the_job() -> None:
    text = job_text(Cell("b" * 64, MACHINE, ("s",), 7))
    script = f'{text}printf %s "$HARNESS_SWAP" | while read -r n what size rest; do echo "$n|$what|$size|$rest"; done'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=10, check=True)
    assert done.stdout.splitlines() == [
        "0|zram|134217728|100 zstd - -",
        "1|harness-swap1|536870912|10 - - -",
        "2|harness-swap2|33554432|7 - 1048576 bps",
    ]
    assert shlex.split(text)[0] == "HARNESS_SEED=7"
