# SPDX-License-Identifier: GPL-2.0-only
"""How many guests may run side by side: tokens for RAM and for vCPUs. The host is never overcommitted."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

from harness.flow.resources import most_for_guests, taken_below
from harness.model.errors import UserError
from harness.model.machine import Machine
from harness.model.units import MIB, format_size
from harness.store.claims import Claims

# What a guest takes beside its RAM: QEMU itself, its devices, the code that TCG translates (measured: 140 MiB for the
# whole pressure suite in 256M), vng and the reaper around it (50 MiB), and some room.
OVERHEAD = 256 * MIB
# vCPUs that may run on one core. Measured by tests/bench/bench_matrix.py.
VCPUS_PER_CORE = 2.0


@dataclass(frozen=True, slots=True)
class Claim:
    """What one guest takes from the host: `ram` in bytes with QEMU's own, `cpus` in vCPUs, and its `device`, which
    one guest at a time can have. A test machine takes nothing.
    """

    ram: int
    cpus: int
    device: str = ""

    @classmethod
    def of(cls, machine: Machine) -> Claim:
        return cls(0, 0) if machine.at else cls(machine.ram + OVERHEAD, machine.cpus, machine.device)


NO_CLAIM = Claim(0, 0)  # of what another host carries


class Tokens:
    """Who runs holds its claim until it is given back. Used by one thread.

    `capacity` says how many bytes guests of this process may have at this moment, those that run included; `cpus` is
    the limit for the vCPUs together, which a guest alone may exceed: it only gets slower. With `claims` the guests of
    all other processes count, too.
    """

    def __init__(self, capacity: Callable[[], int], cpus: int, claims: Claims | None = None) -> None:
        self._capacity = capacity
        self._cpus = cpus
        self._claims = claims
        self._held: list[tuple[Claim, IO[bytes] | None]] = []

    @property
    def ram_held(self) -> int:
        return sum(claim.ram for claim, _ in self._held)

    @property
    def cpus_held(self) -> int:
        return sum(claim.cpus for claim, _ in self._held)

    def admit(self, claim: Claim, *, crowded: bool = False) -> bool:
        """Takes the claim if it fits now; `crowded`: whatever vCPUs that makes, which only makes all slower."""
        if claim.device and any(one.device == claim.device for one, _ in self._held):
            return False
        if self._claims is None:
            if not self._fits(claim, self.ram_held, self.cpus_held, crowded):
                return False
            self._held.append((claim, None))
            return True
        with self._claims.turn():
            held = self._claims.all()  # this process's own among them
            strangers = {one.pid for one in held} - {os.getpid()}
            ram = sum(one.ram for one in held) - (taken_below(strangers) if strangers else 0)
            if not self._fits(claim, ram, sum(one.cpus for one in held), crowded):
                return False
            self._held.append((claim, self._claims.make(claim.ram, claim.cpus)))
        return True

    def give_back(self, claim: Claim) -> None:
        index = next(index for index, (one, _) in enumerate(self._held) if one == claim)
        _, file = self._held.pop(index)
        if file is not None and self._claims is not None:
            self._claims.drop(file)

    def _fits(self, claim: Claim, ram: int, cpus: int, crowded: bool) -> bool:
        if cpus and not crowded and cpus + claim.cpus > self._cpus:
            return False
        return ram + claim.ram <= self._capacity()


def check_machine(machine: Machine) -> None:
    """UserError for a guest that this host could not carry even if it had nothing else to do."""
    claim, most = Claim.of(machine), most_for_guests()
    if claim.ram > most and not machine.at:
        raise UserError(
            f"this host cannot carry a guest with {format_size(machine.ram)} of RAM: it takes "
            f"{claim.ram // MIB}M with QEMU's own, and guests may have {max(0, most) // MIB}M in all",
            hint="a smaller --ram, or another host",
        )
