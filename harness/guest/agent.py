# SPDX-License-Identifier: GPL-2.0-only
"""Commands in a guest, by its agent (guest-scripts/load/agent.c, which describes the frames) over a socket.

Several run at a time. What each says is held back in the guest until somebody takes it here: a stream of any size
takes WINDOW bytes of this process at most, and one that nobody takes holds up no other. What comes out of a guest is
not believed: a frame that is not as it has to be ends the connection.
"""

from __future__ import annotations

import io
import os
import signal
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from harness.model.errors import InfraError, UserError
from harness.model.units import about_size
from harness.proc import Deadline

VERSION = 1
PAYLOAD = 32 << 10  # bytes of a frame at most, without its header
WINDOW = 128 << 10  # bytes of a command's output that are under way or waiting here, of either stream
_HEADER = struct.Struct("<IBI")
_RUN = struct.Struct("<IiHHIHH")
_HAS_INPUT, _ON_TERMINAL = 1, 2
_FOREVER = 1 << 30
_MOST_KEPT = 64 << 20
_KILL_SECONDS = 10.0  # from SIGKILL to the end of all that a command has open
_SILENT_SECONDS = 120.0  # of an agent whose guest lives
_LENGTHS = {"H": 12, "S": 4, "A": 4, "B": 0, "X": 8, "D": 0, "P": 0}


class AgentLost(InfraError):
    """There is no agent any more: its guest has ended, or it broke the protocol."""


class NotStarted(InfraError):
    """A command that could not be started; `number` is the errno, `what` the step that failed with it."""

    def __init__(self, words: Sequence[str], number: int, what: str) -> None:
        self.number = number
        self.what = what
        super().__init__(f"{words[0]} was not started in the guest: {what}: {os.strerror(number)}")


class CommandTimedOut(InfraError):
    """A command that did not end in time, and was killed with its whole process group. `out` and `err` are what it
    said before; `gone` says whether the kill has ended it.
    """

    def __init__(self, words: Sequence[str], seconds: float, out: bytes, err: bytes, gone: bool) -> None:
        self.seconds = seconds
        self.out = out
        self.err = err
        self.gone = gone
        left = "" if gone else "; SIGKILL did not end it"
        super().__init__(f"{words[0]} did not end within {seconds:g} s in the guest{left}")


class CommandBad(InfraError):
    """A command that was to end with status 0 and did not."""

    def __init__(self, words: Sequence[str], ended: Ended) -> None:
        self.ended = ended
        said = (ended.err or ended.out).decode("utf-8", "replace").strip().splitlines()
        how = f"was ended by signal {ended.signal}" if ended.signal else f"ended with status {ended.status}"
        super().__init__(f"{words[0]} {how} in the guest{f': {said[-1]}' if said else ''}")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its exit status, or the signal that ended it (0: none). `out` and `err` are what it said
    on standard output and standard error, as far as it was kept; `seconds` are the host's.
    """

    status: int
    signal: int
    out: bytes = b""
    err: bytes = b""
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return self.status == 0 and self.signal == 0

    @property
    def text(self) -> str:
        """What it said on standard output."""
        return self.out.decode("utf-8", "replace")


class Source(Protocol):
    """Where the input of a command comes from: `read` gives some bytes, none at the end."""

    def read(self, size: int, /) -> bytes: ...


Sink = Callable[[bytes], object]


class Gathered:
    """Output that is kept in memory: UserError beyond 64 MiB."""

    def __init__(self) -> None:
        self._data = bytearray()

    def add(self, piece: bytes) -> None:
        if len(self._data) + len(piece) > _MOST_KEPT:
            raise UserError(
                f"a command said more than {about_size(_MOST_KEPT)}", hint="give run() a function that takes it"
            )
        self._data += piece

    @property
    def data(self) -> bytes:
        return bytes(self._data)


class Command:
    """A command that runs in the guest. Its methods may be called from any thread; its streams are for one."""

    def __init__(self, agent: Agent, number: int, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self.pid = 0  # in the guest, and of its process group
        self._agent = agent
        self._number = number
        self._changed = threading.Condition()
        self._pieces: deque[tuple[int, bytes]] = deque()
        self._credit = {1: WINDOW, 2: WINDOW}
        self._taken = {1: 0, 2: 0}
        self._room = 0  # bytes of input that the agent takes
        self._deaf = False
        self._exit: tuple[int, int] | None = None
        self._failed: NotStarted | None = None
        self._done = False
        self._source_error: BaseException | None = None

    @property
    def done(self) -> bool:
        """It has exited, its outputs have ended, and all that they said is taken."""
        with self._changed:
            return self._done and not self._pieces

    def take(self, deadline: Deadline) -> tuple[int, bytes] | None:
        """The next piece of its output, as 1 or 2 and some bytes; None when it is done, or time is up (`done`)."""
        with self._changed:
            while not self._pieces and not self._done:
                self._agent.require()
                if not self._wait(deadline):
                    return None
            if not self._pieces:
                return None
            stream, data = self._pieces.popleft()
            self._taken[stream] += len(data)
            grant = self._taken[stream] if self._taken[stream] >= WINDOW // 4 and not self._done else 0
            if grant:
                self._taken[stream] = 0
                self._credit[stream] += grant
        if grant:
            self._agent.send("C", self._number, struct.pack("<BI", stream, grant))
        return stream, data

    def write(self, data: bytes, deadline: Deadline) -> bool:
        """Gives it input, as fast as it takes it. False: it takes no more, or time is up."""
        left = memoryview(data)
        while left:
            with self._changed:
                while not self._room and not self._deaf and not self._done:
                    self._agent.require()
                    if not self._wait(deadline):
                        return False
                if self._deaf or self._done:
                    return False
                size = min(self._room, len(left), PAYLOAD)
                self._room -= size
            self._agent.send("I", self._number, bytes(left[:size]))
            left = left[size:]
        return True

    def end_input(self) -> None:
        """It reads the end of its input, once it has read all that was written."""
        self._agent.send("I", self._number, b"")

    def kill(self, number: int = signal.SIGKILL) -> None:
        """A signal to its whole process group; nothing where it has ended."""
        self._agent.send("K", self._number, struct.pack("<I", number))

    def resize(self, rows: int, columns: int) -> None:
        """Of the terminal that it is on."""
        self._agent.send("W", self._number, struct.pack("<HH", rows, columns))

    def drop(self) -> None:
        """Kills its process group and closes its streams: also those that a process of another group holds."""
        self._agent.send("Z", self._number, b"")

    def wait(self, deadline: Deadline) -> Ended | None:
        """Waits until it has exited, whatever its streams do; None when time is up."""
        with self._changed:
            while self._exit is None:
                self._agent.require()
                if not self._wait(deadline):
                    return None
            return Ended(*self._exit)

    def follow(
        self, out: Sink, err: Sink, source: Source | None = None, timeout: float | None = None, began: float = 0.0
    ) -> Ended:
        """Hands on what it says until it is done, and gives it what `source` has, as it takes it.

        CommandTimedOut after `timeout` seconds, when its process group has been killed; AgentLost when the guest is;
        what reading `source` raised, when the command has been killed.
        """
        began = began or time.monotonic()
        deadline = Deadline(_FOREVER if timeout is None else timeout)
        feeder = None
        if source is not None:
            feeder = threading.Thread(target=self._feed, args=(source, deadline), daemon=True)
            feeder.start()
        sinks = {1: out, 2: err}
        self._hand_on(sinks, deadline)
        if self._source_error is not None:
            raise self._source_error
        if self.done:
            status, number = self._exit or (0, 0)
            return Ended(status, number, seconds=time.monotonic() - began)
        assert timeout is not None
        raise CommandTimedOut(self.words, timeout, b"", b"", self._end_it(sinks))

    def _hand_on(self, sinks: Mapping[int, Sink], deadline: Deadline) -> None:
        while (piece := self.take(deadline)) is not None:
            sinks[piece[0]](piece[1])
            if deadline.passed:
                return

    def _end_it(self, sinks: Mapping[int, Sink]) -> bool:
        """Whether the kill has ended it. A guest that does not answer is left to who watches it."""
        self.kill()
        self._hand_on(sinks, Deadline(_KILL_SECONDS))
        if not self.done:
            self.drop()
            self._hand_on(sinks, Deadline(_KILL_SECONDS / 5))
        if not self.done:
            self._agent.ping(Deadline(_SILENT_SECONDS))
        return self.done

    def _feed(self, source: Source, deadline: Deadline) -> None:
        try:
            while data := source.read(PAYLOAD):
                if not self.write(data, deadline):
                    return
            self.end_input()
        except AgentLost:
            return  # who follows the command sees it, too
        except (OSError, ValueError) as error:
            self._source_error = error
            self.drop()  # it is not to take a part for the whole

    def _wait(self, deadline: Deadline) -> bool:
        """Until something has changed; False when time is up."""
        return not deadline.passed and (self._changed.wait(min(deadline.left, 3600.0)) or not deadline.passed)

    def _heard(self, kind: str, payload: bytes) -> str:
        """What the agent says of it; what is wrong with that, or nothing."""
        with self._changed:
            wrong = self._take_in(kind, payload)
            self._changed.notify_all()
        return wrong

    def _take_in(self, kind: str, payload: bytes) -> str:
        if kind in "12":
            return self._output(int(kind), payload)
        if kind == "S":
            self.pid = struct.unpack("<I", payload)[0]
        elif kind == "F":
            self._failed = NotStarted(self.words, struct.unpack_from("<I", payload)[0] & 0xFFFF, _words(payload[4:]))
            self._done = True
        elif kind == "A":
            self._room += struct.unpack("<I", payload)[0]
            if self._room > self._agent.input_window:
                return "it took more input than it was given"
        elif kind == "B":
            self._deaf = True
        elif kind == "X":
            status, number = struct.unpack("<II", payload)
            self._exit = status & 0xFF, number & 0x7F
        else:
            if self._exit is None:
                return "a command is done and has not exited"
            self._done = True
        return ""

    def _output(self, stream: int, payload: bytes) -> str:
        if len(payload) > self._credit[stream]:
            return "it sent more than it was to send"
        if payload:
            self._credit[stream] -= len(payload)
            self._pieces.append((stream, payload))
        return ""

    def _begin(self, deadline: Deadline) -> None:
        """Waits until it has been started, or not."""
        with self._changed:
            while not self.pid and self._failed is None:
                self._agent.require()
                if not self._wait(deadline):
                    raise AgentLost(f"the guest's agent did not start {self.words[0]} within {deadline.seconds:g} s")
            if self._failed is not None:
                raise self._failed

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


class Agent:
    """The host's end. It owns the connection, of which a thread reads until it ends."""

    def __init__(self, connection: socket.socket, explain: Callable[[str], AgentLost] = AgentLost) -> None:
        """`explain` makes the exception of who uses an agent that is lost, of why it is."""
        self._explain = explain
        self.input_window = 0
        self.commands_at_a_time = 0
        self.lost = ""  # why there is no agent any more
        self._connection = connection
        self._sending = threading.Lock()
        self._changed = threading.Condition()
        self._commands: dict[int, Command] = {}
        self._next = 1
        self._met = False
        self._pings = 0
        self._answered = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def meet(self, deadline: Deadline) -> None:
        """Waits until the agent is there; AgentLost when it does not come."""
        with self._changed:
            while not self._met:
                self.require()
                if deadline.passed:
                    raise AgentLost(f"the guest's agent did not come within {deadline.seconds:g} s")
                self._changed.wait(min(1.0, max(0.01, deadline.left)))

    def spawn(
        self,
        words: Sequence[str],
        *,
        takes_input: bool = False,
        terminal: tuple[int, int] | None = None,
        environment: Mapping[str, str] | None = None,
        directory: str = "/",
        oom_score_adj: int = 0,
        deadline: Deadline | None = None,
    ) -> Command:
        """Starts a command: no shell reads its words. It is the leader of a session and process group of its own.

        `terminal` (rows, columns) puts it on a terminal of its own, `environment` is added to the agent's. Without
        `takes_input` its input is empty. NotStarted where the guest cannot; EAGAIN when as many run as can be.
        """
        flags = _HAS_INPUT * takes_input | _ON_TERMINAL * (terminal is not None)
        assignments = [f"{name}={value}" for name, value in (environment or {}).items()]
        rows, columns = terminal or (0, 0)
        head = _RUN.pack(flags, oom_score_adj, rows, columns, WINDOW, len(words), len(assignments))
        strings = [os.fsencode(word) for word in (directory, *words, *assignments)]
        payload = head + b"".join(word + b"\0" for word in strings)
        if not words or any(b"\0" in word for word in strings) or len(payload) > PAYLOAD:
            raise UserError(f"a command has some words, without NULs, of less than {PAYLOAD >> 10} KiB together")
        with self._changed:
            command = Command(self, self._next, words)
            self._commands[self._next] = command
            self._next += 1
        command._room = self.input_window if takes_input or terminal else 0
        self.send("R", command._number, payload)
        command._begin(deadline or Deadline(_SILENT_SECONDS))
        return command

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
        """Runs a command to its end, and gives it `source` as its input. What it says goes to `out` and `err`, or
        else is in the answer, for which it may be 64 MiB.

        CommandTimedOut after `timeout` seconds, CommandBad with `check` where it does not end well.
        """
        began = time.monotonic()
        kept = Gathered(), Gathered()
        command = self.spawn(
            words,
            takes_input=source is not None,
            environment=environment,
            directory=directory,
            oom_score_adj=oom_score_adj,
        )
        try:
            ended = command.follow(
                out or kept[0].add,
                err or kept[1].add,
                io.BytesIO(source) if isinstance(source, bytes) else source,
                timeout,
                began,
            )
        except CommandTimedOut as error:
            raise CommandTimedOut(words, error.seconds, kept[0].data, kept[1].data, error.gone) from None
        except BaseException:
            if not self.lost:
                command.drop()
            raise
        ended = replace(ended, out=kept[0].data, err=kept[1].data)
        if check and not ended.good:
            raise CommandBad(words, ended)
        return ended

    def ping(self, deadline: Deadline) -> float:
        """The seconds until the agent answered; AgentLost when it does not."""
        began = time.monotonic()
        with self._changed:
            self._pings += 1
            number = self._pings
        self.send("P", number, b"")
        with self._changed:
            while self._answered < number:
                self.require()
                if deadline.passed:
                    raise AgentLost(f"the guest's agent did not answer within {deadline.seconds:g} s")
                self._changed.wait(min(1.0, max(0.01, deadline.left)))
        return time.monotonic() - began

    def quit(self) -> None:
        """Asks it to end, and all commands with it."""
        self.send("Q", 0, b"")

    def close(self) -> None:
        """Ends the connection, at which the agent ends, too."""
        self._lose("the connection was closed")
        self._reader.join()
        self._connection.close()

    def require(self) -> None:
        """AgentLost when there is none any more."""
        if self.lost:
            raise self._explain(f"the guest's agent is gone: {self.lost}")

    def send(self, kind: str, number: int, payload: bytes) -> None:
        self.require()
        try:
            with self._sending:
                self._connection.sendall(_HEADER.pack(len(payload), ord(kind), number) + payload)
        except OSError as error:
            self._lose(f"the connection broke: {error.strerror}")
            self.require()

    def _read(self) -> None:
        try:
            with self._connection.makefile("rb", 1 << 16) as stream:
                while header := stream.read(_HEADER.size):
                    if len(header) < _HEADER.size:
                        break
                    length, kind, number = _HEADER.unpack(header)
                    if length > PAYLOAD:
                        self._lose("it broke the protocol: a frame that is too long")
                        return
                    payload = stream.read(length)
                    if len(payload) < length:
                        break
                    if wrong := self._heard(chr(kind), number, payload):
                        self._lose(f"it broke the protocol: {wrong}")
                        return
            self._lose("the connection ended")
        except OSError as error:
            self._lose(f"the connection broke: {error.strerror}")

    def _heard(self, kind: str, number: int, payload: bytes) -> str:
        """What is wrong with a frame, or nothing."""
        if len(payload) != _LENGTHS.get(kind, len(payload)) or (kind == "F" and len(payload) < 4):
            return "a frame of a wrong length"
        if kind == "V":
            return f"the agent says that the host did: {_words(payload)}"
        if kind == "H" and not number and not self._met:
            version, self.commands_at_a_time, self.input_window = struct.unpack("<III", payload)
            if version != VERSION:
                return f"it speaks version {version}, and the host {VERSION}"
            with self._changed:
                self._met = True
                self._changed.notify_all()
            return ""
        if kind == "P":
            with self._changed:
                self._answered = max(self._answered, min(number, self._pings))
                self._changed.notify_all()
            return ""
        command = self._commands.get(number)
        if kind not in "12SFABXD" or command is None or not self._met:
            return "a frame of an unknown kind, or of no command"
        wrong = command._heard(kind, payload)
        if kind in "DF":
            del self._commands[number]
        return wrong

    def _lose(self, why: str) -> None:
        with self._changed:
            self.lost = self.lost or why
            self._changed.notify_all()
            commands = list(self._commands.values())
        try:
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it is gone already
        for command in commands:
            command._wake()


def _words(payload: bytes) -> str:
    """What an untrusted guest says, as printable text."""
    return "".join(one if one.isprintable() else "?" for one in payload[:200].decode("utf-8", "replace"))
