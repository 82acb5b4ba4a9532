# SPDX-License-Identifier: GPL-2.0-only
"""Stands in for vng, QEMU and the guest, for the failures and endings that a real guest cannot be made to show on
demand, in milliseconds. What a real guest does is tested with a real one (tests/functional).

`guest.py TURNS VNG-WORDS...` takes the first script of the folder TURNS, and plays it: its console is standard
output, its control port and QMP socket are those that the words name, as QEMU's would be. A script is JSON: `steps`,
which are methods of `Guest` and their arguments, and `monitor`, QMP command -> how it is met where that is not as
usual: by one of the words in `Monitor._meet`, or a line as it is (`{"line": ...}`), or else this answer. `greeting`
is what QEMU begins with; `keys` has what is printed for a key of sysrq, `nmi` for an NMI. After its last step the
guest exits with status 0.

Standard library only: it runs in an isolated interpreter.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import sys
import threading
import time
from pathlib import Path

_PATIENCE = 60.0  # of a test that went wrong, not of one that passes
_REGISTERS = "EAX=00000000\nRIP=ffffffff81234567 RFL=00000246\n"
_USUAL: dict[str, object] = {
    "query-kvm": {"enabled": False, "present": True},
    "query-status": {"status": "running", "running": True},
    "query-cpus-fast": [{"cpu-index": 0}],
    "human-monitor-command": _REGISTERS,
}


class Guest:
    """What vng was told, the console and the control port. Its public methods are the steps."""

    def __init__(self, words: list[str], turn: Path) -> None:
        options = next(word for word in words if word.startswith("--qemu-opts=")).removeprefix("--qemu-opts=")
        self._words = shlex.split(options)
        self._turn = turn
        self._control = Path(self._value("-chardev", "file,id=harnessctl,path="))
        self._results = Path(self._value("-fsdev", "local,id=share0,path=").partition(",")[0])
        self.socket = self._value("-qmp", "unix:").partition(",")[0]
        self._ram = int(words[words.index("--memory") + 1].rstrip("M")) << 20
        self._cpus = words[words.index("--cpus") + 1]
        self.monitor: Monitor | None = None

    def _value(self, option: str, start: str) -> str:
        pairs = zip(self._words, self._words[1:], strict=False)
        found = next(value for name, value in pairs if name == option and value.startswith(start))
        return found.removeprefix(start).replace(",,", ",")

    def console(self, text: str) -> None:
        os.write(1, text.encode("latin-1"))

    def error(self, text: str) -> None:
        """On vng's standard error."""
        os.write(2, text.encode())

    def control(self, text: str) -> None:
        """These bytes in one write, frames or not."""
        with self._control.open("ab", buffering=0) as port:
            port.write(text.encode("latin-1"))

    def close_control(self) -> None:
        """Whoever opens the port from now on finds nobody."""
        self._control.unlink()

    def facts(self, changed: tuple[str, ...] = (), count: str = "") -> None:
        """All facts of a guest that is what was asked for, but for `changed` (`NAME=VALUE`); and its config.
        The guest says that there were `count` of them."""
        job = dict(word.partition("=")[::2] for word in shlex.split((self._results / "job").read_text()))
        asked = (line.split() for line in job["HARNESS_SYSCTLS"].splitlines())
        facts = {
            "release": "7.3.4",
            "cmdline": self._words[self._words.index("-append") + 1],
            "cpus": self._cpus,
            "seed": job["HARNESS_SEED"],
            "ram": str(self._ram),
            "mem_total": str(self._ram - (24 << 20)),
            "mem_free": str(self._ram - (32 << 20)),
            **dict.fromkeys(("swap_total", "free_pcp", "held", "taint"), "0"),
            **dict.fromkeys(("zswap", "memory_max", "memory_high"), ""),
            **{name: "1" if value == "-" else value for name, value in asked},
            **dict(one.partition("=")[::2] for one in changed),
        }
        lines = [f"{name}={value}" for name, value in facts.items()]
        frames = [("fact", line) for line in lines] + [("facts-end", count or str(len(facts)))]
        self.control("".join(f"@{kind} {len(text)} {text}\n" for kind, text in frames))
        (self._results / "config").write_bytes((self._results.parent / "config").read_bytes())

    def result_file(self, name: str, text: str) -> None:
        path = self._results / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def grow(self, size: int) -> None:
        """A result of so many MiB, which cannot be made smaller."""
        with (self._results / "grown").open("wb") as file:
            for _ in range(size):
                file.write(os.urandom(1 << 20))

    def tell_of_itself(self) -> None:
        """As a result: what it was started as."""
        found = {
            "home": os.environ.get("HOME"),
            "directory": str(Path.cwd()),
            "oom_score_adj": int(Path("/proc/self/oom_score_adj").read_text()),
        }
        self.result_file("self.json", json.dumps(found))

    def flood(self, channel: str, piece: str) -> None:
        """The same piece over and over, until somebody ends it."""
        while True:
            self.control(piece) if channel == "control" else self.console(piece)
            time.sleep(0.001)

    def reach(self, name: str) -> None:
        """Tells the test that it is here."""
        self._turn.with_name(f"{name}.reached").touch()

    def until(self, name: str) -> None:
        """Until the test has a file of this name beside the scripts."""
        limit = time.monotonic() + _PATIENCE
        while not self._turn.with_name(name).exists() and time.monotonic() < limit:
            time.sleep(0.002)

    def be_seen(self, name: str) -> None:
        """Until the harness has seen all that was said so far."""
        self.control(f"@seen {len(name)} {name}\n")
        self.until(name)

    def until_asked(self, command: str) -> None:
        """Until QEMU was asked this; a real guest is not gone before a busy host has looked at it."""
        assert self.monitor is not None
        self.monitor.asked.setdefault(command, threading.Event()).wait(_PATIENCE)

    def stands(self, status: str) -> None:
        """QEMU says from now on that the guest is in this state, until it is told to go on."""
        assert self.monitor is not None
        self.monitor.stands(status)

    def until_asked_again(self, command: str, times: int) -> None:
        """Until QEMU was asked this so many times."""
        assert self.monitor is not None
        limit = time.monotonic() + _PATIENCE
        while self.monitor.times.get(command, 0) < times and time.monotonic() < limit:
            time.sleep(0.002)

    def doze(self, seconds: float) -> None:
        """Lives, and does nothing."""
        time.sleep(seconds)

    def hang(self) -> None:
        time.sleep(_PATIENCE)

    def ignore_term(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def kill(self, number: int) -> None:
        os.kill(os.getpid(), number)

    def kill_the_harness(self) -> None:
        """Kills the process that had vng started, which is its reaper's parent."""
        reaper = Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()
        os.kill(int(reaper[1]), signal.SIGKILL)
        time.sleep(_PATIENCE)

    def leave(self, status: int) -> None:
        os._exit(status)


class Monitor:
    """QMP, one session after the other, as in QEMU."""

    def __init__(self, guest: Guest, script: dict[str, object]) -> None:
        self._guest = guest
        self._met: dict[str, object] = {"greeting": {}, **_USUAL, **_mapping(script, "monitor")}
        self._keys = _mapping(script, "keys")
        self._nmi = script.get("nmi", "")
        self.asked: dict[str, threading.Event] = {}
        self.times: dict[str, int] = {}
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(guest.socket)
        self._server.listen()

    def serve(self) -> None:
        while True:
            connection, _ = self._server.accept()
            with connection:
                try:
                    self._session(connection)
                except OSError:
                    continue  # who asked has gone

    def _session(self, connection: socket.socket) -> None:
        if not self._meet(connection, self._met["greeting"], "QMP"):
            return
        with connection.makefile("rb") as requests:
            for line in requests:
                request = json.loads(line)
                command = request["execute"]
                self._act(command, request.get("arguments", {}))
                going_on = self._meet(connection, self._met.get(command, {}), "return")
                self.asked.setdefault(command, threading.Event()).set()
                self.times[command] = self.times.get(command, 0) + 1
                if not going_on:
                    return

    def _meet(self, connection: socket.socket, met: object, member: str) -> bool:
        """Whether the session goes on."""
        if met == "hangs-up":
            return False
        if met == "silent":
            return True
        if met == "babbles":
            while True:
                connection.sendall(b'{"event": "BLOCK_IO_ERROR", "data": {}}\n' * 100)
        if met == "drones":
            while True:
                connection.sendall(b" " * (1 << 20))
        if met == "refuses":
            connection.sendall(b'{"error": {"class": "GenericError", "desc": "not now"}}\n')
        elif isinstance(met, dict) and "line" in met:
            connection.sendall(met["line"].encode() + b"\n")
        else:
            connection.sendall(b'{"event": "RESUME", "data": {}}\n' + json.dumps({member: met}).encode() + b"\n")
        return True

    def _act(self, command: str, arguments: dict[str, dict[str, dict[str, str]]]) -> None:
        if command == "chardev-change":
            fifo = arguments["backend"]["data"]["in"]
            threading.Thread(target=self._listen, args=(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK),)).start()
        elif command == "dump-guest-memory":
            Path(str(arguments["protocol"]).removeprefix("file:")).write_bytes(b"what was in memory")
        elif command == "cont":
            self.stands("running")
        elif command == "quit":
            os._exit(0)
        elif command == "inject-nmi" and isinstance(self._nmi, str):
            self._guest.console(self._nmi)

    def stands(self, status: str) -> None:
        self._met["query-status"] = {"status": status, "running": status == "running"}

    def _listen(self, fifo: int) -> None:
        """What is typed on the serial console, until nobody types any more."""
        os.set_blocking(fifo, True)
        while key := os.read(fifo, 1).decode():
            self._guest.console(str(self._keys.get(key, "")))
        os.close(fifo)


def _mapping(script: dict[str, object], name: str) -> dict[str, object]:
    found = script.get(name, {})
    assert isinstance(found, dict)
    return found


def next_turn(turns: Path) -> Path:
    """Another stand-in may take the same one at the same moment: who comes second takes the next."""
    while (turn := min(turns.glob("*.json"), default=None)) is not None:
        try:
            return turn.rename(turn.with_suffix(".played"))
        except FileNotFoundError:
            continue
    sys.exit("the stand-in has no script left to play")


def main(turns: Path, words: list[str]) -> None:
    turn = next_turn(turns)
    script = json.loads(turn.read_text())
    guest = Guest(words, turn)
    if script.get("monitor") != "absent":
        guest.monitor = Monitor(guest, script)
        threading.Thread(target=guest.monitor.serve, daemon=True).start()
    for name, *arguments in script["steps"]:
        getattr(guest, name)(*arguments)
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
