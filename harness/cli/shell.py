# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness shell`: a guest, and a terminal in it."""

from __future__ import annotations

import os
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager

import click

from harness.cli.guests import Input, Wanted, Written, guest_options, status_of, wanted_guest
from harness.cli.plainly import speaks_plainly
from harness.model.errors import UserError

# A terminal is for people: bash, where the root has it.
_SHELL = "command -v bash >/dev/null && exec bash --norc -i; exec sh -i"


@click.command()
@speaks_plainly
@guest_options
def shell(wanted: Wanted) -> None:
    """A shell on a terminal in a guest, which is there until the shell ends.

    \b
    Exit status: the shell's, 2 a mistake in the input, 3 the guest ended.
    """
    if not os.isatty(0) or not os.isatty(1):
        raise UserError("a shell needs a terminal", hint="ttm-harness exec runs a command without one")
    out = Written(sys.stdout.buffer)
    words = {"TERM": os.environ.get("TERM", "linux"), "PS1": "guest:\\w# ", "HOME": "/run"}
    with wanted_guest(wanted) as guest:
        command = guest.spawn(("sh", "-c", _SHELL), terminal=_size(), environment=words)

        def resize(*_: object) -> None:
            # What is interrupted may be in the middle of sending.
            threading.Thread(target=lambda: command.resize(*_size()), daemon=True).start()

        with _raw(), _called(signal.SIGWINCH, resize):
            ended = command.follow(out, out, Input())
    sys.exit(status_of(ended.status, ended.signal))


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
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


@contextmanager
def _called(number: signal.Signals, handler: object) -> Iterator[None]:
    before = signal.signal(number, handler)  # type: ignore[arg-type]
    try:
        yield
    finally:
        signal.signal(number, before)
