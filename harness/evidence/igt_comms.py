# SPDX-License-Identifier: GPL-2.0-only
"""The file `comms` of a test in igt_runner's results: the packets in which it told the runner what it does.

Accepted form: 4 bytes `1TGI`, then a packet: size (of all of the packet), type, process and thread of who sent it,
32 bits each, little endian, then what the type has: numbers, and texts that end with a NUL.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

_CANARY = b"1TGI"
_HEAD = struct.Struct("<IIii")
_INTEGER = struct.Struct("<i")
_STDOUT = 1


class PacketType(IntEnum):
    LOG = 1
    EXEC = 2
    EXIT = 3
    SUBTEST_START = 4
    SUBTEST_RESULT = 5
    DYNAMIC_START = 6
    DYNAMIC_RESULT = 7
    VERSION = 8
    OVERRIDE = 9


class Packet(NamedTuple):
    """`number` is the exit status, or 1 where a log goes to standard output; `texts` are the texts in their order."""

    type: PacketType
    number: int = 0
    texts: tuple[str, ...] = ()

    def text(self, at: int) -> str:
        return self.texts[at] if at < len(self.texts) else ""

    @property
    def to_output(self) -> bool:
        return self.number == _STDOUT


def read_packets(data: bytes) -> Iterator[Packet | str]:
    """The packets; a sentence as the last one where the file is cut or is none. Unknown types are left out."""
    at = 0
    while at < len(data):
        if data[at : at + 4] != _CANARY:
            yield "comms is damaged: a packet does not begin where it should"
            return
        at += 4
        if len(data) - at < _HEAD.size:
            yield "comms is cut short"
            return
        size, kind, _, _ = _HEAD.unpack_from(data, at)
        if size < _HEAD.size or len(data) - at < size:
            yield "comms is cut short"
            return
        if kind in PacketType.__members__.values():
            yield _packet(PacketType(kind), data[at + _HEAD.size : at + size])
        at += size


def told_anything(data: bytes) -> bool:
    """Whether the test itself used the socket; the runner's own word that it starts one does not count."""
    return any(isinstance(one, Packet) and one.type is not PacketType.EXEC for one in read_packets(data))


def _packet(kind: PacketType, body: bytes) -> Packet:
    number = 0
    if kind is PacketType.LOG:
        number, body = body[0] if body else 0, body[1:]
    elif kind is PacketType.EXIT and len(body) >= _INTEGER.size:
        number, body = _INTEGER.unpack_from(body)[0], body[_INTEGER.size :]
    texts = body.split(b"\0")
    return Packet(kind, number, tuple(text.decode("utf-8", "replace") for text in texts[:4]))
