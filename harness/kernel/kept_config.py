# SPDX-License-Identifier: GPL-2.0-only
"""The .config of a build that was made of the same Kconfig files and asks: it need not be made again.

A finished build keeps the hash of all that its config was made of (`config.key`). What Kconfig's macros ask of the
host is in it by compiler and tools. Where make says that it read other files than those that are hashed, nothing is
noted, and the config is made each time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from harness.kernel.fragments import all_asks, for_version
from harness.kernel.make import OBJECTS, compilers, hash_words, prepare_place, variables
from harness.kernel.module_place import arch_folder, digest_of, kbuild_id
from harness.kernel.symbols import kconfig_files
from harness.model.build import Profile
from harness.model.tree import Tree
from harness.proc import find_tool
from harness.store.files import write_atomically
from harness.store.layout import Layout
from harness.store.sealed import damage

KEY_FILE = "config.key"
# Whose versions and abilities Kconfig's macros ask for.
_ASKED = ("as", "pahole", "rustc", "bindgen", "python3", "nm", "objcopy", "clang")
_READ = re.compile(r"^\t(\S+) ?\\?$", re.MULTILINE)
_DOCUMENTS = "Documentation/Kconfig"  # the one below Documentation that is no example
# With one of these in the tree make refuses to build it elsewhere, and says why.
_UNCLEAN = (".config", "include/config", "include/generated")


def config_key(tree: Tree, profile: Profile, compiler: str) -> str:
    """64 hex digits over all that decides what the .config of the profile is."""
    fitting, _ = for_version(profile, tree.version_tuple)
    asks = (ask.config_line for ask in all_asks(fitting))
    words = (compiler, *variables(), kbuild_id(tree.path, arch_folder()), _kconfig_id(tree.path))
    return hash_words(*words, *map(_look, (*compilers(), *_ASKED)), *asks)


def note_config(key: str, tree: Path, objects: Path, build: Path) -> None:
    """Leaves the key in the directory of a build, when all that make read for its config is in it."""
    known = {str(path.relative_to(tree)) for path in _hashed(tree)}
    record = objects / "include" / "config" / "auto.conf.cmd"
    read = _READ.findall(record.read_text("utf-8", "replace")) if record.is_file() else []
    if read and all(re.sub(r"^(\.{1,2}/)+", "", name) in known for name in read):
        write_atomically(build / KEY_FILE, key)


def take_config(key: str, tree: Tree, place: Path, layout: Layout) -> str | None:
    """The text of the config with that key, which is then in the object directory of `place`; None where no build has
    one, or make would have something to say against the tree.
    """
    arch = tree.path / "arch" / arch_folder() / "include" / "generated"
    if arch.exists() or any((tree.path / name).exists() for name in _UNCLEAN):
        return None
    text = next(_texts(key, layout), None)
    if text is None:
        return None
    prepare_place(place, tree.path)
    config = place / OBJECTS / ".config"
    # One that is the same keeps its time, and make need not look into it.
    if config.is_symlink() or not config.is_file() or config.read_text("utf-8", "replace") != text:
        write_atomically(config, text)
    return text


def _texts(key: str, layout: Layout) -> Iterator[str]:
    """The configs of finished builds with that key."""
    for noted in layout.builds.glob(f"*/{KEY_FILE}"):
        try:
            if noted.read_text("utf-8", "replace") == key and not damage(noted.parent):
                yield (noted.parent / "config").read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            continue  # it has just been pruned


def _look(tool: str) -> str:
    """What changes when a tool of the host does."""
    found = find_tool(tool)
    if found is None:
        return f"no {tool}"
    path = Path(found).resolve()
    facts = path.stat()
    return f"{path} {facts.st_size} {facts.st_mtime_ns}"


@cache
def _kconfig_id(tree: Path) -> str:
    """A hash over the tree's Kconfig files; a tree in the store never changes."""
    words = ((str(path.relative_to(tree)), digest_of(path)) for path in _hashed(tree))
    return hash_words(*(word for pair in words for word in pair))


def _hashed(tree: Path) -> list[Path]:
    documents = tree / _DOCUMENTS
    return [*kconfig_files(tree), *([documents] if documents.is_file() else [])]
