# SPDX-License-Identifier: GPL-2.0-only
"""QEMU's stub for gdb, played: it answers what a breakpoint asks, and says what it was asked."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

STRUCTURE, NAME = 0xFF11_0000_0000_1000, 0xFF11_0000_0000_2000
STOPPED = "T05thread:01;"


def memory(*members: int, name: bytes = b"one_case\0") -> dict[int, bytes]:
    """A structure with these members, and what the last of them points to."""
    return {
        STRUCTURE: b"".join(one.to_bytes(8, "little") for one in (*members, *[0] * 8))[:64],
        NAME: name.ljust(80, b"\xcc"),
    }


def registers(first_argument: int) -> str:
    """As x86-64 has them."""
    words = [0] * 5 + [first_argument] + [0] * 18
    return b"".join(one.to_bytes(8, "little") for one in words).hex()


class GdbStub:
    """Listens at once. `met` has other answers than the usual ones; None hangs up. `greeting` is said to whoever
    comes, `goes_on` is called with how many times the guest went on.
    """

    def __init__(
        self,
        path: Path,
        holds: Mapping[int, bytes] | None = None,
        met: Mapping[str, str | None] | None = None,
        greeting: str = "",
        goes_on: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.asked: list[str] = []
        self._holds = holds if holds is not None else memory(0, NAME)
        self._met = met or {}
        self._greeting = greeting
        self._goes_on = goes_on
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        try:
            while True:
                connection, _ = self._server.accept()
                self._talk(connection)
        except OSError:
            return

    def _talk(self, connection: socket.socket) -> None:
        with connection:
            if self._greeting:
                self._say(connection, self._greeting)
            data = b""
            while piece := connection.recv(4096):
                data += piece
                *packets, data = re.split(rb"(?<=#..)", data)
                if not all(self._answer(connection, packet[1:-3].decode()) for packet in packets):
                    return

    def _answer(self, connection: socket.socket, packet: str) -> bool:
        """Whether the session goes on."""
        self.asked.append(packet)
        kind = packet.partition(",")[0]
        if kind in self._met:
            answer = self._met[kind]
        elif packet == "c":
            self._went_on()
            return True
        else:
            answer = self._usual(packet)
        if answer is not None:
            connection.sendall(b"+")
            self._say(connection, answer)
        if packet == "D":
            self._went_on()
        return answer is not None

    def _went_on(self) -> None:
        self._goes_on(sum(packet in "cD" for packet in self.asked))

    def _usual(self, packet: str) -> str:
        if packet == "g":
            return registers(STRUCTURE)
        if packet == "s":
            return STOPPED
        if packet.startswith("m"):
            at, size = (int(one, 16) for one in packet[1:].split(","))
            return self._holds[at][:size].hex() if at in self._holds else "E14"
        return "OK"

    def _say(self, connection: socket.socket, text: str) -> None:
        data = text.encode("latin-1")
        connection.sendall(b"$" + data + b"#%02x" % (sum(data) % 256))
