# SPDX-License-Identifier: GPL-2.0-only
"""What a series must not do to a tree, looked at before anything is applied.

Two looks: at the series alone (names, modes, links, sizes), and at the tree it is meant for (another project's
patches, writes through symbolic links).
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from harness.inputs.series.assemble import PATCH_LIMIT
from harness.model.errors import UserError
from harness.model.series import ChangeKind, FileChange, Patch, Series
from harness.model.tree import Tree
from harness.model.units import MIB, format_size

DIFF_LIMIT = 16 * MIB
CHANGED_FILES_LIMIT = 5000
LINE_LIMIT = 64 << 10
_NAME_LIMIT = 255
_PATH_LIMIT = 1024
_FILE, _PROGRAM, _LINK, _MODULE = "100644", "100755", "120000", "160000"
_PROGRAMS_BELONG_IN = ("scripts/", "tools/")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a patch is refused; `line` is in what it was read from."""

    patch: Patch
    line: int
    why: str

    def __str__(self) -> str:
        name = f" <{self.patch.message_id}>" if self.patch.message_id else ""
        return f"{self.patch}{name}, line {self.line} of {self.patch.where}: {self.why}"


def validate_series(series: Series, *, allow_programs: bool = False) -> None:
    """UserError with the first objections of `objections`."""
    refuse(objections(series, allow_programs=allow_programs), "is refused before anything is applied")


def refuse(found: list[Objection], how: str) -> None:
    """UserError that lists the objections, if there is any."""
    if not found:
        return
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise UserError(
        f"the series {how}: {'; '.join(map(str, found[:_SHOWN]))}{more}",
        hint="a patch changes text files below the kernel's top directory, and nothing else",
    )


def objections(series: Series, *, allow_programs: bool = False) -> list[Objection]:
    """All that speaks against applying the series to any tree."""
    if len(series.patches) > PATCH_LIMIT:
        raise UserError(
            f"series {series.label} has {len(series.patches)} patches; {PATCH_LIMIT} is the most",
            hint="give a part of it",
        )
    found: list[Objection] = []
    links: set[str] = set()
    for patch in series.patches:
        found += _sizes(patch)
        for change in patch.files:
            whys = [*_names(change), *_kind(change, allow_programs), *_through(change, links)]
            found += [Objection(patch, change.line, why) for why in whys]
            if change.new_mode == _LINK:
                links.add(change.path)
    return found


def _sizes(patch: Patch) -> list[Objection]:
    whys: list[str] = []
    if len(patch.diff) > DIFF_LIMIT:
        whys.append(f"its diff of {len(patch.diff)} bytes is larger than {format_size(DIFF_LIMIT)}")
    if len(patch.files) > CHANGED_FILES_LIMIT:
        whys.append(f"it changes {len(patch.files)} files; {CHANGED_FILES_LIMIT} are the most")
    if max(map(len, patch.diff.split("\n"))) > LINE_LIMIT:
        whys.append(f"it has a line longer than {format_size(LINE_LIMIT)}")
    if not patch.files:
        whys.append("its diff changes no file")
    return [Objection(patch, patch.diff_line, why) for why in whys]


def _names(change: FileChange) -> list[str]:
    return [why for path in (change.path, change.old_path) if path for why in _name(path)]


def _name(path: str) -> list[str]:
    parts = path.split("/")
    if path.startswith("/"):
        return [f"{path} is an absolute path"]
    if ".." in parts:
        return [f"{path} leads out of the tree"]
    if "" in parts or "." in parts:
        return [f"{path!r} is no plain path"]
    if any(part.lower() == ".git" for part in parts):
        return [f"{path} lies in git's own directory"]
    if not path.isprintable() or "\\" in path or "\ufffd" in path:
        return [f"{path!r} has characters that no file name of the kernel has"]
    if len(path.encode()) > _PATH_LIMIT or max(len(part.encode()) for part in parts) > _NAME_LIMIT:
        return [f"{path[:60]}… is longer than a file name can be"]
    return []


def _kind(change: FileChange, allow_programs: bool) -> list[str]:
    path, mode = change.path, change.new_mode
    whys: list[str] = []
    if change.binary:
        whys.append(f"{path} is changed as binary, which cannot be read before it is applied")
    gone = change.kind is ChangeKind.DELETED
    if mode == _LINK and not gone:
        whys.append(f"{path} is made a symbolic link")
    elif mode == _MODULE or change.old_mode == _MODULE:
        whys.append(f"{path} is a git submodule")
    elif change.old_mode == _LINK and not gone:
        whys.append(f"{path} is a symbolic link that is changed")
    elif mode not in ("", _FILE, _PROGRAM, _LINK):
        whys.append(f"{path} gets the mode {mode}, which git does not know")
    elif mode == _PROGRAM != change.old_mode and not allow_programs and not path.startswith(_PROGRAMS_BELONG_IN):
        whys.append(f"{path} is made executable, outside {' and '.join(_PROGRAMS_BELONG_IN)}")
    return whys


def _through(change: FileChange, links: set[str]) -> list[str]:
    """Writes below a path that an earlier patch of the series made a link."""
    above = [path for path in _parents(change.path) if path in links]
    return [f"{change.path} is written through {above[0]}, which the series makes a symbolic link"] if above else []


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def validate_for_tree(tree: Tree, patches: tuple[Patch, ...]) -> None:
    """UserError when the patches are for another project, or would write through the tree's symbolic links."""
    found: list[Objection] = []
    made: set[str] = set()
    wanted: dict[str, bool] = {}
    for patch in patches:
        for change in patch.files:
            for path in dict.fromkeys(path for path in (change.old_path, change.path) if path):
                why = _link_on_the_way(tree.path, path)
                if why and path not in made:
                    found.append(Objection(patch, change.line, why))
            before = change.old_path or change.path
            if change.kind is not ChangeKind.ADDED and before not in made:
                wanted[before] = (tree.path / before).is_file()
            made.add(change.path)
    refuse(found, f"is refused for {tree.spec} before anything is applied")
    # A file that is only younger than the tree has a folder there; whether it applies is told elsewhere.
    known = [path for path in wanted if "/" in path and (tree.path / path).parent.is_dir()]
    if wanted and not any(wanted.values()) and 2 * len(known) < len(wanted):
        names = ", ".join(list(wanted)[:3])
        raise UserError(
            f"is this a patch against another project? Of the {len(wanted)} files that {patches[0]} and what follows "
            f"change, the tree {tree.version} has none ({names})",
            hint="look at the series and at --source; paths are taken without their first part, a/ and b/",
        )


def _link_on_the_way(root: Path, path: str) -> str:
    """Why a path of the tree cannot be written to, '' when it can."""
    at = root
    for part in path.split("/"):
        at = at / part
        try:
            mode = at.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except OSError as error:
            return f"{path} cannot be looked at: {error.strerror}"
        if stat.S_ISLNK(mode):
            name = at.relative_to(root)
            if at == root / path:
                return f"{path} is a symbolic link of the tree"
            return f"{path} lies behind the symbolic link {name}"
    return ""
