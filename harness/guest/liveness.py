# SPDX-License-Identifier: GPL-2.0-only
"""Whether a guest lives, from what it sends: a slow guest, a suite that takes too long and a hang are told apart.

Three signs, each with a clock of its own:

- the heart (guest-scripts/load/heart) sends a frame every two seconds: the kernel still schedules user space;
- progress: any other frame, or a line of KTAP or of the runners' markers on the console;
- everything else on the console. It counts only until the guest is ready: a kernel that reports a stalled CPU every
  minute is not alive.

| heart | progress | then |
|---|---|---|
| silent for `silence` | silent for as long | HUNG |
| beats | none since the kernel said that a task is blocked, `silence` ago | HUNG |
| beats | the suite's own deadline, or that of the run, has passed | TIMEOUT; HUNG where a task is blocked |

A guest on a slow host is slow in all of this, so the limits are scaled by what its own boot took.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from harness.guest.control import Frame
from harness.model.outcome import Ending

_PANIC = b"Kernel panic - not syncing"
_PROGRESS = re.compile(rb"\] {0,40}(?:ok \d|not ok \d|# |KTAP version|ttm-harness: )")
_BLOCKED = re.compile(rb"INFO: task (.{1,60}?):(\d{1,10}) blocked\b[^\n]{0,80} for more than (\d{1,6}) seconds")
_LONGEST_LINE = 4096


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds: until `ready`; for all suites together from then on; of silence; and for each suite by itself."""

    boot: float
    run: float
    silence: float
    suites: tuple[tuple[str, float], ...] = ()

    def scaled(self, factor: float) -> Limits:
        """The same limits for a guest that runs `factor` times slower."""
        suites = tuple((name, seconds * factor) for name, seconds in self.suites)
        return Limits(self.boot * factor, self.run * factor, self.silence * factor, suites)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The guest is to be ended, and why: a sentence without a full stop."""

    ending: Ending
    why: str


@dataclass(slots=True)
class _Signs:
    """When each sign was last seen, in seconds on the clock."""

    beat: float
    progress: float
    printed: float
    blocked: float | None = None
    task: str = ""


class Liveness:
    """Fed with what the guest sends; `look` says when to give it up."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        now = clock()
        self._signs = _Signs(now, now, now)
        self._began = now
        self._suite = ""
        self._suite_began = now
        self._ready = False
        self._rest = b""
        self.panicked = False

    def ready(self, factor: float) -> None:
        """The guest got ready, and is `factor` times slower than the machine that the limits are for."""
        self._limits = self._limits.scaled(factor)
        self._ready = True
        self._began = self._clock()

    def frame(self, frame: Frame) -> None:
        now = self._clock()
        self._signs.beat = now
        if frame.kind == "beat":
            return
        self._move(now)
        if frame.kind == "start":
            self._suite, self._suite_began = frame.text, now
        elif frame.kind == "result":
            self._suite = ""

    def console(self, data: bytes) -> None:
        """What the console gained. Lines are looked at when they are whole, the beginning of a panic at once."""
        now = self._clock()
        self._signs.printed = now
        text = self._rest + data
        self.panicked = self.panicked or _PANIC in text
        whole, newline, rest = text.rpartition(b"\n")
        self._rest = rest[-_LONGEST_LINE:]
        if not newline:
            return
        if _PROGRESS.search(whole):
            self._move(now)
        match = _BLOCKED.search(whole)
        if match is not None and self._signs.blocked is None:  # the kernel says it again and again
            self._signs.blocked = now
            self._signs.task = f"{match[1].decode('utf-8', 'replace')}:{int(match[2])}"

    def look(self) -> Verdict | None:
        """None while there is hope."""
        now, limits, signs = self._clock(), self._limits, self._signs
        if not self._ready:
            return self._look_at_boot(now)
        dead = now - max(signs.beat, signs.progress)
        if dead > limits.silence:
            return Verdict(Ending.HUNG, f"no heartbeat and no progress for {dead:.0f} s")
        blocked = signs.blocked is not None
        if signs.blocked is not None and now - signs.blocked > limits.silence:
            return Verdict(
                Ending.HUNG, f"the task {signs.task} is blocked, and nothing went on for {limits.silence:.0f} s"
            )
        late = self._late(now)
        if not late:
            return None
        if blocked:
            return Verdict(Ending.HUNG, f"{late}; the task {signs.task} is blocked")
        return Verdict(Ending.TIMEOUT, f"{late}, while the guest was alive")

    def _look_at_boot(self, now: float) -> Verdict | None:
        silent = now - self._signs.printed
        if silent > self._limits.silence:
            return Verdict(Ending.HUNG, f"nothing on its console for {silent:.0f} s, and never ready")
        if now - self._began > self._limits.boot:
            return Verdict(Ending.TIMEOUT, f"not ready within {self._limits.boot:.0f} s")
        return None

    def _late(self, now: float) -> str:
        """Which deadline has passed; empty for none."""
        own = dict(self._limits.suites).get(self._suite)
        if own is not None and now - self._suite_began > own:
            return f"the suite {self._suite} did not end within its {own:.0f} s"
        if now - self._began > self._limits.run:
            return f"the suites did not end within {self._limits.run:.0f} s"
        return ""

    def _move(self, now: float) -> None:
        """Something went on: a task that was blocked held up nothing."""
        self._signs.progress = now
        self._signs.blocked = None
