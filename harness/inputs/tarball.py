# SPDX-License-Identifier: GPL-2.0-only
"""`tar:FILE`: a kernel in an archive of the user's own. The id is the sha256 of the archive's bytes."""

from __future__ import annotations

from pathlib import Path

from harness.inputs.source_cache import CachedSource, SourceEntry, Work, find, install
from harness.inputs.unpack import hash_file, unpack_kernel
from harness.model.errors import UserError
from harness.model.tree import SourceSpec, Tree


def resolve_tarball(spec: SourceSpec, work: Work) -> Tree:
    """The tree in the archive, unpacked once for each content; its name and place do not matter."""
    archive = Path(spec.where).expanduser().absolute()
    if not archive.is_file():
        raise UserError(f"{archive} is not a file", hint="name a .tar, .tar.xz, .tar.gz, .tar.bz2 or .tar.zst")
    place = CachedSource("tar", hash_file(archive))
    if tree := find(work, place, str(spec)):
        return tree
    origin = f"{archive.name} sha256:{place.id}"
    return install(work, SourceEntry(place, str(spec), origin), lambda part: unpack_kernel(archive, part, work))
