# SPDX-License-Identifier: GPL-2.0-only
"""One boot on a test machine: there by kexec, and back by a restart.

What is being tested sees of the machine's disk the harness' directory alone, so that what it breaks is no file of the
machine's own.
"""

from __future__ import annotations

import hashlib
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO

from harness.guest.boot import Boot, number_said
from harness.guest.initramfs import initramfs
from harness.guest.kexec import DiskPlace, MachineFacts, boot_of, kexec_cmdline, of_test_kernel, ram_limit
from harness.guest.kexec_machine import KexecMachine, SentPart
from harness.guest.last_words import netconsole_argument, ramoops_arguments, with_last_words
from harness.guest.liveness import BootLimits
from harness.guest.netconsole import listening
from harness.model.errors import InfraError, UserError
from harness.model.machine import Machine
from harness.model.outcome import Ending
from harness.model.units import about_size
from harness.proc import Deadline, run, spawn

BACK_SECONDS = 900.0  # a server's firmware alone may take ten minutes
_CLAIM_MORE = 1800.0
_POWER_SECONDS = 120.0
_STARTS_SECONDS = 0.5
_PIECE = 1 << 20
_MOST_FILES = 100_000
_OURS_HERE = frozenset({"job", "suites"})


@dataclass(frozen=True, slots=True)
class Hands:
    """What the user can do to a test machine from here: commands, as words. `console` prints its serial line, `power`
    restarts it when it does not come back. `netconsole` is the UDP port at which its kernel is listened to, 0 for
    any. All may be left out.
    """

    console: tuple[str, ...] = ()
    power: tuple[str, ...] = ()
    netconsole: int | None = None


NO_HANDS = Hands()


@dataclass(frozen=True, slots=True)
class Errand:
    """What is to be booted there, as paths here. `results` has the job and the suites, and gets what comes back;
    `swap` are names and sizes in bytes; `scratch` is a directory to work in.
    """

    machine: Machine
    release: str
    image: Path
    root: Path
    modules: Path
    extra: Path | None
    results: Path
    console: Path
    control: Path
    scratch: Path
    swap: tuple[tuple[str, int], ...] = ()
    hands: Hands = NO_HANDS


def unpacked(archive: Path, target: Path) -> dict[str, bytes]:
    """Puts the files of an archive, which whoever wrote it may have made as they liked, into a directory. Those that
    are not for it, `control` and `console`, are the answer; links, devices and names that lead outside are left out.
    """
    kept: dict[str, bytes] = {}
    try:
        with tarfile.open(archive) as members:
            for number, member in enumerate(members):
                path = PurePosixPath(member.name)
                if number > _MOST_FILES or path.is_absolute() or ".." in path.parts or not member.isfile():
                    continue
                file = members.extractfile(member)
                if file is None:
                    continue
                if str(path) in ("control", "console"):
                    kept[str(path)] = file.read()
                elif str(path) not in _OURS_HERE:
                    _copy(file, target / path)
    except (tarfile.TarError, EOFError) as error:
        raise InfraError(f"what came back from the test machine is no archive: {error}") from error
    return kept


def _copy(source: IO[bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        while data := source.read(_PIECE):
            file.write(data)


def parts_of(errand: Errand) -> tuple[SentPart, SentPart, tuple[SentPart, ...]]:
    """The kernel, what it begins with, and the archives that are unpacked."""
    begins = errand.scratch / "initramfs"
    begins.write_bytes(initramfs(errand.root))
    folders = {"root": errand.root, "modules": errand.modules, **({"extra": errand.extra} if errand.extra else {})}
    archives = []
    for name, folder in folders.items():
        archive = errand.scratch / f"{name}.tar"
        with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as file:
            for path in sorted(folder.rglob("*")):
                file.add(path, str(path.relative_to(folder)), recursive=False, filter=_plain)
        archives.append(SentPart(archive, digest_of(archive), name))
    return SentPart(errand.image, digest_of(errand.image)), SentPart(begins, digest_of(begins)), tuple(archives)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """The same archive of the same files: root's, and of no time."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
    return member


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def boot_there(
    errand: Errand, machine: KexecMachine, limits: BootLimits, say: Callable[[str], None], stop: threading.Event
) -> tuple[Boot, str]:
    """One boot on a machine that is held; how it went, and the command line of its kernel."""
    found = machine.look()
    found.require_usable(machine.whom, errand.machine.cpus)
    place = found.place(machine.whom, machine.place)
    most = int(limits.boot + limits.run)
    limit = ram_limit("\n".join(found.all("ram")), errand.machine.ram)
    lasts = most + BACK_SECONDS
    if who := machine.claim(lasts + _CLAIM_MORE):
        raise InfraError(
            f"the test machine {machine.whom} is used by {who}", hint="wait for it, or take another machine"
        )
    machine.clean()
    image, begins, archives = parts_of(errand)
    swap = sum(size for _, size in errand.swap)
    sent = machine.bring((image, begins, *archives), swap, number_said(found.get("room"), 0) * 1024)
    say(f"  {about_size(sent)} sent to {machine.whom}" if sent else f"  {machine.whom} has all that is needed")
    machine.lay_out(archives, errand.swap, errand.results)
    began = time.monotonic()
    with _listening(errand, machine, found) as (ears, heard_by):
        cmdline = kexec_cmdline(errand.machine, limit, DiskPlace(place.uuid, f"{place.path}/now"), most, heard_by)
        machine.load(image, begins, cmdline)
        machine.go()
        say(f"  {machine.whom} is gone to the test kernel, and back in {lasts / 60:.0f} min at most")
        back = machine.wait(found.get("boot"), Deadline(lasts), stop)
        if not back and not stop.is_set() and errand.hands.power:
            say(f"  {machine.whom} did not come back: {errand.hands.power[0]} is to restart it")
            run(errand.hands.power, deadline=Deadline(_POWER_SECONDS), allowed=tuple(range(256)))
            back = machine.wait(found.get("boot"), Deadline(BACK_SECONDS), stop)
    serial, network = (ear.read_bytes() if ear.is_file() else b"" for ear in ears)
    recorded = _brought(machine, errand) if back else b""
    console = of_test_kernel(serial, errand.release) or recorded
    console = with_last_words(console, (network, *(machine.dumps() if back else ())), errand.release)
    errand.console.write_bytes(console)
    if back:
        machine.clean()
    else:
        errand.control.write_bytes(b"")
    control = errand.control.read_bytes()
    result = boot_of(control, console, limits, time.monotonic() - began, _lost(machine.whom, back, control, lasts))
    if stop.is_set() and not back:
        return _interrupted(result), " ".join(cmdline)
    return result, " ".join(cmdline)


def _brought(machine: KexecMachine, errand: Errand) -> bytes:
    """Brings the results here, and what the test kernel said: that is the answer."""
    archive = errand.scratch / "back.tar"
    machine.fetch(archive)
    files = unpacked(archive, errand.results)
    errand.control.write_bytes(files.get("control", b""))
    return files.get("console", b"")


def _lost(whom: str, back: str, control: bytes, lasts: float) -> str:
    """Why nothing more is known, where nothing says how it ended."""
    if not back:
        return f"{whom} did not come back within {lasts:.0f} s"
    if not control:
        return f"{whom} came back with its own kernel, and the test kernel never got as far as its directory"
    return (
        f"{whom} came back, and nothing says how the test kernel ended: its last words are on a serial line, if "
        "anywhere (--machine-console)"
    )


def _interrupted(boot: Boot) -> Boot:
    """The user ended it."""
    return replace(boot, ending=Ending.INTERRUPTED)


@contextmanager
def _listening(
    errand: Errand, machine: KexecMachine, found: MachineFacts
) -> Iterator[tuple[tuple[Path, Path], tuple[str, ...]]]:
    """The files into which what is heard goes, of the serial line and of the network; and what the test kernel is
    told so that it is heard.
    """
    serial, network = errand.scratch / "serial", errand.scratch / "network"
    told = ramoops_arguments(found)
    with ExitStack() as stack:
        if errand.hands.console:
            stack.enter_context(_printing(errand.hands.console, serial))
        if errand.hands.netconsole is not None:
            port = stack.enter_context(listening(machine.peer, errand.hands.netconsole, network))
            told = (*told, netconsole_argument(found, machine.whom, port))
        yield (serial, network), told


@contextmanager
def _printing(words: tuple[str, ...], serial: Path) -> Iterator[None]:
    """The user's command, which prints the serial line of the machine into a file."""
    with serial.open("wb") as file, spawn(words, stdout=file) as process:
        time.sleep(_STARTS_SECONDS)
        if process.status is not None:
            raise UserError(f"the command {words[0]} ended at once", hint="--machine-console takes one that stays")
        yield
