# SPDX-License-Identifier: GPL-2.0-only
"""The guest's root file system: busybox, the guest scripts, the load programs. A few MiB, exported read-only.

Not the host's own root: a test must not depend on what a laptop has installed, and an untrusted kernel has no
business reading a home directory.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from harness.checkout import data_directory
from harness.model.errors import UserError
from harness.model.progress import Progress
from harness.proc import Deadline, find_tool, run
from harness.store.files import fresh_directory, locked
from harness.store.layout import Layout
from harness.store.sealed import damage, seal, take_out

_DIRECTORIES = ("proc", "sys", "dev", "run", "tmp", "lib/modules", "results", "extra", "scripts", "tools", "bin")
_BUSYBOX_PLACES = ("busybox",)


def root_id() -> str:
    """Sixteen hex digits over the present guest scripts and busybox."""
    digest = hashlib.sha256(_busybox().read_bytes())
    scripts = data_directory("guest-scripts")
    for path in _files(scripts):
        digest.update(str(path.relative_to(scripts)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def guest_root(layout: Layout, deadline: Deadline, progress: Progress | None = None) -> Path:
    """The root directory for the present guest scripts and busybox; made once, found again by content. One that is
    not as it was made is set aside, which `progress` is told.
    """
    busybox, scripts = _busybox(), data_directory("guest-scripts")
    files = _files(scripts)
    final = layout.roots / root_id()
    if not damage(final):
        return final
    with locked(layout.locks / f"root-{final.name}", deadline):
        if not damage(final):
            return final
        if final.exists():
            take_out(final, layout, progress.step if progress is not None else _say_nothing)
        with fresh_directory(final) as work:
            _fill(work, busybox, scripts, files, deadline)
            seal(work)
    return final


def _say_nothing(_: str) -> None: ...


def _busybox() -> Path:
    busybox = find_tool("busybox")
    if busybox is None:
        raise UserError("busybox is not installed", hint="ttm-harness doctor --fix installs busybox-static")
    return busybox


def _files(scripts: Path) -> list[Path]:
    return sorted(path for path in scripts.rglob("*") if path.is_file() and _belongs(path, scripts))


def _belongs(path: Path, scripts: Path) -> bool:
    """Runners at the top, and the sources of the load programs; the kernel modules are built apart."""
    where = path.relative_to(scripts)
    if len(where.parts) == 1:
        return path.suffix == ""
    return where.parts[0] == "load" and path.suffix == ".c"


def _fill(work: Path, busybox: Path, scripts: Path, files: list[Path], deadline: Deadline) -> None:
    for name in _DIRECTORIES:
        (work / name).mkdir(parents=True)
    shutil.copy(busybox, work / "bin" / "busybox")
    for applet in run((str(busybox), "--list"), deadline=deadline).output.split():
        if applet != "busybox":
            (work / "bin" / applet).symlink_to("busybox")
    for path in files:
        if path.suffix == ".c":
            run(
                ("cc", "-O2", "-static", "-Wall", "-o", str(work / "tools" / path.stem), str(path)),
                deadline=deadline,
                hint="static programs need the static C library (libc6-dev, glibc-static)",
            )
        else:
            shutil.copyfile(path, work / "scripts" / path.name)
            (work / "scripts" / path.name).chmod(0o755)
    shutil.copy(scripts / "init", work / "init")
    (work / "init").chmod(0o755)
    _refuse_dynamic(work / "bin" / "busybox", busybox)


def _refuse_dynamic(copy: Path, original: Path) -> None:
    """A dynamic busybox would not find its libraries in the guest, and the boot would end in a panic."""
    if b"/ld-linux" in copy.read_bytes():
        raise UserError(
            f"{original} is dynamically linked and cannot run in the guest",
            hint="install the static one: busybox-static (Debian, Ubuntu), busybox (Fedora, Arch)",
        )
