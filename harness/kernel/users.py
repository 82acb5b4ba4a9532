# SPDX-License-Identifier: GPL-2.0-only
"""Who in a tree uses a header or a symbol, and which Makefile names an object: by the text, without a compiler."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from harness.model.arch import guest_arch
from harness.model.errors import CommandFailed
from harness.model.tree import Tree
from harness.proc import Deadline, run

# Where kernels come from, with one part of arch; the rest (tools, samples) takes no part in a build.
_FOLDERS = (
    "block", "certs", "crypto", "drivers", "fs", "include", "init", "io_uring", "ipc", "kernel", "lib",
    "mm", "net", "rust", "security", "sound", "usr", "virt",
)  # fmt: skip
_INCLUDE = re.compile(rb"^[ \t]*#[ \t]*include[ \t]*[<\"]([^<>\"\n]{1,200})[>\"]", re.MULTILINE)
_HEADERS_LIMIT = 120  # that include each other: beyond, everything uses it
_NAMED_LIMIT = 3000  # .c files with one of the words: beyond, the words are too common
_SECONDS = 300.0


def users_of_header(
    tree: Tree, header: str, words: Iterable[str] | None, deadline: Deadline
) -> tuple[str, ...] | None:
    """The .c files that include a header, by way of others, too, and have one of the words in them.

    With None for words all that include it: for a header that is gone. None when they are too many to be looked at.
    """
    if words is None:
        return _all_users(tree, header, deadline)
    patterns = [part for word in sorted(words) for part in ("-e", word)]
    if not patterns:
        return ()
    named = _grep(tree, ("-w", "-F", *patterns), ("*.c",), deadline)
    if len(named) > _NAMED_LIMIT:
        return None
    over = _over(tree, header, named)
    return tuple(sorted(path for path in named if path in over))


def _over(tree: Tree, header: str, sources: Iterable[str]) -> set[str]:
    """The files, from these sources on, that come to a header by their includes."""
    found = _Includes(tree, header)
    above: dict[str, list[str]] = {}
    waiting, seen = list(sources), set(sources)
    while waiting:
        path = waiting.pop()
        for below in found.of(path):
            above.setdefault(below, []).append(path)
            if below not in seen and below != header:
                seen.add(below)
                waiting.append(below)
    over: set[str] = set()
    waiting = [header]
    while waiting:
        more = [path for path in above.get(waiting.pop(), ()) if path not in over]
        over.update(more)
        waiting += more
    return over


class _Includes:
    """What files include, found where make looks by default, beside them, and in folders near them (for -I)."""

    def __init__(self, tree: Tree, header: str) -> None:
        self._tree = tree
        self._header = header
        self._known: dict[tuple[str, str], str] = {}

    def of(self, path: str) -> list[str]:
        try:
            texts = _INCLUDE.findall((self._tree.path / path).read_bytes())
        except OSError:
            return []
        folder = path.rpartition("/")[0]
        return [name for text in set(texts) if (name := self._find(path, folder, text.decode("utf-8", "replace")))]

    def _find(self, path: str, folder: str, text: str) -> str:
        if _means(self._tree, path, text, self._header):
            return self._header
        if (folder, text) not in self._known:
            self._known[folder, text] = self._look(folder, text)
        return self._known[folder, text]

    def _look(self, folder: str, text: str) -> str:
        root = self._tree.path
        own = f"{guest_arch().source}/include"
        for base in (folder, "include", own, "include/uapi", f"{own}/uapi"):
            name = os.path.normpath(f"{base}/{text}")
            if (root / name).is_file():
                return name
        while folder.count("/") >= 2:
            folder = folder.rpartition("/")[0]
            if found := sorted((root / folder).glob(f"*/{text}") if ".." not in text else ()):
                return os.fspath(found[0].relative_to(root))
        return ""


def _all_users(tree: Tree, header: str, deadline: Deadline) -> tuple[str, ...] | None:
    known, waiting = {header}, {header}
    sources: dict[str, None] = {}
    while waiting:
        found = _including(tree, waiting, deadline)
        sources.update(dict.fromkeys(sorted(path for path in found if path.endswith(".c"))))
        waiting = {path for path in found if path.endswith(".h")} - known
        known |= waiting
        if len(known) > _HEADERS_LIMIT:
            return None
    return tuple(sources)


def _including(tree: Tree, headers: set[str], deadline: Deadline) -> set[str]:
    names = "|".join(sorted(re.escape(path.rpartition("/")[2]) for path in headers))
    pattern = rf"^[[:blank:]]*#[[:blank:]]*include[[:blank:]]*[<\"](.*/)?({names})[>\"]"
    found = set()
    for path in _grep(tree, ("-E", "-e", pattern), ("*.c", "*.h"), deadline):
        includes = {text.decode("utf-8", "replace") for text in _INCLUDE.findall((tree.path / path).read_bytes())}
        if any(_means(tree, path, text, header) for text in includes for header in headers):
            found.add(path)
    return found


def _means(tree: Tree, source: str, text: str, header: str) -> bool:
    """Whether an #include in a file is of that header: beside the file, or somewhere on a path that make gives."""
    if text.rpartition("/")[2] != header.rpartition("/")[2]:
        return False
    beside = os.path.normpath(f"{source.rpartition('/')[0]}/{text}")
    if beside == header:
        return True
    return f"/{header}".endswith(f"/{text.lstrip('./')}") and not (tree.path / beside).is_file()


def users_of_symbol(tree: Tree, name: str, deadline: Deadline) -> tuple[str, ...]:
    """The .c files that name a symbol."""
    return tuple(sorted(_grep(tree, ("-w", "-F", "-e", name), ("*.c",), deadline)))


def _grep(tree: Tree, pattern: tuple[str, ...], names: tuple[str, ...], deadline: Deadline) -> list[str]:
    folders = [name for name in (guest_arch().source, *_FOLDERS) if (tree.path / name).is_dir()]
    if not folders:
        return []
    argv = ("grep", "-rls", *(f"--include={name}" for name in names), *pattern, "--", *folders)
    try:
        # 2 where one file could not be read: what was found still stands
        output = run(argv, deadline=deadline.at_most(_SECONDS), cwd=tree.path, allowed=(0, 1, 2)).output
    except CommandFailed as error:
        if error.status < 0:
            raise
        return []
    return [line for line in output.splitlines() if (tree.path / line).is_file()]


def makefiles_over(tree: Path, path: str) -> list[tuple[str, str]]:
    """The Makefiles that may name a file's object, with the name that it has there: beside it and above it."""
    found = []
    folder, _, name = path.rpartition("/")
    while folder:
        for makefile in ("Makefile", "Kbuild"):
            if (tree / folder / makefile).is_file():
                found.append((f"{folder}/{makefile}", name))
        folder, _, last = folder.rpartition("/")
        name = f"{last}/{name}"
    return found


def naming(tree: Path, path: str) -> str:
    """The Makefile that names a .c file's object, '' when none does."""
    for makefile, name in makefiles_over(tree, path):
        text = "\n".join(
            line.partition("#")[0] for line in (tree / makefile).read_text("utf-8", "replace").split("\n")
        )
        if re.search(rf"(?<![\w./-]){re.escape(name.removesuffix('.c'))}\.o\b", text):
            return makefile
    return ""


def made_of_something(tree: Path, path: str) -> bool:
    """Whether there is anything that an object of a .c file's name could be made of."""
    stem = path.removesuffix(".c")
    return any((tree / f"{stem}{end}").is_file() for end in (".c", ".S", ".rs", ".asn1", ".c_shipped"))


def included(tree: Path, path: str) -> bool:
    """Whether another .c file beside it includes a .c file."""
    folder, _, name = path.rpartition("/")
    wanted = f'"{name}"'.encode()
    return any(wanted in one.read_bytes() for one in (tree / folder).glob("*.c") if one.name != name)
