# SPDX-License-Identifier: GPL-2.0-only
"""A QEMU guest in the part of a test machine: a Debian with its own kernel, sshd and kexec-tools, on the loopback.

    python -m tests.kernel.played_machine PLACE [SECONDS]

makes it in PLACE (some minutes, 1.5 GiB), boots it, prints the command that runs there, and ends it after so many
seconds (an hour), or at Ctrl-C. Its serial line is PLACE/serial.log, it has ramoops, and it reaches this host, as
netconsole must. What is written there is gone at its end.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
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
    *("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_blk"),
    *("failover", "net_failover", "virtio_net", "reed_solomon", "ramoops"),
)
# Memory that a restart leaves alone: a panic's last words are in there.
KEPT = "1M$0x38000000"
RAMOOPS = "mem_address=0x38000000 mem_size=0x100000 record_size=0x20000 console_size=0x40000"
FIRST = f"""#!/bin/sh
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in {" ".join(MODULES)}; do
	case $module in
	ramoops) insmod /mod/$module.ko {RAMOOPS} ;;
	*) insmod /mod/$module.ko ;;
	esac
done
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
/bin/busybox mount -t pstore pstore /sys/fs/pstore
echo "the own system is up"
while :; do /usr/sbin/sshd -D -e; sleep 1; done
"""
UP_SECONDS = 300.0


@contextmanager
def played(place: Path, ram: str = "1024M") -> Iterator[int]:
    """The machine, once its sshd answers: the port of the loopback. `place/home` is for HOME of who goes there.

    A restart is another QEMU with the same memory, a file: in one that goes on, each store to where there was code
    before is so slow that a page takes seconds.
    """
    port = _free_port()
    kernel = _kernel(place)
    disk = _disk(place, port)
    begins = _initramfs(place, kernel)
    image = next((kernel / "boot").glob("vmlinuz-*"))
    words = (
        *("qemu-system-x86_64", "-machine", "q35,memory-backend=ram", "-accel", "tcg", "-cpu", "max", "-smp", "2"),
        *("-m", ram, "-object", f"memory-backend-file,id=ram,size={ram},mem-path={place}/ram,share=on"),
        *("-display", "none", "-vga", "none", "-parallel", "none", "-device", "i6300esb", "-no-reboot"),
        *("-kernel", str(image), "-initrd", str(begins), "-append", f"console=ttyS0 panic=-1 memmap={KEPT}"),
        *("-drive", f"file={disk},format=raw,if=virtio"),
        *("-netdev", f"user,id=n,hostfwd=tcp:127.0.0.1:{port}-:22"),
        *("-device", "virtio-net-pci,netdev=n,romfile="),
        *("-chardev", f"file,id=serial,path={place}/serial.log,append=on", "-serial", "chardev:serial"),
    )
    for name in ("ram", "serial.log"):
        (place / name).unlink(missing_ok=True)
    ends = threading.Event()
    lives: list[subprocess.Popen[bytes]] = []

    def live() -> None:
        while not ends.is_set():
            lives.append(subprocess.Popen(words, stdin=subprocess.DEVNULL))
            lives[-1].wait()
            ends.wait(1.0)

    thread = threading.Thread(target=live, daemon=True)
    thread.start()
    try:
        _wait(port, thread)
        yield port
    finally:
        ends.set()
        lives[-1].kill()
        thread.join()


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
    spec = RootSpec.parse(f"debian:{SUITE}+openssh-server+kexec-tools+iproute2")
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


def _wait(port: int, thread: threading.Thread) -> None:
    limit = time.monotonic() + UP_SECONDS
    while time.monotonic() < limit and thread.is_alive():
        try:
            with socket.create_connection(("127.0.0.1", port), 30.0) as connection:
                connection.settimeout(30.0)  # sshd of a busy host takes its time
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
            f"HOME={place}/home TTM_HARNESS_STORE={Layout.from_environment().root} ttm-harness run --profile machine "
            "--suite pressure --ram 512M --append no_timer_check "
            f"--machine ssh:root@127.0.0.1:{port} --machine-console 'tail -n 0 -F {place}/serial.log'\n"
            "or --machine-console netconsole; no_timer_check, as a busy emulator fails what it leaves out",
            flush=True,
        )
        time.sleep(float(sys.argv[2]) if len(sys.argv) > 2 else 3600.0)


if __name__ == "__main__":
    os.umask(0o022)
    main()
