# SPDX-License-Identifier: GPL-2.0-only
"""The sources in the store: find a tree that is there, or put one there once, whole, under its lock.

STORE/sources/LABEL-ID16/tree.json
STORE/sources/LABEL-ID16/files        what is in the tree, with hashes (store/source_seal.py)
STORE/sources/LABEL-ID16/linux/       the kernel tree, never written to again
STORE/damaged/                        trees that somebody has written to

A tree is compared with its list when it is taken from the store, unless any command did so in the last minutes (the
time of tree.json says when), and always before a kernel is built of it. One that is damaged is set aside, and put
there anew by whoever wanted it.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from harness.model.codec import from_json, to_json
from harness.model.errors import HarnessError, InfraError, StoreCorrupt, UserError
from harness.model.progress import Progress
from harness.model.tree import Tree
from harness.model.units import GIB, MIB
from harness.proc import Deadline
from harness.store.files import explain_os_error, fresh_directory, locked, sweep_leftovers, write_atomically
from harness.store.layout import Layout
from harness.store.sealed import set_aside
from harness.store.source_seal import find_damage, found_damaged, is_sealed, name_some, seal

LINUX = "linux"
_TREE_FILE = "tree.json"
_STILL_SOUND_SECONDS = 300.0
_MAKEFILE_WORD = re.compile(r"^(VERSION|PATCHLEVEL|SUBLEVEL|EXTRAVERSION)[ \t]*=[ \t]*(\S*)[ \t]*$", re.MULTILINE)
_MAKEFILE_HEAD = 4096


@dataclass(frozen=True, slots=True)
class Work:
    """What every kind of source is given: where to put things, how long it may take, whom to tell, and whether
    anything may be fetched from elsewhere.
    """

    layout: Layout
    deadline: Deadline
    progress: Progress
    fetches: bool = True

    def reach_out(self, what: str) -> None:
        """Called before anything is fetched; InfraError where nothing may be."""
        if not self.fetches:
            raise InfraError(
                f"{what} would have to be fetched, and --list fetches nothing", hint="run it without --list"
            )


@dataclass(frozen=True, slots=True)
class CachedSource:
    """A source's place in the store: `label` for people, `id` (64 hex digits) for the content."""

    label: str
    id: str

    @property
    def name(self) -> str:
        # kbuild's make cannot take spaces or colons in a path, and shells trip over the rest.
        return f"{re.sub(r'[^A-Za-z0-9._-]', '_', self.label)}-{self.id[:16]}"

    def below(self, layout: Layout) -> Path:
        return layout.sources / self.name


def read_version(tree: Path, what: str) -> str:
    """The version in a tree's top Makefile; UserError, naming `what`, when it is no kernel's."""
    makefile = tree / "Makefile"
    try:
        with makefile.open("rb") as file:
            head = file.read(_MAKEFILE_HEAD).decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        head = ""
    except OSError as error:
        raise explain_os_error(error, f"cannot read {makefile}") from error
    words: dict[str, str] = dict(_MAKEFILE_WORD.findall(head))
    if not words.get("VERSION") or not words.get("PATCHLEVEL"):
        raise UserError(
            f"{what} is not a kernel tree: no top Makefile with VERSION and PATCHLEVEL",
            hint="name the top directory of a Linux source",
        )
    numbers = [words[name] for name in ("VERSION", "PATCHLEVEL", "SUBLEVEL") if words.get(name)]
    return ".".join(numbers) + words.get("EXTRAVERSION", "")


def find(work: Work, place: CachedSource, spec: str) -> Tree | None:
    """The tree that stands whole and unchanged at `place`, None when there is none."""
    tree = _read(place.below(work.layout))
    return None if tree is None or tree.id != place.id or not is_sound(work, tree) else replace(tree, spec=spec)


def stored_trees(layout: Layout, label: str) -> list[Tree]:
    """Every tree in the store whose label begins with `label`; ask `is_sound` of the one that is taken."""
    found = (_read(path) for path in sorted(layout.sources.glob(f"{glob.escape(label)}*")))
    return [tree for tree in found if tree is not None]


def is_sound(work: Work, tree: Tree) -> bool:
    """Whether a tree in the store is what was put there. One that is not is set aside, and the user is told."""
    directory = tree.path.parent
    try:
        if 0 <= time.time() - _looked_at(directory) < _STILL_SOUND_SECONDS:
            return True
        if is_sealed(directory):
            damage = name_some(find_damage(tree.path, directory))
        else:
            work.progress.step(f"hashing the files of {tree.origin}, once")  # from before there were lists
            seal(tree.path, directory)
            damage = ""
    except StoreCorrupt:
        damage = "the list of its files"
    except OSError as error:
        raise explain_os_error(error, f"cannot read {tree.path}") from error
    if damage:
        aside = set_aside(directory, work.layout)
        work.progress.step(f"a source in the store was changed ({damage}): set aside as {aside}, to be made anew")
        return False
    with suppress(OSError):  # somebody else's store: everybody looks
        os.utime(directory / _TREE_FILE)
    return True


def _looked_at(directory: Path) -> float:
    """When a command last found the tree sound, or put it there, in seconds since 1970; 0 where nobody did, and once
    one found damage.
    """
    if not is_sealed(directory) or found_damaged(directory):
        return 0.0
    return (directory / _TREE_FILE).stat().st_mtime


def _read(directory: Path) -> Tree | None:
    """A directory's tree.json; None for anything that is not a whole source."""
    linux = directory / LINUX
    try:
        tree = from_json(Tree, (directory / _TREE_FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, HarnessError):
        return None
    if ".part-" in directory.name or not (linux / "Makefile").is_file():
        return None
    return replace(tree, path=linux)  # the store may have been moved since


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """A tree about to go into the store, and what it will say of itself. `kin` is one that shares files with it."""

    place: CachedSource
    spec: str
    origin: str
    kin: Path | None = None
    apart: tuple[str, ...] = ()


def install(work: Work, entry: SourceEntry, fill: Callable[[Path], None]) -> Tree:
    """The tree at the entry's place, made by `fill(DIR)`, which puts it into DIR/linux.

    Of several processes that want the same one, one fills and the others wait. Nothing is left when it fails;
    what an earlier kill -9 left of this place is removed.
    """
    place, layout = entry.place, work.layout
    final = place.below(layout)
    _refuse_bad_path(final)
    sweep_leftovers(layout.sources)

    def on_wait() -> None:
        work.progress.step(f"waiting for another ttm-harness, which is unpacking {entry.origin}")

    with locked(layout.locks / f"source-{place.name}.lock", work.deadline, on_wait):
        if tree := find(work, place, entry.spec):
            return tree
        # The lock is ours, so whatever is left here belongs to a process that died.
        for left in [final, *layout.sources.glob(f"{glob.escape(place.name)}.part-*")]:
            shutil.rmtree(left, ignore_errors=True)
        with fresh_directory(final) as part:
            fill(part)
            version = read_version(part / LINUX, entry.origin)
            for rest in part.iterdir():
                if rest.name != LINUX:
                    shutil.rmtree(rest) if rest.is_dir() and not rest.is_symlink() else rest.unlink()
            tree = Tree(place.id, version, entry.origin, final / LINUX, entry.spec, entry.apart)
            kin = entry.kin.parent if entry.kin is not None and is_sealed(entry.kin.parent) else None
            seal(part / LINUX, part, kin)
            write_atomically(part / _TREE_FILE, to_json(tree))
    return tree


def _refuse_bad_path(final: Path) -> None:
    if re.search(r"[\s:]", str(final)):
        raise UserError(
            f"the store {final.parent.parent} has a space or a colon in its name, which the kernel's make refuses",
            hint="name another place with TTM_HARNESS_STORE",
        )


def require_space(directory: Path, needed: int, what: str) -> None:
    """InfraError when the disk under `directory` has less than `needed` bytes for `what`."""
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise InfraError(
            f"no space for {what}: it needs about {_rounded(needed)}, the disk of {directory} has {_rounded(free)}",
            hint="free some, or name another place with TTM_HARNESS_STORE",
        )


def no_space(what: str) -> InfraError:
    """The sentence for a disk that ran full in a tool that only says so in words."""
    return explain_os_error(OSError(errno.ENOSPC, ""), what)


def _rounded(size: int) -> str:
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / MIB:.1f} MiB"
