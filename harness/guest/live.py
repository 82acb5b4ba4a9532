# SPDX-License-Identifier: GPL-2.0-only
"""A boot that stays: the same boot as any other (boot.py), in a thread, and beside it the agent of its guest."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from harness.guest.agent import Agent, AgentLost
from harness.guest.argv import NETWORK, Launch
from harness.guest.boot import Boot, boot
from harness.guest.clock import HeldClock
from harness.guest.control import ControlFrame
from harness.guest.facts import guest_facts
from harness.guest.image import write_image
from harness.guest.liveness import BootLimits
from harness.guest.qmp import monitor
from harness.guest.ssh import LOOPBACK
from harness.model.errors import InfraError
from harness.model.machine import GuestFacts
from harness.proc import Deadline
from harness.store.scratch import short_name

_POLL_SECONDS = 0.02
_QMP_SECONDS = 30.0
_AGENT_SECONDS = 600.0  # for a guest to make of itself what it is to be; boot() ends one that hangs
_END_SECONDS = 30.0
_SOON_SECONDS = 5.0
_PORTS_TRIED = 10


class LiveBoot:
    """A guest as a context manager: it boots when the block is entered, and ends when it is left or before.

    `agent` runs commands. The limits are those of `boot`: that until the guest is ready, and those of silence and of
    a kernel that is stuck as long as it lives. `explain` makes the exception for who needs an agent that is lost.
    """

    agent: Agent

    def __init__(
        self,
        launch: Launch,
        console: Path,
        limits: BootLimits,
        reference_ready: float | None = None,
        explain: Callable[[str], AgentLost] = AgentLost,
    ) -> None:
        assert launch.agent is not None
        self._socket = launch.agent
        self._qmp = launch.qmp
        self._ram = launch.machine.ram
        self._explain = explain
        self._clock = HeldClock()
        self._stop = threading.Event()
        self._boot: Boot | None = None
        self._error: BaseException | None = None
        self._said: dict[str, str] = {}
        self._said_all = threading.Event()

        def follow() -> None:
            try:
                self._boot = boot(launch, console, limits, self._take, reference_ready, self._stop, self._clock)
            except BaseException as error:  # for the caller's thread
                self._error = error

        self._thread = threading.Thread(target=follow, name="a guest", daemon=True)

    def __enter__(self) -> LiveBoot:
        self._thread.start()
        try:
            self._connect()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def lives(self) -> bool:
        return self._thread.is_alive()

    def ending(self, deadline: Deadline) -> Boot | None:
        """How the guest ended; None while it has not. Raises what the boot itself raised."""
        self._thread.join(max(0.0, min(deadline.left, 1e6)))
        if self._error is not None:
            raise self._error
        return self._boot

    def facts(self) -> GuestFacts | None:
        """What the guest says that it is, before its agent is there; None where it does not say all."""
        return guest_facts(self._said) if self._said_all.wait(_SOON_SECONDS) else None

    def pause(self) -> None:
        """Stops the guest's CPUs; its limits stand still as well. InfraError when QEMU does not do it."""
        self._clock.hold()
        try:
            self._ask("stop")
        except BaseException:
            self._clock.go_on()
            raise

    def resume(self) -> None:
        """Nothing where it is not paused."""
        if self._clock.held:
            self._ask("cont")
            self._clock.go_on()

    def forward(self, address: str, port: int) -> int:
        """Leads a free port of this host's loopback to one of the guest's, and says which."""
        with short_name(self._qmp.parent) as short:
            for _ in range(_PORTS_TRIED):
                with socket.create_server((LOOPBACK, 0)) as free:
                    mine = int(free.getsockname()[1])
                with monitor(short / self._qmp.name, Deadline(_QMP_SECONDS)) as session:
                    # Somebody else may have taken it just now.
                    said = session.human(f"hostfwd_add {NETWORK} tcp:{LOOPBACK}:{mine}-{address}:{port}")
                if not said.strip():
                    return mine
        raise InfraError(f"QEMU does not forward a port to the guest: {said.strip()}")

    def dump(self, path: Path) -> None:
        """Writes the guest's memory to a file (image.py); it and its limits stand still meanwhile."""
        paused = self._clock.held
        self.pause()
        try:
            with short_name(self._qmp.parent) as short:
                write_image(short / self._qmp.name, self._ram, path)
        finally:
            if not paused:
                self.resume()

    def kill(self) -> None:
        """Ends the guest at once, where it lives."""
        self._stop.set()
        self._thread.join()

    def _take(self, frame: ControlFrame) -> None:
        if frame.kind == "fact" and not self._said_all.is_set():
            name, _, value = frame.text.partition("=")
            self._said[name] = value
        elif frame.kind == "facts-end" and frame.text == str(len(self._said)):
            self._said_all.set()

    def _connect(self) -> None:
        """Waits for the agent; AgentLost when the guest ends before."""
        with short_name(self._socket.parent) as short:
            while True:
                connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                try:
                    connection.connect(str(short / self._socket.name))
                    break
                except OSError:
                    connection.close()
                    if not self.lives:
                        raise self._explain("the guest ended before its agent was there") from None
                    time.sleep(_POLL_SECONDS)
        self.agent = Agent(connection, self._explain)
        self.agent.meet(Deadline(_AGENT_SECONDS))

    def end(self) -> None:
        """Powers the guest off, or kills it where it does not."""
        agent: Agent | None = getattr(self, "agent", None)
        if agent is not None and not agent.lost and self.lives:
            try:
                self.resume()
                agent.quit()
                self._thread.join(_END_SECONDS)
            except Exception:
                self._thread.join(_SOON_SECONDS)
        elif self._boot is None:
            self._thread.join(_SOON_SECONDS if agent is not None else 0.0)  # it may be ending just now
        self.kill()
        if agent is not None:
            agent.close()

    def _ask(self, command: str) -> None:
        with (
            short_name(self._qmp.parent) as short,
            monitor(short / self._qmp.name, Deadline(_QMP_SECONDS)) as session,
        ):
            session.ask(command)
