# SPDX-License-Identifier: GPL-2.0-only
"""What somebody's log says of its machine, and the scenario that is to bring the same about. Sizes in bytes."""

from __future__ import annotations

from dataclasses import dataclass

from harness.model.event import Event
from harness.model.oom import Oom
from harness.model.span import Span

SCENARIO_SCHEMA = "ttm-harness/scenario/1"


@dataclass(frozen=True, slots=True)
class SeenSwap:
    """An area as the kernel announced it: `Adding 524284k swap on /dev/zram0.`"""

    device: str
    size: int


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What a log says of the machine outside of its reports; empty or None where it does not.

    `cmdline` are the words of the kernel's command line, `ram` what the kernel found at boot, `arch` is what people
    call the architecture.
    """

    release: str = ""
    cmdline: tuple[str, ...] = ()
    ram: int | None = None
    swaps: tuple[SeenSwap, ...] = ()
    zswap: bool = False
    arch: str = ""


@dataclass(frozen=True, slots=True)
class MemoryShares:
    """Where the memory of the machine was. `managed` is what the page allocator had; the parts do not overlap.

    `gpu` is what a kernel counts as GPU pages, None before 7.1; `unaccounted` is what no counter names: pages that
    drivers took from the page allocator, buffer objects among them, and compressed swap. None: the log does not say.
    """

    managed: int | None = None
    free: int | None = None
    anon: int | None = None
    file: int | None = None
    shmem: int | None = None
    unevictable: int | None = None
    slab: int | None = None
    kernel: int | None = None
    gpu: int | None = None
    huge: int | None = None
    unaccounted: int | None = None
    min: int | None = None
    low: int | None = None
    high: int | None = None
    swap_total: int | None = None
    swap_free: int | None = None

    @property
    def swap_used(self) -> int | None:
        if self.swap_total is None or self.swap_free is None:
            return None
        return max(0, self.swap_total - self.swap_free)

    @property
    def held(self) -> int | None:
        """Pages of drivers, as far as anybody knows."""
        return self.unaccounted if self.gpu is None else self.gpu


@dataclass(frozen=True, slots=True)
class ChosenKey:
    """One key of the plan, as it is written there, and why: a sentence with the report's own numbers."""

    key: str
    value: str
    why: str


@dataclass(frozen=True, slots=True)
class Scenario:
    """A plan in parts. `scale` is the guest's memory over the report's. `notes` are what the run will not have."""

    title: str
    sentence: str
    span: Span
    suites: tuple[str, ...]
    machine: tuple[ChosenKey, ...] = ()
    knobs: tuple[ChosenKey, ...] = ()
    scale: float = 1.0
    release: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Likeness:
    """One field of two reports. `alike` is None where one of them does not say."""

    field: str
    theirs: str
    ours: str
    alike: bool | None
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What `repro --from-dmesg` prints with --json. `plan` is the text of the plan file; `again` says whether the
    same happened: None where nothing was run or it cannot be told. `run` is the directory of the run.
    """

    schema: str
    facts: HostFacts
    oom: Oom | None
    event: Event | None
    scenario: Scenario | None
    plan: str = ""
    reports: int = 0
    problems: tuple[str, ...] = ()
    run: str = ""
    ours: Oom | None = None
    likeness: tuple[Likeness, ...] = ()
    again: bool | None = None
    said: str = ""
