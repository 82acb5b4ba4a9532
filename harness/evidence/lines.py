# SPDX-License-Identifier: GPL-2.0-only
"""Bytes of a console log -> lines without the marks of the transport: printk prefix, escapes, CR, NUL.

It mends lines that another writer broke in the middle, where that is unambiguous; it does not know KTAP.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple

# Lines after which the rest of a broken line is no longer waited for.
_WAIT = 5000
# The kernel cuts its own records at about 1 KiB. What is longer is not a line that anybody should believe.
LONGEST = 8192
_LONGEST_RAW = 1 << 16

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)|[()#%][0-9A-Za-z]|[ -~])?")
_LEVEL = r"(?:<\d{1,4}>)?"
_CALLER = r"(?:\[ *[TC]\d{1,10}[^\]\[\n]{0,40}\])?"
# `[   12.345678] `, `<6>[   12.345678][   T12] `, `[12.345678] `
_PREFIX = re.compile(_LEVEL + r"\[ {0,8}(\d{1,10}\.\d{6})\]" + _CALLER + r"(?: |$)")
# The same in the middle of a line: printk pads the seconds to five characters or more, so `[1.234567]` is no mark.
_MIDDLE = re.compile(r"\[(?= {0,4}\d)[ \d]{5,10}\.\d{6}\]" + _CALLER + r"(?: |$)")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# `[Mon Sep  1 12:34:56 2025] `, as `dmesg -T` writes it
_DATE = re.compile(
    _LEVEL + r"\[[A-Z][a-z]{2} ([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d) (\d{4})\]" + _CALLER + r"(?: |$)"
)
# `Sep  1 12:34:56 host kernel: [   12.345678] `, as syslog and `journalctl -k` write it
_SYSLOG = re.compile(r"[A-Z][a-z]{2} {1,2}\d{1,2} \d\d:\d\d:\d\d \S{1,64} kernel: ")
# Printed by the console code itself, between two messages and without a time: never the rest of a broken line.
_DROPPED = re.compile(r"\*\* (?:\d{1,10} printk messages dropped|replaying previous printk message) \*\*")
# Printed when one CPU takes the console from another in the middle of a message, which is then printed again.
_REPLAY = "** replaying previous printk message **"
_LEVEL_ONLY = re.compile(r"<\d{1,4}>")
# `[    T1] ` alone: printk.time=0 with PRINTK_CALLER
_CALLER_ONLY = re.compile(r"\[ {0,5}[TC]\d{1,10}\] ")


class Line(NamedTuple):
    """One message. `number` counts the lines of the file from 1; `time` is None where no mark carried one.

    `whole` is False when the end of the line was not seen (cut log, another writer in between, longer than
    LONGEST): such a line may carry bad news but never a result. A tuple, because a log has a million of them and
    a frozen dataclass takes three times as long to make.
    """

    number: int
    text: str
    time: float | None
    whole: bool = True


def decode(data: bytes) -> tuple[Line, ...]:
    """Any bytes -> lines. Never raises, takes time linear in the size.

    Accepted form: LF, CR LF or CR CR LF ends; printk prefixes as above or none; terminal escapes and NULs anywhere.
    """
    mender = _Mender()
    mender.feed(_clean(data), ends=True)
    return tuple(mender.finish())


class LineStream:
    """The same for a log that comes in pieces: the lines are those that `decode` makes of the whole.

    Only what may still change is kept: an unfinished line, at most _LONGEST_RAW bytes of it, and what follows a
    broken line until its rest has come.
    """

    def __init__(self) -> None:
        self._mender = _Mender()
        self._tail = b""

    @property
    def number(self) -> int:
        """Lines that are over."""
        return self._mender.number

    @property
    def waiting(self) -> bool:
        """A broken line waits for its rest: no line may be passed over."""
        return self._mender.waiting

    def cut(self, data: bytes) -> bytes:
        """More of the log -> all whole lines that are there now, for `feed` or `skip`."""
        end = data.rfind(b"\n") + 1
        if not end:
            self._tail = (self._tail + data)[:_LONGEST_RAW]
            return b""
        block = self._tail + data[:end] if self._tail else data[:end]
        self._tail = data[end:][:_LONGEST_RAW]
        return block

    def feed(self, block: bytes) -> list[Line]:
        """Whole lines -> the lines that can no longer change."""
        self._mender.feed(_clean(block), ends=False)
        return self._mender.take()

    def skip(self, block: bytes) -> None:
        """Whole lines in which nobody is interested; not while one is `waiting`."""
        self._mender.number += block.count(b"\n")

    def finish(self) -> list[Line]:
        """The log is at its end."""
        if self._tail:
            self._mender.feed(_clean(self._tail), ends=True)
            self._tail = b""
        return self._mender.finish()


def _clean(data: bytes) -> str:
    """Text without what a terminal eats."""
    text = data.decode("utf-8", "replace")
    if "\0" in text:
        text = text.replace("\0", "")
    if "\x1b" in text:
        text = _ESCAPES.sub("", text)
    return _without_fragments(text) if _REPLAY in text else text


def _without_fragments(text: str) -> str:
    """Take out what stands before each _REPLAY on its line: the part of a message that comes again in whole."""
    pieces: list[str] = []
    done, at = 0, text.find(_REPLAY)
    while at >= 0:
        start = max(text.rfind("\n", done, at) + 1, done)
        pieces += (text[done:start], _REPLAY)
        done = at + len(_REPLAY)
        at = text.find(_REPLAY, done)
    return "".join((*pieces, text[done:]))


def _seconds_of_date(match: re.Match[str]) -> float | None:
    """The groups of _DATE -> seconds since 1970; None for a date that does not exist."""
    if match[1] not in _MONTHS:
        return None
    month = _MONTHS.index(match[1]) + 1
    day, hour, minute, second, year = (int(match[group]) for group in range(2, 7))
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    return moment.timestamp()


def _split_prefix(raw: str) -> tuple[str, float | None]:
    """A line that does not start with a plain printk time -> its text and time."""
    match = _SYSLOG.match(raw)
    if match is not None:
        raw = raw[match.end() :]
        plain = _PREFIX.match(raw)
        if plain is not None:
            return raw[plain.end() :], float(plain[1])
    match = _DATE.match(raw)
    if match is not None:
        time = _seconds_of_date(match)
        if time is not None:
            return raw[match.end() :], time
    match = _LEVEL_ONLY.match(raw)
    if match is not None:
        raw = raw[match.end() :]
    match = _CALLER_ONLY.match(raw)
    return (raw if match is None else raw[match.end() :]), None


class _Mender:
    """Walks over the physical lines once and puts broken ones together.

    Two writers share a serial line: the kernel, whose messages start with a time, and user space, whose do not.
    When a time stands in the middle of a line, the kernel broke into somebody's unfinished text:

        [    3.1]     ok 3 fo[    3.2] usb: hello        ->   [    3.1]     ok 3 foo
        o                                                     [    3.2] usb: hello

    The rest of the broken text has no time of its own: it is the next line without one. If that never comes, a
    kernel line was not broken but quotes a time; it is kept as one line that is not whole.
    """

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.number = 0  # physical lines so far
        self._broken = -1  # index of the line that waits for its rest
        self._inner = -1  # index of the line that broke in, if the broken one is the kernel's
        self._raw = ""  # the physical line of which both were made

    @property
    def waiting(self) -> bool:
        return self._broken >= 0

    def take(self) -> list[Line]:
        """The lines that no rest can change any more; they are forgotten."""
        if self._late():
            self._give_up()
        end = self._broken if self._broken >= 0 else len(self.lines)
        done, self.lines = self.lines[:end], self.lines[end:]
        if self._broken >= 0:
            self._inner -= end if self._inner >= 0 else 0
            self._broken = 0
        return done

    def finish(self) -> list[Line]:
        """No more comes."""
        self._give_up()
        return self.lines

    def feed(self, text: str, ends: bool) -> None:
        """Whole lines; at the end of the log also what stands behind the last of them."""
        raws = text.split("\n")
        if not ends:
            raws.pop()  # empty, behind the last newline
        first = self.number + 1
        self.number += len(raws)
        last = self.number if ends else -1
        prefix, append = _PREFIX.match, self.lines.append
        for number, raw in enumerate(raws, first):
            if raw.endswith("\r"):
                raw = raw.rstrip("\r")
            if raw.startswith("\r"):
                raw = raw.lstrip("\r")
            whole = number != last
            if len(raw) > LONGEST:
                raw, whole = raw[:LONGEST], False
            match = prefix(raw)
            if match is None:
                if raw or whole:
                    self._bare(number, raw, whole)
            elif raw.find("[", match.end()) < 0:
                append(Line(number, raw[match.end() :], float(match[1]), whole))
            else:
                self._stamped(number, raw, match, whole)

    def _late(self) -> bool:
        """The rest of the broken line has not come within reason."""
        return self._broken >= 0 and len(self.lines) - self._broken > _WAIT

    def _stamped(self, number: int, raw: str, match: re.Match[str], whole: bool) -> None:
        """A kernel line with a bracket in its text: perhaps another kernel message stands in it."""
        time = float(match[1])
        middle = _MIDDLE.search(raw, match.end())
        if middle is None or middle.start() == match.end():
            self.lines.append(Line(number, raw[match.end() :], time, whole))
            return
        inner = _PREFIX.match(raw, middle.start())
        alone = inner is not None and _MIDDLE.search(raw, inner.end()) is None
        if inner is None or not alone or not whole or float(inner[1]) < time:
            self.lines.append(Line(number, raw[match.end() :], time, False))
            return
        self._give_up()
        self._broken, self._inner, self._raw = len(self.lines), len(self.lines) + 1, raw[match.end() :]
        self.lines.append(Line(number, raw[match.end() : middle.start()], time, False))
        self.lines.append(Line(number, raw[inner.end() :], float(inner[1])))

    def _bare(self, number: int, raw: str, whole: bool) -> None:
        """A line without a plain time: the rest of a broken one, or user space's, or a log without times."""
        if self._late():
            self._give_up()
        middle = _MIDDLE.search(raw) if "[" in raw else None
        if middle is None:
            if self._broken >= 0 and _DROPPED.match(raw) is None:
                self._mend(raw, whole)
                return
            if raw[:1] in ("[", "<") or (": " in raw and _SYSLOG.match(raw)):
                text, time = _split_prefix(raw)
                self.lines.append(Line(number, text, time, whole))
            else:
                self.lines.append(Line(number, raw, None, whole))
            return
        self._bare_with_kernel(number, raw, middle, whole)

    def _bare_with_kernel(self, number: int, raw: str, middle: re.Match[str], whole: bool) -> None:
        """User space's text with a kernel message in it; a prompt before a message is the common case."""
        inner = _PREFIX.match(raw, middle.start())
        syslog = _SYSLOG.match(raw)
        if syslog is not None and inner is not None and syslog.end() == middle.start():
            text, time = _split_prefix(raw)
            self.lines.append(Line(number, text, time, whole))
            return
        if inner is None or _MIDDLE.search(raw, inner.end()) is not None:
            self.lines.append(Line(number, raw, None, False))
            return
        head = raw[: middle.start()]
        if self._broken >= 0:
            old = self.lines[self._broken]
            self.lines[self._broken] = old._replace(text=(old.text + head)[:LONGEST])
        else:
            # At time 0 the kernel starts: what stood before it is the firmware's and has no rest.
            self._broken, self._inner = (len(self.lines) if float(inner[1]) else -1), -1
            self.lines.append(Line(number, head, None, False))
        self.lines.append(Line(number, raw[inner.end() :], float(inner[1]), whole))

    def _mend(self, rest: str, whole: bool) -> None:
        """The rest of the broken line has come."""
        old = self.lines[self._broken]
        text = old.text + rest
        self.lines[self._broken] = old._replace(text=text[:LONGEST], whole=whole and len(text) <= LONGEST)
        self._broken = self._inner = -1

    def _give_up(self) -> None:
        """No rest came. What stood inside a kernel line is taken as part of that line's text."""
        if self._broken >= 0 and self._inner >= 0:
            old = self.lines[self._broken]
            self.lines[self._broken] = old._replace(text=self._raw)
            self.lines[self._inner] = self.lines[self._inner]._replace(text="", whole=False)
        self._broken = self._inner = -1
