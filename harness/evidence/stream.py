# SPDX-License-Identifier: GPL-2.0-only
"""A kernel log of any size, piece by piece -> its events and OOM reports, in memory that does not grow with it.

What it finds is what `find_events` and `find_ooms` find in the whole. It is faster because most of a log is of no
interest: a block without any of the words that open something is counted and passed over as bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from harness.evidence.host import NEEDLES as HOST_NEEDLES
from harness.evidence.host import HostReader
from harness.evidence.lines import LineStream
from harness.evidence.oom import NEEDLES, OomReader
from harness.evidence.recognisers import CUT_HERE, RECOGNISERS
from harness.evidence.splats import EventStream
from harness.model.event import Event
from harness.model.oom import OomReport

# A printk time that is not at the start of a line: one writer broke into another's line, and the words may be torn.
_TORN = re.compile(rb"\[(?<=[^\n>]\[) {0,4}\d[ \d]{0,10}\.\d{6}\]")
_ERASED = (b"\0", b"\x1b")  # a word may have one of these in its middle


def _shortest(words: Iterable[str]) -> tuple[bytes, ...]:
    """The words without those that contain another one: where they are, the other is."""
    kept: list[str] = []
    for word in sorted(set(words), key=len):
        if not any(other in word for other in kept):
            kept.append(word)
    return tuple(word.encode() for word in kept)


# Parts that several words share and that are rare in a log where all is well: one search in the place of many.
_STEMS = (
    *("BUG", "INFO: ", "Kill", "oom", "taint", "held", " detected"),
    *("watchdog", "Unable to ", " allocation failure", "emory", "swap"),
)
_WORDS = _shortest((*_STEMS, CUT_HERE, *(row.needle for row in RECOGNISERS), *NEEDLES))
# Half of a log is times, numbers and blanks. Without them, in the block and in the words, a search takes half as long
# and still finds every word, if now and then one that is none.
_THIN = b"0123456789 \n.,:"
_THIN_WORDS = tuple(word.translate(None, _THIN) for word in _WORDS)
# Words that have three capitals or more are looked for among the capitals first, which are few.
_SMALL = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
_SHOUTED = tuple(word for word in _THIN_WORDS if len(word.translate(None, _SMALL)) >= 3)
_SAID = tuple(word for word in _THIN_WORDS if word not in _SHOUTED)
_CAPITALS = tuple(word.translate(None, _SMALL) for word in _SHOUTED)


@dataclass(frozen=True, slots=True)
class KmsgPiece:
    """What became certain with one piece of a log. `lines` counts the lines of the log up to here; `kernel` is
    False as long as none of them looks like a kernel's; `backwards`: the newest line came first, and the lines are
    counted in the order of their times."""

    events: tuple[Event, ...]
    ooms: tuple[OomReport, ...]
    lines: int
    kernel: bool = True
    backwards: bool = False


def stream_kmsg(chunks: Iterable[bytes], host: HostReader | None = None) -> Iterator[KmsgPiece]:
    """Chunks of a log, of any size, cut anywhere -> pieces of what is in it. Never raises.

    An event comes when its end was seen, an OOM report 32 reports later or at the end of the log, because its
    reaper's line comes late. So order by span what must be in order. `host` gets what the log says of the machine.
    """
    stream = _Stream(host)
    for chunk in chunks:
        yield from stream.feed(chunk)
    yield from stream.finish()


class _Stream:
    """The readers, and whether any of them is in the middle of something."""

    def __init__(self, host: HostReader | None) -> None:
        self._lines, self._events, self._ooms = LineStream(), EventStream(), OomReader()
        self._host = host

    def feed(self, chunk: bytes) -> Iterator[KmsgPiece]:
        for block in self._lines.cut(chunk):
            yield self._piece(block)

    def _piece(self, block: bytes) -> KmsgPiece:
        idle = self._events.idle and self._ooms.idle and not self._lines.waiting
        if idle and not _interesting(block) and not (self._host is not None and _of_host(block)):
            self._lines.skip(block)
            return KmsgPiece((), (), self._lines.number, self._lines.kernel)
        lines = self._lines.feed(block)
        for line in lines:
            self._ooms.feed(line)
        if self._host is not None:
            self._host.feed(lines)
        events = tuple(self._events.feed(lines))
        return KmsgPiece(events, self._ooms.take(), self._lines.number, self._lines.kernel)

    def finish(self) -> Iterator[KmsgPiece]:
        rest = self._lines.rest()
        if rest:
            yield self._piece(rest)
        lines = self._lines.finish()
        for line in lines:
            self._ooms.feed(line)
        if self._host is not None:
            self._host.feed(lines)
        events = self._events.feed(lines, ends=True)
        ooms, log = self._ooms.finish(), self._lines
        yield KmsgPiece(tuple(events), ooms, log.number, log.kernel, log.backwards)


_HOST_WORDS = tuple(word.encode() for word in HOST_NEEDLES)


def _of_host(block: bytes) -> bool:
    """Whether something of the machine may stand in these lines."""
    return any(word in block for word in _HOST_WORDS)


def _interesting(block: bytes) -> bool:
    """Whether anything could open in these lines. A rule of `=` belongs to the report that comes after it."""
    thin = block.translate(None, _THIN)
    capitals = thin.translate(None, _SMALL)
    return (
        (any(word in capitals for word in _CAPITALS) and any(word in thin for word in _SHOUTED))
        or any(word in thin for word in _SAID)
        or any(mark in block for mark in _ERASED)
        or block.rstrip(b"\r\n").endswith(b"=====")
        or _TORN.search(block) is not None
    )
