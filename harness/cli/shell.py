# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness shell`: a guest, and a terminal in it."""

from __future__ import annotations

import os
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

import click

from harness.cli.guests import GuestOptions, Input, Written, guest_options, status_of, wanted_guest
from harness.cli.plainly import EXIT_INTERRUPTED, speaks_plainly, tell
from harness.model.errors import HarnessError, InfraError, UserError

if TYPE_CHECKING:
    from harness.flow.live import LiveGuest

_ESCAPE = b"~"
_ENDS = (b"\r", b"\n", b"\x03", b"\x04")  # after Ctrl-C and Ctrl-D a line begins, too
_HELP = b"\r\n~.  ends the guest at once\r\n~m  keeps its memory, for inspect\r\n~?  says this\r\n~~  is one ~\r\n"

# A terminal is for people: bash, where the root has it.
_SHELL = "command -v bash >/dev/null && exec bash --norc -i; exec sh -i"


@click.command()
@click.argument("run", default="", metavar="[RUN[/BOOT]]")
@speaks_plainly
@guest_options
def shell(run: str, wanted: GuestOptions) -> None:
    """A shell on a terminal in a guest, which is there until the shell ends.

    With RUN, a kept run as `report` takes it, the guest is like the one of its BOOT (the number, as in latest/2; by
    default its only one, or the only one with a red case): build, modules, machine, seed, cases and knobs. What could
    not be had as it was is said. In the guest `rerun` runs the suites of that boot.

    \b
    `exit` or Ctrl-D leaves; the guest is powered off then. Ctrl-C and all other keys go to the guest.
    At the beginning of a line, as in ssh:
      ~.   ends the guest at once, also one that hangs
      ~m   keeps an image of its memory as it is now, for `ttm-harness inspect`; it goes on
      ~?   says this
      ~~   is one ~
    Exit status: the shell's, 2 a mistake in the input, 3 the guest ended, 130 after ~.
    """
    if not os.isatty(0) or not os.isatty(1):
        raise UserError("a shell needs a terminal", hint="ttm-harness exec runs a command without one")
    out = Written(sys.stdout.buffer)
    words = {"TERM": os.environ.get("TERM", "linux"), "PS1": "guest:\\w# ", "HOME": "/run"}
    with wanted_guest(wanted, run) as guest:
        command = guest.spawn(("sh", "-c", _SHELL), terminal=_size(), environment=words)
        keys = Keys(Input(), out, guest.kill, lambda number: _image_of(guest, number))

        def resize(*_: object) -> None:
            # What is interrupted may be in the middle of sending.
            threading.Thread(target=lambda: command.resize(*_size()), daemon=True).start()

        try:
            with _raw(), _called(signal.SIGWINCH, resize):
                ended = command.follow(out, out, keys)
        except InfraError:
            if not keys.left:
                raise
            ended = None
    if ended is None:
        tell("ttm-harness: the guest was ended by ~.")
        sys.exit(EXIT_INTERRUPTED)
    sys.exit(status_of(ended.status, ended.signal))


class Readable(Protocol):
    """Where keys come from."""

    def read(self, size: int, /) -> bytes: ...


class Keys:
    """What is typed, but for what `~` begins at the beginning of a line: that is for here, and not for the guest."""

    def __init__(self, source: Readable, out: Written, leave: Callable[[], None], keep: Callable[[int], str]) -> None:
        """`keep` keeps the guest's memory, and says where; it is given how many times it was asked to."""
        self._source = source
        self._out = out
        self._leave = leave
        self._keep = keep
        self._kept = 0
        self._fresh = True  # a line begins
        self._escaped = False
        self.left = False

    def read(self, size: int, /) -> bytes:
        while not self.left:
            typed = self._source.read(size - 1)  # one that was held back may go with it
            if not typed:
                return b""
            if passed := b"".join(map(self._key, (typed[at : at + 1] for at in range(len(typed))))):
                return passed
        return b""

    def _key(self, key: bytes) -> bytes:
        if self.left:
            return b""
        if self._escaped:
            self._escaped = False
            return self._escape(key)
        if key == _ESCAPE and self._fresh:
            self._escaped = True
            return b""
        self._fresh = key in _ENDS
        return key

    def _escape(self, key: bytes) -> bytes:
        self._fresh = False
        if key == b".":
            self.left = True
            self._leave()
        elif key == b"m":
            self._kept += 1
            self._out(f"\r\n{self._keep(self._kept)}\r\n".encode())
            self._fresh = True
        elif key == b"?":
            self._out(_HELP)
            self._fresh = True
        elif key == _ESCAPE:
            return key
        else:
            self._fresh = key in _ENDS
            return _ESCAPE + key
        return b""


def _image_of(guest: LiveGuest, number: int) -> str:
    """Keeps one, and says where it is, or why there is none: the shell goes on."""
    try:
        return f"ttm-harness inspect {guest.dump(f'live-{number}').path}"
    except HarnessError as error:
        return f"no image: {error.message}"


def _size() -> tuple[int, int]:
    """Rows and columns of this terminal."""
    found = os.get_terminal_size(0)
    return found.lines, found.columns


@contextmanager
def _raw() -> Iterator[None]:
    """Every key goes to the guest; the terminal is as it was afterwards."""
    before = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        yield
    except BaseException:
        with suppress(OSError):
            os.write(1, b"\r\n")  # what is said of it does not stand behind a prompt
        raise
    finally:
        with suppress(termios.error):  # it may be gone
            # What was typed for the guest is nothing for the shell that is there now; and who stopped the output does
            # not hold up the end.
            termios.tcflush(0, termios.TCIFLUSH)
            termios.tcsetattr(0, termios.TCSANOW, before)


@contextmanager
def _called(number: signal.Signals, handler: object) -> Iterator[None]:
    before = signal.signal(number, handler)  # type: ignore[arg-type]
    try:
        yield
    finally:
        signal.signal(number, before)
