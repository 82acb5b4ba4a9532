# SPDX-License-Identifier: GPL-2.0-only
"""What directories take on the disk. Runs share files by hard links, so what one frees depends on what else goes."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

_BLOCK = 512  # the unit of st_blocks, whatever the file system's is


@dataclass(frozen=True, slots=True)
class Inode:
    """A file by what it is, whatever its names; `links` are its names anywhere."""

    device: int
    number: int
    bytes: int = field(compare=False)
    links: int = field(compare=False)


# How many names each file has in a directory.
Contents = dict[Inode, int]


def contents_of(*paths: Path) -> Contents:
    """Every file and directory below the paths, themselves too. Symbolic links are not followed; what vanishes, or
    lies deeper than a path can say, is left out.
    """
    found: Contents = {}
    left = [str(path) for path in paths]
    for path in left:
        _add(found, path)
    while left:  # not by calling itself: a guest may have nested them deeper than any stack
        try:
            with os.scandir(left.pop()) as entries:
                for entry in entries:
                    _add(found, entry.path)
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)
        except OSError:
            continue
    return found


def _add(found: Contents, path: str) -> None:
    inode = inode_of(path)
    if inode is not None:
        found[inode] = found.get(inode, 0) + 1


def inode_of(path: str, folder: int | None = None) -> Inode | None:
    """The file of that path, which may begin in an open directory; None where there is none."""
    try:
        seen = os.stat(path, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None
    links = 1 if stat.S_ISDIR(seen.st_mode) else seen.st_nlink
    return Inode(seen.st_dev, seen.st_ino, seen.st_blocks * _BLOCK, links)


class Freed:
    """The bytes that come free as one directory goes after the other: a file's with the last of its names."""

    def __init__(self) -> None:
        self._gone: Contents = {}

    def add(self, part: Contents) -> int:
        """What comes free when this one goes, too."""
        freed = 0
        for inode, names in part.items():
            self._gone[inode] = self._gone.get(inode, 0) + names
            if self._gone[inode] == inode.links:
                freed += inode.bytes
        return freed
