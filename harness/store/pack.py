# SPDX-License-Identifier: GPL-2.0-only
"""A directory in one file, on its way from one host to another: a tar of its files, compressed with zstd.

What is in it may have been named by a guest: what leads out of the directory, or through a link, is refused, and so
is what is no plain file, directory or link. Whether it is what was sent is for its seal to say (sealed.py).
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import zstandard

from harness.model.errors import StoreCorrupt
from harness.store.files import explain_os_error

_LEVEL = 3
_FILE_MODE, _FOLDER_MODE = 0o777, 0o755
_PIECE = 1 << 20
_LARGEST_WINDOW = 1 << 27


def pack(root: Path, names: Iterable[str], target: Path) -> None:
    """Writes the files of those names below `root`; memory is that of a few pieces, whatever their size."""
    try:
        with target.open("wb") as file, zstandard.ZstdCompressor(level=_LEVEL).stream_writer(file) as packed:
            with tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive:
                for name in sorted(names):
                    _add(archive, root / name, name)
    except OSError as error:
        raise explain_os_error(error, f"cannot pack {root}") from error


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    member = archive.gettarinfo(path, name)
    if member is None or not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        raise StoreCorrupt(f"{path} is neither a file nor a directory, and cannot be sent")
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    if member.islnk():  # the same file by another name: it travels as one of its own
        member.type, member.linkname, member.size = tarfile.REGTYPE, "", path.lstat().st_size
    if not member.isreg():
        archive.addfile(member)
        return
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        archive.addfile(member, file)


def unpack(file: Path, into: Path) -> None:
    """Writes what was packed into an empty directory. StoreCorrupt for a file that is cut short, that `pack` did not
    make, and for one that has in it what must not be.
    """
    links: list[tuple[Path, str]] = []
    try:
        with file.open("rb") as raw:
            decompressor = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
            with (
                decompressor.stream_reader(raw) as packed,
                tarfile.open(fileobj=packed, mode="r|", format=tarfile.PAX_FORMAT) as archive,
            ):
                while (member := archive.next()) is not None:
                    archive.members = []  # type: ignore[attr-defined]  # else all of them are remembered
                    _take(archive, member, into, links)
        for path, target in links:  # last, so that nothing is written through one
            path.symlink_to(target)
    except (tarfile.TarError, zstandard.ZstdError, EOFError, ValueError) as error:
        raise StoreCorrupt(f"{file.name} is cut short or damaged: {error}") from error
    except OSError as error:
        raise explain_os_error(error, f"cannot unpack {file.name}") from error


def _take(archive: tarfile.TarFile, member: tarfile.TarInfo, into: Path, links: list[tuple[Path, str]]) -> None:
    path = into / _inside(member.name)
    path.parent.mkdir(_FOLDER_MODE, parents=True, exist_ok=True)
    if member.isdir():
        path.mkdir(_FOLDER_MODE, exist_ok=True)
    elif member.issym():
        links.append((path, member.linkname))
    elif member.isreg():
        _write(archive, member, path)
    else:
        raise StoreCorrupt(f"{member.name!r} is neither a file nor a directory")


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    source = archive.extractfile(member)
    assert source is not None
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    left = member.size
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        while piece := source.read(min(_PIECE, left)):
            file.write(piece)
            left -= len(piece)
    if left:
        raise StoreCorrupt(f"{member.name!r} ends early")
    path.chmod(member.mode & _FILE_MODE)
    os.utime(path, (member.mtime, member.mtime))


def _inside(name: str) -> str:
    """The name of a member, when it leads nowhere else."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\0" in name:
        raise StoreCorrupt(f"{name!r} leads out of the directory")
    return name
