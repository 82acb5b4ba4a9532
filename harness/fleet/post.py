# SPDX-License-Identifier: GPL-2.0-only
"""Parcels on their way to the workers that ask for them, or to the share where all find them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from distributed import Client

from harness.fleet import worker
from harness.fleet.order import PIECE, Parcel
from harness.fleet.shares import put
from harness.store.pack import pack

_SENDERS = 4


class ParcelPost:
    """Packs a parcel once, in `place`, whoever wants it."""

    def __init__(self, client: Client, place: Path, share: str) -> None:
        self._client = client
        self._place = place
        self._share = share
        self._lock = threading.Lock()
        self._offered: dict[str, Parcel] = {}
        self._packing: dict[str, threading.Lock] = {}
        self._senders = ThreadPoolExecutor(_SENDERS, thread_name_prefix="parcel")

    def close(self) -> None:
        """Nothing is sent any more."""
        self._senders.shutdown(wait=True, cancel_futures=True)

    def offer(self, parcels: Sequence[Parcel]) -> None:
        """Workers may ask for these."""
        with self._lock:
            self._offered.update((one.id, one) for one in parcels)
        if self._share:
            for one in parcels:
                put(self._share, one.name, self._pack(one))

    def wanted(self, parcel: str, address: str) -> None:
        """A worker asks for the parcel of that id."""
        with self._lock:
            found = self._offered.get(parcel)
        if found is not None:
            self._senders.submit(self._send, found, address)

    def _send(self, parcel: Parcel, address: str) -> None:
        """To one worker, piece by piece; one that is gone, or has it by now, says nothing or no."""
        file = self._pack(parcel)
        size, offset = file.stat().st_size, 0
        with file.open("rb") as source:
            while piece := source.read(PIECE):
                last = offset + len(piece) == size
                got = self._client.run(
                    worker.take_piece, parcel.name, offset, piece, last, workers=[address], on_error="ignore"
                )
                if not got.get(address):
                    return
                offset += len(piece)

    def _pack(self, parcel: Parcel) -> Path:
        with self._lock:
            lock = self._packing.setdefault(parcel.id, threading.Lock())
        with lock:
            file = self._place / parcel.name
            if not file.exists():
                part = file.with_suffix(".part")
                pack(parcel.path, parcel.names(), part)
                part.rename(file)
        return file
