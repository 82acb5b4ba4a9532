# SPDX-License-Identifier: GPL-2.0-only
"""A few questions to QEMU over its monitor socket, each with a deadline. Answers are evidence, never verdicts."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.model.errors import InfraError
from harness.proc import Deadline

_LONGEST = 16 << 20  # bytes of an answer


class Monitor:
    """A QMP session; `ask` sends one command and returns its `return` member as JSON text."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline
        self._rest = b""

    def ask(self, command: str, **arguments: object) -> str:
        request = {"execute": command, "arguments": arguments}
        self._connection.sendall(json.dumps(request).encode() + b"\n")
        while True:
            answer = json.loads(self._line())
            if not isinstance(answer, dict):
                raise InfraError(f"QEMU's monitor answers {command} with what is no QMP")
            if "error" in answer:
                error = answer["error"]
                reason = error.get("desc") if isinstance(error, dict) else None
                raise InfraError(f"QEMU refused {command}: {reason or 'no reason'}")
            if "return" in answer:
                return json.dumps(answer["return"])

    def human(self, line: str) -> str:
        """The text that the human monitor prints for `line`."""
        text = json.loads(self.ask("human-monitor-command", **{"command-line": line}))
        return text if isinstance(text, str) else ""

    def greet(self) -> None:
        self._line()
        self.ask("qmp_capabilities")

    def _line(self) -> bytes:
        while not self._deadline.passed:  # events that never end are no answer
            line, newline, rest = self._rest.partition(b"\n")
            if newline:
                self._rest = rest
                return line
            if len(line) > _LONGEST:
                raise InfraError(f"QEMU's monitor said more than {_LONGEST >> 20} MiB in one line")
            self._connection.settimeout(max(0.01, self._deadline.left))
            data = self._connection.recv(1 << 16)
            if not data:
                raise InfraError("QEMU closed its monitor")
            self._rest += data
        raise TimeoutError("timed out")


@contextmanager
def monitor(path: Path, deadline: Deadline) -> Iterator[Monitor]:
    """Opens the monitor socket; InfraError when QEMU does not answer in time."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(max(0.01, deadline.left))
            connection.connect(str(path))
            session = Monitor(connection, deadline)
            session.greet()
            yield session
    except (OSError, ValueError, RecursionError) as error:
        raise InfraError(f"QEMU's monitor does not answer: {error}") from error
