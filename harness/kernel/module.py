# SPDX-License-Identifier: GPL-2.0-only
"""A directory of module sources x Build -> .ko files, made in a copy and found again by what went into them.

The copy is kept (module_place.py): what was compiled for another kernel is not compiled again where it is the same.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.checkout import data_directory
from harness.kernel.buildlog import Paths, first_error, host_trouble, parse_warnings
from harness.kernel.make import Make, cache_of, hash_words, prepare_place
from harness.kernel.module_place import ModulePlace
from harness.model.build import Build
from harness.model.errors import CommandFailed, InfraError, ModuleFailed, UserError
from harness.model.progress import Progress
from harness.proc import Deadline
from harness.store.files import fresh_directory, locked
from harness.store.layout import Layout
from harness.store.sealed import damage, require_whole, seal, take_out

# A Kbuild that includes a file of guest-scripts/module takes its objects from there as well.
_SHARES = re.compile(r"^include \$\(src\)/\$\(TP_SHARED\)/", re.MULTILINE)
_SHARED = "../shared"
_PRODUCTS = ("*.o", "*.ko", "*.mod", "*.mod.c", ".*", "Module.symvers", "modules.order")


def build_module(
    build: Build, source_dir: Path, layout: Layout, deadline: Deadline, progress: Progress | None = None
) -> Path:
    """The directory that holds the .ko files made of `source_dir` for that build; `source_dir` is not written to.
    What its Kbuild takes of guest-scripts/module is copied beside it.

    `progress` is told when they have to be compiled.

    Raises UserError when it has no Kbuild or Makefile, ModuleFailed on the first error or warning (a warning in a
    module that is loaded into the kernel under test is an error), InfraError when no module came of it, StoreDamaged
    when the objects of the build are not those that were made.
    """
    if not any((source_dir / name).is_file() for name in ("Kbuild", "Makefile")):
        raise UserError(f"{source_dir} has no Kbuild and no Makefile, so no module can be made of it")
    sources = _sources(source_dir)
    key = hash_words("module", build.id, *(word for path, digest in sources for word in (path, digest)))[:16]
    final = layout.objects / f"module-{key}"
    if not damage(final):
        final.touch()  # the time of the last use: `results prune` goes by it
        return final
    with locked(layout.locks / f"module-{key}", deadline):
        if not damage(final):
            return final
        if final.exists():
            take_out(final, layout, progress.step if progress is not None else _say_nothing)
        # Outside of the place, which goes away when another kernel's objects are of no use.
        log = build.objects / f"{final.name}.log"
        with fresh_directory(final) as work:
            job = _Job(build, source_dir, sources_of(source_dir), dict(sources), layout, log)
            _compile(job, work, deadline, progress)
            seal(work)
    return final


def _say_nothing(_: str) -> None: ...


def sources_id(source_dir: Path) -> str:
    """64 hex digits over the sources of a module, with those that it shares with others."""
    return hash_words(*(word for pair in _sources(source_dir) for word in pair))


def _sources(directory: Path) -> list[tuple[str, str]]:
    """The files that are sources, relative to the directory, with hashes of their content."""
    return [(name, hashlib.sha256(path.read_bytes()).hexdigest()) for name, path in sources_of(directory).items()]


def sources_of(directory: Path) -> dict[str, Path]:
    """The sources by their names beside each other, as they are copied."""
    found = _files(directory, "")
    kbuild = directory / "Kbuild"
    if kbuild.is_file() and _SHARES.search(kbuild.read_text(encoding="utf-8", errors="replace")):
        found |= _files(data_directory("guest-scripts") / "module", f"{_SHARED}/")
    return found


def _files(top: Path, where: str) -> dict[str, Path]:
    found = {}
    for path in sorted(top.rglob("*")):
        relative = path.relative_to(top)
        if path.is_file() and not any(Path(part).match(pattern) for part in relative.parts for pattern in _PRODUCTS):
            found[f"{where}{relative}"] = path
    return found


@dataclass(frozen=True, slots=True)
class _Job:
    """Modules to be made: of which files, by their names from the place's own, with the hashes that the modules are
    known by, and where make's log goes.
    """

    build: Build
    source_dir: Path
    sources: Mapping[str, Path]
    digests: Mapping[str, str]
    layout: Layout
    log: Path


def _compile(job: _Job, into: Path, deadline: Deadline, progress: Progress | None) -> None:
    """Fills `into` with the modules."""
    require_whole([job.build.objects.parent])
    # As it lies in a checkout or in a tree: the same for a copy of it elsewhere.
    place = ModulePlace(job.build, "/".join(job.source_dir.parts[-2:]), job.layout)
    prepare_place(job.build.objects.parent, job.build.tree.path)
    with locked(place.lock, deadline):
        try:
            modules = place.enter(job.sources, job.digests)
            if not modules:
                if progress is not None:
                    kept = f", {place.objects} of their objects are there" if place.objects else ""
                    what = f"{job.source_dir.name} ({len(job.sources)} files) as modules for {job.build.tree.version}"
                    progress.step(f"building {what}{kept}")
                modules = _make(job, place, deadline)
        finally:
            place.sweep()
        for module in modules:
            shutil.copyfile(module, into / module.name)


def _make(job: _Job, place: ModulePlace, deadline: Deadline) -> tuple[Path, ...]:
    """Runs make in the place; the modules."""
    build, log = job.build, job.log
    log.unlink(missing_ok=True)
    make = Make(build.objects.parent, cache_of(build.tree, build.objects.parent, job.layout.root))
    paths = Paths((str(place.own), str(make.objects), str(make.place), str(build.tree.path)))
    lines: list[str] = []
    # What __FILE__ says of a header is then the same for every kernel, as in the kernel itself.
    flags = f"KCFLAGS=-Werror -fmacro-prefix-map={make.place}/="
    words = (f"M={place.own}", flags, "modules", f"-j{os.cpu_count() or 1}")
    try:
        make.run(*words, deadline=deadline, log=log, on_line=lines.append, writes=(place.root,))
    except CommandFailed as error:
        if error.status < 0:
            raise
        if trouble := host_trouble(lines):
            raise InfraError(
                f"the module in {job.source_dir} cannot be built: {trouble}", hint="mend that, and run again", log=log
            ) from error
        if not parse_warnings(lines, paths):  # an object that is kept would not say its warning again
            place.leave(job.sources, finished=False)
        said = first_error(lines, paths)
        if said is None:
            raise
        raise ModuleFailed(f"the module in {job.source_dir} does not build: {said}", log=log) from error
    if warnings := parse_warnings(lines, paths):
        first = warnings[0]
        raise ModuleFailed(
            f"the module in {job.source_dir} has warnings: {first.file}:{first.line}: {first.text}", log=log
        )
    made = place.leave(job.sources, finished=True)
    if not made:
        raise InfraError(
            f"make ended well and left no .ko of {job.source_dir}", hint="does its Kbuild set obj-m?", log=log
        )
    return made
