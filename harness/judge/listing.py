# SPDX-License-Identifier: GPL-2.0-only
"""What good boots ran -> the manifest of their suite brought up to date. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from harness.model.result import Case
from harness.model.suite import Manifest, ManifestCase

_LEAST_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class SuiteBoot:
    """One boot of a whole suite: the kernel, whether there was swap, what was announced, and the results. `slowness`
    is how many times slower the guest was than the machine that the limits are for.
    """

    version: tuple[int, int]
    swap: bool
    announced: tuple[str, ...]
    cases: tuple[Case, ...]
    slowness: float


@dataclass(frozen=True, slots=True)
class Changed:
    """The manifest as it should be: names that are new, names that none of the boots had, and whose seconds moved."""

    manifest: Manifest
    new: tuple[str, ...]
    unseen: tuple[str, ...]
    moved: tuple[str, ...]


def updated(manifest: Manifest, sightings: Sequence[SuiteBoot], brought: bool, drop: bool = False) -> Changed:
    """`brought`: the suite's cases are the harness's own and the same for every kernel; else they are the kernel's,
    and each is required from the oldest kernel on that had it. Names that were not seen go only with `drop`.
    """
    before = {one.name: one for one in manifest.cases}
    newest = sorted(sightings, key=lambda one: one.version, reverse=True)
    names = list(dict.fromkeys(name for one in newest for name in one.announced))
    unseen = tuple(name for name in before if name not in names)
    # Kernels that somebody looked at before: what was not listed then is not in them.
    known = frozenset(one.since for one in manifest.cases) - {ManifestCase("").since}
    cases = [_listed(name, before.get(name), sightings, brought, known) for name in names]
    if not drop:
        cases += [before[name] for name in unseen]
    moved = tuple(one.name for one in cases if one.name in before and _moved(before[one.name].seconds, one.seconds))
    new = tuple(name for name in names if name not in before)
    return Changed(replace(manifest, cases=tuple(cases)), new, unseen, moved)


def _listed(
    name: str,
    before: ManifestCase | None,
    sightings: Sequence[SuiteBoot],
    brought: bool,
    known: frozenset[tuple[int, int]],
) -> ManifestCase:
    seconds = _seconds(name, sightings)
    if seconds is None:
        seconds = before.seconds if before is not None else 0.0
    if brought:
        has, lacks = (before.has, before.lacks) if before is not None else ("", "")
        return ManifestCase(name, seconds, tuple(_params(name, sightings)), has=has, lacks=lacks)
    seen = [one.version for one in sightings if name in one.announced]
    without = [one.version for one in sightings if name not in one.announced]
    without += known if before is None else ()
    since = min(seen) if before is None or before.since == (0, 0) else min(*seen, before.since)
    last = before.before if before is not None else ManifestCase("").before
    if any(version > max(seen) for version in without):
        # When it went nobody knows: it is asked of the last kernel that had it, and of none after that.
        last = (max(seen)[0], max(seen)[1] + 1)
    if before is not None and (before.has or before.lacks):
        since, last = before.since, before.before  # a feature says it better
    return replace(before or ManifestCase(name), seconds=seconds, params=(), since=since, before=last)


def _seconds(name: str, sightings: Sequence[SuiteBoot]) -> float | None:
    """The least that it took, for other work only makes a case slower; with swap or without, whichever is longer."""
    least: dict[bool, float] = {}
    for one in sightings:
        took = [case.seconds for case in _results(name, one) if case.outcome.executed and case.seconds is not None]
        if took:
            least[one.swap] = min(least.get(one.swap, float("inf")), sum(took) / one.slowness)
    return max(_LEAST_SECONDS, round(max(least.values()), 1)) if least else None


def _params(name: str, sightings: Sequence[SuiteBoot]) -> Iterator[str]:
    found = (case.name.removeprefix(name).removeprefix(".") for one in sightings for case in _results(name, one))
    return iter(dict.fromkeys(word for word in found if word))


def _results(name: str, sighting: SuiteBoot) -> list[Case]:
    return [case for case in sighting.cases if case.name == name or case.name.startswith(f"{name}.")]


def _moved(before: float, after: float) -> bool:
    """By more than rounding and noise."""
    return abs(before - after) > max(1.0, 0.5 * before)
