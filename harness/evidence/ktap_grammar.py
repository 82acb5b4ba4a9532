# SPDX-License-Identifier: GPL-2.0-only
"""The forms of a single KTAP line, and what a result line says. No state, no indentation: that is ktap.py's."""

from __future__ import annotations

import re
from typing import NamedTuple

from harness.model.outcome import Outcome

# One match tells what a line can be; most lines of a console fail at their first character.
SHAPE = re.compile(
    r"([ \t]*)(?:(?P<result>(?:not )?ok(?= |$))|(?P<note>#)|(?P<version>K?TAP version )|(?P<plan>1\.\.\d)"
    r"|(?P<bail>Bail out!)|(?P<dropped>\*\* \d+ printk messages dropped))"
)
_RESULT = re.compile(r"[ \t]*(not ok|ok)(?: +(\d+)(?= |$))?(?: +-(?= |$))?(?: +(.*))?$", re.DOTALL)
# ASCII, because without it the Kelvin sign is a K to the match and none to upper().
_DIRECTIVE = re.compile(r"(?:^|\s)#\s*(SKIP|TODO|XFAIL|TIMEOUT|ERROR)\w*(?::|\b)\s*(.*)$", re.I | re.S | re.A)
VERSION = re.compile(r"[ \t]*(K?TAP) version (\d{1,9})\s*$")
PLAN = re.compile(r"[ \t]*1\.\.(\d{1,18})\s*(?:#\s*(.*))?$", re.DOTALL)
SUBTEST = re.compile(r"[ \t]*# Subtest:\s*(.*?)\s*$", re.DOTALL)
STATS = re.compile(r"[ \t]*# (.+): pass:(\d{1,9}) fail:(\d{1,9}) skip:(\d{1,9}) total:(\d{1,9})\s*$")
SPEAKER = re.compile(r"# ([^:\s]+?)(?:\.speed)?: ")
FAILED = re.compile(r"(?:EXPECTATION|ASSERTION) FAILED at ")

_TAB = 4  # as kunit indents


def indent_of(blanks: str) -> int:
    """The blanks before a line, counted; a tab is one level."""
    return len(blanks) if "\t" not in blanks else len(blanks.expandtabs(_TAB))


_WORDS = {
    "ok": Outcome.PASS,
    "not ok": Outcome.FAIL,
    "SKIP": Outcome.SKIP,
    "TODO": Outcome.XFAIL,
    "XFAIL": Outcome.XFAIL,
    "TIMEOUT": Outcome.TIMEOUT,
    "ERROR": Outcome.FAIL,
}


class Result(NamedTuple):
    """A result line, taken apart. `raw` is its word and directive. A tuple, because there is one for each case."""

    word: str
    number: int | None
    name: str
    outcome: Outcome
    raw: str
    reason: str


def read_result(text: str) -> Result | None:
    """Accepted form: `ok|not ok [NUMBER] [- ] [DESCRIPTION] [# [DIRECTIVE] [TEXT]]`; None for anything else."""
    match = _RESULT.match(text)
    if match is None or (match[2] is not None and len(match[2]) > 18):
        return None
    word, digits, rest = match.groups()
    outcome, raw, reason = _WORDS[word], word, ""
    if rest is None:
        rest = ""
    elif "#" in rest:
        found = _DIRECTIVE.search(rest)
        if found is not None:
            directive, reason, rest = found[1].upper(), found[2], rest[: found.start()]
            outcome, raw = _WORDS[directive], f"{word} # {directive}"
        rest, _, said = rest.partition(" # ")
        reason = (reason or said).strip()
    return Result(word, None if digits is None else int(digits), rest.strip(), outcome, raw, reason)
