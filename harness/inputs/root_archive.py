# SPDX-License-Identifier: GPL-2.0-only
"""The archive of a root file system -> a directory, whatever the archive says.

A root is not a kernel's source: links lead to absolute places, because they are meant for the guest, and there are
device nodes. So the members are read here, and not by tar: what would be written outside is refused, no link is made
before all else is there, no device is made at all (the guest has its own /dev), and what is unpacked has bounds.
Owners are not kept and nothing is set-uid: all belongs to who runs the harness, and the guest shows it as it is.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import zstandard

from harness.model.errors import InfraError, UserError
from harness.model.units import GIB, MIB, about_size
from harness.proc import Deadline

LARGEST = 16 * GIB  # bytes of all files together
MOST_MEMBERS = 500_000
_LONGEST_HEADER = MIB  # of the archive's own words about one member
_DEEPEST = 100
_PIECE = 256 << 10
_LARGEST_WINDOW = 128 * MIB
_ZSTD = b"\x28\xb5\x2f\xfd"
_NOT_TAKEN = ("dev", "proc", "sys", "run")  # what the guest has of its own; the directories stay
_HINT = "a root's archive is what `mmdebstrap`, `docker export` or `tar -C ROOT -c .` makes"


@dataclass(frozen=True, slots=True)
class Unpacked:
    """How many files and links there are, and how many bytes they have."""

    files: int
    size: int


@dataclass(frozen=True, slots=True)
class _Link:
    """A symbolic link that is still to be made; `hard` to a file of the archive."""

    path: Path
    target: str
    hard: bool


def unpack_root(archive: Path, into: Path, deadline: Deadline, room: int = LARGEST) -> Unpacked:
    """Unpacks a tar, plain or compressed, into the directory `into`, which is empty. `room` in bytes.

    UserError for what is no tar, leads outside, or is more than there is room for; InfraError for one that is cut
    short.
    """
    taker = _Taker(archive.name, into, deadline, room)
    try:
        with _opened(archive, room) as tar:
            for member in tar:
                taker.take(member, tar)
        taker.finish()
    except (tarfile.ReadError, EOFError, zstandard.ZstdError, OSError, ValueError, RecursionError) as error:
        raise _explain(archive, error, taker) from error
    if not taker.files:
        raise _unfit(archive.name, "there is no file in it")
    return Unpacked(taker.files, taker.size)


def _explain(archive: Path, error: Exception, taker: _Taker) -> Exception:
    if isinstance(error, OSError) and error.errno:
        where = f" at {taker.at}" if taker.at else ""
        return InfraError(f"the archive {archive.name} cannot be unpacked{where}: {error.strerror}")
    if taker.members:
        return InfraError(f"the archive {archive.name} is cut short or damaged: {error}", hint="make it anew")
    return UserError(f"{archive} is not a tar archive: {error}", hint=_HINT)


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Bounded(io.RawIOBase):
    """A stream that is read forwards only and not without end. What is asked for at once is bounded, too: the reader
    of tars asks for as much as a header says that another one has.
    """

    def __init__(self, stream: _Stream, most: int) -> None:
        self._stream = stream
        self._most = most
        self._at = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LONGEST_HEADER:
            raise ValueError(f"a header of {about_size(max(size, 0))}")
        data = b""
        while len(data) < size and (piece := self._stream.read(size - len(data))):
            data += piece
        self._at += len(data)
        if self._at > self._most:
            raise ValueError(f"it is larger than {about_size(self._most)}")
        return data

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence or offset < self._at:
            raise ValueError("it is not read in its order")
        while self._at < offset and self.read(min(_PIECE, offset - self._at)):
            pass
        return self._at


@contextmanager
def _opened(archive: Path, room: int) -> Iterator[tarfile.TarFile]:
    with archive.open("rb") as file:
        head = file.read(4)
        file.seek(0)
        stream = _decompressed(file, head)
        # Headers and padding are at most as much again as very small files are.
        bounded = _Bounded(stream, 2 * room + MOST_MEMBERS * 1024)
        with tarfile.TarFile(fileobj=bounded, errorlevel=2) as tar:
            yield tar


def _decompressed(file: IO[bytes], head: bytes) -> _Stream:
    if head == _ZSTD:
        decompressor = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
        return decompressor.stream_reader(file, read_across_frames=True)
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)
    if head == b"\xfd7zX":
        return lzma.LZMAFile(file)
    if head.startswith(b"BZh"):
        return bz2.BZ2File(file)
    return file


class _Taker:
    """Takes the members one by one; what is there so far is told in `files` and `size`."""

    def __init__(self, name: str, into: Path, deadline: Deadline, room: int) -> None:
        self._name = name
        self._into = into
        self._deadline = deadline
        self._room = room
        self._links: list[_Link] = []
        self._names_of_links: set[Path] = set()
        self.members = 0
        self.files = 0
        self.size = 0
        self.at = ""

    def take(self, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
        tar.members = []  # type: ignore[attr-defined]  # which would else be all kept
        self.members += 1
        self.at = _shown(member.name)
        if self.members > MOST_MEMBERS:
            raise _unfit(self._name, f"it has more than {MOST_MEMBERS} members")
        if self._deadline.passed:
            raise InfraError(f"the archive {self._name} was not unpacked within {self._deadline.seconds:.0f} s")
        parts = _parts(member.name)
        if parts is None:
            raise _unfit(self._name, f"the member {self.at} leads outside")
        if len(parts) > _DEEPEST:
            raise _unfit(self._name, f"the member {self.at[:80]}… lies {len(parts)} directories deep")
        if parts and parts[0] in _NOT_TAKEN and not (len(parts) == 1 and member.isdir()):
            return
        path = self._into.joinpath(*parts)
        if member.isdir():
            self._make_folder(path)
            path.chmod(0o700 | (member.mode & 0o777))
        elif member.issym() or member.islnk():
            self._keep_link(member, path)
        elif member.isreg():
            self._make_file(member, path, tar)
        else:
            raise _unfit(self._name, f"{self.at} is a device or a pipe outside of /dev")

    def finish(self) -> None:
        """Makes the links: those of files to each other first, as long as nothing leads elsewhere."""
        for link in self._links:
            if not link.hard:
                continue
            parts = _parts(link.target)
            source = self._into.joinpath(*parts) if parts is not None else None
            if source is None or not source.is_file() or source.is_symlink():
                raise _unfit(self._name, f"{_shown(str(link.path.name))} is a link to no file that comes before it")
            self._make_folder(link.path.parent)
            link.path.unlink(missing_ok=True)
            link.path.hardlink_to(source)
        for link in self._links:
            if not link.hard:
                self._make_symlink(link)

    def _make_symlink(self, link: _Link) -> None:
        # A parent may by now be a link itself: what lies behind one is nothing that was unpacked.
        parent = link.path.parent
        if any(one.is_symlink() for one in (parent, *parent.parents) if one.is_relative_to(self._into)):
            raise _unfit(self._name, f"{self._inside(link.path)} lies behind a link")
        self._make_folder(parent)
        if link.path.is_dir() and not link.path.is_symlink():
            raise _unfit(self._name, f"{self._inside(link.path)} is a directory and a link")
        link.path.unlink(missing_ok=True)
        link.path.symlink_to(link.target)

    def _inside(self, path: Path) -> str:
        return _shown(str(path.relative_to(self._into)))

    def _make_folder(self, path: Path) -> None:
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise _unfit(self._name, f"{self.at} is a file and a directory") from None

    def _keep_link(self, member: tarfile.TarInfo, path: Path) -> None:
        if path == self._into or not member.linkname or "\0" in member.linkname:
            raise _unfit(self._name, f"{self.at} is a link to nothing")
        self.files += 1
        self._links.append(_Link(path, member.linkname, member.islnk()))

    def _make_file(self, member: tarfile.TarInfo, path: Path, tar: tarfile.TarFile) -> None:
        self.size += member.size
        if member.size < 0 or self.size > self._room:
            raise _unfit(self._name, f"its files are more than {about_size(self._room)}")
        self._make_folder(path.parent)
        if path.is_dir():
            raise _unfit(self._name, f"{self.at} is a file and a directory")
        path.unlink(missing_ok=True)
        self.files += 1
        source = tar.extractfile(member)
        assert source is not None
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "wb") as target:
            while piece := source.read(_PIECE):
                target.write(piece)
                if self._deadline.passed:
                    raise InfraError(f"the archive {self._name} took more than {self._deadline.seconds:.0f} s")
        path.chmod(0o600 | (member.mode & 0o777))


def _parts(name: str) -> tuple[str, ...] | None:
    """The names on the way to a member; None where that leads outside."""
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    return None if name.startswith("/") or ".." in parts or "\0" in name else parts


def _shown(name: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in name)[:200]


def _unfit(name: str, why: str) -> UserError:
    return UserError(f"the archive {name} is refused: {why}", hint=_HINT)
