# SPDX-License-Identifier: GPL-2.0-only
"""The gate: every patch of a series by itself. Does it apply, read well, compile without new warnings, build?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from os import cpu_count
from pathlib import Path

from harness.checkout import data_directory
from harness.flow.prepare import profile_of, series_of, tree_of
from harness.inputs.resolve import resolve
from harness.inputs.series.apply import ApplyFailed, ApplyPolicy, apart_of, apply_series, check_series
from harness.inputs.series.attempt import FUZZ_LIMIT
from harness.inputs.series.buildtime import build_time
from harness.inputs.series.resolve import FetchOptions, resolve_series
from harness.inputs.source_cache import Work
from harness.judge.config_variants import variants_of
from harness.judge.gate import (
    applies_check,
    build_check,
    checkpatch_check,
    coccinelle_check,
    documented_of,
    failed_build_check,
    flips_check,
    has_address,
    judged,
    kernel_doc_check,
    mail_of,
    missing_name,
    new_names,
    objects_check,
    provider_of,
    renamed,
    renamed_warnings,
    sources_of,
    unbuilt_check,
    warnings_check,
    whole_check,
    with_reach,
    without_absent,
)
from harness.judge.reach import (
    Reach,
    built_of,
    gone_of,
    headers_of,
    is_makefile,
    lost_exports,
    new_of,
    objects_in,
    objects_named,
    odd_of,
    words_of,
)
from harness.kernel.build import obtain
from harness.kernel.checkers import CheckerMissing, checkpatch, coccinelle, has_coccinelle, kernel_doc
from harness.kernel.fragments import read_profile
from harness.kernel.kconfig import parse_config
from harness.kernel.object_builder import ObjectBuilder, newest_clang
from harness.kernel.users import (
    included,
    made_of_something,
    makefiles_over,
    naming,
    users_of_header,
    users_of_symbol,
)
from harness.model.build import Build, Profile
from harness.model.errors import BuildFailed, ConfigUnmet
from harness.model.gate import Compiled, ConfigVariant, Gate, GateCheck, Mark, PatchGate
from harness.model.kernel import KernelSpec
from harness.model.progress import Progress
from harness.model.series import Patch, PatchReport, Series, SeriesSpec
from harness.model.tree import SourceSpec, Tree
from harness.proc import Deadline
from harness.store.files import locked
from harness.store.layout import Layout
from harness.trace import span

_SECONDS = 6 * 3600.0
_SMALL = ("mm", "kernel", "lib", "ipc", "init", "block")  # the Makefiles of other folders in the top reach all below
_HOST = ("scripts", "tools", "samples", "usr")  # what is built there is no object of the kernel
_USERS_LIMIT = 200  # .c files beside a patch's own that are compiled for it
_NOTHING = Compiled()


class Depth(Enum):
    """How closely to look."""

    TOUCHED = auto()  # the objects that a patch touches
    CONFIGS = auto()  # and these in other configs
    NEEDED = auto()  # and the whole kernel, where a patch touches none
    WHOLE = auto()  # all whole kernels, and other configs


@dataclass(frozen=True, slots=True)
class GateRequest:
    """What `series gate` was asked for; with `only_touched` nothing but the objects that a patch touches is built."""

    series: SeriesSpec
    source: SourceSpec
    profile: str
    only_touched: bool = False
    mirror: Path | None = None
    jobs: int | None = None
    strict: bool = False


@dataclass(frozen=True, slots=True)
class _GateContext:
    """What all patches share."""

    base: Tree
    series: Series
    profile: Profile
    builder: ObjectBuilder
    layout: Layout
    progress: Progress
    deadline: Deadline
    jobs: int | None
    depth: Depth
    strict: bool = False
    config: str = ""


@dataclass(frozen=True, slots=True)
class _Step:
    """One patch, the tree before it, the tree with it, and the files whose objects are looked at: its own, and what
    it reaches.
    """

    patch: Patch
    before: Tree
    tree: Tree
    own: tuple[str, ...]
    reach: Reach

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.own, *self.reach.sources)))

    @property
    def lone(self) -> bool:
        """Whether it takes a whole kernel to see what the patch does."""
        return not self.sources and bool(built_of(self.patch))

    @property
    def names(self) -> dict[str, str]:
        """Old name -> new name."""
        return new_names(self.patch)

    def before_of(self, files: Iterable[str]) -> tuple[str, ...]:
        """The files by the names that they have in the tree before."""
        old = {new: name for name, new in self.names.items()}
        return tuple(old.get(name, name) for name in files)

    def known(self, files: Iterable[str]) -> tuple[str, ...]:
        """Those of them that the tree before has, by the names that they have there."""
        return tuple(name for name in self.before_of(files) if (self.before.path / name).is_file())


def gate(request: GateRequest, layout: Layout, progress: Progress) -> Gate:
    """Checks each patch in turn, up to the first that does not apply."""
    deadline = Deadline(_SECONDS)
    progress.step(f"source {request.source}")
    base = resolve(request.source, layout, deadline, progress)
    work = Work(layout, deadline, progress)
    series = resolve_series(request.series, work, FetchOptions(partial=True, mirror=request.mirror))
    profile = read_profile(request.profile, data_directory("kernel-configs"))
    depth = Depth.TOUCHED if request.only_touched else Depth.WHOLE
    return gate_series(GateJob(base, series, profile, depth, request.jobs, request.strict), layout, progress)


def gate_kernel(kernel: KernelSpec, layout: Layout, progress: Progress, jobs: int | None) -> Gate:
    """The gate on a kernel's series, without what a run does itself: the builds of the kernel and its base."""
    return gate_series(gate_job(kernel, layout, progress, jobs), layout, progress)


@dataclass(frozen=True, slots=True)
class GateJob:
    """A tree, a series for it, and how closely to look."""

    base: Tree
    series: Series
    profile: Profile
    depth: Depth
    jobs: int | None
    strict: bool = False  # an ERROR of checkpatch makes a patch bad
    config: str = ""  # of the other configs only the one of that name is tried


def gate_job(kernel: KernelSpec, layout: Layout, progress: Progress, jobs: int | None) -> GateJob:
    """What there is to be done for `gate_kernel`."""
    base = tree_of(kernel.unpatched, layout, progress)
    series = series_of(kernel, layout, progress)
    return GateJob(base, series, profile_of(kernel), Depth.NEEDED, jobs)


@span("gate")
def gate_series(candidate: GateJob, layout: Layout, progress: Progress) -> Gate:
    """The gate on a tree and a series that are there already."""
    deadline = Deadline(_SECONDS)
    base, series, depth = candidate.base, candidate.series, candidate.depth
    jobs = candidate.jobs
    apart = apart_of(base, series, len(series.patches))
    builder = ObjectBuilder(base, candidate.profile, layout, jobs or cpu_count() or 1, _touched(series), apart)
    context = _GateContext(
        base,
        series,
        candidate.profile,
        builder,
        layout,
        progress,
        deadline,
        jobs,
        depth,
        candidate.strict,
        candidate.config,
    )
    policy = ApplyPolicy(fuzz=FUZZ_LIMIT, progress=progress)
    reports = check_series(base, series, None, deadline, policy)
    built = _whole(context, base) if depth is Depth.WHOLE else None
    patches: list[PatchGate] = []
    before = base
    with locked(builder.lock, deadline, lambda: progress.step("waiting for another gate on the same kernel")):
        with span("configure for the gate"):
            builder.configure(base, deadline)
        for number, (patch, report) in enumerate(zip(series.patches, reports, strict=False), 1):
            progress.step(str(patch))
            try:
                tree = apply_series(base, series, number, layout, deadline, policy)
            except ApplyFailed as error:
                patches.append(_gated(patch, [_refused(error)]))
                break
            sources = tuple(name for name in sources_of(patch, series) if (tree.path / name).is_file())
            step = _Step(patch, before, tree, sources, _reach(context, patch, tree, sources))
            with span(f"gate {number} of {len(series.patches)}"):
                checks, built = _checks(context, step, built)
            checks.insert(0, applies_check(report))
            patches.append(_gated(patch, checks))
            before = tree
    return judged(series, base.origin, patches)


def _reach(context: _GateContext, patch: Patch, tree: Tree, own: tuple[str, ...]) -> Reach:
    """What a patch touches beside its own .c files; nothing where the whole kernel is built anyway."""
    if context.depth is Depth.WHOLE or (context.depth is Depth.NEEDED and not own):
        return Reach()
    root = tree.path
    broken = [
        f"{makefile} still builds {name.rpartition('/')[2].removesuffix('.c')}.o, whose source the patch takes away"
        for name in gone_of(patch)
        if name.endswith(".c") and not made_of_something(root, name) and (makefile := naming(root, name))
    ]
    untold = [
        f"no Makefile builds {name}: it was compiled alone"
        for name in new_of(patch)
        if makefiles_over(root, name) and not naming(root, name) and not included(root, name)
    ]
    sources: list[str] = []
    for makefile in filter(is_makefile, patch.paths):
        _add_objects(patch, makefile, root, sources, untold)
    for header in headers_of(patch):
        _add_users(patch, header, tree, context.deadline, sources, untold)
    for name in lost_exports(patch):
        users = [one for one in users_of_symbol(tree, name, context.deadline) if one not in patch.paths]
        if users:
            untold.append(f"{name} is exported no more, and {users[0]} names it: only the whole build tells")
    more = [one for one in dict.fromkeys(sources) if one not in own]
    if len(more) > _USERS_LIMIT:
        untold.append(f"of {len(more)} other files that it reaches only {_USERS_LIMIT} were compiled")
    untold += [f"{name} has no object of its own: only the whole build tells" for name in odd_of(patch)]
    # Of a run's patches the last one is built whole, so what objects do not tell comes out there.
    told = context.depth not in (Depth.TOUCHED, Depth.CONFIGS)
    return Reach(tuple(more[:_USERS_LIMIT]), tuple(broken), () if told else tuple(untold))


def _add_objects(patch: Patch, makefile: str, root: Path, sources: list[str], untold: list[str]) -> None:
    """The objects of a Makefile that the patch changes."""
    folder = makefile.rpartition("/")[0]
    if folder.startswith(_HOST) or (
        folder.count("/") < (2 if folder.startswith("arch/") else 1) and folder not in _SMALL
    ):
        untold.append(f"{makefile} reaches more than single objects: only the whole build tells")
        return
    if not (root / makefile).is_file():
        return
    named = objects_named(patch, makefile)
    if named is None:
        named = objects_in((root / makefile).read_text("utf-8", "replace"))
    files = (f"{folder}/{name.removesuffix('.o')}.c" for name in named)
    sources += [name for name in files if (root / name).is_file()]


def _add_users(
    patch: Patch, header: str, tree: Tree, deadline: Deadline, sources: list[str], untold: list[str]
) -> None:
    """The .c files that include a header which the patch changes and name something of what it changes there."""
    users = users_of_header(tree, header, words_of(patch, header), deadline)
    if users is None:
        untold.append(f"{header} is included by too much to compile: only the whole build tells")
        return
    near = header.rpartition("/")[0]
    sources += sorted(users, key=lambda name: (not name.startswith(f"{near}/"), name))


def _touched(series: Series) -> set[str]:
    return {path for patch in series.patches for path in patch.paths}


def _gated(patch: Patch, checks: Sequence[GateCheck]) -> PatchGate:
    return PatchGate(patch.position, patch.total, patch.subject, patch.patch_id, tuple(checks), build_time(patch))


def _refused(error: ApplyFailed) -> GateCheck:
    report: PatchReport | None = error.report
    conflict = tuple(report.conflict.splitlines()[:40]) if report is not None else ()
    return GateCheck("applies", Mark.BAD, error.message, conflict)


def _checks(context: _GateContext, step: _Step, built: Build | None) -> tuple[list[GateCheck], Build | None]:
    """All checks of a patch that applies, and the kernel that was built last: `built`, or one with this patch."""
    checks = [_timed(lambda: _checkpatch(context, step)), _timed(lambda: _kernel_doc(context, step))]
    if step.own and has_coccinelle(context.base):
        checks.append(_timed(lambda: _coccinelle(context, step)))
    began = time.monotonic()
    refused = _configure(context, step)
    if refused is not None:
        unconfigured = GateCheck("warnings", Mark.NOT_RUN, "there is no config to compile with")
        return [*checks, replace(refused, seconds=time.monotonic() - began), unconfigured], built
    if step.lone:
        more, built = _lone(context, step, built)
        return [*checks, *more], built
    before, after = _compile(context, step)
    after = after or _NOTHING
    objects = with_reach(objects_check(before, after, context.series, step.patch), step.reach)
    checks += [replace(objects, seconds=time.monotonic() - began), warnings_check(before, after)]
    if context.depth not in (Depth.WHOLE, Depth.CONFIGS):
        return checks, built
    if objects.mark is Mark.OK:
        checks.append(_timed(lambda: _config_variants(context, step)))
    else:
        checks.append(GateCheck("configs", Mark.NOT_RUN, "the objects do not compile in the profile's own config"))
    if context.depth is Depth.CONFIGS:
        return checks, built
    if objects.mark is Mark.BAD:
        return [*checks, GateCheck("build", Mark.NOT_RUN, "its objects do not compile")], built
    build, built = _build(context, step, built)
    return [*checks, build], built


def _lone(context: _GateContext, step: _Step, built: Build | None) -> tuple[list[GateCheck], Build | None]:
    """The checks of objects and build for a patch that has no objects of its own: the whole kernel's."""
    if context.depth in (Depth.TOUCHED, Depth.CONFIGS):
        return [with_reach(unbuilt_check(built_of(step.patch)), step.reach)], built
    build, built = _build(context, step, built)
    made = built is not None and built.tree.id == step.tree.id
    return [whole_check(build, made), *([build] if made else [])], built


def _configure(context: _GateContext, step: _Step) -> GateCheck | None:
    """Makes the config anew where the patch may change it; the objects check of a patch that leaves none."""
    if not any(Path(name).name.startswith("Kconfig") for name in step.patch.paths):
        return None
    try:
        context.builder.configure(step.tree, context.deadline)
    except (BuildFailed, ConfigUnmet) as error:
        try:
            context.builder.configure(step.before, context.deadline)
        except (BuildFailed, ConfigUnmet):
            return GateCheck(
                "objects", Mark.NOT_RUN, f"there was no config before this patch either: {error.message}"
            )
        return GateCheck("objects", Mark.BAD, error.message)
    return None


def _timed(check: Callable[[], GateCheck]) -> GateCheck:
    began = time.monotonic()
    return replace(check(), seconds=time.monotonic() - began)


def _checkpatch(context: _GateContext, step: _Step) -> GateCheck:
    try:
        said = checkpatch(context.base, mail_of(step.patch), has_address(step.patch), context.deadline)
    except CheckerMissing as error:
        return GateCheck("checkpatch", Mark.NOT_RUN, str(error))
    return checkpatch_check(said, strict=context.strict)


def _kernel_doc(context: _GateContext, step: _Step) -> GateCheck:
    files = documented_of(step.patch)
    old = step.known(files)
    try:
        after = kernel_doc(context.base, step.tree, files, context.deadline) if files else ""
        before = kernel_doc(context.base, step.before, old, context.deadline) if old and after else ""
    except CheckerMissing as error:
        return GateCheck("kernel-doc", Mark.NOT_RUN, str(error))
    return kernel_doc_check(before, after, step.names)


def _coccinelle(context: _GateContext, step: _Step) -> GateCheck:
    old = step.known(step.own)
    try:
        after = coccinelle(context.base, step.tree, step.own, context.deadline)
        before = coccinelle(context.base, step.before, old, context.deadline) if old and after.strip() else ""
    except CheckerMissing as error:
        return GateCheck("coccinelle", Mark.WARN, str(error))
    return coccinelle_check(before, after, step.names)


def _compile(
    context: _GateContext, step: _Step, variant: ConfigVariant | None = None
) -> tuple[Compiled, Compiled | None]:
    """The objects before the patch and with it. What is clean with it needs no look at what was before; what is
    broken does, also when it is new: what broke it may be older.
    """
    if not step.sources:
        return _NOTHING, _NOTHING
    after = context.builder.compile(step.tree, step.sources, context.deadline, variant)
    after = without_absent(after, step.own) if after is not None else None
    if after is None or after.clean:
        return _NOTHING, after
    names = step.before_of(step.sources) if after.errors else step.known(step.sources)
    before = context.builder.compile(step.before, names, context.deadline, variant) if names else None
    return renamed(before or _NOTHING, step.names), after


def _config_variants(context: _GateContext, step: _Step) -> GateCheck:
    """The objects in every config that the patch asks for."""
    if not step.sources:
        return GateCheck("configs", Mark.OK, "no .c file is touched")
    folders = dict.fromkeys((step.tree.path / name).parent for name in step.sources)
    makefiles = [file.read_text("utf-8", "replace") for one in folders if (file := one / "Makefile").is_file()]
    tried = []
    for variant in variants_of(step.patch, parse_config(context.builder.config), makefiles, newest_clang()):
        if context.config and variant.name != context.config:
            continue
        before, after = _compile(context, step, variant)
        tried.append((variant.name, after, before))
    return flips_check(tried)


def _build(context: _GateContext, step: _Step, built: Build | None) -> tuple[GateCheck, Build | None]:
    """The whole kernel with its modules, up to modpost; it begins with the objects of one that is nearly the same."""
    began = time.monotonic()
    before = _built_before(context, step, built)
    try:
        build = _whole(context, step.tree)
    except (BuildFailed, ConfigUnmet) as error:
        needs = provider_of(missing_name(error.message), context.series, step.patch)
        check = failed_build_check(f"{error.message}{'; ' + needs if needs else ''}", before is not None)
        return replace(check, seconds=time.monotonic() - began), built
    last = before or built or build  # where the kernel before does not build, one without some patches more
    check = build_check(renamed_warnings(last.warnings, step.names), build.warnings)
    return replace(check, seconds=time.monotonic() - began), build


def _built_before(context: _GateContext, step: _Step, built: Build | None) -> Build | None:
    """The kernel without the patch; None where it does not build."""
    if built is not None and built.tree.id == step.before.id:
        return built
    if context.depth is Depth.WHOLE:
        return None  # it was tried
    try:
        return _whole(context, step.before)
    except (BuildFailed, ConfigUnmet):
        return None


def _whole(context: _GateContext, tree: Tree) -> Build:
    return obtain(tree, context.profile, context.layout, context.deadline, context.progress, context.jobs)
