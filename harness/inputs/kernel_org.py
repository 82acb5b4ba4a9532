# SPDX-License-Identifier: GPL-2.0-only
"""`kernel.org` and `kernel.org:VERSION`: a released tarball, the newest or that one, checked against the
sha256sums.asc published beside it.

The list is taken over https from the same server; its PGP signature is not checked. So a broken or exchanged
download is noticed, a server that lies about both is not.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from harness.inputs.apt import FRESH_SECONDS
from harness.inputs.download import NotThere, fetch_file, fetch_text
from harness.inputs.source_cache import CachedSource, SourceEntry, Work, find, install, is_sound, stored_trees
from harness.inputs.unpack import hash_file, unpack_kernel
from harness.model.errors import InfraError, UserError
from harness.model.tree import SourceSpec, Tree, version_tuple
from harness.store.files import locked, write_atomically

BASE_VARIABLE = "TTM_HARNESS_KERNEL_ORG"
# The name of the place is the name of the source kind; everything else comes from the user's configuration.
_DEFAULT_BASE = "https://cdn.kernel.org/pub/linux/kernel"
_VERSION = re.compile(r"\d+\.\d+(\.\d+)?")
_SUM_LINE = re.compile(r"^([0-9a-f]{64}) [ *](\S+)$", re.MULTILINE)
_TARBALL = re.compile(r"linux-(\d+\.\d+(?:\.\d+)?)\.tar\.xz")
_SHOWN = 8
_MAJORS = range(6, 100)  # each has a folder; the merged series begins in the first of these
_NEWEST_FILE = "kernel.org-newest"


def resolve_kernel_org(spec: SourceSpec, work: Work) -> Tree:
    """The released tree; without a network when the store has it, as a release never changes."""
    version = spec.what or _newest(work)
    if not _VERSION.fullmatch(version):
        raise UserError(
            f"kernel.org has no release {version!r}",
            hint="write a release as in kernel.org:6.15 or kernel.org:6.12.40; for others use git:DIR@REV",
        )
    label, origin = f"kernel.org-{version}", f"kernel.org linux-{version}.tar.xz"
    for tree in stored_trees(work.layout, f"{label}-"):
        if tree.origin.startswith(f"{origin} ") and is_sound(work, tree):
            return replace(tree, spec=str(spec))
    directory = f"{_base()}/v{version.split('.')[0]}.x"
    work.progress.step(f"looking up linux-{version} on kernel.org")
    place = CachedSource(label, _published_sum(directory, version, work))
    if tree_here := find(work, place, str(spec)):
        return tree_here

    def on_wait() -> None:
        work.progress.step(f"waiting for another ttm-harness, which is downloading linux-{version}")

    with locked(work.layout.locks / f"download-linux-{version}.lock", work.deadline, on_wait):
        if tree_here := find(work, place, str(spec)):
            return tree_here
        archive = _download(f"{directory}/linux-{version}.tar.xz", place.id, work)
        entry = SourceEntry(place, str(spec), f"{origin} sha256:{place.id}")
        installed = install(work, entry, lambda part: unpack_kernel(archive, part, work))
        archive.unlink(missing_ok=True)
    return installed


def _base() -> str:
    return os.environ.get(BASE_VARIABLE, _DEFAULT_BASE).rstrip("/")


def _newest(work: Work) -> str:
    """The newest release: as the server said not long ago, or says now; when it is silent, of the store."""
    known = work.layout.downloads / _NEWEST_FILE
    try:
        base, version = known.read_text("utf-8").split()
        if base == _base() and 0 <= time.time() - known.stat().st_mtime < FRESH_SECONDS:
            return version
    except (OSError, ValueError):
        pass
    try:
        version = newest_release(work)
    except InfraError as error:
        trees = stored_trees(work.layout, "kernel.org-")
        stored = [found[1] for tree in trees if (found := _TARBALL.search(tree.origin))]
        if not stored:
            raise
        version = max(stored, key=version_tuple)
        work.progress.step(f"{error.message}; going on with {version}, which is in the store")
        return version
    write_atomically(known, f"{_base()} {version}\n")
    return version


def newest_release(work: Work) -> str:
    """As the server says now, of the newest major version that has a list: no address but those of the releases is
    needed for that.
    """
    work.progress.step("looking up the newest release on kernel.org")
    newest = ""
    for major in _MAJORS:
        try:
            sums = parse_sums(fetch_text(f"{_base()}/v{major}.x/sha256sums.asc", work))
        except NotThere:
            break
        there = [match[1] for match in map(_TARBALL.fullmatch, sums) if match]
        if not there:
            break
        newest = max(there, key=version_tuple)
    if not newest:
        raise InfraError(f"{_base()} lists no release", hint="look at the network and the proxy, then try again")
    return newest


def parse_sums(text: str) -> dict[str, str]:
    """A sha256sums.asc -> file name -> sha256; the PGP lines around fall away."""
    return {name: digest for digest, name in _SUM_LINE.findall(text)}


def _published_sum(directory: str, version: str, work: Work) -> str:
    """The checksum that the server publishes; UserError with what there is when it lists no such release."""
    url = f"{directory}/sha256sums.asc"
    try:
        sums = parse_sums(fetch_text(url, work))
    except NotThere as error:
        raise UserError(f"kernel.org has no release {version}: {url} does not exist", hint=_hint(())) from error
    if not sums:
        raise InfraError(f"{url} is no list of checksums", hint="look at the network and the proxy, then try again")
    digest = sums.get(f"linux-{version}.tar.xz")
    if digest is None:
        there = (match[1] for match in map(_TARBALL.fullmatch, sums) if match)
        raise UserError(f"kernel.org has no release {version}", hint=_hint(_nearest(there, version)))
    return digest


def _nearest(there: Iterable[str], version: str) -> tuple[str, ...]:
    """A few releases, newest first: of the same series when there are any, else the newest of all."""
    ordered = sorted(there, key=version_tuple, reverse=True)
    series = version_tuple(version)[:2]
    return tuple([one for one in ordered if version_tuple(one)[:2] == series] or ordered)[:_SHOWN]


def _hint(nearest: tuple[str, ...]) -> str:
    if not nearest:
        return "write a release as in kernel.org:6.15"
    return f"there is {', '.join(nearest)}"


def _download(url: str, digest: str, work: Work) -> Path:
    """The archive with that checksum; a resumed one that does not fit is fetched once more from the start."""
    path = work.layout.downloads / url.rpartition("/")[2]
    work.progress.step(f"downloading {path.name}")
    resumed = fetch_file(url, path, work)
    found = hash_file(path)
    if found != digest and resumed:
        path.unlink()
        work.progress.step(f"downloading {path.name} again: what an earlier run left does not fit")
        fetch_file(url, path, work)
        found = hash_file(path)
    if found != digest:
        path.unlink(missing_ok=True)
        raise InfraError(
            f"checksum mismatch: {url} has sha256 {found}, sha256sums.asc says {digest}",
            hint="try again; if it stays, the download is being changed on its way",
        )
    return path
