# SPDX-License-Identifier: GPL-2.0-only
"""What this host can give to guests, read from /proc and the harness's own cgroup; and who is last to die for it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.model.units import MIB

_PROC = Path("/proc")
_VFIO = Path("/sys/bus/pci/drivers/vfio-pci")
_CGROUPS = Path("/sys/fs/cgroup")
# What stays with the host whatever happens: its desktop and its page cache.
_LEAST_RESERVE = 512 * MIB
_RESERVE_SHARE = 16
_OWN_OOM_SCORE = -500


def cores() -> int:
    """The processors that this process may run on."""
    return len(os.sched_getaffinity(0))


def reserve() -> int:
    """The bytes that guests never get: a sixteenth of all RAM, half a GiB at least."""
    return max(_LEAST_RESERVE, _meminfo("MemTotal") // _RESERVE_SHARE)


def most_for_guests() -> int:
    """What an idle host of this size could give to guests, in bytes."""
    limit = _group_limit()
    total = _meminfo("MemTotal")
    return (total if limit is None else min(total, limit[0])) - reserve()


def room_for_guests() -> int:
    """The bytes that guests may have now: what is available, and what those that run have taken already."""
    available = _meminfo("MemAvailable")
    limit = _group_limit()
    if limit is not None:
        available = min(available, max(0, limit[0] - limit[1]))
    return available + taken_below((os.getpid(),)) - reserve()


def guest_devices(driver: Path = _VFIO) -> tuple[str, ...]:
    """The PCI devices that this host has set aside for guests (those that vfio-pci drives), as VENDOR:DEVICE."""
    found = []
    for device in sorted(driver.glob("*:*:*.*")):
        try:
            ids = [(device / name).read_text(encoding="ascii").strip() for name in ("vendor", "device")]
        except (OSError, ValueError):
            continue
        found.append(":".join(one.removeprefix("0x") for one in ids))
    return tuple(found)


@contextmanager
def last_to_die() -> Iterator[None]:
    """Puts this process last in line for the host's OOM killer, where that is allowed (reaper.py: guests first)."""
    path = _PROC / "self" / "oom_score_adj"
    try:
        before = path.read_text(encoding="ascii")
        path.write_text(str(min(int(before), _OWN_OOM_SCORE)), encoding="ascii")
    except (OSError, ValueError):
        before = ""  # to be less likely a victim than others needs CAP_SYS_RESOURCE
    try:
        yield
    finally:
        if before:
            path.write_text(before, encoding="ascii")


def _meminfo(name: str) -> int:
    for line in (_PROC / "meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    return 0


def _group_limit() -> tuple[int, int] | None:
    """Limit and use (without what is only page cache) of the tightest memory cgroup around this process."""
    try:
        words = (_PROC / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    own = next((line.removeprefix("0::/") for line in words if line.startswith("0::/")), None)
    if own is None:
        return None
    found = []
    for group in (_CGROUPS / own, *(_CGROUPS / own).parents):
        try:
            limit = (group / "memory.max").read_text(encoding="ascii").strip()
            if limit == "max":
                continue
            stat = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
            used = int((group / "memory.current").read_text(encoding="ascii"))
            found.append((int(limit), max(0, used - int(stat["inactive_file"]))))
        except (OSError, ValueError, KeyError):
            continue
    return min(found, key=lambda pair: pair[0] - pair[1], default=None)


def taken_below(tops: Collection[int]) -> int:
    """Resident bytes of all that these processes have started."""
    parents: dict[int, int] = {}
    resident: dict[int, int] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                # The name, in brackets, may have blanks and brackets of its own.
                words = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                parents[int(entry.name)], resident[int(entry.name)] = int(words[1]), int(words[21])
            except (OSError, ValueError, IndexError):
                continue
    return sum(pages for pid, pages in resident.items() if _below(pid, tops, parents)) * os.sysconf("SC_PAGE_SIZE")


def _below(pid: int, tops: Collection[int], parents: dict[int, int]) -> bool:
    seen: set[int] = set()
    while pid not in seen and pid in parents:
        seen.add(pid)
        pid = parents[pid]
        if pid in tops:
            return True
    return False
