# SPDX-License-Identifier: GPL-2.0-only
"""A QEMU guest in the part of a test machine: a Debian with its own kernel, sshd and kexec-tools, on the loopback.

    python -m tests.kernel.played_machine PLACE [SECONDS]

makes it in PLACE (some minutes, 1.5 GiB), boots it, prints the command that runs there, and ends it after so many
seconds (an hour), or at Ctrl-C. Its serial line is PLACE/serial.log. What is written there is gone at its end.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import paramiko

from harness.cli.progress import TerminalProgress
from harness.guest.initramfs import CpioArchive
from harness.inputs.roots import obtain_root
from harness.inputs.source_cache import Work
from harness.model.root import RootSpec
from harness.proc import Deadline
from harness.store.layout import Layout

SUITE = "bookworm"
PACKAGE = "linux-image-cloud-amd64"
MODULES = (
    *("virtio", "virtio_ring", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_blk"),
    *("failover", "net_failover", "virtio_net"),
)
FIRST = f"""#!/bin/sh
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in {" ".join(MODULES)}; do insmod /mod/$module.ko; done
sleep 1
mount -t ext4 /dev/vda /disk && exec switch_root /disk /own-init
"""
OWN_INIT = """#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
for one in proc:/proc sysfs:/sys tmpfs:/run devpts:/dev/pts; do
	mkdir -p "${one#*:}"
	/bin/busybox mount -t "${one%:*}" own "${one#*:}"
done
/bin/busybox mount -t devtmpfs dev /dev; mkdir -p /dev/pts /run/sshd; /bin/busybox mount -t devpts pts /dev/pts
/bin/busybox ifconfig lo up
/bin/busybox ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
echo "the own system is up"
while :; do /usr/sbin/sshd -D -e; sleep 1; done
"""
UP_SECONDS = 300.0


@contextmanager
def played(place: Path, ram: str = "1024M") -> Iterator[int]:
    """The machine, once its sshd answers: the port of the loopback. `place/home` is for HOME of who goes there."""
    port = _free_port()
    kernel = _kernel(place)
    disk = _disk(place, port)
    begins = _initramfs(place, kernel)
    image = next((kernel / "boot").glob("vmlinuz-*"))
    words = (
        *("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", ram, "-smp", "2"),
        *("-display", "none", "-vga", "none", "-parallel", "none", "-device", "i6300esb"),
        *("-kernel", str(image), "-initrd", str(begins), "-append", "console=ttyS0 panic=-1"),
        *("-drive", f"file={disk},format=raw,if=virtio,snapshot=on"),
        *("-netdev", f"user,id=n,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"),
        *("-device", "virtio-net-pci,netdev=n,romfile=", "-serial", f"file:{place}/serial.log"),
    )
    with subprocess.Popen(words, stdin=subprocess.DEVNULL) as process:
        try:
            _wait(port, process)
            yield port
        finally:
            process.kill()


def _kernel(place: Path) -> Path:
    """Debian's own, as its package has it."""
    where = place / "kernel"
    if not where.exists():
        said = _run(("apt-cache", "depends", PACKAGE), place)
        name = next(line.split()[-1] for line in said.splitlines() if "Depends: linux-image-" in line)
        _run(("apt-get", "download", name), place)
        _run(("dpkg-deb", "-x", str(next(place.glob("linux-image-*.deb"))), str(where)), place)
    return where


def _initramfs(place: Path, kernel: Path) -> Path:
    busybox = Path(shutil.which("busybox") or "busybox").read_bytes()
    archive = CpioArchive()
    for name in ("bin", "dev", "disk", "mod", "proc", "sys"):
        archive.folder(name)
    for applet in ("sh", "mount", "insmod", "sleep", "switch_root"):
        archive.link(f"bin/{applet}", "busybox")
    archive.file("bin/busybox", busybox)
    archive.file("init", FIRST.encode())
    for name in MODULES:
        archive.file(f"mod/{name}.ko", next((kernel / "lib" / "modules").rglob(f"{name}.ko")).read_bytes())
    made = place / "own.cpio.gz"
    made.write_bytes(archive.end())
    return made


def _disk(place: Path, port: int) -> Path:
    """Of a Debian root, with keys that are made for it."""
    spec = RootSpec.parse(f"debian:{SUITE}+openssh-server+kexec-tools")
    tree = obtain_root(spec, Work(Layout.from_environment(), Deadline(1800.0), TerminalProgress(quiet=True))).tree
    disk = place / "disk.img"
    with tempfile.TemporaryDirectory(dir=place) as work:
        root = Path(work) / "root"
        _run(("cp", "-a", str(tree), str(root)), place)
        (root / "own-init").write_text(OWN_INIT)
        (root / "own-init").chmod(0o755)
        shutil.copy(shutil.which("busybox") or "busybox", root / "bin" / "busybox")
        _keys(place, root, port)
        disk.unlink(missing_ok=True)
        _run(("mke2fs", "-q", "-t", "ext4", "-d", str(root), str(disk), "1500M"), place)
    return disk


def _keys(place: Path, root: Path, port: int) -> None:
    ours, theirs = place / "home" / ".ssh", root / "root" / ".ssh"
    for folder in (ours, theirs):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    key = paramiko.ECDSAKey.generate()
    key.write_private_key_file(str(ours / "id_ecdsa"))
    (theirs / "authorized_keys").write_text(f"{key.get_name()} {key.get_base64()}\n")
    kind, text = (root / "etc/ssh/ssh_host_ecdsa_key.pub").read_text().split()[:2]
    (ours / "known_hosts").write_text(f"[127.0.0.1]:{port} {kind} {text}\n")


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + UP_SECONDS
    while time.monotonic() < limit and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), 5.0) as connection:
                connection.settimeout(5.0)
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        time.sleep(1.0)
    raise RuntimeError("the played machine does not come up: see its serial.log")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _run(words: Sequence[str], place: Path) -> str:
    return subprocess.run(words, cwd=place, check=True, capture_output=True, text=True, timeout=900).stdout


def main() -> None:
    place = Path(sys.argv[1]).resolve()
    place.mkdir(parents=True, exist_ok=True)
    with played(place) as port:
        print(
            f"HOME={place}/home TTM_HARNESS_STORE={Layout.from_environment().root} ttm-harness run --profile tiny "
            "--fragment kernel-configs/machine.config --suite kunit-self --swap disk:64M "
            f"--machine ssh:root@127.0.0.1:{port} --machine-console 'tail -n 0 -F {place}/serial.log'",
            flush=True,
        )
        time.sleep(float(sys.argv[2]) if len(sys.argv) > 2 else 3600.0)


if __name__ == "__main__":
    os.umask(0o022)
    main()
