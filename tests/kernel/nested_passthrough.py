# SPDX-License-Identifier: GPL-2.0-only
"""A device for a guest, on a host without one: a QEMU guest in the part of the host, with an IOMMU and a GPU.

    python -m tests.kernel.nested_passthrough PLACE RUN/BOOT

downloads Debian's kernel to PLACE, boots it under TCG with this host's root, read-only, and has the harness in there
lend a virtio-gpu to a guest of its own, which has the kernel of that kept boot. It prints what the guest saw on its
bus, and with which driver the device was before, meanwhile and after. By hand: a guest in a guest takes minutes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from harness.flow.boots import job_text, shares_of
from harness.flow.devices import devices_lent
from harness.guest.argv import Launch
from harness.guest.boot import boot
from harness.guest.initramfs import CpioArchive
from harness.guest.liveness import BootLimits
from harness.guest.pci import PciBus
from harness.judge.machine import machine_differences
from harness.model.cell import Cell
from harness.model.machine import Accel, Machine
from harness.model.swap import Swap
from harness.model.units import MIB
from harness.store.layout import Layout
from tests.unit.inputs_support import Heard

MODULES = (
    *("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci"),
    *("netfs", "fscache", "9pnet", "9pnet_virtio", "9p"),
    *("irqbypass", "vfio", "vfio_virqfd", "vfio_iommu_type1", "vfio-pci-core", "vfio-pci"),
)
FIRST = f"""#!/bin/sh
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in {" ".join(MODULES)}; do [ ! -f /mod/$module.ko ] || insmod /mod/$module.ko; done
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=262144,cache=loose host /host
for one in proc sys dev; do mount -o bind /$one /host/$one; done
mount -t tmpfs none /host/tmp; mount -t tmpfs none /host/run
chroot /host $(sed 's/.* -- //' /proc/cmdline)
echo "nested: status $?"
poweroff -f
"""
APPLETS = ("sh", "mount", "insmod", "chroot", "sed", "poweroff")
SECONDS = 2400


def main(place: Path, kept: Path) -> int:
    place.mkdir(parents=True, exist_ok=True)
    words = (sys.executable, "-m", "tests.kernel.nested_passthrough", "--inside", str(kept))
    here = Path(__file__).parents[2]
    inside = f"/usr/bin/env -C {here} TTM_HARNESS_STORE=/tmp/store HOME=/tmp {' '.join(words)}"
    kernel = _kernel(place)
    # fmt: off
    qemu = (
        "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", "2G", "-smp", "2",
        "-display", "none", "-vga", "none", "-net", "none", "-parallel", "none", "-serial", "stdio", "-no-reboot",
        "-device", "intel-iommu,intremap=on,caching-mode=on",
        "-device", "pcie-root-port,id=slot1,chassis=1,slot=1",
        "-device", "virtio-gpu-pci,bus=slot1,disable-legacy=on,iommu_platform=on",
        "-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap",
        "-device", "virtio-9p-pci,fsdev=host,mount_tag=host",
        "-kernel", str(next((kernel / "boot").glob("vmlinuz-*"))), "-initrd", str(_initramfs(place, kernel)),
        "-append", f"console=ttyS0 panic=-1 no_timer_check intel_iommu=on -- {inside}",
    )
    # fmt: on
    try:
        return subprocess.run(qemu, stdin=subprocess.DEVNULL, check=False, timeout=SECONDS).returncode
    except subprocess.TimeoutExpired:
        print(f"nothing came of it in {SECONDS} s")
        return 1


def _kernel(place: Path) -> Path:
    where = place / "kernel"
    if not where.exists():
        said = _run(("apt-cache", "depends", "linux-image-amd64"), place)
        name = next(line.split()[-1] for line in said.splitlines() if "Depends: linux-image-" in line)
        _run(("apt-get", "download", name), place)
        _run(("dpkg-deb", "-x", str(next(place.glob("linux-image-*.deb"))), str(where)), place)
    return where


def _initramfs(place: Path, kernel: Path) -> Path:
    archive = CpioArchive()
    for name in ("bin", "dev", "host", "mod", "proc", "sys"):
        archive.folder(name)
    for applet in APPLETS:
        archive.link(f"bin/{applet}", "busybox")
    archive.file("bin/busybox", Path(shutil.which("busybox") or "busybox").read_bytes())
    archive.file("init", FIRST.encode())
    for name in MODULES:
        for module in (kernel / "lib" / "modules").rglob(f"{name}.ko"):  # some are part of others in other versions
            archive.file(f"mod/{name}.ko", module.read_bytes())
    made = place / "first.cpio.gz"
    made.write_bytes(archive.end())
    return made


def _run(words: tuple[str, ...], place: Path) -> str:
    return subprocess.run(words, cwd=place, check=True, capture_output=True, text=True, timeout=900).stdout


def inside(kept: Path) -> int:
    """In the guest that is the host."""
    bus = PciBus()
    gpu = next(one for one in bus.functions() if one.is_display)
    stands_on = json.loads((kept / "stands-on.json").read_text())
    say(f"{gpu.address} {gpu.ids}, group {gpu.group}, resets {' '.join(gpu.resets)}: driver {gpu.driver!r}")
    layout = Layout(Path("/tmp/store"))  # a memory file system of this guest's own
    layout.root.mkdir()
    asked = Machine(128 * MIB, Swap.parse("none"), 1, Accel.TCG, device=f"vfio:{gpu.address}")
    with devices_lent((asked,), layout, Heard()) as devices, tempfile.TemporaryDirectory() as scratch:
        machine = replace(asked, device=devices[asked.device])
        say(f"lent as {machine.device}: driver {_driver(bus, gpu.address)!r}")
        place = Path(scratch)
        (place / "results").mkdir()
        (place / "results" / "job").write_text(job_text(Cell("nested", machine, (), 1)))
        (place / "results" / "suites").touch()
        launch = Launch(
            image=Path(stands_on["build"]) / "bzImage",
            root=Path(stands_on["root"]),
            machine=machine,
            accel=Accel.TCG,
            shares=shares_of(place / "results", Path(stands_on["modules"]), None),
            swap_disks=(),
            control=place / "control.log",
            qmp=place / "qmp",
        )
        result = boot(launch, place / "console.log", BootLimits(boot=1800.0, run=1800.0, silence=1800.0))
        say(f"the guest in the guest ended {result.ending}; {result.launcher.strip()[-500:]}")
        pci = result.facts.pci if result.facts is not None else ()
        say(f"it saw {' '.join(pci)}")
        unlike = [] if result.facts is None else [str(one) for one in machine_differences(machine, result.facts)]
        say(f"not as asked for: {unlike}")
    after = _driver(bus, gpu.address)
    say(f"given back: driver {after!r}")
    return 0 if gpu.ids in pci and after == gpu.driver and not unlike else 1


def _driver(bus: PciBus, address: str) -> str:
    function = bus.function(address)
    return function.driver if function is not None else "gone"


def say(text: str) -> None:
    print(f"nested: {text}", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "--inside":
        sys.exit(inside(Path(sys.argv[2])))
    sys.exit(main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()))
