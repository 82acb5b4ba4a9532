# SPDX-License-Identifier: GPL-2.0-only
"""Seals: what a directory held when it was made, file by file, and whether it still does.

A seal lies in the directory that it is of, and is written before that gets its name: what has none was not made to
its end. To look is cheap: a file is read again only when its size, times, mode or inode differ, and all are read once
a day. The change time is among them because no tool can set it back; a file that changed within a second of being
read is read again the next time, for its clock is too coarse to tell. A copied or moved store is read once, whole.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote

from harness.model.errors import StoreDamaged
from harness.store.files import explain_os_error, write_atomically
from harness.store.layout import Layout

SEAL_FILE = ".seal"
FILE, PROGRAM, LINK, FOLDER, OTHER = "file", "program", "link", "folder", "other"
_WORDS = {
    FILE: "a plain file",
    PROGRAM: "a program",
    LINK: "a symbolic link",
    FOLDER: "a directory",
    OTHER: "neither file nor directory",
}
_FORM = "ttm-harness seal 1"
_WHOLE, _PART = "whole", "part"
_NOTHING = "-"
_DAY_SECONDS = 86400.0
_TOO_FRESH_NS = 1_000_000_000
_LARGEST = 64 << 20  # bytes of a seal


@dataclass(frozen=True, slots=True)
class SealRow:
    """One file: what it is, the sha256 of its bytes (of a link's target), its bytes, and how it looked when it was
    read; no look when it was too fresh to be told from a later one.
    """

    path: str
    kind: str
    digest: str
    size: int
    look: str


@dataclass(frozen=True, slots=True)
class Seal:
    """The rows in the order of their paths. `whole`: there was nothing else; `checked`: when all was read, in seconds
    since 1970.
    """

    rows: tuple[SealRow, ...]
    whole: bool
    checked: float

    @property
    def id(self) -> str:
        """sha256 over paths, kinds and contents, never over times."""
        return _id_of(self.rows)

    def contents(self) -> dict[str, str]:
        return {row.path: row.digest for row in self.rows}


def _id_of(rows: Iterable[SealRow]) -> str:
    lines = "".join(f"{row.kind} {row.digest} {_quoted(row.path)}\n" for row in rows)
    return hashlib.sha256(lines.encode()).hexdigest()


def seal(root: Path, paths: Iterable[str] | None = None) -> Seal:
    """Reads what is below `root`, or only what is at `paths` from it, and leaves the seal there."""
    made = take(root, paths)
    write_atomically(root / SEAL_FILE, _text(made))
    return made


def take(root: Path, paths: Iterable[str] | None = None) -> Seal:
    """The seal that `seal` would leave."""
    began = time.time()
    whole = paths is None
    names = _walk(root) if paths is None else paths
    rows = tuple(_row(root, name, began) for name in sorted(names))
    return Seal(rows, whole, began)


def paths_but(root: Path, name: str) -> list[str]:
    """All that is below `root`, without what it has of that name itself."""
    return [path for path in _walk(root) if path.partition("/")[0] != name]


def read_seal(root: Path) -> Seal:
    """StoreDamaged for a directory without one, and for one that cannot be read."""
    try:
        return _parsed(_read(root / SEAL_FILE).decode("utf-8"))
    except FileNotFoundError:
        why = "has no seal: it was not made to its end, or by an older harness" if root.is_dir() else "is gone"
        raise StoreDamaged(f"{root} {why}") from None
    except (OSError, ValueError) as error:
        raise StoreDamaged(f"{root / SEAL_FILE} cannot be read: {error}") from error


def _read(path: Path) -> bytes:
    """ValueError for anything else than a plain file, which could have no end."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("it is no plain file")
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise ValueError("it is too large")
    return data


def damage(root: Path, *, thorough: bool = False) -> str:
    """What is wrong with a sealed directory, in a sentence; empty when it is as it was made.

    With `thorough` every file is read, whatever it looks like.
    """
    try:
        found = read_seal(root)
    except StoreDamaged as error:
        return error.message
    now = time.time()
    asked, thorough = thorough, thorough or not 0 <= now - found.checked < _DAY_SECONDS
    troubles: list[str] = []
    rows = []
    for row in found.rows:
        try:
            fresh, trouble = _compared(root, row, now, thorough)
        except PermissionError:  # somebody else's store: what it looks like must do, where that does
            fresh, trouble = row, "cannot be read" if asked or not _looks_alike(root, row) else ""
        rows.append(fresh)
        if trouble:
            troubles.append(f"{_shown(root, row.path)} {trouble}")
    if found.whole:
        try:
            more = sorted(set(_walk(root)) - {row.path for row in found.rows})
            troubles += [f"{_shown(root, path)} was not there when it was made" for path in more]
        except OSError as error:
            troubles.append(f"{error.filename} cannot be read: {error.strerror}")
    if troubles:
        return troubles[0] + (f" (and {len(troubles) - 1} more)" if troubles[1:] else "")
    if thorough or tuple(rows) != found.rows:
        told = Seal(tuple(rows), found.whole, now if thorough else found.checked)
        with suppress(OSError):  # somebody else's store: it is all read the next time, too
            write_atomically(root / SEAL_FILE, _text(told))
    return ""


def require_sealed(root: Path, identity: str) -> None:
    """StoreDamaged unless every file of a directory is what it was when its seal had that id: all are read."""
    if not identity:
        raise StoreDamaged(f"{root} was made before its files were hashed, so nothing says that they are the same")
    if read_seal(root).id != identity:
        raise StoreDamaged(f"{root} is not sealed as it was when it was made")
    if trouble := damage(root, thorough=True):
        raise StoreDamaged(trouble)


def require_whole(roots: Iterable[Path]) -> None:
    """StoreDamaged, naming file and fault, when one of these is not as it was made."""
    for root in roots:
        if trouble := damage(root):
            raise StoreDamaged(trouble, hint="start it again: what is damaged is made anew")


def looks(roots: Iterable[Path]) -> dict[Path, str]:
    """What changes when a file of a directory does, or is another one, even if its content is as before again."""
    return {root: _looks_of(root) for root in roots}


def _looks_of(root: Path) -> str:
    digest = hashlib.sha256(f"{root.stat().st_ino}".encode())
    for path in sorted(_walk(root)):
        seen = (root / path).lstat()
        digest.update(f"{_quoted(path)} {_kind(seen) if stat.S_ISDIR(seen.st_mode) else _look(seen)}\n".encode())
    return digest.hexdigest()


def set_aside(path: Path, layout: Layout) -> Path:
    """Moves what is damaged out of the way, to damaged/, where somebody may look at it; `results prune` knows it."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    target = layout.damaged / f"{path.parent.name}-{path.name}-{stamp}-{secrets.token_hex(2)}"
    try:
        path.rename(target)
    except OSError as error:
        raise explain_os_error(error, f"cannot set {path} aside") from error
    return target


def take_out(path: Path, layout: Layout, tell: Callable[[str], None], *, thorough: bool = False) -> bool:
    """Sets a sealed directory aside when it is not as it was made, and tells what is wrong; whether it did."""
    trouble = damage(path, thorough=thorough)
    if not trouble:
        return False
    tell(f"{trouble}; it is set aside as {set_aside(path, layout)}, and made again")
    return True


def _compared(root: Path, row: SealRow, now: float, thorough: bool) -> tuple[SealRow, str]:
    """The row as it is to be remembered, and what is wrong with its file."""
    try:
        seen = os.lstat(f"{root}/{row.path}")  # thousands of them: a Path each would be most of the time
        if row.kind == FOLDER and stat.S_ISDIR(seen.st_mode):
            return row, ""
        if row.look and row.look == _look(seen) and not thorough:
            return row, ""
        fresh = _row(root, row.path, now)
    except (FileNotFoundError, NotADirectoryError):
        return row, "is gone"
    except PermissionError:
        raise
    except OSError as error:
        return row, f"cannot be read: {error.strerror}"
    if fresh.kind != row.kind:
        return row, f"is {_WORDS[fresh.kind]}, and was {_WORDS.get(row.kind, row.kind)}"
    if fresh.size != row.size:
        return row, f"has {fresh.size} bytes, {row.size} were made"
    if fresh.digest != row.digest:
        return row, "is not what was made: its content changed"
    return fresh, ""


def _looks_alike(root: Path, row: SealRow) -> bool:
    try:
        seen = (root / row.path).lstat()
    except OSError:
        return False
    return (_kind(seen), seen.st_size) == (row.kind, row.size)


def _row(root: Path, name: str, now: float) -> SealRow:
    """The file as it is; what is being written while it is read has no look."""
    path = root / name
    seen = path.lstat()
    kind = _kind(seen)
    if kind == LINK:
        digest = hashlib.sha256(os.fsencode(path.readlink())).hexdigest()
    elif kind in (FILE, PROGRAM):
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    else:
        return SealRow(name, kind, _NOTHING, 0, "")
    after = path.lstat()
    settled = after.st_ctime_ns + _TOO_FRESH_NS < now * 1e9 and _look(after) == _look(seen)
    return SealRow(name, kind, digest, after.st_size, _look(after) if settled else "")


def _kind(seen: os.stat_result) -> str:
    if stat.S_ISREG(seen.st_mode):
        return PROGRAM if seen.st_mode & 0o111 else FILE
    if stat.S_ISLNK(seen.st_mode):
        return LINK
    return FOLDER if stat.S_ISDIR(seen.st_mode) else OTHER


def _look(seen: os.stat_result) -> str:
    return f"{seen.st_size}.{seen.st_mtime_ns}.{seen.st_ctime_ns}.{seen.st_ino}.{seen.st_mode:o}"


def _walk(root: Path) -> Iterator[str]:
    """All names below a directory but those of its seal; links are not followed."""
    folders = [""]
    while folders:
        folder = folders.pop()
        with os.scandir(root / folder) as entries:
            for entry in entries:
                name = f"{folder}{entry.name}"
                if not folder and (name == SEAL_FILE or name.startswith(f".{SEAL_FILE}.")):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{name}/")
                yield name


def _text(made: Seal) -> str:
    head = f"{_FORM} {_WHOLE if made.whole else _PART} {made.checked:.3f} {made.id}"
    rows = (f"{row.kind}\t{row.digest}\t{row.size}\t{row.look}\t{_quoted(row.path)}" for row in made.rows)
    return "\n".join((head, *rows, ""))


def _shown(root: Path, path: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in f"{root / path}")


def _quoted(path: str) -> str:
    """A guest may have named a file with any bytes."""
    return quote(path, errors="surrogateescape")


def _parsed(text: str) -> Seal:
    """ValueError for anything else than what `_text` makes."""
    head, *lines, last = text.split("\n")
    form, _, rest = head.rpartition(f"{_FORM} ")
    word, checked, identity = rest.split(" ")
    found = Seal(tuple(map(_parsed_row, lines)), word == _WHOLE, float(checked))
    if form or last or word not in (_WHOLE, _PART) or found.id != identity:
        raise ValueError("it is no seal, or a damaged one")
    return found


def _parsed_row(line: str) -> SealRow:
    kind, digest, size, look, path = line.split("\t")
    return SealRow(unquote(path, errors="surrogateescape"), kind, digest, int(size), look)
