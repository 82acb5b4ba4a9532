# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel tree has, whatever its version says: words that stand in a file of it.

Branches say the version that they will be merged for, and carry what comes after it; stable trees carry what came
later. guest-scripts/module/features.awk asks the same of the same tables, for modules that a make without the harness
builds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from harness.model.errors import UserError
from harness.model.toml import NEVER, as_version, read_by, read_toml
from harness.model.tree import Tree, version_tuple

FEATURES_FILE = "features.toml"
_MACRO = re.compile(r"[A-Z][A-Z0-9_]{0,63}", re.ASCII)
_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,200}", re.ASCII)


def _macro(value: object) -> str:
    if not isinstance(value, str) or not _MACRO.fullmatch(value):
        raise UserError(f"{value!r} is no name of a macro", hint="capitals, digits and underscores")
    return value


def _path(value: object) -> str:
    if not isinstance(value, str) or not _PATH.fullmatch(value) or ".." in value:
        raise UserError(f"{value!r} is no path in a tree")
    return value


def _words(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or "\n" in value:
        raise UserError(f"{value!r} is not some words of one line")
    return value


@dataclass(frozen=True, slots=True)
class Feature:
    """What a tree has when a line of `file` in it has `words`; where the file is not there, from version `since` on.

    `define` is the macro that a module gets for it, `commit` what brought it, as in `2232ba9c7931 ("mm: add gpu …")`.
    """

    define: str = field(metadata=read_by(_macro))
    file: str = field(metadata=read_by(_path))
    words: str = field(metadata=read_by(_words))
    since: tuple[int, int] = field(default=NEVER, metadata=read_by(as_version))
    commit: str = ""


@dataclass(frozen=True, slots=True)
class _File:
    feature: tuple[Feature, ...] = ()


def read_features(folder: Path) -> tuple[Feature, ...]:
    """The table in a folder, empty where there is none; UserError says what is wrong with it."""
    path = folder / FEATURES_FILE
    return read_toml(_File, path).feature if path.is_file() else ()


@dataclass(frozen=True, slots=True)
class TreeFeatures:
    """What a tree has, by the names of the macros; what was answered by its version alone; and what its version says
    that it has, and it has not: it may be a mixture, or the words of the table are no longer the tree's.
    """

    names: frozenset[str]
    by_version: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def promised(self) -> frozenset[str]:
        """What is to be tested: what is missing, too, or words that are no longer right would excuse every case."""
        return self.names | set(self.missing)


def features_of(tree: Tree, features: Iterable[Feature]) -> TreeFeatures:
    """Asks the tree; where a file is not in it, the version decides (a feature of no version is not there then)."""
    names, by_version, missing = set(), [], []
    for one in dict.fromkeys(features):
        text = _text(tree.path / one.file)
        is_due = version_tuple(tree.version)[:2] >= one.since
        if text is None:
            by_version.append(one.define)
        if one.words in text if text is not None else is_due:
            names.add(one.define)
        elif is_due:
            missing.append(one.define)
    return TreeFeatures(frozenset(names), tuple(by_version), tuple(missing))


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
