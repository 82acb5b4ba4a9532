# SPDX-License-Identifier: GPL-2.0-only
"""When a guest is given up, and as what: each sign of life alone, and the others missing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.guest.control import ControlFrame
from harness.guest.liveness import BootLimits, CaseLimit, Liveness
from harness.model.outcome import Ending

LIMITS = BootLimits(boot=90.0, run=1000.0, silence=60.0, suites=(("mine", 300.0), ("other", 400.0)))
BEAT = ControlFrame("beat", "1.00")
BLOCKED = b"[   70.1] INFO: task sh:97 blocked for more than 60 seconds.\n"


class Guest:
    """A guest on a clock of its own."""

    def __init__(self, limits: BootLimits = LIMITS, factor: float | None = 1.0) -> None:
        self.now = 1000.0
        self.alive = Liveness(limits, lambda: self.now)
        if factor is not None:
            self.alive.frame(ControlFrame("ready", "0.92"))
            self.alive.ready(factor)

    def suite(self, name: str = "mine") -> Guest:
        self.alive.frame(ControlFrame("start", name))
        return self

    def live(self, seconds: float, beats: bool = True, prints: bytes = b"") -> Ending | None:
        """That many seconds go by; the ending as soon as there is one."""
        for _ in range(int(seconds)):
            self.now += 1.0
            if beats and self.now % 2 == 0:
                self.alive.frame(BEAT)
            if prints and self.now % 10 == 0:
                self.alive.console(prints)
            if (verdict := self.alive.look()) is not None:
                self.why = verdict.why
                return verdict.ending
        return None


def test_a_guest_that_beats_and_works_goes_on() -> None:
    assert Guest().suite().live(299.0) is None


def test_no_heart_and_no_progress_is_a_hang() -> None:
    guest = Guest().suite()
    assert guest.live(60.0, beats=False) is None
    assert guest.live(2.0, beats=False) is Ending.HUNG
    assert guest.why == "no heartbeat and no progress for 61 s"


@pytest.mark.parametrize(
    "line",
    [
        b"[  100.0] rcu: INFO: rcu_preempt self-detected stall on CPU\n",
        b"[  100.0] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [sh:97]\n",
        b"[  100.0] something ok 1 in the middle\n",
    ],
)
def test_what_the_kernel_says_of_itself_is_no_life(line: bytes) -> None:
    assert Guest().suite().live(70.0, beats=False, prints=line) is Ending.HUNG


@pytest.mark.parametrize(
    "line",
    [
        b"[  100.0]     ok 1 first\n",
        b"[  100.0]     not ok 1 first\n",
        b"[  100.0][   T97]     # first: pass:1 fail:0\n",
        b"[  100.0] ttm-harness: case mine first\n",
        b"[  100.0] KTAP version 1\n",
    ],
)
def test_results_on_the_console_are_life(line: bytes) -> None:
    assert Guest().suite().live(200.0, beats=False, prints=line) is None


def test_the_end_of_a_line_may_come_later() -> None:
    guest = Guest().suite()
    for _ in range(20):
        guest.alive.console(b"[  100.0]     ok")
        guest.alive.console(b" 1 first\n")
        assert guest.live(10.0, beats=False) is None


def test_a_suite_has_a_deadline_of_its_own() -> None:
    guest = Guest().suite("mine")
    assert guest.live(250.0) is None
    guest.alive.frame(ControlFrame("result", "mine 0"))
    guest.suite("other")
    assert guest.live(400.0) is None
    assert guest.live(2.0) is Ending.TIMEOUT
    assert guest.why == "the suite other did not end within its 400 s, while the guest was alive"


def test_the_run_has_one_too() -> None:
    guest = Guest(replace(LIMITS, suites=()))
    assert guest.suite("unknown").live(1000.0) is None
    assert guest.live(2.0) is Ending.TIMEOUT
    assert "the suites did not end within 1000 s" in guest.why


def test_a_blocked_task_that_holds_everything_up_is_a_hang() -> None:
    guest = Guest().suite()
    guest.alive.console(BLOCKED)
    assert guest.live(60.0, prints=BLOCKED.replace(b"60 s", b"120 s")) is None
    assert guest.live(2.0) is Ending.HUNG
    assert guest.why == "the task sh:97 is blocked, and nothing went on for 60 s"


def test_a_blocked_task_beside_progress_is_none() -> None:
    guest = Guest().suite()
    for _ in range(5):
        guest.alive.console(BLOCKED)
        assert guest.live(50.0) is None
        guest.alive.frame(ControlFrame("case", "mine second"))
    assert guest.live(51.0) is Ending.TIMEOUT  # the suite's deadline, and what was blocked went on


def test_a_blocked_task_at_the_deadline_makes_it_a_hang() -> None:
    guest = Guest().suite()
    assert guest.live(280.0) is None
    guest.alive.console(BLOCKED)
    assert guest.live(30.0) is Ending.HUNG
    assert guest.why == "the suite mine did not end within its 300 s; the task sh:97 is blocked"


def test_a_slow_guest_gets_more_of_everything() -> None:
    guest = Guest(factor=3.0).suite()
    assert guest.live(179.0, beats=False) is None
    guest.alive.frame(BEAT)
    assert guest.live(720.0) is None
    assert guest.live(5.0) is Ending.TIMEOUT
    assert "its 900 s" in guest.why


def test_before_it_is_ready_the_console_is_all_there_is() -> None:
    guest = Guest(factor=None)
    assert guest.live(60.0, prints=b"[    0.1] hello\n") is None
    assert guest.live(61.0) is Ending.TIMEOUT
    assert guest.why == "not ready within 90 s"
    silent = Guest(factor=None)
    assert silent.live(61.0, beats=False) is Ending.HUNG
    assert silent.why == "nothing on its console for 61 s, and never ready"


@pytest.mark.parametrize("cut", range(1, 33, 7))
def test_a_panic_is_seen_wherever_it_is_cut(cut: int) -> None:
    guest = Guest()
    text = b"[    1.0] Kernel panic - not syncing: Attempted to kill init!"
    guest.alive.console(text[:cut])
    assert not guest.alive.panicked
    guest.alive.console(text[cut:])
    assert guest.alive.panicked


def test_any_bytes_are_survived_and_not_kept() -> None:
    guest = Guest()
    for _ in range(100):
        guest.alive.console(b"\xff\0" * 50_000)
    assert len(guest.alive._rest) <= 4096
    assert not guest.alive.panicked


CASES = replace(
    LIMITS,
    cases=(
        ("mine", "short", CaseLimit(1.0, 30.0)),
        ("mine", "long", CaseLimit(20.0, 160.0)),
        ("mine", "free", None),
    ),
    new_case=100.0,
)
SOFT = b"[  100.0] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [sh:97]\n"
RCU = b"[  100.0] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:\n"


def begun(case: str, factor: float = 1.0) -> Guest:
    guest = Guest(CASES, factor).suite()
    guest.alive.frame(ControlFrame("case", f"mine {case}"))
    return guest


def test_a_case_has_a_deadline_of_its_own() -> None:
    guest = begun("short")
    assert guest.live(30.0) is None
    assert guest.live(2.0) is Ending.TIMEOUT
    assert guest.alive.case == "short"
    assert guest.alive.fair
    assert guest.why == (
        "the case short did not end within 30 s (it usually takes 1.0 s; this guest takes 1.0 x), "
        "while the guest was alive"
    )


@pytest.mark.parametrize(("case", "seconds"), [("long", 160.0), ("new", 100.0), ("free", 300.0)])
def test_the_deadline_is_the_cases(case: str, seconds: float) -> None:
    guest = begun(case)
    assert guest.live(seconds) is None
    assert guest.live(2.0) is Ending.TIMEOUT


def test_a_suite_that_does_not_say_which_case_begins_has_none() -> None:
    guest = Guest(CASES).suite("other")
    guest.alive.frame(ControlFrame("case", "other new"))
    assert guest.live(400.0) is None


def test_the_next_case_begins_anew_and_after_the_last_none_runs() -> None:
    guest = begun("short")
    for _ in range(5):
        assert guest.live(25.0) is None
        guest.alive.frame(ControlFrame("case", "mine short"))
    guest.alive.frame(ControlFrame("cases-end", "mine"))
    assert guest.alive.case == ""
    assert guest.live(150.0) is None


def test_a_guest_that_was_slow_so_far_gets_more() -> None:
    guest = begun("long")
    assert guest.live(100.0) is None  # five times as long as usual
    guest.alive.frame(ControlFrame("case", "mine short"))
    assert guest.live(150.0) is None
    assert guest.live(2.0) is Ending.TIMEOUT
    assert "this guest takes 5.0 x" in guest.why


def test_the_boots_own_pace_counts_too() -> None:
    guest = begun("short", factor=3.0)
    assert guest.live(90.0) is None
    assert guest.live(2.0) is Ending.TIMEOUT


def test_a_guest_that_had_not_its_share_is_no_witness() -> None:
    guest = begun("short")
    for _ in range(4):
        assert guest.live(7.0, beats=False) is None
        guest.alive.frame(BEAT)
    assert guest.live(6.0, beats=False) is Ending.TIMEOUT
    assert not guest.alive.fair


@pytest.mark.parametrize(("line", "who"), [(SOFT, "CPU#1 is stuck"), (RCU, "RCU is stalled by a CPU or a task")])
def test_a_cpu_that_is_stuck_ends_the_boot_though_the_heart_beats(line: bytes, who: str) -> None:
    guest = Guest().suite()
    guest.alive.console(line)
    assert guest.live(60.0, prints=line) is None
    assert guest.live(2.0) is Ending.HUNG
    assert guest.why == f"{who}, and nothing went on for 60 s"


def test_a_case_that_is_late_on_a_stuck_cpu_is_a_hang() -> None:
    guest = begun("short")
    assert guest.live(26.0) is None
    guest.alive.console(SOFT)
    assert guest.live(6.0) is Ending.HUNG
    assert guest.why.endswith("; CPU#1 is stuck")


def test_a_stall_beside_progress_is_none() -> None:
    guest = begun("long")
    for _ in range(3):
        guest.alive.console(RCU)
        assert guest.live(50.0) is None
        guest.alive.frame(ControlFrame("case", "mine long"))


def test_a_cpu_that_the_host_forgot_hangs_nobody() -> None:
    guest = begun("short")
    for _ in range(4):
        assert guest.live(7.0, beats=False) is None
        guest.alive.frame(BEAT)
    guest.alive.console(SOFT)
    assert guest.live(6.0, beats=False) is Ending.TIMEOUT


def test_a_boot_that_had_a_bad_moment_is_not_believed_for_long() -> None:
    guest = begun("long", factor=20.0)
    assert guest.live(20.0) is None  # as long as usual
    guest.alive.frame(ControlFrame("case", "mine short"))
    assert guest.live(60.0) is None
    assert guest.live(2.0) is Ending.TIMEOUT
    assert "this guest takes 2.0 x" in guest.why
