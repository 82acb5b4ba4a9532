# SPDX-License-Identifier: GPL-2.0-only
"""The guest's root file system: busybox, the guest scripts, the load programs. A few MiB, exported read-only.

Not the host's own root: a test must not depend on what a laptop has installed, and an untrusted kernel has no
business reading a home directory.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.checkout import data_directory
from harness.model.arch import guest_arch
from harness.model.errors import UserError
from harness.model.progress import Progress
from harness.proc import Deadline, find_tool, run
from harness.store.files import fresh_directory, locked
from harness.store.layout import Layout
from harness.store.sealed import damage, seal, take_out

_DIRECTORIES = (
    *("proc", "sys", "dev", "run", "tmp", "lib/modules", "results", "extra", "scripts", "tools", "bin"),
    *("mnt", "other"),  # where other-root puts another root together
    "swap",  # files of a test machine (begin-on-disk)
)
_BUSYBOX_PLACES = ("busybox",)


@dataclass(frozen=True, slots=True)
class RootFile:
    """A file that is put into the root by a name: a script as /scripts/NAME, a C program compiled into /tools."""

    name: str
    path: Path


def root_id(parts: Sequence[RootFile]) -> str:
    """Sixteen hex digits over busybox, the present guest scripts, and the parts that others bring."""
    digest = hashlib.sha256(busybox_here().read_bytes())
    for part in all_parts(parts):
        digest.update(part.name.encode() + b"\0" + part.path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def guest_root(
    layout: Layout, parts: Sequence[RootFile], deadline: Deadline, progress: Progress | None = None
) -> Path:
    """The root directory with the present guest scripts, busybox and these parts; made once, found again by content.
    One that is not as it was made is set aside, which `progress` is told.
    """
    busybox = busybox_here()
    final = layout.roots / root_id(parts)
    if not damage(final):
        return final
    with locked(layout.locks / f"root-{final.name}", deadline):
        if not damage(final):
            return final
        if final.exists():
            take_out(final, layout, progress.step if progress is not None else _say_nothing)
        with fresh_directory(final) as work:
            _fill(work, busybox, all_parts(parts), deadline)
            seal(work)
    return final


def _say_nothing(_: str) -> None: ...


def busybox_here() -> Path:
    """The static busybox of this host; UserError where there is none."""
    name = f"{guest_arch().prefix}busybox"
    busybox = find_tool(name)
    if busybox is None:
        hint = "ttm-harness doctor --fix installs busybox-static"
        foreign = f"put a static busybox for {guest_arch().title} into PATH by that name"
        raise UserError(f"{name} is not installed", hint=hint if guest_arch().native else foreign)
    return busybox


def all_parts(parts: Sequence[RootFile]) -> tuple[RootFile, ...]:
    """The harness's own and those of others; UserError where one would take the place of another."""
    found: dict[str, RootFile] = {}
    for part in (*_own_parts(), *parts):
        if part.name in found:
            raise UserError(
                f"{part.path} and {found[part.name].path} would both be {part.name} in the guest",
                hint="rename the one that is yours",
            )
        found[part.name] = part
    return tuple(found.values())


def _own_parts() -> tuple[RootFile, ...]:
    """Scripts at the top, and the sources of the load programs; what kernel modules share is built apart."""
    scripts = data_directory("guest-scripts")
    files = [path for path in sorted(scripts.iterdir()) if path.is_file() and path.suffix == ""]
    return tuple(RootFile(path.name, path) for path in (*files, *sorted((scripts / "load").glob("*.c"))))


def _fill(work: Path, busybox: Path, parts: Sequence[RootFile], deadline: Deadline) -> None:
    for name in _DIRECTORIES:
        (work / name).mkdir(parents=True)
    shutil.copy(busybox, work / "bin" / "busybox")
    # One that does not run here has the applets of the host's own, as near as can be told.
    lister = busybox if guest_arch().native else "busybox"
    for applet in run((str(lister), "--list"), deadline=deadline).output.split():
        if applet != "busybox":
            (work / "bin" / applet).symlink_to("busybox")
    for part in parts:
        if part.path.suffix == ".c":
            compile_static(part.path, work / "tools" / part.path.stem, deadline)
        else:
            shutil.copyfile(part.path, work / "scripts" / part.name)
            (work / "scripts" / part.name).chmod(0o755)
    shutil.copy(work / "scripts" / "init", work / "init")
    (work / "init").chmod(0o755)
    _refuse_dynamic(work / "bin" / "busybox", busybox)


def compile_static(source: Path, program: Path, deadline: Deadline) -> None:
    """A C file -> a program that runs in the guest, which has no libraries. CommandFailed when it has errors."""
    compiler = "cc" if guest_arch().native else f"{guest_arch().prefix}gcc"
    run(
        (compiler, "-O2", "-static", "-Wall", "-o", str(program), str(source)),
        deadline=deadline,
        hint="static programs need the static C library (libc6-dev, glibc-static)",
    )


def _refuse_dynamic(copy: Path, original: Path) -> None:
    """A dynamic busybox would not find its libraries in the guest, and the boot would end in a panic."""
    if b"/ld-linux" in copy.read_bytes():
        raise UserError(
            f"{original} is dynamically linked and cannot run in the guest",
            hint="install the static one: busybox-static (Debian, Ubuntu), busybox (Fedora, Arch)",
        )
