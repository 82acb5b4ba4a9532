# SPDX-License-Identifier: GPL-2.0-only
"""A guest whose host treats it badly: paused, throttled, its threads put onto single CPUs, by chance with a seed.

What it shows is order: things in the kernel that mostly come one after the other come the other way round. The plan
is the seed's; when exactly it meets the guest is the host's, so that a failure need not come again with that seed.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.guest.argv import Launch
from harness.guest.control import ControlFrame
from harness.guest.qmp import monitor
from harness.model.errors import InfraError
from harness.proc import Deadline
from harness.store.scratch import short_name

_ASK_SECONDS = 10.0
_GO_ON_SECONDS = 60.0  # a guest that nobody lets go on would stand still until its deadline
_PROC = Path("/proc")
_ACTS = 100_000  # of a plan: more than any boot lives to see


class Kind(StrEnum):
    REST = "rest"
    PAUSE = "pause"  # all of the guest stands still
    THROTTLE = "throttle"  # it stands still and runs in turn
    PIN = "pin"  # each of its threads on one CPU of the host, whichever


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that is done to the guest, for so many seconds; `turn`: of a throttling, how long each piece is."""

    kind: Kind
    seconds: float
    turn: float = 0.0


def acts(seed: int) -> Iterator[Act]:
    """What is done to the guest of that seed, with rests between."""
    chance = random.Random(f"stress {seed}")
    for _ in range(_ACTS):
        yield Act(Kind.REST, chance.uniform(0.05, 1.0))
        kind = chance.choice((Kind.PAUSE, Kind.THROTTLE, Kind.PIN))
        most = {Kind.PAUSE: 1.0, Kind.THROTTLE: 1.5, Kind.PIN: 3.0}[kind]
        yield Act(kind, chance.uniform(0.02, most), chance.uniform(0.005, 0.05) if kind is Kind.THROTTLE else 0.0)


class Stress:
    """Begins with the guest's first suite, and ends with its boot. Its clock stands still while the guest does."""

    def __init__(self, launch: Launch, seed: int) -> None:
        self._launch = launch
        self._seed = seed
        self._begins, self._ends = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._paused = 0.0
        self._since: float | None = None
        self._began = time.monotonic()
        self.told: list[str] = []

    def clock(self) -> float:
        with self._lock:
            now = time.monotonic() if self._since is None else self._since
            return now - self._paused

    def on_frame(self, frame: ControlFrame) -> None:
        if frame.kind == "start":
            self._begins.set()

    def run(self) -> None:
        """Until `end`; a monitor that no longer answers is a guest that is gone."""
        self._begins.wait()
        plan = acts(self._seed)
        try:
            with short_name(self._launch.qmp.parent) as short:
                while not self._ends.is_set():
                    self._do(next(plan), short / self._launch.qmp.name)
        except (InfraError, OSError):
            self.told.append(f"{self._now()} the guest is gone")

    def end(self) -> None:
        self._ends.set()
        self._begins.set()

    def _now(self) -> str:
        return f"{time.monotonic() - self._began:9.3f}"

    def _do(self, act: Act, qmp: Path) -> None:
        if act.kind is not Kind.REST:
            self.told.append(
                f"{self._now()} {act.kind} {act.seconds:.3f} s" + (f" by {act.turn:.3f}" * bool(act.turn))
            )
        if act.kind is Kind.REST:
            self._ends.wait(act.seconds)
        elif act.kind is Kind.PAUSE:
            self._stand_still(qmp, act.seconds)
        elif act.kind is Kind.THROTTLE:
            limit = time.monotonic() + act.seconds
            while time.monotonic() < limit and not self._ends.is_set():
                self._stand_still(qmp, act.turn)
                self._ends.wait(act.turn)
        else:
            self._pin(act.seconds)

    def _stand_still(self, qmp: Path, seconds: float) -> None:
        with monitor(qmp, Deadline(_ASK_SECONDS)) as session:
            session.ask("stop")
            with self._lock:
                self._since = time.monotonic()
        try:
            self._ends.wait(seconds)
        finally:
            try:
                with monitor(qmp, Deadline(_GO_ON_SECONDS)) as session:
                    session.ask("cont")
            finally:  # where it does not even answer, its deadlines must count again
                with self._lock:
                    self._paused += time.monotonic() - (self._since or 0.0)
                    self._since = None

    def _pin(self, seconds: float) -> None:
        chance = random.Random(f"{self._seed} {len(self.told)}")
        threads = tuple(threads_of(self._launch))
        cpus = sorted(os.sched_getaffinity(0))
        for thread in threads:
            _put(thread, (chance.choice(cpus),))
        self._ends.wait(seconds)
        for thread in threads:
            _put(thread, cpus)


def _put(thread: int, cpus: Sequence[int]) -> None:
    try:
        os.sched_setaffinity(thread, cpus)
    except (ProcessLookupError, PermissionError):
        pass  # it has ended, or is of somebody else


def threads_of(launch: Launch) -> Iterator[int]:
    """The threads of the QEMU that has the results of this launch among its words."""
    mark = os.fsencode(launch.shares[0].path)
    for entry in _PROC.iterdir():
        try:
            if not entry.name.isdigit() or not (entry / "comm").read_bytes().startswith(b"qemu"):
                continue
            if mark in (entry / "cmdline").read_bytes():
                yield from (int(task.name) for task in (entry / "task").iterdir())
        except OSError:
            continue


@contextmanager
def stressed(launch: Launch, seed: int, log: Path) -> Iterator[Stress]:
    """A stress of the guest of this launch; what was done to it is in `log` afterwards."""
    stress = Stress(launch, seed)
    thread = threading.Thread(target=stress.run, daemon=True)
    thread.start()
    try:
        yield stress
    finally:
        stress.end()
        thread.join(_GO_ON_SECONDS)
        log.write_text("".join(f"{line}\n" for line in stress.told), encoding="utf-8")
