# SPDX-License-Identifier: GPL-2.0-only
"""What a bisection goes over, in its order: the patches of a series, its revisions, sources, commits, releases."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.flow.prepare import series_of
from harness.inputs.debian import debian_releases
from harness.inputs.debian_version import upstream_version
from harness.inputs.git import commit_of, git, require_git
from harness.inputs.source_cache import Work
from harness.model.errors import UserError
from harness.model.kernel import KernelSpec
from harness.model.progress import Progress
from harness.model.tree import SourceKind, SourceSpec, version_tuple
from harness.proc import Deadline
from harness.store.layout import Layout

_SECONDS = 600.0
_MOST = 100_000
_REVISIONS = re.compile(r"v?(\d{1,4})\.\.v?(\d{1,4})")
_FORMS = "a source, git:DIR@A..B, debian:A..B, or kernel.org:A..B (releases A.0 to B, as in 6.12..6.15)"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A kernel that may be the first bad one, and what it is called; `commit` is what it brings, of a git range."""

    label: str
    kernel: KernelSpec
    commit: str = ""


def of_series(kernel: KernelSpec, layout: Layout, progress: Progress) -> tuple[Candidate, ...]:
    """The base, then the kernel with each further patch."""
    patches = series_of(kernel, layout, progress).patches
    count = len(patches)
    base = Candidate("the base", kernel.unpatched)
    return (
        base,
        *(
            Candidate(f"{number}/{count} {patch.subject}", replace(kernel, upto=number))
            for number, patch in enumerate(patches, 1)
        ),
    )


def of_revisions(kernel: KernelSpec, span: str) -> tuple[Candidate, ...]:
    """Revisions A to B of the series; those that cannot be had are found out when they are asked for."""
    match = _REVISIONS.fullmatch(span)
    if match is None or int(match[1]) >= int(match[2]):
        raise UserError(f"--revisions {span!r} is no range of revisions", hint="A..B, the good one first: v3..v7")
    if kernel.series is None:
        raise UserError("--revisions needs a series whose revisions they are", hint="--series NAME")
    series = kernel.series
    numbers = range(int(match[1]), int(match[2]) + 1)
    return tuple(Candidate(f"v{one}", replace(kernel, series=replace(series, revision=one))) for one in numbers)


def over(texts: Sequence[str], kernel: KernelSpec, layout: Layout, progress: Progress) -> tuple[Candidate, ...]:
    """Sources in the order in which they are named, with what each range stands for in its place."""
    work = Work(layout, Deadline(_SECONDS), progress)
    found = [one for text in texts for one in _expanded(text, kernel, work)]
    return tuple(found)


def checked(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """UserError where there is nothing to search."""
    if len(candidates) < 2:
        raise UserError("a bisection needs two ends at least: one that is good, and one that is bad", hint=_FORMS)
    if len(candidates) > _MOST:
        raise UserError(f"{len(candidates)} candidates are too many", hint=f"{_MOST} are the most")
    twice = {one.kernel for one in candidates}
    if len(twice) < len(candidates):
        raise UserError("a source is named twice", hint="each once, the good end first and the bad end last")
    return tuple(candidates)


def _expanded(text: str, kernel: KernelSpec, work: Work) -> Iterator[Candidate]:
    head, _, rest = text.partition(":")
    first, dots, last = rest.rpartition("@")[2].partition("..") if ".." in rest else ("", "", "")
    if not dots or head not in ("git", "debian", "kernel.org"):
        spec = SourceSpec.parse(text)
        yield Candidate(str(spec), replace(kernel, source=spec))
        return
    if not first or not last or last.startswith("."):
        raise UserError(f"{text!r} is no range A..B", hint=_FORMS)
    if head == "git":
        yield from _commits(rest.rpartition("@")[0], first, last, kernel, work)
    elif head == "debian":
        yield from _debian(first, last, kernel, work)
    else:
        yield from _released(first, last, kernel)


def _commits(where: str, first: str, last: str, kernel: KernelSpec, work: Work) -> Iterator[Candidate]:
    """A, then what B has and A has not, along the first parents: a merge is one step."""
    require_git()
    repository = Path(where).expanduser().absolute()
    ends = [commit_of(repository, one, "git:DIR@A..B", work) for one in (first, last)]
    words = ("log", "--reverse", "--first-parent", "--format=%H %s", f"{ends[0]}..{ends[1]}", "--")
    lines = git(repository, *words, deadline=work.deadline).splitlines()
    if not lines:
        raise UserError(f"{last} has no commit that {first} has not", hint="the good end first: git:DIR@GOOD..BAD")
    for line in (f"{ends[0]} {first}", *lines):
        commit, _, subject = line.partition(" ")
        source = SourceSpec(SourceKind.GIT, where, commit)
        yield Candidate(f'{commit[:12]} ("{subject}")', replace(kernel, source=source), commit)


def _debian(first: str, last: str, kernel: KernelSpec, work: Work) -> Iterator[Candidate]:
    """The newest package of each release from A to B that is within reach."""
    releases = {version_tuple(upstream_version(one.version))[:2]: one.version for one in debian_releases(work)}
    yield from _between(releases, first, last, "debian", kernel)


def _released(first: str, last: str, kernel: KernelSpec) -> Iterator[Candidate]:
    """The .0 releases from A to B, of one major version: how many the one before had is not written in a number."""
    low, high = version_tuple(first), version_tuple(last)
    if low[0] != high[0]:
        raise UserError(
            f"kernel.org:{first}..{last} goes over a major version",
            hint="two ranges: --over kernel.org:5.15..5.19 --over kernel.org:6.0..6.3",
        )
    numbers = {(low[0], minor): f"{low[0]}.{minor}" for minor in range(low[1], high[1] + 1)}
    yield from _between(numbers, first, last, "kernel.org", kernel)


def _between(
    versions: dict[tuple[int, int], str], first: str, last: str, kind: str, kernel: KernelSpec
) -> Iterator[Candidate]:
    low, high = version_tuple(first)[:2], version_tuple(last)[:2]
    chosen = [versions[key] for key in sorted(versions) if low <= key <= high]
    if low >= high or len(chosen) < 2:
        there = ", ".join(versions[key] for key in sorted(versions))
        raise UserError(f"{kind}:{first}..{last} has no two releases in it", hint=f"there is {there or 'none'}")
    for version in chosen:
        source = SourceSpec(SourceKind(kind), what=version)
        yield Candidate(str(source), replace(kernel, source=source))
