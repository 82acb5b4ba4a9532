# SPDX-License-Identifier: GPL-2.0-only
"""What is believed of what came from another host: a parcel, a source, or a build with its objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from harness.fleet.order import Parcel
from harness.kernel.make import OBJECTS
from harness.model.build import Build
from harness.model.codec import from_json, to_json
from harness.model.errors import InfraError, StoreCorrupt, StoreDamaged
from harness.model.tree import Tree
from harness.proc import Deadline
from harness.store import source_seal
from harness.store.files import fresh_directory, locked, read_regular, write_atomically
from harness.store.layout import Layout
from harness.store.pack import pack, unpack
from harness.store.remove import remove
from harness.store.sealed import SEAL_FILE, read_seal, seal, take

TREE = "tree"
_RECORD = "build.json"
_LARGEST = 64 << 20
_LOCK_SECONDS = 600.0


def holds(path: Path, parcel: Parcel) -> bool:
    """Whether what lies there is what the parcel is of."""
    try:
        if parcel.tree:
            return source_seal.is_sealed(path.parent) and source_seal.content_id(path.parent)[0] == parcel.id
        return read_seal(path).id == parcel.id
    except (InfraError, OSError):
        return False


def open_parcel(parcel: Parcel, file: Path, final: Path) -> None:
    """Unpacks to `final`, when all of it is what was meant."""
    with fresh_directory(final) as work:
        if parcel.tree:
            (work / TREE).mkdir()
            unpack(file, work / TREE)
            source_seal.seal(work / TREE, work)
            got = source_seal.content_id(work)[0]
        else:
            unpack(file, work)
            got = seal(work).id
        if got != parcel.id:
            raise InfraError(f"{parcel.path} arrived as something else: {got[:16]}, and not {parcel.id[:16]}")


def pack_build(build: Build, layout: Layout, target: Path) -> str:
    """A build and its objects in one file; the id of what is in it."""
    place = build.objects.parent
    names = [
        f"{top.relative_to(layout.root)}/{name}" for top in (build.path, place) for name in read_seal(top).contents()
    ]
    pack(layout.root, names, target)
    return f"{_without_record(build.path)} {read_seal(place).id}"


def take_build(file: Path, said: str, tree: Tree, identity: str, layout: Layout, scratch: Path) -> None:
    """Puts a build that another host made into the store, when it is what that host sealed."""
    into = scratch / "build"
    into.mkdir()
    unpack(file, into)
    name = identity[:16]
    path, place = into / layout.builds.name / name, into / layout.objects.name / name
    final, final_place = layout.builds / name, layout.objects / name
    if not path.is_dir() or not place.is_dir():
        raise StoreCorrupt(f"what came is not the build {name}")
    build = from_json(Build, read_regular(path / _RECORD, _LARGEST).decode("utf-8"), _RECORD)
    objects = sorted(_files(place))
    if build.id != identity or said != f"{_without_record(path)} {take(place, objects).id}":
        raise StoreDamaged(f"the build {name} is not what its host sealed")
    here = replace(build, tree=tree, path=final, objects=final_place / OBJECTS)
    write_atomically(path / _RECORD, to_json(here))
    seal(path)
    seal(place, objects)
    with locked(layout.locks / f"build-{name}", Deadline(_LOCK_SECONDS)):
        remove(final_place)
        place.rename(final_place)
        remove(final)
        path.rename(final)


def _without_record(path: Path) -> str:
    """The record has paths of its host; all else of a build is the same everywhere."""
    return take(path, sorted(name for name in _files(path) if name not in (_RECORD, SEAL_FILE))).id


def _files(top: Path) -> Iterator[str]:
    """All files and links below it."""
    for path in top.rglob("*"):
        if path.is_symlink() or path.is_file():
            yield str(path.relative_to(top))
