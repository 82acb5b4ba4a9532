# SPDX-License-Identifier: GPL-2.0-only
"""A guest that stays and does what it is told: the boot of a kernel on a machine, as a context manager."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from harness.flow.boots import (
    BootEnvironment,
    disks_of,
    job_text,
    launch_of,
    looked_at,
    require_same,
    scratch_of,
    write_after,
)
from harness.flow.deadlines import BOOT_SECONDS, REFERENCE_READY_SECONDS, SILENCE_SECONDS
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
from harness.guest.argv import vng_argv
from harness.guest.boot import Boot, as_started
from harness.guest.live import LiveBoot
from harness.guest.liveness import BootLimits
from harness.model.cell import Cell
from harness.model.codec import to_json
from harness.model.machine import Machine
from harness.model.outcome import Ending
from harness.proc import Deadline
from harness.store.files import explain_os_error, write_atomically

__all__ = ["CommandBad", "CommandTimedOut", "Ended", "GuestEnded", "LiveGuest", "NotStarted", "live_guest"]

_ENDING_SECONDS = 20.0  # from the loss of the agent to the end of its guest
_PUSH = 'cat >"$1.part" && chmod "$2" "$1.part" && mv -f "$1.part" "$1" || { rm -f "$1.part"; exit 1; }'


class GuestEnded(AgentLost):
    """A guest that was to stay has ended. `boot` says how, `directory` has all that it left: console.log first."""

    def __init__(self, boot: Boot, directory: Path) -> None:
        self.boot = boot
        self.ending = boot.ending
        self.directory = directory
        why = f": {boot.stall.why}" if boot.stall is not None else ""
        super().__init__(f"the guest has ended ({boot.ending}){why}", log=directory / "console.log")


class LiveGuest:
    """Made by `live_guest`. Its methods may be called from any thread.

    Only two places in the guest can be written to: `/results`, on the host's disk (`directory / "results"`, 1 GiB),
    and `/run`, in the guest's RAM (256 KiB). Every method raises GuestEnded when the guest has ended.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._live: LiveBoot | None = None
        self._ended: GuestEnded | None = None
        self._ending = threading.Lock()
        self._told = {Ending.FINISHED}  # endings that are no news at the end

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
    ) -> Ended:
        """Runs words, or a line of sh, to its end and gives it `input`. What it says is in the answer (64 MiB at
        most), or goes to `out` and `err` as it comes, whatever its size.

        CommandTimedOut after `timeout` seconds, when its process group has been killed; NotStarted where the guest
        could not start it; with `check` CommandBad where it did not end with status 0.
        """
        return self._agent_of().run(
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
        somebody takes it.
        """
        return self._agent_of().spawn(
            _words(command),
            takes_input=takes_input,
            terminal=terminal,
            environment=environment,
            directory=directory,
            oom_score_adj=oom_score_adj,
        )

    def push(
        self, source: Path | bytes, target: str, *, mode: int | None = None, timeout: float | None = None
    ) -> None:
        """Writes a file in the guest: all of it, or nothing. `mode` is that of a source that is a file, else 0644."""
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
        """Reads a file of the guest, into `target` (all of it, or nothing; of any size) or into the answer."""
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

    def ping(self) -> float:
        """The seconds until the agent answered, which needs no new process."""
        return self._agent_of().ping(Deadline(BOOT_SECONDS))

    def pause(self) -> None:
        """Stops all CPUs of the guest, until `resume`. Commands do not go on meanwhile; their timeouts do."""
        self._living().pause()

    def resume(self) -> None:
        self._living().resume()

    def kill(self) -> None:
        """Ends the guest at once, as a power cut does."""
        self._told.add(Ending.INTERRUPTED)
        self._living().kill()

    def ended(self, deadline: Deadline) -> Boot | None:
        """How the guest ended; None when it has not by the deadline."""
        return self._living().ending(deadline)

    def _push(self, source: BinaryIO, target: str, mode: int, timeout: float | None) -> None:
        words = ("sh", "-c", _PUSH, "push", target, f"{mode:o}")
        self.run(words, timeout=timeout, input=source, check=True)

    def _living(self) -> LiveBoot:
        assert self._live is not None
        return self._live

    def _agent_of(self) -> Agent:
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
                self._ended = GuestEnded(boot, self.directory)
                self._told.add(boot.ending)
            return self._ended


@contextmanager
def live_guest(
    environment: BootEnvironment, machine: Machine, name: str = "live", *, seed: int = 0
) -> Iterator[LiveGuest]:
    """Boots the environment's kernel, waits until the guest is what the machine says, and powers it off when the
    block is left. All that it leaves is in the folder `name` of the environment's directory.

    It may stay as long as it lives: one that panics, is lost, or of which nothing is heard for a minute, has ended.
    GuestEnded when it does not come up; StoreDamaged when what it rests on is not as it was made.
    """
    kernel = environment.kernel
    cell = Cell(kernel.build.id, machine, (), seed)
    sealed = environment.sealed(())
    before = looked_at(sealed)
    place = environment.directory / name
    (place / "results").mkdir(parents=True)
    guest = LiveGuest(place)
    limits = BootLimits(boot=BOOT_SECONDS, run=float("inf"), silence=SILENCE_SECONDS)
    slowness = environment.crowd * kernel.slowness
    with scratch_of(place) as sockets:
        launch = launch_of(cell, environment, place, sockets, live=True)
        write_atomically(place / "results" / "job", job_text(cell))
        write_atomically(place / "cell.json", to_json(cell))
        write_atomically(place / "argv", " ".join(vng_argv(as_started(launch))) + "\n")
        expected = REFERENCE_READY_SECONDS * kernel.slowness
        live = LiveBoot(launch, guest.console, limits.scaled(slowness), expected, guest._explain)
        guest._live = live
        with disks_of(cell, launch):
            try:
                with live:
                    yield guest
            finally:
                result = live.ending(Deadline(0.0))
                if result is not None:
                    write_after(place, result)
                require_same(before)
    if result is not None and result.ending not in guest._told:
        raise GuestEnded(result, place)


def _words(command: str | Sequence[str]) -> Sequence[str]:
    return ("sh", "-c", command) if isinstance(command, str) else command
