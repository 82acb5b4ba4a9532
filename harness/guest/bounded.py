# SPDX-License-Identifier: GPL-2.0-only
"""What a guest may write to this host's disk: nobody believes it that it will stop by itself.

QEMU writes the console straight into its file, so that nothing of it is lost when the harness is busy or gone. Once
it is long, its middle is given back to the disk while it grows (a hole: every offset stays what it was), and closed
when the guest has ended; the beginning and the end are kept. The control channel and the results share carry little;
a guest that writes more than there can be of that is ended.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness.model.units import about_size
from harness.proc import Process

HEAD = 48 << 20
TAIL = 16 << 20
ROOM = 16 << 20  # so much more before a piece is given back
MOST_CONTROL = 16 << 20
MOST_RESULTS = 1 << 30
MOST_FILES = 100_000
_UNPUNCHED = 1 << 30  # on a file system without holes
_BLOCK = 4096
_UNIT = 512  # of st_blocks
_LOOK_SECONDS = 0.25
_KEEP_SIZE, _PUNCH_HOLE = 1, 2
_CHUNK = 1 << 20


@dataclass
class OutputBounds:
    """`why` says what the guest was ended for; `left_out` are the bytes of the console that were not kept."""

    console: Path
    control: Path
    shares: tuple[Path, ...]
    process: Process
    why: str = ""
    left_out: int = 0
    _given_back: int = field(default_factory=lambda: HEAD)  # where the hole ends
    _over: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Until `end`; in a thread of its own."""
        while not self._over.wait(_LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        self._give_back()
        if not self.why:
            self.why = self._excess()
        if self.why:
            self.process.kill()

    def end(self) -> None:
        """The guest has ended: closes the gap in its console."""
        self._over.set()
        if self._given_back > HEAD:
            size = _size(self.console)
            tail = max(self._given_back, size - TAIL)
            self.left_out = tail - HEAD
            _join(self.console, HEAD, tail, size)

    def _give_back(self) -> None:
        size = _size(self.console)
        if size < self._given_back + TAIL + ROOM:
            return
        end = (size - TAIL) // _BLOCK * _BLOCK
        if _punch(self.console, self._given_back, end - self._given_back):
            self._given_back = end
        elif size > _UNPUNCHED:
            self.why = f"it wrote {about_size(size)} to its console, and this file system cannot give any of it back"

    def _excess(self) -> str:
        said = _size(self.control)
        if said > MOST_CONTROL:
            return f"it wrote {about_size(said)} to the control channel, which carries a few lines"
        count, taken = 0, 0
        left = [str(path) for path in self.shares]
        while left and count <= MOST_FILES and taken <= MOST_RESULTS:
            try:
                with os.scandir(left.pop()) as entries:
                    for entry in entries:
                        count += 1
                        taken += entry.stat(follow_symlinks=False).st_blocks * _UNIT
                        if entry.is_dir(follow_symlinks=False):
                            left.append(entry.path)
            except OSError:
                continue  # gone meanwhile, or deeper than a path can say
        if count > MOST_FILES or taken > MOST_RESULTS:
            return f"it put {count} files with {about_size(taken)} into its results"
        return ""


@contextmanager
def bounded(console: Path, control: Path, shares: tuple[Path, ...], process: Process) -> Iterator[OutputBounds]:
    """Watches what the guest writes while the block runs."""
    bounds = OutputBounds(console, control, shares, process, _given_back=HEAD)
    thread = threading.Thread(target=bounds.watch, daemon=True)
    thread.start()
    try:
        yield bounds
    finally:
        bounds._over.set()
        thread.join()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _punch(path: Path, start: int, length: int) -> bool:
    """Gives a piece of a file back to the disk, without moving the rest; False where the file system cannot."""
    library = ctypes.CDLL(None, use_errno=True)
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        words = (ctypes.c_int(handle), ctypes.c_int(_KEEP_SIZE | _PUNCH_HOLE))
        return bool(library.fallocate64(*words, ctypes.c_int64(start), ctypes.c_int64(length)) == 0)
    except AttributeError:
        return False  # a C library without it
    finally:
        os.close(handle)


def _join(path: Path, head: int, tail: int, size: int) -> None:
    """Puts what is from `tail` to `size` behind the first `head` bytes, and a line in between that says so."""
    with path.open("r+b") as source, path.open("r+b") as target:
        target.seek(head)
        target.write(f"\n[ttm-harness: {tail - head} bytes are left out here]\n".encode())
        source.seek(tail)
        left = size - tail
        while left > 0 and (chunk := source.read(min(_CHUNK, left))):
            target.write(chunk)
            left -= len(chunk)
        target.truncate()
