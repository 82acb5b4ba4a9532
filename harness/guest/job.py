# SPDX-License-Identifier: GPL-2.0-only
"""Machine -> what its guest is told to make of itself: assignments that guest-scripts/machine reads."""

from __future__ import annotations

from harness.guest.swap import swap_serial
from harness.model.machine import Machine
from harness.model.swap import SwapArea


def machine_job(machine: Machine) -> dict[str, str]:
    """Names and values; what the kernel is left to choose is not named. Sizes in bytes, TTM_MIN_FREE in KiB."""
    zswap = machine.swap.zswap
    values = {
        "TTM_SWAP": "".join(_line(number, area) for number, area in enumerate(machine.swap.areas)),
        "TTM_ZSWAP": f"{zswap.algorithm or '-'} {zswap.pool_percent or '-'}" if zswap is not None else "",
        "TTM_MEMORY_MAX": _number(machine.memory_max),
        "TTM_MEMORY_HIGH": _number(machine.memory_high),
        "TTM_SWAPPINESS": _number(machine.swappiness),
        "TTM_MIN_FREE": _number(None if machine.min_free is None else machine.min_free >> 10),
        "TTM_WATERMARK_SCALE": _number(machine.watermark_scale),
        "TTM_FREE": _number(machine.free),
    }
    return {name: value for name, value in values.items() if value}


def _line(number: int, area: SwapArea) -> str:
    """NUMBER SERIAL|zram SIZE PRIORITY ALGORITHM LIMIT UNIT, with `-` for what is left to the kernel."""
    what = swap_serial(number) if area.on_disk else "zram"
    algorithm = "-" if area.on_disk else area.algorithm or "-"
    limit = f"{area.bps} bps" if area.bps else f"{area.iops} iops" if area.iops else "- -"
    return f"{number} {what} {area.size} {'-' if area.priority is None else area.priority} {algorithm} {limit}\n"


def _number(value: int | None) -> str:
    return "" if value is None else str(value)
