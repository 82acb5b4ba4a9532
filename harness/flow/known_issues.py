# SPDX-License-Identifier: GPL-2.0-only
"""Files of known issues -> the issues, validated: patches/known-issues/README.md is the contract.

Every mistake becomes one sentence with the file, the issue, the key and what may stand there; all are told at once.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from pathlib import Path

import cattrs

from harness.checkout import data_directory
from harness.model.errors import UserError
from harness.model.known import KnownIssue, KnownIssues
from harness.model.toml import to_table
from harness.store.files import read_regular
from harness.suites.registry import suite_named

SHIPPED = "shipped"
_FILE_NAME = "known-issues.toml"
_LARGEST = 4 << 20
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)
_FINGERPRINT = re.compile(r"[0-9a-f]{12}", re.ASCII)
_GLOB = re.compile(r"[\w.*?\[\]-]{1,200}", re.ASCII)
_VERSION = re.compile(r"(\d{1,3})\.(\d{1,4})", re.ASCII)
_REQUIRED = ("name", "reason", "owner", "expires")

Value = str | bool | tuple[str, ...] | tuple[int, int]


def read_known(names: Sequence[str], day: date | None = None) -> KnownIssues:
    """The issues of all files, `shipped` being the project's own; `day` (else today, in UTC) decides what is expired.

    UserError for a file that cannot be read, or with mistakes in it, and for a name that two issues have.
    """
    day = day or datetime.now(UTC).date()
    shipped = data_directory("patches") / "known-issues" / _FILE_NAME
    paths = [shipped if name == SHIPPED else Path(name) for name in names]
    issues: dict[str, KnownIssue] = {}
    for path in paths:
        for issue in parse_known(_text(path), str(path)):
            if issue.name in issues:
                raise UserError(f"{path}: there are two known issues of the name {issue.name}")
            issues[issue.name] = issue
    return KnownIssues(tuple(map(str, paths)), day.isoformat(), tuple(issues.values()))


def _text(path: Path) -> str:
    try:
        return read_regular(path, _LARGEST).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"the known issues {path} cannot be read: {error}",
            hint=f"--known FILE, or --known {SHIPPED} for the project's own",
        ) from error


def parse_known(text: str, name: str) -> tuple[KnownIssue, ...]:
    """`name` is the file, for the sentences. UserError has one line for every mistake."""
    table = to_table(text, name)
    troubles = [f"{key}: no such table; {_nearest(key, ('issue',))}" for key in table if key != "issue"]
    entries = table.get("issue", [])
    issues = []
    if isinstance(entries, list) and all(isinstance(one, dict) for one in entries):
        for number, entry in enumerate(entries, 1):
            issues.append(_issue(entry, number, troubles))
    else:
        troubles.append("issue: must be tables, each headed [[issue]]")
    counted = [one.name for one in issues if one is not None]
    troubles += [f"issue {one}: the name is there twice" for one in dict.fromkeys(counted) if counted.count(one) > 1]
    if troubles:
        raise UserError(
            f"{name}: " + f"\n  {name}: ".join(troubles), hint="patches/known-issues/README.md has every key"
        )
    return tuple(one for one in issues if one is not None)


def _issue(entry: Mapping[str, object], number: int, troubles: list[str]) -> KnownIssue | None:
    said = entry.get("name")
    where = f"issue {said}" if isinstance(said, str) and _NAME.fullmatch(said) else f"issue number {number}"
    mistakes = [f"{key}: is required; {_KEYS[key].may_be}" for key in _REQUIRED if key not in entry]
    found: dict[str, Value] = {}
    for key, value in entry.items():
        if key not in _KEYS:
            mistakes.append(f"{key}: no such key; {_nearest(key, tuple(_KEYS))}")
            continue
        try:
            found[key] = _KEYS[key].read(value)
        except ValueError as error:
            mistakes.append(f"{key}: {error or repr(value)}; {_KEYS[key].may_be}")
    issue = cattrs.structure(found, KnownIssue) if not mistakes else None
    if issue is not None:
        mistakes += _together(issue)
    troubles += [f"{where}: {mistake}" for mistake in mistakes]
    return issue


def _together(issue: KnownIssue) -> Iterator[str]:
    """What keys say of each other."""
    if not issue.fingerprints and not issue.cases:
        yield "fingerprints: it matches nothing; say fingerprints of events, or cases with a message"
    elif issue.fingerprints and issue.message:
        yield "message: goes with cases alone; an event is told by its fingerprint"
    elif not issue.fingerprints and not issue.message:
        yield "message: cases without fingerprints need one, or any failure of theirs would be excused"
    if issue.since >= issue.before:
        yield "before: must be a later kernel than since"


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a string")
    if not value.strip() or not value.isprintable():
        raise ValueError(f"{value!r} is empty, or not in one line")
    return value.strip()


def _name(value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(f"{value!r} is no name")
    return value


def _day(value: object) -> str:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ValueError(f"{value!r} is no date")
    return value.isoformat()


def _list(value: object, pattern: re.Pattern[str]) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{value!r} is no list with something in it")
    for one in value:
        if not isinstance(one, str) or not pattern.fullmatch(one):
            raise ValueError(f"{one!r} cannot be one of them")
    return tuple(map(str, value))


def _fingerprints(value: object) -> tuple[str, ...]:
    return _list(value, _FINGERPRINT)


def _globs(value: object) -> tuple[str, ...]:
    return _list(value, _GLOB)


def _suites(value: object) -> tuple[str, ...]:
    names = _list(value, re.compile(r"[\w-]{1,64}"))
    for name in names:
        try:
            suite_named(name)
        except UserError as error:
            raise ValueError(error.message) from None
    return names


def _pattern(value: object) -> str:
    text = _string(value)
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None
    return text


def _pair(value: object) -> tuple[int, int]:
    match = _VERSION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is no version")
    return int(match[1]), int(match[2])


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


@dataclass(frozen=True, slots=True)
class _Key:
    read: Callable[[object], Value]
    may_be: str


_KEYS = {
    "name": _Key(_name, 'write small letters, digits and hyphens, as in "pool-lockdep"'),
    "reason": _Key(_string, "write why it is let pass, in one line"),
    "owner": _Key(_string, "write who takes care of it, in one line"),
    "expires": _Key(_day, "write the last day on which it holds, without quotes, as in 2027-03-31"),
    "fingerprints": _Key(_fingerprints, 'write a list of twelve hex digits each, as in ["18d43f7d5757"]'),
    "cases": _Key(_globs, 'write a list of globs over names of cases, as in ["content_*"]'),
    "message": _Key(_pattern, "write a regular expression over what the case said"),
    "suites": _Key(_suites, 'write a list of suites, as in ["pressure"]'),
    "since": _Key(_pair, 'write the first kernel that has it, as in "6.15"'),
    "before": _Key(_pair, 'write the first kernel that no longer has it, as in "7.4"'),
    "rare": _Key(_flag, "write true if a run need not show it"),
}
assert set(_KEYS) == {one.name for one in fields(KnownIssue)}


def _nearest(key: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, names, 1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
