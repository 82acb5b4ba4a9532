# SPDX-License-Identifier: GPL-2.0-only
"""Whether a source in the store is still what was put there.

A patched tree shares the files that it does not change with its base, as hard links, and builds execute what is in
them: one that wrote into a source would change the meaning of every id that was made of it. Contained builds cannot
(sandbox.py); this finds what anything else did. When a source is put into the store a list of its files is left
beside it, with hashes. Whoever takes the source from the store compares: sizes, times, inodes, the content of what
differs in one of those, and once a day the content of everything (96,000 files: 1 s, and 5 s).

The change time is not in the list: every tree that shares a file, and every one that is removed, changes it.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.model.errors import InfraError, StoreCorrupt
from harness.store.files import write_atomically

SEAL = "files"  # beside the tree
_FORM = "ttm-harness files 1"
_DAY = 86400.0
_DIGITS = 32
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Row:
    """A file: f, x (a program) or l (a link), what is in it (or where it leads), size, time and inode."""

    kind: str
    digest: str
    stamp: str


_Rows = Mapping[str, _Row]


def seal(tree: Path, beside: Path, kin: Path | None = None) -> None:
    """Leaves the list of the tree's files as `beside`/files. `kin` is a directory with such a list of a tree with
    which this one may share files: those need not be read.
    """
    shared = {row.stamp: row for row in _read(kin).values()} if kin is not None else {}
    rows = {}
    for path, facts in _files(tree):
        stamp, kind = _stamp(facts), _kind(facts)
        known = shared.get(stamp)
        same = known is not None and known.kind == kind
        rows[path] = known if known is not None and same else _Row(kind, _digest(f"{tree}/{path}", kind), stamp)
    _write(beside, rows)


def is_sealed(beside: Path) -> bool:
    return (beside / SEAL).is_file()


def found_damaged(beside: Path) -> bool:
    """Whether the last who compared the tree with the list found damage."""
    return (beside / SEAL).stat().st_mtime == 0


def content_id(beside: Path) -> tuple[str, tuple[str, ...]]:
    """64 hex digits over what the list says of the files, never over times, and their names in order."""
    rows = _read(beside)
    names = tuple(sorted(rows))
    lines = "".join(f"{rows[name].kind} {rows[name].digest} {name}\0" for name in names)
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest(), names


def find_damage(tree: Path, beside: Path, doubted: Container[str] = ()) -> tuple[str, ...]:
    """The files that are not what they were, gone, or new; their names from the top of the tree, in order. Those that
    are `doubted` are read, whatever their times say.
    """
    file = beside / SEAL
    rows = _read(beside)
    wholly = not 0 <= time.time() - file.stat().st_mtime < _DAY
    now: dict[str, _Row] = {}
    wrong = []
    for path, facts in _files(tree):
        row = rows.get(path)
        stamp, kind = _stamp(facts), _kind(facts)
        if row is None or row.kind != kind:
            wrong.append(path)
        elif row.stamp != stamp or wholly or path in doubted:
            if _digest(f"{tree}/{path}", kind) != row.digest:
                wrong.append(path)
            now[path] = _Row(kind, row.digest, stamp)
        else:
            now[path] = row
    wrong += [path for path in rows if path not in now and path not in wrong]
    if wrong:
        os.utime(file, (0, 0))  # whoever looks next looks at everything
    elif wholly or now != rows:
        _write(beside, now, None if wholly else file.stat().st_mtime)
    return tuple(sorted(wrong))


def require_sound(tree: Path) -> None:
    """StoreCorrupt for a tree with a list beside it that says otherwise; for who is about to build it."""
    if is_sealed(tree.parent) and (damage := find_damage(tree, tree.parent)):
        raise StoreCorrupt(
            f"the source {tree} was changed after it was taken from the store: {name_some(damage)}",
            hint="run again: it is then put into the store anew",
        )


def name_some(paths: tuple[str, ...]) -> str:
    """The first few of the names."""
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(paths[:_SHOWN]) + more


class Watch:
    """Trees while something runs that could write to them: begins with its making."""

    def __init__(self, trees: tuple[Path, ...]) -> None:
        self._trees = trees
        self._before = [_moment(tree) for tree in trees]

    def require_unchanged(self) -> None:
        """StoreCorrupt names what was changed, which no later run will believe either."""
        for tree, before in zip(self._trees, self._before, strict=True):
            after = _moment(tree)
            changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
            if not changed or not is_sealed(tree.parent):
                continue
            # Another tree may have been made of this one meanwhile, which changes times alone: look inside.
            if wrong := tuple(path for path in find_damage(tree, tree.parent, changed) if path in changed):
                raise StoreCorrupt(
                    f"the build changed its own source: {name_some(wrong)} in {tree}",
                    hint="read what its Makefiles do; the source is put into the store anew by the next run",
                )


def _moment(tree: Path) -> dict[str, tuple[int, int]]:
    """The times that no tool can set back, and inodes."""
    return {path: (facts.st_ctime_ns, facts.st_ino) for path, facts in _files(tree)}


def _files(tree: Path) -> Iterator[tuple[str, os.stat_result]]:
    """All but directories below the tree, with paths from it."""
    prefix = len(str(tree)) + 1
    waiting = [str(tree)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    yield entry.path[prefix:], entry.stat(follow_symlinks=False)


def _stamp(facts: os.stat_result) -> str:
    return f"{facts.st_size}.{facts.st_mtime_ns}.{facts.st_ino}"


def _kind(facts: os.stat_result) -> str:
    if stat.S_ISLNK(facts.st_mode):
        return "l"
    if not stat.S_ISREG(facts.st_mode):
        return "?"
    return "x" if facts.st_mode & 0o100 else "f"


def _digest(path: str, kind: str) -> str:
    if kind == "?":
        return ""  # a pipe or a device, which no source has
    if kind == "l":
        return hashlib.sha256(os.fsencode(Path(path).readlink())).hexdigest()[:_DIGITS]
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        found = hashlib.sha256()
        while data := os.read(handle, 1 << 20):
            found.update(data)
        return found.hexdigest()[:_DIGITS]
    finally:
        os.close(handle)


def _write(beside: Path, rows: _Rows, when: float | None = None) -> None:
    lines = [f"{row.kind}\t{row.digest}\t{row.stamp}\t{path}" for path, row in rows.items()]
    text = "\0".join([_FORM, *lines])
    check = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
    # Names that are no UTF-8 come as surrogates, which JSON's escapes would carry and a plain file does not.
    write_atomically(beside / SEAL, f"{check}\0{text}".encode("utf-8", "surrogateescape").decode("latin-1"))
    if when is not None:
        os.utime(beside / SEAL, (when, when))


def _read(beside: Path) -> _Rows:
    """The rows of the list; StoreCorrupt when it is none."""
    try:
        data = (beside / SEAL).read_text("utf-8").encode("latin-1")
    except (OSError, UnicodeError) as error:
        raise InfraError(f"cannot read {beside / SEAL}: {error}") from error
    check, _, text = data.decode("utf-8", "surrogateescape").partition("\0")
    head, *lines = text.split("\0")
    if head != _FORM or hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest() != check:
        raise StoreCorrupt(f"{beside / SEAL} is damaged", hint=f"rm -r {beside}; the next run puts it there anew")
    try:
        rows = {}
        for line in lines:
            kind, digest, stamp, path = line.split("\t", 3)
            rows[path] = _Row(kind, digest, stamp)
        return rows
    except ValueError as error:
        raise StoreCorrupt(f"{beside / SEAL} is damaged", hint=f"rm -r {beside}") from error
