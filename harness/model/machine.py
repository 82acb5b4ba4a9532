# SPDX-License-Identifier: GPL-2.0-only
"""The machine that a cell asks for, and what the guest found when it looked around."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.model.errors import UserError
from harness.model.units import MIB, format_size, parse_size


class Accel(StrEnum):
    AUTO = "auto"
    KVM = "kvm"
    TCG = "tcg"


class SwapKind(StrEnum):
    NONE = "none"
    DISK = "disk"  # a raw virtio disk, sparse on the host


@dataclass(frozen=True, slots=True)
class Swap:
    """Swap of a machine; `size` in bytes, 0 exactly when there is none."""

    kind: SwapKind = SwapKind.NONE
    size: int = 0

    def __post_init__(self) -> None:
        if (self.kind is SwapKind.NONE) != (self.size == 0):
            raise UserError(
                f"swap of kind {self.kind} cannot have size {format_size(self.size)}",
                hint="write --swap none or --swap disk:1G",
            )
        if self.size and self.size < MIB:
            raise UserError(f"swap of {format_size(self.size)} is too small", hint="1M is the least")

    @classmethod
    def parse(cls, text: str) -> Swap:
        """`none`, `disk:1G`; UserError otherwise."""
        kind, _, size = text.partition(":")
        if kind not in SwapKind.__members__.values():
            raise UserError(f"swap {text!r} is of no known kind", hint="write --swap none or --swap disk:1G")
        if kind == SwapKind.NONE:
            if size:
                raise UserError(f"swap {text!r}: none has no size")
            return cls()
        if not size:
            raise UserError(f"swap {text!r} names no size", hint=f"write --swap {kind}:1G")
        return cls(SwapKind(kind), parse_size(size, "swap size"))

    def __str__(self) -> str:
        return str(self.kind) if self.kind is SwapKind.NONE else f"{self.kind}:{format_size(self.size)}"


@dataclass(frozen=True, slots=True)
class Machine:
    """What QEMU is asked to be. `ram` in bytes; `cmdline` is added to the harness's own kernel arguments."""

    ram: int = 256 * MIB
    swap: Swap = Swap(SwapKind.DISK, 1024 * MIB)
    cpus: int = 2
    accel: Accel = Accel.AUTO
    cmdline: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.ram < 8 * MIB or self.ram % MIB:
            raise UserError(f"a guest cannot have {format_size(self.ram)} of RAM", hint="give whole MiB, 8M or more")
        if not 1 <= self.cpus <= 8:
            raise UserError(f"a guest cannot have {self.cpus} vCPUs", hint="1 to 8 (NR_CPUS of the profiles is 8)")

    def __str__(self) -> str:
        return f"{format_size(self.ram)} RAM, swap {self.swap}, {self.cpus} vCPUs, {self.accel}"


@dataclass(frozen=True, slots=True)
class GuestFacts:
    """What the guest measured of itself before the first suite. Sizes in bytes.

    `ram` is the sum of the System RAM ranges of /proc/iomem: what the machine has, not what the kernel left of it.
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


@dataclass(frozen=True, slots=True)
class Difference:
    """Asked is not got."""

    what: str
    asked: str
    got: str

    def __str__(self) -> str:
        return f"{self.what}: asked {self.asked}, got {self.got}"
