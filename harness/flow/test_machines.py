# SPDX-License-Identifier: GPL-2.0-only
"""The test machines of a run: looked at before anything is built, booted on one at a time, left as they were."""

from __future__ import annotations

import re
import shlex
import socket
import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from harness.guest.boot import Boot
from harness.guest.kexec import ram_limit
from harness.guest.kexec_machine import held
from harness.guest.last_words import netconsole_argument
from harness.guest.liveness import BootLimits
from harness.guest.test_machine import NO_HANDS, Errand, Hands, boot_there
from harness.model.address import SshAddress
from harness.model.errors import HarnessError, UserError
from harness.model.kernel import PreparedKernel
from harness.model.machine import Machine
from harness.model.progress import Progress
from harness.model.suite import Suite
from harness.store.layout import Layout

_SYMBOLS = ("BLK_DEV_INITRD", "RD_GZIP", "EXT4_FS", "WATCHDOG")
_PROFILE = "machine"
_NETCONSOLE = re.compile(r"netconsole(?::([0-9]{1,5}))?")
_MOST_PORT = 65535


class TestMachines:
    """All that a run uses. `stop` ends the waiting for them."""

    __test__ = False  # for pytest, it is none

    def __init__(self, layout: Layout, stop: threading.Event | None = None, hands: Hands = NO_HANDS) -> None:
        self._layout = layout
        self._stop = stop or threading.Event()
        self._hands = hands
        self._names = (Path.home(), socket.gethostname().split(".")[0] or "nobody")
        self._used: set[str] = set()

    def require_usable(self, machines: Iterable[Machine], say: Progress) -> None:
        """UserError for one that cannot be what is asked for, InfraError for one that cannot be reached."""
        for at in dict.fromkeys(machine.at for machine in machines if machine.at):
            say.step(f"looking at the test machine {at}")
            address = SshAddress.parse(at)
            with held(address, self._layout, self._names, say.step, self._stop) as there:
                found = there.look()
                for machine in machines:
                    if machine.at == at:
                        found.require_usable(there.whom, machine.cpus)
                        ram_limit("\n".join(found.all("ram")), machine.ram)
                found.place(there.whom, there.place)
                if self._hands.netconsole is not None:
                    netconsole_argument(found, there.whom, self._hands.netconsole)

    def boot(self, at: str, errand: Errand, limits: BootLimits, progress: Progress) -> tuple[Boot, str]:
        """One boot there, when nobody else uses it."""
        with held(SshAddress.parse(at), self._layout, self._names, progress.step, self._stop) as there:
            self._used.add(at)
            return boot_there(replace(errand, hands=self._hands), there, limits, progress.step, self._stop)

    def leave(self, say: Progress) -> None:
        """Takes all of ours away from those that were used; says where that cannot be done."""
        for at in sorted(self._used):
            try:
                with held(SshAddress.parse(at), self._layout, self._names, say.step, self._stop) as there:
                    if not there.claim(0.0):
                        there.leave()
            except HarnessError as error:
                say.step(f"what lies on {at} stays until the next run there: {error.message}")
        self._used.clear()


def hands_of(console: str, power: str) -> Hands:
    """The user's commands, their words as a shell would see them; `netconsole[:PORT]` is none."""
    if match := _NETCONSOLE.fullmatch(console):
        port = int(match[1] or 0)
        if port > _MOST_PORT:
            raise UserError(f"{console!r} names no UDP port", hint=f"netconsole:PORT, 1 to {_MOST_PORT}")
        return Hands(power=_words(power), netconsole=port)
    return Hands(_words(console), _words(power))


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise UserError(f"{text!r} is no command: {error}") from error


def require_fit(kernel: PreparedKernel, suites: Iterable[Suite], hands: Hands = NO_HANDS) -> None:
    """UserError for a kernel that cannot begin on a test machine, or not be heard there as asked, and for suites that
    need what QEMU makes.
    """
    config = kernel.build.config_path.read_text(encoding="utf-8").splitlines()
    wanted = (*_SYMBOLS, "NETCONSOLE") if hands.netconsole is not None else _SYMBOLS
    missing = [symbol for symbol in wanted if f"CONFIG_{symbol}=y" not in config]
    if missing:
        raise UserError(
            f"the kernel of profile {kernel.build.profile} cannot begin on a test machine: it is without "
            f"{', '.join('CONFIG_' + symbol for symbol in missing)}",
            hint=f"--profile {_PROFILE} has all of it",
        )
    for suite in suites:
        if not suite.root.is_busybox:
            raise UserError(f"the suite {suite.name} runs in {suite.root}, and a test machine has no other root yet")
