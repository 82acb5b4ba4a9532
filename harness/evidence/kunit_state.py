# SPDX-License-Identifier: GPL-2.0-only
"""Why nothing ran: what kunit and the module loader say about it on the console."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from harness.evidence.lines import LogLine

_MOST = 20

# needle, pattern, sentence
_HINTS: tuple[tuple[str, re.Pattern[str], str], ...] = (
    ("kunit: disabled", re.compile(r"^kunit: disabled$"), "kunit is disabled: boot with kunit.enable=1"),
    ("kunit: test interrupted", re.compile(r"^kunit: test interrupted"), "a signal ended the wait for kunit's lock"),
    ("kunit", re.compile(r"^kunit (?:executor|module): error filtering suites"), "kunit could not apply its filter"),
    ("kunit", re.compile(r"^kunit(?: executor)?: unknown action"), "kunit.action names no action"),
    ("kunit", re.compile(r"^kunit executor: (?:invalid filter|filter |attribute )"), "a kunit filter is not valid"),
    ("Unknown symbol", re.compile(r"^\S+: Unknown symbol \S+"), "a module lacks a symbol"),
    ("disagrees", re.compile(r"^\S+: disagrees about version of symbol"), "a module is of another build"),
    ("version magic", re.compile(r"^\S+: version magic .* should be"), "a module is of another kernel"),
    ("exec format", re.compile(r"^modprobe: .*exec format error"), "a module is of another kernel"),
    ("modprobe: ", re.compile(r"^modprobe: (?:FATAL: |can't load |module .* not found)"), "modprobe failed"),
    ("insmod: ", re.compile(r"^insmod: (?:ERROR|can't insert)"), "insmod failed"),
)
_VERSION = re.compile(r" *K?TAP version \d+$")
_EMPTY = re.compile(r" *1\.\.0(?: |$)")
_MAY_MATTER = re.compile(
    r"1\.\.0|TAP version |ommand line: |" + "|".join(sorted({re.escape(needle) for needle, _, _ in _HINTS}))
).search
_CMDLINE = re.compile(r"^(?:Kernel command line|Command line): ")


@dataclass(frozen=True, slots=True)
class KunitState:
    """`documents` counts KTAP headers, `empty` those that promise no test; `reasons` are sentences with the line."""

    disabled: bool
    documents: int
    empty: int
    reasons: tuple[str, ...]


def kunit_state(lines: Iterable[LogLine]) -> KunitState:
    """Lines of a console -> what they say about tests that did not run. Says nothing about those that did."""
    reader = KunitStateReader()
    for line in lines:
        reader.feed(line)
    return reader.finish()


class KunitStateReader:
    """The same for lines that come one after another."""

    def __init__(self) -> None:
        self._documents = self._empty = 0
        self._reasons: list[str] = []
        self._autorun: bool | None = None

    def feed(self, line: LogLine) -> None:
        text = line.text
        if _MAY_MATTER(text) is None:
            return
        if "TAP version " in text and _VERSION.match(text):
            self._documents += 1
        elif text.lstrip(" ").startswith("1..0") and _EMPTY.match(text):
            self._empty += 1
        elif "ommand line: " in text and _CMDLINE.match(text):
            self._autorun = "kunit.autorun=1" in text.split() or "kunit.autorun=Y" in text.split()
        elif len(self._reasons) < _MOST:
            self._reasons += _hints(line)

    def finish(self) -> KunitState:
        reasons = list(self._reasons)
        if self._documents == self._empty and not reasons and self._autorun is False:
            # 7.x has KUNIT_AUTORUN_ENABLED; without it a module's suites are registered and nothing is printed.
            reasons.append("no suite ran and nothing says why: on 7.x boot with kunit.autorun=1")
        disabled = any(reason.startswith(_HINTS[0][2]) for reason in reasons)
        return KunitState(disabled, self._documents, self._empty, tuple(reasons))


def _hints(line: LogLine) -> list[str]:
    """The sentence for one line, if it is a hint; the message itself stands in it."""
    for needle, pattern, sentence in _HINTS:
        if needle in line.text and pattern.match(line.text):
            return [f"{sentence} (line {line.number}: {line.text.strip()[:160]})"]
    return []
