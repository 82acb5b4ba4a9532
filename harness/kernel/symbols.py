# SPDX-License-Identifier: GPL-2.0-only
"""A plain reading of a tree's Kconfig files: which symbols there are, where, and their own `depends on` lines.

It knows nothing of menus, `if` blocks, macros or values; kconfiglib (kconfig_query.py) knows those, but not every
syntax.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_DEFINITION = re.compile(r"^[ \t]*(?:menu)?config[ \t]+([A-Za-z0-9_]+)[ \t]*(?:#.*)?$", re.MULTILINE)
_DEPENDS = re.compile(r"^\s+depends on\s+(.+?)\s*$")
_ENTRY_ENDS = re.compile(r"^\s*(?:menuconfig|config|menu|endmenu|choice|endchoice|if|endif|source|comment|help)\b")
_NAME = re.compile(r"[A-Za-z0-9_]+")
_NO_KCONFIG_BELOW = {".git", "Documentation", "include", "tools"}
_SELFTEST = "scripts/kconfig/tests"  # Kconfig files that are input to Kconfig's own tests


@dataclass(frozen=True, slots=True)
class Definition:
    """One `config NAME`: the file relative to the tree, and the line."""

    file: str
    line: int


def scan(tree: Path) -> dict[str, tuple[Definition, ...]]:
    """Every symbol that any Kconfig file of the tree defines, for whatever architecture."""
    found: dict[str, list[Definition]] = {}
    for file in kconfig_files(tree):
        text, name = file.read_text("utf-8", "replace"), str(file.relative_to(tree))
        for match in _DEFINITION.finditer(text):
            line = text.count("\n", 0, match.start(1)) + 1
            found.setdefault(match[1], []).append(Definition(name, line))
    return {name: tuple(places) for name, places in found.items()}


def kconfig_files(tree: Path) -> list[Path]:
    """All that Kconfig can read of the tree, in the order of their names."""
    files = [path for path in tree.iterdir() if path.is_file() and path.name.startswith("Kconfig")]
    # Each top folder on its own: it may be a link, which os.walk would not follow below its start.
    for top in (path for path in tree.iterdir() if path.is_dir() and path.name not in _NO_KCONFIG_BELOW):
        for directory, below, names in os.walk(top):
            if directory.endswith(_SELFTEST):
                below.clear()
                continue
            files += [Path(directory, name) for name in names if name.startswith("Kconfig")]
    return sorted(files)


def definition_folders(tree: Path, symbols: tuple[str, ...]) -> dict[str, tuple[Path, ...]]:
    """The folders of the Kconfig files that define each of the symbols."""
    if not symbols:
        return {}
    definitions = scan(tree)
    return {
        symbol: tuple(sorted({(tree / place.file).parent for place in definitions.get(symbol, ())}))
        for symbol in symbols
    }


def read_depends(tree: Path, definition: Definition) -> tuple[str, ...]:
    """The expressions of the `depends on` lines of one definition."""
    return parse_depends((tree / definition.file).read_text("utf-8", "replace"), definition.line)


def parse_depends(text: str, line: int) -> tuple[str, ...]:
    """The expressions of the `depends on` lines that follow line number `line`, up to the entry's help or end."""
    below = "\n".join(text.split("\n")[line:]).replace("\\\n", " ")
    found = []
    for text_line in below.split("\n"):
        if _ENTRY_ENDS.match(text_line):
            break
        if match := _DEPENDS.match(text_line):
            found.append(" ".join(match[1].split()))
    return tuple(found)


def names_in(expression: str) -> tuple[str, ...]:
    """The symbols that an expression names, each once, in order."""
    names = (name for name in _NAME.findall(expression) if name not in ("y", "m", "n", "if"))
    return tuple(dict.fromkeys(names))
