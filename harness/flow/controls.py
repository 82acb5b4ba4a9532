# SPDX-License-Identifier: GPL-2.0-only
"""The controls: bugs put into the kernel on purpose, to see which of them a suite notices.

Only one module is built again for a control, from a copy of the tree's driver, against the unbroken build; the guest
then finds it in the place of the real one. Where a suite brings its own copy of the driver the bug goes into that.
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from harness.flow.boots import BootEnvironment
from harness.flow.collect import CellResult
from harness.flow.hosts import Hosts, SetAside, boot_on
from harness.flow.landing import landed_outside
from harness.kernel.module import build_module
from harness.kernel.overlay import build_overlay, read_overlay
from harness.model.build import Build
from harness.model.cell import Cell
from harness.model.errors import CommandFailed, FindingError, InfraError, UserError
from harness.model.machine import Machine
from harness.model.outcome import Verdict
from harness.model.progress import Progress
from harness.model.subject import ControlSet
from harness.model.suite import Suite
from harness.model.toml import read_toml
from harness.proc import Deadline, run
from harness.store.files import fresh_directory, locked
from harness.store.layout import Layout
from harness.store.sealed import seal, take_out
from harness.suites.registry import registry, subject_of

_BUILD_SECONDS = 3600.0
_PATCH_SECONDS = 30.0


class Detection(StrEnum):
    """What a suite made of one control."""

    CAUGHT = "caught"
    MISSED = "missed"
    GREEN = "green"  # a neutral control that stayed green, as it must
    FALSE_RED = "false red"  # a neutral control that turned red
    CANNOT_TELL = "cannot tell"
    MISAPPLIED = "misapplied"  # the bug is somewhere else than where it was made for


@dataclass(frozen=True, slots=True)
class Control:
    """One [[control]] of controls.toml; see harness/subjects/CONTROLS.md for the keys."""

    name: str
    patch: Path
    kind: str
    breaks: tuple[str, ...]
    reaches: str
    applies: tuple[str, ...]
    neutral: bool
    note: str
    functions: tuple[str, ...] = ()


class Misapplied(FindingError):
    """A control that applied, but not to the function that it was made for."""


@dataclass(frozen=True, slots=True)
class ControlRun:
    """A control that was run: what became of it, the cases that turned red, the seconds of its boot."""

    control: Control
    noticed: Detection
    cases: tuple[str, ...]
    reasons: tuple[str, ...]
    seconds: float
    directory: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """The keys of a [[control]]."""

    file: str
    kind: str = field(metadata={"key": "class"})
    breaks: tuple[str, ...] = ()
    reaches: str = ""
    applies: tuple[str, ...] = ()
    function: tuple[str, ...] = ()
    neutral: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class _File:
    control: tuple[_Entry, ...]


def control_set(suite: Suite) -> ControlSet:
    """The controls that are there for the suite; UserError when there are none."""
    found = subject_of(suite).controls
    if found is None or found.suite != suite.name:
        able = ", ".join(with_controls())
        raise UserError(f"there are no controls for the suite {suite.name}", hint=f"suites with some: {able}")
    return found


def with_controls() -> tuple[str, ...]:
    """The suites that there are controls for."""
    subjects = registry().subjects.values()
    return tuple(one.controls.suite for one in subjects if one.controls is not None)


def read_controls(folder: Path, wanted: Sequence[str] = ()) -> tuple[Control, ...]:
    """The controls of a folder whose names match one of the globs in `wanted` (all when it is empty)."""
    controls = tuple(_control(folder, entry) for entry in read_toml(_File, folder / "controls.toml").control)
    if not wanted:
        return controls
    chosen = tuple(one for one in controls if any(fnmatch.fnmatch(one.name, glob) for glob in wanted))
    if not chosen:
        raise UserError(
            f"no control matches {', '.join(wanted)}",
            hint=f"a glob over their names, as in '*purge*'; the {len(controls)} of them are in {folder}",
        )
    return chosen


def _control(folder: Path, entry: _Entry) -> Control:
    return Control(
        name=entry.file.removesuffix(".patch"),
        patch=folder / entry.file,
        kind=entry.kind,
        breaks=entry.breaks,
        reaches=entry.reaches,
        applies=entry.applies,
        neutral=entry.neutral,
        note=entry.note,
        functions=entry.function,
    )


def broken_modules(control: Control, group: ControlSet, build: Build, layout: Layout, progress: Progress) -> Path:
    """A copy of the build's modules in which the driver's carries the control; made once."""
    made_of = control.patch.read_bytes() + "".join(control.functions).encode()
    digest = hashlib.sha256(made_of).hexdigest()[:12]
    final = layout.objects / f"control-{build.id[:12]}-{digest}"
    with locked(layout.locks / final.name, Deadline(_BUILD_SECONDS)):
        if final.is_dir():
            take_out(final, layout, progress.step)
        if not final.is_dir():
            _make_broken(control, group, build, layout, final)
        final.touch()  # the time of the last use: `results prune` goes by it
    return final


def is_for_overlay(control: Control, source: Path) -> bool:
    """Whether what it changes lies in the driver that the overlay `source` is laid over."""
    driver = read_overlay(source).driver
    return all(path.startswith(f"{driver}/") for path in files_of(control))


def broken_overlay(control: Control, source: Path, build: Build, layout: Layout) -> Path:
    """The directory with the modules of the overlay `source` on a driver that carries the control; made once."""
    version = build.tree.version
    return build_overlay(
        build, source, layout, Deadline(_BUILD_SECONDS), lambda tree: apply_control(control, tree, version)
    )


def _make_broken(control: Control, group: ControlSet, build: Build, layout: Layout, final: Path) -> None:
    with fresh_directory(final) as work:
        source = work / "source"
        _copy_sources(group, build.tree.path, source)
        apply_control(control, source, build.tree.version)
        name = f"{group.module}.ko"
        made = build_module(build, source / group.driver, layout, Deadline(_BUILD_SECONDS)) / name
        modules = work / "modules"
        shutil.copytree(build.modules, modules, symlinks=True)
        places = list(modules.rglob(name))
        if not places:
            raise InfraError(
                f"the kernel of profile {build.profile} has no {name} that a control could take the place of",
                hint="it must be a module, as in the profile lean",
            )
        for place in places:
            shutil.copyfile(made, place)
        shutil.rmtree(source)
        seal(work)


def _copy_sources(group: ControlSet, tree: Path, to: Path) -> None:
    """What the module is built of: the whole directory, or its sources with a Kbuild for them."""
    if not group.sources:
        shutil.copytree(tree / group.driver, to / group.driver)
        return
    place = to / group.driver
    place.mkdir(parents=True)
    for source in group.sources:
        shutil.copyfile(tree / group.driver / source, place / source)
    objects = " ".join(source.replace(".c", ".o") for source in group.sources)
    (place / "Kbuild").write_text(f"obj-m := {group.module}.o\n{group.module}-y := {objects}\n", encoding="utf-8")


def apply_control(control: Control, source: Path, version: str) -> None:
    """Patches the sources; Misapplied where the changed lines are not in the functions that the control names."""
    touched = {path: _text(source / path) for path in files_of(control)}
    argv = ("patch", "-p1", "--fuzz=0", "--batch", "-d", str(source), "-i", str(control.patch))
    try:
        run(argv, deadline=Deadline(_PATCH_SECONDS))
    except CommandFailed as error:
        raise FindingError(f"control {control.name} does not apply to {version}: {error.tail}") from error
    for path, before in touched.items():
        outside = landed_outside(before, _text(source / path), control.functions) if control.functions else ()
        if outside:
            raise Misapplied(
                f"control {control.name} landed outside {', '.join(control.functions)} in {version}: "
                f"{path}, line {outside[0]}",
                hint="more context in the patch, or a function key in controls.toml that is right",
            )


def files_of(control: Control) -> tuple[str, ...]:
    """The files that its patch changes, from the top of the tree."""
    names = re.findall(r"^\+\+\+ b/(\S+)$", control.patch.read_text(encoding="utf-8"), re.MULTILINE)
    return tuple(dict.fromkeys(names))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="surrogateescape") if path.is_file() else ""


def try_controls(
    controls: Sequence[Control],
    suite: Suite,
    machine: Machine,
    environment: BootEnvironment,
    layout: Layout,
    seed: int,
    done: Callable[[ControlRun], None],
    cases: tuple[str, ...] = (),
    hosts: Hosts | None = None,
) -> tuple[ControlRun, ...]:
    """Boots the unbroken kernel, then each control, stopping its suite at the first red case. Where there are `hosts`
    they make the boots, side by side.

    Without a green on the unbroken kernel a red proves nothing: every control is then CANNOT_TELL. `done` is told
    of each control as it ends.
    """
    environment = replace(environment, stop=environment.stop or threading.Event())
    environment.progress.step("the unbroken kernel first")
    whole = Cell(environment.kernel.build.id, machine, (suite.name,), seed, cases=cases)
    clean = boot_on(hosts, whole, (suite,), environment, 0)
    if clean.run.verdict is not Verdict.GOOD:
        why = ("the unbroken kernel is not green itself", *clean.run.reasons)
        return tuple(ControlRun(one, Detection.CANNOT_TELL, (), why, 0.0, clean.run.directory) for one in controls)
    place = replace(environment, progress=_Together(environment.progress)) if hosts is not None else environment
    most = min(hosts.most, len(controls)) if hosts is not None else 1
    results: dict[int, ControlRun] = {}

    def ended(number: int, one: ControlRun) -> None:
        results[number] = one
        done(one)

    with ThreadPoolExecutor(max(1, most), thread_name_prefix="control") as pool:
        booting: dict[Future[ControlRun], int] = {}
        try:
            for number, control in enumerate(controls, 1):
                environment.progress.step(f"control {number} of {len(controls)}: {control.name}")
                made = broken(control, suite, whole, place, layout)
                if isinstance(made, ControlRun):
                    ended(number, made)
                else:
                    booting[pool.submit(boot_broken, control, suite, made, number, hosts)] = number
                while booting and (len(booting) >= most or number == len(controls)):
                    over, _ = wait(booting, return_when=FIRST_COMPLETED)
                    for future in over:
                        ended(booting.pop(future), future.result())
        except BaseException:
            assert environment.stop is not None
            environment.stop.set()
            raise
    return tuple(results[number] for number in range(1, len(controls) + 1))


class _Together:
    """Progress of boots side by side: what each does, its host's line says."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def step(self, text: str) -> None:
        if not text.startswith("  suite "):
            self._progress.step(text)

    def advance(self, done: int, total: int, unit: str) -> None:
        """How far one of them is tells nothing of the others."""


@dataclass(frozen=True, slots=True)
class BrokenCell:
    """A cell of the kernel with a control, and what it boots in."""

    cell: Cell
    environment: BootEnvironment


def try_control(
    control: Control, suite: Suite, whole: Cell, environment: BootEnvironment, layout: Layout, number: int
) -> ControlRun:
    """Boots the kernel with one control; `whole` is the cell of the unbroken kernel, which must have been green."""
    made = broken(control, suite, whole, environment, layout)
    return made if isinstance(made, ControlRun) else boot_broken(control, suite, made, number)


def broken(
    control: Control, suite: Suite, whole: Cell, environment: BootEnvironment, layout: Layout
) -> BrokenCell | ControlRun:
    """The kernel with the control; or what is to be said where it cannot be made."""
    kernel, module_tree = environment.kernel, None
    try:
        overlay = suite.needs_overlay
        if overlay is not None and is_for_overlay(control, overlay):
            place = broken_overlay(control, overlay, kernel.build, layout)
            kernel = replace(kernel, modules={**kernel.modules, suite.name: place})
        else:
            place = broken_modules(control, control_set(suite), kernel.build, layout, environment.progress)
            module_tree = place / "modules"
    except Misapplied as error:
        return ControlRun(control, Detection.MISAPPLIED, (), (error.message,), 0.0, "")
    except FindingError as error:
        return ControlRun(control, Detection.CANNOT_TELL, (), (error.message,), 0.0, "")
    build = replace(kernel.build, id=hashlib.sha256(f"{kernel.build.id}{place.name}".encode()).hexdigest())
    return BrokenCell(
        replace(whole, build_id=build.id),
        replace(
            environment,
            kernel=replace(kernel, build=build),
            module_tree=module_tree,
            stop_at_first=not control.neutral,
        ),
    )


def boot_broken(
    control: Control, suite: Suite, made: BrokenCell, number: int, hosts: Hosts | None = None
) -> ControlRun:
    """What the suite makes of the control."""
    began = time.monotonic()
    try:
        result = boot_on(hosts, made.cell, (suite,), made.environment, number)
    except SetAside as error:
        return ControlRun(control, Detection.CANNOT_TELL, (), (error.message,), time.monotonic() - began, "")
    return _noticed(control, result, time.monotonic() - began)


def _noticed(control: Control, result: CellResult, seconds: float) -> ControlRun:
    """A finding of any kind counts as caught (a red case, a splat, a panic, a hang); an invalid run does not."""
    red = tuple(case.name for case in result.cases if case.outcome.finding)
    verdict = result.run.verdict
    if verdict is Verdict.CANNOT_TELL:
        noticed = Detection.CANNOT_TELL
    elif control.neutral:
        noticed = Detection.FALSE_RED if verdict is Verdict.BAD else Detection.GREEN
    else:
        noticed = Detection.CAUGHT if verdict is Verdict.BAD else Detection.MISSED
    return ControlRun(control, noticed, red, result.run.reasons, seconds, result.run.directory)
