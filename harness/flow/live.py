# SPDX-License-Identifier: GPL-2.0-only
"""A guest that stays and does what it is told: the boot of a kernel on a machine, as a context manager."""

from __future__ import annotations

import io
import itertools
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from harness.flow.admission import check_machine
from harness.flow.boots import (
    STANDS_ON_FILE,
    BootEnvironment,
    disks_of,
    extra_of,
    job_text,
    launch_of,
    looked_at,
    require_guest,
    require_same,
    scratch_of,
    stands_on,
    suites_text,
    write_after,
)
from harness.flow.deadlines import BOOT_SECONDS, REFERENCE_READY_SECONDS, SILENCE_SECONDS
from harness.flow.devices import devices_lent, with_device
from harness.flow.inspect import Image, inspect
from harness.flow.live_log import MARK, LiveLog
from harness.flow.prepare import Stopwatch, prepare, prepare_other, prepare_root, settle_accel
from harness.flow.schedule import CROWD, room_for
from harness.flow.sources import objects_of
from harness.guest.agent import (
    Agent,
    AgentLost,
    Command,
    CommandBad,
    CommandTimedOut,
    Ended,
    NotStarted,
    Sink,
    Source,
)
from harness.guest.argv import kernel_cmdline, vng_argv
from harness.guest.boot import Boot, as_started
from harness.guest.image import image_path
from harness.guest.live import LiveBoot
from harness.guest.liveness import BootLimits
from harness.guest.root import compile_static
from harness.guest.ssh import SYMBOLS as ssh_symbols
from harness.guest.ssh import SshDoor
from harness.judge.expectations import differences
from harness.kernel.module import build_module
from harness.model.build import Build
from harness.model.cell import Cell
from harness.model.codec import to_json
from harness.model.errors import FindingError, InfraError, UserError
from harness.model.event import Event
from harness.model.kernel import KernelSpec
from harness.model.machine import Machine
from harness.model.memory import Memory
from harness.model.outcome import Ending
from harness.model.progress import Progress
from harness.model.root import BUSYBOX, RootSpec
from harness.model.suite import Suite
from harness.model.units import about_size
from harness.proc import Deadline
from harness.store.files import explain_os_error, write_atomically
from harness.store.layout import Layout
from harness.store.runs import CELL_FILE, run_directory

if TYPE_CHECKING:
    from harness.guest.ssh import SSHClient

__all__ = [
    "CommandBad",
    "CommandTimedOut",
    "ConsoleCut",
    "Ended",
    "GuestEnded",
    "LiveGuest",
    "NotSeen",
    "NotStarted",
    "Unannounced",
    "guest_of",
    "live_guest",
]

_BY_ITSELF = ": something in it powered it off, or killed its agent"
_ENDING_SECONDS = 20.0  # from the loss of the agent to the end of its guest
_MARK_SECONDS = 60.0
_EVENT_SECONDS = 5.0
_POLL_SECONDS = 0.2
_PANIC_SECONDS = 60.0
_COMPILE_SECONDS = 120.0
_MODULE_SECONDS = 600.0
_LINE_OF_FIGURES = re.compile(r"(\S+?):? +(\d+)(?: (kB))?")
_PUSH = 'cat >"$1.part" && chmod "$2" "$1.part" && mv -f "$1.part" "$1" || { rm -f "$1.part"; exit 1; }'


class GuestEnded(AgentLost):
    """A guest that was to stay has ended. `boot` says how, `events` are all that its kernel said, the last ones being
    why, and `unannounced` those of them that nobody had announced; `directory` has all that it left: console.log
    first.
    """

    def __init__(self, boot: Boot, events: Sequence[Event], unannounced: Sequence[Event], directory: Path) -> None:
        self.boot = boot
        self.ending = boot.ending
        self.events = tuple(events)
        self.unannounced = tuple(unannounced)
        self.directory = directory
        by_itself = _BY_ITSELF if boot.ending is Ending.FINISHED else ""
        why = f": {boot.stall.why}" if boot.stall is not None else by_itself
        super().__init__(f"the guest has ended ({boot.ending}){why}", log=directory / "console.log")


class NotSeen(FindingError):
    """An event that was announced did not come."""


class Unannounced(FindingError):
    """The kernel said what nobody had announced: `events`."""

    def __init__(self, events: Sequence[Event], directory: Path) -> None:
        self.events = tuple(events)
        more = f", and {len(events) - 1} more" if len(events) > 1 else ""
        super().__init__(
            f"the guest's kernel said what was not announced: {events[0].title}{more}", log=directory / "console.log"
        )


class ConsoleCut(InfraError):
    """The kernel said more than is kept: what stood in the middle of it, nobody knows."""

    def __init__(self, left_out: int, console: Path) -> None:
        super().__init__(
            f"the guest's console was too long to be kept: {about_size(left_out)} are left out of it, and what the "
            "kernel said there was not read",
            hint="let it say less: what floods the console hides what a test is for",
            log=console,
        )


class LiveGuest:
    """Made by `live_guest`, or by the fixtures of the pytest plugin. Its methods may be called from any thread.
    Times are in seconds of the host, sizes in bytes.

        before = guest.meminfo()["MemFree"]
        ended = guest.run("dd if=/dev/zero of=/results/file bs=1M count=8", timeout=60, check=True)
        with guest.expect_oom("hog"):
            guest.run(("hog", "1G", "5"))

    Only two places in the guest can be written to: `/results`, on the host's disk (`directory / "results"`, 1 GiB),
    and `/run`, in the guest's RAM (256 KiB); where commands run in another root, also `/tmp`, on the host's disk.
    Every method raises GuestEnded when the guest has ended.

    Whatever the kernel says of its own accord (a splat, an OOM) is a failure, told when the guest is left, unless it
    was announced: by `expect_event`, `expect_oom` or `expect_panic` around what leads to it.
    """

    def __init__(self, environment: BootEnvironment, layout: Layout, directory: Path) -> None:
        self.directory = directory
        self._environment = environment
        self._layout = layout
        self._log = LiveLog(self.console, objects_of(environment.kernel.build))
        self._announced: set[int] = set()  # indices into the events
        self._marks = itertools.count(1)
        self._live: LiveBoot | None = None
        self._ended: GuestEnded | None = None
        self._ending = threading.Lock()
        self._told = {Ending.FINISHED}  # endings that are no news at the end
        self._panicked = False  # as was announced
        self._reachable = False  # by ssh
        self._door: SshDoor | None = None
        self._asked = 0  # how often the agent was
        self._asked_before = -1  # that, when events were last taken

    @property
    def console(self) -> Path:
        """All that the kernel has printed."""
        return self.directory / "console.log"

    def run(
        self,
        command: str | Sequence[str],
        *,
        timeout: float | None = None,
        input: bytes | Source | None = None,
        check: bool = False,
        out: Sink | None = None,
        err: Sink | None = None,
        environment: Mapping[str, str] | None = None,
        directory: str = "/",
        oom_score_adj: int = 0,
        over: str = "agent",
    ) -> Ended:
        """Runs words, or a line of sh, to its end and gives it `input`. What it says is in the answer (64 MiB at
        most), or goes to `out` and `err` as it comes, whatever its size.

        CommandTimedOut after `timeout` seconds, when its process group has been killed; NotStarted where the guest
        could not start it; with `check` CommandBad where it did not end with status 0.

        With `over` "ssh" the guest's sshd starts it instead of its agent, with the same results (`ssh`).

            guest.run("cat; exit 3", input=b"some bytes").status == 3
            guest.run(("sha256sum", "/dev/sda"), out=print)
        """
        if over not in ("agent", "ssh"):
            raise UserError(f"a command runs over the agent or over ssh, and not over {over!r}")
        return (self._agent_of() if over == "agent" else self._ssh_door()).run(
            _words(command),
            timeout=timeout,
            source=input,
            check=check,
            out=out,
            err=err,
            environment=environment,
            directory=directory,
            oom_score_adj=oom_score_adj,
        )

    def spawn(
        self,
        command: str | Sequence[str],
        *,
        takes_input: bool = False,
        terminal: tuple[int, int] | None = None,
        environment: Mapping[str, str] | None = None,
        directory: str = "/",
        oom_score_adj: int = 0,
    ) -> Command:
        """Starts a command and leaves it running; 16 at a time. It is killed when the guest is left.

        `terminal` (rows, columns) puts it on a terminal of its own. What it says waits in the guest, in a pipe, until
        somebody takes it. NotStarted where the guest could not start it.

            load = guest.spawn("while :; do hog 200M 5; done")
            ...
            load.kill()
        """
        return self._agent_of().spawn(
            _words(command),
            takes_input=takes_input,
            terminal=terminal,
            environment=environment,
            directory=directory,
            oom_score_adj=oom_score_adj,
        )

    def ssh(self) -> SSHClient:
        """A paramiko client that is connected to the guest's sshd as root, for the caller to use and to close. The
        first call starts sshd, with keys that are made for this guest alone.

        UserError where the guest was booted without `ssh`, or its root has no sshd; InfraError where that does not
        answer, or with another host key.
        """
        return self._ssh_door().connected()

    def push(
        self, source: Path | bytes, target: str, *, mode: int | None = None, timeout: float | None = None
    ) -> None:
        """Writes a file in the guest: all of it, or nothing. `mode` is that of a source that is a file, else 0644.
        CommandBad where it cannot be written, CommandTimedOut after `timeout` seconds.

            guest.push(Path("program"), "/results/program")
        """
        if isinstance(source, bytes):
            self._push(io.BytesIO(source), target, 0o644 if mode is None else mode, timeout)
            return
        try:
            with source.open("rb") as file:
                own = os.fstat(file.fileno()).st_mode & 0o777
                self._push(file, target, own if mode is None else mode, timeout)
        except OSError as error:
            raise explain_os_error(error, f"cannot read {source}") from error

    def pull(self, source: str, target: Path | None = None, *, timeout: float | None = None) -> bytes:
        """Reads a file of the guest, into `target` (all of it, or nothing; of any size) or into the answer (64 MiB).
        CommandBad where it cannot be read, CommandTimedOut after `timeout` seconds.

            limit = int(guest.pull("/proc/sys/vm/swappiness"))
        """
        if target is None:
            return self.run(("cat", source), timeout=timeout, check=True).out
        part = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}.part")
        try:
            with part.open("wb") as file:
                self.run(("cat", source), timeout=timeout, check=True, out=file.write)
            part.replace(target)
        except OSError as error:
            raise explain_os_error(error, f"cannot write {target}") from error
        finally:
            part.unlink(missing_ok=True)
        return b""

    def events(self) -> tuple[Event, ...]:
        """All that the kernel has said of its own accord until now, oldest first, with the lines of its sources."""
        number = next(self._marks)
        self.run(("sh", "-c", 'echo "<5>$1" >/dev/kmsg', "mark", MARK % number), check=True)
        deadline = Deadline(_MARK_SECONDS)
        while not self._log.wait_for(number, deadline.at_most(1.0)):
            self._agent_of().require()
            if deadline.passed:
                raise InfraError(f"the guest's console did not come to {MARK % number!r}", log=self.console)
        return self._log.look(over=True)

    def unannounced(self) -> tuple[Event, ...]:
        """The events until now that nobody has announced."""
        return self._others(self.events())

    @property
    def lives(self) -> bool:
        """It has not ended."""
        return self._living().lives

    def take_unannounced(self) -> tuple[Event, ...]:
        """The events until now that nobody has announced, each given once: they are announced now. It costs nothing
        where the guest was asked nothing since and its kernel said nothing. GuestEnded where it has ended and nobody
        was told; that has the events.
        """
        if self.lives:
            if self._asked == self._asked_before and self._log.has_read_all:
                return ()
            events = self.events()
            self._asked_before = self._asked
        else:
            boot = self.ended(Deadline(0.0))
            if self._ended is None and (boot is None or boot.ending not in self._told):
                raise self._explain("it has ended")
            events = self._log.look(over=True)
        others = () if self._told_all else self._others(events)
        self._announced.update(range(len(events)))
        return others

    def dmesg(self) -> str:
        """What the kernel's ring buffer still has."""
        return self.run(("dmesg",), check=True).text

    def meminfo(self) -> dict[str, int]:
        """/proc/meminfo, in bytes but for the HugePages, which are counted."""
        return _figures(self.pull("/proc/meminfo"))

    def vmstat(self) -> dict[str, int]:
        """/proc/vmstat, in the kernel's units: pages, or events since the boot."""
        return _figures(self.pull("/proc/vmstat"))

    def sysrq(self, key: str) -> None:
        """As if that key was pressed: `c` is a panic, `f` calls the OOM killer, `t` prints all tasks. UserError for
        what is no key.
        """
        if len(key) != 1 or not key.isalnum():
            raise UserError(f"sysrq has no key {key!r}")
        self.run(("sh", "-c", 'echo "$1" >/proc/sysrq-trigger', "sysrq", key), check=True)

    def program(self, source: Path, *, timeout: float = _COMPILE_SECONDS) -> str:
        """Compiles a C file, static, and puts the program onto the guest's disk; the word that runs it there.
        CommandFailed when it does not compile.

            guest.run((guest.program(Path("leak.c")), "100"))
        """
        with tempfile.TemporaryDirectory() as place:
            program = Path(place) / source.stem
            compile_static(source, program, Deadline(timeout))
            self._push_beside(program, 0o755)
        return f"/results/live/{source.stem}"

    @contextmanager
    def module(self, source: Path, parameters: Mapping[str, str | int] | None = None) -> Iterator[str]:
        """Loads a module for the block, and gives its name: a .ko, or a directory of sources with a Kbuild, built
        against the guest's own kernel (once; `build_module`). ModuleFailed when it does not build, CommandBad when it
        does not load or unload. The lines of its sources are in the events that go through it.

            with guest.module(Path("mine"), {"size": 4096}) as name:
                guest.run(f"cat /sys/module/{name}/parameters/size")
        """
        file = source if source.suffix == ".ko" else self._build_module(source)
        self._push_beside(file, 0o644)
        name = file.stem.replace("-", "_")
        words = (f"{key}={value}" for key, value in (parameters or {}).items())
        self._log.add_objects(file.parent)
        with self.allow_event(match="loading out-of-tree module taints kernel"):
            self.run(("insmod", f"/results/live/{file.name}", *words), check=True)
        try:
            yield name
        except GuestEnded:
            raise
        except BaseException:
            self.run(("rmmod", name))
            raise
        self.run(("rmmod", name), check=True)

    @contextmanager
    def expect_event(self, kind: str = "", match: str = "", within: float = _EVENT_SECONDS) -> Iterator[list[Event]]:
        """What is in the block makes the kernel say something: of this kind (as in `events()`; any), with a line or
        a title in which the regular expression `match` is found. NotSeen when it has not within so many seconds of
        the block's end. The list that it gives has the events, once the block is left.

            with guest.expect_event("warning", match="my_function") as found:
                guest.run("echo 1 >/sys/kernel/debug/mine/warn")
        """
        with self.allow_event(kind, match) as found:
            first = len(self.events())
            yield found
            deadline = Deadline(within)
            while not self._announce(kind, match, first):
                if deadline.passed:
                    what = " ".join(word for word in (kind, match) if word) or "anything"
                    raise NotSeen(f"the guest's kernel did not say {what}", log=self.console)
                time.sleep(min(_POLL_SECONDS, deadline.left))

    @contextmanager
    def allow_event(self, kind: str = "", match: str = "") -> Iterator[list[Event]]:
        """What is in the block may make the kernel say something, as in `expect_event`, and need not."""
        first = len(self.events())
        found: list[Event] = []
        try:
            yield found
        finally:
            found += self._announce(kind, match, first)

    @contextmanager
    def expect_oom(self, victim: str = "", within: float = _EVENT_SECONDS) -> Iterator[list[Event]]:
        """An `expect_event` of the OOM killer; `victim` is the name of who is killed, of anybody by default."""
        match = rf"\b{re.escape(victim)} \(pid \d+\) was killed" if victim else ""  # the title (oom_class.py)
        with self.expect_event("oom", match, within) as found:
            yield found

    @contextmanager
    def expect_panic(self, match: str = "", within: float = _PANIC_SECONDS) -> Iterator[None]:
        """What is in the block makes the kernel panic, with the regular expression `match` in what it says. The guest
        has ended afterwards, which leaves the block early and is no failure. NotSeen when it does not.
        """
        first = len(self.events())
        try:
            yield
        except GuestEnded as error:
            if error.ending is not Ending.PANICKED:
                raise
        boot = self.ended(Deadline(within))
        if boot is None or boot.ending is not Ending.PANICKED:
            raise NotSeen(f"the guest's kernel did not panic within {within:g} s", log=self.console)
        self._told.add(boot.ending)
        self._panicked = True  # what was said before the block still has to be announced
        since = self._log.look(over=True)[first:]
        self._announced.update(range(first, first + len(since)))
        if not any(_matches(re.compile(match), event) for event in since):
            raise NotSeen(f"the guest's kernel panicked, and did not say {match}", log=self.console)

    def ping(self) -> float:
        """The seconds until the agent answered, which needs no new process."""
        return self._agent_of().ping(Deadline(BOOT_SECONDS))

    def pause(self) -> None:
        """Stops all CPUs of the guest, until `resume`. Commands do not go on meanwhile; their timeouts do."""
        self._living().pause()

    def resume(self) -> None:
        self._living().resume()

    def dump(self, name: str = "live") -> Image:
        """An image of the guest's memory as it is now; `ttm-harness inspect` takes its path. The guest stands still
        until it is written.
        """
        image = Image(image_path(self.directory, name), self.directory)
        self._living().dump(image.path)
        return image

    def memory(self, name: str = "live") -> Memory:
        """What a fresh image says: what subjects read in it, shrinkers, tasks and locks."""
        return inspect(self.dump(name), self._layout, self._environment.progress)

    def kill(self) -> None:
        """Ends the guest at once, as a power cut does."""
        self._told.add(Ending.INTERRUPTED)
        self._living().kill()

    def ended(self, deadline: Deadline) -> Boot | None:
        """How the guest ended; None when it has not by the deadline."""
        return self._living().ending(deadline)

    def _ssh_door(self) -> SshDoor:
        if not self._reachable:
            raise UserError("the guest has no network", hint="ask for it when it is booted: ssh=True")
        with self._ending:
            if self._door is None:
                self._door = SshDoor(self._agent_of(), self._living().forward, self.directory / "sshd.log")
            return self._door

    def _push(self, source: BinaryIO, target: str, mode: int, timeout: float | None) -> None:
        words = ("sh", "-c", _PUSH, "push", target, f"{mode:o}")
        self.run(words, timeout=timeout, input=source, check=True)

    def _push_beside(self, file: Path, mode: int) -> None:
        self.run(("mkdir", "-p", "/results/live"), check=True)
        self.push(file, f"/results/live/{file.name}", mode=mode)

    def _build_module(self, source: Path) -> Path:
        environment = self._environment
        made = build_module(
            environment.kernel.build, source, self._layout, Deadline(_MODULE_SECONDS), environment.progress
        )
        files = sorted(made.glob("*.ko"))
        if len(files) != 1:
            names = ", ".join(path.name for path in files)
            raise UserError(f"{source} makes several modules: {names}", hint="give the .ko that is to be loaded")
        return files[0]

    def _announce(self, kind: str, match: str, first: int) -> list[Event]:
        """The events from the index `first` on that are of the kind and match: they are announced now."""
        pattern = re.compile(match)
        found = [
            (index, event)
            for index, event in enumerate(self._log.look(over=True) if self._gone else self.events())
            if index >= first and kind in ("", event.kind) and _matches(pattern, event)
        ]
        self._announced.update(index for index, _ in found)
        return [event for _, event in found]

    def _others(self, events: Sequence[Event]) -> tuple[Event, ...]:
        return tuple(event for index, event in enumerate(events) if index not in self._announced)

    @property
    def _told_all(self) -> bool:
        """By GuestEnded, which has all events."""
        return self._ended is not None and not self._panicked

    @property
    def _gone(self) -> bool:
        return self._ended is not None or self._panicked

    def _living(self) -> LiveBoot:
        assert self._live is not None
        return self._live

    def _agent_of(self) -> Agent:
        self._asked += 1
        return self._living().agent

    def _explain(self, why: str) -> AgentLost:
        """What has become of the guest whose agent is lost. One that goes on without an agent is ended."""
        with self._ending:
            if self._ended is None:
                live = self._living()
                by_itself = live.ending(Deadline(_ENDING_SECONDS)) is not None
                live.kill()
                boot = live.ending(Deadline(_ENDING_SECONDS))
                if boot is None or not by_itself:
                    return AgentLost(f"{why}; its guest was ended", log=self.console)
                events = self._log.look(over=True)
                self._ended = GuestEnded(boot, events, self._others(events), self.directory)
                self._told.add(boot.ending)
            return self._ended


@contextmanager
def live_guest(
    environment: BootEnvironment,
    machine: Machine,
    layout: Layout,
    name: str = "live",
    *,
    seed: int = 0,
    ssh: bool = False,
    like: Cell | None = None,
    suites: Sequence[Suite] = (),
) -> Iterator[LiveGuest]:
    """Boots the environment's kernel, waits until the guest is what the machine says, and powers it off when the
    block is left. All that it leaves is in the folder `name` of the environment's directory. With `ssh` it has a
    network of two: itself, and a port of this host's loopback. With `like`, the cell of a boot with these suites, it
    has of them what that had, and `rerun` runs them in the guest.

    It may stay as long as it lives: one that panics, is lost, or of which nothing is heard for a minute, has ended.
    InfraError when it is not what was asked for; GuestEnded when it does not come up, or has ended without anybody
    being told; Unannounced when its kernel said what nobody had announced; ConsoleCut when it said more than is kept;
    StoreDamaged when what it rests on is not as it was made.
    """
    kernel = environment.kernel
    if ssh:
        _require_symbols_of_ssh(kernel.build)
    cell = like or Cell(kernel.build.id, machine, (), seed)
    require_guest(cell.machine)
    with devices_lent((cell.machine,), layout, environment.progress) as devices:
        there = replace(cell.machine, device=devices.get(cell.machine.device, ""))
        with _booted(environment, replace(cell, machine=there), layout, name, ssh, suites) as guest:
            yield guest


@contextmanager
def _booted(
    environment: BootEnvironment, cell: Cell, layout: Layout, name: str, ssh: bool, suites: Sequence[Suite]
) -> Iterator[LiveGuest]:
    kernel = environment.kernel
    sealed = environment.sealed(suites)
    before = looked_at(sealed)
    place = environment.directory / name
    (place / "results").mkdir(parents=True)
    guest = LiveGuest(environment, layout, place)
    extra = extra_of(suites, environment)
    for directory in filter(None, (environment.module_tree, extra)):
        guest._log.add_objects(directory)
    limits = BootLimits(boot=BOOT_SECONDS, run=float("inf"), silence=SILENCE_SECONDS)
    slowness = environment.crowd * kernel.slowness
    with scratch_of(place) as sockets:
        launch = launch_of(cell, environment, place, sockets, suites, live=True, network=ssh)
        write_atomically(place / "results" / "job", job_text(cell, other=environment.other))
        write_atomically(place / "results" / "rerun", suites_text(suites))
        write_atomically(place / CELL_FILE, to_json(cell))
        write_atomically(place / STANDS_ON_FILE, to_json(stands_on(environment, extra)))
        write_atomically(place / "argv", " ".join(vng_argv(as_started(launch))) + "\n")
        expected = REFERENCE_READY_SECONDS * kernel.slowness
        live = LiveBoot(launch, guest.console, limits.scaled(slowness), expected, guest._explain)
        guest._live, guest._reachable = live, ssh
        with disks_of(cell, launch):
            try:
                with live:
                    _require_as_asked(cell, kernel.build, live)
                    yield guest
            finally:
                if guest._door is not None:
                    guest._door.close()
                result = live.ending(Deadline(0.0))
                if result is not None:
                    write_after(place, result)
                require_same(before)
    events = guest._log.look(over=True)
    if result is not None and result.ending not in guest._told:
        raise GuestEnded(result, events, guest._others(events), place)
    if not guest._told_all and (others := guest._others(events)):
        raise Unannounced(others, place)
    if result is not None and result.left_out:
        raise ConsoleCut(result.left_out, guest.console)


def _require_symbols_of_ssh(build: Build) -> None:
    config = build.config_path.read_text(encoding="utf-8").splitlines()
    missing = [symbol for symbol in ssh_symbols if f"CONFIG_{symbol}=y" not in config]
    if missing:
        raise UserError(
            f"guests of profile {build.profile} cannot be reached by ssh: their kernel is without "
            f"{', '.join(f'CONFIG_{one}' for one in missing)}",
            hint="profile lean has it; the agent needs none of it",
        )


def _require_as_asked(cell: Cell, build: Build, live: LiveBoot) -> None:
    """InfraError where the guest is not what it was to be, as with those of suites."""
    facts = live.facts()
    if facts is None:
        raise InfraError("the guest did not report what it is")
    cmdline = " ".join(kernel_cmdline(cell.machine, cell.machine.accel))
    if found := differences(cell.machine, build.release, cmdline, cell.seed, facts):
        raise InfraError(f"the guest is not what was asked for: {'; '.join(map(str, found))}")


@contextmanager
def guest_of(
    wanted: KernelSpec,
    machine: Machine,
    layout: Layout,
    progress: Progress,
    *,
    seed: int = 0,
    jobs: int | None = None,
    root: RootSpec = BUSYBOX,
    ssh: bool = False,
) -> Iterator[LiveGuest]:
    """A live guest of a kernel, which is built where the store has it not (with `jobs` processes of make), in a run's
    directory of its own. Commands run in `root`, which is made where it is not there; by default in busybox. With
    `ssh` it can be reached by that.

    It waits until the host has room for it. UserError where the host could never carry it.
    """
    require_guest(machine)
    check_machine(machine)
    machine = with_device(machine)
    watch = Stopwatch()
    kernel = prepare(wanted, {}, layout, progress, watch, jobs)
    own = prepare_root(layout, progress, watch)
    other = prepare_other(root, own, layout, progress, watch)
    machine = replace(machine, accel=settle_accel(machine.accel, kernel, own, layout, progress, watch))
    with room_for(machine, layout, progress), run_directory(layout) as directory:
        progress.step(f"boot: {machine}")
        if not root.is_busybox:
            progress.step(f"root {root}: read-only; /tmp and /results are on this host's disk, /run in RAM")
        environment = BootEnvironment(kernel, own, directory, progress, other=other, crowd=CROWD)
        with live_guest(environment, machine, layout, seed=seed, ssh=ssh) as guest:
            yield guest


def _figures(data: bytes) -> dict[str, int]:
    """Lines of a name and a number, in bytes where it says kB; others are left out."""
    found = (_LINE_OF_FIGURES.fullmatch(line.strip()) for line in data.decode("utf-8", "replace").splitlines())
    return {one[1]: int(one[2]) << (10 if one[3] else 0) for one in found if one is not None}


def _matches(pattern: re.Pattern[str], event: Event) -> bool:
    return any(pattern.search(text) for text in (event.title, *event.lines))


def _words(command: str | Sequence[str]) -> Sequence[str]:
    return ("sh", "-c", command) if isinstance(command, str) else command
