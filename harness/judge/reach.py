# SPDX-License-Identifier: GPL-2.0-only
"""What a patch reaches beyond its own .c files, as far as its diff tells: words of a header that its users may use,
symbols that are exported no more, objects whose Makefile it changes. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from harness.model.series import ChangeKind, Patch

_WORD = re.compile(r"[A-Za-z_]\w{2,}")
_PARAMETERS = re.compile(r"[()]|\w[\s*]{1,40}\w+\s{0,8},")  # of a prototype, perhaps its second line
_PARAMETER = re.compile(r"\b[A-Za-z_]\w*(?=\s{0,8}[,)\[])")
_NOT_BUILT = re.compile(
    r"(?:Documentation|LICENSES)/.*|MAINTAINERS|CREDITS|COPYING|README|(?:.*/)?\.(?:mailmap|gitignore|editorconfig)"
    r"|\.clang-format|\.get_maintainer\.ignore|.*\.rst"
)
_EXPORT = re.compile(r"\s*EXPORT_(?:\w+_)?SYMBOL\w*\s*\(\s*(\w+)")
_OBJECT = re.compile(r"[\w./-]+\.o\b")
# Of C and of comments: no user is found by them.
_COMMON = frozenset(
    {
        *(
            "auto",
            "break",
            "case",
            "char",
            "const",
            "continue",
            "default",
            "define",
            "defined",
            "double",
            "else",
            "endif",
        ),
        *("enum", "error", "extern", "float", "for", "goto", "ifdef", "ifndef", "include", "inline", "int", "long"),
        *(
            "pragma",
            "register",
            "return",
            "short",
            "signed",
            "sizeof",
            "static",
            "struct",
            "switch",
            "typedef",
            "undef",
        ),
        *("union", "unsigned", "void", "volatile", "while", "bool", "true", "false", "size_t", "u16", "u32", "u64"),
        *("s16", "s32", "s64", "NULL", "the", "and", "this", "that", "with", "from", "are", "not"),
    }
)


@dataclass(frozen=True, slots=True)
class Reach:
    """`sources` are .c files to compile beside the patch's own; `broken` is wrong for sure; `untold` is what objects
    alone cannot tell.
    """

    sources: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()


def is_makefile(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name in ("Makefile", "Kbuild") or name.startswith("Makefile.")


def headers_of(patch: Patch) -> tuple[str, ...]:
    """The headers that it changes, moves or takes away, by their old names; a new one has no users yet."""
    found = [
        one.old_path or one.path
        for one in patch.files
        if one.path.endswith(".h") and one.kind not in (ChangeKind.ADDED, ChangeKind.COPIED)
    ]
    return tuple(dict.fromkeys(found))


def gone_of(patch: Patch) -> tuple[str, ...]:
    """Names of files that are there no more, deleted or renamed."""
    gone = [one.path for one in patch.files if one.kind is ChangeKind.DELETED]
    return (*gone, *(one.old_path for one in patch.files if one.kind is ChangeKind.RENAMED))


def new_of(patch: Patch) -> tuple[str, ...]:
    kinds = (ChangeKind.ADDED, ChangeKind.COPIED, ChangeKind.RENAMED)
    return tuple(one.path for one in patch.files if one.kind in kinds and one.path.endswith(".c"))


def changed_lines(patch: Patch, path: str) -> Iterator[str]:
    """The added and removed lines of a file, and what its hunks say that they are in."""
    here = False
    names = (path, next((one.path for one in patch.files if one.old_path == path), path))
    for line in patch.diff.split("\n"):
        if line.startswith("diff --git "):
            here = any(line.endswith(f" b/{name}") or f" a/{name} " in line for name in names)
        elif here and line.startswith("@@ -"):
            yield line.rpartition("@@")[2]
        elif here and line[:1] in ("+", "-") and not line.startswith(("--- ", "+++ ")):
            yield line[1:]


def built_of(patch: Patch) -> tuple[str, ...]:
    """The files of a patch that can change what is built: all but documents and the like."""
    return tuple(path for path in patch.paths if not _NOT_BUILT.fullmatch(path))


def odd_of(patch: Patch) -> tuple[str, ...]:
    """What may change a kernel and is neither C nor a Makefile nor of Kconfig: tables, assembler, linker scripts."""
    usual = (".c", ".h")
    return tuple(
        path
        for path in built_of(patch)
        if not path.endswith(usual) and not is_makefile(path) and not path.rpartition("/")[2].startswith("Kconfig")
    )


def words_of(patch: Patch, path: str) -> frozenset[str] | None:
    """The names by which a user of the header may come to what changed; None when it is gone: all are its users."""
    if path in gone_of(patch):
        return None
    words: set[str] = set()
    for line in changed_lines(patch, path):
        if line.strip().startswith(("*", "//", "/*")):
            continue  # words of a comment bind nobody
        # The names of parameters are nothing that a user could name.
        words.update(_WORD.findall(_PARAMETER.sub(" ", line) if _PARAMETERS.search(line) else line))
    return frozenset(words - _COMMON)


def lost_exports(patch: Patch) -> tuple[str, ...]:
    """Symbols that the patch exports no more."""
    lines = [line for line in patch.diff.split("\n") if not line.startswith(("--- ", "+++ "))]
    removed = [match[1] for line in lines if line.startswith("-") and (match := _EXPORT.match(line[1:]))]
    added = {match[1] for line in lines if line.startswith("+") and (match := _EXPORT.match(line[1:]))}
    return tuple(dict.fromkeys(name for name in removed if name not in added))


def objects_named(patch: Patch, makefile: str) -> tuple[str, ...] | None:
    """The objects on the lines of a Makefile that the patch changes; None when other lines change, which may be
    flags: then all of its objects are touched.
    """
    found: list[str] = []
    for line in changed_lines(patch, makefile):
        text = line.partition("#")[0].strip()
        objects = _OBJECT.findall(text)
        if text and not objects and "obj-" not in text and not text.endswith("/"):
            return None
        found += objects
    return tuple(dict.fromkeys(found))


def objects_in(text: str) -> tuple[str, ...]:
    """The objects that a Makefile names."""
    lines = (line.partition("#")[0] for line in text.split("\n"))
    return tuple(dict.fromkeys(name for line in lines for name in _OBJECT.findall(line)))
