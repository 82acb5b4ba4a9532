# SPDX-License-Identifier: GPL-2.0-only
"""What a suite promises: what it needs, how it starts in the guest, what must have been executed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Requirement:
    """What must have been executed for the suite to count, on kernels in [since, before).

    `case` is a glob over `SUITE.CASE` names as KTAP nests them (`ttm_pool.*`); at least `least` distinct cases
    that match must have been executed. SKIP does not count.
    """

    case: str
    least: int
    since: tuple[int, int] = (0, 0)
    before: tuple[int, int] = (9999, 0)

    def holds_for(self, version: tuple[int, int, int]) -> bool:
        return self.since <= version[:2] < self.before


@dataclass(frozen=True, slots=True)
class ExpectedSplat:
    """A kernel message that a case provokes on purpose: both are regular expressions, `reason` says why."""

    case: str
    title: str
    reason: str


@dataclass(frozen=True, slots=True)
class Suite:
    """`script` is the runner's name in guest-scripts/; `arguments` are passed to it.

    `symbols` are Kconfig symbols of which the suite needs each as y or m. `deadline` is in seconds on a machine
    that runs at the speed of TCG on one laptop core; the flow scales it.
    """

    name: str
    title: str
    script: str
    arguments: tuple[str, ...]
    symbols: tuple[str, ...]
    requirements: tuple[Requirement, ...]
    shares_boot: bool
    deadline: float
    profile: str
    expected_splats: tuple[ExpectedSplat, ...] = ()
    needs_module: str | None = None
