# SPDX-License-Identifier: GPL-2.0-only
"""What make left in an object directory -> what a run needs of it, each piece looked at.

make ends with 0 in more cases than those in which the image and the modules are there.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from harness.kernel.fragments import all_asks, for_version, place
from harness.kernel.make import Make
from harness.kernel.symbols import definition_folders
from harness.model.arch import guest_arch
from harness.model.build import Config, ConfigOption, Profile
from harness.model.errors import CommandFailed, InfraError
from harness.proc import Deadline

_COMPRESSED = (".gz", ".bz2", ".lzma", ".xz", ".lzo", ".lz4", ".zst")
_RELEASE = "include/config/kernel.release"
_LOGS = re.compile(r".*\.log|seconds")  # in the object directory; more is written to them later
_RECORDS = ("build.json", "build.log", "config.key")  # they say how a build came about, too
_RELEASE_NAME = re.compile(r"[0-9][A-Za-z0-9._+~-]{0,63}")  # it becomes a part of paths
_OBJECT_RULE = re.compile(r"^obj-\$\(CONFIG_([A-Za-z0-9_]+)\)\s*[:+]?=\s*(.*)$", re.MULTILINE)


def collect(make: Make, config: Config, into: Path, deadline: Deadline) -> str:
    """Fills `into` with the image, System.map, config, build.log and modules/; returns the kernel release.

    InfraError names the piece that make did not leave, although it ended well.
    """
    release = _require(make, _RELEASE).read_text("utf-8", "replace").strip()
    if not _RELEASE_NAME.fullmatch(release):
        raise InfraError(f"{release[:80]!r} is no name of a kernel release", log=make.objects / "build.log")
    # A copy, not a link: a later make in the object directory rewrites its files in place.
    image = into / guest_arch().image
    shutil.copyfile(_require(make, guest_arch().image_path), image)
    _require_payload(make, image)
    shutil.copyfile(_require(make, "System.map"), into / "System.map")
    (into / "config").write_text(config.text, "utf-8")
    _install_modules(make, into / "modules", deadline)
    shutil.copyfile(_require(make, "build.log"), into / "build.log")
    modules = into / "modules" / "lib" / "modules" / release
    if not modules.resolve().is_relative_to(into.resolve()):
        raise InfraError(f"make modules_install left a link in the place of {modules}", hint=f"rm -r {make.place}")
    # scripts/depmod.sh only warns when there is no depmod.
    if not (modules / "modules.dep").is_file():
        raise InfraError(
            f"make modules_install left no {release}/modules.dep",
            hint="is depmod (package kmod) installed? ttm-harness doctor tells",
            log=make.objects / "build.log",
        )
    for link in ("build", "source"):  # they point out of the directory, to places the guest has not
        (modules / link).unlink(missing_ok=True)
    return release


def objects_to_seal(place: Path, objects: Path) -> list[str]:
    """What make left in the object directory and will find there again, from the place of the build."""
    found = [path for path in objects.rglob("*") if path.is_symlink() or path.is_file()]
    return [
        str(path.relative_to(place)) for path in found if path.parent != objects or not _LOGS.fullmatch(path.name)
    ]


def differs(made: Mapping[str, str], expected: Mapping[str, str]) -> str:
    """The first file (path -> hash) that a build has otherwise than it had before; empty when none is."""
    names = sorted((made.keys() | expected.keys()) - {*_RECORDS})
    return next((name for name in names if made.get(name) != expected.get(name)), "")


def _require_payload(make: Make, image: Path) -> None:
    """The image holds the kernel that was linked: an .incbin is the one thing that no record of kbuild's tells of."""
    content = image.read_bytes()
    for payload in (make.objects / guest_arch().image_path).parent.glob("compressed/vmlinux.bin.*"):
        if payload.suffix in _COMPRESSED and payload.read_bytes() not in content:
            raise InfraError(
                f"the image of {make.objects} does not hold the kernel that was linked, {payload.name}",
                hint=f"rm -r {make.place}, and run again",
            )


def _require(make: Make, name: str) -> Path:
    path = make.objects / name
    if not path.resolve().is_relative_to(make.objects.resolve()):
        raise InfraError(
            f"{name} of the build is a link that leads out of {make.objects}", hint=f"rm -r {make.place}"
        )
    if not path.is_file() or path.stat().st_size == 0:
        raise InfraError(f"make ended well and left no {name}", log=make.objects / "build.log")
    return path


def _install_modules(make: Make, into: Path, deadline: Deadline) -> None:
    # Stripped of debugging sections only, to be small in the guest; the object directory keeps them whole.
    words = ("modules_install", f"INSTALL_MOD_PATH={into}", "INSTALL_MOD_STRIP=1")
    try:
        into.mkdir()
        make.run(*words, deadline=deadline, log=make.objects / "install.log", writes=(into,))
    except CommandFailed as error:
        raise InfraError(f"the modules cannot be installed: {error.message}", log=error.log) from error


def find_modules(tree: Path, profile: Profile, version: tuple[int, int, int]) -> dict[ConfigOption, tuple[str, ...]]:
    """For each ask for `m`, the names of the modules that the Makefiles beside and below its Kconfig make of it."""
    wanted = {ask.symbol: ask for ask in all_asks(for_version(profile, version)[0]) if ask.value == "m"}
    found: dict[ConfigOption, tuple[str, ...]] = {}
    for symbol, folders in definition_folders(tree, tuple(wanted)).items():
        names = {name for folder in folders for file in _makefiles(folder) for name in _module_names(file, symbol)}
        found[wanted[symbol]] = tuple(sorted(names))
    return found


def _makefiles(folder: Path) -> list[Path]:
    return [path for name in ("Makefile", "Kbuild") for path in folder.rglob(name) if path.is_file()]


def _module_names(makefile: Path, symbol: str) -> list[str]:
    text = makefile.read_text("utf-8", "replace").replace("\\\n", " ")
    words = [word for match in _OBJECT_RULE.finditer(text) if match[1] == symbol for word in match[2].split()]
    return [word.removesuffix(".o") for word in words if word.endswith(".o") and "$" not in word]


def require_modules(made: dict[ConfigOption, tuple[str, ...]], modules: Path, order: Path) -> None:
    """InfraError when a module is not there that make lists in `order` (modules.order), or none of an ask's is."""
    there = {path.name for path in modules.rglob("*.ko")}
    # kbuild lists objects (.o), older ones modules (.ko).
    listed = {f"{Path(line).stem}.ko" for line in order.read_text("utf-8").split()} if order.is_file() else set()
    if missing := sorted(listed - there):
        raise InfraError(f"make modules_install left out {', '.join(missing)}", log=order.with_name("install.log"))
    for ask, names in made.items():
        # Not all of the names: a Makefile may have more of them inside of an ifeq.
        if names and there.isdisjoint(f"{name}.ko" for name in names):
            raise InfraError(
                f"make ended well and left no {' or '.join(f'{name}.ko' for name in names)}, "
                f"which CONFIG_{ask.symbol}=m ({place(ask)}) asks for",
                log=order.with_name("build.log"),
            )
