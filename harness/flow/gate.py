# SPDX-License-Identifier: GPL-2.0-only
"""The gate: every patch of a series by itself. Does it apply, read well, compile without new warnings, build?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from os import cpu_count
from pathlib import Path

from harness.checkout import data_directory
from harness.flow.prepare import Request, profile_of, series_of, tree_of
from harness.inputs.resolve import resolve
from harness.inputs.series.apply import ApplyFailed, Leave, apply_series, check_series
from harness.inputs.series.attempt import FUZZ_LIMIT
from harness.inputs.series.resolve import Means, resolve_series
from harness.inputs.shelf import Work
from harness.judge.flips import flips_of
from harness.judge.gate import (
    applies_check,
    build_check,
    checkpatch_check,
    documented_of,
    flips_check,
    has_address,
    judged,
    kernel_doc_check,
    mail_of,
    missing_name,
    objects_check,
    provider_of,
    sources_of,
    warnings_check,
)
from harness.kernel.build import obtain
from harness.kernel.checkers import CheckerMissing, checkpatch, kernel_doc
from harness.kernel.fragments import read_profile
from harness.kernel.kconfig import parse_config
from harness.kernel.objects import Workshop
from harness.model.build import Build, Profile
from harness.model.errors import BuildFailed, ConfigUnmet
from harness.model.gate import Compiled, Flip, Gate, GateCheck, Mark, PatchGate
from harness.model.progress import Progress
from harness.model.series import Patch, PatchReport, Series, SeriesSpec
from harness.model.tree import SourceSpec, Tree
from harness.proc import Deadline, find_tool
from harness.store.files import locked
from harness.store.layout import Layout

_SECONDS = 6 * 3600.0
_NOTHING = Compiled()


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
    shop: Workshop
    layout: Layout
    progress: Progress
    deadline: Deadline
    jobs: int | None
    whole: bool  # builds, and other configs


@dataclass(frozen=True, slots=True)
class _Step:
    """One patch, the tree before it, the tree with it, and the files whose objects are looked at."""

    patch: Patch
    before: Tree
    tree: Tree
    sources: tuple[str, ...]

    @property
    def known(self) -> tuple[str, ...]:
        """Those that the tree before has, too."""
        return tuple(name for name in self.sources if (self.before.path / name).is_file())


def gate(request: GateRequest, layout: Layout, progress: Progress) -> Gate:
    """Checks each patch in turn, up to the first that does not apply."""
    deadline = Deadline(_SECONDS)
    progress.step(f"source {request.source}")
    base = resolve(request.source, layout, deadline, progress)
    work = Work(layout, deadline, progress)
    series = resolve_series(request.series, work, Means(partial=True, mirror=request.mirror))
    profile = read_profile(request.profile, data_directory("kernel-configs"))
    return gate_series(_Candidate(base, series, profile, not request.only_touched, request.jobs), layout, progress)


def gate_request(request: Request, layout: Layout, progress: Progress) -> Gate:
    """The gate for a run with a series, without what the run does itself: the builds of base and tip."""
    base = tree_of(replace(request, series=None), layout, progress)
    series = series_of(request, layout, progress)
    return gate_series(_Candidate(base, series, profile_of(request), False, request.jobs), layout, progress)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A tree, a series for it, and how closely to look; `whole` builds, and tries other configs."""

    base: Tree
    series: Series
    profile: Profile
    whole: bool
    jobs: int | None


def gate_series(candidate: _Candidate, layout: Layout, progress: Progress) -> Gate:
    """The gate on a tree and a series that are there already."""
    deadline = Deadline(_SECONDS)
    base, series, whole = candidate.base, candidate.series, candidate.whole
    shop = Workshop(base, candidate.profile, layout, candidate.jobs or cpu_count() or 1, _touched(series))
    means = _Means(base, series, candidate.profile, shop, layout, progress, deadline, candidate.jobs, whole)
    leave = Leave(fuzz=FUZZ_LIMIT, progress=progress)
    reports = check_series(base, series, None, deadline, leave)
    built = _whole(means, base) if whole else None
    patches: list[PatchGate] = []
    before = base
    with locked(shop.lock, deadline, lambda: progress.step("waiting for another gate on the same kernel")):
        shop.configure(base, deadline)
        for number, (patch, report) in enumerate(zip(series.patches, reports, strict=False), 1):
            progress.step(str(patch))
            try:
                tree = apply_series(base, series, number, layout, deadline, leave)
            except ApplyFailed as error:
                patches.append(_gated(patch, [_refused(error)]))
                break
            sources = tuple(name for name in sources_of(patch, series) if (tree.path / name).is_file())
            step = _Step(patch, before, tree, sources)
            checks = [applies_check(report), *_checks(means, step)]
            if built is not None:
                check, built = _build(means, step, built, checks)
                checks.append(check)
            patches.append(_gated(patch, checks))
            before = tree
    return judged(series, base.origin, patches)


def _touched(series: Series) -> set[str]:
    return {path for patch in series.patches for path in patch.paths}


def _gated(patch: Patch, checks: Sequence[GateCheck]) -> PatchGate:
    return PatchGate(patch.position, patch.total, patch.subject, patch.patch_id, tuple(checks))


def _refused(error: ApplyFailed) -> GateCheck:
    report: PatchReport | None = error.report
    conflict = tuple(report.conflict.splitlines()[:40]) if report is not None else ()
    return GateCheck("applies", Mark.BAD, error.message, conflict)


def _checks(means: _Means, step: _Step) -> list[GateCheck]:
    """All checks but the whole build."""
    checks = [_timed(lambda: _checkpatch(means, step)), _timed(lambda: _kernel_doc(means, step))]
    began = time.monotonic()
    try:
        if any(Path(name).name.startswith("Kconfig") for name in step.patch.paths):
            means.shop.configure(step.tree, means.deadline)
        before, after = _compile(means, step)
    except (BuildFailed, ConfigUnmet) as error:
        bad = GateCheck("objects", Mark.BAD, error.message, seconds=time.monotonic() - began)
        return [*checks, bad, GateCheck("warnings", Mark.NOT_RUN, "there is no config to compile with")]
    after = after or _NOTHING
    objects = objects_check(before, after, means.series, step.patch)
    checks.append(replace(objects, seconds=time.monotonic() - began))
    checks.append(warnings_check(before, after))
    if means.whole and objects.mark is Mark.OK:
        checks.append(_timed(lambda: _flips(means, step)))
    elif means.whole:
        checks.append(GateCheck("configs", Mark.NOT_RUN, "the objects do not compile in the profile's own config"))
    return checks


def _timed(check: Callable[[], GateCheck]) -> GateCheck:
    began = time.monotonic()
    return replace(check(), seconds=time.monotonic() - began)


def _checkpatch(means: _Means, step: _Step) -> GateCheck:
    try:
        said = checkpatch(means.base, mail_of(step.patch), has_address(step.patch), means.deadline)
    except CheckerMissing as error:
        return GateCheck("checkpatch", Mark.NOT_RUN, str(error))
    return checkpatch_check(said)


def _kernel_doc(means: _Means, step: _Step) -> GateCheck:
    files = documented_of(step.patch)
    old = [name for name in files if (step.before.path / name).is_file()]
    try:
        after = kernel_doc(means.base, step.tree, files, means.deadline) if files else ""
        before = kernel_doc(means.base, step.before, old, means.deadline) if old and after else ""
    except CheckerMissing as error:
        return GateCheck("kernel-doc", Mark.NOT_RUN, str(error))
    return kernel_doc_check(before, after)


def _compile(means: _Means, step: _Step, flip: Flip | None = None) -> tuple[Compiled, Compiled | None]:
    """The objects before the patch and with it. What is clean with it needs no look at what was before."""
    if not step.sources:
        return _NOTHING, _NOTHING
    after = means.shop.compile(step.tree, step.sources, means.deadline, flip)
    if after is None or after.clean or not step.known:
        return _NOTHING, after
    before = means.shop.compile(step.before, step.known, means.deadline, flip)
    return before or _NOTHING, after


def _flips(means: _Means, step: _Step) -> GateCheck:
    """The objects in every config that the patch asks for."""
    if not step.sources:
        return GateCheck("configs", Mark.OK, "no .c file is touched")
    folders = dict.fromkeys((step.tree.path / name).parent for name in step.sources)
    makefiles = [file.read_text("utf-8", "replace") for one in folders if (file := one / "Makefile").is_file()]
    tried = []
    for flip in flips_of(step.patch, parse_config(means.shop.config), makefiles, find_tool("clang") is not None):
        before, after = _compile(means, step, flip)
        tried.append((flip.name, after, before))
    return flips_check(tried)


def _build(means: _Means, step: _Step, before: Build, checks: Sequence[GateCheck]) -> tuple[GateCheck, Build]:
    """The whole kernel with its modules, up to modpost; ccache makes it a matter of what changed."""
    if any(check.name == "objects" and check.mark is Mark.BAD for check in checks):
        return GateCheck("build", Mark.NOT_RUN, "its objects do not compile"), before
    began = time.monotonic()
    try:
        build = _whole(means, step.tree)
    except (BuildFailed, ConfigUnmet) as error:
        needs = provider_of(missing_name(error.message), means.series, step.patch)
        message = f"{error.message}{'; ' + needs if needs else ''}"
        return GateCheck("build", Mark.BAD, message, seconds=time.monotonic() - began), before
    return replace(build_check(before.warnings, build.warnings), seconds=time.monotonic() - began), build


def _whole(means: _Means, tree: Tree) -> Build:
    return obtain(tree, means.profile, means.layout, means.deadline, means.progress, means.jobs)
