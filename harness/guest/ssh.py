# SPDX-License-Identifier: GPL-2.0-only
"""ssh: into a guest whose root has an sshd, and to a test machine.

Into a guest it is a convenience beside the agent, on which no verdict depends. Both keys are made for the one guest.
Its host key lies in its RAM and is known here before anybody connects; there are no passwords. sshd listens where
QEMU forwards a port of the loopback to, and nowhere else.

To a test machine it is the way there and back. Its host key is one that the user's known_hosts has, or nobody is
talked to; who logs in is known by the user's agent or keys.
"""

from __future__ import annotations

import errno
import io
import logging
import shlex
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.guest.agent import (
    Agent,
    Command,
    CommandBad,
    CommandTimedOut,
    Ended,
    Gathered,
    NotStarted,
    Sink,
    Source,
)
from harness.model.address import SshAddress
from harness.model.errors import HarnessError, InfraError, UserError
from harness.proc import Deadline

if TYPE_CHECKING:
    import paramiko
    from paramiko import SSHClient as SSHClient

ADDRESS = "10.0.2.15"  # of the guest, in the network that QEMU makes for it
PORT = 22
LOOPBACK = "127.0.0.1"
SYMBOLS = ("INET", "UNIX", "E1000")  # what a kernel must have
_PLACE = "/run/ssh"
_UP_SECONDS = 120.0  # sshd under TCG, on a busy host
_LOGIN_SECONDS = 60.0
_KEEPALIVE_SECONDS = 15
# Of paramiko, after the last key was not taken: the next one is tried as all the kinds that there are.
_NO_KEY = ("No authentication methods", "encountered ", "not a valid ", "is encrypted")
_KILL_SECONDS = 10.0
_POLL_SECONDS = 0.2
_PIECE = 32 << 10
_MOST_LOGGED = 1 << 20
_PUT = 'umask 077 && mkdir -p "${1%/*}" && cat >"$1"'
_UP = f"""ifconfig lo up && ifconfig eth0 {ADDRESS} netmask 255.255.255.0 up || exit 3
mkdir -p /run/sshd && chmod 755 /run/sshd
sshd=$(PATH=$PATH:/usr/sbin:/sbin command -v sshd) || exit 4
exec "$sshd" -D -e -f {_PLACE}/config
"""
_CONFIG = f"""ListenAddress {ADDRESS}
Port {PORT}
HostKey {_PLACE}/host
AuthorizedKeysFile {_PLACE}/authorized
AuthenticationMethods publickey
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
UseDNS no
PrintMotd no
PrintLastLog no
PidFile /run/sshd.pid
Subsystem sftp internal-sftp
"""
# Says first who it is (the leader of a session of its own, as sshd makes it), or that there is no such program.
_RUN = """directory=$1 score=$2 name=$3; shift 3
command -v -- "$name" >/dev/null || { echo none; exit 127; }
[ "$score" = 0 ] || echo "$score" >/proc/self/oom_score_adj
cd "$directory" || exit
echo $$
exec env "$@"
"""


@dataclass(frozen=True, slots=True)
class _Key:
    """A key: paramiko's, and what sshd reads of it."""

    key: Any
    private: bytes
    public: bytes


class SshDoor:
    """The way into one guest by ssh. Nothing is started in it before somebody asks for a client."""

    def __init__(self, agent: Agent, forward: Callable[[str, int], int], log: Path) -> None:
        """`forward` makes QEMU lead a port of the loopback to an address and a port of the guest, and says which.
        What sshd says goes to `log`.
        """
        self._agent = agent
        self._forward = forward
        self._log = log
        self._lock = threading.Lock()
        self._server: Command | None = None
        self._client: paramiko.SSHClient | None = None
        self._port = 0
        self._path = ""

    def connected(self) -> paramiko.SSHClient:
        """A client of its own for who asks, connected as root. InfraError where the guest does not let it in;
        UserError where its root has no sshd.
        """
        with self._lock:
            if self._server is None or self._server.done:
                self._open()
        return self._connect()

    def run(
        self,
        words: Sequence[str],
        *,
        timeout: float | None = None,
        source: bytes | Source | None = None,
        check: bool = False,
        out: Sink | None = None,
        err: Sink | None = None,
        environment: Mapping[str, str] | None = None,
        directory: str = "/",
        oom_score_adj: int = 0,
    ) -> Ended:
        """As `Agent.run`, by a session of a client that all calls share."""
        client = self._shared()
        given = {"PATH": self._path, **(environment or {})}
        ended = _run(client, words, self._why, timeout, source, (out, err), (directory, oom_score_adj, given))
        if check and not ended.good:
            raise CommandBad(words, ended)
        return ended

    def close(self) -> None:
        """Ends the shared client; sshd ends with the guest."""
        if self._client is not None:
            self._client.close()

    def _shared(self) -> paramiko.SSHClient:
        transport = self._client.get_transport() if self._client is not None else None
        if self._client is None or transport is None or not transport.is_active():
            self._client = self.connected()
            self._path = self._agent.run(("sh", "-c", 'printf %s "$PATH"'), timeout=_UP_SECONDS, check=True).text
        return self._client

    def _open(self) -> None:
        """Puts the keys into the guest and starts its sshd."""
        self._host, self._user = _make_key(), _make_key()
        files = {"host": self._host.private, "authorized": self._user.public, "config": _CONFIG.encode()}
        for name, data in files.items():
            words = ("sh", "-c", _PUT, "put", f"{_PLACE}/{name}")
            self._agent.run(words, source=data, check=True, timeout=_UP_SECONDS)
        self._log.write_bytes(b"")
        self._server = self._agent.spawn(("sh", "-c", _UP, "sshd"))
        threading.Thread(target=self._follow, args=(self._server,), name="sshd", daemon=True).start()
        if not self._port:
            self._port = self._forward(ADDRESS, PORT)

    def _follow(self, server: Command) -> None:
        left = _MOST_LOGGED
        with self._log.open("ab") as file:

            def keep(piece: bytes) -> None:
                nonlocal left
                file.write(piece[:left])
                file.flush()
                left -= len(piece[:left])

            try:
                server.follow(keep, keep)
            except InfraError:
                return  # the guest has ended, which who uses it is told

    def _connect(self) -> paramiko.SSHClient:
        """Tries until sshd answers. Whoever answers with another key is not it."""
        import paramiko

        deadline = Deadline(_UP_SECONDS)
        while True:
            client = paramiko.SSHClient()
            client.set_missing_host_key_policy(paramiko.RejectPolicy())
            client.get_host_keys().add(f"[{LOOPBACK}]:{self._port}", self._host.key.get_name(), self._host.key)
            try:
                client.connect(
                    LOOPBACK,
                    self._port,
                    "root",
                    pkey=self._user.key,
                    timeout=deadline.left,
                    banner_timeout=max(1.0, deadline.left),
                    auth_timeout=max(1.0, deadline.left),
                    allow_agent=False,
                    look_for_keys=False,
                    transport_factory=_transport_class(),
                )
                return client
            except paramiko.BadHostKeyException as error:
                client.close()
                raise InfraError(
                    f"who answers at {LOOPBACK}:{self._port} is not the guest: its host key is another one"
                ) from error
            except paramiko.AuthenticationException as error:
                client.close()
                raise InfraError(f"the guest's sshd does not let root in: {error}", log=self._log) from error
            except (paramiko.SSHException, EOFError, OSError) as error:
                client.close()
                self._require_server()
                if deadline.passed:
                    raise InfraError(f"the guest's sshd does not answer: {error}", log=self._log) from error
                time.sleep(_POLL_SECONDS)

    def _require_server(self) -> None:
        """UserError or InfraError when sshd has ended."""
        self._agent.require()
        ended = self._server.wait(Deadline(0.0)) if self._server is not None else None
        if ended is None:
            return
        if ended.status == 3:
            raise InfraError("the guest's network card cannot be set up", log=self._log)
        if ended.status == 4:
            hint = "--root debian:SUITE+openssh-server has one; the agent needs none"
            raise UserError("the guest's root has no sshd", hint=hint)
        raise InfraError(self._why(), log=self._log)

    def _why(self) -> str:
        """What has become of a connection that ended."""
        ended = self._server.wait(Deadline(1.0)) if self._server is not None else None
        if ended is None:
            return "the connection by ssh ended"
        how = f"was ended by signal {ended.signal}" if ended.signal else f"ended with status {ended.status}"
        said = self._log.read_bytes().decode("utf-8", "replace").strip().splitlines()
        return f"the guest's sshd {how}{f': {said[-1]}' if said else ''}"


class NotReached(InfraError):
    """A machine that does not answer, or whose connection broke."""


class HostKeyChanged(InfraError):
    """Who answers is not the machine that the user's known_hosts has under that name."""


class Login:
    """A connection to a test machine, made again where it broke. `home` has the user's `.ssh`."""

    def __init__(self, address: SshAddress, home: Path) -> None:
        self.address = address
        self._known = home / ".ssh" / "known_hosts"
        self._keys = [str(path) for path in sorted((home / ".ssh").glob("id_*")) if not path.suffix]
        self._client: paramiko.SSHClient | None = None

    def run(
        self, line: str, *, timeout: float, source: bytes | Source | None = None, out: Sink | None = None
    ) -> Ended:
        """Runs a line of sh as the user who logs in. NotReached where the connection does not last, CommandTimedOut
        after `timeout` seconds.
        """
        return _run(self._connected(timeout), ("sh", "-c", line), self._why, timeout, source, (out, None))

    @property
    def peer(self) -> str:
        """The address of the machine that it is connected to, or nothing."""
        transport = self._client.get_transport() if self._client is not None else None
        return str(transport.getpeername()[0]).removeprefix("::ffff:") if transport is not None else ""

    def close(self) -> None:
        """What it stood for is over; `run` makes another."""
        if self._client is not None:
            self._client.close()
        self._client = None

    def _why(self) -> str:
        return f"the connection to {self.address.spoken} broke"

    def _connected(self, seconds: float) -> paramiko.SSHClient:
        transport = self._client.get_transport() if self._client is not None else None
        if self._client is None or transport is None or not transport.is_active():
            self.close()
            self._client = self._connect(min(seconds, _LOGIN_SECONDS))
            self._client.get_transport().set_keepalive(_KEEPALIVE_SECONDS)
        return self._client

    def _connect(self, seconds: float) -> paramiko.SSHClient:
        import paramiko

        if not (log := logging.getLogger("paramiko")).handlers:
            log.addHandler(logging.NullHandler())  # a machine that restarts is no news for standard error
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        whom = self.address.spoken
        try:
            if self._known.is_file():
                client.load_system_host_keys(str(self._known))
            client.connect(
                self.address.host,
                self.address.port,
                self.address.user,
                key_filename=self._keys or None,
                timeout=seconds,
                banner_timeout=seconds,
                auth_timeout=seconds,
                look_for_keys=False,
                transport_factory=_transport_class(),
            )
            return client
        except paramiko.BadHostKeyException as error:
            client.close()
            raise HostKeyChanged(
                f"who answers as {whom} has another host key than {self._known} says: nothing was sent there",
                hint="if the machine was set up anew, take its old key out with ssh-keygen -R; else somebody is "
                "between you and it",
            ) from error
        except (paramiko.SSHException, EOFError, OSError, ValueError) as error:
            client.close()
            raise self._refusal(error) from error

    def _refusal(self, error: Exception) -> HarnessError:
        """What it is, that somebody answers no, or nobody answers."""
        import paramiko

        whom, said = self.address.spoken, str(error)
        if isinstance(error, paramiko.AuthenticationException) or any(word in said for word in _NO_KEY):
            return UserError(
                f"{whom} does not let you in: {said}",
                hint="the keys of your ssh agent and of ~/.ssh are tried, and no password: ssh-copy-id",
            )
        if "not found in known_hosts" in said:
            return UserError(
                f"the host key of {whom} is not known here",
                hint="log in once with ssh, compare the fingerprint, and accept it there",
            )
        if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):  # one for each address of the host
            said = ", ".join(dict.fromkeys(str(one.strerror or one) for one in error.errors.values()))
        return NotReached(
            f"{whom} cannot be reached: {said or type(error).__name__}",
            hint="is it on, and does its sshd listen there? ssh there by hand says more",
        )


def _run(
    client: SSHClient,
    words: Sequence[str],
    why: Callable[[], str],
    timeout: float | None,
    source: bytes | Source | None,
    sinks: tuple[Sink | None, Sink | None],
    around: tuple[str, int, Mapping[str, str]] = ("/", 0, {}),
) -> Ended:
    """A command to its end, by a session of its own. `around`: directory, oom_score_adj, environment."""
    kept = Gathered(), Gathered()
    began = time.monotonic()
    session = _Session(client, words, sinks[0] or kept[0].add, sinks[1] or kept[1].add)
    session.start(*around, source)
    if not session.wait(Deadline(timeout) if timeout is not None else None):
        gone = session.kill()
        raise CommandTimedOut(words, timeout or 0.0, kept[0].data, kept[1].data, gone)
    ended = session.ended(why)
    return replace(ended, out=kept[0].data, err=kept[1].data, seconds=time.monotonic() - began)


class _Session:
    """One command, by a channel of its own."""

    def __init__(self, client: paramiko.SSHClient, words: Sequence[str], out: Sink, err: Sink) -> None:
        self._client = client
        self._words = tuple(words)
        self._sinks = (out, err)
        self._head = b""  # the first line, until it is whole
        self._pid: str | None = None
        self._errors: list[BaseException] = []
        self._threads: list[threading.Thread] = []

    def start(
        self, directory: str, score: int, assignments: Mapping[str, str], source: bytes | Source | None
    ) -> None:
        import paramiko

        pairs = tuple(f"{name}={value}" for name, value in assignments.items())
        line = shlex.join(("sh", "-c", _RUN, "run", directory, str(score), self._words[0], *pairs, *self._words))
        transport = self._client.get_transport()
        try:
            if transport is None:
                raise EOFError("there is no connection")
            self._channel = transport.open_session()
            self._channel.exec_command(f"exec {line}")
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise NotReached(f"sshd does not start {self._words[0]}: {error}") from error
        reads = ((self._channel.recv, self._take_out), (self._channel.recv_stderr, self._sinks[1]))
        for read, sink in reads:
            self._begin(self._drain, read, sink)
        if source is None:
            self._channel.shutdown_write()
        else:
            feeder = (self._feed, io.BytesIO(source) if isinstance(source, bytes) else source)
            threading.Thread(target=feeder[0], args=feeder[1:], daemon=True).start()

    def wait(self, deadline: Deadline | None) -> bool:
        """Whether it has ended, and all that it said is taken."""
        for thread in self._threads:
            thread.join(deadline.left if deadline is not None else None)
        return not any(thread.is_alive() for thread in self._threads)

    def kill(self) -> bool:
        """Kills its whole group; whether that has ended it."""
        import paramiko

        if self._pid is not None and (transport := self._client.get_transport()) is not None:
            with suppress(paramiko.SSHException, EOFError, OSError):  # nobody is there any more
                killer = transport.open_session(timeout=_KILL_SECONDS)
                killer.exec_command(f"kill -9 -{self._pid}")
        gone = self.wait(Deadline(_KILL_SECONDS))
        self._channel.close()
        return gone

    def ended(self, why: Callable[[], str]) -> Ended:
        """How it ended; NotStarted, or what taking its output raised."""
        if self._errors:
            raise self._errors[0]
        if not self._channel.status_event.wait(_KILL_SECONDS):
            raise NotReached(why())
        number = getattr(self._channel, _SIGNAL, 0)
        status = self._channel.exit_status
        if not number and status < 0:
            raise NotReached(why())
        if self._pid is None:
            raise NotStarted(self._words, errno.ENOENT, "exec" if self._head == b"none\n" else "chdir")
        return Ended(0 if number else status, number)

    def _begin(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _drain(self, read: Callable[[int], bytes], sink: Sink) -> None:
        try:
            while data := read(_PIECE):
                sink(data)
        except BaseException as error:  # for who waits
            self._errors.append(error)
            self._channel.close()

    def _take_out(self, data: bytes) -> None:
        if self._pid is not None:
            self._sinks[0](data)
            return
        self._head += data
        first, newline, rest = self._head.partition(b"\n")
        if newline and first.isdigit():
            self._pid = first.decode()
            if rest:
                self._sinks[0](rest)

    def _feed(self, source: Source) -> None:
        try:
            while data := source.read(_PIECE):
                self._channel.sendall(data)
            self._channel.shutdown_write()
        except OSError:
            return  # it takes no more


_SIGNAL = "harness_signal"


def _transport_class() -> type[Any]:
    """paramiko's, which also hears by what signal a command was ended."""
    import paramiko
    from paramiko.common import MSG_CHANNEL_REQUEST

    def hear(channel: paramiko.Channel, message: paramiko.Message) -> None:
        at = message.packet.tell()
        if message.get_text() == "exit-signal":
            message.get_boolean()
            setattr(channel, _SIGNAL, _number_of(message.get_text()))
            channel.status_event.set()
            return
        message.packet.seek(at)
        channel._handle_request(message)

    class Hearing(paramiko.Transport):  # type: ignore[misc]
        _channel_handler_table: ClassVar = {**paramiko.Transport._channel_handler_table, MSG_CHANNEL_REQUEST: hear}

    return Hearing


def _number_of(name: str) -> int:
    """Of a signal as ssh names it; SIGKILL's for one that only the guest knows."""
    try:
        return int(signal.Signals[f"SIG{name}"])
    except KeyError:
        return int(signal.SIGKILL)


def _make_key() -> _Key:
    import paramiko

    key = paramiko.ECDSAKey.generate()
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "key"
        key.write_private_key_file(str(file))
        return _Key(key, file.read_bytes(), f"{key.get_name()} {key.get_base64()}\n".encode())
