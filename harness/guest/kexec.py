# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel on a test machine is told, and what came back of it. Pure.

It begins where the machine's own kernel left off, by kexec, with as much RAM as was asked for and a directory on the
machine's disk. Nobody hears it meanwhile: how it went is read when the machine is back.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness.guest.boot import Boot, BootProgress, number_said
from harness.guest.control import ControlFrame, ControlReader
from harness.guest.liveness import BootLimits, Liveness
from harness.guest.stall import Stall
from harness.model.arch import guest_arch
from harness.model.errors import UserError
from harness.model.machine import Accel, Machine
from harness.model.outcome import Ending
from harness.model.units import format_size

_RANGE = re.compile(r"([0-9a-f]{1,16})-([0-9a-f]{1,16}) : System RAM")
_PAGE = 4096
_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,6})?")
_OVER = b"ttm-harness: the time is over"  # load/deadman.c
_VERSION = re.compile(rb"(?m)^.*\bLinux version (\S{1,200}) ")


@dataclass(frozen=True, slots=True)
class DiskPlace:
    """A directory on a file system: its UUID, and the path there."""

    uuid: str
    path: str


def ram_limit(iomem: str, asked: int) -> int:
    """The address below which the machine has so many bytes of RAM, by its own /proc/iomem. UserError where it has
    less.
    """
    left = asked
    for match in _RANGE.finditer(iomem):
        begin, end = int(match[1], 16), int(match[2], 16) + 1
        if end - begin >= left:
            return (begin + left) // _PAGE * _PAGE
        left -= end - begin
    has = format_size((asked - left) // _PAGE * _PAGE)
    raise UserError(
        f"the test machine has {has} of RAM, and {format_size(asked)} are asked for",
        hint="a smaller --ram",
    )


def kexec_cmdline(
    machine: Machine, limit: int, place: DiskPlace, most: int, heard: Sequence[str] = ()
) -> tuple[str, ...]:
    """The arguments of a kernel that is to be back after `most` seconds, with those by which it is `heard`; the
    machine's own come last.
    """
    return (
        guest_arch().console[0],  # no early one: where there is no such port it would take minutes
        "ignore_loglevel",
        "printk.time=1",
        "printk.devkmsg=on",
        "panic=-1",
        "sysctl.kernel.hung_task_timeout_secs=60",
        f"mem={limit >> 10}K",
        f"nr_cpus={machine.cpus}",
        f"harness.disk={place.uuid}",
        f"harness.place={place.path}",
        f"harness.most={most}",
        *heard,
        *machine.cmdline,
    )


def of_test_kernel(said: bytes, release: str) -> bytes:
    """What the test kernel said, of all that came over a serial line: from its first words to those of the kernel
    after it. Nothing where it did not begin.
    """
    versions = list(_VERSION.finditer(said))
    for number, match in enumerate(versions):
        if match[1] == release.encode():
            end = versions[number + 1].start() if number + 1 < len(versions) else len(said)
            return said[match.start() : end]
    return b""


def boot_of(control: bytes, console: bytes, limits: BootLimits, seconds: float, lost: str) -> Boot:
    """How it went, by what was left. `seconds` it took on the host's clock; `lost` says why nothing more is known,
    where nothing says how it ended.
    """
    now = 0.0
    reader, seen = ControlReader(), BootProgress(0.0)
    alive = Liveness(limits, lambda: now)
    frames = reader.feed(control)
    reader.end()
    for frame in frames:
        now = _time_of(frame, now)
        seen.take(frame, now)
        alive.frame(frame)
    alive.console(console)
    ending, why = Ending.LOST, lost
    if alive.panicked:
        ending, why = Ending.PANICKED, ""
    elif seen.exited:
        ending, why = Ending.FINISHED, ""
    elif _OVER in console:
        ending, why = (
            Ending.TIMEOUT,
            "the test kernel was not done in time, and the machine was restarted from inside",
        )
    return Boot(
        ending=ending,
        phase=seen.phase,
        facts=seen.guest_facts(),
        taint_end=number_said(seen.facts.get("taint_end", ""), None),
        suites=tuple(seen.suites),
        garbage=tuple(reader.garbage),
        launcher=lost,
        stall=Stall(why, "running", False, len(console), why) if why else None,
        accel=str(Accel.NONE),
        ready_after=seen.ready_after,
        seconds=seconds,
        case="" if ending is Ending.FINISHED else alive.case,
        announced=tuple(seen.announced.items()),
    )


def _time_of(frame: ControlFrame, before: float) -> float:
    """Seconds of the test kernel's own clock; it does not go back."""
    if frame.kind in ("ready", "beat") and _SECONDS.fullmatch(frame.text):
        return max(before, float(frame.text))
    return before


_LOCKED = "the kernel of {whom} is locked down ({how}), and starts no other kernel than one that is signed for it"


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """What a test machine says of itself, `word value` a line (guest/test_machine.py asks)."""

    said: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, text: str) -> MachineFacts:
        return cls(tuple((word, rest) for line in text.splitlines() for word, _, rest in [line.partition(" ")]))

    def get(self, word: str) -> str:
        return next((value.strip() for name, value in self.said if name == word), "")

    def all(self, word: str) -> tuple[str, ...]:
        return tuple(value for name, value in self.said if name == word)

    def require_usable(self, whom: str, cpus: int) -> None:
        """UserError where it cannot be a test machine, with what it lacks."""
        if self.get("arch") != guest_arch().machine:
            raise UserError(
                f"{whom} is {self.get('arch') or 'of no known kind'}, and kernels are built for {guest_arch().title}"
            )
        if lacks := self.all("lacks"):
            package = "kexec-tools" if "kexec" in lacks else "util-linux"
            raise UserError(f"{whom} has no {', '.join(lacks)}", hint=f"install {package} there")
        if self.get("kexec") != "yes":
            raise UserError(
                f"the own kernel of {whom} ({self.get('release')}) cannot start another one",
                hint="it is without CONFIG_KEXEC; boot it with one that has it, as distributions' have",
            )
        locked = re.search(r"\[(\w+)\]", self.get("lockdown"))
        if locked is not None and locked[1] != "none":
            hint = "turn Secure Boot off there, or boot it without lockdown= on its command line"
            raise UserError(_LOCKED.format(whom=whom, how=locked[1]), hint=hint)
        if self.get("disabled") == "1":
            hint = "kernel.kexec_load_disabled is 1, which lasts until it restarts: take it out of its sysctl.d"
            raise UserError(f"{whom} was told to start no other kernel", hint=hint)
        have = number_said(self.get("cpus"), 0)
        if have < cpus:
            raise UserError(f"{whom} has {have} CPUs, and {cpus} are asked for", hint="a smaller --cpus")

    def place(self, whom: str, directory: str) -> DiskPlace:
        """Where the directory lies on its disk; UserError where the test kernel would not find it."""
        device, mount = self.get("device"), self.get("mounted")
        if self.get("type") != "ext4" or not self.get("uuid"):
            raise UserError(
                f"{directory} of {whom} lies on {device} ({self.get('type') or 'of no known type'}), and the test "
                "kernel reads ext4 on a plain partition only",
                hint="name a directory on one that it can read: ssh:USER@HOST/PATH",
            )
        if device.startswith(("/dev/mapper/", "/dev/dm-", "/dev/md", "/dev/loop")):
            raise UserError(
                f"{directory} of {whom} lies on {device}, which takes more than a driver to get at",
                hint="name a directory on a plain partition: ssh:USER@HOST/PATH",
            )
        if self.get("within") not in ("", "/"):
            raise UserError(
                f"{directory} of {whom} lies in {self.get('within')} of {device}, which is mounted elsewhere",
                hint="name a directory whose file system is mounted whole",
            )
        path = directory if mount == "/" else directory.removeprefix(mount)
        return DiskPlace(self.get("uuid"), path)


def why_not_loaded(said: str) -> str:
    """What kexec said, in its last words."""
    lines: Sequence[str] = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "kexec said nothing"
