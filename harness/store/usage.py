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
    """Every file and directory below the paths, themselves too. Symbolic links are not followed; what vanishes is
    left out.
    """
    found: Contents = {}
    for path in paths:
        _add(found, str(path))
        for root, directories, files in os.walk(path):
            for name in (*directories, *files):
                _add(found, os.path.join(root, name))  # noqa: PTH118 -- hundreds of thousands of them
    return found


def _add(found: Contents, path: str) -> None:
    try:
        seen = os.lstat(path)
    except OSError:
        return
    links = 1 if stat.S_ISDIR(seen.st_mode) else seen.st_nlink
    inode = Inode(seen.st_dev, seen.st_ino, seen.st_blocks * _BLOCK, links)
    found[inode] = found.get(inode, 0) + 1


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
