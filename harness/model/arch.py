# SPDX-License-Identifier: GPL-2.0-only
"""Architectures: what of kbuild, QEMU and the gate is another word on another one, a row each.

A process makes and boots kernels of one architecture, `guest_arch()`: the host's own. Everything that differs goes by
that row; only the words of a kernel's backtraces (evidence/), which logs from elsewhere have, too, and the page
tables that modules read (guest-scripts/module/attributes.c) are told apart where they are read.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass

from harness.model.errors import UserError
from harness.model.units import MIB


@dataclass(frozen=True, slots=True)
class Arch:
    """A row. `works` says that every suite of every profile was seen to run on it.

    To the kernel it is `name` (ARCH=, NAME.config of the fragments) and `folder` (arch/FOLDER); `image` is the target
    of make and what it leaves in the folder's boot. `triplet` is that of GNU tools for it, with which their names
    begin on a host of another architecture. `narrow` is the ARCH= of a 32-bit kernel that the same compiler makes.

    `machine` is what uname says on it. Its QEMU comes in the `packages` of apt, dnf and pacman; `vng` is its name
    there. `console` are the kernel arguments for the first serial port of the machine that vng takes, from the first
    message on; `stalled` those with which an NMI of QEMU's makes the kernel panic; `emulated` those that an emulated
    CPU needs. `firmware` is what the firmware may keep of the RAM, in bytes. `stops` is the device of QEMU's by which
    a module stops the guest, to have its memory looked at; empty where there is none.

    `first_argument` is the number of the register, in gdb's order, that has the first argument of a function.

    `attributes` is the config symbol under which a page's caching can be read back from the page table by the
    modules; without one the cases that need it are skipped.
    """

    name: str
    title: str
    machine: str
    folder: str
    image: str
    triplet: str
    narrow: str
    qemu: str
    packages: tuple[str, str, str]
    vng: str
    console: tuple[str, ...]
    stalled: tuple[str, ...]
    emulated: tuple[str, ...]
    firmware: int
    stops: str
    first_argument: int
    attributes: str
    works: bool

    @property
    def image_path(self) -> str:
        """Where make leaves the image, in the object directory."""
        return f"{self.source}/boot/{self.image}"

    @property
    def source(self) -> str:
        """What of a tree is this architecture's alone."""
        return f"arch/{self.folder}"

    @property
    def native(self) -> bool:
        """Whether this host is such a machine: its compiler makes what the guest runs, and KVM can run it."""
        return platform.machine() == self.machine

    @property
    def prefix(self) -> str:
        """What the names of its GNU tools begin with here: nothing, where they are the host's own."""
        return "" if self.native else f"{self.triplet}-"


X86_64 = Arch(
    name="x86_64",
    title="x86-64",
    machine="x86_64",
    folder="x86",
    image="bzImage",
    triplet="x86_64-linux-gnu",
    narrow="i386",
    qemu="qemu-system-x86_64",
    packages=("qemu-system-x86", "qemu-system-x86-core", "qemu-system-x86"),
    vng="amd64",
    console=("console=ttyS0,115200", "earlyprintk=serial,ttyS0,115200"),
    stalled=("unknown_nmi_panic",),
    # The second: watchdog_wait_seq() of 7.3 (kernel/time/clocksource.c) waits with interrupts off for a time that
    # stands still as long as jiffies are the clock; with the other CPU in stop_machine() that is for ever.
    emulated=("no_timer_check", "tsc=nowatchdog"),
    firmware=2 * MIB,  # QEMU's q35: 0x9fc00..1M and the tables of ACPI
    stops="pvpanic",  # port 0x505, known to guest-scripts/module/run.c
    first_argument=5,  # rdi
    attributes="X86_PAT",
    works=True,
)

ARM64 = Arch(
    name="arm64",
    title="arm64",
    machine="aarch64",
    folder="arm64",
    image="Image",
    triplet="aarch64-linux-gnu",
    narrow="",  # ARCH=arm wants a compiler of its own
    qemu="qemu-system-aarch64",
    packages=("qemu-system-arm", "qemu-system-aarch64-core", "qemu-system-aarch64"),
    vng="arm64",
    console=("console=ttyAMA0", "earlycon"),  # PL011 of QEMU's `virt`, found by its device tree
    stalled=(),  # that machine has no NMI
    emulated=(),
    firmware=0,
    stops="",
    first_argument=0,  # x0
    attributes="",
    # kunit-self on the profile tiny is good under TCG (QEMU 7.2), with the cases and skips of x86-64. Missing: a
    # guest that stalls is seen and ended, but not asked, as that QEMU lets no other input than vng's into a PL011
    # (it refuses chardev-change); evidence/stall.py reads where a CPU was from `RIP:` alone; lean and debug were
    # configured, not built.
    works=False,
)

ARCHES = (X86_64, ARM64)

_chosen: Arch | None = None


def guest_arch() -> Arch:
    """The architecture of the kernels of this process; x86-64 on a host that has no row that works."""
    return _chosen or _of_host() or X86_64


def choose(arch: Arch) -> None:
    """Takes another one, whether it works or not; to be called before anything was asked of a store."""
    global _chosen
    _chosen = arch


def require_guest_arch() -> None:
    """UserError on a host that builds no kernels, unless one was chosen on purpose."""
    if _chosen is None and _of_host() is None:
        titles = " and ".join(arch.title for arch in ARCHES if arch.works)
        raise UserError(
            f"the profiles are for {titles}, and this host is {platform.machine()}",
            hint=f"run it on an {titles} host",
        )


def _of_host() -> Arch | None:
    return next((arch for arch in ARCHES if arch.works and arch.native), None)
