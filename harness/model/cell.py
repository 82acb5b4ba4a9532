# SPDX-License-Identifier: GPL-2.0-only
"""The unit of a matrix, of the journal, of a cluster task and of a reproduction."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from harness.model.machine import Machine


@dataclass(frozen=True, slots=True)
class Knob:
    """A parameter of a suite, as given with --knob NAME=VALUE."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Cell:
    """Build x Machine x Suites x knobs x seed. Suites in one cell share one boot, in this order.

    `cases` are globs, for suites that can run a part of their cases; empty means all. `igt` is the id of the IGT
    tests that the user brought, where a suite runs them.
    """

    build_id: str
    machine: Machine
    suites: tuple[str, ...]
    seed: int
    knobs: tuple[Knob, ...] = ()
    cases: tuple[str, ...] = ()
    igt: str = ""

    @property
    def id(self) -> str:
        """Twelve hex digits over all that the cell is; the same inputs give the same id anywhere."""
        words = [self.build_id, self.machine.identity, *self.suites, str(self.seed)]
        words += sorted(f"{knob.name}={knob.value}" for knob in self.knobs)
        words += sorted(f"case {glob}" for glob in self.cases)
        words += [f"igt {self.igt}"] if self.igt else []
        return hashlib.sha256("\0".join(words).encode()).hexdigest()[:12]
