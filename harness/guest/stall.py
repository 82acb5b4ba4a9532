# SPDX-License-Identifier: GPL-2.0-only
"""What a guest that has stalled is asked before it is ended, each question with a deadline.

QEMU is asked for its status and the registers; the kernel for what sysrq w, l, m and t print, by a break on its
serial console, which needs nothing of the guest but a CPU that takes interrupts. Where none does, an NMI makes the
kernel panic and print where it was (`unknown_nmi_panic` on its command line). The kernel's answers are on the
console; what QEMU says, and what was asked, is the text that is kept as stall.txt.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.guest.qmp import Monitor, monitor
from harness.model.errors import InfraError
from harness.proc import Deadline

CONSOLE_CHARDEV = "console"  # vng's name for it
# w and l say what is wrong in most cases; t is long and comes last.
_KEYS = (("w", "blocked tasks"), ("l", "all CPUs"), ("m", "memory"), ("t", "all tasks"))
_ALL_SECONDS = 90.0
_QEMU_SECONDS = 10.0
_FIRST_BYTE_SECONDS = 5.0
_UNHEARD_SECONDS = 0.5
_ANSWER_SECONDS = 20.0
_QUIET_SECONDS = 1.0
_POLL_SECONDS = 0.05
_RIP = re.compile(r"\b(?:[RE]IP|PC)=([0-9a-f]{8,16})\b")  # of x86, of arm64


@dataclass(frozen=True, slots=True)
class Stall:
    """A guest that was given up. `why` is the sentence for it; `status` is QEMU's word for the state of the machine,
    empty where its monitor did not answer. The console from byte `asked_at` on is what the kernel answered, if it
    did: `answered`. `text` is all that QEMU said.
    """

    why: str
    status: str
    answered: bool
    asked_at: int
    text: str

    @property
    def machine_ran(self) -> bool:
        """QEMU was executing the guest: that it stood still is the kernel's own doing."""
        return self.status == "running"


def interrogate(qmp: Path, console: Path, why: str, factor: float, stop: threading.Event) -> Stall:
    """Asks all that can be asked, of a guest that is `factor` times slower than usual, until `stop` is set. Never
    raises InfraError.
    """
    asked_at = _size(console)
    talk = _Talk(console, factor, stop)
    try:
        # QEMU itself is not slow when its guest is; the kernel is.
        with monitor(qmp, Deadline(_QEMU_SECONDS)) as session:
            talk.ask_qemu(session)
        if talk.status == "running":
            with monitor(qmp, Deadline(_ALL_SECONDS * factor)) as session:
                talk.ask_kernel(session, qmp.with_name("keys"))
    except InfraError as error:
        talk.said.append(error.message)
    return Stall(why, talk.status, talk.answered, asked_at, "\n".join((f"the guest was given up: {why}", *talk.said)))


class _Talk:
    """The questions in their order, and what was said."""

    def __init__(self, console: Path, factor: float, stop: threading.Event) -> None:
        self._console = console
        self._factor = factor
        self._stop = stop
        self.status = ""
        self.answered = False
        self.said: list[str] = []

    def ask_qemu(self, session: Monitor) -> None:
        answer = session.ask("query-status")
        self.said.append("query-status: " + answer)
        state = json.loads(answer)
        self.status = str(state.get("status", "")) if isinstance(state, dict) else ""
        self.said.append("query-cpus-fast: " + session.ask("query-cpus-fast"))
        self._registers(session)

    def ask_kernel(self, session: Monitor, keys: Path) -> None:
        with _keyboard(session, self._console, keys) as keyboard:
            for key, meaning in _KEYS:
                # A kernel whose console has a thread of its own answers into its buffer alone when no thread runs
                # any more; the panic below prints that, so all is asked, but no longer waited for.
                patient = self.answered or key == _KEYS[0][0]
                before = _size(self._console)
                session.ask("chardev-send-break", id=CONSOLE_CHARDEV)
                os.write(keyboard, key.encode())
                heard = self._heard(before, _FIRST_BYTE_SECONDS if patient else _UNHEARD_SECONDS)
                self.answered = self.answered or heard
                word = "answered on the console" if heard else "no answer on the console"
                self.said.append(f"sysrq {key} ({meaning}): {word}")
        if not self.answered:
            self._registers(session)  # once more: does it spin, and where
            before = _size(self._console)
            session.ask("inject-nmi")
            heard = self._heard(before, _FIRST_BYTE_SECONDS)
            self.said.append("NMI: answered on the console" if heard else "NMI: no answer on the console")

    def _registers(self, session: Monitor) -> None:
        text = session.human("info registers -a")
        places = ", ".join(_RIP.findall(text))
        self.said.append(f"RIP of each CPU: {places}\n{text}")

    def _heard(self, before: int, first_byte: float) -> bool:
        """Waits until the console, having said something, is quiet; False when it said nothing within `first_byte`.

        It had `before` bytes when the question was put: an answer may be there before anybody looks.
        """
        quiet_since = began = time.monotonic()
        size = before
        while True:
            time.sleep(_POLL_SECONDS)
            now, grown = time.monotonic(), _size(self._console)
            if grown != size:
                size, quiet_since = grown, now
            spoke = size > before
            if spoke and now - quiet_since > _QUIET_SECONDS * self._factor:
                return True
            late = now - began > (_ANSWER_SECONDS if spoke else first_byte) * self._factor
            if late or self._stop.is_set():
                return spoke


@contextmanager
def _keyboard(session: Monitor, console: Path, keys: Path) -> Iterator[int]:
    """A way into the serial console: yields what to write to.

    vng connects it to its standard input, which is closed. QEMU is told to go on with the same file for what the
    guest prints, and a FIFO for what it is to read. (With a socket in its place lines get mixed up.)
    """
    keys.unlink(missing_ok=True)
    try:
        os.mkfifo(keys)
        keyboard = os.open(keys, os.O_RDWR | os.O_NONBLOCK)
    except OSError as error:
        raise InfraError(f"no FIFO for the console's input: {error}") from error
    try:
        data = {"in": str(keys.resolve()), "out": str(console.resolve()), "append": True}
        session.ask("chardev-change", id=CONSOLE_CHARDEV, backend={"type": "file", "data": data})
        yield keyboard
    finally:
        os.close(keyboard)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
