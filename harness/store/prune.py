# SPDX-License-Identifier: GPL-2.0-only
"""What can go from the store: old runs; builds, objects, sources, guest roots, downloads, searches, replays and
compiler's results that nobody used for long.

First it is only named, with its bytes. What goes is moved to trash/ first, under its lock, so it is there whole or
not at all; what a killed process left in trash/ goes the next time. Only what has a name that the store itself gives
is ever touched, and never through a link.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from harness.model.errors import DeadlineExceeded, HarnessError, UserError
from harness.model.results import RESULTS_SCHEMA, Pruning, Remains, Removal, Skipped
from harness.model.units import format_seconds
from harness.proc import Deadline, find_tool, run
from harness.store.files import locked
from harness.store.layout import Layout
from harness.store.runs import RUN_NAME, STAMP, held_again, is_held
from harness.store.trash import open_trash
from harness.store.usage import Contents, Freed, contents_of, inode_of

_LOCK_SECONDS = 600.0
_HELD = "a process works in it"
_BUILD = re.compile(r"[0-9a-f]{16}")
_GATE = re.compile(r"(?P<lock>gate-[0-9a-f]{16})-.+")  # another compiler or architecture, under the same lock
_OBJECTS = re.compile(r"[0-9a-f]{16}|gate-[0-9a-f]{16}(-[\w.-]+)?|(module|kept|control|selftests|igt)-[0-9a-f-]+")
_SOURCE = re.compile(r"[A-Za-z0-9._-]+-[0-9a-f]{16}")
_ROOT = re.compile(r"[0-9a-f]{16}")
_PARCEL = re.compile(r"[0-9a-f]{32}")
_DOWNLOAD = re.compile(r"deb-[0-9a-f]{16}|linux-[0-9][0-9.]*\.tar\.xz|apt")
_SEARCH = re.compile(r"[0-9a-f]{12}")
_REPLAY = re.compile(r"[0-9a-f]{64}\.json")
_ANYTHING = re.compile(r".+", re.DOTALL)
_CACHE = re.compile(r"ccache-\d+")
_CACHE_FOLDER = re.compile(r"[0-9a-f]")
_CACHED = re.compile(r"[0-9a-v]{20,}[MRWD]?(\.\w+)?")
_TOOL_SECONDS = 600.0
# What those hold who make it, with its name.
_LEFT_OVER_LOCKS = {
    Remains.SOURCE: "source-{}.lock",
    Remains.ROOT: "root-{}",
    Remains.PARCEL: "parcel-{}",
    Remains.DOWNLOAD: "download-{}.lock",
}
_FILES = (Remains.DOWNLOAD, Remains.DAMAGED, Remains.REPLAY)  # no directories, or not always
# What is made before a run directory is there (source, build, modules): used by it, but touched before it began.
_BEFORE_A_RUN = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class PruneLimits:
    """What is to be kept of the runs, and of the builds by the time since their last use; None: no limit.

    A run goes when one of its limits says so: it is older, or not among the newest `keep`, or the newest ones take
    `size` bytes without it.
    """

    age: timedelta | None = None
    keep: int | None = None
    size: int | None = None
    unused: timedelta | None = None

    @property
    def of_runs(self) -> bool:
        return (self.age, self.keep, self.size) != (None, None, None)


@dataclass(frozen=True, slots=True)
class _Doomed:
    """A thing to go: the paths that go together, under that lock; a run has its own, and some need none.

    Of the compiler's cache only what was not used since `before` goes.
    """

    what: Remains
    paths: tuple[Path, ...]
    why: str
    contents: Contents
    lock: Path | None = None
    before: float = 0.0


def survey(layout: Layout, limits: PruneLimits, now: datetime) -> Pruning:
    """What would go, nothing touched."""
    doomed, kept = _find(layout, limits, now)
    return _told(doomed, kept, done=False)


def prune(layout: Layout, limits: PruneLimits, now: datetime) -> Pruning:
    """Removes what `survey` names, but for what somebody began to use meanwhile. InfraError where a file resists."""
    with locked(layout.locks / "prune", Deadline(_LOCK_SECONDS)), open_trash(layout) as trash:
        doomed, kept = _find(layout, limits, now)
        gone = []
        for one in doomed:
            try:
                with _held(one):
                    if one.what is Remains.CACHE:
                        _thin_out(one.paths[0], one.before)
                    else:
                        for path in one.paths:
                            trash.take(path)
                gone.append(one)
            except (UserError, DeadlineExceeded):
                kept.append(Skipped(one.paths[0].name, _HELD))
        trash.empty()
    return _told(gone, kept, done=True)


def _told(doomed: Sequence[_Doomed], kept: Sequence[Skipped], *, done: bool) -> Pruning:
    freed = Freed()
    removals = tuple(Removal(one.what, one.paths[0].name, freed.add(one.contents), one.why) for one in doomed)
    return Pruning(RESULTS_SCHEMA, done, sum(one.bytes for one in removals), removals, tuple(kept))


def _find(layout: Layout, limits: PruneLimits, now: datetime) -> tuple[list[_Doomed], list[Skipped]]:
    runs = _runs(layout)
    doomed: list[_Doomed] = []
    kept: list[Skipped] = []
    if limits.of_runs:
        doomed, kept = _old_runs(runs, limits, now)
    if limits.unused is not None:
        # A run that goes on for long uses what was touched last when it began.
        begun = [when - _BEFORE_A_RUN for path in runs if (when := _began(path)) is not None and is_held(path)]
        limit = min([now - limits.unused, *begun])
        doomed += [*_unused(layout, limit, now), *_left_over(layout, limit, now), *_old_cache(layout, limit, now)]
    return doomed, kept


def _runs(layout: Layout) -> list[Path]:
    """The run directories, newest first, whatever is in them."""
    return sorted(
        (path for path in _entries(layout, layout.runs_name, RUN_NAME) if _began(path) is not None), reverse=True
    )


def _began(run: Path) -> datetime | None:
    """None for a name that only looks like that of a run."""
    try:
        return datetime.strptime(run.name.split("-")[0], STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None


def _old_runs(runs: Sequence[Path], limits: PruneLimits, now: datetime) -> tuple[list[_Doomed], list[Skipped]]:
    """Oldest first, so that what each frees is right when one is removed after the other."""
    doomed, kept = [], []
    room = _Room(limits.size)
    for place, path in enumerate(runs):
        why = _why(place, now - (_began(path) or now), limits) or room.refuses(path)
        if why and is_held(path):
            kept.append(Skipped(path.name, _HELD))
        elif why:
            doomed.append(_Doomed(Remains.RUN, (path,), why, contents_of(path)))
    return doomed[::-1], kept


class _Room:
    """The room for runs in bytes, filled from the newest on; with the first that is too much it is full."""

    def __init__(self, size: int | None) -> None:
        self._left = size
        self._here: Contents = {}

    def refuses(self, path: Path) -> str:
        """Why there is no room for the run; empty when there is."""
        if self._left is None:
            return ""
        contents = contents_of(path)
        self._left -= sum(inode.bytes for inode in contents if inode not in self._here)
        self._here |= contents
        return "no room after the newer ones" if self._left < 0 else ""


def _why(place: int, age: timedelta, limits: PruneLimits) -> str:
    if limits.keep is not None and place >= limits.keep:
        return f"not among the newest {limits.keep}"
    return f"{_days(age)} old" if limits.age is not None and age > limits.age else ""


def _days(age: timedelta) -> str:
    return f"{age.days} days" if age.days > 1 else format_seconds(age.total_seconds())


def _unused(layout: Layout, limit: datetime, now: datetime) -> Iterator[_Doomed]:
    """Builds with their objects, and other objects. A directory's own time is that of its last use."""
    builds = {path.name: path for path in _entries(layout, "builds", _BUILD)}
    objects = {path.name: path for path in _entries(layout, "objects", _OBJECTS)}
    for name in sorted(builds.keys() | objects.keys()):
        paths = tuple(place[name] for place in (builds, objects) if name in place)
        used = max(map(_used, paths))
        if used >= limit:
            continue
        what = Remains.BUILD if name in builds else Remains.OBJECTS
        orphan = ", of a build that was never finished" if what is Remains.OBJECTS and _BUILD.fullmatch(name) else ""
        lock = layout.locks / _lock_of(name)
        yield _Doomed(what, paths, f"not used for {_days(now - used)}{orphan}", contents_of(*paths), lock)


def _lock_of(name: str) -> str:
    """What those hold who work in the place of that name."""
    if _BUILD.fullmatch(name):
        return f"build-{name}"
    gate = _GATE.fullmatch(name)
    return gate["lock"] if gate else name


def _left_over(layout: Layout, limit: datetime, now: datetime) -> Iterator[_Doomed]:
    """Sources, guest roots, parcels, downloads, searches, what was set aside, and what came of bugs of the past."""
    for what, folder, names in (
        (Remains.SOURCE, "sources", _SOURCE),
        (Remains.ROOT, "roots", _ROOT),
        (Remains.PARCEL, "parcels", _PARCEL),
        (Remains.DOWNLOAD, "downloads", _DOWNLOAD),
        (Remains.SEARCH, "searches", _SEARCH),
        (Remains.DAMAGED, "damaged", _ANYTHING),
        (Remains.REPLAY, "history", _REPLAY),
    ):
        for path in _entries(layout, folder, names, also_files=what in _FILES):
            used = _used(path)
            if used >= limit or (what is Remains.SOURCE and not (path / "tree.json").is_file()):
                continue
            lock = _LEFT_OVER_LOCKS.get(what, "").format(path.name.removesuffix(".tar.xz"))
            aside = what is Remains.DAMAGED
            why = f"set aside {_days(now - used)} ago" if aside else f"not used for {_days(now - used)}"
            yield _Doomed(what, (path,), why, contents_of(path), layout.locks / lock if lock else None)


def _old_cache(layout: Layout, limit: datetime, now: datetime) -> Iterator[_Doomed]:
    """What ccache has and nobody asked it for: it touches what it gives back."""
    before = limit.timestamp()
    for path in _entries(layout, "", _CACHE):
        contents: Contents = {}
        for folder, name in _cached(path, before):
            inode = inode_of(name, folder)
            if inode is not None:
                contents[inode] = contents.get(inode, 0) + 1
        if contents:
            why = f"{len(contents)} files not used for {_days(now - limit)}"
            yield _Doomed(Remains.CACHE, (path,), why, contents, before=before)


def _cached(cache: Path, before: float) -> Iterator[tuple[int, str]]:
    """The results in a cache that were not used since, each in its open directory."""
    for root, folders, names, handle in os.fwalk(cache, follow_symlinks=False):
        if Path(root) == cache:
            folders[:] = [name for name in folders if _CACHE_FOLDER.fullmatch(name)]
            continue
        for name in names:
            found = os.stat(name, dir_fd=handle, follow_symlinks=False)
            if _CACHED.fullmatch(name) and stat.S_ISREG(found.st_mode) and found.st_mtime < before:
                yield handle, name


def _thin_out(cache: Path, before: float) -> None:
    for folder, name in _cached(cache, before):
        os.unlink(name, dir_fd=folder)
    if find_tool("ccache") is not None:
        try:  # it counts what it has, and would go on with the old sum
            run(("ccache", "--cleanup"), deadline=Deadline(_TOOL_SECONDS), env={"CCACHE_DIR": str(cache)})
        except HarnessError:
            pass


def _entries(layout: Layout, folder: str, names: re.Pattern[str], *, also_files: bool = False) -> list[Path]:
    """What lies there under a name that the store gives, in the order of names. A link leads to another store, which
    has a prune of its own.
    """
    place = layout.root / folder
    if not place.is_dir():
        return []
    found = [path for path in place.iterdir() if names.fullmatch(path.name) and not path.is_symlink()]
    return sorted(path for path in found if path.is_dir() or (also_files and path.is_file()))


def _used(path: Path) -> datetime:
    """When it was last used: a directory's own time."""
    return datetime.fromtimestamp(path.lstat().st_mtime, UTC)


@contextmanager
def _held(one: _Doomed) -> Iterator[None]:
    if one.what is Remains.RUN:
        with held_again(one.paths[0]):
            yield
    elif one.lock is None:
        yield
    else:
        with locked(one.lock, Deadline(0.0)):
            yield
