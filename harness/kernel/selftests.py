# SPDX-License-Identifier: GPL-2.0-only
"""Targets of the tree's own tools/testing/selftests -> a directory with what `make install` leaves of them, linked
statically, made once for a build.

Their Makefiles are programs of the tree: they run contained, as the kernel's do. Some write beside their sources (mm
asks which libraries there are, and notes it), so they get a copy of their folder; all else are links to the tree.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.kernel.buildlog import host_trouble
from harness.kernel.make import Make, cache_of, compilers, hash_words, prepare_place
from harness.model.build import Build
from harness.model.errors import CommandFailed, InfraError, SuiteUnfit, UserError
from harness.model.progress import Progress
from harness.proc import Deadline, find_tool, run
from harness.store.files import fresh_directory, locked, write_atomically
from harness.store.layout import Layout
from harness.store.sealed import damage, require_whole, seal, take_out

SELFTESTS = "tools/testing/selftests"
TEST_LIST = "kselftest-list.txt"
NOT_BUILT = "not-built"
_RECIPE = "1"  # a number for how they are made: another one, and all are made anew
_PLACE = "place"
_INSTALL = "install"
# make goes on where a program cannot be built, and rsync where one is not there.
_GO_ON = ("--keep-going", "--ignore-errors")
_STATIC = ("USERLDFLAGS=-static", "EXTRA_CFLAGS=-static")
_FAILED = re.compile(r"make\[\d+\]: (?:\*\*\* )?\[[^]]*/kselftest/([\w./-]+)/([\w.+-]+)\] Error \d+")
_WHY = re.compile(r"(?:fatal error|error|cannot find|undefined reference)\b.*")
_LONGEST_WHY = 160
_HEADERS = ("/usr/include", "/usr/include/sys")


def build_selftests(
    build: Build, targets: Sequence[str], layout: Layout, deadline: Deadline, progress: Progress | None = None
) -> Path:
    """The directory with the tests, their list and NOT_BUILT: a line `TARGET PROGRAM WHY` for each program that this
    host could not build, with `*` for a target of which nothing could be.

    Raises SuiteUnfit when the tree has none of the targets, UserError without rsync, which installs them, InfraError
    when nothing at all came of it, StoreDamaged when the build is not as it was made.
    """
    if find_tool("rsync") is None:
        raise UserError(
            "selftests cannot be installed without rsync, which this host has not",
            hint="install the package rsync",
        )
    if not any((build.tree.path / SELFTESTS / target / "Makefile").is_file() for target in targets):
        raise SuiteUnfit(f"Linux {build.tree.version} has none of the selftests {', '.join(targets)}")
    # A library that is installed later makes more of them.
    key = hash_words("selftests", _RECIPE, build.id, *targets, "", *_libraries())[:16]
    final = layout.objects / f"selftests-{key}"
    if not damage(final):
        final.touch()  # the time of the last use: `results prune` goes by it
        return final
    with locked(layout.locks / f"selftests-{key}", deadline):
        if not damage(final):
            return final
        if final.exists():
            take_out(final, layout, progress.step if progress is not None else _say_nothing)
        if progress is not None:
            progress.step(f"building the selftests {', '.join(targets)} of {build.tree.version}")
        with fresh_directory(final) as work:
            _install(build, targets, work, layout, deadline)
            seal(work)
    return final


def _say_nothing(_: str) -> None: ...


def _libraries() -> Iterable[str]:
    """The names of what programs of this host can be made with."""
    compiler = compilers()[0]
    library = run((compiler, "-print-file-name=libc.a"), deadline=Deadline(30.0)).output.strip()
    folders = (*map(Path, _HEADERS), Path(library).parent)
    return [path.name for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]


def _install(build: Build, targets: Sequence[str], work: Path, layout: Layout, deadline: Deadline) -> None:
    require_whole([build.path])
    place = work / _PLACE
    make = Make(place, cache_of(build.tree, place, layout.root))
    prepare_place(place, build.tree.path)
    own = _copy(build.tree.path, place, targets)
    log = build.objects / f"{work.name.split('.')[0]}.log"  # which stays when make fails
    log.unlink(missing_ok=True)
    lines: list[str] = []
    installed = make.objects / _INSTALL
    words = (f"TARGETS={' '.join(targets)}", f"KSFT_INSTALL_PATH={installed}", *_STATIC)
    try:
        make.run("headers", deadline=deadline, log=log)
        make.run(
            "-C", SELFTESTS, *_GO_ON, f"-j{os.cpu_count() or 1}", *words, "install",
            deadline=deadline, log=log, on_line=lines.append, writes=(own,),
        )  # fmt: skip
    except CommandFailed as error:
        if trouble := host_trouble(lines):
            raise InfraError(
                f"the selftests cannot be built: {trouble}", hint="mend that, and run again", log=log
            ) from error
        raise
    if not (installed / TEST_LIST).is_file():
        raise InfraError("make ended well and left no list of the selftests", log=log)
    missing = not_built(lines, targets, [path.name for path in installed.iterdir() if path.is_dir()])
    for path in installed.iterdir():
        path.rename(work / path.name)
    text = "".join(f"{target} {program} {why}\n" for (target, program), why in missing.items())
    write_atomically(work / NOT_BUILT, text)
    shutil.rmtree(place)


def _copy(tree: Path, place: Path, targets: Sequence[str]) -> Path:
    """Puts a `tools` into the place in which the targets are copies, and all else links; returns it."""
    own = place / "tools"
    own.unlink()
    folder = own
    source = tree / "tools"
    for name in ("testing", "selftests"):
        folder.mkdir()
        _link_all(source, folder, {name})
        folder, source = folder / name, source / name
    folder.mkdir()
    _link_all(source, folder, {target.partition("/")[0] for target in targets})
    for target in sorted({target.partition("/")[0] for target in targets}):
        if (source / target).is_dir():
            shutil.copytree(source / target, folder / target, symlinks=True)
    for path in folder.iterdir():  # lib.mk takes its own place for that of all
        if path.is_symlink() and path.is_file():
            path.unlink()
            shutil.copy(source / path.name, path)
    return own


def _link_all(source: Path, folder: Path, but: set[str]) -> None:
    for path in source.iterdir():
        if path.name not in but:
            (folder / path.name).symlink_to(path)


def not_built(lines: Iterable[str], targets: Sequence[str], installed: Iterable[str]) -> dict[tuple[str, str], str]:
    """What make said of the programs that it could not build: (target, program) -> why; pure.

    Its output is synchronised by targets: the compiler's words stand right before those of make.
    """
    found: dict[tuple[str, str], str] = {}
    why = ""
    for line in lines:
        failed = _FAILED.match(line)
        if failed is not None:
            found.setdefault((failed[1], failed[2]), why or "make failed")
            why = ""
        elif not why and not line.startswith("make") and (said := _WHY.search(line)) is not None:
            why = "".join(one if one.isprintable() else "?" for one in said[0][:_LONGEST_WHY])
    there = {name.partition("/")[0] for name in installed}
    for target in targets:
        if target.partition("/")[0] not in there:
            first = next((said for (name, _), said in found.items() if name == target), "")
            found[target, "*"] = first or "the tree has no such target, or nothing of it could be built"
    return found
