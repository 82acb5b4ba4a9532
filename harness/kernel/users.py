# SPDX-License-Identifier: GPL-2.0-only
"""Who in a tree uses a header or a symbol, and which Makefile names an object: by the text, without a compiler."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from harness.model.errors import CommandFailed
from harness.model.tree import Tree
from harness.proc import Deadline, run

# Where kernels for x86 come from; the rest (tools, samples, other architectures) takes no part in a build.
_FOLDERS = (
    "arch/x86", "block", "certs", "crypto", "drivers", "fs", "include", "init", "io_uring", "ipc", "kernel", "lib",
    "mm", "net", "rust", "security", "sound", "usr", "virt",
)  # fmt: skip
_INCLUDE = re.compile(rb"^[ \t]*#[ \t]*include[ \t]*[<\"]([^<>\"\n]{1,200})[>\"]", re.MULTILINE)
_HEADERS_LIMIT = 120  # that include each other: beyond, everything uses it
_SECONDS = 300.0


def users_of_header(tree: Tree, header: str, deadline: Deadline) -> tuple[str, ...] | None:
    """The .c files that include a header, by way of others, too; None when too many do to be looked at."""
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


def mentioning(tree: Tree, files: Iterable[str], words: Iterable[str] | None) -> tuple[str, ...]:
    """Those of the files that have one of the words in them; all with None."""
    if words is None:
        return tuple(files)
    wanted = {word.encode() for word in words}
    return tuple(path for path in files if wanted & set(re.findall(rb"\w{3,}", (tree.path / path).read_bytes())))


def users_of_symbol(tree: Tree, name: str, deadline: Deadline) -> tuple[str, ...]:
    """The .c files that name a symbol."""
    return tuple(sorted(_grep(tree, ("-w", "-F", "-e", name), ("*.c",), deadline)))


def _grep(tree: Tree, pattern: tuple[str, ...], names: tuple[str, ...], deadline: Deadline) -> list[str]:
    folders = [name for name in _FOLDERS if (tree.path / name).is_dir()]
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
