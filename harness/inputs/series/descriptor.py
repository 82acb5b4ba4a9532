# SPDX-License-Identifier: GPL-2.0-only
"""`NAME@vN`: patches/NAME/series.toml, which describes a series by facts, and where its mails are got from.

A revision's mails come from a directory beside the descriptor (the project's own series), else from a mirror
(a directory of mboxes, named by its user), else from lore.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from harness.checkout import data_directory
from harness.inputs.series.assemble import Selection, assemble
from harness.inputs.series.directory import read_directory
from harness.inputs.series.lore import fetch_thread, message_id
from harness.inputs.series.mbox import read_file, read_messages
from harness.inputs.source_cache import Work
from harness.model.errors import UserError
from harness.model.series import Series, SeriesSpec
from harness.model.toml import read_toml

FILE_NAME = "series.toml"
_MIRRORED = (".mbox", ".mbx", ".mbox.gz", ".mbx.gz")
_MIRROR_LIMIT = 2000
_NEWEST = 3


@dataclass(frozen=True, slots=True)
class Revision:
    """One posted revision. `cover` is its Message-ID (or its first patch's), `directory` stands instead of one."""

    version: int
    patches: int
    cover: str = ""
    directory: str = ""
    date: str = ""
    subject: str = ""
    base: str = ""
    note: str = ""
    prerequisites: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What is known of a series without having it."""

    name: str
    subject: str
    revision: tuple[Revision, ...]
    patchwork: str = ""
    merged: str = ""
    note: str = ""


def read_descriptor(path: Path) -> Descriptor:
    """A series.toml; UserError names what does not fit."""
    found = read_toml(Descriptor, path)
    versions = [one.version for one in found.revision]
    for one in found.revision:
        if bool(one.cover) == bool(one.directory):
            raise UserError(f"{path}: v{one.version} needs a cover or a directory, and one only", hint="look at it")
        if one.cover:
            message_id(one.cover)
    if not versions or len(set(versions)) != len(versions):
        raise UserError(f"{path} names no revision, or one twice", hint="each [[revision]] has a version of its own")
    return found


def known_series(root: Path | None = None) -> tuple[str, ...]:
    """The names that patches/ has a descriptor for."""
    base = root or data_directory("patches")
    return tuple(sorted(path.parent.name for path in base.glob(f"*/{FILE_NAME}")))


def read_named(
    spec: SeriesSpec, work: Work, wanted: Selection, mirror: Path | None, root: Path | None = None
) -> Series:
    """The series of a descriptor, in the revision asked for or the newest."""
    base = root or data_directory("patches")
    path = base / spec.where / FILE_NAME
    if not path.is_file():
        names = ", ".join(known_series(root)) or "none"
        raise UserError(f"there is no series {spec.where!r} in patches/", hint=f"there is {names}")
    descriptor = read_descriptor(path)
    revision = _choose(descriptor, spec.revision)
    wanted = replace(wanted, name=descriptor.name, revision=revision.version)
    series = _read(path.parent, descriptor, revision, work, wanted, mirror)
    notes = list(series.notes)
    if series.total != revision.patches:
        notes.append(f"{path.parent.name}/{FILE_NAME} says that v{revision.version} has {revision.patches} patches")
    notes += [f"base: {revision.base}"] if revision.base else []
    return replace(
        series,
        notes=tuple(notes),
        trees=tuple(dict.fromkeys([*([revision.base] if revision.base else []), *series.trees])),
        prerequisites=tuple(dict.fromkeys([*series.prerequisites, *revision.prerequisites])),
    )


def _choose(descriptor: Descriptor, wanted: int | None) -> Revision:
    ordered = sorted(descriptor.revision, key=lambda one: one.version)
    for one in ordered:
        if one.version == wanted:
            return one
    if wanted is None:
        return ordered[-1]
    there = ", ".join(f"v{one.version}" for one in ordered)
    raise UserError(f"{descriptor.name} has no revision v{wanted}", hint=f"there is {there}")


def _read(
    folder: Path, descriptor: Descriptor, revision: Revision, work: Work, wanted: Selection, mirror: Path | None
) -> Series:
    if revision.directory:
        where = (folder / revision.directory).resolve()
        if not where.is_relative_to(folder.resolve()):
            raise UserError(f"{revision.directory} of v{revision.version} leads out of {folder}", hint="look at it")
        return read_directory(where, replace(wanted, revision=None))
    if mirror is None:
        work.progress.step(f"{descriptor.name} v{revision.version} is asked of lore")
        return fetch_thread(message_id(revision.cover), work, replace(wanted, pick=message_id(revision.cover)))
    file = find_mirrored(mirror, revision.cover)
    if file is None:
        raise UserError(
            f"the mirror {mirror} has no mbox with {revision.cover} ({descriptor.name} v{revision.version})",
            hint=f"fetch it: b4 mbox --outdir {mirror} {revision.cover}",
        )
    return assemble(read_messages(read_file(file), file.name), replace(wanted, pick=revision.cover))


def find_mirrored(mirror: Path, message: str) -> Path | None:
    """The mbox of the mirror that holds the mail with that Message-ID."""
    if not mirror.is_dir():
        raise UserError(f"the mirror {mirror} is not a directory", hint="give a directory of mboxes")
    files = sorted(path for path in mirror.iterdir() if path.name.lower().endswith(_MIRRORED) and path.is_file())
    if len(files) > _MIRROR_LIMIT:
        raise UserError(f"the mirror {mirror} has {len(files)} mboxes; {_MIRROR_LIMIT} are the most", hint="split it")
    wanted = re.compile(rb"^Message-ID:\s{1,80}<" + re.escape(message.encode()) + rb">", re.IGNORECASE | re.MULTILINE)
    # A file that carries the id in its name is looked at first; the content decides.
    for path in sorted(files, key=lambda one: message not in one.name):
        if wanted.search(read_file(path)):
            return path
    return None
