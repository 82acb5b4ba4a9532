# SPDX-License-Identifier: GPL-2.0-only
"""The manifests of the suites: what each must run, by name. manifests/README.md is the format."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.model.errors import StoreCorrupt, UserError
from harness.model.suite import Listed, Manifest, MaySkip, Requirement
from harness.model.units import format_size, parse_size

FOLDER = Path(__file__).parent / "manifests"
_HEAD = """\
# What the suite {suite} must run; README.md beside this file is the format.
# `ttm-harness results manifest --write RUN...` brings the names and the seconds up to date.
"""
_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})")
_NEVER = (9999, 0)
_KEYS = {
    "floor": {"case", "least", "since", "before", "swap"},
    "skip": {"case", "reason", "why", "since", "before", "swap", "ram_below", "without", "knob"},
    "case": {"seconds", "params", "since", "before"},
}


def manifest_of(suite: str) -> Manifest:
    """The manifest that is checked in for the suite; StoreCorrupt says what is wrong with it."""
    path = manifest_path(suite)
    try:
        return parse_manifest(suite, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise StoreCorrupt(f"the manifest {path} cannot be read: {error}") from error


def manifest_path(suite: str) -> Path:
    return FOLDER / f"{suite}.toml"


def parse_manifest(suite: str, text: str) -> Manifest:
    """Text of a manifest -> its value. StoreCorrupt names the entry and what is wrong with it."""
    try:
        tables = tomllib.loads(text)
        if unknown := set(tables) - {"floor", "skip", "cases"}:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        return Manifest(
            suite,
            tuple(_listed(name, table) for name, table in _table(tables.get("cases", {}), "cases").items()),
            tuple(_floor(table) for table in _list(tables.get("floor", []), "floor")),
            tuple(_skip(table) for table in _list(tables.get("skip", []), "skip")),
        )
    except (ValueError, TypeError, KeyError, UserError) as error:
        raise StoreCorrupt(f"the manifest of the suite {suite} is none: {error}") from error


def manifest_text(manifest: Manifest) -> str:
    """The file for a manifest, one line a case, in the order in which they run."""
    parts = [_HEAD.format(suite=manifest.suite)]
    for floor in manifest.floors:
        words: list[tuple[str, object]] = [("case", floor.case), ("least", floor.least)]
        parts.append("[[floor]]\n" + _lines([*words, *_range(floor.since, floor.before), ("swap", floor.swap)]))
    for skip in manifest.skips:
        words = [("case", skip.case), ("reason", skip.reason), ("why", skip.why), *_range(skip.since, skip.before)]
        words += [("swap", skip.swap), ("ram_below", format_size(skip.ram_below) if skip.ram_below else None)]
        words += [("without", skip.without or None), ("knob", skip.knob or None)]
        parts.append("[[skip]]\n" + _lines(words))
    rows = (f"{_toml(case.name)} = {{ {_inline(case)} }}\n" for case in manifest.cases)
    parts.append("[cases]\n" + "".join(rows))
    return "\n".join(parts)


def _inline(case: Listed) -> str:
    words: list[tuple[str, object]] = [("seconds", case.seconds), *_range(case.since, case.before)]
    if case.params:
        words.append(("params", list(case.params)))
    return ", ".join(f"{name} = {_toml(value)}" for name, value in words if value is not None)


def _lines(words: Iterable[tuple[str, object]]) -> str:
    return "".join(f"{name} = {_toml(value)}\n" for name, value in words if value is not None)


def _toml(value: object) -> str:
    """Strings, numbers, booleans and lists of strings are written alike in TOML and in JSON."""
    return json.dumps(value, ensure_ascii=False)


def _range(since: tuple[int, int], before: tuple[int, int]) -> list[tuple[str, object]]:
    return [
        ("since", f"{since[0]}.{since[1]}" if since != (0, 0) else None),
        ("before", f"{before[0]}.{before[1]}" if before != _NEVER else None),
    ]


def _listed(name: str, value: object) -> Listed:
    table = _checked("case", value, name)
    seconds, params = table.get("seconds", 0.0), table.get("params", [])
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e5:
        raise ValueError(f"{name}: seconds cannot be {seconds!r}")
    if not isinstance(params, list) or not all(isinstance(one, str) for one in params):
        raise ValueError(f"{name}: params is no list of strings")
    since, before = _versions(table, name)
    return Listed(name, float(seconds), tuple(params), since=since, before=before)


def _floor(value: object) -> Requirement:
    table = _checked("floor", value, "a floor")
    since, before = _versions(table, "a floor")
    least = table["least"]
    if isinstance(least, bool) or not isinstance(least, int) or least < 1:
        raise ValueError(f"a floor: least cannot be {least!r}")
    return Requirement(_text(table, "case"), least, since=since, before=before, swap=_swap(table))


def _skip(value: object) -> MaySkip:
    table = _checked("skip", value, "a skip")
    since, before = _versions(table, "a skip")
    reason = _text(table, "reason")
    try:
        re.compile(reason)
    except re.error as error:
        raise ValueError(f"a skip: the reason {reason!r} is no regular expression: {error}") from error
    return MaySkip(
        _text(table, "case"),
        reason,
        _text(table, "why"),
        parse_size(_text(table, "ram_below")) if "ram_below" in table else 0,
        _text(table, "without") if "without" in table else "",
        _text(table, "knob") if "knob" in table else "",
        since=since,
        before=before,
        swap=_swap(table),
    )


def _checked(kind: str, value: object, what: str) -> Mapping[str, object]:
    table = _table(value, what)
    if unknown := set(table) - _KEYS[kind]:
        raise ValueError(f"{what}: unknown: {', '.join(sorted(unknown))}")
    return table


def _table(value: object, what: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is no table")
    return value


def _list(value: object, what: str) -> list[object]:
    if not isinstance(value, list):
        raise ValueError(f"[[{what}]] is no list of tables")
    return value


def _text(table: Mapping[str, object], key: str) -> str:
    value = table[key]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key} cannot be {value!r}")
    return value


def _swap(table: Mapping[str, object]) -> bool | None:
    value = table.get("swap")
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"swap is true or false, not {value!r}")
    return value


def _versions(table: Mapping[str, object], what: str) -> tuple[tuple[int, int], tuple[int, int]]:
    return _version(table.get("since"), what) or (0, 0), _version(table.get("before"), what) or _NEVER


def _version(value: object, what: str) -> tuple[int, int] | None:
    if value is None:
        return None
    match = _VERSION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{what}: {value!r} is no version such as 7.2")
    return int(match[1]), int(match[2])
