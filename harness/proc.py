# SPDX-License-Identifier: GPL-2.0-only
"""Host processes, each with a deadline: the only module that imports subprocess.

argv lists and never a shell; standard input is closed; the environment is built anew from a short list; every
process leads a group of its own, which is ended as a whole.
"""

from __future__ import annotations

import errno
import os
import resource
import selectors
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from harness.model.errors import CommandFailed, DeadlineExceeded, InfraError, UserError
from harness.model.units import about_size

TAIL_LINES = 40
_GRACE_SECONDS = 5.0
_REAPER_SECONDS = 30.0  # a reaper has a grace of its own, and what it holds would be loose without it
_FIRST_TO_DIE = 1000  # oom_score_adj, the highest there is
_PLACES = ("TMPDIR", "XDG_RUNTIME_DIR")
# What downloads go by. A build is given none of it: it has no network, and a proxy's name may hold a password.
_NETWORK = (
    *("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH"),
)
_MADE_AT_WILL = "/tmp"  # the only place for scratch files that a contained command has
_MOST_KEPT = 256 << 20  # bytes that a command without a log may say
_MOST_LOGGED = 1 << 30
_LONGEST_LINE = 1 << 20
# For what runs uncontained: far above all that a tool needs (git maps whole packs), far below what a runaway takes.
_LEAST_ADDRESSES = 16 << 30
_LARGEST_FILE = 64 << 30


class Deadline:
    """A moment on the monotonic clock. Stages pass it down, so that the parts together keep the limit."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    @property
    def left(self) -> float:
        """Seconds until the moment, never below zero."""
        return max(0.0, self._end - self._clock())

    @property
    def passed(self) -> bool:
        return self.left == 0.0

    def at_most(self, seconds: float) -> Deadline:
        """The earlier of this one and `seconds` from now."""
        return Deadline(min(seconds, self.left), self._clock)


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ended as it was allowed to. `output` is its standard output (and errors, where merged)."""

    argv: tuple[str, ...]
    status: int
    output: str
    seconds: float


def find_tool(name: str) -> Path | None:
    """Where the search path of every child has the tool; None when nowhere."""
    for directory in search_path():
        candidate = Path(directory) / name
        try:
            if candidate.is_file() and os.access(candidate, os.X_OK):
                return candidate
        except OSError:
            continue  # a directory of somebody else's, as after `su` without `-`
    return None


def search_path() -> tuple[str, ...]:
    """PATH, then what a user's PATH lacks: the sbin directories (depmod), the interpreter's own bin (vng)."""
    words = os.environ.get("PATH", os.defpath).split(os.pathsep)
    words += ["/usr/local/sbin", "/usr/sbin", "/sbin", str(Path(sys.executable).parent)]
    return tuple(dict.fromkeys(word for word in words if word))


def clean_environment(extra: Mapping[str, str] | None = None, *, contained: bool = False) -> dict[str, str]:
    """The environment of every child: the search path, C.UTF-8, what downloads go by, nothing personal.

    A contained one has a place for scratch files of its own, and no network to be told of.
    """
    names = () if contained else (*_PLACES, *_NETWORK)
    kept = {name: os.environ[name] for name in names if name in os.environ}
    if contained:
        kept["TMPDIR"] = _MADE_AT_WILL
    own = {"PATH": os.pathsep.join(search_path()), "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}
    return {**kept, **own, **(extra or {})}


# What `spawn` has started and not yet ended; without a lock, because a signal's handler reads it.
_running: dict[int, Process] = {}


def hurry() -> None:
    """Kills all that runs, at once and without a grace. It is still for those who started it to see that it ended."""
    for process in list(_running.values()):
        process.kill()


class Process:
    """A running command. Made by `spawn`; `wait` gives its status, `end` ends its whole group."""

    def __init__(self, popen: subprocess.Popen[bytes], argv: tuple[str, ...], reaper: int | None) -> None:
        self._popen = popen
        self._reaper = reaper
        self._held = reaper is not None
        self.argv = argv

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def stdout(self) -> IO[bytes] | None:
        return self._popen.stdout

    @property
    def stderr(self) -> IO[bytes] | None:
        return self._popen.stderr

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._popen.poll()

    def wait(self, deadline: Deadline) -> int:
        try:
            return self._popen.wait(deadline.left)
        except subprocess.TimeoutExpired:
            raise DeadlineExceeded(_program(self.argv), deadline.seconds) from None

    def end(self) -> int:
        """TERM, a grace, KILL, to the whole group, also where its leader is gone; waits. Safe to call again."""
        if self._reaper is not None and self._held:
            os.close(self._reaper)
            self._held = False
        grace = _GRACE_SECONDS if self._reaper is None else _REAPER_SECONDS
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not self._signal_group(number):
                break
            limit = time.monotonic() + grace
            while time.monotonic() < limit and self._group_lives():
                time.sleep(0.01)
        return self._popen.wait()

    def kill(self) -> None:
        """KILL to the whole group, by the reaper where there is one; waits for nothing."""
        if self._popen.returncode is None:
            self._signal_group(signal.SIGKILL if self._reaper is None else signal.SIGUSR1)

    def _group_lives(self) -> bool:
        self._popen.poll()  # reaps the leader, which would else keep the group
        return self._signal_group(0)

    def _signal_group(self, number: int) -> bool:
        """Whether there was anybody left to signal."""
        try:
            os.killpg(self._popen.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True


@contextmanager
def spawn(
    argv: tuple[str, ...],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: IO[bytes] | None = None,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    reaped: bool = True,
    first_to_die: bool = False,
    within: tuple[str, ...] = (),
    private: bool = False,
    inherits: tuple[int, ...] = (),
) -> Iterator[Process]:
    """Starts a command and ends its group when the block is left, however it is left.

    A reaped command also ends when this process is killed with -9 (`reaper.py`), and with `first_to_die` it is what
    the host's OOM killer takes before anything else. `within` are the words of `sandbox.within`, which contain it.
    A `private` command gets the environment of a contained one, contained or not. It `inherits` these descriptors.
    """
    read_end = write_end = None
    words = [*within, *argv]
    # A sandbox has limits of its own; a guest's are its RAM and its disks.
    limits = {} if within or first_to_die else _limits()
    if find_tool(argv[0]) is None and not Path(argv[0]).is_file():
        raise UserError(f"{argv[0]} is not installed", hint="ttm-harness doctor shows what to install")
    if reaped:
        read_end, write_end = os.pipe()
        reaper = str(Path(__file__).with_name("reaper.py"))
        score = _FIRST_TO_DIE if first_to_die else 0
        most = (str(limits.get(name, 0)) for name in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE))
        words = [sys.executable, "-I", "-S", reaper, str(read_end), str(score), *most, *words]
    try:
        popen = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.DEVNULL if stdout is None else stdout,
            stderr=subprocess.DEVNULL if stderr is None else stderr,
            cwd=cwd,
            env=clean_environment(env, contained=private or bool(within)),
            pass_fds=inherits if read_end is None else (read_end, *inherits),
            start_new_session=True,
        )
    except BaseException:
        if write_end is not None:
            os.close(write_end)
        raise
    finally:
        if read_end is not None:
            os.close(read_end)
    process = Process(popen, argv, write_end)
    if not reaped:
        _bound(popen.pid, limits)
    try:
        _running[id(process)] = process
        yield process
    finally:
        process.end()
        _running.pop(id(process), None)
        for stream in (popen.stdout, popen.stderr):
            if stream is not None:
                stream.close()


def _limits() -> dict[int, int]:
    """The most bytes that a process may have mapped, and that it may write to one file."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {resource.RLIMIT_AS: max(_LEAST_ADDRESSES, memory), resource.RLIMIT_FSIZE: _LARGEST_FILE}


def _bound(process: int, limits: Mapping[int, int]) -> None:
    """From outside, because nothing may be run between fork and exec; the process has hardly begun."""
    for name, most in limits.items():
        try:
            _, hard = resource.prlimit(process, name)
            if hard == resource.RLIM_INFINITY or most < hard:
                resource.prlimit(process, name, (most, most))
        except (ProcessLookupError, PermissionError):
            return  # it has ended, or is another user's by now


PIPE = subprocess.PIPE
STDOUT = subprocess.STDOUT


def run(
    argv: tuple[str, ...],
    *,
    deadline: Deadline,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: IO[bytes] | None = None,
    log: Path | None = None,
    on_line: Callable[[str], None] | None = None,
    allowed: tuple[int, ...] = (0,),
    merge_errors: bool = True,
    reaped: bool = False,
    hint: str | None = None,
    within: tuple[str, ...] = (),
    private: bool = False,
) -> Completed:
    """Runs a command to its end; `within` and `private` as in `spawn`.

    Output goes to `log` as it comes (after the command itself, as a line to paste) and line by line to `on_line`.
    Raises CommandFailed on a status that is not allowed, DeadlineExceeded when time is up, UserError when there
    is no such program.
    """
    began = time.monotonic()
    kept: list[str] = []
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    log_file = _open_log(log) if log is not None else None
    try:
        if log_file is not None:
            log_file.write(f"+ {shlex.join(argv)}\n".encode())
        with spawn(
            argv,
            cwd=cwd,
            env=env,
            stdin=stdin,
            stdout=PIPE,
            stderr=STDOUT if merge_errors else None,
            reaped=reaped,
            first_to_die=reaped and bool(within),
            within=within,
            private=private,
        ) as process:
            said, most = 0, _MOST_KEPT if log is None else _MOST_LOGGED
            for line in _lines(process, deadline, log):
                said += len(line) + 1
                if said > most:
                    raise InfraError(f"{_program(argv)} said more than {about_size(most)}, and was ended", log=log)
                text = line.decode("utf-8", "replace")
                if log_file is not None:
                    log_file.write(line + b"\n")
                    log_file.flush()
                else:
                    kept.append(text)
                tail.append(text)
                if on_line is not None:
                    on_line(text)
            status = process.wait(deadline)
    finally:
        if log_file is not None:
            log_file.close()
    if (reaped or within) and status > 128:
        status = 128 - status
    if status not in allowed:
        raise CommandFailed(argv, status, "\n".join(tail), hint=hint, log=log)
    output = "\n".join(kept) + "\n" if kept else ""
    return Completed(argv, status, output, time.monotonic() - began)


def _open_log(log: Path) -> IO[bytes]:
    """Opened to be written on; never through a link, never a pipe: a build may have put one in the log's place."""
    plainly = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | plainly, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "is no plain file", str(log))
    return os.fdopen(handle, "ab")


def run_attached(argv: tuple[str, ...], env: Mapping[str, str] | None = None) -> None:
    """Runs a command on the user's own terminal, because it may ask something (sudo's password).

    Has no deadline: the user is there. Raises CommandFailed.
    """
    if find_tool(argv[0]) is None:
        raise UserError(f"{argv[0]} is not installed", hint=f"as root: {shlex.join(argv[1:])}")
    status = subprocess.run(argv, env=clean_environment(env), check=False).returncode
    if status:
        raise CommandFailed(argv, status, "")


def _program(argv: tuple[str, ...]) -> str:
    """The program that is meant: not nice, but what it runs."""
    return argv[3] if argv[:2] == ("nice", "-n") and len(argv) > 3 else argv[0]


def _lines(process: Process, deadline: Deadline, log: Path | None) -> Iterator[bytes]:
    stream = process.stdout
    assert stream is not None
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while True:
            selector.select(deadline.left)
            if deadline.passed:
                raise DeadlineExceeded(_program(process.argv), deadline.seconds, log=log)
            data = os.read(stream.fileno(), 1 << 16)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            yield from lines
            if len(rest) > _LONGEST_LINE:  # what has no end cannot be kept until it comes
                yield rest
                rest = b""
    if rest:
        yield rest
