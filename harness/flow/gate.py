# SPDX-License-Identifier: GPL-2.0-only
"""The gate: every patch of a series by itself. Does it apply, read well, compile without new warnings, build?"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.checkout import data_directory
from harness.inputs.resolve import resolve
from harness.inputs.series.apply import ApplyFailed, Leave, apply_series
from harness.inputs.series.resolve import Means, resolve_series
from harness.inputs.shelf import Work
from harness.judge.gate import (
    build_check,
    checkpatch_check,
    judged,
    mail_of,
    missing_name,
    objects_check,
    provider_of,
    touched_sources,
    warnings_check,
)
from harness.kernel.build import obtain
from harness.kernel.fragments import read_profile
from harness.kernel.objects import Workshop
from harness.model.build import Build, Profile
from harness.model.errors import BuildFailed, CommandFailed, ConfigUnmet
from harness.model.gate import Compiled, Gate, GateCheck, Mark, PatchGate
from harness.model.progress import Progress
from harness.model.series import Patch, Series, SeriesSpec
from harness.model.tree import SourceSpec, Tree
from harness.proc import Deadline, run
from harness.store.files import locked
from harness.store.layout import Layout

_SECONDS = 6 * 3600.0
_CHECKPATCH_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class GateRequest:
    """What `series gate` was asked for; with `only_touched` nothing but the objects that a patch touches is built."""

    series: SeriesSpec
    source: SourceSpec
    profile: str
    only_touched: bool = False
    mirror: Path | None = None
    jobs: int | None = None


@dataclass(frozen=True, slots=True)
class _Means:
    """What all patches share."""

    base: Tree
    series: Series
    profile: Profile
    layout: Layout
    progress: Progress
    deadline: Deadline
    jobs: int | None


def gate(request: GateRequest, layout: Layout, progress: Progress) -> Gate:
    """Checks each patch in turn, up to the first that does not apply."""
    deadline = Deadline(_SECONDS)
    progress.step(f"source {request.source}")
    base = resolve(request.source, layout, deadline, progress)
    work = Work(layout, deadline, progress)
    series = resolve_series(request.series, work, Means(partial=True, mirror=request.mirror))
    profile = read_profile(request.profile, data_directory("kernel-configs"))
    means = _Means(base, series, profile, layout, progress, deadline, request.jobs)
    built = None if request.only_touched else _whole(means, base)
    shop = Workshop(base, profile, layout)
    patches: list[PatchGate] = []
    with locked(shop.lock, deadline, lambda: progress.step("waiting for another gate on the same kernel")):
        before = base
        shop.configure(base, deadline)
        for number, patch in enumerate(series.patches, 1):
            progress.step(str(patch))
            tree, applies = _apply(means, number)
            checks = [applies]
            if tree is not None:
                checks += [_checkpatch(means, tree, patch), *_touched(means, shop, before, tree, patch)]
                if built is not None and not any(check.mark is Mark.BAD for check in checks[2:]):
                    check, built = _build(means, tree, patch, built)
                    checks.append(check)
                elif built is not None:
                    checks.append(GateCheck("build", Mark.NOT_RUN, "its objects do not compile, or warn"))
            patches.append(PatchGate(patch.position, patch.total, patch.subject, patch.patch_id, tuple(checks)))
            if tree is None:
                break
            before = tree
    return judged(series, base.origin, patches)


def _whole(means: _Means, tree: Tree) -> Build:
    return obtain(tree, means.profile, means.layout, means.deadline, means.progress, means.jobs)


def _apply(means: _Means, number: int) -> tuple[Tree | None, GateCheck]:
    began = time.monotonic()
    leave = Leave(progress=means.progress)
    try:
        tree = apply_series(means.base, means.series, number, means.layout, means.deadline, leave)
    except ApplyFailed as error:
        conflict = tuple(error.report.conflict.splitlines()[:40]) if error.report is not None else ()
        return None, GateCheck("applies", Mark.BAD, error.message, conflict, time.monotonic() - began)
    return tree, GateCheck("applies", Mark.OK, seconds=time.monotonic() - began)


def _touched(means: _Means, shop: Workshop, before: Tree, tree: Tree, patch: Patch) -> tuple[GateCheck, GateCheck]:
    """The objects that the patch touches, in the tree before and in this one."""
    began = time.monotonic()
    sources = touched_sources(patch)
    there = tuple(name for name in sources if (before.path / name).is_file())
    try:
        old = _compile(means, shop, before, there)
        if any(Path(name).name.startswith("Kconfig") for name in patch.paths):
            shop.configure(tree, means.deadline)
        new = _compile(means, shop, tree, sources)
    except (BuildFailed, ConfigUnmet) as error:
        seconds = time.monotonic() - began
        undone = GateCheck("warnings", Mark.NOT_RUN, "there is no config to compile with")
        return GateCheck("objects", Mark.BAD, error.message, seconds=seconds), undone
    objects = objects_check(old, new, means.series, patch)
    return replace(objects, seconds=time.monotonic() - began), warnings_check(old, new)


def _compile(means: _Means, shop: Workshop, tree: Tree, sources: Sequence[str]) -> tuple[Compiled, ...]:
    if not sources:
        return ()
    return shop.compile(tree, sources, means.deadline)


def _build(means: _Means, tree: Tree, patch: Patch, before: Build) -> tuple[GateCheck, Build]:
    """The whole kernel; ccache makes it a matter of what changed."""
    began = time.monotonic()
    try:
        build = _whole(means, tree)
    except (BuildFailed, ConfigUnmet) as error:
        needs = provider_of(missing_name(error.message), means.series, patch)
        message = f"{error.message}{'; ' + needs if needs else ''}"
        return GateCheck("build", Mark.BAD, message, seconds=time.monotonic() - began), before
    return replace(build_check(before.warnings, build.warnings), seconds=time.monotonic() - began), build


def _checkpatch(means: _Means, tree: Tree, patch: Patch) -> GateCheck:
    began = time.monotonic()
    script = tree.path / "scripts" / "checkpatch.pl"
    if not script.is_file():
        return GateCheck("checkpatch", Mark.NOT_RUN, "the tree has no scripts/checkpatch.pl")
    with tempfile.TemporaryDirectory(prefix="ttm-") as scratch:
        mail = Path(scratch) / "patch"
        mail.write_text(mail_of(patch), "utf-8", "replace")
        argv = ("perl", str(script), f"--root={tree.path}", "--terse", "--no-summary", "--color=never", str(mail))
        try:
            said = run(argv, deadline=means.deadline.at_most(_CHECKPATCH_SECONDS), allowed=(0, 1)).output
        except CommandFailed as error:
            return GateCheck("checkpatch", Mark.NOT_RUN, f"checkpatch.pl cannot be run: {error.message}")
    return replace(checkpatch_check(said), seconds=time.monotonic() - began)
