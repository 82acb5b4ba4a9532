# SPDX-License-Identifier: GPL-2.0-only
"""Files of known issues -> the issues, validated: patches/known-issues/README.md is the contract.

Every mistake becomes one sentence with the file, the line, the key and what may stand there; all are told at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime
from pathlib import Path

from harness.checkout import data_directory
from harness.model.errors import UserError
from harness.model.known import KnownIssue, KnownIssues
from harness.model.toml import (
    FIRST,
    NEVER,
    Mistake,
    Mistakes,
    Pattern,
    Version,
    read_by,
    refusal,
    structure,
    to_table,
)
from harness.store.files import read_regular
from harness.suites.registry import suite_named

SHIPPED = "shipped"
_FILE_NAME = "known-issues.toml"
_LARGEST = 4 << 20
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)
_FINGERPRINT = re.compile(r"[0-9a-f]{12}", re.ASCII)
_GLOB = re.compile(r"[\w:.+*?\[\]-]{1,200}", re.ASCII)
_SUITE = re.compile(r"[\w-]{1,64}", re.ASCII)
_ANY = Pattern()
_HINT = "patches/known-issues/README.md has every key"


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
    entries = structure(_File, to_table(text, name), text, name, _HINT).issue
    names = [entry.name for entry in entries]
    if twice := [number for number, one in enumerate(names) if one in names[:number]]:
        raise refusal(
            ((("issue", number, "name"), f"{names[number]} is there twice") for number in twice), text, name, _HINT
        )
    return tuple(KnownIssue(**{one.name: getattr(entry, one.name) for one in fields(entry)}) for entry in entries)


def _line_of_text(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise UserError(f"{value!r} is not a text in one line")
    return value.strip()


def _name(value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise UserError(f"{value!r} is no name", hint='small letters, digits and hyphens, as in "pool-lockdep"')
    return value


def _day(value: object) -> str:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise UserError(f"{value!r} is no date", hint="the last day on which it holds, without quotes: 2027-03-31")
    return value.isoformat()


def _texts(pattern: re.Pattern[str], hint: str) -> Callable[[object], tuple[str, ...]]:
    def read(value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not value:
            raise UserError(f"{value!r} is no list with something in it", hint=hint)
        for one in value:
            if not isinstance(one, str) or not pattern.fullmatch(one):
                raise UserError(f"{one!r} cannot be one of them", hint=hint)
        return tuple(map(str, value))

    return read


def _suites(value: object) -> tuple[str, ...]:
    names = _texts(_SUITE, 'a list of suites, as in ["pressure"]')(value)
    for name in names:
        suite_named(name)
    return names


_fingerprints = _texts(_FINGERPRINT, 'a list of twelve hex digits each, as in ["18d43f7d5757"]')
_cases = _texts(_GLOB, 'a list of globs over names of cases, as in ["content_*"]')


@dataclass(frozen=True, slots=True)
class _Entry:
    """The keys of an issue: the fields of KnownIssue."""

    name: str = field(metadata=read_by(_name))
    reason: str = field(metadata=read_by(_line_of_text))
    owner: str = field(metadata=read_by(_line_of_text))
    expires: str = field(metadata=read_by(_day))
    fingerprints: tuple[str, ...] = field(default=(), metadata=read_by(_fingerprints))
    cases: tuple[str, ...] = field(default=(), metadata=read_by(_cases))
    message: Pattern = _ANY
    suites: tuple[str, ...] = field(default=(), metadata=read_by(_suites))
    since: Version = FIRST
    before: Version = NEVER
    rare: bool = False

    def __post_init__(self) -> None:
        """What keys say of each other."""
        if wrong := tuple(self._together()):
            raise Mistakes(wrong)

    def _together(self) -> Iterator[Mistake]:
        if not self.fingerprints and not self.cases:
            yield ("fingerprints",), "it matches nothing; say fingerprints of events, or cases with a message"
        elif self.fingerprints and self.message:
            yield ("message",), "goes with cases alone; an event is told by its fingerprint"
        elif not self.fingerprints and not self.message:
            yield ("message",), "cases without fingerprints need one, or any failure of theirs would be excused"
        if self.since >= self.before:
            yield ("before",), "must be a later kernel than since"


@dataclass(frozen=True, slots=True)
class _File:
    issue: tuple[_Entry, ...] = ()
