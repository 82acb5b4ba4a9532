# SPDX-License-Identifier: GPL-2.0-only
"""Directories removed without following a link, however deep they are and whatever modes a guest gave to what is in
them.

Every step goes from an open directory to a name in it, so that nobody can lead it elsewhere by putting a link in the
place of a directory.
"""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_ALL = 0o700


def remove(path: Path) -> None:
    """Removes what is at `path`; of a link the link alone. OSError where something resists."""
    try:
        parent = os.open(path.parent, _DIRECTORY)
    except FileNotFoundError:
        return
    try:
        remove_at(path.name, parent)
    finally:
        os.close(parent)


def remove_at(name: str, parent: int) -> None:
    """The same for a name in an open directory."""
    try:
        place = _open(name, parent)
        if place is None:
            os.unlink(name, dir_fd=parent)
            return
    except FileNotFoundError:
        return
    try:
        left = _strip(place, place)
        while left:
            name_within = left.pop()
            inner = _open(name_within, place)
            if inner is None:
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name_within)
            try:
                left += _strip(inner, place)
            finally:
                os.close(inner)
            os.rmdir(name_within, dir_fd=place)
    finally:
        os.close(place)
    os.rmdir(name, dir_fd=parent)


def _strip(handle: int, place: int) -> list[str]:
    """Removes the files of a directory, and moves the directories in it up to `place`, under the names returned.

    So no depth is too deep: not for the stack, not for the number of open files, not for the length of a path.
    """
    moved = []
    with os.scandir(handle) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for entry, is_directory in found:
        if not is_directory:
            os.unlink(entry, dir_fd=handle)
        elif handle == place:
            moved.append(entry)
        elif not _removed(entry, handle):
            moved.append(f"inner-{secrets.token_hex(8)}")
            os.rename(entry, moved[-1], src_dir_fd=handle, dst_dir_fd=place)
    return moved


def _removed(name: str, parent: int) -> bool:
    """Removes the directory if it is empty; else makes sure that it can be moved, for which it must be writable."""
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
    else:
        return True
    if os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode & _ALL != _ALL:
        os.chmod(name, _ALL, dir_fd=parent)
    return False


def _open(name: str, parent: int) -> int | None:
    """The directory of that name, ours to change; None for anything else."""
    flags = _DIRECTORY | os.O_NOFOLLOW
    try:
        handle = os.open(name, flags, dir_fd=parent)
    except PermissionError:
        os.chmod(name, _ALL, dir_fd=parent)
        handle = os.open(name, flags, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            return None
        raise
    if os.fstat(handle).st_mode & _ALL != _ALL:
        os.fchmod(handle, _ALL)
    return handle
