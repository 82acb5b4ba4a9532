# SPDX-License-Identifier: GPL-2.0-only
"""Where the time of a command goes: the steps of its work, on a common axis.

Written in the trace event format of Chrome (a JSON object with `traceEvents`; times in microseconds), which
ui.perfetto.dev and chrome://tracing show. Without `tracing` nothing is kept, and a span costs next to nothing.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.model.errors import UserError

HOST = "ttm-harness"
_MOST_EVENTS = 1_000_000  # about 100 MB; a night makes fewer
_MICRO = 1e6


class _Recorder:
    """The events of a command; of any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._events: list[dict[str, object]] = []
        self._lanes: dict[tuple[str, str], tuple[int, int]] = {}
        self.dropped = 0

    def add(self, name: str, began: float, ended: float | None, group: str, lane: str) -> None:
        at = {"ts": round((began - self._began) * _MICRO), "name": name}
        with self._lock:
            if len(self._events) >= _MOST_EVENTS:
                self.dropped += 1
                return
            process, thread = self._place(group, lane)
            if ended is None:
                event = {"ph": "i", "s": "t", **at}
            else:
                event = {"ph": "X", "dur": max(0, round((ended - began) * _MICRO)), **at}
            self._events.append({"pid": process, "tid": thread, **event})

    def _place(self, group: str, lane: str) -> tuple[int, int]:
        """The numbers of a group (the host, a guest) and of a lane in it, with their names told once."""
        if (group, lane) not in self._lanes:
            groups = dict.fromkeys(known for known, _ in self._lanes)
            process = [*groups, group].index(group) + 1
            thread = len(self._lanes) + 1
            self._lanes[group, lane] = process, thread
            for kind, name in (("process_name", group), ("thread_name", lane)):
                self._events.append(
                    {"ph": "M", "name": kind, "pid": process, "tid": thread, "ts": 0, "args": {"name": name}}
                )
        return self._lanes[group, lane]

    def text(self) -> str:
        with self._lock:
            whole = {"displayTimeUnit": "ms", "traceEvents": self._events, "otherData": {"dropped": self.dropped}}
            return json.dumps(whole, separators=(",", ":")) + "\n"


_recorder: _Recorder | None = None


@contextmanager
def tracing(file: Path | None) -> Iterator[None]:
    """Keeps the spans of this process while the block goes on, and writes them into the file however it ends.

    UserError, before anything is done, when the file cannot be written. With None nothing is kept.
    """
    global _recorder  # one a process, told by everybody, as a logger is
    if file is None:
        yield
        return
    _require_writable(file)
    _recorder = _Recorder()
    try:
        with span("command"):
            yield
    finally:
        text, _recorder = _recorder.text(), None
        _write(file, text)


def _require_writable(file: Path) -> None:
    _write(file, "")


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"cannot write the trace to {file}: {error.strerror}", hint="name a file in a directory that is there"
        ) from error


def now() -> float:
    """The clock of the spans, in seconds."""
    return time.monotonic()


@contextmanager
def span(name: str, group: str = HOST, lane: str = "") -> Iterator[None]:
    """The block is a step of that name; steps of one thread lie in each other as their blocks do."""
    if _recorder is None:
        yield
        return
    began = now()
    try:
        yield
    finally:
        note(name, began, now(), group, lane)


def note(name: str, began: float, ended: float | None = None, group: str = HOST, lane: str = "") -> None:
    """A step that is over, in seconds of `now`; without an end, a moment."""
    if _recorder is not None:
        _recorder.add(name, began, ended, group, lane or threading.current_thread().name)
