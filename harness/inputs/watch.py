# SPDX-License-Identifier: GPL-2.0-only
"""Which kernels a watched source has now, each named so that it is still the same one tomorrow.

What cannot be asked raises: a nightly must not take old news for new.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.inputs.apt import APT_DIRECTORY, PrivateApt
from harness.inputs.debian import best, fits
from harness.inputs.git import commit_of, git, require_git
from harness.inputs.kernel_org import newest_release
from harness.inputs.resolve import resolve
from harness.inputs.source_cache import Work
from harness.model.errors import CommandFailed, InfraError, UserError
from harness.model.tree import SourceKind, SourceSpec

_FRESH_SECONDS = 3600.0  # a mirror that was asked within the hour is not asked again
_FETCH_SECONDS = 1800.0
_SHORT = 12


@dataclass(frozen=True, slots=True)
class WatchedKernel:
    """`ref` is what was watched, `spec` the kernel that it is now; `id` tells it from others."""

    ref: str
    spec: SourceSpec
    id: str
    label: str


def watch_source(wanted: SourceSpec, work: Work) -> WatchedKernel:
    """What a source is now: a package's version, a release, the content of an archive or a directory."""
    match wanted.kind:
        case SourceKind.DEBIAN:
            return watch_debian(wanted.what, work)
        case SourceKind.KERNEL_ORG if not wanted.what:
            version = newest_release(work)
            return WatchedKernel(str(wanted), replace(wanted, what=version), version, version)
        case SourceKind.GIT:
            commit = commit_of(Path(wanted.where).expanduser().absolute(), wanted.what, "git:DIR@REV", work)
            return WatchedKernel(
                str(wanted), replace(wanted, what=commit), commit, f"{wanted.what} {commit[:_SHORT]}"
            )
        case _:
            tree = resolve(wanted, work.layout, work.deadline, work.progress)
            return WatchedKernel(str(wanted), wanted, tree.id, f"{tree.version} {tree.id[:_SHORT]}")


def watch_debian(wanted: str, work: Work, apt_directory: Path = APT_DIRECTORY) -> WatchedKernel:
    """The newest linux-source package that fits (see debian.fits), as the mirror has it within this hour."""
    apt = PrivateApt(work, apt_directory)
    catalogue = apt.catalogue(_FRESH_SECONDS) or apt.refreshed(_FRESH_SECONDS)
    version = best((one.version, one.version) for one in catalogue.offers if fits(one.version, wanted))
    if version is None:
        said = f" (apt said: {catalogue.complaint})" if catalogue.complaint else ""
        raise InfraError(f"no suite within reach has a linux-source {wanted or 'with the merged series'}{said}")
    asked = SourceSpec(SourceKind.DEBIAN, what=wanted)
    return WatchedKernel(str(asked), replace(asked, what=version), version, version)


def watch_git(directory: Path, refs: Sequence[str], newest: int, remote: str, work: Work) -> Iterator[WatchedKernel]:
    """For each glob of `refs` the newest branches and tags that fit, as many as `newest`, each with its commit.

    With a `remote` that is fetched first, which is all that is ever written to the repository.
    """
    require_git()
    place = directory.expanduser().absolute()
    if remote:
        work.progress.step(f"fetching {remote} into {place}")
        words = ("fetch", "--quiet", "--prune", "--tags", "--end-of-options", remote)
        git(place, *words, deadline=work.deadline.at_most(_FETCH_SECONDS), merge_errors=True)
    shown = "%(refname) %(objectname) %(*objectname)"
    words = ("for-each-ref", "--sort=-creatordate", f"--format={shown}", "refs/heads", "refs/tags", "refs/remotes")
    try:
        lines = git(place, *words, deadline=work.deadline).splitlines()
    except CommandFailed as error:
        raise UserError(f"{place} is not a git repository", hint="the key `git` names one") from error
    there = [(_short(name), commits[-1]) for name, *commits in map(str.split, lines)]
    for glob in refs:
        fitting = [(name, commit) for name, commit in there if fnmatch.fnmatchcase(name, glob)]
        if not fitting:
            raise InfraError(f"{place} has no branch and no tag {glob!r}")
        for name, commit in fitting[:newest]:
            spec = SourceSpec(SourceKind.GIT, str(place), commit)
            yield WatchedKernel(name, spec, commit, f"{name} {commit[:_SHORT]}")


def _short(name: str) -> str:
    """refs/heads/master -> master, refs/remotes/origin/master -> origin/master."""
    return name.split("/", 2)[2]
