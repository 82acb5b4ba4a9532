# SPDX-License-Identifier: GPL-2.0-only
"""Whether this host can give a guest its RAM: QEMU starts all the same, until the host's OOM killer ends it."""

from __future__ import annotations

import re
from pathlib import Path

from harness.model.errors import UserError
from harness.model.machine import Machine
from harness.model.units import KIB, MIB, format_size

_MEMINFO = Path("/proc/meminfo")


def check_host_memory(machine: Machine, meminfo: Path = _MEMINFO) -> None:
    """UserError if the machine's RAM is more than what the host says is available; a host that says nothing may."""
    try:
        match = re.search(r"^MemAvailable:\s*(\d+) kB$", meminfo.read_text(encoding="ascii"), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        return
    available = int(match[1]) * KIB if match is not None else machine.ram
    if machine.ram > available:
        raise UserError(
            f"a guest with {format_size(machine.ram)} of RAM does not fit: the host has {available // MIB}M to give",
            hint="give --ram less, or end what takes the host's memory",
        )
