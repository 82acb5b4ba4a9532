# SPDX-License-Identifier: GPL-2.0-only
"""A machine as it was asked for and as its guest found it: what of it was not reached. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from harness.model.arch import guest_arch
from harness.model.machine import Difference, GuestFacts, Machine
from harness.model.pci import PciDevice
from harness.model.swap import PAGE, SwapArea, SwapFacts
from harness.model.units import MIB, format_size

# A throttled disk on a busy host is slower still; faster it may only be by what the clock is off.
_RATE_LEAST, _RATE_MOST = 0.5, 1.25
# What the reading itself takes, and counters that are behind; of larger targets a share.
_FREE_NEAR, _FREE_SHARE = 2 * MIB, 0.04


def machine_differences(machine: Machine, facts: GuestFacts) -> Iterator[Difference]:
    """RAM, swap, the limits of the load, the sysctls, the free RAM: each that is not what it was asked to be."""
    if not machine.ram - guest_arch().firmware <= facts.ram <= machine.ram:
        yield Difference("RAM", format_size(machine.ram), format_size(facts.ram))
    if machine.device and PciDevice.parse(machine.device).ids not in facts.pci:
        yield Difference("PCI device", machine.device, ", ".join(facts.pci) or "none on its bus")
    yield from _swap(machine, facts)
    yield from _zswap(machine, facts)
    for setting, asked in machine.asked:
        got = getattr(facts, setting.key)
        if asked != got:
            nothing = "nothing" if setting.sysctl else "no limit"
            yield Difference(setting.name, setting.shown(asked), nothing if got is None else setting.shown(got))
    if machine.free is not None and abs(facts.free - machine.free) > max(_FREE_NEAR, machine.free * _FREE_SHARE):
        got_free = f"{facts.free / MIB:.1f}M with {facts.held / MIB:.1f}M taken away"
        yield Difference("free RAM at start", format_size(machine.free), got_free)


def _swap(machine: Machine, facts: GuestFacts) -> Iterator[Difference]:
    asked = machine.swap.areas
    unlike = [one for area, got in zip(asked, facts.swaps, strict=False) for one in _area(area, got)]
    yield from unlike
    total = sum(got.size for got in facts.swaps)
    if len(asked) != len(facts.swaps) or total != facts.swap_total:
        yield Difference("swap", format_size(machine.swap.size), format_size(facts.swap_total))


def _area(area: SwapArea, got: SwapFacts) -> Iterator[Difference]:
    # swapon keeps one page for the header.
    if got.size != area.size - PAGE:
        yield Difference(f"swap {area}", format_size(area.size), format_size(got.size) if got.size else "nothing")
    elif area.priority is not None and got.priority != area.priority:
        yield Difference(f"priority of swap {area}", str(area.priority), str(got.priority))
    if area.algorithm and not area.on_disk and got.algorithm != area.algorithm:
        there = f"{got.algorithm} of {', '.join(got.algorithms)}" if got.algorithm else "none"
        yield Difference(f"compression of swap {area}", area.algorithm, there)
    limit = area.bps or area.iops
    if limit and not _RATE_LEAST * limit <= got.rate <= _RATE_MOST * limit:
        unit = "bytes" if area.bps else "operations"
        yield Difference(f"{unit} a second of swap {area}", str(limit), str(got.rate))


def _zswap(machine: Machine, facts: GuestFacts) -> Iterator[Difference]:
    asked, got = machine.swap.zswap, facts.zswap
    on = got is not None and got.enabled
    if on != (asked is not None):
        there = "on" if on else "no zswap in this kernel" if got is None else "off"
        yield Difference("zswap", "on" if asked is not None else "off", there)
    if asked is None or got is None:
        return
    if asked.algorithm and got.compressor != asked.algorithm:
        yield Difference("compressor of zswap", asked.algorithm, got.compressor)
    if asked.pool_percent and got.pool_percent != asked.pool_percent:
        yield Difference("max_pool_percent of zswap", str(asked.pool_percent), str(got.pool_percent))
