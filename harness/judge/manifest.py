# SPDX-License-Identifier: GPL-2.0-only
"""Three lists beside each other: a suite's manifest, what the guest announced, what has a result. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from harness.model.outcome import Outcome
from harness.model.result import Case
from harness.model.suite import Ground, ManifestCase, Suite

_SHOWN = 5


def vanished(suite: Suite, ground: Ground, cases: Sequence[Case]) -> list[Case]:
    """A NOT_RUN case for each of the manifest's that is to be there on this ground, and is not."""
    if suite.manifest is None:
        return []
    there = {case.name for case in cases}
    message = "in the suite's manifest, but neither announced nor run"
    return [
        Case(suite.name, name, Outcome.NOT_RUN, message=message)
        for listed in suite.manifest.cases
        if listed.on_kernel(ground)
        for name in _absent(listed, ground, there)
    ]


def _absent(listed: ManifestCase, ground: Ground, there: Collection[str]) -> tuple[str, ...]:
    """Which of the names of a listed case have no result. A case that skipped, or died, as a whole has one."""
    if listed.name in there:
        return ()
    if ground.knobs or not listed.params:  # knobs choose parameters
        return () if has_result(listed.name, there) else (listed.name,)
    return tuple(name for name in listed.names if not has_result(name, there))


def unkept(suite: Suite, cases: Sequence[Case], announced: Iterable[str]) -> list[Case]:
    """An INCOMPLETE case for each that was announced and has no result."""
    there = {case.name for case in cases}
    message = "announced by the guest, but it has no result"
    return [
        Case(suite.name, name, Outcome.INCOMPLETE, message=message)
        for name in dict.fromkeys(announced)
        if not has_result(name, there)
    ]


def surprises(suite: Suite, ground: Ground, cases: Sequence[Case], announced: Sequence[str]) -> list[str]:
    """Sentences for what nobody promised: cases that are not in the manifest, results that were not announced."""
    if suite.manifest is None:
        return []
    listed = {one.name for one in suite.manifest.cases if one.on_kernel(ground)}
    new = [name for name in dict.fromkeys(announced) if name not in listed]
    found = []
    if new:
        found.append(f"{suite.name}: {_words(new)}: new, not in the suite's manifest (`results manifest` adds it)")
    names = dict.fromkeys(case.name for case in cases if case.outcome.executed)
    unsaid = [name for name in names if not any(name == one or name.startswith(f"{one}.") for one in announced)]
    if unsaid:
        found.append(f"{suite.name}: {_words(unsaid)}: run, but not announced")
    return found


def has_result(name: str, there: Collection[str]) -> bool:
    """Whether a case, or one with its parameters, has a result."""
    return name in there or any(one.startswith(f"{name}.") for one in there)


def _words(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
