# SPDX-License-Identifier: GPL-2.0-only
"""The machine that a cell asks for, and what the guest found when it looked around."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum

from harness.model.errors import UserError
from harness.model.swap import PAGE, Swap, SwapArea, SwapFacts, SwapKind, ZswapFacts
from harness.model.units import KIB, MIB, format_size

__all__ = ["SETTINGS", "Accel", "Difference", "GuestFacts", "Machine", "Setting", "Swap"]

_SWAP = Swap((SwapArea(SwapKind.DISK, 1024 * MIB),))
_LEAST_GROUP = 4 * MIB  # a shell and what it starts
_MOST_SCALE = 3000  # watermark_scale_factor: 3000 is a third of a zone
_MOST_CLUSTER = 10  # page-cluster: read-ahead of 1024 pages; the kernel itself takes up to 31
_MOST_ZRAM = 4  # times RAM: what no algorithm makes of pages with anything in them


class Accel(StrEnum):
    AUTO = "auto"
    KVM = "kvm"
    TCG = "tcg"
    NONE = "none"  # a test machine is no guest


@dataclass(frozen=True, slots=True)
class Setting:
    """Something that the guest makes of itself when it is asked to: `key` is its field in `Machine` and in
    `GuestFacts`, which are sizes in bytes where `size` is said, and numbers else. `name` is the kernel's own name for
    it, `word` the one in lists. `sysctl` is its file in /proc/sys/vm, `unit` how many bytes count as one there.
    """

    key: str
    name: str
    word: str
    help: str
    size: bool = False
    sysctl: str = ""
    unit: int = 1

    def shown(self, value: int | None) -> str:
        """A value as people write it."""
        return "none" if value is None else format_size(value) if self.size else str(value)


# All that there is of them: options, keys of plans, the guest's job, its facts and reports go by this table.
SETTINGS = (
    Setting(
        "memory_max", "memory.max of the load", "memory.max", "memory.max of a cgroup around the load.", size=True
    ),
    Setting(
        "memory_high", "memory.high of the load", "memory.high", "memory.high of a cgroup around the load.", size=True
    ),
    Setting("swappiness", "vm.swappiness", "swappiness", "vm.swappiness, 0 to 200.", sysctl="swappiness"),
    Setting(
        *("min_free", "vm.min_free_kbytes", "min_free", "vm.min_free_kbytes, as a size."),
        size=True,
        sysctl="min_free_kbytes",
        unit=KIB,
    ),
    Setting(
        *("watermark_scale", "vm.watermark_scale_factor", "watermark_scale"),
        "vm.watermark_scale_factor, 1 to 3000.",
        sysctl="watermark_scale_factor",
    ),
    Setting(
        *("page_cluster", "vm.page-cluster", "page_cluster"),
        "vm.page-cluster: read-ahead from swap in powers of two pages, 0 to 10.",
        sysctl="page-cluster",
    ),
)


@dataclass(frozen=True, slots=True)
class Machine:
    """What QEMU is asked to be, and what the guest is asked to make of itself. Sizes in bytes.

    `cmdline` is added to the harness's own kernel arguments. `memory_max` and `memory_high` limit a cgroup around the
    load; `swappiness`, `min_free`, `watermark_scale` and
    `page_cluster` are sysctls of vm; `free` is the RAM that is free when the
    first suite starts. None leaves each as the kernel has it. `at` is a test machine instead of a guest, `device` a
    PCI device of its host for the guest (model/pci.py).
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
    page_cluster: int | None = None
    free: int | None = None
    at: str = ""
    device: str = ""

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
        self._check_place()
        self._check_group()
        self._check_reclaim()

    def _check_place(self) -> None:
        """A test machine has its own CPUs, and a disk that is as fast as it is."""
        if self.at and self.accel is Accel.AUTO:
            object.__setattr__(self, "accel", Accel.NONE)
        if bool(self.at) is not (self.accel is Accel.NONE):
            what = "is no guest of QEMU's" if self.at else "is for a test machine"
            raise UserError(f"--accel {self.accel} {what}", hint="--accel goes without --machine")
        if self.at and self.device:
            raise UserError("a test machine has its own devices", hint="--device is for a guest of this host")
        if self.at and any(area.bps or area.iops for area in self.swap.areas):
            raise UserError("the disk of a test machine cannot be slowed down", hint="--swap disk:SIZE or zram:SIZE")

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
        if self.page_cluster is not None and not 0 <= self.page_cluster <= _MOST_CLUSTER:
            raise UserError(f"page-cluster cannot be {self.page_cluster}", hint=f"0 to {_MOST_CLUSTER}")
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
        asked = sorted(self.asked, key=lambda one: not one[0].size)
        words = [f"{setting.word} {setting.shown(value)}" for setting, value in asked]
        return (*words, f"{format_size(self.free)} free at start") if self.free is not None else tuple(words)

    @property
    def identity(self) -> str:
        """All that was asked for, in one line; what was not asked for is not named, so that a setting which a later
        harness knows changes nothing for the machines of before.
        """
        # As a tuple is shown: a word of the command line must not read like a setting.
        plain = (self.ram, str(self.swap), self.cpus, str(self.accel), self.cmdline, self.free)
        there = tuple((key, value) for key, value in (("at", self.at), ("device", self.device)) if value)
        return repr((*plain, *((one.key, value) for one, value in self.asked), *there))

    @property
    def asked(self) -> tuple[tuple[Setting, int], ...]:
        """The settings that are not left to the kernel, with their values."""
        return tuple((one, value) for one in SETTINGS if (value := getattr(self, one.key)) is not None)

    def __str__(self) -> str:
        where = self.at or str(self.accel)
        words = (f"{format_size(self.ram)} RAM", f"swap {self.swap}", f"{self.cpus} vCPUs", where, self.device)
        return ", ".join((*filter(None, words), *self.settings))


@dataclass(frozen=True, slots=True)
class GuestFacts:
    """What the guest measured of itself before the first suite. Sizes in bytes.

    `ram` is the sum of the System RAM ranges of /proc/iomem: what the machine has, not what the kernel left of it.
    `swaps` are the areas in the order in which they were asked for. `memory_max` and `memory_high` are what holds for
    a process of the load, None without a limit. `mem_free` is MemFree, `free_pcp` what lies on the lists of the CPUs
    and comes back to MemFree by and by. `held` was taken away to leave as much free as was asked for. `pci` are the
    devices on its bus, VENDOR:DEVICE, where one of the host's was asked for.
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
    page_cluster: int | None = None
    free_pcp: int = 0
    held: int = 0
    pci: tuple[str, ...] = ()

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
