# SPDX-License-Identifier: GPL-2.0-only
"""What an OOM report means to the author of a shrinker: its classes, and one sentence."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from harness.evidence.lines import LogLine
from harness.evidence.oom import find_ooms
from harness.model.oom import Kill, Oom, OomClass, OomEnding, OomReport
from harness.model.units import MIB

HOGS = ("hog",)
# Free swap counts as to spare above both: a tenth of all swap, and what clusters and per-CPU slots hold back.
SPARE_SHARE = 0.1
SPARE_LEAST = 16 * MIB
# Some objects are always in use; what a shrinker could have given is worth naming from here on.
SHRINKABLE_LEAST = MIB
_COMM = 15  # the kernel cuts names there


def read_ooms(lines: Iterable[LogLine], hogs: Sequence[str] = HOGS, shrinkable: int | None = None) -> tuple[Oom, ...]:
    """Every OOM of a log, with what it means. The arguments are those of `judge_oom`."""
    return tuple(judge_oom(report, hogs, shrinkable) for report in find_ooms(lines))


def judge_oom(report: OomReport, hogs: Sequence[str] = HOGS, shrinkable: int | None = None) -> Oom:
    """`hogs` are names, or globs of names, of who is meant to be killed. `shrinkable` is what the caller knows of
    objects that a shrinker could have given, in bytes; it is used where the report itself does not tell
    (7.1 and later print gpu_active and gpu_reclaim for each node)."""
    swap = swap_free(report)
    told = gpu_pages(report)
    left = shrinkable if told is None else told
    classes = tuple(kind for kind in OomClass if _holds(kind, report, hogs, swap, left))
    return Oom(report, classes, _sentence(report, swap, left), _fingerprint(report, classes), swap, left)


def gpu_pages(report: OomReport) -> int | None:
    """Bytes in GPU objects and in their pools, as Mem-Info counts them; pinned ones are among them."""
    parts = [report.memory.on_nodes(name) for name in ("gpu_active", "gpu_reclaim")]
    told = [part for part in parts if part is not None]
    return sum(told) if told else None


def swap_free(report: OomReport) -> int | None:
    """Swap that was still there for whoever asked. A cgroup without a limit of swap does not say."""
    if report.memory.swap_free is not None:
        return report.memory.swap_free
    charge = report.memcg.charge("swap") if report.memcg is not None else None
    if charge is None or charge.limit is None:
        return None
    return max(0, charge.limit - charge.usage)


def _swap_total(report: OomReport) -> int | None:
    if report.memory.swap_total is not None:
        return report.memory.swap_total
    charge = report.memcg.charge("swap") if report.memcg is not None else None
    return None if charge is None else charge.limit


def _holds(kind: OomClass, report: OomReport, hogs: Sequence[str], swap: int | None, left: int | None) -> bool:
    """Whether a class holds."""
    victim, constraint, order = report.victim, report.constraint.kind, report.invoker.order
    total = _swap_total(report)
    return {
        OomClass.EXPECTED_VICTIM: victim is not None and _is_one_of(victim, hogs),
        OomClass.WRONG_VICTIM: victim is not None and not _is_one_of(victim, hogs),
        OomClass.NO_KILLABLE_PROCESS: report.ending is OomEnding.NO_VICTIM,
        OomClass.PANIC: bool(report.panic),
        OomClass.MEMCG: report.in_memcg,
        OomClass.CPUSET: constraint == "CPUSET",
        OomClass.MEMORY_POLICY: constraint == "MEMORY_POLICY",
        OomClass.HIGH_ORDER: order is not None and order > 0,
        OomClass.MANUAL: order == -1,
        OomClass.SWAP_TO_SPARE: swap is not None
        and total is not None
        and swap > SPARE_LEAST
        and swap > SPARE_SHARE * total,
        OomClass.SHRINKABLE_LEFT: left is not None and left >= SHRINKABLE_LEAST,
    }[kind]


def _is_one_of(victim: Kill, hogs: Sequence[str]) -> bool:
    return any(fnmatchcase(victim.comm, hog[:_COMM]) for hog in hogs)


def _mib(size: int) -> str:
    size = max(size, 0)  # the kernel's own counters may be behind each other
    return f"{size / MIB:.0f} MiB" if size >= 10 * MIB or size == 0 else f"{size / MIB:.1f} MiB"


def _sentence(report: OomReport, swap: int | None, left: int | None) -> str:
    """`OOM with N MiB swap free and M MiB of shrinkable objects: hog (pid 47) was killed (RSS 66 MiB)`."""
    order = report.invoker.order
    words = ["OOM"]
    if order == -1:
        words.append("by sysrq")
    elif order:
        words.append(f"at order {order}")
    if report.in_memcg:
        words.append(_cgroup(report))
    having = []
    if swap is not None:
        having.append("no swap" if not _swap_total(report) else f"{_mib(swap)} swap free")
    if left is not None:
        having.append(f"{_mib(left)} of shrinkable objects")
    if having:
        words.append("with " + " and ".join(having))
    return f"{' '.join(words)}: {_outcome(report)}"


def _cgroup(report: OomReport) -> str:
    path = report.constraint.oom_memcg or (report.memcg.path if report.memcg is not None else "")
    limit = report.memcg.charge("memory") if report.memcg is not None else None
    at = f" at its limit of {_mib(limit.limit)}" if limit is not None and limit.limit is not None else ""
    return f"in memory cgroup {path}{at}" if path else f"in a memory cgroup{at}"


def _outcome(report: OomReport) -> str:
    """What came of it."""
    victim = report.victim
    if victim is not None:
        size = "" if victim.rss is None else f" (RSS {_mib(victim.rss)})"
        others = f", and {len(report.kills) - 1} more of {report.group}" if len(report.kills) > 1 else ""
        return f"{victim.comm} (pid {victim.pid}) was killed{size}{others}"
    if report.ending is OomEnding.NO_VICTIM:
        return "no process could be killed" + (", and the kernel panicked" if report.panic else "")
    if report.ending is OomEnding.PANIC:
        return "the kernel panicked, as panic_on_oom tells it to"
    if report.ending is OomEnding.EXITING:
        return "the victim was already exiting"
    return "the log ends before it says who was killed"


def _fingerprint(report: OomReport, classes: Sequence[OomClass]) -> str:
    """Twelve hex digits. Who asked, and on what path, is chance in an OOM, so it is no part of it."""
    comm = re.sub(r"\d+", "N", report.victim.comm) if report.victim is not None else ""
    words = "\0".join(("oom", str(report.ending), report.constraint.kind, comm, *classes))
    return hashlib.sha1(words.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()[:12]
