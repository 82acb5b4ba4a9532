# SPDX-License-Identifier: GPL-2.0-only
"""The project's own files laid over a copy of one of the tree's drivers: built out of tree, loaded in its place.

What is tested is the tree's own driver, a patched one too. A folder with an `overlay.toml` says where its files go,
which lines are added to the driver's, and which words of the driver they lean on; the tree is never written to.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.kernel.module import build_module
from harness.model.build import Build
from harness.model.errors import SuiteUnfit
from harness.model.features import Feature, features_of, read_features
from harness.model.progress import Progress
from harness.model.toml import read_toml
from harness.model.tree import Tree
from harness.proc import Deadline
from harness.store.layout import Layout

DESCRIPTION = "overlay.toml"
FEATURES = "features.h"  # made: our files include it


@dataclass(frozen=True, slots=True)
class Hook:
    """Lines added at the end of a file of the driver; `needs` are words that must be in it before."""

    file: str
    needs: tuple[str, ...]
    append: str


@dataclass(frozen=True, slots=True)
class Overlay:
    """`driver` is relative to the tree, `folder` to the driver. FEATURES defines what of `features` a tree has."""

    source: Path
    driver: str
    folder: str
    hooks: tuple[Hook, ...]
    features: tuple[Feature, ...]

    @property
    def suite(self) -> str:
        """Whose files these are: the overlay lies in the suite's folder."""
        return self.source.parent.name


@dataclass(frozen=True, slots=True)
class _File:
    """The keys of the description."""

    driver: str
    folder: str
    hook: tuple[Hook, ...]


def read_overlay(source: Path) -> Overlay:
    """The description of the folder; UserError says what is wrong with it."""
    told = read_toml(_File, source / DESCRIPTION)
    return Overlay(source, told.driver, told.folder, told.hook, read_features(source))


def lay_over(overlay: Overlay, tree: Tree, copy: Path) -> None:
    """Adds files and lines to `copy`, a copy of the tree's driver.

    Raises SuiteUnfit, naming file and words, when the driver is not there or no longer what the lines lean on.
    """
    for hook in overlay.hooks:
        _append(overlay, hook, tree.version, copy / hook.file)
    target = copy / overlay.folder
    if target.exists():
        raise SuiteUnfit(
            f"Linux {tree.version} has a {overlay.driver}/{overlay.folder} of its own; ours would hide it"
        )
    target.mkdir()
    for path in sorted(overlay.source.glob("*.[ch]")):
        shutil.copyfile(path, target / path.name)
    # A file, not flags for the compiler: those would have the whole driver compiled anew.
    (target / FEATURES).write_text(features_text(overlay, tree), encoding="utf-8")


def features_text(overlay: Overlay, tree: Tree) -> str:
    """FEATURES for that tree."""
    found = features_of(tree, overlay.features).names
    defines = [f"#define {one.define} 1" for one in overlay.features if one.define in found]
    return "\n".join(("/* What the tree has. */", *defines, ""))


def build_overlay(
    build: Build,
    source: Path,
    layout: Layout,
    deadline: Deadline,
    change: Callable[[Path], None] | None = None,
    progress: Progress | None = None,
) -> Path:
    """The directory with the .ko files of the tree's driver and our files in it; made once for the same content.

    `change` may alter the copy of the driver before ours are laid over it: it gets a directory in which the driver
    lies at its path in the tree.
    """
    overlay = read_overlay(source)
    driver = build.tree.path / overlay.driver
    if not driver.is_dir():
        raise SuiteUnfit(f"Linux {build.tree.version} has no {overlay.driver}, which {overlay.suite} is laid over")
    with tempfile.TemporaryDirectory(prefix=f"{source.name}.part-", dir=layout.objects) as scratch:
        copy = Path(scratch) / overlay.driver
        shutil.copytree(driver, copy)
        if change is not None:
            change(Path(scratch))
        lay_over(overlay, build.tree, copy)
        return build_module(build, copy, layout, deadline, progress)


def _append(overlay: Overlay, hook: Hook, version: str, path: Path) -> None:
    text = _text(path)
    missing = next((words for words in hook.needs if words not in text), None)
    if missing is not None:
        what = (
            f"no {missing!r} in {overlay.driver}/{hook.file}"
            if path.is_file()
            else f"no {overlay.driver}/{hook.file}"
        )
        raise SuiteUnfit(
            f"{overlay.suite} cannot be laid over Linux {version}: there is {what}",
            hint=f"its files lean on that; {overlay.source.name}/{DESCRIPTION} says on what else",
        )
    _add_line(path, hook.append)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _add_line(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(f"\n{line.strip()}\n")
