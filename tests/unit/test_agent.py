# SPDX-License-Identifier: GPL-2.0-only
"""The guest's agent itself, compiled for this host and spoken to over a socket pair; and what a guest may send."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.checkout import data_directory
from harness.guest import agent as agent_module
from harness.guest.agent import PAYLOAD, WINDOW, Agent, AgentLost, CommandBad, CommandTimedOut, NotStarted
from harness.model.errors import UserError
from harness.proc import Deadline

SECONDS = 30.0
COMMANDS = 16
HEADER = struct.Struct("<IBI")


def frame(kind: str, number: int, payload: bytes = b"") -> bytes:
    return HEADER.pack(len(payload), ord(kind), number) + payload


def run_frame(number: int, *words: str, flags: int = 0, credit: int = 1 << 20) -> bytes:
    head = struct.pack("<IiHHIHH", flags, 0, 0, 0, credit, len(words), 0)
    return frame("R", number, head + b"\0" + b"".join(word.encode() + b"\0" for word in words))


class Raw:
    """A host that says what it likes."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        connection.settimeout(SECONDS)
        self._stream = connection.makefile("rb")

    def say(self, data: bytes) -> None:
        self.connection.sendall(data)

    def hear(self) -> tuple[str, int, bytes] | None:
        header = self._stream.read(HEADER.size)
        if not header:
            return None
        length, kind, number = HEADER.unpack(header)
        return chr(kind), number, self._stream.read(length)

    def until(self, kind: str) -> bytes:
        while (heard := self.hear()) is not None:
            if heard[0] == kind:
                return heard[2]
        raise AssertionError(f"the agent ended without {kind}")


@pytest.fixture(scope="module", name="program")
def fixture_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("agent") / "agent"
    source = data_directory("guest-scripts") / "load" / "agent.c"
    subprocess.run(("cc", "-O2", "-static", "-Wall", "-Werror", "-o", program, source), check=True, timeout=120)
    return program


# Who starts it may ignore signals, which its commands are not to inherit.
UNDER = ("sh", "-c", "trap '' INT QUIT; exec \"$@\"", "sh")
Started = tuple[socket.socket, "subprocess.Popen[bytes]"]


@pytest.fixture(name="start")
def fixture_start(program: Path) -> Iterator[Callable[[], Started]]:
    running: list[Started] = []

    def start() -> Started:
        mine, its = socket.socketpair()
        with its:
            process = subprocess.Popen(
                (*UNDER, program, str(its.fileno())), pass_fds=(its.fileno(),), stderr=subprocess.DEVNULL
            )
        running.append((mine, process))
        return mine, process

    yield start
    for connection, process in running:
        connection.close()
        process.kill()
        process.wait()


@pytest.fixture(name="process")
def fixture_process(start: Callable[[], Started]) -> Started:
    return start()


@pytest.fixture(name="agent")
def fixture_agent(process: Started) -> Iterator[Agent]:
    agent = Agent(process[0])
    agent.meet(Deadline(SECONDS))
    yield agent
    agent.close()


@pytest.fixture(name="raw")
def fixture_raw(process: Started) -> Raw:
    raw = Raw(process[0])
    assert raw.until("H") == struct.pack("<III", 1, COMMANDS, 32 << 10)
    return raw


def memory_of(process: int) -> int:
    """Bytes resident."""
    fields = (Path("/proc") / str(process) / "statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def is_gone(process: int) -> bool:
    try:
        return (Path("/proc") / str(process) / "stat").read_text().split()[2] in "ZX"
    except FileNotFoundError:
        return True


def wait_until(what: Callable[[], bool]) -> None:
    limit = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_streams_are_apart_and_the_status_is_the_commands(agent: Agent) -> None:
    ended = agent.run(("sh", "-c", "echo out; echo err >&2; exit 7"), timeout=SECONDS)
    assert (ended.out, ended.err, ended.status, ended.signal) == (b"out\n", b"err\n", 7, 0)
    assert not ended.good
    assert agent.run(("true",), timeout=SECONDS).good


def test_a_signal_is_no_status(agent: Agent) -> None:
    ended = agent.run(("sh", "-c", "kill -SEGV $$"), timeout=SECONDS)
    assert (ended.status, ended.signal) == (0, signal.SIGSEGV)


def test_check_names_the_command_and_its_last_words(agent: Agent) -> None:
    with pytest.raises(CommandBad, match=r"sh ended with status 3 in the guest: no such luck"):
        agent.run(("sh", "-c", "echo no such luck >&2; exit 3"), timeout=SECONDS, check=True)


def test_words_environment_and_directory_come_through(agent: Agent) -> None:
    words = ("sh", "-c", 'printf "%s|" "$@" "$MINE" "$PWD"', "sh", "a b", "$x", "")
    ended = agent.run(words, timeout=SECONDS, environment={"MINE": "ü=1"}, directory="/usr")
    assert ended.text == "a b|$x||ü=1|/usr|"


def test_what_a_host_adds_to_the_environment_wins(agent: Agent) -> None:
    ended = agent.run(("env",), timeout=SECONDS, environment={"HOME": "/else"})
    lines = ended.text.splitlines()
    assert "HOME=/else" in lines
    assert len([line for line in lines if line.startswith("HOME=")]) == 1
    assert any(line.startswith("PATH=") for line in lines)


def test_input_of_any_size_comes_back(agent: Agent) -> None:
    data = random.Random(7).randbytes(3_000_001)
    assert agent.run(("cat",), timeout=SECONDS, source=data).out == data
    assert agent.run(("cat",), timeout=SECONDS, source=b"").out == b""
    assert agent.run(("cat",), timeout=SECONDS).out == b""


def test_a_command_that_does_not_read_its_input_ends_none_the_less(agent: Agent) -> None:
    assert agent.run(("true",), timeout=SECONDS, source=b"x" * 1_000_000).good
    ended = agent.run(("sh", "-c", "exec <&-; sleep 0.2; echo on"), timeout=SECONDS, source=b"x" * 1_000_000)
    assert ended.out == b"on\n"


def test_a_program_that_is_not_there_is_an_answer(agent: Agent) -> None:
    with pytest.raises(NotStarted, match=r"no-such was not started in the guest: exec: No such file") as caught:
        agent.run(("no-such",), timeout=SECONDS)
    assert caught.value.number == errno.ENOENT
    with pytest.raises(NotStarted, match="chdir"):
        agent.run(("true",), timeout=SECONDS, directory="/no-such")
    assert agent.run(("true",), timeout=SECONDS).good


def test_a_kernel_without_room_for_a_process_is_an_answer(agent: Agent, process: Started) -> None:
    # Descriptors stand for memory: what a command needs and cannot have.
    before = resource.prlimit(process[1].pid, resource.RLIMIT_NOFILE)
    resource.prlimit(process[1].pid, resource.RLIMIT_NOFILE, (8, before[1]))
    with pytest.raises(NotStarted, match="pipe") as caught:
        agent.run(("true",), timeout=SECONDS, source=b"")
    assert caught.value.number == errno.EMFILE
    resource.prlimit(process[1].pid, resource.RLIMIT_NOFILE, before)
    assert agent.run(("true",), timeout=SECONDS, source=b"").good


def test_a_timeout_ends_the_whole_group(agent: Agent, tmp_path: Path) -> None:
    note = tmp_path / "pids"
    script = f"trap '' TERM INT; echo begun; sleep 300 & echo $! $$ >{note}; wait"
    with pytest.raises(CommandTimedOut, match=r"sh did not end within 1 s") as caught:
        agent.run(("sh", "-c", script), timeout=1)
    assert caught.value.gone
    assert caught.value.out == b"begun\n"
    for one in note.read_text().split():
        wait_until(lambda one=one: is_gone(int(one)))  # type: ignore[misc]
    assert agent.run(("true",), timeout=SECONDS).good


def test_who_left_the_group_does_not_hold_the_host_up(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "_KILL_SECONDS", 1.0)
    with pytest.raises(CommandTimedOut) as caught:
        agent.run(("sh", "-c", "setsid sleep 20 & exit 0"), timeout=0.5)
    assert caught.value.gone


def test_exit_comes_before_the_streams_end(agent: Agent) -> None:
    command = agent.spawn(("sh", "-c", "sleep 300 & exit 5"))
    ended = command.wait(Deadline(SECONDS))
    assert ended is not None
    assert ended.status == 5
    assert not command.done
    assert (Path("/proc") / str(command.pid)).exists()
    command.kill()  # the group lives on, and its number is still its own
    assert command.follow(lambda _: None, lambda _: None, timeout=SECONDS).status == 5


def test_as_many_as_there_is_room_for_and_one_more(agent: Agent) -> None:
    commands = [agent.spawn(("cat",), takes_input=True) for _ in range(COMMANDS)]
    with pytest.raises(NotStarted, match="commands") as caught:
        agent.spawn(("true",))
    assert caught.value.number == errno.EAGAIN
    for number, command in enumerate(commands):
        assert command.write(f"{number}".encode(), Deadline(SECONDS))
        command.end_input()
    for number, command in enumerate(commands):
        said: list[bytes] = []
        assert command.follow(said.append, said.append, timeout=SECONDS).good
        assert b"".join(said) == f"{number}".encode()
    assert agent.run(("true",), timeout=SECONDS).good


def test_many_threads_at_once(agent: Agent) -> None:
    wrong: list[object] = []

    def some(number: int) -> None:
        for turn in range(30):
            text = f"{number}.{turn}".encode() * 1000
            ended = agent.run(("cat",), timeout=SECONDS, source=text)
            if ended.out != text or not ended.good:
                wrong.append((number, turn, ended))

    threads = [threading.Thread(target=some, args=(number,)) for number in range(COMMANDS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_gigabyte_takes_no_memory_of_either_side(agent: Agent, process: Started) -> None:
    total, most_theirs = 0, 0
    before, its = memory_of(os.getpid()), memory_of(process[1].pid)

    def count(piece: bytes) -> None:
        nonlocal total, most_theirs
        total += len(piece)
        if total % (64 << 20) < len(piece):
            most_theirs = max(most_theirs, memory_of(process[1].pid))

    words = ("head", "-c", str(1 << 30), "/dev/zero")
    assert agent.run(words, timeout=600, out=count).good
    assert total == 1 << 30
    assert most_theirs - its < 256 << 10
    assert memory_of(os.getpid()) - before < 16 << 20


def test_output_that_nobody_takes_holds_up_nobody(agent: Agent) -> None:
    held = agent.spawn(("sh", "-c", "yes >&2 & exec yes"))
    time.sleep(0.3)
    waiting = sum(len(data) for _, data in held._pieces)
    assert waiting == 2 * WINDOW
    began = time.monotonic()
    for _ in range(20):
        assert agent.run(("echo", "on"), timeout=SECONDS).out == b"on\n"
    assert time.monotonic() - began < SECONDS
    assert sum(len(data) for _, data in held._pieces) == 2 * WINDOW
    held.drop()
    assert held.follow(lambda _: None, lambda _: None, timeout=SECONDS).signal == signal.SIGKILL


def test_more_output_than_is_kept_is_refused(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "_MOST_KEPT", 1 << 20)
    with pytest.raises(UserError, match="said more than"):
        agent.run(("yes",), timeout=SECONDS)
    assert agent.run(("true",), timeout=SECONDS).good


def test_a_terminal_has_its_size_and_control_keys(agent: Agent) -> None:
    script = "trap 'echo caught; exit 4' INT; stty size; while :; do sleep 0.05; done"
    command = agent.spawn(("sh", "-c", script), terminal=(31, 97))
    said = bytearray()
    while b"31 97" not in said:
        piece = command.take(Deadline(SECONDS))
        assert piece is not None, bytes(said)
        said += piece[1]
    command.resize(12, 34)
    command.write(b"\x03", Deadline(SECONDS))
    ended = command.follow(said.extend, said.extend, timeout=SECONDS)
    assert ended.status == 4
    assert b"caught" in said


def test_a_ping_is_quick(agent: Agent) -> None:
    assert agent.ping(Deadline(SECONDS)) < SECONDS


def test_it_ends_when_asked_and_takes_its_commands_along(agent: Agent, process: Started) -> None:
    command = agent.spawn(("sleep", "300"))
    agent.quit()
    assert process[1].wait(SECONDS) == 0
    wait_until(lambda: is_gone(command.pid))
    with pytest.raises(AgentLost):
        command.wait(Deadline(SECONDS))


def test_it_ends_when_the_host_goes(raw: Raw, process: Started) -> None:
    raw.say(run_frame(1, "sleep", "300"))
    pid = struct.unpack("<I", raw.until("S"))[0]
    raw.connection.shutdown(socket.SHUT_RDWR)
    assert process[1].wait(SECONDS) == 0
    wait_until(lambda: is_gone(pid))


def test_a_killed_agent_is_lost(agent: Agent, process: Started) -> None:
    threading.Timer(0.3, process[1].kill).start()
    with pytest.raises(AgentLost, match="the connection ended"):
        agent.run(("sleep", "5"), timeout=SECONDS)


def test_a_host_that_reads_nothing_is_waited_for(raw: Raw, process: Started) -> None:
    raw.say(run_frame(1, "yes", credit=0xFFFFFFFF) + frame("P", 9))
    time.sleep(0.5)
    its = memory_of(process[1].pid)
    time.sleep(0.5)
    assert memory_of(process[1].pid) == its
    raw.say(frame("Z", 1))
    raw.until("D")


def test_pings_without_end_are_all_answered(raw: Raw) -> None:
    count = 20_000
    sender = threading.Thread(target=raw.say, args=(b"".join(frame("P", n + 1) for n in range(count)),))
    sender.start()
    assert [raw.hear() for _ in range(count)] == [("P", n + 1, b"") for n in range(count)]
    sender.join()


def test_frames_for_what_is_over_are_passed_by(raw: Raw) -> None:
    raw.say(run_frame(1, "true"))
    raw.until("D")
    late = [frame("K", 1, b"\t\0\0\0"), frame("I", 1, b"x"), frame("C", 1, b"\1\1\1\1\1"), frame("Z", 1)]
    raw.say(b"".join(late) + frame("W", 1, b"\1\0\1\0") + frame("P", 5))
    assert raw.hear() == ("P", 5, b"")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (HEADER.pack(PAYLOAD + 1, ord("I"), 1), "a frame that is too long"),
        (HEADER.pack(0xFFFFFFFF, ord("I"), 1), "a frame that is too long"),
        (frame("?", 1), "a frame of an unknown kind"),
        (frame("\0", 1), "a frame of an unknown kind"),
        (frame("K", 1), "a frame of a wrong length"),
        (frame("C", 1, b"\1"), "a frame of a wrong length"),
        (frame("R", 1), "R that is too short"),
        (run_frame(0, "true"), "R for a command that there is"),
        (run_frame(1, "sleep", "9") + run_frame(1, "true"), "R for a command that there is"),
        (frame("R", 1, struct.pack("<IiHHIHH", 0, 0, 0, 0, 0, 2, 0) + b"\0true\0"), "strings are not as many"),
        (frame("R", 1, struct.pack("<IiHHIHH", 0, 0, 0, 0, 0, 1, 0) + b"\0true\0more\0"), "strings are not as many"),
        (frame("R", 1, struct.pack("<IiHHIHH", 0, 0, 0, 0, 0, 1, 0) + b"\0true"), "strings are not as many"),
        (run_frame(1, "sleep", "9", flags=1) + 2 * frame("I", 1, bytes(PAYLOAD)), ""),
        (run_frame(1, "sleep", "9", flags=1) + 5 * frame("I", 1, bytes(PAYLOAD)), "I beyond what was taken"),
    ],
)
def test_a_host_that_breaks_the_protocol_is_told_so(raw: Raw, process: Started, words: bytes, why: str) -> None:
    raw.say(words + frame("P", 77))
    if not why:
        return
    assert why in raw.until("V").decode()
    assert process[1].wait(SECONDS) == 0


def test_too_many_words_are_an_answer(raw: Raw) -> None:
    raw.say(run_frame(1, *("x",) * 2000) + run_frame(2, *("true",) + ("x",) * 1000))
    assert raw.hear() == ("F", 1, struct.pack("<I", errno.E2BIG) + b"words")
    raw.until("D")


@pytest.mark.parametrize("seed", range(20))
def test_garbage_ends_it_and_nothing_else_does(start: Callable[[], Started], seed: int) -> None:
    dice = random.Random(seed)
    connection, process = start()
    connection.settimeout(SECONDS)
    good = [run_frame(n, "cat", flags=dice.choice((0, 1, 2)), credit=dice.choice((0, 9, 99999))) for n in range(1, 9)]
    data = bytearray(b"".join(dice.choice([*good, frame("I", dice.randrange(9), b"x" * 99)]) for _ in range(60)))
    for _ in range(dice.choice((0, 3, 100))):
        data[dice.randrange(len(data))] = dice.randrange(256)
    try:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 16):
            pass
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert process.wait(SECONDS) == 0


# What a guest may send.

HELLO = frame("H", 0, struct.pack("<III", 1, COMMANDS, 32 << 10))
STARTED = frame("S", 1, struct.pack("<I", 99))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", "too long"),
        (frame("H", 0, struct.pack("<III", 2, COMMANDS, 1)), "version 2"),
        (HELLO + HELLO, "unknown kind, or of no command"),
        (HELLO + frame("?", 1), "unknown kind"),
        (HELLO + frame("X", 1), "wrong length"),
        (HELLO + frame("F", 1), "wrong length"),
        (HELLO + frame("1", 42, b"x"), "of no command"),
        (HELLO + STARTED + frame("D", 1), "has not exited"),
        (HELLO + STARTED + frame("A", 1, struct.pack("<I", 0xFFFFFFFF)), "more input than"),
        (HELLO + STARTED + 5 * frame("1", 1, bytes(PAYLOAD)), "more than it was to send"),
        (HELLO + frame("V", 0, b"\x1b[31mno\n"), r"host did: \?\[31mno\?"),
        (HELLO + STARTED + frame("X", 1, bytes(8)) + frame("D", 1) + frame("D", 1), "of no command"),
        (HELLO + STARTED + HEADER.pack(100, ord("1"), 1) + b"short", "the connection ended"),
        (HELLO, "the connection ended"),
    ],
)
def test_a_guest_that_breaks_the_protocol_is_lost_and_says_why(said: bytes, why: str) -> None:
    mine, its = socket.socketpair()

    def guest() -> None:
        its.sendall(said[: len(HELLO)])
        its.recv(HEADER.size)  # until the host has asked for something
        try:
            its.sendall(said[len(HELLO) :])
            its.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it was heard enough

    thread = threading.Thread(target=guest)
    thread.start()
    agent = Agent(mine)
    try:
        with pytest.raises(AgentLost, match=why):
            agent.meet(Deadline(SECONDS))
            agent.spawn(("true",))
            agent.ping(Deadline(SECONDS))
    finally:
        agent.close()
        thread.join()
        its.close()


def test_an_agent_that_does_not_come_is_not_waited_for() -> None:
    mine, its = socket.socketpair()
    agent = Agent(mine)
    with pytest.raises(AgentLost, match="did not come"):
        agent.meet(Deadline(0.2))
    agent.close()
    its.close()


@pytest.mark.parametrize("words", [(), ("a\0b",), ("x" * PAYLOAD,)])
def test_words_that_no_frame_holds_are_the_callers_mistake(agent: Agent, words: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="a command has some words"):
        agent.spawn(words)
