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
| beats | none since the kernel said that a task is blocked or a CPU is stuck, `silence` ago | HUNG |
| beats | the deadline of the case, of the suite or of the run has passed | TIMEOUT; HUNG where something is stuck |

A guest on a slow host is slow in all of this, so the limits are scaled by what its own boot took; that of a case by
what the cases before it took, once that can be told.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from harness.guest.control import ControlFrame
from harness.model.outcome import Ending

_PANIC = b"Kernel panic - not syncing"
_PROGRESS = re.compile(rb"\] {0,40}(?:ok \d|not ok \d|# |KTAP version|ttm-harness: )")
_BLOCKED = re.compile(rb"INFO: task (.{1,60}?):(\d{1,10}) blocked\b[^\n]{0,80} for more than (\d{1,6}) seconds")
_LOCKUP = re.compile(
    rb"BUG: soft lockup - (?P<soft>CPU#\d{1,5}) stuck for|rcu: INFO: \w{1,40} (?:self-)?detected (?P<rcu>stalls?) on"
)
_LONGEST_LINE = 4096
_LEAST_MEASURED = 3.0  # seconds that the finished cases were to take, before their pace says anything
BEAT_SECONDS = 2.0
_FAIR_SHARE = 0.5  # of the beats that were due


@dataclass(frozen=True, slots=True)
class CaseLimit:
    """`expected` is what the case takes on an unbroken kernel; `most` what it may take. Both in seconds."""

    expected: float
    most: float


@dataclass(frozen=True, slots=True)
class BootLimits:
    """Seconds: until `ready`; for all suites together from then on; of silence; for each suite by itself; and for
    each case, by suite and name, of runners that say which case they begin (None: it may take as long as the suite).
    `new_case` is for the cases of such a suite that are not listed. `scale` is what all were multiplied with.
    """

    boot: float
    run: float
    silence: float
    suites: tuple[tuple[str, float], ...] = ()
    cases: tuple[tuple[str, str, CaseLimit | None], ...] = ()
    new_case: float | None = None
    scale: float = 1.0

    def scaled(self, factor: float) -> BootLimits:
        """The same limits for a guest that runs `factor` times slower; those of cases are kept as they are."""
        suites = tuple((name, seconds * factor) for name, seconds in self.suites)
        scale = self.scale * factor
        boot, run, silence = (seconds * factor for seconds in (self.boot, self.run, self.silence))
        return BootLimits(boot, run, silence, suites, self.cases, self.new_case, scale)


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The guest is to be ended, and why: a sentence without a full stop. `overdue`: as one case's deadline passed."""

    ending: Ending
    why: str
    overdue: bool = False


@dataclass(slots=True)
class _Running:
    """The case that runs, since when, the beats since then; and the pace of those before it."""

    name: str = ""
    began: float = 0.0
    beats: int = 0
    expected: float = 0.0
    taken: float = 0.0

    def pace_beside(self, boots: float) -> float:
        """How many times as long as on an unbroken kernel a case may take to be no slower than the ones before it.

        While too few of these ended it is what the boot took. A boot that was much slower than all that came after it
        had a bad moment: it counts for twice the pace of the cases at most.
        """
        if self.expected < _LEAST_MEASURED:
            return boots
        pace = max(1.0, self.taken / self.expected)
        return max(pace, min(boots, 2.0 * pace))


@dataclass(slots=True)
class _Signs:
    """When each sign was last seen, in seconds on the clock."""

    beat: float
    progress: float
    printed: float
    blocked: float | None = None
    stuck: str = ""  # who, and what it is


class Liveness:
    """Fed with what the guest sends; `look` says when to give it up."""

    def __init__(self, limits: BootLimits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        now = clock()
        self._signs = _Signs(now, now, now)
        self._began = now
        self._suite = ""
        self._suite_began = now
        self._ready = False
        self._rest = b""
        self._running = _Running()
        self._of_cases = {(suite, name): limit for suite, name, limit in limits.cases}
        self._with_cases = {suite for suite, _, _ in limits.cases}
        self.panicked = False

    @property
    def case(self) -> str:
        """The case that its runner began last and that has not ended; empty for none."""
        return self._running.name

    @property
    def fair(self) -> bool:
        """Whether the guest had its share of the host since the case began: its heart beat at its rate."""
        due = (self._clock() - self._running.began) / BEAT_SECONDS
        return self._running.beats >= _FAIR_SHARE * due

    def ready(self, factor: float) -> None:
        """The guest got ready, and is `factor` times slower than the machine that the limits are for."""
        self._limits = self._limits.scaled(factor)
        self._ready = True
        self._began = self._clock()

    def frame(self, frame: ControlFrame) -> None:
        now = self._clock()
        self._signs.beat = now
        if frame.kind == "beat":
            self._running.beats += 1
            return
        self._move(now)
        if frame.kind == "start":
            self._suite, self._suite_began = frame.text, now
            self._running = _Running()
        elif frame.kind == "case":
            self._begin(frame.text.rpartition(" ")[2], now)
        elif frame.kind == "cases-end":
            self._begin("", now)
        elif frame.kind == "result":
            self._suite = ""
            self._running = _Running()

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
        stuck = _stuck(whole)
        if stuck and self._signs.blocked is None:  # the kernel says it again and again
            self._signs.blocked = now
            self._signs.stuck = stuck

    def look(self) -> GiveUp | None:
        """None while there is hope."""
        now, limits, signs = self._clock(), self._limits, self._signs
        if not self._ready:
            return self._look_at_boot(now)
        dead = now - max(signs.beat, signs.progress)
        if dead > limits.silence:
            return GiveUp(Ending.HUNG, f"no heartbeat and no progress for {dead:.0f} s")
        blocked = signs.blocked is not None
        if signs.blocked is not None and now - signs.blocked > limits.silence:
            return GiveUp(Ending.HUNG, f"{signs.stuck}, and nothing went on for {limits.silence:.0f} s")
        overdue = self._overdue(now)
        late = overdue or self._late(now)
        if not late:
            return None
        if blocked and not (overdue and not self.fair):  # a CPU that the host forgot looks stuck, too
            return GiveUp(Ending.HUNG, f"{late}; {signs.stuck}", bool(overdue))
        return GiveUp(Ending.TIMEOUT, f"{late}, while the guest was alive", bool(overdue))

    def _look_at_boot(self, now: float) -> GiveUp | None:
        silent = now - self._signs.printed
        if silent > self._limits.silence:
            return GiveUp(Ending.HUNG, f"nothing on its console for {silent:.0f} s, and never ready")
        if now - self._began > self._limits.boot:
            return GiveUp(Ending.TIMEOUT, f"not ready within {self._limits.boot:.0f} s")
        return None

    def _late(self, now: float) -> str:
        """Which deadline has passed; empty for none."""
        own = dict(self._limits.suites).get(self._suite)
        if own is not None and now - self._suite_began > own:
            return f"the suite {self._suite} did not end within its {own:.0f} s"
        if now - self._began > self._limits.run:
            return f"the suites did not end within {self._limits.run:.0f} s"
        return ""

    def _overdue(self, now: float) -> str:
        """Whether the case that runs takes too long for what it is, and for the pace of this guest."""
        running = self._running
        limit = self._limit_of(running.name)
        if limit is None:
            return ""
        pace = running.pace_beside(self._limits.scale)
        if now - running.began <= limit.most * pace:
            return ""
        usual = f"it usually takes {limit.expected:.1f} s" if limit.expected else "it is new"
        most = limit.most * pace
        return f"the case {running.name} did not end within {most:.0f} s ({usual}; this guest takes {pace:.1f} x)"

    def _limit_of(self, case: str) -> CaseLimit | None:
        key = (self._suite, case)
        new = self._limits.new_case
        if case and key not in self._of_cases and self._suite in self._with_cases and new is not None:
            return CaseLimit(0.0, new)
        return self._of_cases.get(key)

    def _begin(self, name: str, now: float) -> None:
        """A case begins, or none: what the one before it took is measured."""
        running = self._running
        before = self._limit_of(running.name)
        if before is not None and before.expected:
            running.expected += before.expected
            running.taken += now - running.began
        self._running = _Running(name, now, 0, running.expected, running.taken)

    def _move(self, now: float) -> None:
        """Something went on: a task that was blocked held up nothing."""
        self._signs.progress = now
        self._signs.blocked = None


def _stuck(text: bytes) -> str:
    """Whom the kernel calls blocked or stuck; empty for nobody."""
    if (match := _BLOCKED.search(text)) is not None:
        return f"the task {match[1].decode('utf-8', 'replace')}:{int(match[2])} is blocked"
    if (match := _LOCKUP.search(text)) is not None:
        return f"{match['soft'].decode()} is stuck" if match["soft"] else "RCU is stalled by a CPU or a task"
    return ""
