# SPDX-License-Identifier: GPL-2.0-only
"""Boots on a test machine that is a fake: a server of paramiko's on the loopback, which runs the harmless ones of the
scripts on this host, in a directory of the test, and plays the rest. It never goes anywhere.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import paramiko
import pytest

from harness.guest import kexec_machine, test_machine
from harness.guest.boot import Boot
from harness.guest.kexec_machine import KexecMachine, held
from harness.guest.liveness import BootLimits
from harness.guest.ssh import HostKeyChanged, NotReached
from harness.guest.test_machine import Errand, Hands, boot_there
from harness.model.address import SshAddress
from harness.model.errors import HarnessError, InfraError, UserError
from harness.model.machine import Machine, Swap
from harness.model.outcome import Ending
from harness.store.layout import Layout
from tests.unit.test_ssh import Server

LIMITS = BootLimits(2.0, 2.0, 2.0)
FACTS = """arch x86_64
release 6.1.0
cpus 4
kexec yes
disabled 0
lockdown
device /dev/sda2
room 4000000
mounted /
type ext4
uuid f5d1de64-e558-4b5d-b431-579c87f61366
within /
peer 127.0.0.1
route 127.0.0.1 dev eth0 src 127.0.0.1
card eth0 52:54:00:12:34:56
ramoops mem_address 939524096
ramoops mem_size 1048576
ram 00001000-0009fbff : System RAM
ram 00100000-3ffdbfff : System RAM
"""
FRAMES = ("ready 2.50", "start s", "case s one", "beat 9.00")
END = ("cases-end s", "result s 0", "exit 1")
LOG = "[    0.0] Linux version 7.3.4 (us) #1\n[    1.0] ttm-harness: suite s begin\n[    2.0] it runs\n"


class FakeMachine:
    """`leaves` is what its test kernel does once it is there: frames, and what is on the console."""

    def __init__(self, place: Path, user: Any) -> None:  # noqa: ANN401
        self.place = place
        self.user = user
        self.key = paramiko.ECDSAKey.generate()
        self.facts = FACTS
        self.boots = 1
        self.frames: tuple[str, ...] | None = (*FRAMES, *END)
        self.log = LOG
        self.loads = "\n1\n"
        self.goes = True
        self.comes_back = True
        self.full = False
        self.sent = 0
        self.words: list[str] = []
        self.sends = b""
        self.dumped = b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.transports: list[Any] = []
        threading.Thread(target=self.serve, daemon=True).start()

    @property
    def address(self) -> SshAddress:
        return SshAddress("root", "127.0.0.1", self.port, str(self.place))

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(self.key)
            self.transports.append(transport)
            transport.start_server(threading.Event(), server=FakeSession(self))

    def played(self, command: str) -> tuple[str, str] | None:
        """What it says to what is not done on this host: standard output and error."""
        if "kernel/random/boot_id" in command:
            return (f"boot {self.boots}\n{self.facts}" if "System RAM" in command else f"{self.boots}\n"), ""
        if "kexec_loaded" in command:
            self.words.append(command)
            return self.loads, ""
        if "sysrq" in command:
            self.go()
            return "", ""
        if "/sys/fs/pstore" in command:
            return ("" if "now/dumps" in command and "head" not in command else f"{self.dumped.decode()}\n\0"), ""
        assert "kexec" not in command.replace("kexec_", "")
        if self.full and "parts" in command and "cat >" in command:
            return "", "cat: write error: No space left on device\n"
        return None

    def go(self) -> None:
        if not self.goes:
            return
        self.boots += 1
        results = self.place / "now" / "results"
        if self.frames is not None:
            pairs = [frame.partition(" ") for frame in self.frames]
            (results / "control").write_text("".join(f"@{kind} {len(text)} {text}\n" for kind, _, text in pairs))
            (results / "console").write_text(self.log)
            (results / "s.log").write_text("said\n")
        if match := re.search(r"netconsole=\S+,(\d+)@127.0.0.1/", self.words[-1]):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
                mouth.sendto(self.sends, ("127.0.0.1", int(match[1])))
        if not self.comes_back:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()

    def close(self) -> None:
        self.listener.close()
        for transport in self.transports:
            transport.close()


class FakeSession(Server):
    def __init__(self, machine: FakeMachine) -> None:
        super().__init__(f"{machine.user.get_name()} {machine.user.get_base64()}\n".encode())
        self.machine = machine

    def execute(self, channel: Any, command: bytes) -> None:  # noqa: ANN401
        """Once all of the input is there: then the client has been told that the command runs."""
        given = b""
        while piece := channel.recv(1 << 16):
            given += piece
        answer = self.machine.played(command.decode())
        if answer is None:
            done = subprocess.run(("sh", "-c", command), input=given, capture_output=True, check=False, timeout=60)
            out, err, status = done.stdout, done.stderr, done.returncode
        else:
            out, err, status = b"1\n" + answer[0].encode(), answer[1].encode(), bool(answer[1])
        try:
            channel.sendall(out)
            channel.sendall_stderr(err)
            channel.send_exit_status(int(status))
            channel.close()
        except OSError:
            return  # the client has gone


@pytest.fixture(name="home")
def fixture_home(tmp_path: Path) -> Path:
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    return tmp_path / "home"


@pytest.fixture(name="machine")
def fixture_machine(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMachine]:
    monkeypatch.setattr(kexec_machine, "_POLL_SECONDS", 0.05)
    monkeypatch.setattr(kexec_machine, "_LEAVE_SECONDS", 1.0)
    monkeypatch.setattr(test_machine, "BACK_SECONDS", 1.0)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    user = paramiko.ECDSAKey.generate()
    user.write_private_key_file(str(home / ".ssh" / "id_ecdsa"))
    machine = FakeMachine(tmp_path / "there" / "ours", user)
    know(home, machine, machine.key)
    yield machine
    machine.close()


def know(home: Path, machine: FakeMachine, key: Any) -> None:  # noqa: ANN401
    line = f"[127.0.0.1]:{machine.port} {key.get_name()} {key.get_base64()}\n"
    (home / ".ssh" / "known_hosts").write_text(line)


@pytest.fixture(name="errand")
def fixture_errand(tmp_path: Path) -> Errand:
    """What would be booted: no kernel, but this host's busybox, which makes the swap."""
    root, modules, results, scratch = (tmp_path / name for name in ("root", "modules", "results", "scratch"))
    busybox = shutil.which("busybox")
    assert busybox is not None
    for name in ("bin", "scripts", "tools"):
        (root / name).mkdir(parents=True)
    shutil.copy(busybox, root / "bin" / "busybox")
    (root / "scripts" / "begin-on-disk").write_text("#!/bin/sh\n")
    (root / "tools" / "deadman").write_text("")
    for folder in (modules, results, scratch):
        folder.mkdir()
    (modules / "modules.dep").write_text("x.ko:\n")
    (results / "job").write_text("HARNESS_SEED=1\n")
    (results / "suites").write_text("s suite-s\n")
    (tmp_path / "bzImage").write_bytes(b"a kernel" * 1000)
    return Errand(
        machine=Machine(at="ssh:root@box", swap=Swap.parse("disk:4M")),
        release="7.3.4",
        image=tmp_path / "bzImage",
        root=root,
        modules=modules,
        extra=None,
        results=results,
        console=tmp_path / "console.log",
        control=tmp_path / "control.log",
        scratch=scratch,
        swap=(("harness-swap0", 4 << 20),),
    )


@pytest.fixture(name="layout")
def fixture_layout(tmp_path: Path) -> Layout:
    (tmp_path / "store").mkdir()
    return Layout(tmp_path / "store")


@pytest.fixture(name="boot")
def fixture_boot(machine: FakeMachine, layout: Layout, home: Path) -> Callable[..., tuple[Boot, str]]:
    def boot(errand: Errand, name: str = "here") -> tuple[Boot, str]:
        with held(machine.address, layout, (home, name), lambda text: None) as there:
            return boot_there(errand, there, LIMITS, lambda text: None, threading.Event())

    return boot


Booted = Callable[..., tuple[Boot, str]]


def test_a_boot_brings_back_what_a_guest_leaves(machine: FakeMachine, errand: Errand, boot: Booted) -> None:
    result, cmdline = boot(errand)
    assert (result.ending, result.suites[0].suite) == (Ending.FINISHED, "s")
    assert errand.console.read_text() == LOG
    assert errand.control.read_text().startswith("@ready 4 2.50\n")
    assert (errand.results / "s.log").read_text() == "said\n"
    assert (errand.results / "job").read_text() == "HARNESS_SEED=1\n"
    assert f"harness.place={machine.place}/now" in cmdline and "mem=" in cmdline
    assert f"--command-line={cmdline}" in " ".join(shlex.split(shlex.split(machine.words[0])[-1]))
    assert not (machine.place / "now").exists()  # with the swap, which the machine keeps for nobody
    assert not machine.place.stat().st_mode & 0o077


def test_only_what_differs_is_sent(machine: FakeMachine, errand: Errand, boot: Booted) -> None:
    boot(errand)
    before = {path.name: path.stat().st_mtime_ns for path in (machine.place / "parts").iterdir()}
    errand.image.write_bytes(b"another kernel")
    boot(errand)
    after = {path.name: path.stat().st_mtime_ns for path in (machine.place / "parts").iterdir()}
    assert set(after) - set(before) == {hashlib.sha256(b"another kernel").hexdigest()}
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("begun", [b"a kernela ker", b"something else", b"a kernel" * 2000])
def test_sending_goes_on_where_it_ended(machine: FakeMachine, errand: Errand, boot: Booted, begun: bytes) -> None:
    """A part that was begun and is what it should be, or is not, or is longer."""
    boot(errand)
    digest = hashlib.sha256(errand.image.read_bytes()).hexdigest()
    (machine.place / "parts" / digest).unlink()
    (machine.place / "parts" / f"{digest}.part").write_bytes(begun)
    with_damage = next(path for path in (machine.place / "parts").iterdir() if len(path.name) == 64)
    with_damage.write_bytes(b"damaged")
    machine.facts = FACTS
    result, _ = boot(errand)
    assert result.ending is Ending.FINISHED
    for path in (machine.place / "parts").iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


def test_an_old_kernel_that_comes_back_is_no_end(machine: FakeMachine, errand: Errand, boot: Booted) -> None:
    machine.frames = None
    result, _ = boot(errand)
    assert (result.ending, result.phase, result.ready_after) == (Ending.LOST, "launch", None)
    assert result.stall is not None and "came back with its own kernel" in result.stall.why


def test_a_kernel_that_ends_without_a_word_is_lost(machine: FakeMachine, errand: Errand, boot: Booted) -> None:
    machine.frames = FRAMES
    result, _ = boot(errand)
    assert (result.ending, result.phase, result.case) == (Ending.LOST, "s", "one")
    assert result.stall is not None and "nothing says how" in result.stall.why


def test_a_wedge_is_ended_from_inside(machine: FakeMachine, errand: Errand, boot: Booted) -> None:
    machine.frames = FRAMES
    machine.log = f"{LOG}[   10.0] ttm-harness: the time is over: restarting after 10 s\n"
    assert boot(errand)[0].ending is Ending.TIMEOUT


def test_a_panic_is_heard_on_the_serial_line(
    machine: FakeMachine, errand: Errand, boot: Booted, tmp_path: Path
) -> None:
    machine.frames = FRAMES
    panic = f"{LOG}[    9.0] Kernel panic - not syncing: on purpose\n"
    (tmp_path / "line").write_text(f"own words\n{panic}[    0.0] Linux version 6.1.0 (them) #1\n")
    hands = Hands(console=("sh", "-c", f"cat {tmp_path}/line; exec sleep 60"))
    result, _ = boot(replace(errand, hands=hands))
    assert result.ending is Ending.PANICKED
    assert errand.console.read_text() == panic


def test_a_panic_is_heard_over_the_network(machine: FakeMachine, errand: Errand, boot: Booted) -> None:
    machine.frames = FRAMES
    panic = "[    9.0] Kernel panic - not syncing: on purpose\n"
    machine.sends = f"{LOG}{panic}".encode()
    result, cmdline = boot(replace(errand, hands=Hands(netconsole=0)))
    assert (result.ending, errand.console.read_text()) == (Ending.PANICKED, LOG + panic)
    assert "netconsole=@127.0.0.1/52:54:00:12:34:56," in cmdline


def test_a_panic_is_read_from_the_memory_that_stays(machine: FakeMachine, errand: Errand, boot: Booted) -> None:
    machine.frames = FRAMES
    panic = "[    9.0] Kernel panic - not syncing: on purpose\n"
    machine.dumped = "".join(f"<4>{line}\n" for line in f"{LOG}{panic}".splitlines()).encode()
    result, cmdline = boot(errand)
    assert (result.ending, errand.console.read_text()) == (Ending.PANICKED, LOG + panic)
    assert "memmap=0x100000$0x38000000 ramoops.mem_address=939524096" in cmdline


def test_what_an_earlier_kernel_left_in_memory_is_not_this_ones(tmp_path: Path) -> None:
    kept, moved = tmp_path / "sys/fs/pstore", tmp_path / "var/lib/systemd/pstore/2026"
    kept.mkdir(parents=True)
    moved.mkdir(parents=True)
    (tmp_path / "now").mkdir()
    (kept / "dmesg-ramoops-0").write_text("old panic\n")
    (kept / "console-ramoops-0").write_text("old console\n")
    (moved / "console-ramoops-0").write_text("older console\n")

    def run(script: str) -> str:
        here = script.replace("/sys/fs", f"{tmp_path}/sys/fs").replace("/var/lib", f"{tmp_path}/var/lib")
        words = ("sh", "-c", f"place={tmp_path}\n{here}")
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout

    assert run(kexec_machine._DUMPS + kexec_machine._NOTE_DUMPS) == ""
    (kept / "dmesg-ramoops-0").rename(moved / "dmesg-ramoops-0")
    (kept / "dmesg-ramoops-0").write_text("new panic\n")
    (kept / "console-ramoops-0").rename(moved / "console-ramoops-1")
    (kept / "console-ramoops-0").write_text("new console\n")
    said = run(kexec_machine._DUMPS + kexec_machine._NEW_DUMPS)
    assert sorted(said.split("\n\0")) == ["", "new console\n", "new panic\n"]
    assert not (kept / "dmesg-ramoops-0").exists()


def test_a_machine_that_does_not_come_back_is_lost(machine: FakeMachine, errand: Errand, boot: Booted) -> None:
    machine.comes_back = False
    result, _ = boot(errand)
    assert result.ending is Ending.LOST
    assert result.stall is not None and "did not come back within" in result.stall.why


def test_a_machine_that_does_not_come_back_is_restarted_by_hand(
    machine: FakeMachine, errand: Errand, boot: Booted, tmp_path: Path
) -> None:
    machine.comes_back = False
    told = tmp_path / "told"

    def restart() -> None:
        limit = time.monotonic() + 60.0
        while not told.exists() and time.monotonic() < limit:
            time.sleep(0.05)
        machine.listener = socket.create_server(("127.0.0.1", machine.port))
        machine.serve()

    threading.Thread(target=restart, daemon=True).start()
    result, _ = boot(replace(errand, hands=Hands(power=("sh", "-c", f"echo once >>{told}"))))
    assert (result.ending, told.read_text()) == (Ending.FINISHED, "once\n")


def test_a_machine_that_stays_is_told(machine: FakeMachine, errand: Errand, boot: Booted) -> None:
    machine.goes = False
    with pytest.raises(InfraError, match="did not leave its own kernel"):
        boot(errand)


def test_a_kernel_that_is_not_taken_is_told(machine: FakeMachine, errand: Errand, boot: Booted) -> None:
    machine.loads = "kexec_load failed: Operation not permitted\n\n0\n"
    with pytest.raises(UserError, match="does not take the test kernel: kexec_load failed: Operation not permitted"):
        boot(errand)


@pytest.mark.parametrize("room", ["room 1000", "room"])
def test_a_disk_without_room_is_told_before(machine: FakeMachine, errand: Errand, boot: Booted, room: str) -> None:
    machine.facts = FACTS.replace("room 4000000", room)
    with pytest.raises(InfraError, match=r"free at .*, and .* are needed"):
        boot(errand)
    assert not list((machine.place / "parts").iterdir())


def test_a_disk_that_fills_up_is_told(machine: FakeMachine, errand: Errand, boot: Booted) -> None:
    machine.full = True
    with pytest.raises(InfraError, match="is full"):
        boot(errand)


def test_another_host_key_is_refused(machine: FakeMachine, errand: Errand, boot: Booted, home: Path) -> None:
    know(home, machine, paramiko.ECDSAKey.generate())
    with pytest.raises(HostKeyChanged, match="has another host key"):
        boot(errand)
    assert not machine.place.exists()


def test_an_unknown_host_key_is_not_taken(machine: FakeMachine, errand: Errand, boot: Booted, home: Path) -> None:
    (home / ".ssh" / "known_hosts").unlink()
    with pytest.raises(UserError, match="is not known here"):
        boot(errand)
    assert not (home / ".ssh" / "known_hosts").exists()


def test_a_wrong_key_is_told(machine: FakeMachine, errand: Errand, boot: Booted, home: Path) -> None:
    paramiko.ECDSAKey.generate().write_private_key_file(str(home / ".ssh" / "id_ecdsa"))
    with pytest.raises(UserError, match="does not let you in"):
        boot(errand)


def test_a_machine_that_is_not_there_is_told(machine: FakeMachine, errand: Errand, boot: Booted) -> None:
    machine.listener.shutdown(socket.SHUT_RDWR)
    with pytest.raises(NotReached, match="cannot be reached: Connection refused"):
        boot(errand)


def claim_of(machine: FakeMachine, layout: Layout, home: Path, name: str, seconds: float) -> tuple[KexecMachine, str]:
    with held(machine.address, layout, (home, name), lambda text: None) as there:
        return there, there.claim(seconds)


def test_a_machine_that_another_host_uses_is_left_to_it(
    machine: FakeMachine, errand: Errand, boot: Booted, layout: Layout, home: Path
) -> None:
    assert claim_of(machine, layout, home, "there", 600.0)[1] == ""
    with pytest.raises(InfraError, match=r"is used by there \(for \d+ s at most\)"):
        boot(errand)
    assert machine.boots == 1


@pytest.mark.parametrize(("name", "seconds"), [("here", 600.0), ("there", 0.0)])
def test_a_claim_of_a_killed_run_is_taken_over(
    machine: FakeMachine, errand: Errand, boot: Booted, layout: Layout, home: Path, name: str, seconds: float
) -> None:
    """One of this store, which is held by nobody; or another's, whose time is over. What it left goes."""
    assert claim_of(machine, layout, home, name, seconds)[1] == ""
    (machine.place / "now" / "swap").mkdir(parents=True)
    (machine.place / "now" / "swap" / "left").write_text("x")
    time.sleep(1.1 if not seconds else 0.0)
    assert boot(errand)[0].ending is Ending.FINISHED
    assert not (machine.place / "now").exists()


def test_two_runs_of_one_store_come_one_after_the_other(machine: FakeMachine, layout: Layout, home: Path) -> None:
    said: list[str] = []
    stop = threading.Event()

    def second() -> None:
        try:
            with held(machine.address, layout, (home, "here"), said.append, stop):
                said.append("mine")
        except HarnessError:
            said.append("gave up")

    with held(machine.address, layout, (home, "here"), said.append):
        thread = threading.Thread(target=second)
        thread.start()
        limit = time.monotonic() + 30.0
        while not said and time.monotonic() < limit:
            time.sleep(0.05)
        assert re.search("waiting for root@127.0.0.1.*, which another run uses", said[0])
    thread.join(30.0)
    assert said[1:] == ["mine"]


def test_nothing_of_ours_stays(
    machine: FakeMachine, errand: Errand, boot: Booted, layout: Layout, home: Path
) -> None:
    boot(errand)
    with held(machine.address, layout, (home, "here"), lambda text: None) as there:
        assert there.claim(0.0) == ""
        there.leave()
    assert not machine.place.exists()


@pytest.mark.parametrize("link", [False, True])
def test_a_directory_that_is_not_ours_is_left_alone(
    machine: FakeMachine, errand: Errand, boot: Booted, link: bool, tmp_path: Path
) -> None:
    machine.place.parent.mkdir(parents=True)
    theirs = machine.place if not link else tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "file").write_text("theirs")
    if link:
        machine.place.symlink_to(theirs)
    with pytest.raises(UserError, match="not the harness' own directory"):
        boot(errand)
    assert [path.name for path in theirs.iterdir()] == ["file"]
