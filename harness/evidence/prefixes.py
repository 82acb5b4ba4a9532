# SPDX-License-Identifier: GPL-2.0-only
"""What stands before a kernel's message, and is not its own console's doing: syslog, journalctl, dmesg's options,
logcat, a serial logger, a mail's quotes, an indented block.

Which of them a log has is found by looking at it: the one that makes most of its lines a kernel's. Then each line
that has it is written anew as the console would have it, `[   12.345678] message`, and each line that has it not
stays as it is. So what comes after knows one form alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise, repeat
from operator import itemgetter

_SAMPLE = 600  # lines that are looked at to find the form
_BEGIN = 50  # lines that tell whether the newest comes first
_FEW = 60  # the same, where nearly all of them have the console's own prefix
_WRAPPED = 2000  # lines that tell whether a mailer broke them
_GLANCE = 20  # lines that tell which forms are likely
_STEP = 50  # lines after which a form that cannot win is given up
_ENOUGH = 3  # of as many lines, one with the console's own prefix: then that is the form, and no other is looked for
_MOSTLY = 10  # so many steps back for one forward: the newest line comes first
_LONGEST_REST = 40  # lines that may follow a record without a prefix of their own
_MAIL = (60, 80)  # columns at which mailers wrap

_CALLER = r"\[ *[TC]\d{1,10}[^\]\[\n]{0,40}\]"
# Who printed it: the kernel's own `[ T12]`, MediaTek's `(0)[12:name]`, Samsung's `[0: name: 12]`.
_PRINTER = (
    rf"(?: ?{_CALLER}(?: |$)| {{1,3}}-?\(\d{{1,3}}\)\[\d{{1,8}}:[^\]\[\n]{{1,40}}\]"
    r"| {1,3}[VDIWEF]?\[\d{1,3}: {0,16}[^\]\[\n:]{1,16}[^\]\[\n]{0,8}: {0,8}\d{1,8}\](?: |$)| |$)"
)
# Qualcomm and Amlogic put the CPU behind the time, `dmesg -d` what has passed.
_KTIME = rf"\[ {{0,8}}(?P<t>\d{{1,10}}\.\d{{2,9}})(?:[,@#]\d{{1,3}}| <[ +\d.]{{1,20}}>)?\](?:@\d{{1,3}})?{_PRINTER}"
# The console's own, as lines.py reads it.
_PLAIN = re.compile(r"(?:<\d{1,4}>)?\[ {0,8}\d{1,10}\.\d{6}\](?:\[ *[TC]\d{1,10}[^\]\[\n]{0,40}\])?(?: |$)")
_ISO = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
_ZONE = r"(?: ?(?:[+-]\d\d:?\d\d|[A-Z]{1,5}))?"
_CLOCK = r"\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
# `Sep  1`, `sept. 01`, `9月 01`, `1. Sep`: month and day in whatever words and order a locale has.
_DAY = r"[^\s\[\]<>:|]{1,12} {1,2}[^\s\[\]<>:|]{1,12}"
_STAMP = (
    rf"(?:(?:[^\s\[\]\d]{{2,8}} )?(?P<iso>{_ISO}{_ZONE})|(?P<bsd>{_DAY} (?:\d{{4}} )?{_CLOCK})"
    r"|\[ *(?P<mono>\d{1,10}\.\d{3,9})\]|(?P<unix>\d{9,11}\.\d{3,9}))"
)
_LEVELS = r"(?:emerg|alert|crit|err|warn|notice|info|debug)"
_DATED = r"\[(?P<date>[^\[\]\n\d][^\[\]\n]{4,40} \d\d:\d\d:\d\d \d{4})[^\[\]\n]{0,24}\](?: |$)"


@dataclass(frozen=True, slots=True)
class Form:
    """A prefix. `head` goes before `pattern`: the quotes or blanks of whoever shows the log."""

    name: str
    source: str
    told: bool = True  # the prefix alone says that a kernel spoke; else the message must look like it
    records: bool = False  # every message has it, so what has it not is the rest of one
    part: str = ""  # stands in each such prefix; where it is rare, no line need be looked at

    @property
    def pattern(self) -> re.Pattern[str]:
        """Compiled when it is first asked for: most logs are a console's."""
        return _compiled(self.source)


@cache
def _compiled(source: str) -> re.Pattern[str]:
    return re.compile(source)


def _form(name: str, source: str, part: str, told: bool = True, records: bool = False) -> Form:
    return Form(name, source, told, records, part)


# In the order of preference where two make the same lines a kernel's.
FORMS: tuple[Form, ...] = (
    _form(
        "dmesg-human",
        r"\[(?:[^\[\]\n\d+][^\[\]\n+]{2,12} \d\d:\d\d| {1,6}\+ {0,8}(?P<delta>\d{1,8}\.\d{6}))\](?: |$)",
        "]",
    ),
    _form("dmesg-T", rf"(?:<\d{{1,4}}>)?{_DATED}", "]"),
    _form("dmesg-iso", rf"(?P<iso>\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{{6}}{_ZONE}) ", "T", records=True),
    _form(
        "dmesg-x", rf"[a-z]{{3,8}}\d? {{0,6}}:{_LEVELS} {{0,6}}: (?:{_KTIME}|{_DATED}|(?P<iso>{_ISO}{_ZONE}) )?", ":"
    ),
    _form("kmsg", r"\d{1,5},\d{1,12},(?P<us>\d{1,16}),[^;,\n]{1,4}(?:,[^;\n]{0,80})?;", ";", records=True),
    _form(
        "syslog",
        rf"(?:<\d{{1,3}}>(?:1 )?)?{_STAMP} (?:\S{{1,64}} )?kernel(?:\[\d{{0,8}}\])?"
        rf"(?::(?: |$)| - - (?:-|\[[^\]\n]{{0,80}}\]) ?)(?:<\d{{1,4}}>)?(?:{_KTIME})?",
        "kernel",
        records=True,
    ),
    _form(
        "logcat",
        r"\d\d-\d\d (?P<day>\d\d:\d\d:\d\d\.\d{3,9}) +(?:\S+ +)?(?P<pid>\d{1,8}) +\d{1,8} [VDIWEFS] "
        rf"(?P<tag>[^:\n]{{0,48}}?) *: (?:<\d{{1,4}}>)?(?:{_KTIME})?",
        ":",
        records=True,
    ),
    _form(
        "logcat-brief",
        rf"(?:\d\d-\d\d (?P<day>\d\d:\d\d:\d\d\.\d{{3,9}}) +)?[VDIWEFS]/(?P<tag>[^(\n]{{0,48}}?) *"
        rf"\( *(?P<pid>\d{{1,8}})\): (?:<\d{{1,4}}>)?(?:{_KTIME})?",
        "): ",
        records=True,
    ),
    _form("console", rf"(?:<\d{{1,4}}> ?)?{_KTIME}", "]"),
    # Anything else that somebody wrote before the console's own prefix: a terminal's clock, a port's name.
    _form(
        "before-time",
        rf"[^\n]{{1,80}}?(?<![\w\[])(?:<\d{{1,4}}> ?)?\[(?=[ \d]{{4,8}}\.) {{0,8}}(?P<t>\d{{1,10}}\.\d{{6}})\]"
        rf"(?: ?{_CALLER})?(?: |$)",
        "]",
    ),
    _form("tag", r"(?:[\w.-]{1,64} )?kernel:(?: |$)", "kernel:", records=True),
    _form("caller", rf"(?:<\d{{1,4}}> ?)?{_CALLER} ", "]"),
    _form("level", r"<\d{1,4}> ?", "<", told=False),
    _form("nothing", r"", "", told=False),
)
_TIMELESS = ("nothing", "level", "caller", "tag")
_PRINTK = next(form for form in FORMS if form.name == "console")
_ANYTHING = next(form for form in FORMS if form.name == "before-time")
_NOTHING = next(form for form in FORMS if form.name == "nothing")
# What looks like the console's own prefix, and has more behind it.
_BEHIND = rf"[^\S\n]?{_CALLER} | {{0,2}}-?\(\d|[VDIWEF ]{{0,2}}\[\d{{1,3}}: |\S{{1,64}} kernel: "
_MORE = re.compile(rf"{_PLAIN.pattern}(?:{_BEHIND})")
_PLAIN_OR_MORE = re.compile(rf"{_PLAIN.pattern}(?P<more>{_BEHIND})?")
# The same for bytes. Who looks at a begin sees the same as who looks at a block, but for a log that changes its form.
_QUICK = 2000
_QUICK_PLAIN = re.compile(_PLAIN.pattern.encode())
_QUICK_MORE = re.compile(_MORE.pattern.encode())

# What no one else writes, at the start of a message.
_KERNELISH = re.compile(
    r"(?:-{12}\[ cut here \]|-{3}\[ end |BUG: |kernel BUG at |WARNING: (?:CPU|possible|suspicious|\S+:\d+ at )"
    r"|Call [Tt]race:| </?(?:TASK|IRQ|NMI|EOI|#\w+)>| (?:\? )?[A-Za-z_][\w.]*\+0x[0-9a-f]+/0x"
    r"| (?:\? )?[a-z_]\w* \(\S+\.[chS]:\d+|RIP: |RSP: |R[A-D]X: |CR2: |EIP: |Code: (?:[0-9a-f]{2} |Bad)"
    r"|CPU: \d+ (?:UID|PID)|Modules linked in:|Hardware name: |Kernel panic - |Oops: |Internal error: "
    r"|Unable to handle kernel|general protection fault|INFO: (?:task|rcu)|rcu: |pc : |lr : "
    r"|sp : [0-9a-f]{8}|x\d{1,2} ?: [0-9a-f]{16}|Linux version \d|Command line: |Kernel command line: "
    r"|Mem-Info:|Node \d+ (?:active_anon|DMA|Normal|hugepages)"
    r"|(?:DMA(?:32)?|Normal|Movable|HighMem)(?: free:\d|: \d+\*)|\[ *pid *\]|.{1,20} invoked oom-killer:(?: |$)"
    r"|Out of memory: |Memory cgroup |oom-kill:constraint|oom_reaper: |Tasks state \(|active_anon:"
    r"|usb \d+-\d|pci 0000:|ACPI: |stack backtrace:|watchdog: |(?:Free|Total) swap +="
    r"|\d+ pages (?:RAM|reserved)|\S+: page allocation failure)"
)
_KTAP = re.compile(r" *(?:K?TAP version \d|# Subtest: |(?:not )?ok \d+ )")
_QUICK_KTAP = re.compile(_KTAP.pattern.encode())
# A row of the task table, or its head, that has not got its end.
_OPEN_ROW = re.compile(
    r"(?:\[ *\d{1,10}\.\d{6}\] )?(?:\[ *\d{1,10}\](?: +-?\d{1,20})*|\[ *pid *\](?: +(?!name\b)\w{1,40})*) *$"
)
# A line that is a message of its own, whatever stands before it.
_BEGINS = re.compile(
    rf"{_KERNELISH.pattern}|{_KTAP.pattern}|[\s#<]|\[ *[\dp]|\S{{1,60}}:(?: |$)|[\w-]{{1,30}} [\da-f:.]{{4,20}}: "
    r"|(?:pc|lr|sp|ra|gp|tp|epc|[xrast]\d{1,2}) {0,3}: |\d{1,12} (?:total )?page"
    r"|(?:PGD|P4D|Free|Total|Process|Stack) "
)
_DIGITS, _LETTERS = re.compile(r"\d+"), re.compile(r"[^\W\d_]+")
_QUOTE = re.compile(r"(?:> ?|\| ?)")
_ESCAPED = re.compile(r"\\x([0-9a-fA-F]{2})|#(012|011)")
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: at for at, name in enumerate(_MONTH_NAMES, 1)}
_NUMBERED_MONTH = re.compile(r"(\d{1,2})(?:月|월)?\Z")
# A kernel's time that is not at the start: another message broke into the line, and its rest comes next.
_BROKEN = re.compile(r"\[(?= {0,4}\d)[ \d]{5,10}\.\d{6}\]")
_REST_OF_RECORD = re.compile(r" {8,}|\t")
_PROPERTY = re.compile(r" [A-Z_]{2,24}=")


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A form and what stands before it on each line."""

    form: Form
    head: str = ""  # exactly this
    quotes: int = 0  # or so many quote marks

    def rest(self, raw: str) -> str | None:
        """The line without what its shower put before it; None where that is not there."""
        if self.quotes:
            at = 0
            for _ in range(self.quotes):
                match = _QUOTE.match(raw, at)
                if match is None:
                    return None
                at = match.end()
            return raw[at:]
        if not self.head:
            return raw
        if raw.startswith(self.head):
            return raw[len(self.head) :]
        return "" if not raw.strip() else None


_CONSOLE, _BARE = _Chosen(_PRINTK), _Chosen(_NOTHING)


class Prefixes:
    """Finds the form of a log, and writes its lines anew; one block after another."""

    def __init__(self) -> None:
        self._chosen = _CONSOLE
        self._sure = False
        self._wraps = False  # a mailer broke long lines
        self._time = 0.0
        self._width = 0
        self._follows = 0  # lines since a record that had no prefix
        self._held: tuple[int, str] | None = None
        self._columns = 0
        self._begun = False
        self.kernel = False  # some line was a kernel's
        self.backwards = False  # the newest line comes first

    @property
    def plain(self) -> bool:
        """The lines are as the console's code wrote them: nothing is to be done."""
        return self.calm and self._held is None

    @property
    def calm(self) -> bool:
        """Nothing is to be done with the lines to come."""
        as_it_is = self._chosen is _CONSOLE or self._chosen == _BARE
        return as_it_is and not self._wraps and not self.backwards

    def settles(self, block: bytes) -> bool:
        """The quick look: the lines that come next have the console's own prefix, as those before them had; or none
        at all, as those."""
        if not self._begun or not self.calm:
            return False
        begin = block[:_QUICK].split(b"\n")[:-1]
        if self._chosen is _CONSOLE:
            sure = [raw for raw in begin if _QUICK_PLAIN.match(raw)]
            if any(map(_QUICK_MORE.match, sure)):
                return False
        else:
            sure = [raw for raw in begin if _QUICK_KTAP.match(raw)]
        if len(sure) < _ENOUGH or len(sure) * _ENOUGH < len(begin):
            return False
        self.kernel = True
        return True

    def look(self, raws: Sequence[str]) -> None:
        """Lines that come next: is the form still the one that makes most of them a kernel's?"""
        clear = _clear(raws)
        if clear is not None:
            self.kernel = True
            self._choose(clear, raws[:_BEGIN], wraps=False)
            return
        lines = _sample(raws)
        if not lines:
            return
        plain, more = _count_plain(lines)
        if plain:
            self.kernel = True
        if plain * _ENOUGH >= len(lines) and more * 2 < plain:
            self._choose(_CONSOLE, raws)
            return
        best, score = _best(lines, plain - more)
        if score:
            self.kernel = True
            self._choose(best, raws)
        elif not self._sure:
            self._choose(_CONSOLE, raws, sure=False)

    def _choose(self, chosen: _Chosen, raws: Sequence[str], sure: bool = True, wraps: bool | None = None) -> None:
        self._chosen, self._sure = chosen, sure
        self._wraps = chosen.form.records or (_is_wrapped(raws[:_WRAPPED], chosen) if wraps is None else wraps)
        if not self._begun and sure:
            self._begun = True
            self.backwards = self._goes_back([raw for raw in raws[: 2 * _BEGIN] if raw][:_BEGIN])

    def _goes_back(self, lines: Sequence[str]) -> bool:
        """Each line is older than the one before it."""
        if self._chosen.form.name in _TIMELESS:
            return False
        older = newer = 0
        for before, after in pairwise(self._times(lines)):
            older, newer = older + (after < before), newer + (after > before)
            if newer * _MOSTLY >= len(lines):
                return False  # whatever comes
        return older >= 2 and older > _MOSTLY * newer

    def _times(self, lines: Iterable[str]) -> Iterator[float]:
        if self._chosen is _CONSOLE:
            yield from (float(match["t"]) for match in map(_PRINTK.pattern.match, lines) if match is not None)
            return
        rests = (self._chosen.rest(line) for line in lines)
        matches = (self._chosen.form.pattern.match(rest) for rest in rests if rest)
        told = (match for match in matches if match is not None and not match.groupdict().get("delta"))
        yield from (time for time in map(self._seconds, told) if time is not None)

    def apply(self, first: int, raws: Iterable[str]) -> Iterator[tuple[int, str]]:
        """Lines with their numbers, the first of which is `first`, as the console would have them.

        The last one is kept back: the rest of it may come.
        """
        for number, raw in enumerate(raws, first):
            done = self._line(number, raw)
            for one in done:
                if self._held is not None:
                    yield self._held
                self._held = one

    def finish(self) -> Iterator[tuple[int, str]]:
        """What was kept back."""
        if self._held is not None:
            yield self._held
            self._held = None

    def _line(self, number: int, raw: str) -> list[tuple[int, str]]:
        """One line -> none (it is the rest of another), one, or several (of a record with line ends in it)."""
        text = self._chosen.rest(raw)
        if self._chosen.form is _NOTHING:
            text = raw if text is None else text
            if self._wraps and self._held is not None and _goes_on(self._held[1], self._columns, text):
                self._columns = len(raw)
                self._held = (self._held[0], f"{self._held[1].rstrip()} {text.lstrip()}")
                return []
            self._columns = len(raw)
            return [(number, text)]
        if text is None:
            return self._without(number, raw, raw)
        match = self._chosen.form.pattern.match(text)
        if match is None or (match.end() == 0 and not self._chosen.head and not self._chosen.quotes):
            return self._without(number, raw, text)
        message = text[match.end() :]
        if "tag" in match.groupdict():
            tag = match["tag"].strip()
            if match["pid"] != "0" and tag.lower() not in ("", "kernel"):
                return [(number, raw)]
            message = f"{tag}: {message}" if tag and tag.lower() != "kernel" else message
        self._columns, self._follows = len(raw), 0
        self._width = len(raw) - len(message)
        time = self._seconds(match)
        if time is None:
            return [(number, message if self._chosen.form.name in _TIMELESS else raw)]
        self._time = time
        parts = _unescape(message) if "\\x" in message or "#01" in message else [message]
        return [(number, f"[{time:12.6f}] {part}") for part in parts]

    def _without(self, number: int, raw: str, text: str) -> list[tuple[int, str]]:
        """A line that has not the prefix: the rest of a record, of a line that a mailer broke, or somebody else's."""
        name, held = self._chosen.form.name, self._held
        if not text.strip() or held is None or self._follows >= _LONGEST_REST or _PLAIN.match(text):
            self._follows = _LONGEST_REST
            return [(number, raw)]
        if name == "kmsg" and _PROPERTY.match(text):
            return []
        row = self._wraps and _OPEN_ROW.match(held[1]) is not None
        if _REST_OF_RECORD.match(text) and self._width and not row:
            self._follows += 1
            blanks = len(text) - len(text.lstrip(" "))
            return [(number, f"[{self._time:12.6f}] {text[min(self._width, blanks) :]}")]
        if row or (self._wraps and self._is_rest(text)):
            self._follows += 1
            self._columns = len(raw)
            self._held = (held[0], f"{held[1].rstrip()} {text.lstrip()}")
            return []
        self._follows = _LONGEST_REST
        return [(number, raw)]

    def _is_rest(self, text: str) -> bool:
        if _syslog_of_others(text):
            return False
        wide = self._columns <= _MAIL[1] and self._columns + 1 + len(text.split(None, 1)[0]) > _MAIL[0]
        if self._chosen.form.records:
            return wide or self._follows < 3
        return wide and not _BROKEN.search(self._held[1] if self._held else "", 1)

    def _seconds(self, match: re.Match[str]) -> float | None:
        """The time that a prefix tells; None for a form without any."""
        told = match.groupdict()
        if told.get("t"):
            return float(told["t"])
        if told.get("us"):
            return int(told["us"]) / 1e6
        for name in ("mono", "unix"):
            if told.get(name):
                return float(told[name])
        if told.get("delta"):
            return self._time + float(told["delta"])
        for name in ("iso", "bsd", "date", "day"):
            if told.get(name):
                return seconds_of(told[name])
        return None if self._chosen.form.name in _TIMELESS else self._time


def seconds_of(text: str) -> float | None:
    """A date in any of the forms above -> seconds since 1970, in whose time zone is not asked; without a year, since
    the year's begin. A month that cannot be read is January; None for a day that there is not."""
    clock = re.search(r"(\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?", text)
    if clock is None:
        return None
    words = [word.strip(".,") for word in (text[: clock.start()] + text[clock.end() :]).replace("T", " ").split()]
    year, month, day = 1970, 1, 1
    for word in words:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", word):
            year, month, day = (int(part) for part in word.split("-"))
        elif re.fullmatch(r"\d{4}", word):
            year = int(word)
        elif word.isascii() and word.isdecimal() and len(word) <= 2:
            day = int(word)
        elif word[:3].lower() in _MONTHS:
            month = _MONTHS[word[:3].lower()]
        else:
            number = _NUMBERED_MONTH.match(word)
            month = int(number[1]) if number and 1 <= int(number[1]) <= 12 else month
    fraction = int((clock[4] or "0")[:6].ljust(6, "0"))
    try:
        moment = datetime(year, month, day, int(clock[1]), int(clock[2]), int(clock[3]), fraction, UTC)
    except ValueError:
        return None
    return max(0.0, moment.timestamp())


def _clear(raws: Sequence[str]) -> _Chosen | None:
    """What is told by few of the lines: nearly all have the console's own prefix, and no mailer broke them; or most
    are KTAP as a test prints it."""
    few = _sample(raws[:: len(raws) // _FEW + 1])
    plain, more = _count_plain(few)
    if plain * 5 >= len(few) * 4:
        whole = few and not more and (any(map(_is_wide, raws)) or all(raw[:1] in "[<" for raw in raws))
        return _CONSOLE if whole else None
    if not plain and sum(_KTAP.match(raw) is not None for raw in few) * 2 > len(few):
        return _BARE
    return None


def _count_plain(lines: Sequence[str]) -> tuple[int, int]:
    """The lines with the console's own prefix, and those of them that have more behind it."""
    stamped = [match for match in map(_PLAIN_OR_MORE.match, lines) if match]
    return len(stamped), len([match for match in stamped if match.lastgroup])


def _sample(raws: Sequence[str]) -> list[str]:
    """Some of the lines that are not empty, from everywhere in the block."""
    lines = [raw.strip("\r") if "\r" in raw else raw for raw in raws[: 8 * _SAMPLE] if raw and not raw.isspace()]
    if len(lines) <= _SAMPLE:
        return lines
    step = len(lines) // _SAMPLE + 1
    marked = [line for line in lines if " kernel: " in line[:160]]
    return [*lines[:50], *lines[50::step], *marked[:: len(marked) // 100 + 1]]


def _best(lines: Sequence[str], plain: int) -> tuple[_Chosen, int]:
    """The form that makes most of the lines a kernel's, and how many; of equals the first."""
    best, most = _CONSOLE, plain
    for head, quotes in _heads(lines):
        rests, at_most = lines, len(lines)
        # Where quotes alone tell as much as `anything before the time`, they tell of lines without a time, too.
        beat = most - (1 if best.form is _ANYTHING else 0)
        if head or quotes:
            bare = _Chosen(_PRINTK, head, quotes)
            at_most = sum(map(str.startswith, lines, repeat(head or (">", "|"))))
            rests = [rest for rest in (bare.rest(line) for line in lines) if rest] if at_most > beat else ()
        if min(at_most, len(rests)) <= beat:
            continue
        form, score = _best_form(rests, bool(head), beat)
        if form is not None:
            best, most = _Chosen(form, head, quotes), score
    return best, most


def _best_form(rests: Sequence[str], indented: bool, most: int) -> tuple[Form | None, int]:
    """The form that makes more than `most` of the lines a kernel's. First comes what is best for a few of them: then
    the others need not go to the end."""
    text = "\n".join(rests)
    few = rests[:: len(rests) // _GLANCE + 1]
    likely: list[tuple[int, int, Form]] = []
    for rank, form in enumerate(FORMS):
        if text.count(form.part) > most:
            likely.append((-_score(few, form, indented, 0), rank, form))
    best, best_rank = None, len(FORMS)
    for _, rank, form in sorted(likely, key=itemgetter(0, 1)):
        least = most if best is not None and rank < best_rank else most + 1
        score = _score(rests, form, indented, least)
        if score >= least:
            best, most, best_rank = form, score, rank
    return best, most


def _score(rests: Sequence[str], form: Form, indented: bool, least: int) -> int:
    """How many of these lines the form makes a kernel's; less than `least` as soon as that is sure."""
    if form.name == "before-time":
        return _alike([rest for rest in rests if rest.find("[", 1) > 0], form, len(rests))
    match, score, left = form.pattern.match, 0, len(rests)
    for at in range(0, len(rests), _STEP):
        some = rests[at : at + _STEP]
        if form.told:
            score += len([rest for rest in some if match(rest)])
        else:
            score += sum(_is_kernelish(rest, form, indented) for rest in some)
        left -= len(some)
        if score + left < least:
            break
    return score


def _alike(rests: Sequence[str], form: Form, of: int) -> int:
    """Lines with a kernel's time behind something that is always of one shape; else it is a line that broke into
    another."""
    heads = (match[0][: match.start("t")] for match in map(form.pattern.match, rests) if match is not None)
    shapes = Counter(_LETTERS.sub("a", _DIGITS.sub("0", head)).rstrip(" [") for head in heads)
    score = shapes.most_common(1)[0][1] if shapes else 0
    return score if score >= 3 and score * 2 >= of else 0


def _is_kernelish(text: str, form: Form, indented: bool) -> bool:
    """A message that no one else writes. KTAP's blanks are its structure, so they are no sign of a block."""
    match = form.pattern.match(text)
    if match is None:
        return False
    at = match.end()
    return _KERNELISH.match(text, at) is not None or (not indented and _KTAP.match(text, at) is not None)


def _heads(lines: Sequence[str]) -> list[tuple[str, int]]:
    """What may stand before each line: nothing, one to four quote marks, the blanks that are most usual."""
    heads: list[tuple[str, int]] = [("", 0)]
    marked = [line for line in lines if line.startswith((">", "|"))]
    for count in range(1, 5):
        quoted = _Chosen(_PRINTK, "", count)
        if any(quoted.rest(line) for line in marked):
            heads.append(("", count))
    blanks = Counter(line[: len(line) - len(line.lstrip(" \t"))] for line in lines)
    usual = [head for head, _ in blanks.most_common(4) if head]
    least = min((head for head in blanks), key=len, default="")
    for head in dict.fromkeys((*([least] if least else []), *usual)):
        heads.append((head, 0))
    return heads


def _is_wrapped(raws: Sequence[str], chosen: _Chosen) -> bool:
    """A mailer broke the long lines: none is wider than mail is, and there are such that were broken there."""
    if any(map(_is_wide, raws)):
        return False
    lines = [(raw, rest) for raw, rest in ((raw, chosen.rest(raw)) for raw in raws) if raw.strip()]
    if chosen.form is _NOTHING:
        told = [(len(raw), raw if rest is None else rest) for raw, rest in lines]
        return any(_goes_on(one, columns, two) for (columns, one), (_, two) in pairwise(told))
    broken = others = 0
    before = row = ""
    for raw, rest in lines:
        match = chosen.form.pattern.match(rest) if rest else None
        if match is not None and match.end() and rest is not None:
            before, row = ("", "") if _BROKEN.search(rest, match.end()) else (raw, rest[match.end() :])
            continue
        if before:
            word = raw.split(None, 1)[0]
            wide = len(before) + 1 + len(word) > _MAIL[0] or _OPEN_ROW.match(row)
            broken, others = (broken + 1, others) if wide else (broken, others + 1)
        before = ""
    return broken > 2 * others and broken > 0


def _is_wide(raw: str) -> bool:
    """Wider than what a mailer leaves, and with a blank at which it could have been broken."""
    if len(raw) <= _MAIL[1] + 1:
        return False
    text = raw.lstrip(" >|")
    return 0 < text.find(" ") <= _MAIL[1]


def _goes_on(before: str, columns: int, text: str) -> bool:
    """Of lines without any prefix: `text` is the rest of a kernel's line that was broken after so many columns."""
    if not before or not text or not text.strip():
        return False
    if _OPEN_ROW.match(before):
        return text[0] != "["
    if columns > _MAIL[1] or columns + 1 + len(text.split(None, 1)[0]) <= _MAIL[0]:
        return False
    return _KERNELISH.match(before) is not None and _BEGINS.match(text) is None


def _syslog_of_others(text: str) -> bool:
    """A line of syslog that another program than the kernel wrote."""
    return _OTHERS.match(text) is not None


_OTHERS = re.compile(rf"(?:<\d{{1,3}}>(?:1 )?)?{_STAMP} |\d\d-\d\d \d\d:\d\d:|[VDIWEFS]/|-- ")


def _unescape(message: str) -> list[str]:
    """A record in which the line ends are written as `\\x0a` or `#012` -> its lines."""
    text = _ESCAPED.sub(lambda match: chr(int(match[1], 16)) if match[1] else chr(int(match[2], 8)), message)
    return [part for part in text.split("\n") if part.strip()] or [""]
