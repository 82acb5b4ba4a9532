# SPDX-License-Identifier: GPL-2.0-only
"""The objects of a kernel that is nearly the same, as what make begins with.

Patch k+1 of a series differs from patch k in a few files. make would find that out by times, which say nothing here:
trees and objects are older and younger than each other in any order. So the trees are compared (they share the files
that are equal, apply.py), and of a copy of the other build's objects those go that were made of anything that
differs, by the dependencies that kbuild itself wrote beside each object (`.NAME.o.cmd`, scripts/basic/fixdep.c).
Rules of Makefiles know more (a table that a script makes of a header, fs/smb/client): for these the files that differ
must be younger than all of the objects, so that make sees them, too. Kconfig files and Makefiles need no look: make
reads them every time, and compares the command of every object.

What is not known so exactly makes the whole seed unfit, and everything is compiled: generated headers and their
sources (arch/), tools and scripts, linker scripts, and a header that comes or goes where another one has its name,
for that can change what an #include of an untouched file means.
"""

from __future__ import annotations

import filecmp
import os
import posixpath
import re
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from harness.kernel.buildlog import step_of
from harness.kernel.make import OBJECTS
from harness.model.arch import guest_arch
from harness.model.build import Build
from harness.model.codec import from_json
from harness.model.errors import InfraError, StoreCorrupt
from harness.model.tree import Tree
from harness.proc import Deadline, run
from harness.store.files import fresh_directory, locked
from harness.store.layout import Layout
from harness.store.sealed import damage

SEED_LOG = "seed.log"  # what make said when the objects were made, in the object directory that has a copy of them
_LAST = ("Module.symvers", "vmlinux", "modules.order")  # what make makes at the end, with the image
_SEPARATORS = frozenset(b" \t\n()\\")
_MOST_CHANGES = 200
_MOST_READ = 2000
_MOST_LOOKED_AT = 8
_NEAR = 10  # files that differ: no other build would save much
_ROOTS = re.compile(
    r"(?:block|crypto|drivers|fs|init|io_uring|ipc|kernel|lib|mm|net|security|sound|virt"
    r"|include/(?:drm|kunit|linux|net|trace|uapi/drm|uapi/linux))/.*"
)
_NAMES = re.compile(r"[^.].*\.[ch]|Kconfig.*|Makefile|Kbuild")
_WITHOUT_EFFECT = re.compile(r"Documentation/.*\.(?:rst|txt|yaml)|MAINTAINERS|CREDITS|\.mailmap")
# Headers that scripts make others of, with no record of it (lib/Makefile, security/apparmor/Makefile, …).
_READ_BY_SCRIPTS = re.compile(
    r"include/linux/(?:oid_registry|socket|net)\.h|include/uapi/linux/(?:capability|input-event-codes)\.h|fs/smb/.*\.h"
)
_RECIPE = re.compile(r"\t.*\$|.*\bcmd|.*\$\(call ")
_LEFT_BEHIND = ("module-*.log", "install.log", "config.log", "gate.log", "seconds", SEED_LOG)


@dataclass(frozen=True, slots=True)
class Seed:
    """A finished build, and the files of the tree that are not those of its tree (paths from the top)."""

    build: Build
    changed: frozenset[str]


@dataclass(frozen=True, slots=True)
class TreeDifference:
    """Between two trees: files that are in one alone, or differ; `headers` are the names of all headers of both."""

    changed: frozenset[str]
    alone: frozenset[str]
    headers: frozenset[str]  # names of those that are in both
    recipes: bool = False  # a Makefile has other commands: kbuild keeps those of its own, and not all of these

    @property
    def fit(self) -> bool:
        """Whether the dependencies in an object directory tell all that these changes can do."""
        telling = [path for path in self.changed if not _WITHOUT_EFFECT.fullmatch(path)]
        if not all(_ROOTS.fullmatch(path) and _NAMES.fullmatch(path.rpartition("/")[2]) for path in telling):
            return False
        if self.recipes or any(_READ_BY_SCRIPTS.fullmatch(path) for path in telling):
            return False
        lone = [path.rpartition("/")[2] for path in self.alone if path.endswith(".h")]
        return not any(name in self.headers for name in lone) and len(set(lone)) == len(lone)


def find_seed(tree: Tree, profile: str, like: Callable[[Build], bool], layout: Layout) -> Seed | None:
    """The build of the profile whose tree is nearest to this one, or near enough; None where none is. Only one that
    is `like` what would be built of its tree now: by this compiler, with these asks, named in this way.
    """
    best: Seed | None = None
    for build in islice(_others(tree, profile, like, layout), _MOST_LOOKED_AT):
        try:
            difference = compare_trees(build.tree.path, tree.path)
            if difference is None or not difference.fit or not _younger(tree.path, difference.changed, build.objects):
                continue
        except OSError:
            continue  # it, or its tree, has just been pruned
        if best is None or len(difference.changed) < len(best.changed):
            best = Seed(build, difference.changed)
        if best is not None and len(best.changed) <= _NEAR:
            break
    return best


def _others(tree: Tree, profile: str, like: Callable[[Build], bool], layout: Layout) -> Iterator[Build]:
    for build in _builds(layout):
        same = (build.profile, build.tree.version) == (profile, tree.version)
        if same and not set(build.tree.apart) <= set(tree.apart):
            continue  # programs of patches that this tree has not ran where its objects lie
        apart = same and build.tree.id != tree.id and build.tree.path.is_dir()
        if apart and like(build) and not damage(build.objects.parent):
            yield build


def _younger(tree: Path, changed: Collection[str], objects: Path) -> bool:
    """Whether all of the files that are there changed after the last object was made."""
    last = (objects / name for name in (*_LAST, guest_arch().image_path))
    made = max(path.stat().st_mtime_ns for path in last if path.exists())
    return all((tree / path).lstat().st_mtime_ns > made for path in changed if os.path.lexists(tree / path))


def _builds(layout: Layout) -> Iterator[Build]:
    """Finished builds of the store whose objects are there, those first that were used last."""
    records = [path / "build.json" for path in layout.builds.iterdir() if (path / "build.json").is_file()]
    for record in sorted(records, key=lambda path: _used(path.parent), reverse=True):
        try:
            build = from_json(Build, record.read_text("utf-8"))
            there = all((build.objects / name).is_file() for name in ("Module.symvers", "build.log"))
        except (OSError, UnicodeDecodeError, StoreCorrupt):
            continue  # among them one of a store that was copied, whose objects are where nobody may look
        if there:
            yield build


def _used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def compare_trees(old: Path, new: Path) -> TreeDifference | None:
    """What differs; None for trees that share few files, or differ in more than a few hundred.

    Trees that were made of each other share the files that are equal: the same inode is the same content.
    """
    changed: set[str] = set()
    alone: set[str] = set()
    headers: set[str] = set()
    if old.stat().st_dev != new.stat().st_dev:
        return None
    apart = 0  # files of their own in either tree, which must be read
    folders = [""]
    while folders:
        folder = folders.pop()
        left, right = _entries(old / folder), _entries(new / folder)
        for name in left.keys() | right.keys():
            path = f"{folder}{name}"
            one, other = left.get(name), right.get(name)
            if one is None or other is None:
                found = set(_files(old if other is None else new, path))
                changed |= found
                alone |= found
            elif _is_folder(one) and _is_folder(other):
                folders.append(f"{path}/")
                continue
            elif _is_folder(one) or _is_folder(other):
                return None  # a file that became a directory: not worth to be understood
            elif one.inode() != other.inode():
                apart += 1
                if not _same(old / path, new / path):
                    changed.add(path)
            if one is not None and other is not None and name.endswith(".h"):
                headers.add(name)
            if len(changed) > _MOST_CHANGES or apart > _MOST_READ:
                return None
    makefiles = [path for path in changed if path.rpartition("/")[2] in ("Makefile", "Kbuild")]
    recipes = any(_recipes(old / path) != _recipes(new / path) for path in makefiles)
    return TreeDifference(frozenset(changed), frozenset(alone), frozenset(headers), recipes)


def _recipes(makefile: Path) -> list[str]:
    if not makefile.is_file():
        return []
    return [line for line in makefile.read_text("utf-8", "replace").splitlines() if _RECIPE.match(line)]


def _entries(folder: Path) -> dict[str, os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return {entry.name: entry for entry in found}


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def _files(root: Path, path: str) -> list[str]:
    start = root / path
    if start.is_symlink() or not start.is_dir():
        return [path]
    return [str(one.relative_to(root)) for one in start.rglob("*") if one.is_symlink() or not one.is_dir()]


def _same(old: Path, new: Path) -> bool:
    if old.is_symlink() or new.is_symlink():
        return old.is_symlink() and new.is_symlink() and old.readlink() == new.readlink()
    return old.is_file() and new.is_file() and filecmp.cmp(old, new, shallow=False)


def plant(seed: Seed, tree: Tree, place: Path, lock: Path, deadline: Deadline) -> bool:
    """Makes `place` for the tree, which must not be there, with what is still right of the seed's objects.

    `lock` is that of the other build. False, and no place, when that cannot be done (no space, the other build is
    being made again or removed, or its records are not as expected): all is compiled then.
    """
    source = seed.build.objects
    try:
        with locked(lock, Deadline(0)), fresh_directory(place) as work:
            objects = work / OBJECTS
            run(("cp", "-a", "--reflink=auto", "--", str(source), str(objects)), deadline=deadline, reaped=True)
            for pattern in _LEFT_BEHIND:
                for path in objects.glob(pattern):
                    path.unlink()
            moves = ((source.parent, place), (seed.build.tree.path, tree.path))
            _move_log(objects, moves)
            _move_tools(objects, moves)
            remove_dependents(objects, seed.changed)
    except InfraError:
        return False
    return True


_Moves = Iterable[tuple[Path, Path]]


def _moved(text: str, moves: _Moves) -> str:
    """The text with directories named as they are now; make resolves links, so both of their names."""
    for old, new in moves:
        text = text.replace(str(old), str(new)).replace(str(old.resolve()), str(new.resolve()))
    return text


def _move_log(objects: Path, moves: _Moves) -> None:
    log = objects / "build.log"
    (objects / SEED_LOG).write_text(_moved(log.read_text("utf-8", "replace"), moves), "utf-8")
    log.unlink()


def _move_tools(objects: Path, moves: _Moves) -> None:
    """tools/build writes absolute names; with those of another place or tree it would build objtool anew, and kbuild
    after it every object.
    """
    for path in (objects / "tools").rglob(".*.cmd"):
        times = path.lstat()
        if not stat.S_ISREG(times.st_mode):
            raise InfraError(f"{path} is no plain file")
        path.write_text(_moved(path.read_text("utf-8", "surrogateescape"), moves), "utf-8", "surrogateescape")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def names_any(record: bytes, named: re.Pattern[bytes], paths: Collection[bytes]) -> bool:
    """Whether a record of dependencies names one of these files, also as `mm/../kernel/x.h`: gcc writes a name as it
    was included.
    """
    return bool(named.search(record)) or any(posixpath.normpath(word) in paths for word in _roundabout(record))


def _roundabout(record: bytes) -> Iterator[bytes]:
    """The words with `/../` in them. By hand: a regular expression took 15 s for a kernel."""
    at = record.find(b"/../")
    while at >= 0:
        begin, end = at, at
        while begin > 0 and record[begin - 1] not in _SEPARATORS:
            begin -= 1
        while end < len(record) and record[end] not in _SEPARATORS:
            end += 1
        yield record[begin:end]
        at = record.find(b"/../", end)


def remove_dependents(objects: Path, changed: Collection[str]) -> None:
    """Removes what was made of any of these files. InfraError when the records do not know what must be known."""
    if not changed:
        return
    paths = {f"../{path}".encode() for path in changed}
    named = re.compile(b"|".join(re.escape(path) for path in sorted(paths)))
    for folder, _, names in os.walk(objects):
        for name in names:
            if not (name.startswith(".") and name.endswith(".cmd")):
                continue
            record = Path(folder, name)
            if not stat.S_ISREG(record.lstat().st_mode):
                raise InfraError(f"{record} is no plain file")
            if names_any(record.read_bytes(), named, paths):
                record.with_name(name[1 : -len(".cmd")]).unlink(missing_ok=True)
                record.unlink()
    for path in changed:
        if path.endswith(".c") and (objects / path).with_suffix(".o").exists():
            raise InfraError(f"no record says that {path} is what its object was made of")


def whole_log(old: Iterable[str], new: Iterable[str], objects: Path) -> list[str]:
    """The log of a build that began with a seed as if it had not: what make said then of what it did not do again,
    and of objects that are there still, and what it says now. make puts what a step said behind the step.
    """
    again = list(new)
    steps = {step for line in again if (step := step_of(line)) is not None}
    kept: list[str] = []
    take = False
    for line in old:
        step = step_of(line)
        if step is not None:
            take = step not in steps and (objects / step.partition(" ")[2]).exists()
        if take:
            kept.append(line)
    return [*kept, *again]


def steps_left(old: Iterable[str], objects: Path) -> int:
    """How many of the seed's steps are to be done again, as far as its log tells."""
    steps = {step for line in old if (step := step_of(line)) is not None}
    return sum(not (objects / step.partition(" ")[2]).exists() for step in steps)
