# SPDX-License-Identifier: GPL-2.0-only
"""What `series show` and `series diff` ask for: a series read and looked over, two of them compared."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.inputs.series.buildtime import build_time
from harness.inputs.series.resolve import FetchOptions, resolve_series
from harness.inputs.series.validate import objections
from harness.inputs.source_cache import Work
from harness.model.progress import Progress
from harness.model.series import BuildTime, Series, SeriesDiff, SeriesForm, SeriesSpec
from harness.model.units import format_size
from harness.proc import Deadline
from harness.store.layout import Layout

if TYPE_CHECKING:
    from harness.inputs.debian import Release
    from harness.inputs.series.base import FoundBase

_SECONDS = 900.0
_BASE_SECONDS = 3600.0  # several sources may have to be fetched
_ONLY_REVISION = re.compile(r"@?v(\d{1,4})")


@dataclass(frozen=True, slots=True)
class SeriesContext:
    """Who asks: where things lie, whom to tell, the directory of mboxes to ask instead of lore, and what to do before
    kernels are downloaded just to look at them.
    """

    layout: Layout
    progress: Progress
    mirror: Path | None = None
    may_fetch: Callable[[str], bool] = lambda question: True

    def work(self) -> Work:
        return Work(self.layout, Deadline(_SECONDS), self.progress)


def show(text: str, context: SeriesContext) -> Series:
    """The series as far as it is there; what is missing, damaged or would be refused is among its problems."""
    series = resolve_series(SeriesSpec.parse(text), context.work(), FetchOptions(partial=True, mirror=context.mirror))
    return replace(series, problems=(*series.problems, *map(str, objections(series))))


def base(text: str, trees: Sequence[Path], context: SeriesContext) -> FoundBase:
    """What the series was made for; also of a part of a series. Each thing that was looked at is told."""
    from harness.inputs.series.base import find_base  # downloads, archives: nothing that `series show` needs
    from harness.suites.registry import registry

    series = resolve_series(SeriesSpec.parse(text), context.work(), FetchOptions(partial=True, mirror=context.mirror))

    def may_fetch(releases: Sequence[Release]) -> bool:
        total = format_size(sum(one.download for one in releases))
        return context.may_fetch(f"To look further, up to {total} are downloaded: {', '.join(map(str, releases))}.")

    branches = tuple(branch for subject in registry().subjects.values() for branch in subject.branches)
    found = find_base(series, trees, replace(context.work(), deadline=Deadline(_BASE_SECONDS)), may_fetch, branches)
    for line in found.tried:
        context.progress.step(f"base: {line}")
    context.progress.step(f"base: {found.source}, {found.why}")
    return found


def diff(old: str, new: str, context: SeriesContext) -> SeriesDiff:
    """Two series compared; `new` may be just `vN`, another revision of the same one."""
    from harness.inputs.series.compare import compare_series

    first = SeriesSpec.parse(old)
    only = _ONLY_REVISION.fullmatch(new)
    if only and first.form is not SeriesForm.GIT:
        second = replace(first, revision=int(only[1]))
    else:
        second = SeriesSpec.parse(new)
    options = FetchOptions(partial=True, mirror=context.mirror)
    before = resolve_series(first, context.work(), options)
    after = resolve_series(second, context.work(), options)
    return compare_series(before, after)


def touches_of(series: Series) -> tuple[BuildTime, ...]:
    """What the patches of a series touch of what a build executes."""
    return tuple(touch for patch in series.patches for touch in build_time(patch))
