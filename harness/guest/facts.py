# SPDX-License-Identifier: GPL-2.0-only
"""What the guest reports of itself, `name=value` by `name=value` (guest-scripts/load/facts.c) -> GuestFacts."""

from __future__ import annotations

import re
from collections.abc import Mapping

from harness.model.machine import SETTINGS, GuestFacts, Setting
from harness.model.swap import SwapFacts, ZswapFacts

_PCI = re.compile(r"\b[0-9a-f]{4}:[0-9a-f]{4}\b", re.ASCII)
_SWAP = re.compile(r"swap(\d{1,2})")


def guest_facts(facts: Mapping[str, str]) -> GuestFacts | None:
    """None unless every fact is there and is of its form."""
    try:
        return GuestFacts(
            release=facts["release"],
            cmdline=facts["cmdline"],
            cpus=int(facts["cpus"]),
            ram=int(facts["ram"]),
            mem_total=int(facts["mem_total"]),
            mem_free=int(facts["mem_free"]),
            swap_total=int(facts["swap_total"]),
            seed=facts["seed"],
            taint=int(facts["taint"]),
            free_pcp=int(facts["free_pcp"]),
            swaps=_swaps(facts),
            zswap=_zswap(facts["zswap"]),
            held=int(facts["held"]),
            pci=tuple(_PCI.findall(facts.get("pci", ""))),  # where one was asked for
            **{one.key: _setting(one, facts[one.sysctl or one.key]) for one in SETTINGS},
        )
    except (KeyError, ValueError):
        return None


def _setting(setting: Setting, text: str) -> int | None:
    """A number, or bytes; nothing, or the word `max` of a cgroup without a limit, is None."""
    return None if text in ("", "max") else int(text) * setting.unit


def _swaps(facts: Mapping[str, str]) -> tuple[SwapFacts, ...]:
    """`swapN=SIZE PRIORITY RATE ALGORITHM…`, the algorithm in use in brackets, as zram writes it."""
    numbers = sorted(int(match[1]) for name in facts if (match := _SWAP.fullmatch(name)))
    if numbers != list(range(len(numbers))):
        raise ValueError("an area of swap is missing among the facts")
    return tuple(_area(facts[f"swap{number}"]) for number in numbers)


def _area(text: str) -> SwapFacts:
    size, priority, rate, *words = text.split()
    algorithm = next((word.strip("[]") for word in words if word.startswith("[")), "")
    return SwapFacts(int(size), int(priority), int(rate), algorithm, tuple(word.strip("[]") for word in words))


def _zswap(text: str) -> ZswapFacts | None:
    """`Y lz4 20`; nothing from a kernel without zswap."""
    if not text:
        return None
    enabled, compressor, percent = text.split()
    return ZswapFacts(enabled == "Y", compressor, int(percent))
