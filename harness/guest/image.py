# SPDX-License-Identifier: GPL-2.0-only
"""The memory of a guest, written to a file while the guest stands still: what `ttm-harness inspect` looks into.

QEMU writes it as an ELF file (dump-guest-memory), which is compressed then: its other forms need what QEMU may not
have, or notes of a kernel that was built for it.
"""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import zstandard

from harness.guest.argv import Launch
from harness.guest.breakpoint import Breakpoint
from harness.guest.qmp import monitor
from harness.model.arch import guest_arch
from harness.model.errors import HarnessError, InfraError
from harness.model.units import MIB, about_size
from harness.proc import Deadline
from harness.store.files import explain_os_error

FOLDER = "memory"  # in a boot's directory
SUFFIX = ".elf.zst"
MOST_IMAGES = 8  # of one boot
_MOST_STOPS = 40  # at its breakpoint: each takes the guest up to _EVERY_SECONDS of its time
_RESERVE = 256 * MIB  # of the disk, which the console needs, too
_LEAST_SECONDS = 60.0
_BYTES_A_SECOND = 20 * MIB  # on a slow disk
_STATUS_SECONDS = 5.0
_EVERY_SECONDS = 0.5
_CHUNK = MIB
_LEVEL = 3
_UNFIT = re.compile(r"[^A-Za-z0-9_.-]")


def image_path(place: Path, name: str) -> Path:
    """Where the image of that name is, of the boot in `place`. A guest may have chosen the name."""
    return place / FOLDER / f"{_UNFIT.sub('_', name)[:80].lstrip('.') or 'unnamed'}{SUFFIX}"


def write_image(qmp: Path, ram: int, path: Path) -> None:
    """Has QEMU write the guest's memory, of `ram` bytes, to `path`; the guest stands still meanwhile.

    InfraError where the disk has no room for all of it, or QEMU does not do it.
    """
    raw = path.with_suffix("")
    try:
        path.parent.mkdir(exist_ok=True)
        require_room(path.parent, ram)
        with monitor(qmp, Deadline(_LEAST_SECONDS + ram / _BYTES_A_SECOND)) as session:
            session.ask("dump-guest-memory", paging=False, protocol=f"file:{raw}", format="elf")
        _compress(raw, path)
    except OSError as error:
        raise explain_os_error(error, f"cannot write {path}") from error
    finally:
        raw.unlink(missing_ok=True)


def require_room(directory: Path, size: int) -> None:
    """InfraError where `size` more bytes would leave too little of the disk."""
    found = os.statvfs(directory)
    free = found.f_bavail * found.f_frsize
    if free < size + _RESERVE:
        raise InfraError(
            f"the disk of {directory} has {about_size(free)} free, and a memory image needs "
            f"{about_size(size + _RESERVE)} there",
            hint="make room: ttm-harness results prune",
        )


def _compress(raw: Path, path: Path) -> None:
    part = path.with_name(f".{path.name}.part")
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    try:
        with raw.open("rb") as source, part.open("wb") as target:
            compressor.copy_stream(source, target, size=raw.stat().st_size, read_size=_CHUNK)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


class Keeper:
    """Keeps images of one boot that was launched with `keep_state`. None of its methods raises: what did not work is
    among the `troubles`, sentences.
    """

    def __init__(self, launch: Launch) -> None:
        self._qmp = launch.qmp
        self._place = launch.control.parent
        self._ram = launch.machine.ram
        self._looked = 0.0
        self._breakpoint = Breakpoint(launch.gdb, launch.breaks) if launch.breaks is not None else None
        self._passed: Breakpoint | None = None  # one that the guest is to pass by
        self._stops = 0
        self.images: list[str] = []
        self.troubles: list[str] = []

    def status(self) -> str:
        """QEMU's word for what the guest does, asked twice a second at most; empty where that is not known."""
        now = time.monotonic()
        if now - self._looked < _EVERY_SECONDS:
            return ""
        try:
            with monitor(self._qmp, Deadline(_STATUS_SECONDS)) as session:
                found = json.loads(session.ask("query-status"))
        except (HarnessError, ValueError):
            return ""
        finally:
            self._looked = time.monotonic()
        self._set_breakpoint()
        return str(found.get("status", "")) if isinstance(found, dict) else ""

    def _set_breakpoint(self) -> None:
        """As soon as QEMU answers: before its guest runs anything of interest."""
        if self._breakpoint is None or self._breakpoint.attached:
            return
        try:
            self._breakpoint.attach()
        except HarnessError as error:
            self._pass_by(f"no memory images of failed cases of kunit: {error.message}")

    def keep_at_breakpoint(self, module: str) -> None:
        """Writes an image of a guest that stands at its breakpoint, and has it go on; named by the case, if it can
        be read.
        """
        if self._breakpoint is None:
            self._let_go()
            return
        self._stops += 1
        try:
            case = self._breakpoint.name_in_argument(guest_arch().first_argument)
            self.keep(".".join(filter(None, (module, case))))
            if self._stops < _MOST_STOPS:
                self._breakpoint.go_on()
            else:
                self._pass_by(f"the guest stood still {_MOST_STOPS} times where a check of kunit failed, and no more")
        except HarnessError as error:
            self._pass_by(f"no more memory images of failed cases of kunit: {error.message}")

    def _pass_by(self, why: str) -> None:
        self._note(why)
        self._passed, self._breakpoint = self._breakpoint, None
        self._let_go()

    def _let_go(self) -> None:
        """Has the guest go on without its breakpoint: with it, it would stop at once again."""
        try:
            if self._passed is not None:
                self._passed.remove()
        except HarnessError:
            self.tell("cont")

    def keep(self, name: str) -> None:
        """Writes an image, as long as there are not too many."""
        if len(self.images) >= MOST_IMAGES:
            self._note(f"{MOST_IMAGES} memory images are the most of a boot; there are none of what came later")
            return
        path = image_path(self._place, name)
        if path.exists():
            return
        try:
            write_image(self._qmp, self._ram, path)
            self.images.append(str(path.relative_to(self._place)))
        except HarnessError as error:
            self._note(f"no memory image of {name}: {error.message}")

    def tell(self, command: str) -> None:
        """`cont` or `quit`."""
        try:
            with monitor(self._qmp, Deadline(_STATUS_SECONDS)) as session:
                session.ask(command)
        except HarnessError as error:
            if command != "quit":  # it may close its monitor before it answers
                self._note(f"QEMU did not {command}: {error.message}")

    def _note(self, sentence: str) -> None:
        if sentence not in self.troubles:
            self.troubles.append(sentence)
