# SPDX-License-Identifier: GPL-2.0-only
"""Listens to a test machine's kernel over the network: what netconsole sends, as it comes, by UDP."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.model.errors import InfraError

_MOST = 64 << 20
_LARGEST = 64 << 10
_POLL_SECONDS = 0.5


@contextmanager
def listening(peer: str, port: int, file: Path) -> Iterator[int]:
    """Writes what comes from `peer`, an IPv4 address, into the file; the answer is the port, where 0 was a wish for
    any. What others send is left out, and what is more than 64 MiB. InfraError where the port is taken.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        try:
            ear.bind(("", port))
        except OSError as error:
            raise InfraError(
                f"nobody can listen to netconsole at UDP port {port}: {error.strerror}",
                hint="--machine-console netconsole takes any port that is free",
            ) from error
        ear.settimeout(_POLL_SECONDS)
        stop = threading.Event()
        thread = threading.Thread(target=_keep, args=(ear, peer, file, stop), name="netconsole", daemon=True)
        thread.start()
        try:
            yield int(ear.getsockname()[1])
        finally:
            stop.set()
            thread.join()


def _keep(ear: socket.socket, peer: str, file: Path, stop: threading.Event) -> None:
    left = _MOST
    with file.open("wb", buffering=0) as kept:
        while not stop.is_set():
            try:
                said, (sender, *_) = ear.recvfrom(_LARGEST)
            except TimeoutError:
                continue
            if sender == peer:
                kept.write(said[:left])
                left -= len(said[:left])
