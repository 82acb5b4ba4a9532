# SPDX-License-Identifier: GPL-2.0-only
"""The parts of a pstore dump -> one log in the order of time. Pure.

Accepted form: each part begins with the line `REASON#DUMP PartN`. Part 1 has the newest lines, as they must be saved
whatever becomes of the others; so the files of one dump, joined by their names, have the newest lines first. A later
dump of the same boot (a panic after an oops) has the lines of the earlier one once more: they count once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_HEADER = re.compile(rb"\s*[A-Z][a-z]{2,15}#(\d{1,9}) Part(\d{1,9})\s*")
_MOST = 1 << 26  # bytes; no pstore is as large
_LONGEST_HEADER = 100
_STAMPED = re.compile(rb"(?:<\d{1,4}>)?\[ *\d+\.\d+\]")


@dataclass(slots=True)
class _Dump:
    """The parts of one dump by their numbers."""

    number: int
    parts: dict[int, list[bytes]] = field(default_factory=dict)


def is_part(begin: bytes) -> bool:
    """Whether a log that begins so is a part of a dump."""
    return _HEADER.fullmatch(begin[:_LONGEST_HEADER].lstrip().split(b"\n", 1)[0]) is not None


def in_time_order(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """A log in pieces, which is passed on as it is, unless it is a dump in parts."""
    rest = iter(chunks)
    held = b""
    for chunk in rest:
        held += chunk
        if b"\n" in held.lstrip() or len(held) > _LONGEST_HEADER:
            break
    if not is_part(held):
        yield held
        yield from rest
        return
    pieces = [held]
    size = len(held)
    for chunk in rest:
        pieces.append(chunk)
        size += len(chunk)
        if size > _MOST:
            yield from pieces
            yield from rest
            return
    yield b"".join(_sorted(b"".join(pieces)))


def _sorted(data: bytes) -> Iterator[bytes]:
    """The lines of all parts, the oldest first, without the headers."""
    before: set[bytes] = set()
    for dump in sorted(_dumps(data), key=lambda dump: dump.number):
        said = [line for _, lines in sorted(dump.parts.items(), reverse=True) for line in lines]
        yield from (line for line in said if line not in before)
        before.update(line for line in said if _STAMPED.match(line))


def _dumps(data: bytes) -> list[_Dump]:
    """In the order in which they stand there. A part that was there before begins another dump of that number."""
    found: list[_Dump] = []
    lines: list[bytes] = []
    for line in data.removesuffix(b"\n").split(b"\n"):
        header = _HEADER.fullmatch(line)
        if header is None:
            lines.append(line + b"\n")
            continue
        number, part = int(header[1]), int(header[2])
        dump = next((dump for dump in reversed(found) if dump.number == number), None)
        if dump is None or part in dump.parts:
            dump = _Dump(number)
            found.append(dump)
        lines = dump.parts[part] = []
    return found
