# SPDX-License-Identifier: GPL-2.0-only
"""The controls: bugs put into the kernel on purpose, to see which of them a suite notices.

Only one module is built again for a control, from a copy of the tree's driver, against the unbroken build; the guest
then finds it in the place of the real one. For a suite that brings its own copy of a driver the bug goes into that.
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
import shutil
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from harness.checkout import data_directory
from harness.flow.boots import Bench, boot_cell
from harness.flow.landing import landed_outside
from harness.flow.readout import CellResult
from harness.kernel.module import build_module
from harness.kernel.overlay import build_overlay
from harness.model.build import Build
from harness.model.cell import Cell
from harness.model.errors import CommandFailed, FindingError, InfraError, StoreCorrupt, UserError
from harness.model.machine import Machine
from harness.model.outcome import Standing
from harness.model.progress import Progress
from harness.model.suite import Suite
from harness.proc import Deadline, run
from harness.store.files import fresh_directory, locked
from harness.store.layout import Layout
from harness.store.sealed import seal, take_out

# The folder of patches/controls/ with the bugs for a suite.
FOLDERS = {"pressure": "ttm", "xe-fake": "xe", "drm-shmem": "drm-shmem"}
_BUILD_SECONDS = 3600.0
_PATCH_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What is built again for a control: a module of a directory of the tree, by the directory's own Makefile, or of
    these sources in it alone."""

    directory: Path
    module: str
    sources: tuple[str, ...] = ()


# By the folder of the control.
REBUILT = {
    "ttm": Rebuilt(Path("drivers/gpu/drm/ttm"), "ttm"),
    "drm-shmem": Rebuilt(Path("drivers/gpu/drm"), "drm_shmem_helper", ("drm_gem_shmem_helper.c",)),
}


class Noticed(StrEnum):
    """What a suite made of one control."""

    CAUGHT = "caught"
    MISSED = "missed"
    GREEN = "green"  # a neutral control that stayed green, as it must
    FALSE_RED = "false red"  # a neutral control that turned red
    CANNOT_TELL = "cannot tell"
    MISAPPLIED = "misapplied"  # the bug is somewhere else than where it was made for


@dataclass(frozen=True, slots=True)
class Control:
    """One [[control]] of controls.toml; see patches/controls/README.md for the keys."""

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
class Tried:
    """A control that was run: what became of it, the cases that turned red, the seconds of its boot."""

    control: Control
    noticed: Noticed
    cases: tuple[str, ...]
    reasons: tuple[str, ...]
    seconds: float
    directory: str


def read_controls(folder: Path, wanted: Sequence[str] = ()) -> tuple[Control, ...]:
    """The controls of a folder whose names match one of the globs in `wanted` (all when it is empty)."""
    path = folder / "controls.toml"
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))["control"]
        controls = tuple(_control(folder, table) for table in tables)
    except (OSError, KeyError, TypeError, tomllib.TOMLDecodeError) as error:
        raise StoreCorrupt(f"{path} is not a list of controls: {error}") from error
    if not wanted:
        return controls
    chosen = tuple(one for one in controls if any(fnmatch.fnmatch(one.name, glob) for glob in wanted))
    if not chosen:
        raise UserError(f"no control matches {', '.join(wanted)}", hint=", ".join(one.name for one in controls))
    return chosen


def _control(folder: Path, table: dict[str, object]) -> Control:
    file = str(table["file"])
    breaks, applies = table.get("breaks", []), table.get("applies", [])
    functions = table.get("function", [])
    return Control(
        name=file.removesuffix(".patch"),
        patch=folder / file,
        kind=str(table["class"]),
        breaks=tuple(map(str, breaks)) if isinstance(breaks, list) else (),
        reaches=str(table.get("reaches", "")),
        applies=tuple(map(str, applies)) if isinstance(applies, list) else (),
        neutral=table.get("neutral") is True,
        note=str(table.get("note", "")),
        functions=tuple(map(str, functions)) if isinstance(functions, list) else (str(functions),),
    )


def broken_modules(control: Control, build: Build, layout: Layout, progress: Progress) -> Path:
    """A copy of the build's modules with the module that carries the control; made once."""
    made_of = control.patch.read_bytes() + "".join(control.functions).encode()
    digest = hashlib.sha256(made_of).hexdigest()[:12]
    final = layout.objects / f"control-{build.id[:12]}-{digest}"
    with locked(layout.locks / final.name, Deadline(_BUILD_SECONDS)):
        if final.is_dir():
            take_out(final, layout, progress.step)
        if not final.is_dir():
            _make_broken(control, build, layout, final)
        final.touch()  # the time of the last use: `results prune` goes by it
    return final


def broken_overlay(control: Control, folder: str, build: Build, layout: Layout) -> Path:
    """The directory with the modules of an overlay on a driver that carries the control; made once."""
    source = data_directory("guest-scripts") / folder
    version = build.tree.version
    return build_overlay(
        build, source, layout, Deadline(_BUILD_SECONDS), lambda tree: apply_control(control, tree, version)
    )


def _make_broken(control: Control, build: Build, layout: Layout, final: Path) -> None:
    what = REBUILT[control.patch.parent.name]
    name = f"{what.module}.ko"
    with fresh_directory(final) as work:
        source = work / "source"
        _copy_sources(what, build.tree.path, source)
        apply_control(control, source, build.tree.version)
        made = build_module(build, source / what.directory, layout, Deadline(_BUILD_SECONDS)) / name
        modules = work / "modules"
        shutil.copytree(build.modules, modules, symlinks=True)
        places = list(modules.rglob(name))
        if not places:
            raise InfraError(
                f"the kernel of profile {build.profile} has no {name} that a control could take the place of",
                hint=f"{what.module} must be a module, as in the profile lean",
            )
        for place in places:
            shutil.copyfile(made, place)
        shutil.rmtree(source)
        seal(work)


def _copy_sources(what: Rebuilt, tree: Path, to: Path) -> None:
    """What the module is built of: the whole directory, or its sources with a Kbuild for them."""
    if not what.sources:
        shutil.copytree(tree / what.directory, to / what.directory)
        return
    place = to / what.directory
    place.mkdir(parents=True)
    for source in what.sources:
        shutil.copyfile(tree / what.directory / source, place / source)
    objects = " ".join(source.replace(".c", ".o") for source in what.sources)
    (place / "Kbuild").write_text(f"obj-m := {what.module}.o\n{what.module}-y := {objects}\n", encoding="utf-8")


def apply_control(control: Control, source: Path, version: str) -> None:
    """Patches the sources; Misapplied where the changed lines are not in the functions that the control names."""
    touched = {path: _text(source / path) for path in _touched(control)}
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


def _touched(control: Control) -> tuple[str, ...]:
    names = re.findall(r"^\+\+\+ b/(\S+)$", control.patch.read_text(encoding="utf-8"), re.MULTILINE)
    return tuple(dict.fromkeys(names))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="surrogateescape") if path.is_file() else ""


def try_controls(
    controls: Sequence[Control],
    suite: Suite,
    machine: Machine,
    bench: Bench,
    layout: Layout,
    seed: int,
    done: Callable[[Tried], None],
    cases: tuple[str, ...] = (),
) -> tuple[Tried, ...]:
    """Boots the unbroken kernel, then each control, stopping its suite at the first red case.

    Without a green on the unbroken kernel a red proves nothing: every control is then CANNOT_TELL. `done` is told
    of each control as it ends.
    """
    bench.progress.step("the unbroken kernel first")
    whole = Cell(bench.build.id, machine, (suite.name,), seed, cases=cases)
    clean = boot_cell(whole, (suite,), bench, 0)
    if clean.run.verdict is not Standing.GOOD:
        why = ("the unbroken kernel is not green itself", *clean.run.reasons)
        return tuple(Tried(one, Noticed.CANNOT_TELL, (), why, 0.0, clean.run.directory) for one in controls)
    results = []
    for number, control in enumerate(controls, 1):
        bench.progress.step(f"control {number} of {len(controls)}: {control.name}")
        results.append(_try(control, suite, whole, bench, layout, number))
        done(results[-1])
    return tuple(results)


def _try(control: Control, suite: Suite, whole: Cell, bench: Bench, layout: Layout, number: int) -> Tried:
    try:
        if suite.needs_overlay is not None:
            broken = broken_overlay(control, suite.needs_overlay, bench.build, layout)
            place = replace(bench, modules={**bench.modules, suite.name: broken})
        else:
            broken = broken_modules(control, bench.build, layout, bench.progress)
            place = replace(bench, module_tree=broken / "modules")
    except Misapplied as error:
        return Tried(control, Noticed.MISAPPLIED, (), (error.message,), 0.0, "")
    except FindingError as error:
        return Tried(control, Noticed.CANNOT_TELL, (), (error.message,), 0.0, "")
    build = replace(bench.build, id=hashlib.sha256(f"{bench.build.id}{broken.name}".encode()).hexdigest())
    cell = replace(whole, build_id=build.id)
    place = replace(place, build=build, stop_at_first=not control.neutral)
    began = time.monotonic()
    return _noticed(control, boot_cell(cell, (suite,), place, number), time.monotonic() - began)


def _noticed(control: Control, result: CellResult, seconds: float) -> Tried:
    """A finding of any kind counts as caught (a red case, a splat, a panic, a hang); what is no evidence does not."""
    red = tuple(case.name for case in result.cases if case.outcome.finding)
    verdict = result.run.verdict
    if verdict is Standing.CANNOT_TELL:
        noticed = Noticed.CANNOT_TELL
    elif control.neutral:
        noticed = Noticed.FALSE_RED if verdict is Standing.BAD else Noticed.GREEN
    else:
        noticed = Noticed.CAUGHT if verdict is Standing.BAD else Noticed.MISSED
    return Tried(control, noticed, red, result.run.reasons, seconds, result.run.directory)
