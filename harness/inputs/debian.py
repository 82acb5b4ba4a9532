# SPDX-License-Identifier: GPL-2.0-only
"""`debian` and `debian:VERSION`: a linux-source package, the newest that fits, of all suites within reach."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from harness.inputs.apt import APT_DIRECTORY, FRESH_SECONDS, Gone, PackageOffer, PrivateApt
from harness.inputs.debian_version import compare_versions, upstream_version
from harness.inputs.source_cache import (
    CachedSource,
    SourceEntry,
    Work,
    find,
    install,
    is_sound,
    no_space,
    require_space,
    stored_trees,
)
from harness.inputs.unpack import unpack_kernel
from harness.model.errors import CommandFailed, HarnessError, InfraError, UserError
from harness.model.tree import SourceSpec, Tree, version_tuple
from harness.model.units import format_size
from harness.proc import run

# The first kernel with the series merged; plain `debian` asks for that or newer.
MERGED_SINCE = (6, 15)
_LABEL = "debian-"
# A version that the catalogue lacks is worth another look at the mirror, but not at every mistyped command.
_LOOK_AGAIN_SECONDS = 300.0
# Package, the archive in it, and the tree: at most so many times the package's size at once.
_GROWTH = 13.0
_SHOWN = 12


def resolve_debian(spec: SourceSpec, work: Work, apt_directory: Path = APT_DIRECTORY) -> Tree:
    """The tree of the package; from the store, without a process, when it is there and the lists are fresh."""
    for tree in _stored(work, spec.what):
        if _package(tree)[1] == spec.what and is_sound(work, tree):
            return replace(tree, spec=str(spec))  # an exact version never changes
    apt = PrivateApt(work, apt_directory)
    try:
        try:
            return _land(apt, _choose(apt, spec, FRESH_SECONDS), spec, work)
        except Gone:
            return _land(apt, _choose(apt, spec, 0.0), spec, work)
    except HarnessError as error:
        sound = (tree for tree in _stored(work, spec.what) if is_sound(work, tree))
        stored = best((_package(tree)[1], tree) for tree in sound)
        if stored is None:
            raise
        work.progress.step(f"{error.message}; going on with {stored.origin}, which is in the store")
        return replace(stored, spec=str(spec))


def fits(version: str, what: str) -> bool:
    """Whether a package version is what the user asked for: all of it, its upstream part, or the front of that.

    Without a wish any release that has the merged series fits, but no release candidate.
    """
    upstream = upstream_version(version)
    if not what:
        return version_tuple(upstream.partition("~")[0])[:2] >= MERGED_SINCE and "~rc" not in upstream
    return what in (version, upstream) or upstream.startswith((f"{what}.", f"{what}~"))


@dataclass(frozen=True, slots=True)
class Release:
    """A package version, and how many bytes have to be downloaded for it: none when its tree is in the store."""

    version: str
    download: int = 0

    def __str__(self) -> str:
        return f"{self.version} ({format_size(self.download) if self.download else 'in the store'})"


def debian_releases(work: Work, apt_directory: Path = APT_DIRECTORY) -> tuple[Release, ...]:
    """The newest package version of each release within reach, newest first; those in the store without a mirror."""
    stored = {_package(tree)[1] for tree in stored_trees(work.layout, _LABEL)}
    try:
        apt = PrivateApt(work, apt_directory)
        catalogue = apt.catalogue(FRESH_SECONDS) or apt.refreshed(FRESH_SECONDS)
        sizes = {one.version: one.size for one in catalogue.offers}
    except HarnessError as error:
        sizes = dict.fromkeys(stored, 0)
        work.progress.step(f"{error.message}; going on with what is in the store")
    newest: dict[tuple[int, int, int], str] = {}
    for version in sorted(sizes, key=functools.cmp_to_key(compare_versions), reverse=True):
        major, minor, _ = version_tuple(upstream_version(version).partition("~")[0])
        newest.setdefault((major, minor, 0), version)
    return tuple(Release(one, 0 if one in stored else sizes[one]) for one in newest.values())


T = TypeVar("T")


def best(versioned: Iterable[tuple[str, T]]) -> T | None:
    """What goes with the newest version; None of nothing."""
    key = functools.cmp_to_key(compare_versions)
    newest = max(versioned, key=lambda pair: key(pair[0]), default=None)
    return None if newest is None else newest[1]


def _choose(apt: PrivateApt, spec: SourceSpec, younger_than: float) -> PackageOffer:
    """The newest package that fits; the mirror is asked when the lists are old or have none."""
    for age in (younger_than, min(younger_than, _LOOK_AGAIN_SECONDS)):
        catalogue = apt.catalogue(age) or apt.refreshed(age)
        offer = best((one.version, one) for one in catalogue.offers if fits(one.version, spec.what))
        if offer is not None:
            return offer
    wanted = spec.what or f"{MERGED_SINCE[0]}.{MERGED_SINCE[1]} or newer"
    there = sorted(
        {one.version for one in catalogue.offers}, key=functools.cmp_to_key(compare_versions), reverse=True
    )
    hint = (
        f"there is {', '.join(there[:_SHOWN])}"
        if there
        else "use kernel.org:VERSION, git:DIR@REV, tar:FILE or a directory"
    )
    if catalogue.complaint:
        hint += f" (of one suite apt said: {catalogue.complaint})"
    raise UserError(f"no suite within reach has a linux-source {wanted}", hint=hint)


def _land(apt: PrivateApt, offer: PackageOffer, spec: SourceSpec, work: Work) -> Tree:
    place = CachedSource(f"{_LABEL}{offer.version}", offer.sha256)
    if tree := find(work, place, str(spec)):
        return tree
    folder = work.layout.downloads / f"deb-{offer.sha256[:16]}"

    def fill(part: Path) -> None:
        require_space(part, int(offer.size * _GROWTH), f"unpacking {offer.package}")
        _unpack(apt.download(offer, folder), part, work)

    origin = f"{offer.package} {offer.version} sha256:{offer.sha256}"
    tree = install(work, SourceEntry(place, str(spec), origin), fill)
    shutil.rmtree(folder, ignore_errors=True)
    return tree


def _unpack(package: Path, part: Path, work: Work) -> None:
    """The package's files into `part`, then the kernel's archive that is among them."""
    work.progress.step(f"unpacking {package.name}")
    contents = part / "package"
    argv = ("dpkg-deb", "--extract", os.fspath(package), os.fspath(contents))
    try:
        run(argv, deadline=work.deadline, reaped=True)
    except CommandFailed as error:
        if "no space left" in error.tail.lower():
            raise no_space(f"unpacking {package.name}") from error
        raise InfraError(f"{package.name} cannot be unpacked: {error.message}", hint="try again") from error
    archives = sorted((contents / "usr" / "src").rglob("linux*source*.tar.*"))
    if not archives:
        raise InfraError(f"{package.name} holds no kernel source", hint="name another version with debian:VERSION")
    unpack_kernel(archives[0], part, work)


def _stored(work: Work, what: str) -> list[Tree]:
    """What fits of what lies in the store; ask `is_sound` of the one that is taken."""
    return [tree for tree in stored_trees(work.layout, _LABEL) if fits(_package(tree)[1], what)]


def _package(tree: Tree) -> tuple[str, str]:
    """Package and version, as the origin has them."""
    package, _, rest = tree.origin.partition(" ")
    return package, rest.partition(" ")[0]
