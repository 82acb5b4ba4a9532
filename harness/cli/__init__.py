# SPDX-License-Identifier: GPL-2.0-only
"""The verbs: the only place that prints and exits."""

from __future__ import annotations

import os
import signal
from types import FrameType

_INTERRUPTED = 130


def main() -> None:
    """The entry point. Nothing that takes its time is imported before Ctrl-C has an answer."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if not is_ignored(number):
            signal.signal(number, _leave)
    from harness.cli.verbs import call

    call()


def is_ignored(number: signal.Signals) -> bool:
    """Whether the signal is to stay ignored: nohup's SIGHUP, SIGINT of what a script has put in the background."""
    return number is not signal.SIGTERM and signal.getsignal(number) is signal.SIG_IGN


def _leave(*_: int | FrameType | None) -> None:
    """While modules are imported nothing has begun that had to be ended."""
    try:
        os.write(2, b"ttm-harness: interrupted before it began\n")
    except OSError:
        pass  # nobody listens
    os._exit(_INTERRUPTED)
