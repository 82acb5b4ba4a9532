# SPDX-License-Identifier: GPL-2.0-only
"""`shell` and `exec`: whatever ends them, the terminal is as it was; and a guest like that of a kept boot."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HARNESS = (sys.executable, "-m", "harness")
TINY = ("--profile", "tiny", "--ram", "128M", "--swap", "none", "--accel", "tcg")
SECONDS = 120.0
END_SECONDS = 60.0


class Terminal:
    """A terminal with a shell of a guest on it."""

    def __init__(self, *words: str) -> None:
        self._mine, self._its = pty.openpty()
        termios.tcsetwinsize(self._its, (31, 97))
        self._before = termios.tcgetattr(self._its)
        self.said = bytearray()
        self.process = subprocess.Popen(
            (*HARNESS, "shell", *words), stdin=self._its, stdout=self._its, stderr=self._its, cwd=ROOT
        )

    @property
    def as_before(self) -> bool:
        return termios.tcgetattr(self._its) == self._before

    def type(self, keys: bytes) -> None:
        os.write(self._mine, keys)

    def until(self, text: bytes) -> None:
        limit = time.monotonic() + SECONDS
        while text not in self.said:
            assert self._more(limit - time.monotonic()), bytes(self.said)

    def ended(self) -> int:
        """The status; what is said up to then is kept."""
        limit = time.monotonic() + END_SECONDS
        while self.process.poll() is None and time.monotonic() < limit:
            self._more(0.2)
        while self._more(0.2):
            pass
        return self.process.wait(0)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._mine)
        os.close(self._its)

    def _more(self, seconds: float) -> bool:
        if not select.select((self._mine,), (), (), max(0.0, seconds))[0]:
            return False
        self.said += os.read(self._mine, 65536)
        return True


@pytest.fixture(name="terminal")
def fixture_terminal() -> Iterator[Terminal]:
    """In the user's store, where the tiny kernel is; its run lies among those of tests."""
    terminal = Terminal("--quiet", *TINY)
    try:
        terminal.until(b"guest:/# ")
        assert not terminal.as_before
        time.sleep(0.5)  # the shell's own line editing begins after its prompt
        yield terminal
    finally:
        terminal.close()


def test_the_end_of_input_leaves(terminal: Terminal) -> None:
    terminal.type(b"\x04")
    assert terminal.ended() == 0
    assert terminal.as_before


def test_a_panic_ends_it(terminal: Terminal) -> None:
    terminal.type(b"echo c >/proc/sysrq-trigger\r")
    assert terminal.ended() == 3
    assert terminal.as_before
    assert b"the guest has ended (PANICKED)" in terminal.said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it(terminal: Terminal, number: signal.Signals) -> None:
    terminal.process.send_signal(number)
    assert terminal.ended() == 130
    assert terminal.as_before


def test_the_escape_ends_a_guest_that_hangs(terminal: Terminal) -> None:
    """QEMU stands still: nothing comes of any key."""
    (qemu,) = (pid for pid in below(terminal.process.pid) if b"qemu" in Path(f"/proc/{pid}/comm").read_bytes())
    os.kill(qemu, signal.SIGSTOP)
    terminal.type(b"echo it hangs\r")
    terminal.type(b"~.")
    assert terminal.ended() == 130
    assert terminal.as_before
    assert b"the guest was ended by ~." in terminal.said
    assert not Path(f"/proc/{qemu}").exists()


def test_keys_and_colours_are_the_guests(terminal: Terminal) -> None:
    # One process says it and sleeps: a Ctrl-C between two would find the shell, and not what is to be ended.
    terminal.type(b"""sh -c "printf '\\033[31mred\\033[0m\\n'; exec sleep 1000"\r""")
    terminal.until(b"\x1b[31mred\x1b[0m")
    terminal.type(b"\x03")
    terminal.type(b"echo a ~. $((40+2)); exit 6\r")
    terminal.until(b"a ~. 42")
    assert terminal.ended() == 6


def below(pid: int) -> Iterator[int]:
    """The processes that a process has started, and what those have."""
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            yield child
            yield from below(child)


def test_a_guest_like_that_of_a_kept_boot() -> None:
    """Its suite, run again there, says the same."""

    def said(*words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run((*HARNESS, *words), capture_output=True, timeout=300, check=False, cwd=ROOT)

    done = said("run", "--suite", "kunit-self", "--seed", "77", *TINY)
    (run,) = set(re.findall(rb"\d{8}T\d{6}-[0-9a-f]{6}", done.stdout + done.stderr))
    boot = f"{run.decode()}/1"
    done = said("exec", boot, "--", "sh", "-c", "rerun; rerun kunit-self; cat /results/job; cat /proc/meminfo")
    assert done.returncode == 0, done.stderr
    assert b"kunit-self\t/scripts/suite-kunit --no-list kunit_test kunit_example_test" in done.stdout
    assert re.search(rb"\] ok \d+ example\b", done.stdout)
    assert b"HARNESS_SEED=77\n" in done.stdout
    total = re.search(rb"MemTotal: +(\d+)", done.stdout)
    assert total is not None
    assert int(total[1]) < 128 << 10
    assert b"`rerun kunit-self` runs it again" in done.stderr
    assert b"not as in" not in done.stderr
    done = said("exec", "--ram", "96M", boot, "--", "true")
    assert done.returncode == 2
    assert b"kernel and machine are those of" in done.stderr
    done = said("exec", f"{run.decode()}/9", "--", "true")
    assert done.returncode == 2
    assert b"there is no boot '9'" in done.stderr
