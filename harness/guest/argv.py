# SPDX-License-Identifier: GPL-2.0-only
"""A launch -> the words of vng. Pure, golden-tested.

vng finds QEMU, exports the root file system and picks the accelerator; everything else (console, control port,
shares, disks, kernel command line) is passed to QEMU through `--qemu-opts`, because vng's own script mode sends
the console to nowhere, shares it with the script's output, or mounts tmpfs over directories (environment.md).
vng appends these options last and QEMU takes the last `-append`, so the command line below is the guest's whole.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from harness.model.arch import guest_arch
from harness.model.errors import UserError
from harness.model.machine import Accel, Machine
from harness.model.pci import PciDevice
from harness.model.units import MIB

CONTROL_PORT = "harness.control"
AGENT_PORT = "harness.agent"
ROOT_TAG = "harness.root"
NETWORK = "harnessnet"
BAD_SERIAL = "harness-bad"
_MSIZE = 131072
# What QEMU may no longer ask of the host's kernel, whatever a guest makes of it.
SYSTEM_CALLS = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"


@dataclass(frozen=True, slots=True)
class Share:
    """A host directory that the guest mounts by `tag` over 9p."""

    tag: str
    path: Path
    writable: bool = False


@dataclass(frozen=True, slots=True)
class SwapDisk:
    """An image that the guest finds by its `serial` and swaps on; bytes or operations a second, 0 for no limit."""

    path: Path
    serial: str
    bps: int = 0
    iops: int = 0


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything that one boot needs, as paths. `accel` is settled: never AUTO.

    `bad_disk` is an image that the guest sees as a disk whose every write fails (QEMU's blkdebug); `devices` are what
    it has beside all that, as after -device. With `agent`, the path of a socket that QEMU makes, the guest runs its
    agent for who connects there, and no suites. With `network` it has a card, over which nothing can be reached from
    inside; from outside what QEMU is told to forward. With `keep_state` QEMU does not end with its guest, but waits
    to be told: its memory is still to be read then.
    `breaks` is the address of a function of the kernel at which the guest stands still, to have its memory looked at.
    """

    image: Path
    root: Path
    machine: Machine
    accel: Accel
    shares: tuple[Share, ...]
    swap_disks: tuple[SwapDisk, ...]
    control: Path
    qmp: Path
    bad_disk: Path | None = None
    devices: tuple[str, ...] = ()
    agent: Path | None = None
    network: bool = False
    keep_state: bool = False
    breaks: int | None = None

    @property
    def gdb(self) -> Path:
        """The socket of QEMU's stub for gdb, where there is one: it sets breakpoints."""
        return self.qmp.with_name("gdb")


def kernel_cmdline(machine: Machine, accel: Accel) -> tuple[str, ...]:
    """The guest's kernel arguments; the machine's own come last, so that they win."""
    arch = guest_arch()
    words = [
        *arch.console,
        "ignore_loglevel",
        "printk.time=1",
        "printk.devkmsg=on",  # the runners' KTAP and markers must not be rate-limited
        "root=/dev/root",
        "rootfstype=9p",
        f"rootflags=version=9p2000.L,trans=virtio,access=any,msize={_MSIZE}",
        "ro",
        "init=/init",
        "panic=-1",  # with -no-reboot a panic ends QEMU
        "sysctl.kernel.hung_task_timeout_secs=60",  # a deadlock names itself before the deadlines of the suites
        *arch.stalled,  # nobody sends an NMI but the harness, to a guest that has stalled (stall.py)
    ]
    if accel is Accel.TCG:
        # An emulated CPU loses timer ticks when the host is busy; these are not the kernel's faults.
        words += [*arch.emulated, "watchdog_thresh=30", "rcupdate.rcu_cpu_stall_timeout=60"]
    return (*words, *machine.cmdline)


def qemu_words(launch: Launch) -> tuple[str, ...]:
    """The options that go to QEMU as they are."""
    # fmt: off
    words = [
        "-no-reboot",
        "-sandbox", SYSTEM_CALLS,
        "-qmp", f"unix:{_value(launch.qmp)},server=on,wait=off",
        "-chardev", f"file,id=harnessctl,path={_value(launch.control)}",
        "-device", "virtio-serial-pci,id=harnessserial",
        "-device", f"virtserialport,bus=harnessserial.0,name={CONTROL_PORT},chardev=harnessctl",
    ]
    if launch.keep_state:
        words += ["-action", "shutdown=pause,panic=pause"]
        if guest_arch().stops:
            words += ["-device", guest_arch().stops]
    if launch.breaks is not None:
        words += ["-gdb", f"unix:{_value(launch.gdb)},server=on,wait=off"]
    if launch.agent is not None:
        words += [
            "-chardev", f"socket,id=harnessagent,path={_value(launch.agent)},server=on,wait=off",
            "-device", f"virtserialport,bus=harnessserial.0,name={AGENT_PORT},chardev=harnessagent",
        ]
    for number, share in enumerate(launch.shares):
        # mapped-file: a symlink or a mode that the guest makes stays a fact inside the share.
        model = "mapped-file" if share.writable else "none,readonly=on"
        words += [
            "-fsdev", f"local,id=share{number},path={_value(share.path)},security_model={model},multidevs=remap",
            "-device", f"virtio-9p-pci,fsdev=share{number},mount_tag={share.tag}",
        ]
    for number, disk in enumerate(launch.swap_disks):
        limits = (("bps", disk.bps), ("iops", disk.iops))
        throttle = "".join(f",throttling.{unit}-total={limit}" for unit, limit in limits if limit)
        words += [
            "-drive", f"file={_value(disk.path)},format=raw,if=none,id=swap{number},cache=unsafe{throttle}",
            "-device", f"virtio-blk-pci,drive=swap{number},serial={disk.serial}",
        ]
    if launch.bad_disk is not None:
        file = f"file.driver=blkdebug,file.image.driver=file,file.image.filename={_value(launch.bad_disk)}"
        fault = "file.inject-error.0.event=write_aio,file.inject-error.0.errno=5,file.inject-error.0.once=off"
        words += [
            "-blockdev", f"driver=raw,node-name=baddisk,{file},{fault}",
            "-device", f"virtio-blk-pci,drive=baddisk,serial={BAD_SERIAL},werror=report",
        ]
    for device in launch.devices:
        words += ["-device", device]
    if launch.network:
        words += [
            "-netdev", f"user,id={NETWORK},restrict=on,ipv6=off",
            "-device", f"e1000,netdev={NETWORK},romfile=",
        ]
    if launch.machine.device:
        words += ["-device", f"vfio-pci,host={PciDevice.parse(launch.machine.device).address}"]
    words += ["-append", " ".join(kernel_cmdline(launch.machine, launch.accel))]
    # fmt: on
    return tuple(words)


def vng_argv(launch: Launch) -> tuple[str, ...]:
    """The command that boots the guest; its standard output is the console."""
    if launch.accel is Accel.AUTO:
        raise ValueError("the accelerator is settled before the launch")
    for path in (launch.image, launch.root):
        if shlex.quote(str(path)) != str(path):
            raise UserError(
                f"the path {path} has characters that vng's own shell would read",
                hint="name a store without blanks and shell characters with TTM_HARNESS_STORE",
            )
    # fmt: off
    words = [
        "vng",
        "--run", str(launch.image),
        "--root", str(launch.root),
        "--force-9p",
        "--disable-microvm",
        "--disable-monitor",
        "--memory", f"{launch.machine.ram // MIB}M",
        "--cpus", str(launch.machine.cpus),
    ]
    # fmt: on
    if launch.accel is Accel.TCG:
        words.append("--disable-kvm")
    if not guest_arch().native:
        words += ["--arch", guest_arch().vng]
    return (*words, f"--qemu-opts={shlex.join(qemu_words(launch))}")


def qemu_argv(launch: Launch, console: Path) -> tuple[str, ...]:
    """The command that boots the same guest without vng: QEMU's words as vng chooses them, but for its own guest
    tools, which the command line above has no use for. For x86-64.
    """
    accel = ("-accel", "kvm", "-cpu", "host") if launch.accel is Accel.KVM else ("-accel", "tcg", "-cpu", "max")
    # fmt: off
    return (
        guest_arch().qemu,
        "-machine", "q35", *accel,
        "-m", f"{launch.machine.ram // MIB}M",
        "-smp", str(launch.machine.cpus),
        "-device", "i6300esb",
        "-fsdev", f"local,id=root,path={_value(launch.root)},security_model=none,readonly=on,multidevs=remap",
        "-device", "virtio-9p-pci,fsdev=root,mount_tag=/dev/root",
        "-parallel", "none", "-net", "none", "-vga", "none", "-display", "none",
        "-serial", f"file:{_value(console)}",
        "-kernel", str(launch.image),
        *qemu_words(launch),
    )
    # fmt: on


def _value(path: Path) -> str:
    """A path inside a QEMU option, where a comma is written twice."""
    return str(path).replace(",", ",,")
