# SPDX-License-Identifier: GPL-2.0-only
"""`python -m tests.attack.fleet --kills N`: workers, scheduler and client of a fleet are killed at random with -9.

Guests stand in for QEMU: they say what a guest says, and doze. Runs are made, one after the other, until there were
so many kills; who is killed comes back, and a client goes on with its run. Counted is what was not earned: a finished
boot that is lost or is made again, one that was begun more than once and nobody said so, a process that is left.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from distributed import Scheduler, Worker

from harness.fleet.clusters import fleet
from harness.fleet.order import own_facts
from harness.fleet.slurm import PRELOAD
from harness.flow.request import Request
from harness.flow.run import RunOptions, execute, resume
from harness.guest import boot as boot_module
from harness.model.errors import HarnessError
from harness.store.journal import JOURNAL_FILE, Entry, Step, read_journal
from harness.store.layout import Layout
from harness.store.runs import REPORT_FILE, load_report
from harness.store.sealed import require_sealed
from tests.processes import command_lines
from tests.unit.stand_in.cells import MACHINE, Told, good, request
from tests.unit.stand_in.runs import Ground

WORKERS = tuple(f"worker {number}" for number in range(1, 5))
SAID_FILE = "said"
_ROUND_SECONDS = 900.0
_LEFT_SECONDS = 60.0
_DOWN_SECONDS = 0.3
_BETWEEN = (0.5, 4.0)  # seconds from one kill to the next
_CHANCES = {"worker": 6, "scheduler": 1, "client": 1}
# What a client says of a boot that it begins once more.
_AGAIN = (
    "was lost while it made it",
    "was lost while it was made",
    "lost before its evidence",
    "others are asked for it, too",
)


def ground_in(place: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    """A store, and guests in the time of the host."""
    (place / "store").mkdir(parents=True, exist_ok=True)
    poll = boot_module._POLL_SECONDS
    made = Ground(place, Layout(place / "store"), monkeypatch)
    monkeypatch.setattr(boot_module, "_POLL_SECONDS", poll)
    return made


def asked(boots: int) -> tuple[Request, ...]:
    """Guests with one processor, so that four have room on two cores."""
    return (replace(request(repeat=boots), machine=replace(MACHINE, cpus=1)),)


@dataclass
class Tally:
    """What was done, and what went wrong."""

    kills: Counter[str] = field(default_factory=Counter)
    boots: int = 0
    begun: int = 0
    said: int = 0
    resumed: int = 0
    faults: list[str] = field(default_factory=list)

    def text(self) -> str:
        kills = ", ".join(f"{count} of a {kind}" for kind, count in sorted(self.kills.items()))
        lines = [
            f"{self.kills.total()} kills: {kills}",
            f"{self.boots} boots ended; begun {self.begun} times, {self.begun - self.boots} more than there are, of "
            f"which {self.said} were said; {self.resumed} resumptions",
            *(f"FAULT {fault}" for fault in self.faults),
            f"{len(self.faults)} faults",
        ]
        return "\n".join(lines)


class Cast:
    """The scheduler, the workers and the client, each a process that comes back when it is killed. They are forked
    from this one, which has all modules read and has looked at the host, so that to come back costs little.
    """

    def __init__(self, place: Path, boots: int) -> None:
        self._address = f"tcp://127.0.0.1:{free_port()}"
        self._place = place
        self._boots = boots
        self._log = (place / "log").open("ab")
        self._pids = {name: self._start(name) for name in ("scheduler", *WORKERS, "client")}

    def _start(self, name: str) -> int:
        sys.stdout.flush()
        if pid := os.fork():
            return pid
        status = 1
        try:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            with Path(os.devnull).open() as nothing:
                os.dup2(nothing.fileno(), 0)
            for stream in (1, 2):
                os.dup2(self._log.fileno(), stream)
            self._play(name)
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def _play(self, name: str) -> None:
        if name == "scheduler":
            asyncio.run(until_it_ends(lambda: Scheduler(host=self._address, dashboard=False)))
        elif name == "client":
            client(self._place, self._address, self._boots)
        else:
            asyncio.run(until_it_ends(lambda: Worker(self._address, nthreads=1, preload=PRELOAD, dashboard=False)))

    def kill(self, name: str) -> None:
        os.killpg(self._pids[name], signal.SIGKILL)
        os.waitpid(self._pids[name], 0)
        time.sleep(_DOWN_SECONDS)
        self._pids[name] = self._start(name)

    def mend(self) -> bool:
        """Starts again who is gone; whether the client has ended well."""
        for name, pid in self._pids.items():
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                if name == "client" and status == 0:
                    del self._pids[name]
                    return True
                self._pids[name] = self._start(name)
        return False

    def close(self) -> None:
        for pid in self._pids.values():
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self._log.close()


async def until_it_ends(make: Callable[[], Scheduler | Worker]) -> None:
    async with make() as server:
        await server.finished()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def cast_of(place: Path, boots: int) -> Iterator[Cast]:
    cast = Cast(place, boots)
    try:
        yield cast
    finally:
        cast.close()


def attack(place: Path, kills: int, boots: int, seconds: float, seed: int, patience: float) -> Tally:
    """Runs of so many boots, each of which dozes for so long, until there were the kills, or patience is over."""
    tally, chance, limit = Tally(), random.Random(seed), time.monotonic() + patience
    turn = 0
    while tally.kills.total() < kills and time.monotonic() < limit:
        turn += 1
        here = place / f"{turn:03d}"
        with pytest.MonkeyPatch.context() as patch:
            ground = ground_in(here, patch)
            scripts = boots * 5
            ground.plays(*[(("doze", seconds), *good())] * scripts)
            patch.setenv("TTM_HARNESS_STORE", str(here / "store"))
            own_facts(ground.layout)  # workers have them with the fork
            if not _round(here, tally, chance, kills, boots):
                tally.faults.append(f"run {turn} did not come to its end; what was said is in {here}")
                return tally
            look_at(ground, here, tally, boots, scripts - ground.stand_in.left)
        print(f"run {turn}: {tally.kills.total()} kills so far, {len(tally.faults)} faults", flush=True)
    return tally


def _round(place: Path, tally: Tally, chance: random.Random, kills: int, boots: int) -> bool:
    """One run, with kills in between; whether it ended."""
    limit = time.monotonic() + _ROUND_SECONDS
    with cast_of(place, boots) as cast:
        while not _has_begun(place):  # who comes and goes before the first boot has nothing to lose
            if cast.mend() or time.monotonic() > limit:
                return False
            time.sleep(0.1)
        next_kill = time.monotonic()
        while not cast.mend():
            if time.monotonic() > limit:
                return False
            if time.monotonic() > next_kill and tally.kills.total() < kills:
                kind = chance.choices(tuple(_CHANCES), tuple(_CHANCES.values()))[0]
                cast.kill(chance.choice(WORKERS) if kind == "worker" else kind)
                tally.kills[kind] += 1
                next_kill = time.monotonic() + chance.uniform(*_BETWEEN)
            time.sleep(0.05)
    return True


def _has_begun(place: Path) -> bool:
    return any((place / "store").glob(f"*/*/{JOURNAL_FILE}"))


def look_at(ground: Ground, place: Path, tally: Tally, boots: int, begun: int) -> None:
    """Nothing that had ended is lost, each boot ended once, what was begun more often is said, and nobody is left."""
    directory = ground.newest
    entries = read_journal(directory)
    finished = [one for one in entries if one.step is Step.FINISHED]
    if sorted(one.number for one in finished) != list(range(1, boots + 1)):
        tally.faults.append(f"{directory}: the boots that ended are {sorted(one.number for one in finished)}")
    for one in finished:
        try:
            require_sealed(directory / one.place, one.sealed)
        except HarnessError as error:
            tally.faults.append(error.message)
    report = load_report(directory)
    if len(report.runs) != boots or str(report.verdict) != "good":
        tally.faults.append(f"{directory}: {len(report.runs)} boots, {report.verdict}: {'; '.join(report.reasons)}")
    lines = (place / SAID_FILE).read_text().splitlines()
    again = sum(any(word in line for word in _AGAIN) for line in lines)
    by_resume = sum(one.step is Step.BEGUN for one in entries) - boots
    if begun - boots > again + by_resume:
        tally.faults.append(f"{directory}: begun {begun} times, and only {again + by_resume} of it were said")
    tally.boots += len(finished)
    tally.begun += begun
    tally.said += min(begun - boots, again + by_resume)
    tally.resumed += sum(one.step is Step.RESUMED for one in entries)
    tally.faults += _left(place)


def _left(place: Path) -> list[str]:
    """Processes of the run that are still there when it is over."""
    limit = time.monotonic() + _LEFT_SECONDS
    while left := [line for line in command_lines() if os.fsencode(place) in line]:
        if time.monotonic() > limit:
            return [f"a process is left: {left[0].decode('utf-8', 'replace')[:200]}"]
        time.sleep(0.1)
    return []


class Writes(Told):
    """What is said goes to a file, too, as it is said."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def step(self, text: str) -> None:
        super().step(text)
        with self._file.open("a") as sink:
            sink.write(f"{text}\n")


def client(place: Path, address: str, boots: int) -> None:
    """Makes the run, or goes on with it; also with what was set aside, until all of it has ended."""
    with pytest.MonkeyPatch.context() as patch:
        ground = rejoined(place, patch)
        told = Writes(place / SAID_FILE)
        with fleet(address, ground.layout, told) as hosts:
            runs = [one for one in ground.layout.runs.iterdir() if (one / JOURNAL_FILE).exists()]
            if not runs:
                execute(asked(boots), ground.layout, told, RunOptions(hosts=hosts))
            elif not has_ended(runs[0]):
                resume(ground.layout, runs[0].name, told, hosts=hosts)
        sys.exit(not has_ended(ground.newest))


def rejoined(place: Path, patch: pytest.MonkeyPatch) -> Ground:
    """The ground that the process before the fork has made: its guests are in PATH already."""
    patch.setattr("tests.unit.stand_in.runs.StandIn", lambda *_: None)
    patch.setattr("tests.unit.stand_in.runs.Clock", lambda *_: None)
    return Ground(place, Layout(place / "store"), patch)


def has_ended(directory: Path) -> bool:
    entries: tuple[Entry, ...] = tuple(read_journal(directory))
    return bool(entries) and entries[-1].step is Step.ENDED and (directory / REPORT_FILE).exists()


def main() -> int:
    """Exit status 1 when anything went wrong, or there were fewer kills than asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack.fleet", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--boots", type=int, default=40, help="of each run")
    parser.add_argument("--seconds", type=float, default=1.0, help="that a guest dozes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--patience", type=float, default=4 * 3600.0, help="seconds for all runs together")
    parser.add_argument("--place", type=Path, help="a directory to work in; else one that is removed afterwards")
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nobody is left
    with tempfile.TemporaryDirectory(prefix="ttm-fleet-") as scratch:
        place = wanted.place or Path(scratch)
        tally = attack(place, wanted.kills, wanted.boots, wanted.seconds, wanted.seed, wanted.patience)
    print(tally.text())
    return 1 if tally.faults or tally.kills.total() < wanted.kills else 0


if __name__ == "__main__":
    sys.exit(main())
