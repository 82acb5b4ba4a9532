# SPDX-License-Identifier: GPL-2.0-only
"""A kernel: as it is wanted, and as it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.model.build import DEFAULT_PROFILE, Build
from harness.model.result import LeftOut
from harness.model.series import SeriesSpec
from harness.model.tree import SourceSpec


@dataclass(frozen=True, slots=True)
class KernelSpec:
    """What a kernel is to be made of: the same for all boots that share one.

    `fragments` are the user's own, on top of the profile's. Of the series `upto` patches are taken, or all of them;
    `mirror` is a directory of mboxes to look for it in, instead of lore. `build` is the id of the build that is
    meant: taken where the store still has it, else made again of what the rest says. `igt` is the id of the IGT
    tests, kept in the store, that suites are to run on it.
    """

    source: SourceSpec
    profile: str = DEFAULT_PROFILE
    fragments: tuple[Path, ...] = ()
    series: SeriesSpec | None = None
    upto: int | None = None
    mirror: Path | None = None
    build: str = ""
    igt: str = ""

    @property
    def whole(self) -> KernelSpec:
        """With all patches of its series."""
        return replace(self, upto=None)

    @property
    def unpatched(self) -> KernelSpec:
        """Without the series."""
        return replace(self, series=None, upto=None)

    @property
    def patches(self) -> str:
        """Which patches it has, for people."""
        which = "all patches" if self.upto is None else f"patches 1 to {self.upto}"
        return f"{which} of {self.series}"

    def before_last(self, count: int) -> KernelSpec:
        """Without the last of its patches, of `count` that the series has; without the series before the first."""
        number = (self.upto or count) - 1
        return replace(self, upto=number) if number else self.unpatched


@dataclass(frozen=True, slots=True)
class PreparedKernel:
    """A kernel that can be booted. `modules`: suite -> the directory with its own modules; `slowness` is the
    profile's; `left_out` are the suites that cannot be had on it.
    """

    build: Build
    modules: Mapping[str, Path]
    slowness: float = 1.0
    left_out: tuple[LeftOut, ...] = ()

    @property
    def build_id(self) -> str:
        return self.build.id

    @property
    def profile(self) -> str:
        return self.build.profile
