# SPDX-License-Identifier: GPL-2.0-only
"""The few files with which a kernel begins in the memory of a test machine: busybox, the script that goes on from the
disk, and what restarts the machine when nothing else does.
"""

from __future__ import annotations

import gzip
import stat
from pathlib import Path

_APPLETS = ("sh", "mount", "umount", "sed", "findfs", "sleep", "reboot", "switch_root")
_DIRECTORIES = ("bin", "dev", "disk", "new", "proc", "sys")
_CONSOLE = (5, 1)  # the device that the kernel gives its first process


def initramfs(root: Path) -> bytes:
    """Of the guest's root; the same bytes for the same files."""
    archive = CpioArchive()
    for name in _DIRECTORIES:
        archive.folder(name)
    archive.add("dev/console", stat.S_IFCHR | 0o600, device=_CONSOLE)
    for applet in _APPLETS:
        archive.link(f"bin/{applet}", "busybox")
    files = {"bin/busybox": "bin/busybox", "init": "scripts/begin-on-disk", "deadman": "tools/deadman"}
    for name, source in files.items():
        archive.file(name, (root / source).read_bytes())
    return archive.end()


class CpioArchive:
    """A cpio archive as the kernel reads it: Documentation/driver-api/early-userspace/buffer-format.rst. Its files
    are programs.
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._inode = 0

    def folder(self, name: str) -> None:
        self.add(name, stat.S_IFDIR | 0o755)

    def link(self, name: str, target: str) -> None:
        self.add(name, stat.S_IFLNK | 0o777, target.encode())

    def file(self, name: str, data: bytes) -> None:
        self.add(name, stat.S_IFREG | 0o755, data)

    def add(self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        self._inode += 1
        word = name.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(word), 0)
        self._data += b"070701" + b"".join(b"%08x" % field for field in fields) + word
        self._pad()
        self._data += data
        self._pad()

    def end(self) -> bytes:
        """All of it, packed."""
        self.add("TRAILER!!!", 0)
        return gzip.compress(bytes(self._data), 6, mtime=0)

    def _pad(self) -> None:
        self._data += bytes(-len(self._data) % 4)
