# SPDX-License-Identifier: GPL-2.0-only
"""One boot: starts the guest, follows its control channel and its console, and says how it ended.

A panic, a hang, a lost guest and a timeout are results, never exceptions.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from harness.guest.accel import KVM_DEVICE
from harness.guest.argv import Launch, vng_argv
from harness.guest.bounded import bounded
from harness.guest.clock import HeldClock
from harness.guest.control import ControlFrame, ControlReader
from harness.guest.facts import guest_facts
from harness.guest.image import Keeper
from harness.guest.liveness import BootLimits, Liveness
from harness.guest.pci import passthrough
from harness.guest.qmp import monitor
from harness.guest.stall import Stall, interrogate
from harness.model.errors import InfraError
from harness.model.machine import Accel, GuestFacts
from harness.model.outcome import Ending
from harness.proc import PIPE, Deadline, Process, spawn
from harness.sandbox import Confines, SandboxLimits, within
from harness.store.scratch import short_name

_POLL_SECONDS = 0.03
_POWER_OFF_SECONDS = 15.0
_ACCEL_SECONDS = 5.0
_NO_LIMIT = 1 << 60
_NUMBER = re.compile(r"[0-9]{1,18}")
_Else = TypeVar("_Else", int, None)


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """A runner's exit status, and the seconds it took on the host's clock."""

    suite: str
    status: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Boot:
    """How one boot went. `phase` is `launch`, `boot`, a suite's name, or `shutdown`.

    `facts` is None unless the guest reported every one. `stall` is there for a guest that was given up.
    `ready_after` and `seconds` count from the start of vng. `case` is the one that was running at the end; `overdue`
    says that its deadline was why the guest was given up, `fair` that the host had given the guest its share.
    `announced` counts the cases that each suite's runner said it would run.
    """

    ending: Ending
    phase: str
    facts: GuestFacts | None
    taint_end: int | None
    suites: tuple[SuiteResult, ...]
    garbage: tuple[str, ...]
    launcher: str
    stall: Stall | None
    accel: str
    ready_after: float | None
    seconds: float
    case: str = ""
    overdue: bool = False
    fair: bool = True
    announced: tuple[tuple[str, int], ...] = ()
    left_out: int = 0  # bytes from the middle of its console
    images: tuple[str, ...] = ()  # of its memory, as paths in the boot's directory
    image_troubles: tuple[str, ...] = ()  # sentences for those that could not be written


@dataclass
class BootProgress:
    """What is known so far; changed by the frames as they come. Times are in seconds, on any one clock."""

    started: float
    phase: str = "launch"
    ready_after: float | None = None
    exited: bool = False
    facts: dict[str, str] = field(default_factory=dict)
    facts_complete: bool = False
    suites: list[SuiteResult] = field(default_factory=list)
    suite_began: float = 0.0
    announced: dict[str, int] = field(default_factory=dict)

    def take(self, frame: ControlFrame, now: float) -> None:
        if frame.kind == "ready":
            self.phase = "boot"
            self.ready_after = now - self.started
        elif frame.kind == "fact":
            name, _, value = frame.text.partition("=")
            self.facts[name] = value
        elif frame.kind == "facts-end":
            self.facts_complete = frame.text == str(len(self.facts))
        elif frame.kind == "start":
            self.phase = frame.text
            self.suite_began = now
        elif frame.kind == "announced":
            name, _, count = frame.text.rpartition(" ")
            self.announced[name] = number_said(count, -1)
        elif frame.kind == "result":
            name, _, status = frame.text.rpartition(" ")
            self.suites.append(SuiteResult(name, number_said(status, 255), now - self.suite_began))
            self.phase = "shutdown"
        elif frame.kind == "exit":
            self.exited = frame.text == str(len(self.suites))
            self.phase = "shutdown"

    def guest_facts(self) -> GuestFacts | None:
        return guest_facts(self.facts) if self.facts_complete else None


def number_said(text: str, otherwise: _Else) -> int | _Else:
    """A number that the guest said, which may have said anything: `int` refuses 5000 digits, and what only looks like
    one.
    """
    return int(text) if _NUMBER.fullmatch(text) else otherwise


class _Tail:
    """Reads what a growing file gained since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return b""
        self._offset += len(data)
        return data


def boot(
    launch: Launch,
    console: Path,
    limits: BootLimits,
    on_frame: Callable[[ControlFrame], None] | None = None,
    reference_ready: float | None = None,
    stop: threading.Event | None = None,
    clock: Callable[[], float] | None = None,
) -> Boot:
    """Boots and follows the guest to its end.

    QEMU works in the directory of the monitor's socket, where the agent's is, too; of both it is told the name alone:
    the address of a socket has room for 107 bytes, and the path may be longer.
    `console` receives every byte that the kernel prints. With `reference_ready` (the seconds that a boot takes on
    the machine for which the limits were set) the limits are scaled by what this boot really took, never down.
    When `stop` is set the guest is ended at once. The limits are those of `clock`, in seconds: one that stands still
    while somebody has paused the guest.
    """
    launch.control.unlink(missing_ok=True)
    place = launch.qmp.parent
    words = vng_argv(as_started(launch))
    # vng would read ~/.config/virtme-ng and let it win over our words.
    environment = {"HOME": str(place)}
    with short_name(place) as short, console.open("wb") as console_file:
        with spawn(
            words,
            cwd=place,
            env=environment,
            stdout=console_file,
            stderr=PIPE,
            first_to_die=True,
            within=within(confines_of(launch)),
        ) as process:
            launch = replace(launch, qmp=short / launch.qmp.name)
            shares = tuple(share.path for share in launch.shares if share.writable)
            with bounded(console, launch.control, shares, process) as bounds:
                ended = _Follower(launch, console, limits, on_frame, reference_ready, process, stop, clock).follow()
    bounds.end()
    if bounds.why and ended.ending is not Ending.INTERRUPTED:
        stall = Stall(bounds.why, "", False, console.stat().st_size, f"the guest was ended: {bounds.why}")
        ended = replace(ended, ending=Ending.LOST, stall=stall)
    return replace(ended, left_out=bounds.left_out)


def as_started(launch: Launch) -> Launch:
    """The launch as vng is told of it, in the directory of the monitor's socket."""
    agent = Path(launch.agent.name) if launch.agent is not None else None
    return replace(launch, qmp=Path(launch.qmp.name), agent=agent)


def confines_of(launch: Launch) -> Confines:
    """QEMU sees what it boots, and writes to the boot's own directory."""
    shares, passed = launch.shares, passthrough(launch.machine.device)
    return Confines(
        writes=(launch.control.parent, launch.qmp.parent, *(share.path for share in shares if share.writable)),
        reads=(launch.image, launch.root, *(share.path for share in shares if not share.writable), *passed.reads),
        devices=(*((KVM_DEVICE,) if launch.accel is Accel.KVM else ()), *passed.nodes),
        network=launch.network,
        limits=SandboxLimits(
            file_size=_NO_LIMIT, memory=_NO_LIMIT, reserve=0
        ),  # a guest's RAM and disks are its limits
    )


class _Follower:
    def __init__(
        self,
        launch: Launch,
        console: Path,
        limits: BootLimits,
        on_frame: Callable[[ControlFrame], None] | None,
        reference_ready: float | None,
        process: Process,
        stop: threading.Event | None,
        clock: Callable[[], float] | None,
    ) -> None:
        self._stop = stop or threading.Event()
        self._launch = launch
        self._on_frame = on_frame
        self._reference = reference_ready
        self._process = process
        self._console_path = console
        self._control = _Tail(launch.control)
        self._console = _Tail(console)
        self._reader = ControlReader()
        self._seen = BootProgress(time.monotonic())
        self._clock = HeldClock(clock or time.monotonic)
        self._alive = Liveness(limits, self._clock)
        self._keeper = Keeper(launch) if launch.keep_state else None
        self._launcher: list[bytes] = []
        self._accel = ""
        self._factor = 1.0
        self._overdue = False
        self._fair = True
        self._case: str | None = None

    def follow(self) -> Boot:
        errors = threading.Thread(target=self._drain_errors, daemon=True)
        errors.start()
        ready = False
        ending: Ending | None = None
        stall: Stall | None = None
        while ending is None:
            ended = self._process.status is not None
            self._look()
            self._attend()
            if self._seen.ready_after is not None and not ready:
                ready = True
                self._measure(self._seen.ready_after)
                self._accel = self._ask_accel()
            if self._stop.is_set():
                ending = Ending.INTERRUPTED
            elif ended:
                ending = self._ending_of_exit()
            elif self._seen.exited:
                ending, stall = self._power_off()
            elif (given_up := self._alive.look()) is not None:
                # Now: the questions take their time, and a case may end meanwhile.
                self._case, self._overdue, self._fair = self._alive.case, given_up.overdue, self._alive.fair
                ending, stall = self._give_up(given_up.ending, given_up.why)
            else:
                time.sleep(_POLL_SECONDS)
        self._process.end()
        self._look()
        self._reader.end()
        errors.join(2.0)
        return self._result(ending, stall)

    def _look(self) -> None:
        data = self._control.read()
        if printed := self._console.read():
            self._alive.console(printed)
        for frame in self._reader.feed(data):
            self._seen.take(frame, time.monotonic())
            self._alive.frame(frame)
            if self._on_frame is not None:
                self._on_frame(frame)

    def _attend(self) -> None:
        """A guest whose state is kept stands still where a case failed, and does not end by itself: it is told to."""
        if self._keeper is None:
            return
        status = self._keeper.status()
        if status not in ("guest-panicked", "shutdown", "debug"):
            return
        self._look()  # at what it said last
        if status == "guest-panicked" and not self._alive.panicked:
            self._clock.hold()
            self._keeper.keep(self._alive.case or self._seen.phase)
            self._keeper.tell("cont")
            self._clock.go_on()
            return
        if status == "debug":  # at the breakpoint, which is where an expectation of kunit fails
            self._clock.hold()
            self._keeper.keep_at_breakpoint(self._alive.case or self._seen.phase)
            self._clock.go_on()
            return
        if self._alive.panicked or not self._seen.exited:
            self._keeper.keep("panic" if self._alive.panicked else "end")
        self._keeper.tell("quit")

    def _measure(self, ready_after: float) -> None:
        """The guest's own boot says how slow it is here."""
        if self._reference is not None:
            self._factor = max(1.0, ready_after / self._reference)
        self._alive.ready(self._factor)

    def _ending_of_exit(self) -> Ending:
        if self._seen.exited:
            return Ending.FINISHED
        return Ending.PANICKED if self._alive.panicked else Ending.LOST

    def _give_up(self, ending: Ending, why: str) -> tuple[Ending, Stall | None]:
        """Asks what can be asked. What a panic is was known before: the questions themselves may lead to one."""
        panicked = self._alive.panicked
        if self._keeper is not None:
            self._keeper.keep("stall")
        stall = interrogate(self._launch.qmp, self._console_path, why, self._factor, self._stop)
        if self._stop.is_set():
            return Ending.INTERRUPTED, None
        return (Ending.PANICKED if panicked else ending), stall

    def _power_off(self) -> tuple[Ending, Stall | None]:
        """The exit frame came: what remains is to power off, with a limit of its own."""
        limit = Deadline(_POWER_OFF_SECONDS * self._factor)
        while self._process.status is None and not limit.passed and not self._stop.is_set():
            self._look()
            self._attend()
            time.sleep(_POLL_SECONDS)
        if self._process.status is None:
            return self._give_up(Ending.HUNG, f"it did not power off within {limit.seconds:.0f} s")
        self._look()  # it may have said something since the last one
        return (Ending.PANICKED if self._alive.panicked else Ending.FINISHED), None

    def _ask_accel(self) -> str:
        """What QEMU really uses: with `accel=kvm:tcg` it falls back without a word."""
        try:
            with monitor(self._launch.qmp, Deadline(_ACCEL_SECONDS)) as session:
                return "kvm" if '"enabled": true' in session.ask("query-kvm") else "tcg"
        except InfraError:
            return ""

    def _drain_errors(self) -> None:
        stream = self._process.stderr
        assert stream is not None
        try:
            for line in stream:
                if len(self._launcher) < 200:
                    self._launcher.append(line)
        except ValueError:
            pass  # closed while reading: the guest has been ended

    def _result(self, ending: Ending, stall: Stall | None) -> Boot:
        seen = self._seen
        return Boot(
            ending=ending,
            phase=seen.phase,
            facts=seen.guest_facts(),
            taint_end=number_said(seen.facts.get("taint_end", ""), None),
            suites=tuple(seen.suites),
            garbage=tuple(self._reader.garbage),
            launcher=b"".join(self._launcher).decode("utf-8", "replace"),
            stall=stall,
            accel=self._accel,
            ready_after=seen.ready_after,
            seconds=time.monotonic() - seen.started,
            case="" if ending is Ending.FINISHED else self._case if self._case is not None else self._alive.case,
            overdue=self._overdue,
            fair=self._fair,
            announced=tuple(seen.announced.items()),
            images=tuple(self._keeper.images) if self._keeper is not None else (),
            image_troubles=tuple(self._keeper.troubles) if self._keeper is not None else (),
        )
