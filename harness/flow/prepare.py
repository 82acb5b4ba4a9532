# SPDX-License-Identifier: GPL-2.0-only
"""Everything before the first boot: source -> tree -> build -> root, modules, accelerator."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.checkout import data_directory
from harness.flow.boots import job_text, shares_of
from harness.guest import accel
from harness.guest.argv import Launch
from harness.guest.boot import boot
from harness.guest.liveness import Limits
from harness.guest.root import Part, guest_root
from harness.inputs.resolve import resolve
from harness.inputs.series.apply import ApplyPolicy, apply_series
from harness.inputs.series.attempt import FUZZ_LIMIT
from harness.inputs.series.resolve import FetchOptions, resolve_series
from harness.inputs.source_cache import Work
from harness.kernel.build import obtain
from harness.kernel.fragments import compose, parse_fragment, read_profile
from harness.kernel.module import build_module
from harness.kernel.overlay import build_overlay, read_overlay, require_version
from harness.model.build import DEFAULT_PROFILE as DEFAULT_PROFILE
from harness.model.build import Build, Profile
from harness.model.cell import Cell, Knob
from harness.model.errors import InfraError, ModuleFailed, SuiteUnfit, UserError
from harness.model.machine import Accel, Machine, Swap
from harness.model.progress import Progress
from harness.model.result import LeftOut, Stage
from harness.model.series import Series, SeriesSpec
from harness.model.suite import Suite
from harness.model.tree import SourceSpec, Tree
from harness.proc import Deadline
from harness.store.files import mark_used, read_regular, sweep_leftovers
from harness.store.layout import Layout
from harness.store.scratch import scratch_directory, sweep_scratch
from harness.suites.registry import registry

_SOURCE_SECONDS = 1800.0
_BUILD_SECONDS = 4 * 3600.0
# All suites' modules. xe whole, 579 files, took more than 600 s beside three guests on two cores.
_MODULE_SECONDS = 3600.0
_ROOT_SECONDS = 120.0
_LARGEST_FRAGMENT = 4 << 20


@dataclass(frozen=True, slots=True)
class Request:
    """What `ttm-harness run` was asked for.

    `cases` are globs for the suites that can run a part of theirs. With a `series` the source without it is the
    base, unless another one is named; `upto` takes only so many of its patches. `mirror` is a directory of mboxes to
    ask instead of lore. With `as_they_fit` suites are left out of a kernel that cannot have them: those that a plan
    names, or nobody, and not --suite.
    """

    source: SourceSpec
    profile: str
    machine: Machine
    suites: tuple[str, ...]
    repeat: int = 1
    seed: int | None = None
    knobs: tuple[Knob, ...] = ()
    fragments: tuple[Path, ...] = ()
    cases: tuple[str, ...] = ()
    base: SourceSpec | None = None
    series: SeriesSpec | None = None
    upto: int | None = None
    mirror: Path | None = None
    jobs: int | None = None
    as_they_fit: bool = False


def base_of(request: Request) -> Request | None:
    """The request for the base leg: the named base, or the source without the series; None without either."""
    if request.base is not None:
        return replace(request, source=request.base, series=None, upto=None)
    return replace(request, series=None, upto=None) if request.series is not None else None


@dataclass(frozen=True, slots=True)
class PreparedKernel:
    """What the boots of a command share. `modules`: suite -> the directory with its own modules; `slowness` is the
    profile's; `left_out` are the suites that cannot be had on this kernel.
    """

    tree: Tree
    build: Build
    root: Path
    accel: Accel
    modules: Mapping[str, Path]
    slowness: float = 1.0
    left_out: tuple[LeftOut, ...] = ()


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
    request: Request, suites: tuple[Suite, ...], layout: Layout, progress: Progress, watch: Stopwatch
) -> PreparedKernel:
    """Finds or makes all that the request's boots need; the user's mistakes come first, before the long work."""
    profile = profile_of(request)
    for place in (layout.sources, layout.builds, layout.objects, layout.roots):
        sweep_leftovers(place)
    sweep_scratch(layout)
    tree = tree_of(request, layout, progress)
    if layout.sources in tree.path.parents:
        mark_used(tree.path.parent)
    watch.lap("source")
    progress.step(f"kernel {tree.version}, profile {profile.name}")
    build = obtain(tree, profile, layout, Deadline(_BUILD_SECONDS), progress, request.jobs)
    watch.lap("build")
    _require_symbols(suites, build)
    modules, left_out = {}, []
    for suite in suites:
        try:
            made = _own_modules(suite, build, layout, progress)
        except (SuiteUnfit, ModuleFailed) as error:
            if not request.as_they_fit:
                raise
            too_old = isinstance(error, SuiteUnfit) and error.too_old
            left_out.append(LeftOut(suite.name, tree.version, build.id, error.message, counts=not too_old))
            progress.step(f"without the suite {suite.name}: {error.message}")
            continue
        if made is not None:
            modules[suite.name] = made
    watch.lap("modules")
    root = guest_root(layout, parts_of_root(), Deadline(_ROOT_SECONDS), progress)
    mark_used(root)
    watch.lap("root")
    settled = accel.settle(request.machine.accel, layout, lambda: _probe_kvm(build, root, layout, progress))
    watch.lap("accelerator")
    return PreparedKernel(tree, build, root, settled, modules, profile.slowness, tuple(left_out))


def parts_of_root() -> tuple[Part, ...]:
    """What the subjects put into the guest's root: runners of suites, and programs."""
    known = registry()
    runners = {suite.script: suite.runner for suite in known.suites.values() if suite.runner is not None}
    tools = [path for subject in known.subjects.values() for path in subject.tools]
    return (*(Part(name, path) for name, path in sorted(runners.items())), *(Part(one.name, one) for one in tools))


def _own_modules(suite: Suite, build: Build, layout: Layout, progress: Progress) -> Path | None:
    """The directory with the modules that the suite brings along."""
    deadline = Deadline(_MODULE_SECONDS)
    if suite.needs_module is not None:
        return build_module(build, suite.needs_module, layout, deadline, progress)
    if suite.needs_overlay is not None:
        return build_overlay(build, suite.needs_overlay, layout, deadline, progress=progress)
    return None


def too_old_for(suites: Iterable[Suite], version: str, build_id: str) -> Iterator[LeftOut]:
    """The suites that are about what a kernel of this version has not got yet."""
    for suite in suites:
        if suite.needs_overlay is not None:
            try:
                require_version(read_overlay(suite.needs_overlay), version)
            except SuiteUnfit as error:
                yield LeftOut(suite.name, version, build_id, error.message, counts=False)


def tree_of(request: Request, layout: Layout, progress: Progress, *, fetches: bool = True) -> Tree:
    """The request's source with its series, fetched (where that is wanted) unless the store has it."""
    progress.step(f"source {request.source}")
    tree = resolve(request.source, layout, Deadline(_SOURCE_SECONDS), progress, fetches=fetches)
    if request.series is None:
        return tree
    series = series_of(request, layout, progress, fetches=fetches)
    count = len(series.patches) if request.upto is None else request.upto
    progress.step(f"applying {series.label} ({count} of {len(series.patches)} patches) to {tree.version}")
    leave = ApplyPolicy(fuzz=FUZZ_LIMIT, progress=progress)  # which the gate shows, and the tree's origin
    return apply_series(tree, series, request.upto, layout, Deadline(_SOURCE_SECONDS), leave)


def series_of(request: Request, layout: Layout, progress: Progress, *, fetches: bool = True) -> Series:
    """The request's series, which it must have."""
    assert request.series is not None
    work = Work(layout, Deadline(_SOURCE_SECONDS), progress, fetches)
    return resolve_series(request.series, work, FetchOptions(mirror=request.mirror))


def profile_of(request: Request) -> Profile:
    """The named profile, with the user's own fragments on top; its name then says so."""
    profile = read_profile(request.profile, data_directory("kernel-configs"))
    if not request.fragments:
        return profile
    own = []
    for path in request.fragments:
        try:
            own.append(parse_fragment(path.stem, read_regular(path, _LARGEST_FRAGMENT).decode("utf-8")))
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise UserError(f"the fragment {path} cannot be read: {why}") from error
    name = "+".join((profile.name, *(fragment.name for fragment in own)))
    return replace(compose(name, (*profile.fragments, *own)), slowness=profile.slowness)


def _require_symbols(suites: tuple[Suite, ...], build: Build) -> None:
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
        limits = Limits(boot=accel.PROBE_SECONDS, run=accel.PROBE_SECONDS, silence=accel.PROBE_SECONDS)
        result = boot(launch, place / "console", limits)
        works = result.ready_after is not None and result.accel == "kvm"
    progress.step("KVM works here" if works else "KVM opens but no guest gets ready under it: using TCG")
    return works
