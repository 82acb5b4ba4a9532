# SPDX-License-Identifier: GPL-2.0-only
"""Where standard output and standard error leave the program: a report that cannot be written is said to be lost, and
messages that cannot be written are lost without a word.

Python's own streams raise in the middle of whatever prints, and rich makes exit status 1 of that.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING, TextIO

from harness.model.errors import OutputFailed

if TYPE_CHECKING:
    from typing_extensions import Buffer

_OUTPUT, _ERRORS = 1, 2


class _Output(io.FileIO):
    """Raises OutputFailed once; what comes after that goes nowhere."""

    _failed = False

    def write(self, data: Buffer, /) -> int:
        if self._failed:
            return memoryview(data).nbytes
        try:
            while (written := super().write(data)) is None:  # somebody made the pipe non-blocking
                select.select([], [self], [])
            return written
        except OSError as error:
            self._failed = True
            raise OutputFailed(error.strerror or str(error), nobody_reads=error.errno == errno.EPIPE) from error


class _Messages(io.FileIO):
    def write(self, data: Buffer, /) -> int:
        try:
            written = super().write(data)
        except OSError:
            written = None
        return memoryview(data).nbytes if written is None else written


def stand_up() -> None:
    """Puts both streams in the place of Python's own."""
    _fill_gaps()
    sys.stdout = _text(_Output(_OUTPUT, "w", closefd=False), sys.stdout)
    sys.stderr = _text(_Messages(_ERRORS, "w", closefd=False), sys.stderr)


def _text(raw: io.FileIO, before: TextIO | None) -> TextIO:
    encoding = before.encoding if before is not None else "utf-8"
    by_line = raw.isatty() or raw.fileno() == _ERRORS
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors="backslashreplace", line_buffering=by_line
    )


def _fill_gaps() -> None:
    """A closed standard stream would be the first file that is opened, and get what is printed."""
    for number, flags in ((0, os.O_WRONLY), (_OUTPUT, os.O_RDONLY), (_ERRORS, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            # Opened the wrong way round on purpose: to use what was closed is an error still. Messages may go.
            handle = os.open(os.devnull, flags)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
