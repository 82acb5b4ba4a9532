# SPDX-License-Identifier: GPL-2.0-only
"""The manifest of a suite: what it must run, by name. harness/subjects/README.md has the format."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from harness.model.errors import UserError
from harness.model.suite import Manifest, ManifestCase, MaySkip, OnKernels, Requirement
from harness.model.toml import FIRST, NEVER, parse_toml, text_of
from harness.model.units import format_size

MANIFEST_FILE = "manifest.toml"
_HEAD = """\
# What the suite {suite} must run; harness/subjects/README.md has the format.
# `ttm-harness results manifest --write RUN...` brings the names and the seconds up to date.
"""
_MOST_SECONDS = 1e5


@dataclass(frozen=True, slots=True)
class _Case(OnKernels):
    """What stands behind the name of a case."""

    seconds: float = 0.0
    params: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _File:
    """The keys of a manifest."""

    floor: tuple[Requirement, ...] = ()
    skip: tuple[MaySkip, ...] = ()
    cases: dict[str, _Case] = field(default_factory=dict)


def read_manifest(suite: str, folder: Path) -> Manifest | None:
    """The manifest in the folder of the suite, if it has one; UserError says what is wrong with it."""
    path = folder / MANIFEST_FILE
    return parse_manifest(suite, text_of(path), str(path)) if path.is_file() else None


def parse_manifest(suite: str, text: str, where: str = MANIFEST_FILE) -> Manifest:
    """Text of a manifest -> its value. UserError names the entry and what is wrong with it."""
    found = parse_toml(_File, text, where)
    if wrong := [name for name, one in found.cases.items() if not 0 <= one.seconds < _MOST_SECONDS]:
        raise UserError(f"{where}: cases.{wrong[0]}.seconds: 0 to {_MOST_SECONDS:g}")
    if any(one.least < 1 for one in found.floor):
        raise UserError(f"{where}: a floor of less than one case is none")
    cases = (
        ManifestCase(name, one.seconds, one.params, since=one.since, before=one.before, has=one.has, lacks=one.lacks)
        for name, one in found.cases.items()
    )
    return Manifest(suite, tuple(cases), found.floor, found.skip)


def manifest_text(manifest: Manifest) -> str:
    """The file for a manifest, one line a case, in the order in which they run."""
    parts = [_HEAD.format(suite=manifest.suite)]
    for floor in manifest.floors:
        words: list[tuple[str, object]] = [("case", floor.case), ("least", floor.least)]
        parts.append("[[floor]]\n" + _lines([*words, *_range(floor), ("swap", floor.swap)]))
    for skip in manifest.skips:
        words = [("case", skip.case), ("reason", skip.reason), ("why", skip.why), *_range(skip)]
        words += [("swap", skip.swap), ("ram_below", format_size(skip.ram_below) if skip.ram_below else None)]
        words += [("without", skip.without or None), ("knob", skip.knob or None)]
        parts.append("[[skip]]\n" + _lines(words))
    rows = (f"{_toml(case.name)} = {{ {_inline(case)} }}\n" for case in manifest.cases)
    parts.append("[cases]\n" + "".join(rows))
    return "\n".join(parts)


def _inline(case: ManifestCase) -> str:
    words: list[tuple[str, object]] = [("seconds", case.seconds), *_range(case)]
    if case.params:
        words.append(("params", list(case.params)))
    return ", ".join(f"{name} = {_toml(value)}" for name, value in words if value is not None)


def _lines(words: Iterable[tuple[str, object]]) -> str:
    return "".join(f"{name} = {_toml(value)}\n" for name, value in words if value is not None)


def _toml(value: object) -> str:
    """Strings, numbers, booleans and lists of strings are written alike in TOML and in JSON."""
    return json.dumps(value, ensure_ascii=False)


def _range(entry: OnKernels) -> list[tuple[str, object]]:
    since, before = entry.since, entry.before
    return [
        ("since", f"{since[0]}.{since[1]}" if since != FIRST else None),
        ("before", f"{before[0]}.{before[1]}" if before != NEVER else None),
        ("has", entry.has or None),
        ("lacks", entry.lacks or None),
    ]
