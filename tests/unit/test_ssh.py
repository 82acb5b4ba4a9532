# SPDX-License-Identifier: GPL-2.0-only
"""ssh into a guest, whose sshd is a server of paramiko's here that runs the commands on this host."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest
from paramiko.common import cMSG_CHANNEL_REQUEST

from harness.guest import ssh as ssh_module
from harness.guest.agent import CommandBad, CommandTimedOut, Ended, NotStarted
from harness.guest.ssh import SshDoor
from harness.model.errors import InfraError, UserError
from harness.proc import Deadline

SECONDS = 30.0


class Server(paramiko.ServerInterface):  # type: ignore[misc]
    """Lets in who has the key that was put into the guest, and runs what that asks for in a group of its own."""

    def __init__(self, authorized: bytes) -> None:
        self.authorized = authorized

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: Any) -> int:  # noqa: ANN401
        known = f"{key.get_name()} {key.get_base64()}\n".encode() == self.authorized
        return int(paramiko.AUTH_SUCCESSFUL if known and username == "root" else paramiko.AUTH_FAILED)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(paramiko.OPEN_SUCCEEDED)

    def check_channel_exec_request(self, channel: Any, command: bytes) -> bool:  # noqa: ANN401
        threading.Thread(target=self.execute, args=(channel, command), daemon=True).start()
        return True

    def execute(self, channel: Any, command: bytes) -> None:  # noqa: ANN401
        theirs, ours = os.pipe()
        with subprocess.Popen(
            ("sh", "-c", command),
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            assert process.stdout and process.stderr
            os.close(theirs)
            threading.Thread(target=self.copy, args=(channel.recv, ours), daemon=True).start()
            pipes = ((process.stdout, channel.sendall), (process.stderr, channel.sendall_stderr))
            readers = [threading.Thread(target=self.pump, args=pair, daemon=True) for pair in pipes]
            for reader in readers:
                reader.start()
            status = process.wait()
            for reader in readers:
                reader.join()
            if status < 0:
                message = paramiko.Message()
                message.add_byte(cMSG_CHANNEL_REQUEST)
                message.add_int(channel.remote_chanid)
                message.add_string("exit-signal")
                message.add_boolean(False)
                message.add_string(signal.Signals(-status).name.removeprefix("SIG"))
                message.add_boolean(False)
                message.add_string("")
                message.add_string("")
                channel.transport._send_user_message(message)
            else:
                channel.send_exit_status(status)
            channel.close()

    @staticmethod
    def copy(receive: Callable[[int], bytes], handle: int) -> None:
        try:
            while data := receive(4096):
                os.write(handle, data)
        except OSError:
            pass
        os.close(handle)

    @staticmethod
    def pump(stream: Any, send: Callable[[bytes], None]) -> None:  # noqa: ANN401
        while data := os.read(stream.fileno(), 4096):
            try:
                send(data)
            except OSError:
                return


class Sshd:
    """As an agent's command."""

    def __init__(self) -> None:
        self.ended: Ended | None = None
        self.said = b""

    @property
    def done(self) -> bool:
        return self.ended is not None

    def wait(self, deadline: Deadline) -> Ended | None:
        return self.ended

    def follow(self, out: Callable[[bytes], None], err: Callable[[bytes], None]) -> Ended:
        err(self.said)
        return Ended(0, 0)


class Guest:
    """What a door needs of a guest: an agent that takes files, and a port that leads to sshd."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.sshd = Sshd()
        self.host_key: Any = None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.transports: list[Any] = []
        threading.Thread(target=self.serve, daemon=True).start()

    def run(self, words: tuple[str, ...], *, source: bytes = b"", **_: object) -> Ended:
        if source:
            self.files[words[-1]] = source
        return Ended(0, 0, os.environ["PATH"].encode())

    def spawn(self, words: tuple[str, ...]) -> Sshd:
        return self.sshd

    def require(self) -> None: ...

    def forward(self, address: str, port: int) -> int:
        assert (address, port) == ("10.0.2.15", 22)
        return self.port

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            if self.sshd.done:
                connection.close()
                continue
            transport = paramiko.Transport(connection)
            key = io.StringIO(self.files["/run/ssh/host"].decode())
            transport.add_server_key(self.host_key or paramiko.ECDSAKey.from_private_key(key))
            self.transports.append(transport)
            transport.start_server(threading.Event(), server=Server(self.files["/run/ssh/authorized"]))


@pytest.fixture(name="guest")
def fixture_guest() -> Iterator[Guest]:
    guest = Guest()
    yield guest
    guest.listener.close()
    for transport in guest.transports:
        transport.close()


@pytest.fixture(name="door")
def fixture_door(guest: Guest, tmp_path: Path) -> Iterator[SshDoor]:
    door = SshDoor(guest, guest.forward, tmp_path / "sshd.log")  # type: ignore[arg-type]
    yield door
    door.close()


def test_a_command_ends_as_it_does(door: SshDoor) -> None:
    ended = door.run(("sh", "-c", "cat; echo e >&2; exit 3"), source=b"in\0put", timeout=SECONDS)
    assert (ended.status, ended.signal, ended.out, ended.err) == (3, 0, b"in\0put", b"e\n")
    assert door.run(("sh", "-c", "kill -9 $$"), timeout=SECONDS).signal == signal.SIGKILL
    assert door.run(("pwd",), directory="/usr", timeout=SECONDS).out == b"/usr\n"
    assert door.run(("printenv", "A"), environment={"A": "b 'c\n"}, timeout=SECONDS).out == b"b 'c\n\n"
    assert door.run(("printf", "%s|", "a b", "$x", "'"), timeout=SECONDS).out == b"a b|$x|'|"
    assert door.run(("true",), timeout=SECONDS).good
    with pytest.raises(CommandBad, match="status 5"):
        door.run(("sh", "-c", "exit 5"), check=True, timeout=SECONDS)
    with pytest.raises(NotStarted, match="No such file"):
        door.run(("no-such",), timeout=SECONDS)


def test_output_of_any_size_goes_to_who_takes_it(door: SshDoor) -> None:
    taken = []
    ended = door.run(("head", "-c", "5000000", "/dev/zero"), out=lambda piece: taken.append(len(piece)))
    assert (sum(taken), ended.out) == (5_000_000, b"")


def test_a_timeout_kills_the_whole_group(door: SshDoor) -> None:
    with pytest.raises(CommandTimedOut) as caught:
        door.run(("sh", "-c", "echo begun $$; sleep 97 & sleep 97"), timeout=2)
    assert caught.value.gone
    group = int(caught.value.out.split()[1])
    limit = time.monotonic() + SECONDS
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < limit:
            os.killpg(group, 0)
            time.sleep(0.05)


def test_another_host_key_is_refused(door: SshDoor, guest: Guest) -> None:
    guest.host_key = paramiko.ECDSAKey.generate()
    with pytest.raises(InfraError, match="is not the guest: its host key is another one"):
        door.connected()


def test_keys_are_made_for_one_guest(door: SshDoor, guest: Guest, tmp_path: Path) -> None:
    with door.connected():
        pass
    files = dict(guest.files)
    other = SshDoor(guest, guest.forward, tmp_path / "other.log")  # type: ignore[arg-type]
    with other.connected():
        pass
    for name in ("host", "authorized"):
        assert files[f"/run/ssh/{name}"] != guest.files[f"/run/ssh/{name}"]
    assert b"PasswordAuthentication no" in files["/run/ssh/config"]


@pytest.mark.parametrize(
    ("ended", "said", "kind", "why"),
    [
        (Ended(255, 0), b"bad configuration\n", InfraError, "sshd ended with status 255: bad configuration"),
        (Ended(0, 9), b"", InfraError, "sshd was ended by signal 9"),
        (Ended(4, 0), b"", UserError, "the guest's root has no sshd"),
        (Ended(3, 0), b"", InfraError, "network card cannot be set up"),
    ],
)
def test_an_sshd_that_dies_is_a_sentence(
    door: SshDoor, guest: Guest, ended: Ended, said: bytes, kind: type[Exception], why: str
) -> None:
    guest.sshd.ended, guest.sshd.said = ended, said
    with pytest.raises(kind, match=why):
        door.run(("true",))


def test_a_connection_that_breaks_is_a_sentence(door: SshDoor, guest: Guest) -> None:
    def breaks(piece: bytes) -> None:
        guest.sshd.ended = Ended(0, 11)
        for transport in guest.transports:
            transport.close()

    with pytest.raises(InfraError, match="sshd was ended by signal 11"):
        door.run(("sh", "-c", "echo x; sleep 60"), out=breaks, timeout=SECONDS)


def test_one_that_does_not_answer_has_a_limit(door: SshDoor, guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_module, "_UP_SECONDS", 1.0)
    guest.listener.shutdown(socket.SHUT_RDWR)
    with pytest.raises(InfraError, match="does not answer"):
        door.connected()
