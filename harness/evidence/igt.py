# SPDX-License-Identifier: GPL-2.0-only
"""What igt_runner of igt-gpu-tools leaves -> cases: the results.json that it writes when it ends. What a run leaves
that was killed before is read by igt_directory.py into the same entries.

A name is IGT's own, `igt@BINARY@SUBTEST@DYNAMIC`. A subtest with dynamic ones is a case beside them, as in IGT's
reports. Every word that IGT has for a result is kept as the case's `raw`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from harness.model.event import Case
from harness.model.outcome import Outcome

# `crash` is a test that died of a signal, `abort` one that said that nothing can be run on this machine any more.
WORDS: Mapping[str, Outcome] = {
    "pass": Outcome.PASS,
    "skip": Outcome.SKIP,
    "warn": Outcome.WARN,
    "dmesg-warn": Outcome.WARN,
    "fail": Outcome.FAIL,
    "dmesg-fail": Outcome.FAIL,
    "abort": Outcome.FAIL,
    "crash": Outcome.CRASH,
    "timeout": Outcome.TIMEOUT,
    "incomplete": Outcome.INCOMPLETE,
    "notrun": Outcome.NOT_RUN,
}
VERSIONS = (8, 9, 10)
LARGEST_RESULTS = 256 << 20  # bytes of a results.json; a night of all of IGT has a tenth
MOST_ENTRIES = 200_000
ABORTED = "igt@runner@aborted"
_LONGEST_NAME = 512
_LONGEST_MESSAGE = 400
_LONGEST_TEXT = 4 << 20  # characters of an output that are looked at for what a test said
_KEPT_LINES = 20
_LONGEST_LINE = 300
_MOST_PROBLEMS = 20
_WITHOUT_WORDS = {
    "notrun": "it was not run",
    "incomplete": "it began and said no result",
    "timeout": "igt_runner ended it, as its time was up",
}
# What the library says around the words of a test: of those nobody learns why.
_AROUND = re.compile(
    r"IGT-Version: |(?:Starting |)(?:[Ss]ubtest|[Dd]ynamic subtest):? |Using IGT_SRANDOM=|Opened device: "
    r"|Stack trace:|  ?#\d+ |\*\*\*\* |Test requirement not met in |\(\S+:\d+\) \S+ (?:DEBUG|INFO): "
    r"|Test \S+ failed\.$"
)
_STAMP = re.compile(r"\([^()\s]{1,100}:\d{1,10}\) (?:\S+ )?(?:CRITICAL|WARNING): ")
_REQUIRED = re.compile(r"^Test requirement: (.+)", re.MULTILINE)
_ASSERTED = re.compile(r"(?:CRITICAL: )?Failed assertion: (.+)")


class IgtResult(NamedTuple):
    """One of the tests: what its result was called, what it printed, which of the kernel's messages were too loud."""

    result: str = ""
    out: str = ""
    err: str = ""
    warnings: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class IgtLog:
    """The cases in the order of the run. `problems` are sentences for what makes it less than full evidence;
    `version` is what the tests said of themselves (`IGT-Version: …`), `uname` the kernel's name for itself.
    """

    cases: tuple[Case, ...]
    problems: tuple[str, ...] = ()
    version: str = ""
    uname: str = ""


def parse_igt_results(data: bytes, suite: str = "") -> IgtLog:
    """A results.json -> its cases. Never raises on any bytes."""
    if len(data) > LARGEST_RESULTS:
        return IgtLog((), (f"the results are longer than {LARGEST_RESULTS >> 20} MiB: not read",))
    try:
        found = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        return IgtLog((), (f"it is no JSON, or it is cut short: {str(error)[:100]}",))
    tests = found.get("tests") if isinstance(found, dict) else None
    if not isinstance(tests, dict):
        return IgtLog((), ("there are no IGT results in it: an object `tests` is missing",))
    problems = []
    version = found.get("results_version")
    if version not in VERSIONS:
        problems.append(f"its results_version is {_short(version)}; what is known is {', '.join(map(str, VERSIONS))}")
    return igt_log(_entries(tests), suite, problems, _short(found.get("uname", "")), _version_of(tests))


def igt_log(
    entries: Iterable[tuple[str, IgtResult]],
    suite: str,
    problems: Iterable[str] = (),
    uname: str = "",
    version: str = "",
) -> IgtLog:
    """Entries -> cases, each judged by its word."""
    cases: list[Case] = []
    told = list(problems)
    for name, entry in entries:
        if len(cases) == MOST_ENTRIES:
            told.append(f"more than {MOST_ENTRIES} tests: the rest was not read")
            break
        if entry.result not in WORDS:
            word = f"the result {entry.result!r}, which IGT has not" if entry.result else "no result"
            told.append(f"{printable(name, _LONGEST_NAME)} has {printable(word, 60)}")
        cases.append(_case(suite, name, entry))
    if not cases:
        told.append("no test in it")
    if len(told) > _MOST_PROBLEMS:
        told[_MOST_PROBLEMS:] = [f"{len(told) - _MOST_PROBLEMS} more such sentences"]
    return IgtLog(tuple(cases), tuple(told), version, uname)


def printable(text: str, most: int) -> str:
    """A text that an untrusted guest wrote, on one line."""
    return "".join(one if one.isprintable() else "?" for one in text[:most])


def _case(suite: str, name: str, entry: IgtResult) -> Case:
    outcome = WORDS.get(entry.result, Outcome.INCOMPLETE)
    said = _lines((*entry.out[-_LONGEST_TEXT:].splitlines(), *entry.err[-_LONGEST_TEXT:].splitlines()))
    return Case(
        suite,
        printable(name, _LONGEST_NAME),
        outcome,
        entry.seconds,
        "" if outcome is Outcome.PASS else printable(_why(entry), _LONGEST_MESSAGE),
        printable(entry.result, 40),
        diagnostics=() if outcome in (Outcome.PASS, Outcome.NOT_RUN) else said,
    )


def _lines(texts: Iterable[str]) -> tuple[str, ...]:
    kept = [text for text in texts if text.strip() and not text.startswith("IGT-Version: ")][-_KEPT_LINES:]
    return tuple(printable(text.expandtabs(), _LONGEST_LINE) for text in kept)


def _why(entry: IgtResult) -> str:
    """The one line that tells most."""
    both = entry.out[-_LONGEST_TEXT:], entry.err[-_LONGEST_TEXT:]
    if entry.result == "skip":
        needed = next((found[1] for text in both if (found := _REQUIRED.search(text)) is not None), "")
        return needed or _last(both)
    if entry.result == "dmesg-warn" and entry.warnings.strip():
        return f"the kernel said: {_first(entry.warnings)}"
    if entry.result in _WITHOUT_WORDS:
        return _WITHOUT_WORDS[entry.result]
    asserted = next((found[1] for text in both if (found := _ASSERTED.search(text)) is not None), "")
    why = f"failed assertion: {asserted}" if asserted else _last(both)
    if entry.result == "dmesg-fail" and entry.warnings.strip():
        return f"{why}; the kernel said: {_first(entry.warnings)}" if why else _first(entry.warnings)
    if entry.result == "crash":
        return f"the test died of a signal: {why}" if why else "the test died of a signal"
    return why


def _first(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _last(texts: Iterable[str]) -> str:
    """The last line of its own that a test said, its errors before its output."""
    for text in reversed(tuple(texts)):
        for line in reversed(text.splitlines()):
            if line.strip() and not _AROUND.match(line):
                return _STAMP.sub("", line).strip()
    return ""


def _entries(tests: Mapping[str, Any]) -> Iterable[tuple[str, IgtResult]]:
    for name, test in tests.items():
        if not isinstance(test, dict):
            yield name, IgtResult()
            continue
        result, out, err, loud = (_text(test, key) for key in ("result", "out", "err", "dmesg-warnings"))
        yield name, IgtResult(result, out, err, loud, _seconds(test))
        # piglit, whose format it is, had subtests within a test.
        within = test.get("subtests", test.get("subtest"))
        if isinstance(within, dict):
            for sub, result in within.items():
                if sub != "__type__":
                    yield f"{name}@{sub}", IgtResult(result if isinstance(result, str) else "")


def _text(test: Mapping[str, Any], key: str) -> str:
    value = test.get(key, "")
    return value if isinstance(value, str) else ""


def _seconds(test: Mapping[str, Any]) -> float | None:
    """How long a test took: the length of `time`, which began at 0 or at a time of day."""
    span = test.get("time")
    if not isinstance(span, dict):
        return None
    begin, end = span.get("start"), span.get("end")
    if not isinstance(begin, int | float) or not isinstance(end, int | float):
        return None
    try:
        took = float(end) - float(begin)
    except OverflowError:
        return None
    return round(took, 6) if math.isfinite(took) and took >= 0 else None


def _version_of(tests: Mapping[str, Any]) -> str:
    said = (test.get("igt-version") for test in tests.values() if isinstance(test, dict))
    return next((_short(one.strip() if isinstance(one, str) else one) for one in said if one), "")


def _short(value: object) -> str:
    return printable(value if isinstance(value, str) else repr(value), 200)
