# SPDX-License-Identifier: GPL-2.0-only
"""Machine -> what its guest is told to make of itself: assignments that guest-scripts/machine reads."""

from __future__ import annotations

from harness.guest.swap import swap_serial
from harness.model.machine import SETTINGS, Machine, Setting
from harness.model.swap import SwapArea


def machine_job(machine: Machine) -> dict[str, str]:
    """Names and values; what the kernel is left to choose is not named, or `-`. Sizes in bytes."""
    zswap = machine.swap.zswap
    values = {
        "HARNESS_SWAP": "".join(_line(number, area) for number, area in enumerate(machine.swap.areas)),
        "HARNESS_ZSWAP": f"{zswap.algorithm or '-'} {zswap.pool_percent or '-'}" if zswap is not None else "",
        "HARNESS_MEMORY_MAX": _number(machine.memory_max),
        "HARNESS_MEMORY_HIGH": _number(machine.memory_high),
        "HARNESS_SYSCTLS": "".join(_sysctl(machine, one) for one in SETTINGS if one.sysctl),
        "HARNESS_FREE": _number(machine.free),
        "HARNESS_DEVICE": machine.device,
    }
    return {name: value for name, value in values.items() if value}


def _line(number: int, area: SwapArea) -> str:
    """NUMBER SERIAL|zram SIZE PRIORITY ALGORITHM LIMIT UNIT, with `-` for what is left to the kernel."""
    what = swap_serial(number) if area.on_disk else "zram"
    algorithm = "-" if area.on_disk else area.algorithm or "-"
    limit = f"{area.bps} bps" if area.bps else f"{area.iops} iops" if area.iops else "- -"
    return f"{number} {what} {area.size} {'-' if area.priority is None else area.priority} {algorithm} {limit}\n"


def _sysctl(machine: Machine, setting: Setting) -> str:
    """NAME VALUE, in the kernel's unit; all are named, so that all are read back."""
    value = getattr(machine, setting.key)
    return f"{setting.sysctl} {'-' if value is None else value // setting.unit}\n"


def _number(value: int | None) -> str:
    return "" if value is None else str(value)
