# SPDX-License-Identifier: GPL-2.0-only
"""Machine -> argv: golden, because this is where a guest silently becomes another one than was asked for."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from harness.guest.argv import Launch, Share, SwapDisk, kernel_cmdline, qemu_argv, qemu_words, vng_argv
from harness.guest.boot import as_started
from harness.guest.swap import swap_disks
from harness.model.errors import UserError
from harness.model.machine import Accel, Machine, Swap
from harness.model.units import MIB

LAUNCH = Launch(
    image=Path("/s/bzImage"),
    root=Path("/s/root"),
    machine=Machine(accel=Accel.TCG),
    accel=Accel.TCG,
    shares=(
        Share("harness.results", Path("/r/results"), writable=True),
        Share("harness.modules", Path("/s/modules")),
    ),
    swap_disks=(SwapDisk(Path("/r/swap0.img"), "harness-swap0"),),
    control=Path("/r/control.log"),
    qmp=Path("/t/qmp"),
)

CMDLINE = (
    "console=ttyS0,115200 earlyprintk=serial,ttyS0,115200 ignore_loglevel printk.time=1 printk.devkmsg=on "
    "root=/dev/root rootfstype=9p rootflags=version=9p2000.L,trans=virtio,access=any,msize=131072 ro init=/init "
    "panic=-1 sysctl.kernel.hung_task_timeout_secs=60 unknown_nmi_panic"
)
TCG_WORDS = "no_timer_check tsc=nowatchdog watchdog_thresh=30 rcupdate.rcu_cpu_stall_timeout=60"


def test_vng_under_tcg() -> None:
    *words, opts = vng_argv(LAUNCH)
    assert words == [
        *("vng", "--run", "/s/bzImage", "--root", "/s/root", "--force-9p", "--disable-microvm", "--disable-monitor"),
        *("--memory", "256M", "--cpus", "2", "--disable-kvm"),
    ]
    assert opts.startswith("--qemu-opts=")
    assert tuple(shlex.split(opts.removeprefix("--qemu-opts="))) == qemu_words(LAUNCH)


def test_without_vng() -> None:
    words = qemu_argv(LAUNCH, Path("a,b.log"))
    front = words[: -len(qemu_words(LAUNCH))]
    assert front == (
        *("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", "256M", "-smp", "2"),
        *("-device", "i6300esb"),
        *("-fsdev", "local,id=root,path=/s/root,security_model=none,readonly=on,multidevs=remap"),
        *("-device", "virtio-9p-pci,fsdev=root,mount_tag=/dev/root"),
        *("-parallel", "none", "-net", "none", "-vga", "none", "-display", "none", "-serial", "file:a,,b.log"),
        *("-kernel", "/s/bzImage"),
    )
    assert words[-len(qemu_words(LAUNCH)) :] == qemu_words(LAUNCH)
    assert qemu_argv(replace(LAUNCH, accel=Accel.KVM), Path("c"))[3:7] == ("-accel", "kvm", "-cpu", "host")


def test_qemu_words_with_swap() -> None:
    assert qemu_words(LAUNCH) == (
        *("-no-reboot", "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
        *("-qmp", "unix:/t/qmp,server=on,wait=off"),
        *("-chardev", "file,id=harnessctl,path=/r/control.log"),
        *("-device", "virtio-serial-pci,id=harnessserial"),
        *("-device", "virtserialport,bus=harnessserial.0,name=harness.control,chardev=harnessctl"),
        *("-fsdev", "local,id=share0,path=/r/results,security_model=mapped-file,multidevs=remap"),
        *("-device", "virtio-9p-pci,fsdev=share0,mount_tag=harness.results"),
        *("-fsdev", "local,id=share1,path=/s/modules,security_model=none,readonly=on,multidevs=remap"),
        *("-device", "virtio-9p-pci,fsdev=share1,mount_tag=harness.modules"),
        *("-drive", "file=/r/swap0.img,format=raw,if=none,id=swap0,cache=unsafe"),
        *("-device", "virtio-blk-pci,drive=swap0,serial=harness-swap0"),
        *("-append", f"{CMDLINE} {TCG_WORDS}"),
    )


def test_an_agent_has_a_port_of_its_own_whose_socket_lies_beside_the_monitors() -> None:
    words = qemu_words(as_started(replace(LAUNCH, agent=Path("/t/agent"))))
    at = words.index("socket,id=harnessagent,path=agent,server=on,wait=off")
    assert words[at + 1 : at + 3] == (
        "-device",
        "virtserialport,bus=harnessserial.0,name=harness.agent,chardev=harnessagent",
    )
    without = (*words[: at - 1], *words[at + 3 :])
    assert without == qemu_words(as_started(LAUNCH))


def test_a_guest_has_no_network_unless_it_is_asked_for() -> None:
    plain = qemu_words(LAUNCH)
    assert not any("netdev" in word or "hostfwd" in word for word in plain)
    words = qemu_words(replace(LAUNCH, network=True))
    own = ("-netdev", "user,id=harnessnet,restrict=on,ipv6=off", "-device", "e1000,netdev=harnessnet,romfile=")
    assert words == (*plain[:-2], *own, *plain[-2:])


def test_several_disks_have_serials_and_limits_of_their_own() -> None:
    swap = Swap.parse("disk:1G@9+zram:64M@8+slow:1G:4M@7+slow:1G:100iops@6")
    words = qemu_words(replace(LAUNCH, swap_disks=swap_disks(swap, Path("/r"))))
    at = words.index("-drive")
    assert words[at:-2] == (
        *("-drive", "file=/r/swap0.img,format=raw,if=none,id=swap0,cache=unsafe"),
        *("-device", "virtio-blk-pci,drive=swap0,serial=harness-swap0"),
        *("-drive", "file=/r/swap2.img,format=raw,if=none,id=swap1,cache=unsafe,throttling.bps-total=4194304"),
        *("-device", "virtio-blk-pci,drive=swap1,serial=harness-swap2"),
        *("-drive", "file=/r/swap3.img,format=raw,if=none,id=swap2,cache=unsafe,throttling.iops-total=100"),
        *("-device", "virtio-blk-pci,drive=swap2,serial=harness-swap3"),
    )


def test_a_disk_that_fails_writes() -> None:
    words = qemu_words(replace(LAUNCH, bad_disk=Path("/r/bad.img")))
    at = words.index("-blockdev")
    assert words[at : at + 4] == (
        "-blockdev",
        "driver=raw,node-name=baddisk,file.driver=blkdebug,file.image.driver=file,file.image.filename=/r/bad.img,"
        "file.inject-error.0.event=write_aio,file.inject-error.0.errno=5,file.inject-error.0.once=off",
        "-device",
        "virtio-blk-pci,drive=baddisk,serial=harness-bad,werror=report",
    )


def test_devices_that_a_suite_asks_for() -> None:
    words = " ".join(qemu_words(replace(LAUNCH, devices=("qxl,ram_size_mb=32", "usb-tablet"))))
    assert " -device qxl,ram_size_mb=32 -device usb-tablet " in words


def test_without_swap_there_is_no_disk() -> None:
    words = " ".join(qemu_words(replace(LAUNCH, swap_disks=())))
    assert "-drive" not in words
    assert "virtio-blk" not in words


def test_kvm_keeps_the_kernels_own_watchdogs() -> None:
    launch = replace(LAUNCH, accel=Accel.KVM)
    assert "--disable-kvm" not in vng_argv(launch)
    assert " ".join(kernel_cmdline(launch.machine, Accel.KVM)) == CMDLINE


def test_own_arguments_come_last() -> None:
    machine = Machine(cmdline=("watchdog_thresh=5",))
    assert kernel_cmdline(machine, Accel.TCG)[-1] == "watchdog_thresh=5"


def test_ram_and_cpus_are_passed() -> None:
    words = vng_argv(replace(LAUNCH, machine=Machine(ram=512 * MIB, swap=Swap(), cpus=4)))
    assert words[words.index("--memory") + 1] == "512M"
    assert words[words.index("--cpus") + 1] == "4"


def test_a_comma_in_a_path_is_doubled() -> None:
    words = qemu_words(replace(LAUNCH, control=Path("/r/a,b")))
    assert "file,id=harnessctl,path=/r/a,,b" in words


def test_a_path_that_a_shell_would_read_is_refused() -> None:
    with pytest.raises(UserError, match="shell"):
        vng_argv(replace(LAUNCH, root=Path("/s/my root")))


def test_an_unsettled_accelerator_is_refused() -> None:
    with pytest.raises(ValueError, match="settled"):
        vng_argv(replace(LAUNCH, accel=Accel.AUTO))


def test_a_guest_whose_state_is_kept_waits_to_be_told_and_is_else_the_same() -> None:
    words = list(qemu_words(replace(LAUNCH, keep_state=True)))
    at = words.index("-action")
    assert words[at : at + 4] == ["-action", "shutdown=pause,panic=pause", "-device", "pvpanic"]
    assert (*words[:at], *words[at + 4 :]) == qemu_words(LAUNCH)


def test_a_breakpoint_is_set_through_a_socket_beside_the_monitors() -> None:
    words = list(qemu_words(replace(LAUNCH, keep_state=True, breaks=0xFFFF_FFFF_8122_A2C0)))
    at = words.index("-gdb")
    assert words[at + 1] == f"unix:{LAUNCH.qmp.parent}/gdb,server=on,wait=off"
    assert (*words[:at], *words[at + 2 :]) == qemu_words(replace(LAUNCH, keep_state=True))
