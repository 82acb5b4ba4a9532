# SPDX-License-Identifier: GPL-2.0-only
"""What can go from the store: old runs, builds that nobody used for long, objects that nobody will use again.

First it is only named, with its bytes. What goes is moved to trash/ first, under its lock, so it is there whole or
not at all; what a killed process left in trash/ goes the next time.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from harness.model.errors import DeadlineExceeded, UserError
from harness.model.results import RESULTS_SCHEMA, Pruning, Remains, Removal, Skipped
from harness.model.units import format_seconds
from harness.proc import Deadline
from harness.store.files import explain_os_error, locked
from harness.store.layout import Layout
from harness.store.runs import RUN_NAME, STAMP, held_again, is_held
from harness.store.usage import Contents, Freed, contents_of

_LOCK_SECONDS = 600.0
_HELD = "a process works in it"
_BUILD = re.compile(r"[0-9a-f]{16}")
_GATE = re.compile(r"(?P<lock>gate-[0-9a-f]{16})-.+")  # another compiler or architecture, under the same lock
# What is made before a run directory is there (source, build, modules): used by it, but touched before it began.
_BEFORE_A_RUN = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Limits:
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
    """A thing to go: the paths that go together, under that lock (None for a run, which has its own)."""

    what: Remains
    paths: tuple[Path, ...]
    why: str
    contents: Contents
    lock: Path | None = None


def survey(layout: Layout, limits: Limits, now: datetime) -> Pruning:
    """What would go, nothing touched."""
    doomed, kept = _find(layout, limits, now)
    return _told(doomed, kept, done=False)


def prune(layout: Layout, limits: Limits, now: datetime) -> Pruning:
    """Removes what `survey` names, but for what somebody began to use meanwhile. InfraError where a file resists."""
    with locked(layout.locks / "prune", Deadline(_LOCK_SECONDS)):
        _empty_trash(layout)
        doomed, kept = _find(layout, limits, now)
        gone = []
        for one in doomed:
            try:
                with _held(one):
                    _move_to_trash(layout, one.paths)
                gone.append(one)
            except (UserError, DeadlineExceeded):
                kept.append(Skipped(one.paths[0].name, _HELD))
        _empty_trash(layout)
    return _told(gone, kept, done=True)


def _told(doomed: Sequence[_Doomed], kept: Sequence[Skipped], *, done: bool) -> Pruning:
    freed = Freed()
    removals = tuple(Removal(one.what, one.paths[0].name, freed.add(one.contents), one.why) for one in doomed)
    return Pruning(RESULTS_SCHEMA, done, sum(one.bytes for one in removals), removals, tuple(kept))


def _find(layout: Layout, limits: Limits, now: datetime) -> tuple[list[_Doomed], list[Skipped]]:
    runs = _runs(layout)
    doomed: list[_Doomed] = []
    kept: list[Skipped] = []
    if limits.of_runs:
        doomed, kept = _old_runs(runs, limits, now)
    if limits.unused is not None:
        # A run that goes on for long uses what was touched last when it began.
        begun = [_began(path) - _BEFORE_A_RUN for path in runs if is_held(path)]
        doomed += _unused(layout, min([now - limits.unused, *begun]), now)
    return doomed, kept


def _runs(layout: Layout) -> list[Path]:
    """The run directories, newest first, whatever is in them."""
    found = [path for path in layout.runs.iterdir() if RUN_NAME.fullmatch(path.name)]
    return sorted((path for path in found if path.is_dir() and not path.is_symlink()), reverse=True)


def _began(run: Path) -> datetime:
    return datetime.strptime(run.name.split("-")[0], STAMP).replace(tzinfo=UTC)


def _old_runs(runs: Sequence[Path], limits: Limits, now: datetime) -> tuple[list[_Doomed], list[Skipped]]:
    """Oldest first, so that what each frees is right when one is removed after the other."""
    doomed, kept = [], []
    room = _Room(limits.size)
    for place, path in enumerate(runs):
        why = _why(place, now - _began(path), limits) or room.refuses(path)
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


def _why(place: int, age: timedelta, limits: Limits) -> str:
    if limits.keep is not None and place >= limits.keep:
        return f"not among the newest {limits.keep}"
    return f"{_days(age)} old" if limits.age is not None and age > limits.age else ""


def _days(age: timedelta) -> str:
    return f"{age.days} days" if age.days > 1 else format_seconds(age.total_seconds())


def _unused(layout: Layout, limit: datetime, now: datetime) -> Iterator[_Doomed]:
    """Builds with their objects, and other objects. A directory's own time is that of its last use."""
    builds = {path.name: path for path in _directories(layout.builds)}
    objects = {path.name: path for path in _directories(layout.objects)}
    for name in sorted(builds.keys() | objects.keys()):
        paths = tuple(place[name] for place in (builds, objects) if name in place)
        used = max(datetime.fromtimestamp(path.stat().st_mtime, UTC) for path in paths)
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


def _directories(place: Path) -> list[Path]:
    """A link leads to another store, which has a prune of its own."""
    return [path for path in place.iterdir() if path.is_dir() and not path.is_symlink()]


@contextmanager
def _held(one: _Doomed) -> Iterator[None]:
    if one.lock is None:
        with held_again(one.paths[0]):
            yield
    else:
        with locked(one.lock, Deadline(0.0)):
            yield


def _move_to_trash(layout: Layout, paths: Sequence[Path]) -> None:
    trash = layout.root / "trash"
    trash.mkdir(exist_ok=True)
    for path in paths:
        try:
            path.rename(trash / f"{path.parent.name}-{path.name}")
        except OSError as error:
            raise explain_os_error(error, f"cannot remove {path}") from error


def _empty_trash(layout: Layout) -> None:
    trash = layout.root / "trash"
    if trash.is_dir():
        for path in trash.iterdir():
            try:
                shutil.rmtree(path)
            except OSError as error:
                raise explain_os_error(error, f"cannot remove {error.filename or path}") from error
