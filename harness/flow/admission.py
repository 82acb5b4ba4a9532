# SPDX-License-Identifier: GPL-2.0-only
"""How many guests may run side by side: tokens for RAM and for vCPUs. The host is never overcommitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.model.machine import Machine
from harness.model.units import MIB

# What a guest takes beside its RAM: QEMU itself, its devices, the code that TCG translates (measured: 140 MiB for the
# whole pressure suite in 256M), vng and the reaper around it (50 MiB), and some room.
OVERHEAD = 256 * MIB
# vCPUs that may run on one core. Measured by tests/bench/bench_matrix.py.
VCPUS_PER_CORE = 2.0


@dataclass(frozen=True, slots=True)
class Claim:
    """What one guest takes from the host: `ram` in bytes with QEMU's own, `cpus` in vCPUs."""

    ram: int
    cpus: int

    @classmethod
    def of(cls, machine: Machine) -> Claim:
        return cls(machine.ram + OVERHEAD, machine.cpus)


class Tokens:
    """Who runs holds its claim until it is given back. Used by one thread.

    `capacity` says how many bytes guests may have at this moment, those that run included; `cpus` is the limit for
    the vCPUs together, which a guest alone may exceed: it only gets slower.
    """

    def __init__(self, capacity: Callable[[], int], cpus: int) -> None:
        self._capacity = capacity
        self._cpus = cpus
        self._held: list[Claim] = []

    @property
    def ram_held(self) -> int:
        return sum(claim.ram for claim in self._held)

    @property
    def cpus_held(self) -> int:
        return sum(claim.cpus for claim in self._held)

    def admit(self, claim: Claim) -> bool:
        """Takes the claim if it fits now."""
        if self._held and self.cpus_held + claim.cpus > self._cpus:
            return False
        if self.ram_held + claim.ram > self._capacity():
            return False
        self._held.append(claim)
        return True

    def give_back(self, claim: Claim) -> None:
        self._held.remove(claim)
