# SPDX-License-Identifier: GPL-2.0-only
"""A kept boot -> one file that somebody else can boot it from, with this harness or without any; and back."""

from __future__ import annotations

import getpass
import hashlib
import os
import platform
import re
import shlex
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from harness.checkout import data_directory
from harness.flow.boots import STANDS_ON_FILE, devices_of, images_of, require_guest
from harness.flow.collect import CellResult
from harness.flow.deadlines import limits_of
from harness.flow.kept_boot import StoredBoot
from harness.flow.matrix import key_of
from harness.flow.prepare import parts_of_root, series_of
from harness.flow.repro import BootToRepeat, asked_of
from harness.flow.request import Request
from harness.flow.run_record import load_result
from harness.guest.argv import Launch, Share, qemu_argv
from harness.guest.image import FOLDER as IMAGES
from harness.guest.root import all_parts, busybox_here
from harness.guest.swap import swap_disks
from harness.kernel.build import kept_build
from harness.kernel.make import variables
from harness.kernel.module import sources_of
from harness.kernel.overlay import FEATURES, features_text, read_overlay
from harness.model.arch import guest_arch
from harness.model.build import Build
from harness.model.bundle import BUNDLE_SCHEMA, Bundle
from harness.model.errors import UserError
from harness.model.kernel import KernelSpec
from harness.model.pci import PciDevice
from harness.model.progress import Progress
from harness.model.result import Provenance
from harness.model.root import BUSYBOX
from harness.model.series import Patch, SeriesSpec
from harness.model.suite import Suite
from harness.model.tree import SourceKind, SourceSpec
from harness.store.bundle import unpack_bundle, write_bundle
from harness.store.layout import Layout
from harness.store.runs import BOOT_REPLAY
from harness.suites.registry import narrowed, registry, suite_named

_SCRIPT = "reproduce.sh"
_LARGEST = 64 << 20  # bytes of a file that a guest left
_MOST_EVIDENCE = 512 << 20
_OF_THIS_HOST = ("reproduce.sh", "argv", "launcher.log", STANDS_ON_FILE, BOOT_REPLAY)
_NOT_EVIDENCE = (*_OF_THIS_HOST, ".seal", "config", ".virtfs_metadata", IMAGES)
_SHORTEST_NAME = 4  # of a user or a host: a shorter one is found in any text
_USUAL_NAMES = ("root", "user", "linux", "localhost", "debian", "ubuntu", "fedora", "admin", "test")
_MADE_ANEW = "make the boot again (ttm-harness repro {0}) and bundle that one"


def make_bundle(kept: StoredBoot, target: Path, layout: Layout, progress: Progress) -> str:
    """Writes the bundle, and returns the hash that names it.

    UserError where the boot cannot be told of any more as it was: its build is gone, or this harness has other suites
    and scripts than the one that made it.
    """
    again = _MADE_ANEW.format(kept.name)
    asked = asked_of(kept)
    if kept.cell != asked.planned.cell:
        whole = f"{kept.run.name}/{asked.planned.place}"
        raise UserError(f"{kept.name} went on with the cases of another boot", hint=f"bundle that one: {whole}")
    suites = tuple(narrowed(suite_named(name), asked.request.cases) for name in asked.request.suites)
    if other := next((suite for suite in suites if suite.root != BUSYBOX), None):
        raise UserError(
            f"a bundle has no root file system of Debian, and {other.name} runs in {other.root}",
            hint=f"ttm-harness repro {kept.name} makes the boot again here",
        )
    told = asked.kernel
    if key_of(kept.cell, suites, f"{told.qemu}, {told.vng}") != asked.planned.key:
        raise UserError(f"this harness has other scripts or suites than the one that made {kept.name}", hint=again)
    build = kept_build(kept.cell.build_id, layout)
    if build is None:
        raise UserError(f"the store has the kernel of {kept.name} no longer", hint=again)
    progress.step(f"packing {kept.name}")
    kernel = asked.request.kernel
    patches = _patches(kernel, layout, progress)
    own = {
        **patches,
        **_guest_files(),
        **_suite_files(suites, build),
        "kernel/config": build.config_path.read_bytes(),
        **{f"kernel/fragments/{path.name}": path.read_bytes() for path in kernel.fragments},
        _SCRIPT: (files("harness.reports") / "templates" / _SCRIPT).read_bytes(),
    }
    hidden = _hidden_words(kept.run, kernel, layout)
    boot = {**_boot_files(asked, suites), **_evidence(kept)}
    contents = {**own, **{path: _without(data, hidden) for path, data in boot.items()}}
    contents["SHA256SUMS"] = _sums(contents)
    manifest = Bundle(
        schema=BUNDLE_SCHEMA,
        of=kept.name,
        verdict=kept.load().run.verdict,
        cell=kept.cell,
        key=asked.planned.key,
        source=_source_of(kernel.source, told),
        profile=kernel.profile,
        kernel=replace(told, tree_origin=_said_without(told.tree_origin, hidden), host=""),
        fragments=tuple(path for path in own if path.startswith("kernel/fragments/")),
        patches=tuple(patches),
        files=(),
    )
    return write_bundle(target, manifest, contents, frozenset((_SCRIPT, "guest/busybox")))


def _patches(asked: KernelSpec, layout: Layout, progress: Progress) -> dict[str, bytes]:
    """The patches that the kernel has, as mails that `patch` and `git am` read."""
    if asked.series is None:
        return {}
    patches = series_of(asked, layout, progress, fetches=False).patches[: asked.upto]
    return {f"kernel/patches/{one.position:04d}.patch": _mail(one, len(patches)) for one in patches}


def _mail(patch: Patch, total: int) -> bytes:
    author = f"From: {patch.author}\n" if patch.author else ""
    subject = f"Subject: [PATCH v{patch.revision} {patch.position}/{total}] {patch.subject}\n"
    return f"{author}{subject}\n{patch.body.rstrip()}\n---\n\n{patch.diff}".encode("utf-8", "surrogateescape")


def _guest_files() -> dict[str, bytes]:
    """Busybox, and the sources of all else that is in the guest's root."""
    found = {"guest/busybox": busybox_here().read_bytes()}
    for part in all_parts(parts_of_root()):
        folder = "load" if part.path.suffix == ".c" else "scripts"
        found[f"guest/{folder}/{part.path.name if folder == 'load' else part.name}"] = part.path.read_bytes()
    return found


def _suite_files(suites: Sequence[Suite], build: Build) -> dict[str, bytes]:
    """The sources of the suite's modules, as reproduce.sh compiles them."""
    for suite in suites:
        if suite.needs_module is not None:
            return {
                f"suite/{_beside(name)}": path.read_bytes() for name, path in sources_of(suite.needs_module).items()
            }
        if suite.needs_overlay is not None:
            return _overlay_files(suite.needs_overlay, build)
    return {}


def _beside(name: str) -> str:
    """What several modules share lies beside the module's own folder (module.py)."""
    return name.removeprefix("../") if name.startswith("../") else f"own/{name}"


def _overlay_files(folder: Path, build: Build) -> dict[str, bytes]:
    overlay = read_overlay(folder)
    found = {"suite/driver": f"{overlay.driver}\n".encode()}
    for path in sorted(folder.glob("*.[ch]")):
        found[f"suite/own/{overlay.folder}/{path.name}"] = path.read_bytes()
    found[f"suite/own/{overlay.folder}/{FEATURES}"] = features_text(overlay, build.tree).encode()
    for number, hook in enumerate(overlay.hooks):
        found[f"suite/hooks/{number}.file"] = f"{hook.file}\n".encode()
        found[f"suite/hooks/{number}.append"] = f"{hook.append.strip()}\n".encode()
    return found


def _boot_files(asked: BootToRepeat, suites: Sequence[Suite]) -> dict[str, bytes]:
    """What the boot is told, and the words of QEMU, all in the folder in which reproduce.sh works."""
    cell, here = asked.kept.cell, Path()
    require_guest(cell.machine)
    if (kind := cell.machine.device) and not PciDevice.parse(kind).address:
        raise UserError(f"the guest had {kind}, and a bundle has to name one", hint="run it with its address")
    shares = [
        Share("harness.results", here / "results", writable=True),
        Share("harness.modules", here / "mods/lib/modules"),
    ]
    if any(suite.brings is not None for suite in suites):
        shares.append(Share("harness.extra", here / "extra"))
    launch = Launch(
        image=here / "image",
        root=here / "root",
        machine=cell.machine,
        accel=cell.machine.accel,
        shares=tuple(shares),
        swap_disks=swap_disks(cell.machine.swap, here),
        control=here / "control.log",
        qmp=here / "qmp",
        bad_disk=here / "bad.img" if any(suite.bad_disk for suite in suites) else None,
        devices=devices_of(suites),
    )
    told = {
        "BOOT_VERSION": asked.kernel.tree_version,
        "ORIGIN": asked.kernel.tree_origin,
        "MAKE_VARIABLES": " ".join(word for word in variables() if " " not in word and not word.startswith("AWK=")),
        "IMAGE_TARGET": guest_arch().image,
        "IMAGE_PATH": guest_arch().image_path,
        "MACHINE": str(cell.machine),
        "SECONDS_AT_MOST": str(round(limits_of(cell, suites).boot + limits_of(cell, suites).run)),
    }
    disks = "".join(f"{image} {size}\n" for image, size in images_of(cell, launch))
    return {
        "boot.env": "".join(f"{name}={shlex.quote(value)}\n" for name, value in told.items()).encode(),
        "disks": disks.encode(),
        "qemu.args": "".join(f"{word}\n" for word in qemu_argv(launch, here / "console.log")).encode(),
        "job/job": (asked.kept.place / "results" / "job").read_bytes(),
        "job/suites": (asked.kept.place / "results" / "suites").read_bytes(),
    }


def _evidence(kept: StoredBoot) -> dict[str, bytes]:
    """All that the boot left, but for what names places of this host alone."""
    found: dict[str, bytes] = {}
    size = 0
    for folder, folders, names in os.walk(kept.place):
        folders[:] = sorted(name for name in folders if name not in _NOT_EVIDENCE)
        for name in sorted(names):
            path = Path(folder, name)
            look = path.lstat()
            if name in _NOT_EVIDENCE or not stat.S_ISREG(look.st_mode):
                continue
            size += look.st_size
            if look.st_size > _LARGEST or size > _MOST_EVIDENCE:
                raise UserError(
                    f"{path.name} makes a bundle of more than {_MOST_EVIDENCE >> 20} MiB", hint="move it away first"
                )
            found[f"evidence/{path.relative_to(kept.place)}"] = path.read_bytes()
    return found


_Hidden = tuple[tuple[re.Pattern[bytes], bytes], ...]


def _hidden_words(run: Path, asked: KernelSpec, layout: Layout) -> _Hidden:
    """What of this host must not be in a bundle, and what stands for it there; the longest first."""
    places = {
        layout.root: "STORE",
        run: "RUN",
        data_directory("guest-scripts").parent: "HARNESS",
        Path.home(): "HOME",
        **({Path(asked.source.where): "SOURCE"} if asked.source.where else {}),
        **({asked.mirror: "MIRROR"} if asked.mirror is not None else {}),
    }
    found = {str(place): word for path, word in places.items() for place in (path, path.resolve())}
    for name, word in ((platform.node(), "HOST"), (getpass.getuser(), "USER")):
        if len(name) >= _SHORTEST_NAME and name not in _USUAL_NAMES:
            found[name] = word
    return tuple(
        (re.compile(rb"(?<![\w.-])" + re.escape(name.encode()) + rb"(?![\w.-])"), found[name].encode())
        for name in sorted(found, key=len, reverse=True)
        if name != "/"
    )


def _without(data: bytes, hidden: _Hidden) -> bytes:
    for pattern, word in hidden:
        data = pattern.sub(word, data)
    return data


def _said_without(text: str, hidden: _Hidden) -> str:
    return _without(text.encode(), hidden).decode()


def _sums(contents: Mapping[str, bytes]) -> bytes:
    """As sha256sum reads it."""
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {path}\n" for path, data in contents.items()).encode()


def _source_of(source: SourceSpec, kernel: Provenance) -> str:
    """What anybody gets the source by; '' where it lies on a disk."""
    if source.kind is SourceKind.DEBIAN:
        return f"debian:{kernel.tree_version}"
    return f"kernel.org:{kernel.tree_version}" if source.kind is SourceKind.KERNEL_ORG else ""


@dataclass(frozen=True, slots=True)
class OpenBundle:
    """A bundle that was checked and unpacked; `id` is the hash that names it."""

    bundle: Bundle
    id: str
    place: Path

    @property
    def first(self) -> CellResult:
        """What came of the boot when it was made."""
        return load_result(self.place / "evidence")

    def request(self, source: SourceSpec | None) -> Request:
        """What asks for the same boot here. UserError where nothing tells where the source is."""
        if source is None and not self.bundle.source:
            raise UserError(
                f"the kernel of {self.bundle.of} was built of a tree of its maker: {self.bundle.kernel.tree_origin}",
                hint=f"--source DIR with Linux {self.bundle.kernel.tree_version}, or reproduce.sh of the bundle",
            )
        cell = self.bundle.cell
        patches = self.place / "kernel" / "patches"
        return Request(
            kernel=KernelSpec(
                source=source or SourceSpec.parse(self.bundle.source),
                profile=self.bundle.profile,
                fragments=tuple(self.place / path for path in self.bundle.fragments),
                series=SeriesSpec.parse(f"dir:{patches}") if self.bundle.patches else None,
            ),
            machine=cell.machine,
            suites=cell.suites,
            seed=cell.seed,
            knobs=cell.knobs,
            cases=cell.cases,
        )


@contextmanager
def open_bundle(file: Path, layout: Layout) -> Iterator[OpenBundle]:
    """The bundle, unpacked for the block. UserError for one that was tampered with (store/bundle.py), or whose
    suites this harness has not.
    """
    with tempfile.TemporaryDirectory(prefix="bundle-", dir=layout.scratch) as scratch:
        place = Path(scratch)
        bundle, identity = unpack_bundle(file, place)
        known = registry().suites
        if missing := [name for name in bundle.cell.suites if name not in known]:
            raise UserError(
                f"the bundle {file} runs {', '.join(missing)}, which this harness has not",
                hint="its own reproduce.sh needs no harness",
            )
        yield OpenBundle(bundle, identity, place)
