# SPDX-License-Identifier: GPL-2.0-only
"""What a number that a guest gives means: its unit, which way is better, how it is drawn, what is made of it.

A figure is called as in a report: `stat.NAME` is a column of a suite's file of statistics, a name without that is
printed by its cases, or made of columns. What is said here goes for every suite; the rest its suite.toml says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

STAT = "stat."


class Unit(StrEnum):
    """What a figure is counted in."""

    COUNT = "count"
    PAGES = "pages"
    KIB = "KiB"
    BYTES = "bytes"
    US = "us"
    NS = "ns"

    def in_bytes(self, page_size: int) -> int:
        """How many bytes one of it is; 0 of what is no size."""
        return {Unit.PAGES: page_size, Unit.KIB: 1024, Unit.BYTES: 1}.get(self, 0)

    @property
    def seconds(self) -> float:
        """How many seconds one of it is; 0 of what is no time."""
        return {Unit.US: 1e-6, Unit.NS: 1e-9}.get(self, 0.0)


class Better(StrEnum):
    """Which way a figure should go. Of most that depends on what the kernel was to do."""

    LESS = "less"
    MORE = "more"
    NEITHER = "neither"


class Plot(StrEnum):
    """How a figure is drawn: a level among those of memory, in MiB; a counter beside the scans of the shrinker, in
    MiB a second; the scans themselves, a second.
    """

    MEMORY = "memory"
    RATE = "rate"
    SCANS = "scans"


@dataclass(frozen=True, slots=True)
class Figure:
    """`name` may be a glob. A `level` goes up and down, everything else is a counter. Its `title` is for the plot;
    the `cost` of a machine is told with its verdict.

    Made of counters: with `over` it is `of` in bytes for each second of `over`; else an estimate of what is there at
    a time, in KiB: what `of` grew by minus what `less` did, never below 0 nor above the sum of the columns `within`.
    """

    name: str
    unit: Unit = Unit.COUNT
    level: bool = False
    better: Better = Better.NEITHER
    title: str = ""
    plot: Plot | None = None
    cost: bool = False
    of: str = ""
    over: str = ""
    less: tuple[str, ...] = ()
    within: tuple[str, ...] = ()

    @property
    def bare(self) -> str:
        """The name as the suite itself writes it."""
        return self.name.removeprefix(STAT)

    @property
    def is_rate(self) -> bool:
        return bool(self.over)

    @property
    def is_estimate(self) -> bool:
        return bool(self.of) and not self.over

    def covers(self, name: str) -> bool:
        """Whether it is about the figure of that name; of a level it is about the most (`NAME.max`)."""
        return fnmatchcase(name, self.name) or fnmatchcase(name.removesuffix(".max"), self.name)


def _general() -> Iterable[Figure]:
    for name in (
        *("seconds", "*.seconds", "ms", "*_ms", "longest_gap"),
        *("psi_*", "allocstall", "compact_stall", "compact_fail", "oom_kill"),
        "checks_failed",  # guest-scripts/module counts it
    ):
        yield Figure(name, better=Better.LESS)
    for name in ("gpu_active", "gpu_reclaim", "shmem", "swap_free"):  # of the kernel, which guest-scripts/module adds
        yield Figure(f"{STAT}{name}", Unit.PAGES, level=True)
    # What a name says by itself.
    yield Figure("*_ns_max", Unit.NS, level=True, better=Better.LESS)
    yield Figure("*_ns", Unit.NS)
    for end in ("max", "now", "p[0-9]", "p[0-9][0-9]", "p[0-9][0-9][0-9]"):
        yield Figure(f"*_{end}", level=True)


GENERAL = tuple(_general())


@dataclass(frozen=True, slots=True)
class Figures:
    """What is known of the figures of a boot; `own` is what its suites say, each name once."""

    own: tuple[Figure, ...] = ()

    @staticmethod
    def of_suites(tables: Iterable[tuple[Figure, ...]]) -> Figures:
        """What several suites say; of one name the first."""
        found: dict[str, Figure] = {}
        for table in tables:
            for figure in table:
                found.setdefault(figure.name, figure)
        return Figures(tuple(found.values()))

    def of(self, name: str) -> Figure:
        """The first that is about that name; of a name that nobody knows it is a count."""
        return next((one for one in (*self.own, *GENERAL) if one.covers(name)), Figure(name))

    def drawn(self, plot: Plot) -> tuple[Figure, ...]:
        return tuple(one for one in self.own if one.plot is plot)


NO_FIGURES = Figures()
