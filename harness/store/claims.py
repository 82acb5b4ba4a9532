# SPDX-License-Identifier: GPL-2.0-only
"""What each guest takes of this host, told to all processes that use the store: files that die with their holder."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from harness.proc import Deadline
from harness.store.files import explain_os_error, locked
from harness.store.layout import Layout

_LOCK_SECONDS = 60.0
_LONGEST = 100
_FORM = re.compile(r"(\d{1,10}) (\d{1,20}) (\d{1,6})\n")
_GATE = "gate"


@dataclass(frozen=True, slots=True)
class Held:
    """A claim of a process: bytes of RAM, with QEMU's own, and vCPUs."""

    pid: int
    ram: int
    cpus: int


class Claims:
    """The claims on this host. Between processes one after the other goes through `turn`."""

    def __init__(self, layout: Layout) -> None:
        self._place = layout.locks / "guests"

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Nobody else makes a claim meanwhile."""
        with locked(self._place / _GATE, Deadline(_LOCK_SECONDS)):
            yield

    def all(self) -> tuple[Held, ...]:
        """Those of all processes that live, this one's too. What a killed process left is removed."""
        found = (self._read(path) for path in sorted(self._place.iterdir()) if path.name != _GATE)
        return tuple(one for one in found if one is not None)

    def make(self, ram: int, cpus: int) -> IO[bytes]:
        """A claim, until the file is given to `drop`, or this process ends."""
        path = self._place / secrets.token_hex(8)
        try:
            file = path.open("xb", buffering=0)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.write(f"{os.getpid()} {ram} {cpus}\n".encode("ascii"))
        except OSError as error:
            raise explain_os_error(error, f"{path} cannot be written") from error
        return file

    def drop(self, file: IO[bytes]) -> None:
        Path(str(file.name)).unlink(missing_ok=True)
        file.close()

    def _read(self, path: Path) -> Held | None:
        try:
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    words = _FORM.fullmatch(file.read(_LONGEST).decode("ascii", "replace"))
                    return Held(*map(int, words.groups())) if words is not None else None
                path.unlink(missing_ok=True)
        except OSError:
            pass  # it was dropped just now
        return None
