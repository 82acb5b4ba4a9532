# SPDX-License-Identifier: GPL-2.0-only
"""The directory of an igt_runner that was killed before it wrote results.json -> what igt_results would make of it.

joblist.txt has a line a job: a test, and the subtests that are wanted of it. metadata.txt are the settings. N/ is the
Nth job, once it was begun: journal.txt (each subtest as it began, then the exit status), out.txt, err.txt, dmesg.txt,
and comms, which tests use that speak to the runner over a socket. aborted.txt says why the runner gave up.

What was asked for and never began is `notrun`, subtests of a job that was begun included. Nothing is left out,
whatever --prune-mode was. igt_results has a list of kernel messages that are harmless, --piglit-style-dmesg one of
those that alone are not; neither is known here, so a pass beside any message that is loud enough is a dmesg-warn.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from harness.evidence.igt import ABORTED, MOST_ENTRIES, IgtLog, IgtResult, igt_log
from harness.evidence.igt_comms import Packet, PacketType, read_packets, told_anything

JOB_LIST = "joblist.txt"
SETTINGS = "metadata.txt"
ABORT_REASON = "aborted.txt"
UNAME = "uname.txt"
OF_THE_RUN = (JOB_LIST, SETTINGS, ABORT_REASON, UNAME)
OF_A_JOB = ("journal.txt", "out.txt", "err.txt", "dmesg.txt", "comms")

_WARN_LEVEL = 4
_MOST_JOBS = 100_000
_MOST_MARKS = 50_000
_LONGEST_TEXT = 16 << 20
_SKIPPED, _INVALID, _ABORTED, _GRACEFUL = 77, 79, 112, -1  # a test's exit status; the last is SIGHUP's
_BY_STATUS = {0: "pass", _SKIPPED: "skip", _INVALID: "skip", _ABORTED: "abort", _GRACEFUL: "notrun"}
_BY_WORD = {"SUCCESS": "pass", "SKIP": "skip", "FAIL": "fail", "CRASH": "crash", "TIMEOUT": "timeout"}
_MARK = re.compile(
    r"^(?:(Starting subtest: )|(Starting dynamic subtest: )|(Subtest )|(Dynamic subtest ))"
    r"([\w-]{1,250})(?:: (\w{1,20})(?: \((\d{1,9}(?:\.\d{1,9})?)s\))?)?(?=$|[^\w-])",
    re.MULTILINE | re.ASCII,
)
_ENDED = re.compile(r"(exit|timeout):(-?\d{1,9})(?: \((\d{1,9}(?:\.\d{1,9})?)s\))?")
_RECORD = re.compile(r"(\d{1,9}),\d{1,19},(\d{1,19}),(.)[^;]*;(.*)")
_HEX = re.compile(r"\\x([0-9a-f]{2})")
_SUBTEST, _DYNAMIC = ": starting subtest ", ": starting dynamic subtest "
_SETTING = re.compile(r"^(\w{1,40}) : (-?\d{1,9})$", re.MULTILINE)


class _Kind(Enum):
    START = 1
    DYNAMIC_START = 2
    RESULT = 3
    DYNAMIC_RESULT = 4


class _Mark(NamedTuple):
    """A line with which a test says that a subtest begins or what came of it; offsets of the line in its text."""

    kind: _Kind
    name: str
    result: str
    seconds: float | None
    begin: int
    end: int


class _Job(NamedTuple):
    binary: str
    subtests: tuple[str, ...]


@dataclass(slots=True)
class _Part:
    """A subtest while it is put together, with its dynamic ones; of a test without any, the test."""

    name: str
    result: str = ""
    out: str = ""
    err: str = ""
    warnings: str = ""
    seconds: float | None = None
    heard: bool = False  # something was said of it elsewhere: by the kernel, or over the socket
    dynamic: list[_Part] = field(default_factory=list)

    def entry(self) -> IgtResult:
        silent = not self.out and not self.err and not self.heard
        result = "incomplete" if silent else self.result or "incomplete"
        if result == "pass" and _complained(self.err):
            result = "warn"
        if self.warnings:
            result = {"pass": "dmesg-warn", "warn": "dmesg-warn", "fail": "dmesg-fail"}.get(result, result)
        return IgtResult(result, self.out, self.err, self.warnings, self.seconds)

    def inside(self, name: str) -> _Part | None:
        return next((one for one in self.dynamic if one.name == name), None)


def parse_igt_directory(files: Mapping[str, bytes], suite: str = "") -> IgtLog:
    """The files of a results directory by their names in it (`joblist.txt`, `0/out.txt`) -> its cases.

    Never raises on any bytes.
    """
    if JOB_LIST not in files:
        return IgtLog((), (f"no directory of igt_runner's results: it has no {JOB_LIST}",))
    jobs, settings = _jobs(files[JOB_LIST]), _settings(files.get(SETTINGS, b""))
    entries: dict[str, IgtResult] = {}
    problems: list[str] = []
    begun = {name.partition("/")[0] for name in files if "/" in name}
    version = ""
    for number, job in enumerate(jobs):
        mine = {name: files.get(f"{number}/{name}", b"") for name in OF_A_JOB} if str(number) in begun else {}
        if mine:
            parts, told = _parts(job, mine, settings.get("dmesg_warn_level", _WARN_LEVEL))
            problems += (f"{number}: {one}" for one in told)
            version = version or _version(mine["out.txt"], mine["comms"])
            _add(entries, job, parts)
        for name in _wanted(job, not mine and not settings.get("multiple_mode")):
            entries.setdefault(name, IgtResult("notrun"))
        if len(entries) > MOST_ENTRIES:
            break
    if ABORT_REASON in files:
        entries[ABORTED] = IgtResult("fail", _text(files[ABORT_REASON]))
    return igt_log(entries.items(), suite, problems, _text(files.get(UNAME, b"")).strip()[:200], version)


def _jobs(data: bytes) -> list[_Job]:
    jobs = []
    for line in _text(data).splitlines()[:_MOST_JOBS]:
        binary, _, subtests = line.partition(" ")
        if binary:
            jobs.append(_Job(binary, tuple(one for one in subtests.split(",") if one)))
    return jobs


def _settings(data: bytes) -> dict[str, int]:
    found = {match[1]: int(match[2]) for match in _SETTING.finditer(_text(data))}
    if found.get("dmesg_warn_level", 0) < 0:
        del found["dmesg_warn_level"]
    return found


def _wanted(job: _Job, is_whole: bool) -> Iterator[str]:
    """What a job was to run, as far as it says so; with `is_whole` one that names no subtest is a case itself."""
    for one in job.subtests:
        yield _name(job.binary, *one.split("@"))
    if not job.subtests and is_whole:
        yield _name(job.binary)


def _add(entries: dict[str, IgtResult], job: _Job, parts: Sequence[_Part]) -> None:
    for part in parts:
        names = (job.binary, part.name) if part.name else (job.binary,)
        entries[_name(*names)] = part.entry()
        for one in part.dynamic:
            entries[_name(*names, one.name)] = one.entry()


def _name(*words: str) -> str:
    return "@".join(("igt", *(word.lower() for word in words)))


def _parts(job: _Job, files: Mapping[str, bytes], level: int) -> tuple[list[_Part], list[str]]:
    """What a job that was begun came to, and sentences for what of it could not be read."""
    told: list[str] = []
    if told_anything(files["comms"]):
        parts = _from_packets(job, files["comms"], told)
    else:
        parts = _from_text(job, _text(files["journal.txt"]), _text(files["out.txt"]), _text(files["err.txt"]))
    _warn(parts, _text(files["dmesg.txt"]), level)
    return parts, told


# ---- what a test printed ----


def _from_text(job: _Job, journal: str, out: str, err: str) -> list[_Part]:
    parts: dict[str, _Part] = {}
    status: int | None = None
    late = False
    seconds = None
    for line in journal.splitlines():
        ended = _ENDED.match(line)
        if ended is None:
            if line and len(parts) < _MOST_MARKS:
                parts.setdefault(line, _Part(line))
            continue
        seconds = float(ended[3]) if ended[3] else seconds
        if ended[1] == "exit":
            status = int(ended[2])
            continue
        late = True
        if parts:
            last = parts[next(reversed(parts))]
            last.result, last.seconds = "timeout", seconds
    if parts and status in (_ABORTED, _GRACEFUL):
        parts[next(reversed(parts))].result = _BY_STATUS[status]
    if not parts:
        name = job.subtests[0].partition("@")[0] if job.subtests else ""
        whole = "timeout" if late else "incomplete" if status is None else _BY_STATUS.get(status, "fail")
        parts[name] = _Part(name, whole, seconds=seconds)
        if not name:
            parts[name].out, parts[name].err = out, err
            return list(parts.values())
    for text, is_error in ((out, False), (err, True)):
        marks = _Marks(text)
        for part in parts.values():
            marks.fill(part, is_error)
    for part in parts.values():
        for one in part.dynamic:
            if not one.result and part.result in ("abort", "notrun"):
                one.result = part.result
    return list(parts.values())


class _Marks:
    """The marks of an output, and where in it each subtest's part is."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.marks = list(_marks(text))
        self.places: dict[tuple[_Kind, str], list[int]] = {}
        for at, mark in enumerate(self.marks):
            self.places.setdefault((mark.kind, mark.name), []).append(at)

    def find(self, kind: _Kind, name: str, first: int, last: int) -> int | None:
        places = self.places.get((kind, name), [])
        at = bisect_left(places, first)
        return places[at] if at < len(places) and places[at] < last else None

    def fill(self, part: _Part, is_error: bool) -> None:
        everything = len(self.marks)
        begun = self.find(_Kind.START, part.name, 0, everything)
        ended = self.find(_Kind.RESULT, part.name, 0, everything)
        first, last = self._bounds(begun, ended, everything)
        self._put(part, ended, self.text[first:last], is_error)
        if begun is None:
            return
        to = ended if ended is not None else self._next_subtest(begun + 1)
        for at in range(begun + 1, to):
            mark = self.marks[at]
            if mark.kind is not _Kind.DYNAMIC_START:
                continue
            one = part.inside(mark.name) if is_error or len(part.dynamic) < 5000 else None
            if one is None:
                one = _Part(mark.name)
                part.dynamic.append(one)
            result = self.find(_Kind.DYNAMIC_RESULT, mark.name, at, to)
            first, last = self._bounds(at, result, to)
            self._put(one, result, self.text[first:last], is_error)

    def _put(self, part: _Part, result: int | None, text: str, is_error: bool) -> None:
        if is_error:
            part.err = text
        else:
            part.out = text
        if result is not None and not part.result:
            mark = self.marks[result]
            part.result = _BY_WORD.get(mark.result, "incomplete")
            part.seconds = mark.seconds

    def _next_subtest(self, at: int) -> int:
        while at < len(self.marks) and self.marks[at].kind in (_Kind.DYNAMIC_START, _Kind.DYNAMIC_RESULT):
            at += 1
        return at

    def _bounds(self, begun: int | None, ended: int | None, last: int) -> tuple[int, int]:
        """From behind the mark before it to the mark after it; all, where there is no mark of it."""
        low = begun if begun is not None else ended
        if low is None:
            return 0, len(self.text)
        begin = self.marks[low - 1].end if low else 0
        after = ended + 1 if ended is not None else self._next_subtest(low + 1)
        limit = min(last, len(self.marks))
        if after < limit:
            return begin, self.marks[after].begin
        return begin, self.marks[limit].begin if limit < len(self.marks) else len(self.text)


def _marks(text: str) -> Iterator[_Mark]:
    for count, match in enumerate(_MARK.finditer(text)):
        if count == _MOST_MARKS:
            return
        kind = next(_Kind(number) for number in (1, 2, 4, 3) if match[{1: 1, 2: 2, 3: 3, 4: 4}[number]])
        is_start = kind in (_Kind.START, _Kind.DYNAMIC_START)
        if not is_start and not match[6]:
            continue
        end = text.find("\n", match.end())
        end = len(text) if end < 0 else end + 1
        yield _Mark(kind, match[5], match[6] or "", float(match[7]) if match[7] else None, match.start(), end)


def _complained(err: str) -> bool:
    """Whether a test wrote to its standard error: something stands there before one of the marks."""
    at = 0
    for mark in _marks(err):
        if mark.begin != at:
            return True
        at = mark.end
    return False


# ---- what a test said over the socket ----


def _from_packets(job: _Job, data: bytes, told: list[str]) -> list[_Part]:
    reader = _Reader(job)
    for packet in read_packets(data):
        if isinstance(packet, str):
            told.append(packet)
        else:
            reader.take(packet)
    return reader.parts


class _Reader:
    """Puts packets together. A log belongs to what is running; what was said ahead of the first subtest to that."""

    def __init__(self, job: _Job) -> None:
        self.job = job
        self.parts: list[_Part] = []
        self.sub: _Part | None = None
        self.dynamic: _Part | None = None
        self.ended = False  # `sub` has its result
        self.out: list[str] = []
        self.err: list[str] = []
        self.override = ""

    def take(self, packet: Packet) -> None:
        kind = packet.type
        if kind is PacketType.LOG:
            self._log(packet.text(0), packet.to_output)
        elif kind is PacketType.SUBTEST_START:
            before = self.sub if not self.ended else None
            self._begin(packet.text(0))
            self._complain(before)
        elif kind is PacketType.SUBTEST_RESULT:
            if self.sub is None or self.ended or self.sub.name != packet.text(0):
                self._begin(packet.text(0))
            self._complain(self.dynamic)
            self.dynamic, self.ended = None, True
            self._end(self.sub, packet)
        elif kind is PacketType.DYNAMIC_START and self.sub is not None and not self.ended:
            self._complain(self.dynamic)
            self._begin_dynamic(packet.text(0))
        elif kind is PacketType.DYNAMIC_RESULT and self.sub is not None and not self.ended:
            if self.dynamic is None or self.dynamic.name != packet.text(0):
                self._begin_dynamic(packet.text(0))
            self._end(self.dynamic, packet)
            self.dynamic = None
        elif kind is PacketType.OVERRIDE:
            self._override(packet.text(0))
        elif kind is PacketType.EXIT:
            self._exit(packet)

    def _log(self, text: str, to_output: bool) -> None:
        if self.sub is None:
            (self.out if to_output else self.err).append(text)
        for part in (self.sub, self.dynamic):
            if part is None:
                continue
            if to_output:
                part.out = (part.out + text)[-_LONGEST_TEXT:]
            else:
                part.err = (part.err + text)[-_LONGEST_TEXT:]

    def _begin(self, name: str) -> None:
        self.sub = next((one for one in self.parts if one.name == name), None)
        if self.sub is None:
            self.sub = _Part(name, heard=True)
            self.parts.append(self.sub)
        if self.out or self.err:
            self.sub.out, self.sub.err = "".join(self.out), "".join(self.err)
            self.out, self.err = [], []
        self.dynamic, self.ended = None, False

    def _complain(self, unfinished: _Part | None) -> None:
        """Another one begins, or what it is within ends: that the test forgot it is no pass for who goes on."""
        if self.sub is not None and unfinished is not None:
            self.sub.err += f"the subtest {unfinished.name} had no result\n"

    def _begin_dynamic(self, name: str) -> None:
        assert self.sub is not None
        self.dynamic = self.sub.inside(name)
        if self.dynamic is None:
            self.dynamic = _Part(name, heard=True)
            self.sub.dynamic.append(self.dynamic)

    def _end(self, part: _Part | None, packet: Packet) -> None:
        if part is None or part.result:
            return
        words = packet.text(1).split()
        part.result = _BY_WORD.get(words[0] if words else "", "incomplete")
        part.seconds = _number(packet.text(2))
        if part.err:  # in this way of speaking there are marks around what a test says, too
            part.err += f"Subtest {part.name}: {words[0] if words else ''}\n"

    def _override(self, result: str) -> None:
        for part in (self.sub, self.dynamic):
            if part is not None:
                part.result = result
        if self.sub is None:
            self.override = result

    def _exit(self, packet: Packet) -> None:
        if self.sub is None:
            name = self.job.subtests[0].partition("@")[0] if self.job.subtests else ""
            result = self.override or _BY_STATUS.get(packet.number, "fail")
            self.parts.append(
                _Part(name, result, "".join(self.out), "".join(self.err), seconds=_number(packet.text(0)))
            )
        elif packet.number in (_ABORTED, _GRACEFUL):
            self._override(_BY_STATUS[packet.number])


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", text, re.ASCII) else None


# ---- what the kernel said meanwhile ----


def _warn(parts: Sequence[_Part], text: str, level: int) -> None:
    """Gives each part the kernel's messages of that level or graver that came while it ran. What came ahead of the
    first subtest is that one's; where none is named in the log, nobody is to blame but a test without subtests.
    """
    by_name = {part.name.lower(): part for part in parts}
    early = now = _Part("")
    inner: _Part | None = None
    for line in text.splitlines():
        record = _RECORD.match(line)
        if record is None:
            continue
        message = record[4]
        if _SUBTEST in message:
            first = now is early
            now, inner = by_name.get(message.partition(_SUBTEST)[2].strip().lower(), _Part("")), None
            if first:
                now.warnings, now.heard = early.warnings, early.heard
        elif now is not early and _DYNAMIC in message:
            inner = now.inside(message.partition(_DYNAMIC)[2].strip())
        loud = int(record[1]) & 7 <= level and record[3] != "c"
        said = f"<{int(record[1]) & 7}> [{int(record[2]) / 1e6:.6f}] {_HEX.sub(_decoded, message)}\n"
        for part in (now, inner):
            if part is not None:
                part.heard = True
                if loud and len(part.warnings) < _LONGEST_TEXT:
                    part.warnings += said
    if now is early:
        for part in parts:
            part.heard = part.heard or early.heard
            part.warnings = part.warnings if part.name else early.warnings


def _decoded(match: re.Match[str]) -> str:
    character = chr(int(match[1], 16))
    return character if character.isascii() and (character.isprintable() or character.isspace()) else match[0]


def _version(out: bytes, comms: bytes) -> str:
    for data in (out, comms):
        if (at := data.find(b"IGT-Version: ")) >= 0:
            return _text(data[at : at + 200].partition(b"\n")[0])
    return ""


def _text(data: bytes) -> str:
    """As igt_results reads it: up to the first NUL."""
    return data[:_LONGEST_TEXT].partition(b"\0")[0].decode("utf-8", "replace")
