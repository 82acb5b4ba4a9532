# SPDX-License-Identifier: GPL-2.0-only
"""A Source and k of n patches -> a Tree of its own in the store. The source's tree is never written to.

The new tree shares every file that no patch touches with the old one, as hard links, and has new files, with new
times, for the others (make goes by time). Patches are applied elsewhere, on copies (`attempt.py`); no tool ever
writes where a link could lead its writing into another tree, and a build sees the tree read-only (sandbox.py).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.inputs.series.attempt import FUZZ_LIMIT, Room, touched, try_patches
from harness.inputs.series.buildtime import build_time
from harness.inputs.series.validate import validate_for_tree, validate_series
from harness.inputs.source_cache import (
    LINUX,
    CachedSource,
    SourceEntry,
    Work,
    find,
    install,
    no_space,
    read_version,
    require_space,
)
from harness.model.errors import CommandFailed, FindingError, InfraError, UserError
from harness.model.progress import Progress
from harness.model.series import HunkReport, HunkState, Patch, PatchReport, Series
from harness.model.tree import Tree
from harness.model.units import MIB
from harness.proc import Deadline, run
from harness.store.layout import Layout
from harness.store.source_seal import require_sound

_LINKS_TAKE = 128 * MIB  # directories of a kernel, and what the patches change
_SHOWN = 3
_MERGED = ", but its result is there already (merged already?)"


class ApplyFailed(FindingError):
    """A patch does not apply; `report` tells each hunk of it, and is None when that was not the matter."""

    def __init__(self, message: str, report: PatchReport | None, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.report = report
        if report is not None and report.conflict:
            self.add_note(report.conflict)


class _Silence:
    """A Progress for callers that want none."""

    def step(self, text: str) -> None:
        pass

    def advance(self, done: int, total: int, unit: str) -> None:
        pass


@dataclass(frozen=True, slots=True)
class ApplyPolicy:
    """What is allowed: lines of fuzz (0 to FUZZ_LIMIT), programs outside scripts/ and tools/; whom to tell."""

    fuzz: int = 0
    programs: bool = False
    progress: Progress = field(default_factory=_Silence)


STRICT = ApplyPolicy()


def apply_series(
    tree: Tree, series: Series, upto: int | None, layout: Layout, deadline: Deadline, leave: ApplyPolicy = STRICT
) -> Tree:
    """The tree with the first `upto` patches (all when None; the tree itself when 0).

    UserError for a series that is refused, ApplyFailed for one that does not apply. Nobody may write to the
    tree's path: it is shared.
    """
    patches = _first(series, upto)
    if not 0 <= leave.fuzz <= FUZZ_LIMIT:
        raise UserError(f"fuzz {leave.fuzz} is not between 0 and {FUZZ_LIMIT}", hint="leave it out")
    if not patches:
        return tree
    # All of the series, also what is not applied yet: its first patch may set up what its last one exploits.
    validate_series(series, allow_programs=leave.programs)
    numbers = ", ".join(str(patch.position) for patch in patches) if series.missing else f"1 to {len(patches)}"
    spec = f"{tree.spec} + {series.label} {patches[-1].position}/{series.total}"
    origins = {
        fuzz: f"{tree.origin}, with patches {numbers} of {series.total} of {series.label}"
        f"{', not all of them without fuzz' if fuzz else ''} (series {series.id})"
        for fuzz in (False, True)
    }
    work = Work(layout, deadline, leave.progress)
    apart = apart_of(tree, series, len(patches))  # also for a tree from before this was kept
    for fuzz in (False, True) if leave.fuzz else (False,):
        if found := find(work, _place(tree, patches, fuzz), spec):
            return replace(found, origin=origins[fuzz], apart=apart)
    validate_for_tree(tree, patches)
    with tempfile.TemporaryDirectory(prefix="room.part-", dir=layout.sources) as directory:
        room = Room(Path(directory))
        room.fill(tree.path, patches)
        reports = try_patches(room, patches, leave.fuzz, deadline)
        if not reports[-1].applies:
            raise _does_not_apply(tree, patches[len(reports) - 1], reports[-1])
        fuzzy = any(report.fuzzy for report in reports)
        filler = _Filler(tree, patches, room, work)
        require_sound(filler.nearest)
        entry = SourceEntry(_place(tree, patches, fuzzy), spec, origins[fuzzy], filler.nearest, apart)
        return replace(install(work, entry, filler.fill), origin=origins[fuzzy])


def check_series(
    tree: Tree, series: Series, upto: int | None, deadline: Deadline, leave: ApplyPolicy = STRICT
) -> tuple[PatchReport, ...]:
    """How each patch fits the tree, up to the first that does not; makes no tree and leaves nothing behind."""
    patches = _first(series, upto)
    validate_series(series, allow_programs=leave.programs)
    validate_for_tree(tree, patches)
    with tempfile.TemporaryDirectory(prefix="harness-room-") as directory:
        room = Room(Path(directory))
        room.fill(tree.path, patches)
        return try_patches(room, patches, leave.fuzz, deadline)


def _first(series: Series, upto: int | None) -> tuple[Patch, ...]:
    if upto is not None and not 0 <= upto <= len(series.patches):
        raise UserError(
            f"series {series.label} has no patch {upto}", hint=f"it has {len(series.patches)}; 0 is the base"
        )
    return series.patches if upto is None else series.patches[:upto]


def apart_of(tree: Tree, series: Series, upto: int) -> tuple[str, ...]:
    """What `Tree.apart` is for the tree with so many patches of the series."""
    places = (_place(tree, series.patches[:count], False).id[:16] for count in range(1, upto + 1))
    found = zip(series.patches, places, strict=False)
    return (*tree.apart, *(place for patch, place in found if any(one.runs for one in build_time(patch))))


def _place(tree: Tree, patches: Sequence[Patch], fuzzy: bool) -> CachedSource:
    """Where the tree stands: by the base and the very text of the patches.

    Not by patch-ids alone, which do not see blanks: a Makefile does. And only by the patches that are applied,
    so that two revisions which begin alike share their first trees.
    """
    kind = "with fuzz 2" if fuzzy else "1"  # counted up where the same patches come to make another tree
    sha = hashlib.sha256(f"series tree {kind}\0{tree.id}\0{len(patches)}\0{fuzzy}".encode())
    for patch in patches:
        sha.update(f"\0{patch.patch_id}\0{len(patch.diff)}\0{patch.diff}".encode("utf-8", "replace"))
    return CachedSource("patched", sha.hexdigest())


def _does_not_apply(tree: Tree, patch: Patch, report: PatchReport) -> ApplyFailed:
    name = f" <{patch.message_id}>" if patch.message_id else ""
    message = f"{patch}{name} does not apply to {tree.version} ({tree.spec}): {_why(report, patch)}"
    if report.already:
        hint = "name an older source, or drop the patch"
    elif report.fuzzy:
        hint = "look at the place; git am refuses it, so rebase the series"
    elif _there(report):
        hint = "name an older source, or drop the patch if it was merged"
    elif report.absent:
        hint = "the tree may be older than the series: ttm-harness series base looks for the source it was made for"
    else:
        hint = "ttm-harness series base looks for the source that it was made for; or rebase the series"
    return ApplyFailed(message, report, hint=hint)


def _there(report: PatchReport) -> int:
    """Hunks whose result the tree has."""
    return sum(hunk.there for hunk in report.hunks)


def _why(report: PatchReport, patch: Patch) -> str:
    """One clause for everything that is in the way."""
    if report.already:
        return "the tree carries it already"
    parts = [f"the tree has no {path}" for path in report.absent[:_SHOWN]]
    parts += [f"the tree has {path} already, which it adds" for path in report.present[:_SHOWN]]
    absent = set(report.absent)
    failed = [hunk for hunk in report.hunks if hunk.state is HunkState.FAILED and hunk.path not in absent]
    parts += [f"{_name(hunk, patch)} finds no place{_MERGED if hunk.there else ''}" for hunk in failed[:_SHOWN]]
    if len(failed) > _SHOWN:
        parts.append(f"nor do {len(failed) - _SHOWN} others")
    if there := _there(report):
        parts.append(f"the results of {there} of its {len(report.hunks)} hunks are in the tree")
    fuzzy = [hunk for hunk in report.hunks if hunk.state is HunkState.FUZZ]
    parts += [f"{_name(hunk, patch)} fits only with fuzz {hunk.fuzz}{_offset(hunk)}" for hunk in fuzzy[:_SHOWN]]
    if len(fuzzy) > _SHOWN:
        parts.append(f"as do {len(fuzzy) - _SHOWN} others")
    good = sum(hunk.state in (HunkState.CLEAN, HunkState.OFFSET) for hunk in report.hunks)
    if parts and good:
        parts.append(f"{good} of {len(report.hunks)} hunks fit")
    return "; ".join(parts) or report.said or "git apply does not say why"


def _name(hunk: HunkReport, patch: Patch) -> str:
    return f"hunk {hunk.number} of {hunk.path} (line {hunk.line} of {patch.where})"


def _offset(hunk: HunkReport) -> str:
    return (
        f" and {abs(hunk.offset)} lines {'further down' if hunk.offset > 0 else 'further up'}" if hunk.offset else ""
    )


class _Filler:
    """Makes the new tree from the nearest one that stands, and from the room in which the patches were applied."""

    def __init__(self, tree: Tree, patches: Sequence[Patch], room: Room, work: Work) -> None:
        self._tree = tree
        self._patches = patches
        self._room = room
        self._work = work
        self.nearest = self._nearest()

    def fill(self, part: Path) -> None:
        linux = part / LINUX
        require_space(part, _LINKS_TAKE, f"a tree with {len(self._patches)} patches")
        self._link(self.nearest, linux)
        for path in touched(self._patches):
            try:
                self._transplant(linux, path)
            except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
                raise ApplyFailed(
                    f"{path} of the series does not fit the tree {self._tree.version}: it is a directory there, or "
                    "lies below a file",
                    None,
                    hint="look at --source",
                ) from error
        try:
            read_version(linux, "it")
        except UserError as error:
            raise ApplyFailed(
                f"with {len(self._patches)} patches, the last of them {self._patches[-1]}, the tree is no kernel any "
                "more: its top Makefile has lost VERSION and PATCHLEVEL",
                None,
                hint="look at what the series does to the top Makefile",
            ) from error

    def _nearest(self) -> Path:
        """The tree with the most of these patches that stands, for files that stay keep their times."""
        for count in range(len(self._patches) - 1, 0, -1):
            found = find(self._work, _place(self._tree, self._patches[:count], False), "")
            if found is not None:
                return found.path
        return self._tree.path

    def _link(self, source: Path, linux: Path) -> None:
        self._work.progress.step(f"linking a tree for {len(self._patches)} patches")
        try:
            run(("cp", "-al", "--", str(source), str(linux)), deadline=self._work.deadline, reaped=True)
        except CommandFailed as error:
            low = error.tail.lower()
            if "no space left" in low:
                raise no_space("making a tree") from error
            if "cross-device" not in low and "too many links" not in low and "not permitted" not in low:
                raise InfraError(f"cannot link {source}: {error.message}", hint="look at the disk") from error
            shutil.rmtree(linux, ignore_errors=True)
            self._copy(source, linux)

    def _copy(self, source: Path, linux: Path) -> None:
        self._work.progress.step("copying the tree, as its file system takes no more links")
        run(("cp", "-a", "--reflink=auto", "--", str(source), str(linux)), deadline=self._work.deadline, reaped=True)

    def _transplant(self, linux: Path, path: str) -> None:
        """The file as the patches left it, as a file of its own; what did not change stays linked."""
        done, target = self._room.files / path, linux / path
        if not done.is_file():
            if target.exists():
                target.unlink()
                _prune(target.parent, linux)
            return
        if target.is_dir():
            raise IsADirectoryError(path)
        program = bool(done.stat().st_mode & 0o100)
        if target.is_file():
            if bool(target.stat().st_mode & 0o100) == program and target.read_bytes() == done.read_bytes():
                return
            target.unlink()
        target.parent.mkdir(parents=True, exist_ok=True)
        # O_EXCL: never into a file that is there, which could be a link's other end
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755 if program else 0o644)
        with os.fdopen(handle, "wb") as file:
            file.write(done.read_bytes())


def _prune(directory: Path, root: Path) -> None:
    """Removes directories that became empty, as git has none."""
    while directory != root and not any(directory.iterdir()):
        directory.rmdir()
        directory = directory.parent
