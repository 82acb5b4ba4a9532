# SPDX-License-Identifier: GPL-2.0-only
"""Bytes of a kernel log -> lines without the marks of the transport: prefixes, escapes, CR, NUL.

The console's own prefix is read here, every other form in prefixes.py. It mends lines that another writer broke in
the middle, where that is unambiguous; it does not know KTAP.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from harness.evidence.prefixes import Prefixes

# Lines after which the rest of a broken line is no longer waited for.
_WAIT = 5000
_MOST_PILED = 50_000  # lines of a log whose newest line comes first that are turned at once
# The kernel cuts its own records at about 1 KiB. What is longer is not a line that anybody should believe.
LONGEST = 8192
_KEPT = LONGEST + 256  # bytes of a line that does not end; text needs fewer characters than bytes
BLOCK = (
    1 << 16
)  # bytes; the form of a log is looked for in each block, so that it does not depend on how the log comes

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

_BLANKS = " " * 8
_ODD_BEGIN = ("", " ", "<")  # of a line without a time that may be more than it looks
_KTAP = re.compile(r" *(?:(?:not )?ok\b|#|K?TAP version|1\.\.|Bail out!)")


class LogLine(NamedTuple):
    """One message. `number` counts the lines of the file from 1; `time` is None where no mark carried one.

    `whole` is False when the end of the line was not seen (cut log, another writer in between, longer than
    LONGEST): such a line may carry bad news but never a result. A tuple, because a log has a million of them and
    a frozen dataclass takes three times as long to make.
    """

    number: int
    text: str
    time: float | None
    whole: bool = True


def decode(data: bytes) -> tuple[LogLine, ...]:
    """Any bytes -> lines. Never raises, takes time linear in the size.

    Accepted form: LF, CR LF or CR CR LF ends, CR alone in a log without any LF; printk prefixes as above, one of the
    forms of prefixes.py, or none; terminal escapes and NULs anywhere.
    """
    stream = LineStream()
    found: list[LogLine] = []
    for block in stream.cut(data):
        found += stream.feed(block)
    return (*found, *stream.finish())


class LineStream:
    """The same for a log that comes in pieces: the lines are those that `decode` makes of the whole.

    Only what may still change is kept: a block, at most _LONGEST_RAW bytes of an unfinished line, and what follows a
    broken line until its rest has come.
    """

    def __init__(self) -> None:
        self._mender = _Mender()
        self._prefixes = Prefixes()
        self._held = b""
        self._pile: list[tuple[int, str]] = []
        self._endless = False  # the line in _held is longer than what is kept of it
        self._returns = False  # CR alone ends a line
        self._begun = False
        self._text = ""  # of the block that was looked at and not fed yet

    @property
    def number(self) -> int:
        """Lines that are over."""
        return self._mender.number

    @property
    def waiting(self) -> bool:
        """A line waits for its rest, or has to be written anew: no line may be passed over."""
        return self._mender.waiting or not self._prefixes.plain

    @property
    def backwards(self) -> bool:
        """The newest line came first; the lines are counted in the order of their times."""
        return self._prefixes.backwards

    @property
    def kernel(self) -> bool:
        """Some line had a kernel's prefix, or looked like a kernel's."""
        return self._prefixes.kernel

    def cut(self, data: bytes) -> Iterator[bytes]:
        """More of the log -> blocks of whole lines, each for `feed` or `skip` before the next is asked for."""
        if self._returns:
            data = data.replace(b"\r", b"\n")
        start = 0
        while len(self._held) + len(data) - start >= BLOCK:
            room = BLOCK - len(self._held)
            self._held += data[start : start + room]
            start += room
            block = self._whole()
            if block:
                self._look(block)
                yield block
        self._held += data[start:]

    def _whole(self) -> bytes:
        """The whole lines of a full block; what is behind them stays. Of an endless line only the begin stays."""
        if not self._begun and b"\n" not in self._held and b"\r" in self._held:
            self._returns = True
            self._held = self._held.replace(b"\r", b"\n")
        self._begun = True
        if self._endless:
            begin, self._held = self._held[:_KEPT], self._held[_KEPT:]
            end = self._held.find(b"\n")
            if end < 0:
                self._held = begin
                return b""
            self._held = begin + self._held[end:]
            self._endless = False
        end = self._held.rfind(b"\n") + 1
        if not end:
            self._held, self._endless = self._held[:_KEPT], True
            return b""
        block, self._held = self._held[:end], self._held[end:]
        return block

    def feed(self, block: bytes) -> list[LogLine]:
        """Whole lines -> the lines that can no longer change."""
        text, self._text = self._text, ""
        self._take(text or _clean(block), ends=False)
        return self._mender.take()

    def _take(self, text: str, ends: bool) -> None:
        raws = text.split("\n")
        if not ends:
            raws.pop()  # empty, behind the last newline
        if "\r" in text:
            raws = [raw.strip("\r") for raw in raws]
        first = self._mender.number + 1
        self._mender.number += len(raws)
        last = self._mender.number if ends else -1
        if self._prefixes.calm:
            self._mender.feed(self._prefixes.finish(), -1)
            self._mender.feed(enumerate(raws, first), last)
        elif self._prefixes.backwards:
            self._pile += self._prefixes.apply(first, raws)
            if len(self._pile) > _MOST_PILED:
                self._turn()
        else:
            self._mender.feed(self._prefixes.apply(first, raws), last)

    def _turn(self) -> None:
        """Lines that came newest first, in the order of their times; so they are counted, too."""
        numbers = (number for number, _ in self._pile)
        texts = (text for _, text in reversed(self._pile))
        self._mender.feed(zip(numbers, texts, strict=True), -1)
        self._pile = []

    def _look(self, block: bytes) -> None:
        """Find the form of the block that comes next."""
        if not self._prefixes.settles(block):
            self._text = _clean(block)
            self._prefixes.look(self._text.split("\n"))

    def skip(self, block: bytes) -> None:
        """Whole lines in which nobody is interested; not while one is `waiting`."""
        self._text = ""
        self._mender.number += block.count(b"\n")

    def rest(self) -> bytes:
        """The whole lines that are left at the end of the log, for `feed` or `skip`, once, before `finish`."""
        if not self._begun and b"\n" not in self._held:
            self._held = self._held.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        end = self._held.rfind(b"\n") + 1
        block, self._held = self._held[:end], self._held[end:]
        if block:
            self._look(block)
        return block

    def finish(self) -> list[LogLine]:
        """The log is at its end."""
        last = -1
        rest = self.rest()
        if rest:
            self._take(self._text or _clean(rest), ends=False)
        if self._held:
            if not self.number:
                self._look(self._held)
            self._text = ""
            self._take(_clean(self._held), ends=True)
            self._held, last = b"", self._mender.number
        if self.backwards:
            self._pile += self._prefixes.finish()
            if self._pile and not self._pile[-1][1]:
                self._pile.pop()  # behind the last newline
            self._turn()
        self._mender.feed(self._prefixes.finish(), last)
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
        self.lines: list[LogLine] = []
        self.number = 0  # physical lines so far
        self._broken = -1  # index of the line that waits for its rest
        self._inner = -1  # index of the line that broke in, if the broken one is the kernel's
        self._before: LogLine | None = None  # the last line that was taken
        self._raw = ""  # the physical line of which both were made

    @property
    def waiting(self) -> bool:
        return self._broken >= 0

    def take(self) -> list[LogLine]:
        """The lines that no rest can change any more; they are forgotten."""
        if self._late():
            self._give_up()
        end = self._broken if self._broken >= 0 else len(self.lines)
        done, self.lines = self.lines[:end], self.lines[end:]
        if done:
            self._before = done[-1]
        if self._broken >= 0:
            self._inner -= end if self._inner >= 0 else 0
            self._broken = 0
        return done

    def finish(self) -> list[LogLine]:
        """No more comes."""
        self._give_up()
        return self.lines

    def feed(self, raws: Iterable[tuple[int, str]], last: int) -> None:
        """Lines with their numbers; that with the number `last` is what stands behind the last newline of the log."""
        prefix, append, new = _PREFIX.match, self.lines.append, tuple.__new__
        for number, raw in raws:
            whole = number != last
            if len(raw) > LONGEST:
                raw, whole = raw[:LONGEST], False
            match = prefix(raw)
            if match is None:
                if self._broken < 0 and "[" not in raw and ": " not in raw and raw[:1] not in _ODD_BEGIN:
                    append(new(LogLine, (number, raw, None, whole)))
                elif raw or whole:
                    self._bare(number, raw, whole)
                continue
            text = raw[match.end() :]
            if "[" in text:
                self._stamped(number, raw, match, whole)
            else:
                append(new(LogLine, (number, text, float(match[1]), whole)))

    def _late(self) -> bool:
        """The rest of the broken line has not come within reason."""
        return self._broken >= 0 and len(self.lines) - self._broken > _WAIT

    def _stamped(self, number: int, raw: str, match: re.Match[str], whole: bool) -> None:
        """A kernel line with a bracket in its text: perhaps another kernel message stands in it."""
        time = float(match[1])
        middle = _MIDDLE.search(raw, match.end())
        if middle is None or middle.start() == match.end():
            self.lines.append(LogLine(number, raw[match.end() :], time, whole))
            return
        inner = _PREFIX.match(raw, middle.start())
        alone = inner is not None and _MIDDLE.search(raw, inner.end()) is None
        if inner is None or not alone or not whole or float(inner[1]) < time:
            self.lines.append(LogLine(number, raw[match.end() :], time, False))
            return
        self._give_up()
        self._broken, self._inner, self._raw = len(self.lines), len(self.lines) + 1, raw[match.end() :]
        self.lines.append(LogLine(number, raw[match.end() : middle.start()], time, False))
        self.lines.append(LogLine(number, raw[inner.end() :], float(inner[1])))

    def _bare(self, number: int, raw: str, whole: bool) -> None:
        """A line without a plain time: the rest of a broken one, or user space's, or a log without times."""
        if self._broken >= 0 and self._late():
            self._give_up()
        middle = _MIDDLE.search(raw) if "[" in raw else None
        if middle is None:
            if self._broken >= 0 and _DROPPED.match(raw) is None:
                self._mend(raw, whole)
                return
            if raw.startswith(_BLANKS) and self._go_on(number, raw, whole):
                return
            if raw[:1] in ("[", "<") or (": " in raw and _SYSLOG.match(raw)):
                text, time = _split_prefix(raw)
                self.lines.append(LogLine(number, text, time, whole))
            else:
                self.lines.append(LogLine(number, raw, None, whole))
            return
        self._bare_with_kernel(number, raw, middle, whole)

    def _bare_with_kernel(self, number: int, raw: str, middle: re.Match[str], whole: bool) -> None:
        """User space's text with a kernel message in it; a prompt before a message is the common case."""
        inner = _PREFIX.match(raw, middle.start())
        syslog = _SYSLOG.match(raw)
        if syslog is not None and inner is not None and syslog.end() == middle.start():
            text, time = _split_prefix(raw)
            self.lines.append(LogLine(number, text, time, whole))
            return
        if inner is None or _MIDDLE.search(raw, inner.end()) is not None:
            self.lines.append(LogLine(number, raw, None, False))
            return
        head = raw[: middle.start()]
        if self._broken >= 0:
            old = self.lines[self._broken]
            self.lines[self._broken] = old._replace(text=(old.text + head)[:LONGEST])
        else:
            # At time 0 the kernel starts: what stood before it is the firmware's and has no rest.
            self._broken, self._inner = (len(self.lines) if float(inner[1]) else -1), -1
            self.lines.append(LogLine(number, head, None, False))
        self.lines.append(LogLine(number, raw[inner.end() :], float(inner[1]), whole))

    def _go_on(self, number: int, raw: str, whole: bool) -> bool:
        """A record of several lines, as dmesg shows it: blanks stand where the first line has its time."""
        before = self.lines[-1] if self.lines else self._before
        if before is None or before.time is None or before.number != number - 1 or _KTAP.match(raw):
            return False
        text = raw.lstrip(" ")
        if not text:
            return False
        width = min(len(raw) - len(text), len(f"[{before.time:12.6f}] "))
        self.lines.append(LogLine(number, raw[width:], before.time, whole))
        return True

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
