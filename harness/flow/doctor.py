# SPDX-License-Identifier: GPL-2.0-only
"""What this host can do, what is missing, and the exact command that installs it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.guest import accel
from harness.guest.lending import give_back, is_lent, left_lent
from harness.guest.pci import PciBus
from harness.inputs.apt import apt_is_own
from harness.inputs.roots import IDS_HINT, without_ids
from harness.model.arch import guest_arch
from harness.model.errors import HarnessError, UserError
from harness.model.pci import PciDevice
from harness.model.units import GIB, MIB, format_size
from harness.proc import Deadline, find_tool, run, run_attached
from harness.sandbox import containment
from harness.store.layout import Layout

_DISK_NEEDED = 8 * GIB
_USUAL_RAM = 256 * MIB  # of a guest
_RAM_NEEDED = 2 * GIB
CONTAINMENT = "containment"


class Status(StrEnum):
    OK = "ok"
    MISSING = "missing"  # needed: nothing runs without it
    ABSENT = "absent"  # would help, is not needed


@dataclass(frozen=True, slots=True)
class HostCheck:
    """One line of the doctor. `package` is what installs it on this host, empty when nothing does."""

    name: str
    status: Status
    detail: str
    package: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """A package manager: how it installs, and in which column of the table its names stand."""

    name: str
    tool: str
    install: tuple[str, ...]
    column: int


FAMILIES = (
    Family("apt", "apt-get", ("apt-get", "install", "-y", "--no-install-recommends"), 0),
    Family("dnf", "dnf", ("dnf", "install", "-y"), 1),
    Family("pacman", "pacman", ("pacman", "-S", "--noconfirm", "--needed"), 2),
)


@dataclass(frozen=True, slots=True)
class Tool:
    """A program: why it is wanted, whether it is needed, and its package in each family's column."""

    program: str
    why: str
    needed: bool
    packages: tuple[str, str, str]


TOOLS = (
    Tool("gcc", "compiles the kernel", True, ("gcc", "gcc", "gcc")),
    Tool("make", "drives the build", True, ("make", "make", "make")),
    Tool("ld", "links the kernel", True, ("binutils", "binutils", "binutils")),
    Tool("flex", "Kconfig's lexer", True, ("flex", "flex", "flex")),
    Tool("bison", "Kconfig's parser", True, ("bison", "bison", "bison")),
    Tool("bc", "time constants of the kernel", True, ("bc", "bc", "bc")),
    Tool("perl", "scripts of the kernel build", True, ("perl", "perl", "perl")),
    Tool("xz", "unpacks kernel sources", True, ("xz-utils", "xz", "xz")),
    Tool("tar", "unpacks kernel sources", True, ("tar", "tar", "tar")),
    Tool("depmod", "lists modules for modprobe", True, ("kmod", "kmod", "kmod")),
    Tool("busybox", "the guest's shell and tools (static)", True, ("busybox-static", "busybox", "busybox")),
    Tool(guest_arch().qemu, "runs the guests", True, guest_arch().packages),
    Tool("vng", "starts QEMU (virtme-ng, from this project's dependencies)", True, ("", "", "")),
    Tool("git", "sources from git; applies the patches of a series", False, ("git", "git", "git")),
    Tool("patch", "says where and with what fuzz a hunk applies", False, ("patch", "patch", "patch")),
    Tool("b4", "series from lore (--series lore:MSGID)", False, ("b4", "b4", "b4")),
    Tool("bwrap", "contains what a build runs", False, ("bubblewrap", "bubblewrap", "bubblewrap")),
    Tool("ccache", "makes the next build faster", False, ("ccache", "ccache", "ccache")),
    Tool("apt-get", "kernel sources from Debian (--source debian)", False, ("apt", "", "")),
    Tool("dpkg-deb", "kernel sources from Debian (--source debian)", False, ("dpkg", "", "")),
    Tool("mmdebstrap", "root file systems of Debian (--root debian:SUITE)", False, ("mmdebstrap", "mmdebstrap", "")),
    Tool("unshare", "makes them in namespaces", False, ("util-linux", "util-linux", "util-linux")),
    Tool("newuidmap", "makes them without root", False, ("uidmap", "shadow-utils", "shadow")),
    Tool("rsync", "installs the kernel's selftests (--suite kselftest)", False, ("rsync", "rsync", "rsync")),
    Tool("virtiofsd", "not used: the shares are 9p", False, ("", "", "")),
)

TEST_TOOLS = (
    Tool("mmdebstrap", "the tests boot a root of Debian", True, ("mmdebstrap", "mmdebstrap", "")),
    Tool("rsync", "the tests install selftests of a kernel", True, ("rsync", "rsync", "rsync")),
    Tool("git", "the tests make repositories", True, ("git", "git", "git")),
    Tool("shellcheck", "the tests check the guest scripts", True, ("shellcheck", "ShellCheck", "shellcheck")),
    Tool("bwrap", "the tests attack what it contains", True, ("bubblewrap", "bubblewrap", "bubblewrap")),
    Tool("pg_ctlcluster", "the tests keep the index in PostgreSQL, too", False, ("postgresql", "", "")),
    Tool("systemd-analyze", "the tests verify the timer of `nightly`", False, ("systemd", "systemd", "systemd")),
    Tool("mkswap", "the tests compare swap signatures", True, ("util-linux", "util-linux", "util-linux")),
    Tool("chromium", "the tests look at the pages of `results site`", False, ("chromium", "chromium", "chromium")),
)


_ONLY_SNAPS = ("chromium",)  # what Ubuntu has as no package of apt's


@dataclass(frozen=True, slots=True)
class Compiles:
    """A header or a library, tried by compiling and linking a program with it."""

    name: str
    why: str
    program: str
    flags: tuple[str, ...]
    packages: tuple[str, str, str]


HEADERS = (
    Compiles(
        "libelf headers",
        "objtool",
        "#include <gelf.h>\nint main(void) { return 0; }\n",
        (),
        ("libelf-dev", "elfutils-libelf-devel", "libelf"),
    ),
    Compiles(
        "openssl headers",
        "signing tools of the kernel build",
        "#include <openssl/evp.h>\nint main(void) { return 0; }\n",
        (),
        ("libssl-dev", "openssl-devel", "openssl"),
    ),
    Compiles(
        "static C library",
        "load programs in the guest",
        "int main(void) { return 0; }\n",
        ("-static",),
        ("libc6-dev", "glibc-static", "glibc"),
    ),
)


def examine(layout: Layout, with_tests: bool = False) -> tuple[HostCheck, ...]:
    """All findings about this host; needs a few hundred milliseconds and changes nothing."""
    family = family_of_host()
    findings = [_python()]
    tools = {tool.program: tool for tool in (*TOOLS, *(TEST_TOOLS if with_tests else ()))}
    findings += [_tool(tool, family) for tool in tools.values()]
    findings += [_compiles(header, family) for header in HEADERS]
    if apt_is_own() and (without := without_ids()):
        findings.append(HostCheck("subordinate ids", Status.ABSENT, f"{without} (--root debian:SUITE); {IDS_HINT}"))
    findings += [_containment(family), _disk(layout), _ram(), _kvm(layout), *_devices(layout)]
    return tuple(findings)


def family_of_host() -> Family | None:
    """The package manager that this host has, if it is one that the table knows."""
    apt, *others = FAMILIES
    families = (apt, *others) if apt_is_own() else (*others, apt)
    return next((family for family in families if find_tool(family.tool) is not None), None)


def install_command(findings: tuple[HostCheck, ...], family: Family | None) -> tuple[str, ...]:
    """The words that install all that is missing or absent; empty when nothing is, or nothing can be."""
    packages = sorted(
        {finding.package for finding in findings if finding.status is not Status.OK and finding.package}
    )
    if not packages or family is None:
        return ()
    prefix = () if os.geteuid() == 0 else ("sudo",)
    return (*prefix, *family.install, *packages)


def fix(findings: tuple[HostCheck, ...], family: Family | None) -> None:
    """Runs the install command on the user's terminal; UserError when the package manager is not known."""
    command = install_command(findings, family)
    if not command:
        if family is None:
            raise UserError("no package manager that I know is on this host", hint="apt, dnf and pacman are known")
        return
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    if family is not None and family.name == "apt":
        run_attached((*command[: command.index("apt-get")], "apt-get", "update", "-q"), environment)
    run_attached(command, environment)


def _python() -> HostCheck:
    version = platform.python_version()
    status = Status.OK if sys.version_info >= (3, 11) else Status.MISSING
    return HostCheck("python", status, f"{version}, 3.11 or later is needed")


def _tool(tool: Tool, family: Family | None) -> HostCheck:
    path = find_tool(tool.program)
    package = tool.packages[family.column] if family is not None else ""
    if package in _ONLY_SNAPS and distribution() == "ubuntu":
        package = ""
    if path is not None:
        return HostCheck(tool.program, Status.OK, str(path))
    status = Status.MISSING if tool.needed else Status.ABSENT
    return HostCheck(tool.program, status, tool.why, package)


def distribution() -> str:
    """The ID of /etc/os-release: debian, ubuntu, fedora, …; empty where there is none."""
    try:
        return platform.freedesktop_os_release().get("ID", "")
    except OSError:
        return ""


def _compiles(header: Compiles, family: Family | None) -> HostCheck:
    package = header.packages[family.column] if family is not None else ""
    if find_tool("gcc") is None:
        return HostCheck(header.name, Status.MISSING, f"cannot be tried without gcc; {header.why}", package)
    with tempfile.TemporaryDirectory(prefix="harness-") as scratch:
        source = Path(scratch) / "try.c"
        source.write_text(header.program)
        try:
            run(("gcc", *header.flags, "-o", f"{scratch}/try", str(source)), deadline=Deadline(30.0))
        except HarnessError:
            return HostCheck(header.name, Status.MISSING, header.why, package)
    return HostCheck(header.name, Status.OK, header.why)


def _containment(family: Family | None) -> HostCheck:
    """Whether it works is one matter, whether bubblewrap is there another: some hosts allow nobody's namespaces."""
    found = containment()
    if found.backend:
        return HostCheck(CONTAINMENT, Status.OK, f"builds and guests are contained ({found.backend})")
    package = next(tool for tool in TOOLS if tool.program == "bwrap").packages[family.column] if family else ""
    missing = find_tool("bwrap") is None
    return HostCheck(CONTAINMENT, Status.ABSENT, found.sentence, package if missing else "")


def _disk(layout: Layout) -> HostCheck:
    free = shutil.disk_usage(layout.root).free
    status = Status.OK if free >= _DISK_NEEDED else Status.MISSING
    return HostCheck(
        "disk", status, f"{free / GIB:.1f} GiB free in {layout.root}, {format_size(_DISK_NEEDED)} needed"
    )


def _ram() -> HostCheck:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    status = Status.OK if total >= _RAM_NEEDED else Status.MISSING
    return HostCheck("RAM", status, f"{total / GIB:.1f} GiB, {format_size(_RAM_NEEDED)} needed")


def _devices(layout: Layout, bus: PciBus | None = None) -> Iterator[HostCheck]:
    """The GPUs that guests could have (docs/passthrough.md), and what was not given back."""
    bus = bus or PciBus()
    for address in left_lent(layout):
        if not is_lent(address, layout):
            yield HostCheck(
                f"vfio:{address}",
                Status.ABSENT,
                "lent by a command that was killed; doctor --fix gives it back",
            )
    for one in bus.functions():
        if one.is_display:
            against = [said.why for said in bus.objections(PciDevice(one.address), _USUAL_RAM)]
            can = f"{one.ids}, with {one.driver or 'no driver'}: " + ("; ".join(against) or "a guest can have it")
            yield HostCheck(f"vfio:{one.address}", Status.ABSENT if against else Status.OK, can)


def take_back(layout: Layout) -> None:
    """What killed commands have left lent goes back to its drivers. InfraError for the first that does not."""
    for address in left_lent(layout):
        if not is_lent(address, layout):
            give_back(address, layout)


def _kvm(layout: Layout) -> HostCheck:
    if not accel.KVM_DEVICE.exists():
        return HostCheck("KVM", Status.ABSENT, f"no {accel.KVM_DEVICE}: guests run under TCG, several times slower")
    if not os.access(accel.KVM_DEVICE, os.R_OK | os.W_OK):
        return HostCheck("KVM", Status.ABSENT, f"{accel.KVM_DEVICE} cannot be opened: join the group kvm")
    known = accel.remembered(layout)
    if known is None:
        return HostCheck("KVM", Status.ABSENT, "not probed yet: the first run boots a guest under it to find out")
    if known:
        return HostCheck("KVM", Status.OK, "a guest got ready under it")
    return HostCheck("KVM", Status.ABSENT, "it opens, but a guest under it never got ready: guests run under TCG")
