# SPDX-License-Identifier: GPL-2.0-only
"""`run --presubmit`: the functions that a series or a dirty tree changes -> the few cases to run first."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.flow.control_map import kept_maps
from harness.flow.controls import control_set, files_of, read_controls
from harness.flow.landing import definitions_changed
from harness.flow.prepare import series_of, tree_of
from harness.inputs.git import git
from harness.judge.presubmit import choose
from harness.model.errors import CommandFailed, UserError
from harness.model.kernel import KernelSpec
from harness.model.presubmit import ControlMap, ControlSight, Presubmit
from harness.model.progress import Progress
from harness.model.tree import SourceKind
from harness.proc import Deadline
from harness.store.layout import Layout
from harness.suites.registry import suite_named

_GIT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class _Edited:
    """A C file of the tree, without and with the change."""

    path: str
    before: str
    after: str


def presubmit_of(kernel: KernelSpec, budget: float, layout: Layout, progress: Progress) -> Presubmit:
    """The cases that are to tell first of what the kernel's series changes, or what is not committed in its source.

    UserError where nothing says what is changed, and where no case fits into the budget of so many seconds.
    """
    files = list(_of_series(kernel, layout, progress) if kernel.series is not None else _of_dirty(kernel))
    changed = frozenset(name for one in files for name in definitions_changed(one.before, one.after))
    maps = tuple(map(_with_unseen, _near(kept_maps(), {posixpath.dirname(one.path) for one in files})))
    found = choose(maps, _seconds(maps), changed, budget)
    if not found.chosen:
        raise UserError(f"no case that ever caught a control fits into {budget:g} s", hint="a larger --budget")
    return found


def cases_of(found: Presubmit) -> Mapping[str, tuple[str, ...]]:
    """The chosen cases by their suites, as --case takes them."""
    suites: dict[str, list[str]] = {}
    for one in found.chosen:
        suite, _, case = one.partition(":")
        suites.setdefault(suite, []).append(case.partition(".")[2])
    return {suite: tuple(cases) for suite, cases in suites.items()}


def _near(maps: tuple[ControlMap, ...], folders: Collection[str]) -> tuple[ControlMap, ...]:
    """The maps whose controls are in these folders of the tree; all of them where none is."""
    near = []
    for one in maps:
        controls = read_controls(control_set(suite_named(one.suite)).folder)
        if any(posixpath.dirname(path) in folders for control in controls for path in files_of(control)):
            near.append(one)
    return tuple(near) or maps


def _with_unseen(told: ControlMap) -> ControlMap:
    """With the controls of which the map does not tell that they were ever caught: they count, too."""
    seen = {one.control for one in told.controls}
    unseen = (
        ControlSight(one.name, one.functions, ())
        for one in read_controls(control_set(suite_named(told.suite)).folder)
        if not one.neutral and one.name not in seen
    )
    return replace(told, controls=(*told.controls, *unseen))


def _seconds(maps: tuple[ControlMap, ...]) -> dict[str, dict[str, float]]:
    """What the lists of the suites say that each case takes."""
    found = {}
    for suite in (suite_named(one.suite) for one in maps):
        cases = suite.manifest.cases if suite.manifest is not None else ()
        found[suite.name] = {one.name: one.seconds for one in cases}
    return found


def _of_series(kernel: KernelSpec, layout: Layout, progress: Progress) -> Iterator[_Edited]:
    """What the patches name: two trees of 96,000 files need not be compared for it."""
    before, after = tree_of(kernel.unpatched, layout, progress).path, tree_of(kernel, layout, progress).path
    patches = series_of(kernel, layout, progress).patches[: kernel.upto]
    for path in sorted({path for patch in patches for path in patch.paths}):
        if path.endswith((".c", ".h")):
            yield _Edited(path, _text(before / path), _text(after / path))


def _of_dirty(kernel: KernelSpec) -> Iterator[_Edited]:
    """What differs from the last commit in a directory, new files, too."""
    source = kernel.source
    root = Path(source.where).expanduser()
    if source.kind is not SourceKind.DIRECTORY:
        raise UserError(
            f"nothing says what is changed in {source}: --presubmit looks at that",
            hint="--series, or --source with a git checkout in which something is not committed",
        )
    try:
        deadline = Deadline(_GIT_SECONDS)
        differ = git(root, "diff", "--no-ext-diff", "--name-only", "--relative", "-z", "HEAD", deadline=deadline)
        new = git(root, "ls-files", "--others", "--exclude-standard", "-z", deadline=deadline)
        names = [name for name in f"{differ}{new}".replace("\n", "").split("\0") if name]
        if not names:
            raise UserError(
                f"nothing in {root} differs from its last commit, so there is nothing to answer first",
                hint="--series, or the whole without --presubmit",
            )
        for name in names:
            if name.endswith((".c", ".h")):
                there = git(root, "ls-tree", "--name-only", "HEAD", "--", name, deadline=deadline).strip()
                before = git(root, "show", f"HEAD:./{name}", deadline=deadline) if there else ""
                yield _Edited(name, before, _text(root / name))
    except CommandFailed as error:
        raise UserError(f"{root} is no git checkout, so nothing says what is changed", hint="--series") from error


def _text(path: Path) -> str:
    return path.read_text("utf-8", "surrogateescape") if path.is_file() else ""
