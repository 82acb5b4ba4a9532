# SPDX-License-Identifier: GPL-2.0-only
"""Everything before the first boot: source -> tree -> build -> root, modules, accelerator."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from harness.checkout import data_directory
from harness.flow.boots import job_text, shares_of
from harness.guest import accel
from harness.guest.argv import Launch
from harness.guest.boot import boot
from harness.guest.liveness import BootLimits
from harness.guest.root import RootFile, guest_root
from harness.inputs.igt import kept_igt
from harness.inputs.resolve import resolve
from harness.inputs.roots import obtain_root, require_usable
from harness.inputs.series.apply import ApplyPolicy, apply_series
from harness.inputs.series.attempt import FUZZ_LIMIT
from harness.inputs.series.resolve import FetchOptions, resolve_series
from harness.inputs.source_cache import Work
from harness.kernel.build import kept_build, obtain
from harness.kernel.fragments import compose, parse_fragment, read_profile
from harness.kernel.module import build_module
from harness.kernel.overlay import build_overlay
from harness.kernel.selftests import build_selftests
from harness.model.build import Build, Fragment, Profile
from harness.model.cell import Cell
from harness.model.errors import InfraError, ModuleFailed, SuiteUnfit, UserError
from harness.model.features import features_of
from harness.model.kernel import KernelSpec, PreparedKernel
from harness.model.machine import Accel, Machine, Swap
from harness.model.progress import Progress
from harness.model.result import LeftOut, Stage
from harness.model.root import PreparedRoot, RootSpec
from harness.model.series import Series
from harness.model.suite import Suite
from harness.model.toml import NEVER
from harness.model.tree import Tree
from harness.proc import Deadline
from harness.store.files import mark_used, read_regular, sweep_leftovers
from harness.store.layout import Layout
from harness.store.scratch import scratch_directory, sweep_scratch
from harness.suites.registry import registry
from harness.trace import span

_SOURCE_SECONDS = 1800.0
_BUILD_SECONDS = 4 * 3600.0
# All suites' modules. xe whole, 579 files, took more than 600 s beside three guests on two cores.
_MODULE_SECONDS = 3600.0
_ROOT_SECONDS = 120.0
_OTHER_ROOT_SECONDS = 1800.0
_LARGEST_FRAGMENT = 4 << 20


class Builder(Protocol):
    """Who may make a kernel on another host."""

    def build(self, tree: Tree, profile: Profile, progress: Progress) -> None:
        """Puts the build, with its objects, into the store, unless it is there or no other host can make it."""


class Stopwatch:
    """Collects how long the stages took."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self._began = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.stages.append(Stage(name, now - self._began))
        self._began = now


def prepare(
    wanted: KernelSpec,
    suites: Mapping[Suite, bool],
    layout: Layout,
    progress: Progress,
    watch: Stopwatch,
    jobs: int | None = None,
    builder: Builder | None = None,
) -> PreparedKernel:
    """Finds or makes a kernel and the modules that its suites bring along. Where there is a `builder`, it is asked
    for the kernel first.

    A suite maps to whether it is left out where this kernel cannot have it; else that ends the command. The user's
    mistakes come first, before the long work. `jobs`: processes of make at a time, by default one a core.
    """
    for suite in suites:
        if suite.wants_igt:
            kept_igt(wanted.igt, suite.name, layout)
    for place in (layout.sources, layout.builds, layout.objects, layout.roots):
        sweep_leftovers(place)
    sweep_scratch(layout)
    build = kept_build(wanted.build, layout) if wanted.build else None
    if build is None:
        build = _made_of(wanted, layout, progress, watch, jobs, builder)
    elif layout.sources in build.tree.path.parents:
        mark_used(build.tree.path.parent)
    slowness = read_profile(wanted.profile, data_directory("kernel-configs")).slowness
    _require_symbols(suites, build)
    modules, left_out = {}, []
    for suite, may_lack in suites.items():
        try:
            with span(f"modules of {suite.name}"):
                made = own_modules(suite, build, layout, progress, wanted.igt)
        except (SuiteUnfit, ModuleFailed) as error:
            if not may_lack:
                raise
            too_old = isinstance(error, SuiteUnfit) and error.too_old
            left_out.append(LeftOut(suite.name, build.tree.version, build.id, error.message, counts=not too_old))
            progress.step(f"without the suite {suite.name}: {error.message}")
            continue
        if made is not None:
            modules[suite.name] = made
    watch.lap("modules")
    return PreparedKernel(build, modules, slowness, tuple(left_out))


def _made_of(
    wanted: KernelSpec,
    layout: Layout,
    progress: Progress,
    watch: Stopwatch,
    jobs: int | None = None,
    builder: Builder | None = None,
) -> Build:
    profile = profile_of(wanted)
    tree = tree_of(wanted, layout, progress)
    if layout.sources in tree.path.parents:
        mark_used(tree.path.parent)
    watch.lap("source")
    progress.step(f"kernel {tree.version}, profile {profile.name}")
    if builder is not None:
        builder.build(tree, profile, progress)
    build = obtain(tree, profile, layout, Deadline(_BUILD_SECONDS), progress, jobs)
    watch.lap("build")
    return build


@span("root of the guest")
def prepare_root(layout: Layout, progress: Progress, watch: Stopwatch) -> Path:
    """Finds or makes the root of every guest."""
    root = guest_root(layout, parts_of_root(), Deadline(_ROOT_SECONDS), progress)
    mark_used(root)
    watch.lap("root")
    return root


def prepare_other(
    spec: RootSpec, root: Path, layout: Layout, progress: Progress, watch: Stopwatch
) -> PreparedRoot | None:
    """Finds or makes the root that commands or suites are to run in; None where that is `root`, the guest's own.

    UserError for one in which nothing could run.
    """
    if spec.is_busybox:
        return None
    sweep_leftovers(layout.roots)
    other = obtain_root(spec, Work(layout, Deadline(_OTHER_ROOT_SECONDS), progress))
    require_usable(other, root / "bin" / "busybox")
    watch.lap(f"root {spec}")
    return other


def settle_accel(
    asked: Accel, kernel: PreparedKernel, root: Path, layout: Layout, progress: Progress, watch: Stopwatch
) -> Accel:
    """What guests run on when that is asked for. Whether KVM works is tried by a boot of the kernel, once a host."""
    settled = accel.settle(asked, layout, lambda: _probe_kvm(kernel.build, root, layout, progress))
    watch.lap("accelerator")
    return settled


def parts_of_root() -> tuple[RootFile, ...]:
    """What the subjects put into the guest's root: runners of suites, and programs."""
    known = registry()
    runners = {suite.script: suite.runner for suite in known.suites.values() if suite.runner is not None}
    tools = [path for subject in known.subjects.values() for path in subject.tools]
    return (
        *(RootFile(name, path) for name, path in sorted(runners.items())),
        *(RootFile(one.name, one) for one in tools),
    )


def own_modules(suite: Suite, build: Build, layout: Layout, progress: Progress, igt: str = "") -> Path | None:
    """The directory with the modules, or the programs, that the suite brings along. `igt` is the id of the user's."""
    _require_feature(suite, build.tree)
    deadline = Deadline(_MODULE_SECONDS)
    if suite.needs_module is not None:
        return build_module(build, suite.needs_module, layout, deadline, progress)
    if suite.needs_overlay is not None:
        return build_overlay(build, suite.needs_overlay, layout, deadline, progress=progress)
    if suite.selftests:
        return build_selftests(build, suite.selftests, layout, deadline, progress)
    if suite.wants_igt:
        return kept_igt(igt, suite.name, layout)
    return None


def too_old_for(suites: Iterable[Suite], tree: Tree, build_id: str) -> Iterator[LeftOut]:
    """The suites that are about what this tree has not got (yet, or any more)."""
    for suite in suites:
        try:
            _require_feature(suite, tree)
        except SuiteUnfit as error:
            yield LeftOut(suite.name, tree.version, build_id, error.message, counts=not error.too_old)


def _require_feature(suite: Suite, tree: Tree) -> None:
    if suite.about is None:
        return
    found = features_of(tree, (suite.about,))
    if suite.about.define in found.names:
        return
    what = f"without {suite.about.commit or suite.about.define}"
    since = ".".join(map(str, suite.about.since)) if suite.about.since < NEVER else ""
    if found.missing:  # not too old by its version: who calls that nothing to test may be wrong
        raise SuiteUnfit(
            f"Linux {tree.version} is {what}, which {since} and later have: {suite.name} has nothing to test there",
            hint=f"is {suite.about.words!r} in {suite.about.file} still what tells it? (features.toml)",
        )
    raise SuiteUnfit(
        f"Linux {tree.version} is too old for {suite.name}: it is {what}",
        too_old=True,
        hint=f"a source of {since} or later has it" if since else None,
    )


def tree_of(wanted: KernelSpec, layout: Layout, progress: Progress, *, fetches: bool = True) -> Tree:
    """The source with the series, fetched (where `fetches`) unless the store has it."""
    progress.step(f"source {wanted.source}")
    with span(f"source {wanted.source}"):
        tree = resolve(wanted.source, layout, Deadline(_SOURCE_SECONDS), progress, fetches=fetches)
    if wanted.series is None:
        return tree
    with span(f"series {wanted.series}"):
        series = series_of(wanted, layout, progress, fetches=fetches)
    count = len(series.patches) if wanted.upto is None else wanted.upto
    progress.step(f"applying {series.label} ({count} of {len(series.patches)} patches) to {tree.version}")
    leave = ApplyPolicy(fuzz=FUZZ_LIMIT, progress=progress)  # which the gate shows, and the tree's origin
    with span(f"apply {count} patches"):
        return apply_series(tree, series, wanted.upto, layout, Deadline(_SOURCE_SECONDS), leave)


def series_of(wanted: KernelSpec, layout: Layout, progress: Progress, *, fetches: bool = True) -> Series:
    """The kernel's series, which it must have."""
    assert wanted.series is not None
    work = Work(layout, Deadline(_SOURCE_SECONDS), progress, fetches)
    return resolve_series(wanted.series, work, FetchOptions(mirror=wanted.mirror))


def profile_of(wanted: KernelSpec) -> Profile:
    """The named profile, with the user's own fragments on top; its name then says so."""
    profile = read_profile(wanted.profile, data_directory("kernel-configs"))
    if not wanted.fragments:
        return profile
    own = own_fragments(wanted)
    name = "+".join((profile.name, *(fragment.name for fragment in own)))
    return replace(compose(name, (*profile.fragments, *own)), slowness=profile.slowness)


def own_fragments(wanted: KernelSpec) -> tuple[Fragment, ...]:
    """The user's own. UserError for what cannot be read, or is none."""
    own = []
    for path in wanted.fragments:
        try:
            own.append(parse_fragment(path.stem, read_regular(path, _LARGEST_FRAGMENT).decode("utf-8")))
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise UserError(f"the fragment {path} cannot be read: {why}") from error
    return tuple(own)


def _require_symbols(suites: Iterable[Suite], build: Build) -> None:
    """A suite whose code is not in the kernel could only be silent: say so before the boot."""
    config = build.config_path.read_text(encoding="utf-8").splitlines()
    present = {line.removeprefix("CONFIG_").split("=")[0] for line in config if line.startswith("CONFIG_")}
    for suite in suites:
        missing = [symbol for symbol in suite.symbols if symbol not in present]
        if missing:
            raise InfraError(
                f"suite {suite.name} cannot run: the kernel of profile {build.profile} is without "
                f"{', '.join('CONFIG_' + symbol for symbol in missing)}",
                hint=f"--profile {suite.profile} has it",
            )


def _probe_kvm(build: Build, root: Path, layout: Layout, progress: Progress) -> bool:
    """Boots an idle guest under KVM, bounded, and says whether it got ready under KVM indeed."""
    progress.step(f"probing KVM: a boot of at most {accel.PROBE_SECONDS:.0f} s")
    with scratch_directory(layout) as place:
        results = place / "results"
        results.mkdir()
        (place / "home").mkdir()
        idle = Cell(build.id, Machine(swap=Swap()), (), seed=0)
        (results / "job").write_text(job_text(idle))
        launch = Launch(
            image=build.image,
            root=root,
            machine=idle.machine,
            accel=Accel.KVM,
            shares=shares_of(results, build.modules),
            swap_disks=(),
            control=place / "control",
            qmp=place / "home" / "qmp",
        )
        limits = BootLimits(boot=accel.PROBE_SECONDS, run=accel.PROBE_SECONDS, silence=accel.PROBE_SECONDS)
        result = boot(launch, place / "console", limits)
        works = result.ready_after is not None and result.accel == "kvm"
    progress.step("KVM works here" if works else "KVM opens but no guest gets ready under it: using TCG")
    return works
