# SPDX-License-Identifier: GPL-2.0-only
"""A test machine, as far as no machine is needed: its address, what it says of itself, what came back of a boot."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.guest.initramfs import initramfs
from harness.guest.kexec import DiskPlace, MachineFacts, boot_of, kexec_cmdline, of_test_kernel, ram_limit
from harness.guest.liveness import BootLimits
from harness.guest.test_machine import unpacked
from harness.model.address import SshAddress
from harness.model.codec import from_json, to_json
from harness.model.errors import InfraError, UserError
from harness.model.machine import Accel, Machine, Swap
from harness.model.outcome import Ending
from harness.model.units import MIB

LIMITS = BootLimits(90.0, 600.0, 60.0)
IOMEM = """00001000-0009fbff : System RAM
00100000-3ffdbfff : System RAM
  01000000-01ffffff : Kernel code
100000000-13fffffff : System RAM
"""
GOOD = """boot 1
arch x86_64
release 6.1.0
cpus 4
kexec yes
disabled 0
lockdown none [none] integrity
device /dev/sda2
room 1000
mounted /
type ext4
uuid f5d1de64-e558-4b5d-b431-579c87f61366
within /
"""


@pytest.mark.parametrize(
    ("text", "user", "host", "port", "place"),
    [
        ("ssh:root@box", "root", "box", 22, "/var/lib/ttm-harness"),
        ("ssh:me@10.0.0.7:2222", "me", "10.0.0.7", 2222, "/var/lib/ttm-harness"),
        ("ssh:me@[fe80::1%eth0]:2222/srv/ttm", "me", "fe80::1%eth0", 2222, "/srv/ttm"),
    ],
)
def test_an_address_reads_back(text: str, user: str, host: str, port: int, place: str) -> None:
    address = SshAddress.parse(text)
    assert (address.user, address.host, address.port, address.place) == (user, host, port, place)
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "box", "ssh:box", "root@box", "ssh:root@", "ssh:root@box:", "ssh:root@box:0", "ssh:root@box:99999"),
        *(
            "ssh:-oProxyCommand=x@box",
            "ssh:root@-box",
            "ssh:root@box/",
            "ssh:root@box/srv",
            "ssh:root@box/srv/../etc",
        ),
        *("ssh:root@box/a b/c", "ssh:root@box/a;b/c", "ssh:root@box/srv/ttm\n", "ssh:root@box//srv//x"),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"test machine|directory of its own|for a port"):
        SshAddress.parse(text)


@given(st.text(alphabet="ssh:root@box[]:/.0123456789-_ ", max_size=40))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = SshAddress.parse(text)
    except UserError:
        return
    assert SshAddress.parse(str(address)) == address


def test_a_test_machine_is_another_machine_than_a_guest() -> None:
    there = Machine(at="ssh:root@box")
    assert there.accel is Accel.NONE
    assert there.identity != Machine(accel=Accel.TCG).identity
    assert from_json(Machine, to_json(there)) == there
    assert '"at"' not in to_json(Machine())  # what was written of guests stays as it is
    assert "ssh:root@box" in str(there)


@pytest.mark.parametrize(
    "machine",
    [
        {"at": "ssh:root@box", "accel": Accel.KVM},
        {"accel": Accel.NONE},
        {"at": "ssh:root@box", "swap": Swap.parse("slow:64M")},
    ],
)
def test_what_no_machine_can_be_is_refused(machine: dict[str, object]) -> None:
    with pytest.raises(UserError):
        Machine(**machine)  # type: ignore[arg-type]


def test_ram_is_counted_by_the_machines_own_map() -> None:
    low = 0x9FC00 - 0x1000
    assert ram_limit(IOMEM, 512 * MIB) == (0x100000 + 512 * MIB - low) // 4096 * 4096
    assert ram_limit(IOMEM, 1024 * MIB) > 4 << 30  # the rest of it lies above the hole
    with pytest.raises(UserError, match="2096616K of RAM, and 4G are asked for"):
        ram_limit(IOMEM, 4096 * MIB)
    with pytest.raises(UserError):
        ram_limit("", MIB)


def test_the_command_line_says_where_and_for_how_long() -> None:
    words = kexec_cmdline(Machine(cmdline=("quiet",), cpus=3), 512 * MIB, DiskPlace("uuid", "/srv/now"), 700)
    assert words[-1] == "quiet"
    assert {"mem=524288K", "nr_cpus=3", "harness.disk=uuid", "harness.place=/srv/now", "harness.most=700"} < {*words}
    assert "panic=-1" in words


def without(word: str, value: str = "") -> str:
    lines = [line for line in GOOD.splitlines() if not line.startswith(f"{word} ")]
    return "\n".join([*lines, f"{word} {value}"] if value else lines)


def test_a_machine_that_can_is_taken() -> None:
    facts = MachineFacts.parse(GOOD)
    facts.require_usable("box", 4)
    assert facts.place("box", "/var/lib/ttm") == DiskPlace("f5d1de64-e558-4b5d-b431-579c87f61366", "/var/lib/ttm")
    other = MachineFacts.parse(without("mounted", "/srv"))
    assert other.place("box", "/srv/ttm").path == "/ttm"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "of no known kind"),
        (without("arch", "aarch64"), "box is aarch64"),
        (GOOD + "lacks kexec\n", "box has no kexec"),
        (without("kexec"), "cannot start another one"),
        (without("lockdown", "none [integrity] confidentiality"), "locked down"),
        (without("disabled", "1"), "told to start no other kernel"),
        (without("cpus", "2"), "has 2 CPUs, and 4 are asked for"),
        (without("cpus", "9" * 30), "has 0 CPUs"),
    ],
)
def test_a_machine_that_cannot_is_told_why(text: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        MachineFacts.parse(text).require_usable("box", 4)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (without("type", "btrfs"), "btrfs"),
        (without("uuid"), "reads ext4 on a plain partition only"),
        (without("device", "/dev/mapper/root"), "more than a driver"),
        (without("within", "/@home"), "mounted elsewhere"),
    ],
)
def test_a_disk_that_the_test_kernel_would_not_find_is_told(text: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        MachineFacts.parse(text).place("box", "/var/lib/ttm")


FRAMES = ["ready 2.50", "fact release=7.3.4", "start s", "beat 4.00", "case s one", "beat 9.00"]


def control(*frames: str) -> bytes:
    return b"".join(
        f"@{kind} {len(text)} {text}\n".encode() for frame in frames for kind, _, text in [frame.partition(" ")]
    )


def test_what_ended_well_has_the_times_of_the_test_kernel() -> None:
    boot = boot_of(control(*FRAMES, "cases-end s", "result s 0", "exit 1"), b"[    1.0] x\n", LIMITS, 77.0, "lost")
    assert (boot.ending, boot.ready_after, boot.seconds, boot.stall) == (Ending.FINISHED, 2.5, 77.0, None)
    assert [(one.suite, one.status, one.seconds) for one in boot.suites] == [("s", 0, 6.5)]
    assert boot.accel == Accel.NONE


@pytest.mark.parametrize(
    ("console", "ending", "why"),
    [
        (b"[    9.1] Kernel panic - not syncing: sysrq triggered crash\n", Ending.PANICKED, ""),
        (
            b"[  690.1] ttm-harness: the time is over: restarting after 690 s\n",
            Ending.TIMEOUT,
            "restarted from inside",
        ),
        (b"[    9.1] something\n", Ending.LOST, "nobody knows"),
        (b"", Ending.LOST, "nobody knows"),
    ],
)
def test_what_did_not_end_well_is_told_apart(console: bytes, ending: Ending, why: str) -> None:
    boot = boot_of(control(*FRAMES), console, LIMITS, 77.0, "nobody knows")
    assert (boot.ending, boot.phase, boot.case) == (ending, "s", "one")
    assert why in (boot.stall.why if boot.stall is not None else "")


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_whatever_comes_back_is_never_good_without_its_exit(said: bytes, console: bytes) -> None:
    boot = boot_of(said, console, LIMITS, 1.0, "lost")
    assert boot.ending is not Ending.FINISHED or b"@exit" in said


@pytest.mark.parametrize("cut", range(0, 200, 7))
def test_a_channel_that_was_cut_is_no_end(cut: int) -> None:
    whole = control(*FRAMES, "cases-end s", "result s 0", "exit 1")
    assert boot_of(whole[: min(cut, len(whole) - 1)], b"", LIMITS, 1.0, "lost").ending is Ending.LOST


def test_of_a_serial_line_only_the_test_kernels_part_is_read() -> None:
    own = b"[  100.0] kexec_core: Starting new kernel\n"
    mine = b"[    0.0] Linux version 7.3.4 (someone) #1\n[    9.0] Kernel panic - not syncing: x\n"
    after = b"SeaBIOS\n[    0.0] Linux version 6.1.0-53 (them) #1\n[    1.0] BUG: theirs\n"
    assert of_test_kernel(own + mine + after, "7.3.4") == mine + b"SeaBIOS\n"
    assert of_test_kernel(own + mine, "7.3.4") == mine
    assert of_test_kernel(own + after, "7.3.4") == b""
    assert of_test_kernel(b"", "7.3.4") == b""


def test_the_initramfs_is_the_same_of_the_same_files(tmp_path: Path) -> None:
    for name in ("bin/busybox", "scripts/begin-on-disk", "tools/deadman"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{name}\n")
    data = initramfs(tmp_path)
    assert data == initramfs(tmp_path)
    plain = gzip.decompress(data)
    assert plain.startswith(b"070701") and b"TRAILER!!!" in plain and len(plain) % 4 == 0
    for word in (b"\0init\0", b"dev/console", b"bin/switch_root", b"scripts/begin-on-disk\n"):
        assert word in plain or word.strip(b"\0") in plain


def archive(path: Path, *members: tuple[str, bytes | None]) -> Path:
    with tarfile.open(path, "w") as file:
        for name, data in members:
            info = tarfile.TarInfo(name)
            if data is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            info.size = len(data or b"")
            file.addfile(info, io.BytesIO(data or b""))
    return path


def test_what_comes_back_stays_in_its_folder(tmp_path: Path) -> None:
    target = tmp_path / "results"
    target.mkdir()
    (target / "job").write_text("ours")
    made = archive(
        tmp_path / "a.tar",
        *(
            ("./s.log", b"said"),
            ("./s/x.ktap", b"ok"),
            ("./control", b"c"),
            ("./console", b"k"),
            ("./job", b"theirs"),
        ),
        *(("../out", b"x"), ("/abs", b"x"), ("link", None), ("link/passwd", b"x")),
    )
    assert unpacked(made, target) == {"control": b"c", "console": b"k"}
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"a.tar", "results/job", "results/s.log", "results/s/x.ktap", "results/link/passwd"}
    assert (target / "job").read_text() == "ours"
    assert not (target / "link").is_symlink()


def test_what_is_no_archive_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(InfraError, match="no archive"):
        unpacked(tmp_path / "a.tar", tmp_path)
