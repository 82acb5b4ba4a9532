# SPDX-License-Identifier: GPL-2.0-only
"""A saved log, as it is or packed, in pieces of a bounded size."""

from __future__ import annotations

import bz2
import lzma
import stat
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from harness.evidence.pstore import in_time_order, is_part
from harness.model.errors import UserError

_CHUNK = 1 << 18
_MOST = 1 << 36  # bytes of a log: nobody has one of 64 GiB, but a packed file of a few MB may say that it is one
_MEMORY = 1 << 28  # for unpacking
_ZSTD_RATIO = 512  # bytes out per byte in that is usual at most; a hostile file has 60 times as much
_SPECIAL = "is no file, but a {kind}"


class _Unpacker(Protocol):
    """What bz2 and lzma offer; zlib and zstandard are made alike below."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """zlib's object in the words of bz2's."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(zlib.MAX_WBITS | 16)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


class _Zstd:
    """The same of zstandard's. It has no bound for what it gives out, so it gets little at a time."""

    def __init__(self) -> None:
        import zstandard

        self._error = zstandard.ZstdError
        self._inner = zstandard.ZstdDecompressor(max_window_size=_MEMORY).decompressobj()
        self._waiting = b""

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._waiting

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data + self._waiting

    def decompress(self, data: bytes, max_length: int) -> bytes:
        little = max(max_length // _ZSTD_RATIO, 1)
        self._waiting += data
        data, self._waiting = self._waiting[:little], self._waiting[little:]
        try:
            return self._inner.decompress(data)
        except self._error as error:
            raise ValueError(str(error)) from error


_PACKED: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)


class LogFile:
    """A file, or standard input for `-`. `trouble` is what kept it from being read to its end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.trouble = ""

    def chunks(self) -> Iterator[bytes]:
        """The log in pieces, unpacked. UserError when it cannot be read at all."""
        said = "standard input" if self.name == "-" else self.name
        room = _MOST
        try:
            with _opened(self.name) as file:
                for chunk in self._unpacked(file, said):
                    room -= len(chunk)
                    if room < 0:
                        self.trouble = f"only the first {_MOST >> 30} GiB of {said} were read"
                        return
                    yield chunk
        except OSError as error:
            raise UserError(f"{said} cannot be read: {error.strerror or error}") from error

    def _unpacked(self, file: IO[bytes], said: str) -> Iterator[bytes]:
        begin = file.read(_CHUNK)
        packed = next((name for magic, name in _PACKED if begin.startswith(magic)), "")
        if not packed:
            while begin:
                yield begin
                begin = file.read(_CHUNK)
            return
        try:
            yield from _members(begin, file, packed)
        except (EOFError, zlib.error, lzma.LZMAError, OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            reason = str(error) or "it is cut short"
            self.trouble = f"{said} is not a whole {packed} file ({reason}): what follows its damage was not read"


@contextmanager
def _opened(name: str) -> Iterator[IO[bytes]]:
    """The file, unless reading it could never end. A pipe ends."""
    if name == "-":
        yield sys.stdin.buffer
        return
    path = Path(name)
    mode = path.stat().st_mode
    for test, kind in ((stat.S_ISDIR, "directory"), (stat.S_ISCHR, "device"), (stat.S_ISBLK, "device")):
        if test(mode):
            hint = "for the kernel's own log: dmesg > FILE" if kind == "device" else "name the log in it"
            raise UserError(f"{name} {_SPECIAL.format(kind=kind)}", hint=hint)
    if stat.S_ISSOCK(mode):
        raise UserError(f"{name} {_SPECIAL.format(kind='socket')}", hint="name a file with a log in it")
    # A shell's <(zcat x) is open at its other end; a named pipe may wait for somebody who never comes.
    if stat.S_ISFIFO(mode) and not name.startswith(("/dev/fd/", "/proc/")):
        raise UserError(f"{name} {_SPECIAL.format(kind='named pipe')}", hint="let the shell wait for it: - < PIPE")
    with path.open("rb") as file:
        yield file


def _unpacker(packed: str) -> _Unpacker:
    if packed == "gzip":
        return _Gzip()
    if packed == "bzip2":
        return bz2.BZ2Decompressor()
    if packed == "zstd":
        return _Zstd()
    return lzma.LZMADecompressor(memlimit=_MEMORY)


def _members(data: bytes, file: IO[bytes], packed: str) -> Iterator[bytes]:
    """One packed piece after another, as several files that were joined have them."""
    unpacker = _unpacker(packed)
    while True:
        if unpacker.eof:
            rest = (unpacker.unused_data or file.read(_CHUNK)).lstrip(b"\0")
            if not rest:
                return
            unpacker, data = _unpacker(packed), rest
        if unpacker.needs_input and not data:
            data = file.read(_CHUNK)
            if not data:
                raise EOFError
        piece = unpacker.decompress(data, _CHUNK)
        data = b""
        if piece:
            yield piece


class LogFiles:
    """Several files that are parts of one pstore dump, or one file of any kind, as one log. `trouble` is that of the
    first one that could not be read to its end."""

    def __init__(self, names: Sequence[str]) -> None:
        self._files = [LogFile(name) for name in names]
        self.parts = False  # the log was a dump in parts, and was put in order

    @property
    def trouble(self) -> str:
        return next((file.trouble for file in self._files if file.trouble), "")

    def chunks(self) -> Iterator[bytes]:
        """The log in pieces, the oldest line first. UserError as for one file."""
        yield from in_time_order(self._joined())

    def _joined(self) -> Iterator[bytes]:
        for file in self._files:
            chunks = file.chunks()
            begin = next(chunks, b"")
            part = is_part(begin)
            if len(self._files) > 1 and not part:
                raise UserError(
                    f"several files are read as one log only where all are parts of a pstore dump, and {file.name} "
                    "is none",
                    hint="one file after the other",
                )
            self.parts = self.parts or part
            yield begin
            yield from chunks
            if len(self._files) > 1:
                yield b"\n"
