# SPDX-License-Identifier: GPL-2.0-only
"""The command in a process of its own, forked from one that has all modules read: thousands of them in minutes.

What the child does is what `ttm-harness` does from main() on: its own streams, signals and exit status.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import pkgutil
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TextIO, cast

TRACES = ("Traceback (most recent", "a bug of the harness itself", "Fatal Python error", "Exception ignored")
_READ_LATE = (
    "harness.flow.results", "harness.store.prune",
    "alembic.command", "alembic.config", "alembic.runtime.environment", "sqlite3", "logging.config", "_strptime",
    *(f"harness.reports.{name}" for name in ("changes", "html", "junit", "results", "text")),
)  # fmt: skip
_MEMORY = 4 << 30
_SAID = 1 << 20


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that ended: its status, negative for a signal, None for one that did not end in time."""

    words: tuple[str, ...]
    status: int | None
    output: str
    errors: str
    seconds: float

    @property
    def traced(self) -> bool:
        return any(word in self.output + self.errors for word in TRACES)


@dataclass(frozen=True, slots=True)
class Streams:
    """Where the standard streams lead, None for a file that is read afterwards; `closed` are their numbers."""

    output: str | None = None
    errors: str | None = None
    closed: tuple[int, ...] = ()
    input: str = os.devnull
    broken: tuple[int, ...] = ()  # pipes whose reader has gone


PLAIN = Streams()


@dataclass(frozen=True, slots=True)
class Call:
    words: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    streams: Streams = PLAIN
    cwd: str = "/"
    seconds: float = 60.0


def call(one: Call) -> Ended:
    """Runs it to its end, or kills it with all that it started when its time is up."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
            _be(one, output.fileno(), errors.fileno())
        status = wait(child, one.seconds)
        told = [_read(file.fileno()) for file in (output, errors)]
    return Ended(one.words, status, told[0], told[1], time.monotonic() - began)


def start(one: Call, errors: str = os.devnull) -> int:
    """The process, on its way; what it says of errors goes to that file, begun anew."""
    child = os.fork()
    if child == 0:
        _be(one, os.open(os.devnull, os.O_WRONLY), os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644))
    return child


def wait(child: int, seconds: float) -> int | None:
    """The exit status, negative for a signal; None for one that was killed because its time was up."""
    limit = time.monotonic() + seconds
    pause = 0.001
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > limit:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def _be(one: Call, output: int, errors: int) -> None:
    """The child: never returns."""
    status = 99
    try:
        os.setpgid(0, 0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        os.environ.pop("TTM_HARNESS_RUNS", None)  # of the test that this is a part of
        os.environ.update(one.environment)
        os.chdir(one.cwd)
        _connect(one.streams, output, errors)
        sys.argv = ["ttm-harness", *one.words]
        faulthandler.dump_traceback_later(one.seconds * 0.9, file=errors)  # where it hangs, if it does
        for place, name in enumerate(("stdin", "stdout", "stderr")):
            setattr(sys, name, _text(place, "w" if place else "r"))
        from harness.cli import main

        main()
        status = 0
    except SystemExit as ending:
        status = ending.code if isinstance(ending.code, int) else 98
    except BaseException as error:
        try:
            os.write(errors, f"Traceback (most recent call last): {error!r}\n".encode("utf-8", "replace"))
        except OSError:
            pass
        status = 97
    finally:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            try:
                stream.flush()
            except BaseException:
                status = 120  # as at the end of an interpreter
        os._exit(status)


def _connect(streams: Streams, output: int, errors: int) -> None:
    os.dup2(os.open(streams.input, os.O_RDONLY), 0)
    for number, name, kept in ((1, streams.output, output), (2, streams.errors, errors)):
        if number in streams.broken:
            reader, writer = os.pipe()
            os.close(reader)
            os.dup2(writer, number)
        else:
            os.dup2(kept if name is None else os.open(name, os.O_WRONLY), number)
    for number in streams.closed:
        os.close(number)


def _text(number: int, mode: str) -> TextIO | None:
    """As an interpreter makes it: nothing where the stream is closed."""
    try:
        os.fstat(number)
        return cast(TextIO, os.fdopen(number, mode, encoding="utf-8", closefd=False))
    except OSError:
        return None


def _read(handle: int) -> str:
    return os.pread(handle, _SAID, 0).decode("utf-8", "replace")


def ready() -> None:
    """Reads all modules, so that children need not."""
    import harness.cli
    import harness.flow
    import harness.inputs
    from harness.cli.verbs import VERBS

    for name in (*(f"harness.cli.{verb}" for verb in VERBS), *_READ_LATE):
        importlib.import_module(name)
    for room in (harness.flow, harness.inputs, harness.cli):  # a verb imports what it needs when it is called
        for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            importlib.import_module(module.name)
