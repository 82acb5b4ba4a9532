# SPDX-License-Identifier: GPL-2.0-only
"""The machine that a cell asks for, and what the guest found when it looked around."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum

from harness.model.errors import UserError
from harness.model.swap import PAGE, Swap, SwapArea, SwapFacts, SwapKind, ZswapFacts
from harness.model.units import KIB, MIB, format_size

__all__ = ["Accel", "Difference", "GuestFacts", "Machine", "Swap"]

_SWAP = Swap((SwapArea(SwapKind.DISK, 1024 * MIB),))
_LEAST_GROUP = 4 * MIB  # a shell and what it starts
_MOST_SCALE = 3000  # watermark_scale_factor: 3000 is a third of a zone
_MOST_ZRAM = 4  # times RAM: what no algorithm makes of pages with anything in them


class Accel(StrEnum):
    AUTO = "auto"
    KVM = "kvm"
    TCG = "tcg"


@dataclass(frozen=True, slots=True)
class Machine:
    """What QEMU is asked to be, and what the guest is asked to make of itself. Sizes in bytes.

    `cmdline` is added to the harness's own kernel arguments. `memory_max` and `memory_high` limit a cgroup around the
    load; `swappiness`, `min_free` and `watermark_scale` are sysctls of vm; `free` is the RAM that is free when the
    first suite starts. None leaves each as the kernel has it.
    """

    ram: int = 256 * MIB
    swap: Swap = _SWAP
    cpus: int = 2
    accel: Accel = Accel.AUTO
    cmdline: tuple[str, ...] = ()
    memory_max: int | None = None
    memory_high: int | None = None
    swappiness: int | None = None
    min_free: int | None = None
    watermark_scale: int | None = None
    free: int | None = None

    def __post_init__(self) -> None:
        if self.ram < 8 * MIB or self.ram % MIB:
            raise UserError(f"a guest cannot have {format_size(self.ram)} of RAM", hint="give whole MiB, 8M or more")
        if not 1 <= self.cpus <= 8:
            raise UserError(f"a guest cannot have {self.cpus} vCPUs", hint="1 to 8 (NR_CPUS of the profiles is 8)")
        zram = sum(area.size for area in self.swap.areas if area.kind is SwapKind.ZRAM)
        if zram > _MOST_ZRAM * self.ram:
            raise UserError(
                f"{format_size(zram)} of zram do not fit in {format_size(self.ram)} of RAM, however compressed",
                hint=f"{_MOST_ZRAM} times the RAM is the most",
            )
        self._check_group()
        self._check_reclaim()

    def _check_group(self) -> None:
        for name, size in (("memory.max", self.memory_max), ("memory.high", self.memory_high)):
            if size is not None and (not _LEAST_GROUP <= size <= self.ram or size % PAGE):
                raise UserError(
                    f"{name} of {format_size(size)} makes no sense with {format_size(self.ram)} of RAM",
                    hint=f"whole pages of 4K, {format_size(_LEAST_GROUP)} or more, and no more than the RAM",
                )
        if self.memory_max is not None and self.memory_high is not None and self.memory_high > self.memory_max:
            raise UserError(
                f"memory.high of {format_size(self.memory_high)} is never reached with memory.max of "
                f"{format_size(self.memory_max)}",
                hint="give --memory-high less than --memory-max",
            )

    def _check_reclaim(self) -> None:
        if self.swappiness is not None and not 0 <= self.swappiness <= 200:
            raise UserError(f"swappiness cannot be {self.swappiness}", hint="0 to 200")
        if self.watermark_scale is not None and not 1 <= self.watermark_scale <= _MOST_SCALE:
            raise UserError(
                f"watermark_scale_factor cannot be {self.watermark_scale}",
                hint=f"1 to {_MOST_SCALE}, in ten-thousandths of the RAM",
            )
        if self.min_free is not None and (not 0 < self.min_free <= self.ram // 2 or self.min_free % KIB):
            raise UserError(
                f"{format_size(self.min_free)} cannot be kept free of {format_size(self.ram)} of RAM",
                hint="--min-free takes whole KiB, up to half of the RAM",
            )
        if self.free is not None and not max(self.min_free or 0, MIB) <= self.free < self.ram:
            raise UserError(
                f"{format_size(self.free)} of {format_size(self.ram)} of RAM cannot be free at start",
                hint="--free is 1M or more, not below --min-free, and less than --ram",
            )

    @property
    def settings(self) -> tuple[str, ...]:
        """What the guest is to make of itself beside swap, in words; empty for a machine as the kernel has it."""
        sizes = (("memory.max", self.memory_max), ("memory.high", self.memory_high), ("min_free", self.min_free))
        numbers = (("swappiness", self.swappiness), ("watermark_scale", self.watermark_scale))
        words = [f"{name} {format_size(size)}" for name, size in sizes if size is not None]
        words += [f"{name} {number}" for name, number in numbers if number is not None]
        return (*words, f"{format_size(self.free)} free at start") if self.free is not None else tuple(words)

    def __str__(self) -> str:
        words = (f"{format_size(self.ram)} RAM", f"swap {self.swap}", f"{self.cpus} vCPUs", str(self.accel))
        return ", ".join((*words, *self.settings))


@dataclass(frozen=True, slots=True)
class GuestFacts:
    """What the guest measured of itself before the first suite. Sizes in bytes.

    `ram` is the sum of the System RAM ranges of /proc/iomem: what the machine has, not what the kernel left of it.
    `swaps` are the areas in the order in which they were asked for. `memory_max` and `memory_high` are what holds for
    a process of the load, None without a limit. `mem_free` is MemFree, `free_pcp` what lies on the lists of the CPUs
    and comes back to MemFree by and by. `held` was taken away to leave as much free as was asked for.
    """

    release: str
    cmdline: str
    cpus: int
    ram: int
    mem_total: int
    mem_free: int
    swap_total: int
    seed: str
    taint: int
    swaps: tuple[SwapFacts, ...] = ()
    zswap: ZswapFacts | None = None
    memory_max: int | None = None
    memory_high: int | None = None
    swappiness: int | None = None
    min_free: int | None = None
    watermark_scale: int | None = None
    free_pcp: int = 0
    held: int = 0

    @property
    def free(self) -> int:
        """What can be had without reclaim."""
        return self.mem_free + self.free_pcp


@dataclass(frozen=True, slots=True)
class Difference:
    """Asked is not got."""

    what: str
    asked: str
    got: str

    def __str__(self) -> str:
        return f"{self.what}: asked {self.asked}, got {self.got}"


# What boots may differ in, and `compare` can look past.
TRAITS = ("profile", *(one.name for one in fields(Machine)), "knobs")
