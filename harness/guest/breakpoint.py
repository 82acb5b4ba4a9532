# SPDX-License-Identifier: GPL-2.0-only
"""A breakpoint in the guest's kernel, by QEMU's stub for gdb: the guest stands still where a function begins.

It is one of the (emulated) CPU's: nothing is written into the kernel, and it holds from before the kernel is there.
No packet is acknowledged: QEMU takes the next one for that, and any byte that comes while the guest runs stops it.
"""

from __future__ import annotations

import re
import socket
from pathlib import Path

from harness.model.errors import InfraError
from harness.proc import Deadline

_SECONDS = 10.0  # of an answer
_LONGEST = 1 << 16  # bytes of an answer
_MOST_STALE = 1 << 20  # bytes that nobody asked for
_PACKET = re.compile(rb"\$([^#$]*)#([0-9a-fA-F]{2})")
_WORD = 8
_MEMBERS = 8
_TEXT = 80
_NAME = re.compile(rb"([A-Za-z][A-Za-z0-9_.-]{1,78})\0")
_KERNEL = 1 << 63  # where its addresses begin


class Breakpoint:
    """At an address of the kernel's map. Every method may raise InfraError; `attached`: it is in place."""

    def __init__(self, path: Path, address: int) -> None:
        self._path = path
        self._where = f"1,{address:x},1"  # a breakpoint of the CPU, not an instruction that is written
        self._connection: socket.socket | None = None

    @property
    def attached(self) -> bool:
        return self._connection is not None

    def attach(self) -> None:
        """Sets it. QEMU stops the guest for whoever connects: it goes on after that."""
        try:
            self._connect()
            self._require(f"Z{self._where}")
            self._send("c")
        except (OSError, InfraError) as error:
            self.close()
            raise InfraError(f"QEMU sets no breakpoint: {error}") from error

    def remove(self) -> None:
        """Takes it away and has the guest go on, over a new connection: who only closes one leaves it there."""
        self.close()
        try:
            self._connect()
            self._require("D")
        except OSError as error:
            raise InfraError(f"QEMU keeps its breakpoint: {error}") from error
        finally:
            self.close()

    def _connect(self) -> None:
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._connection.settimeout(_SECONDS)
        self._connection.connect(str(self._path))

    def go_on(self) -> None:
        """Has the guest go on from where it stands: past the breakpoint, which stays."""
        self._forget_stale()
        self._require(f"z{self._where}")
        self._send("s")
        self._answer(stop=True)
        self._require(f"Z{self._where}")
        self._send("c")

    def name_in_argument(self, register: int) -> str:
        """The first name that the structure points to, in its first members, to which the register of that number
        points; empty where there is none. Where a name stands in a structure is another matter in each kernel.
        """
        self._forget_stale()
        registers = _bytes(self._ask("g"))
        structure = int.from_bytes(registers[register * _WORD :][:_WORD], "little")
        members = self._memory(structure, _MEMBERS * _WORD)
        for offset in range(0, len(members), _WORD):
            at = int.from_bytes(members[offset:][:_WORD], "little")
            found = _NAME.match(self._memory(at, _TEXT)) if at >= _KERNEL else None
            if found is not None:
                return found[1].decode()
        return ""

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _memory(self, at: int, size: int) -> bytes:
        return _bytes(self._ask(f"m{at:x},{size:x}"))

    def _require(self, packet: str) -> None:
        if (answer := self._ask(packet)) != "OK":
            raise InfraError(f"QEMU's stub for gdb answers {packet} with {answer[:80]!r}")

    def _ask(self, packet: str) -> str:
        self._send(packet)
        return self._answer()

    def _open(self) -> socket.socket:
        if self._connection is None:
            raise InfraError("nobody is connected to QEMU's stub for gdb")
        return self._connection

    def _send(self, packet: str) -> None:
        data = packet.encode()
        try:
            self._open().sendall(b"$" + data + b"#%02x" % (sum(data) % 256))
        except OSError as error:
            raise InfraError(f"QEMU's stub for gdb takes nothing: {error}") from error

    def _answer(self, *, stop: bool = False) -> str:
        """The next packet, with `stop` the next that says of a stop, else the next that does not. QEMU's own
        acknowledgements stand outside of packets, and are passed over.
        """
        connection, limit, data = self._open(), Deadline(_SECONDS), b""
        try:
            while not limit.passed and len(data) < _LONGEST:
                for found in _PACKET.finditer(data):
                    if found[1].startswith((b"T", b"S")) is stop:
                        return found[1].decode("latin-1")
                connection.settimeout(max(0.01, limit.left))
                piece = connection.recv(4096)
                if not piece:
                    break
                data += piece
        except OSError as error:
            raise InfraError(f"QEMU's stub for gdb gives no answer: {error}") from error
        raise InfraError("QEMU's stub for gdb gives no answer")

    def _forget_stale(self) -> None:
        """Says of stops that others brought about: they came without a question."""
        connection, gone = self._open(), 0
        connection.settimeout(0.0)
        try:
            while (piece := connection.recv(4096)) and gone < _MOST_STALE:
                gone += len(piece)
        except BlockingIOError:
            return
        except OSError as error:
            raise InfraError(f"QEMU's stub for gdb is gone: {error}") from error
        finally:
            connection.settimeout(_SECONDS)


def _bytes(digits: str) -> bytes:
    """Nothing where it is an error, in place of digits."""
    try:
        return bytes.fromhex(digits)
    except ValueError:
        return b""
