# SPDX-License-Identifier: GPL-2.0-only
"""Every ending of a boot, each played by the guest that stands in for QEMU (stand_in/guest.py)."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness import proc
from harness.guest import boot as boot_module
from harness.guest import bounded
from harness.guest.boot import Boot, boot
from harness.guest.control import ControlFrame
from harness.guest.liveness import BootLimits, CaseLimit
from harness.guest.stall import Stall
from harness.model.outcome import Ending
from tests.unit.stand_in import (
    HANG,
    LIMITS,
    READY,
    Clock,
    StandIn,
    Step,
    frame,
    frames,
    into_suite,
    launch_in,
    say,
    seen,
    time_passes,
    whole,
)

pytestmark = pytest.mark.timeout(20)

PANIC = say("Kernel panic - not syncing: Fatal exception")
SOFT_LOCKUP = say("watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [sh:97]")
BEAT = ("beat", "1.00")


class Ground:
    """A directory to boot in."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stand_in = StandIn(place, monkeypatch)
        self.clock = Clock(self.stand_in, monkeypatch)
        self.launch = launch_in(place)
        self.console = place / "console.log"
        self.asked: list[str] = []
        # What a guest answers that was given up is another test's (test_stall_questions.py).
        monkeypatch.setattr(boot_module, "interrogate", self._interrogate)

    def _interrogate(self, _qmp: Path, console: Path, why: str, factor: float, _stop: threading.Event) -> Stall:
        self.asked.append(f"{why} (x {factor:.0f})")
        return Stall(why, "running", True, console.stat().st_size, "")

    def boot(
        self,
        *steps: Step,
        limits: BootLimits = LIMITS,
        on_frame: Callable[[ControlFrame], None] | None = None,
        reference: float | None = None,
        stop: threading.Event | None = None,
        monitor: dict[str, object] | str | None = None,
    ) -> Boot:
        self.stand_in.plays(*steps, monitor=monitor)
        return boot(self.launch, self.console, limits, on_frame, reference, stop)


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    return Ground(tmp_path, monkeypatch)


def test_suites_that_end_well(ground: Ground) -> None:
    taken: list[ControlFrame] = []
    steps = whole(("mine", "other"), frame("announced", "other 2"), frame("announced", "odd many"), time_passes(7.0))
    found = ground.boot(*steps, on_frame=taken.append)
    assert (found.ending, found.phase, found.case) == (Ending.FINISHED, "shutdown", "")
    assert [(one.suite, one.status) for one in found.suites] == [("mine", 0), ("other", 0)]
    assert found.suites[0].seconds < 7.0 <= found.suites[1].seconds
    assert found.announced == (("other", 2), ("odd", -1))
    assert found.facts is not None
    assert (found.facts.release, found.facts.seed, found.taint_end) == ("7.3.4", "7", 0)
    assert found.accel == "tcg"
    assert found.ready_after is not None
    assert 0.0 < found.ready_after < 7.0 <= found.seconds
    assert (found.garbage, found.launcher, found.stall, found.left_out) == ((), "", None, 0)
    assert (found.overdue, found.fair) == (False, True)
    assert [one.kind for one in taken if one.kind != "fact"] == [
        *("ready", "facts-end", "start", "result", "start", "announced", "announced", "passes", "result", "exit")
    ]
    assert b"suite other end 0" in ground.console.read_bytes()


def test_what_an_earlier_boot_left_on_the_control_port_is_not_read(ground: Ground) -> None:
    ground.launch.control.write_text("@exit 1 0\n")
    assert ground.boot(say("hello")).ending is Ending.LOST


def test_the_guest_is_the_first_to_die_and_has_no_home_of_the_users(ground: Ground) -> None:
    ground.boot(("tell_of_itself",))
    place = ground.launch.qmp.parent
    found = json.loads((ground.launch.shares[0].path / "self.json").read_text())
    assert found == {"home": str(place), "directory": str(place), "oom_score_adj": 1000}


@pytest.mark.parametrize(("enabled", "accel"), [(True, "kvm"), (False, "tcg")])
def test_qemu_says_what_it_uses(ground: Ground, enabled: bool, accel: str) -> None:
    met: dict[str, object] = {"query-kvm": {"enabled": enabled, "present": True}}
    assert ground.boot(*whole(), monitor=met).accel == accel


@pytest.mark.parametrize(
    "met",
    [
        "absent",
        {"greeting": "silent"},
        {"query-kvm": "refuses"},
        {"query-kvm": "hangs-up"},
        {"query-kvm": "babbles"},
        {"query-kvm": {"line": "5"}},
        {"query-kvm": {"line": "[" * 100_000}},
        {"query-kvm": {"line": '{"error": "a word"}'}},
    ],
    ids=lambda met: str(met)[:40],
)
def test_a_qemu_that_does_not_say_so_ends_no_boot(
    ground: Ground, met: dict[str, object] | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot_module, "_ACCEL_SECONDS", 0.1)
    # It is asked when the look that finds `ready` is over, and the second of these is seen in the next one.
    steps = (say("Linux version"), READY, seen("ready"), seen("that it was asked"), frame("exit", "0"))
    found = ground.boot(*steps, monitor=met)
    assert (found.ending, found.accel) == (Ending.FINISHED, "")
    assert found.seconds < 5.0


def test_a_runner_that_failed(ground: Ground) -> None:
    steps = into_suite(frame("result", "mine 3"), frame("result", "odd x"), frames(("exit", "2")))
    found = ground.boot(*steps)
    assert [(one.suite, one.status) for one in found.suites] == [("mine", 3), ("odd", 255)]
    assert found.ending is Ending.FINISHED


@pytest.mark.parametrize("word", ["\N{SUPERSCRIPT TWO}", "9" * 5000, "-1", "1_0", ""], ids=lambda word: word[:9])
def test_what_only_looks_like_a_number_is_none(ground: Ground, word: str) -> None:
    said = frames(("announced", f"mine {word}"), ("result", f"mine {word}"), ("fact", f"taint_end={word}"))
    found = ground.boot(*into_suite(said, frame("exit", "1")))
    assert found.ending is Ending.FINISHED
    assert (found.announced, found.suites[0].status, found.taint_end) == ((("mine", -1),), 255, None)


def test_a_panic_in_a_case(ground: Ground) -> None:
    found = ground.boot(*into_suite(frame("case", "mine first"), PANIC))
    assert (found.ending, found.phase, found.case, found.stall) == (Ending.PANICKED, "mine", "first", None)


def test_a_panic_before_it_is_ready(ground: Ground) -> None:
    found = ground.boot(say("Linux version"), PANIC)
    assert (found.ending, found.phase, found.ready_after, found.facts) == (Ending.PANICKED, "launch", None, None)


def test_a_panic_while_it_powers_off(ground: Ground) -> None:
    def on_frame(frame: ControlFrame) -> None:
        if frame.kind == "exit":  # until QEMU is gone nobody looks at the console
            ground.stand_in.let("exit")
            ground.stand_in.wait_for("the end")
            time.sleep(0.2)

    found = ground.boot(*whole(), ("until", "exit"), PANIC, ("reach", "the end"), on_frame=on_frame)
    assert (found.ending, found.case) == (Ending.PANICKED, "")


def test_a_panic_that_does_not_end_qemu(ground: Ground) -> None:
    found = ground.boot(*into_suite(PANIC, time_passes(), HANG))
    assert found.ending is Ending.PANICKED
    assert found.stall is not None


def test_a_panic_that_only_the_questions_led_to_is_none(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrogate(_qmp: Path, console: Path, why: str, *_: object) -> Stall:
        with console.open("ab") as file:
            file.write(b"[    2.000000] Kernel panic - not syncing: NMI: Not continuing\n")
        return Stall(why, "running", True, 0, "")

    monkeypatch.setattr(boot_module, "interrogate", interrogate)
    assert ground.boot(*into_suite(time_passes(), HANG)).ending is Ending.HUNG


def test_an_oops_after_which_it_lives_on(ground: Ground) -> None:
    oops = say("BUG: kernel NULL pointer dereference, address: 0", "Oops: Oops: 0000 [#1] SMP")
    found = ground.boot(*whole(("mine",), oops))
    assert (found.ending, found.phase) == (Ending.FINISHED, "shutdown")


def test_a_guest_that_goes_silent(ground: Ground) -> None:
    found = ground.boot(*into_suite(frame("case", "mine first"), time_passes(61.0), HANG))
    assert (found.ending, found.phase, found.case, found.overdue) == (Ending.HUNG, "mine", "first", False)
    assert found.stall is not None
    assert found.stall.why == "no heartbeat and no progress for 61 s"
    assert ground.asked == ["no heartbeat and no progress for 61 s (x 1)"]


def test_a_guest_that_runs_past_its_suites_deadline(ground: Ground) -> None:
    found = ground.boot(*into_suite(time_passes(301.0, BEAT), HANG))
    assert (found.ending, found.overdue) == (Ending.TIMEOUT, False)
    assert ground.asked == ["the suite mine did not end within its 300 s, while the guest was alive (x 1)"]


@pytest.mark.parametrize(("beats", "fair"), [(20, True), (1, False)])
def test_a_case_that_runs_past_its_deadline(ground: Ground, beats: int, fair: bool) -> None:
    limits = replace(LIMITS, cases=(("mine", "first", CaseLimit(1.0, 30.0)),))
    steps = into_suite(frame("case", "mine first"), time_passes(40.0, *(BEAT,) * beats), HANG)
    found = ground.boot(*steps, limits=limits)
    assert (found.ending, found.overdue, found.fair, found.case) == (Ending.TIMEOUT, True, fair, "first")


def test_a_case_that_ends_while_questions_are_asked_was_still_the_one(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrogate(_qmp: Path, _console: Path, why: str, *_: object) -> Stall:
        ground.stand_in.let("go on")
        ground.stand_in.wait_for("the next")
        return Stall(why, "running", True, 0, "")

    monkeypatch.setattr(boot_module, "interrogate", interrogate)
    limits = replace(LIMITS, cases=(("mine", "first", CaseLimit(1.0, 30.0)),))
    late = (frame("case", "mine first"), time_passes(40.0, *(BEAT,) * 20))
    more = (("until", "go on"), frame("case", "mine second"), ("reach", "the next"), HANG)
    found = ground.boot(*into_suite(*late, *more), limits=limits)
    assert (found.ending, found.case, found.fair) == (Ending.TIMEOUT, "first", True)


def test_a_soft_lockup_without_progress_while_the_heart_beats(ground: Ground) -> None:
    found = ground.boot(*into_suite(seen("start"), SOFT_LOCKUP, time_passes(61.0, BEAT), HANG))
    assert found.ending is Ending.HUNG
    assert ground.asked == ["CPU#1 is stuck, and nothing went on for 60 s (x 1)"]


def test_a_slow_guest_gets_longer_limits_and_longer_questions(ground: Ground) -> None:
    slow = (say("Linux version"), time_passes(50.0), READY, seen("ready"), time_passes(200.0), seen("late"))
    found = ground.boot(*slow, frame("start", "mine"), time_passes(2000.0), HANG, reference=5.0)
    assert found.phase == "mine"
    assert found.ending is Ending.HUNG
    assert ground.asked == ["no heartbeat and no progress for 2000 s (x 10)"]


def test_a_fast_guest_does_not_get_shorter_ones(ground: Ground) -> None:
    steps = into_suite(time_passes(50.0), frame("result", "mine 0"), frames(("exit", "1")))
    assert ground.boot(*steps, reference=1000.0).ending is Ending.FINISHED


def test_a_guest_that_never_gets_ready(ground: Ground) -> None:
    beyond = (time_passes(50.0), seen("half"), say("still here"), time_passes(50.0), HANG)
    found = ground.boot(say("Linux version"), *beyond)
    assert (found.ending, found.phase, found.ready_after) == (Ending.TIMEOUT, "launch", None)
    assert ground.asked == ["not ready within 90 s (x 1)"]


def test_a_guest_that_says_nothing_and_never_gets_ready(ground: Ground) -> None:
    assert ground.boot(time_passes(61.0), HANG).ending is Ending.HUNG
    assert ground.asked == ["nothing on its console for 61 s, and never ready (x 1)"]


def test_qemu_that_is_killed_from_outside(ground: Ground) -> None:
    found = ground.boot(*into_suite(frame("case", "mine first"), ("kill", int(signal.SIGKILL))))
    assert (found.ending, found.phase, found.case, found.stall) == (Ending.LOST, "mine", "first", None)


@pytest.mark.parametrize(
    ("steps", "phase"), [((), "boot"), ((frame("start", "mine"), frame("result", "mine 0")), "shutdown")]
)
def test_where_a_guest_that_was_lost_had_come_to(ground: Ground, steps: tuple[Step, ...], phase: str) -> None:
    found = ground.boot(say("Linux version"), READY, *steps)
    assert (found.ending, found.phase) == (Ending.LOST, phase)


def test_qemu_that_ends_at_once_with_an_error(ground: Ground) -> None:
    found = ground.boot(("error", "qemu: no such machine\n"), ("leave", 1))
    assert (found.ending, found.phase, found.launcher) == (Ending.LOST, "launch", "qemu: no such machine\n")


def test_of_an_endless_complaint_the_beginning_is_kept(ground: Ground) -> None:
    found = ground.boot(("error", "again\n" * 1000))
    assert found.launcher == "again\n" * 200


def test_all_of_a_complaint_is_waited_for(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    drain = boot_module._Follower._drain_errors

    def later(follower: boot_module._Follower) -> None:
        time.sleep(0.2)
        drain(follower)

    monkeypatch.setattr(boot_module._Follower, "_drain_errors", later)
    assert ground.boot(("error", "qemu: no such machine\n")).launcher == "qemu: no such machine\n"


def test_a_case_that_was_not_said_to_end_is_none_when_the_guest_ended_well(ground: Ground) -> None:
    found = ground.boot(*into_suite(frame("case", "mine first"), frame("exit", "0")))
    assert (found.ending, found.case) == (Ending.FINISHED, "")


def test_a_guest_that_ended_well_before_anybody_looked(ground: Ground) -> None:
    def on_frame(frame: ControlFrame) -> None:
        if frame.kind == "ready":
            ground.stand_in.let("ready")
            ground.stand_in.wait_for("the end")
            time.sleep(0.2)

    well = (("until", "ready"), frame("start", "mine"), frame("result", "mine 0"), frame("exit", "1"))
    found = ground.boot(say("Linux version"), READY, *well, ("reach", "the end"), on_frame=on_frame)
    assert found.ending is Ending.FINISHED


def test_a_guest_that_reboots_instead_of_ending_is_lost(ground: Ground) -> None:
    # With -no-reboot QEMU ends: the kernel said so, and no exit frame came.
    found = ground.boot(*into_suite(frame("case", "mine first"), say("reboot: Restarting system")))
    assert (found.ending, found.phase) == (Ending.LOST, "mine")


@pytest.mark.parametrize("count", ["0", "2"])
def test_an_exit_that_counts_other_suites_is_none(ground: Ground, count: str) -> None:
    found = ground.boot(*into_suite(frame("result", "mine 0"), frame("exit", count)))
    assert (found.ending, found.phase) == (Ending.LOST, "shutdown")


def test_facts_of_which_some_are_missing_are_none(ground: Ground) -> None:
    found = ground.boot(say("Linux"), READY, frames(("fact", "release=7.3.4"), ("facts-end", "2"), ("exit", "0")))
    assert (found.ending, found.facts, found.taint_end) == (Ending.FINISHED, None, None)


def test_facts_that_were_counted_otherwise_are_none(ground: Ground) -> None:
    found = ground.boot(*(("facts", [], "99") if step == ("facts",) else step for step in whole()))
    assert (found.ending, found.facts) == (Ending.FINISHED, None)


def test_facts_that_are_no_numbers_are_none(ground: Ground) -> None:
    found = ground.boot(*(("facts", ["cpus=many"]) if step == ("facts",) else step for step in whole()))
    assert (found.ending, found.facts, found.taint_end) == (Ending.FINISHED, None, 0)


def test_garbage_on_the_control_port_is_kept_and_the_rest_is_read(ground: Ground) -> None:
    garbage = (("control", "\xff\x00nonsense\n"), ("control", "@start 5 other\n@start 99 other\n"))
    found = ground.boot(*whole(("mine",), *garbage))
    assert found.garbage == ("\ufffd\x00nonsense", "@start 99 other")
    assert found.ending is Ending.FINISHED


def test_half_a_frame_waits_for_its_other_half(ground: Ground) -> None:
    halves = (("control", "@announced 6 mi"), ("until", "half"), ("control", "ne 4\n"))

    def on_frame(frame: ControlFrame) -> None:
        if frame.kind == "start":
            threading.Timer(0.05, ground.stand_in.let, ("half",)).start()  # some looks at the port later

    found = ground.boot(*whole(("mine",), *halves), on_frame=on_frame)
    assert (found.garbage, found.announced) == ((), (("mine", 4),))


def test_half_a_frame_at_the_end_is_garbage(ground: Ground) -> None:
    found = ground.boot(*into_suite(("control", "@exit 1 ")))
    assert (found.garbage, found.ending) == (("@exit 1 ",), Ending.LOST)


def test_a_control_port_that_is_closed_early_is_silence(ground: Ground) -> None:
    def on_frame(frame: ControlFrame) -> None:
        if frame.kind == "seen":
            ground.stand_in.wait_for("closed")
            ground.clock.move(99.0)

    steps = into_suite(frame("case", "mine first"), seen("case"), ("close_control",), ("reach", "closed"), HANG)
    found = ground.boot(*steps, on_frame=on_frame)
    assert (found.ending, found.case, found.garbage) == (Ending.HUNG, "first", ())
    assert ground.asked == ["no heartbeat and no progress for 99 s (x 1)"]


def test_a_control_port_that_never_opens(ground: Ground) -> None:
    found = ground.boot(say("Linux version"))
    assert (found.ending, found.phase) == (Ending.LOST, "launch")


def test_a_guest_that_does_not_power_off(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot_module, "_POWER_OFF_SECONDS", 0.1)
    found = ground.boot(*whole(), HANG)
    assert (found.ending, found.phase, len(found.suites)) == (Ending.HUNG, "shutdown", 1)
    assert ground.asked == ["it did not power off within 0 s (x 1)"]


def test_a_slow_guest_gets_more_time_to_power_off(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot_module, "_POWER_OFF_SECONDS", 0.06)
    found = ground.boot(say("Linux"), time_passes(50.0), READY, frame("exit", "0"), HANG, reference=5.0)
    assert found.ending is Ending.HUNG
    assert ground.asked == ["it did not power off within 1 s (x 10)"]


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds of some KiB."""
    for name, size in (("HEAD", 8192), ("TAIL", 4096), ("ROOM", 4096), ("MOST_CONTROL", 8192), ("MOST_FILES", 15)):
        monkeypatch.setattr(bounded, name, size)
    monkeypatch.setattr(bounded, "_LOOK_SECONDS", 0.002)


@pytest.mark.usefixtures("narrow")
def test_a_flooded_control_port_ends_the_guest(ground: Ground) -> None:
    found = ground.boot(*into_suite(("flood", "control", f"@beat 990 {'x' * 990}\n")))
    assert found.ending is Ending.LOST
    assert found.stall is not None
    assert "to the control channel, which carries a few lines" in found.stall.why
    assert found.stall.text == f"the guest was ended: {found.stall.why}"
    assert found.stall.status == ""
    assert found.phase == "mine"


@pytest.mark.usefixtures("narrow")
def test_too_many_results_end_the_guest(ground: Ground) -> None:
    found = ground.boot(*into_suite(*(("result_file", f"{number}", "") for number in range(20)), HANG))
    assert found.ending is Ending.LOST
    assert found.stall is not None
    assert "into its results" in found.stall.why


@pytest.mark.usefixtures("narrow")
def test_a_flood_that_ends_well_is_one(ground: Ground) -> None:
    def on_frame(frame: ControlFrame) -> None:
        if frame.kind == "exit":
            time.sleep(0.2)  # the flood has been seen by then

    flood = ("control", f"@beat 990 {'x' * 990}\n" * 20)
    found = ground.boot(*into_suite(flood, frame("result", "mine 0"), frame("exit", "1"), HANG), on_frame=on_frame)
    assert found.ending is Ending.LOST


@pytest.mark.usefixtures("narrow")
def test_of_a_flooded_console_the_beginning_and_the_end_are_kept(ground: Ground) -> None:
    line = "[    1.000000] " + "x" * 1008 + "\n"
    flood = (*(("console", line),) * 60, say("the last words"))
    found = ground.boot(*whole(("mine",), *flood, ("until", "given back")), on_frame=Waiting(ground, 60 * 1024))
    kept = ground.console.read_bytes()
    assert found.ending is Ending.FINISHED
    assert 0 < found.left_out < 60 * 1024
    assert kept.startswith(b"[    1.000000] Linux version")
    assert f"[ttm-harness: {found.left_out} bytes are left out here]\n".encode() in kept
    assert b"the last words" in kept
    assert len(kept) < 24 * 1024


class Waiting:
    """Lets the guest go on once a piece of its console has been given back to the disk."""

    def __init__(self, ground: Ground, size: int) -> None:
        self._ground = ground
        self._size = size
        threading.Thread(target=self._wait, daemon=True).start()

    def __call__(self, frame: ControlFrame) -> None: ...

    def _wait(self) -> None:
        limit = threading.Event()
        for _ in range(10_000):
            seen = self._ground.console.stat() if self._ground.console.exists() else None
            if seen is not None and seen.st_size > self._size and seen.st_blocks * 512 < self._size // 2:
                break
            limit.wait(0.002)
        self._ground.stand_in.let("given back")


def test_a_stop_before_the_guest_has_begun(ground: Ground) -> None:
    stop = threading.Event()
    stop.set()
    found = ground.boot(HANG, stop=stop)
    assert (found.ending, found.phase) == (Ending.INTERRUPTED, "launch")


def test_a_stop_while_a_case_runs(ground: Ground) -> None:
    stop = threading.Event()

    def on_frame(frame: ControlFrame) -> None:
        if frame.kind == "case":
            stop.set()

    found = ground.boot(*into_suite(frame("case", "mine first"), HANG), on_frame=on_frame, stop=stop)
    assert (found.ending, found.phase, found.case, found.stall) == (Ending.INTERRUPTED, "mine", "first", None)


def test_what_was_said_before_the_end_is_read(ground: Ground) -> None:
    stop = threading.Event()

    def on_frame(frame: ControlFrame) -> None:
        if frame.kind == "case":
            ground.stand_in.let("go on")
            ground.stand_in.wait_for("more")
            stop.set()

    more = (("until", "go on"), frame("start", "other"), ("reach", "more"), HANG)
    found = ground.boot(*into_suite(frame("case", "mine first"), *more), on_frame=on_frame, stop=stop)
    assert (found.ending, found.phase) == (Ending.INTERRUPTED, "other")


def test_a_stop_at_the_very_end_comes_before_any_other_ending(ground: Ground) -> None:
    stop = threading.Event()

    def on_frame(frame: ControlFrame) -> None:
        if frame.kind == "exit":
            stop.set()

    assert ground.boot(*whole(), on_frame=on_frame, stop=stop).ending is Ending.INTERRUPTED


def test_a_stop_while_it_powers_off_is_not_waited_with(ground: Ground) -> None:
    stop = threading.Event()

    def on_frame(frame: ControlFrame) -> None:
        if frame.kind == "exit":
            threading.Timer(0.1, stop.set).start()

    found = ground.boot(*whole(), HANG, on_frame=on_frame, stop=stop)
    assert (found.ending, found.stall) == (Ending.INTERRUPTED, None)
    assert found.seconds < 10.0


@pytest.mark.usefixtures("narrow")
def test_a_stop_is_no_flood(ground: Ground) -> None:
    stop = threading.Event()

    def on_frame(frame: ControlFrame) -> None:
        if frame.kind == "case":
            time.sleep(0.2)  # the flood has been seen by then
            stop.set()

    steps = into_suite(frame("case", "mine first"), ("flood", "control", "x" * 4096))
    found = ground.boot(*steps, on_frame=on_frame, stop=stop)
    assert (found.ending, found.stall) == (Ending.INTERRUPTED, None)


def test_a_second_ctrl_c_kills_the_guest(ground: Ground) -> None:
    def on_frame(frame: ControlFrame) -> None:
        if frame.kind == "start":
            proc.hurry()

    found = ground.boot(("ignore_term",), *into_suite(HANG), on_frame=on_frame)
    assert found.ending is Ending.LOST


def test_a_ctrl_c_that_raises_while_the_guest_is_followed_ends_it(ground: Ground) -> None:
    def on_frame(frame: ControlFrame) -> None:
        if frame.kind == "start":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ground.boot(*into_suite(HANG), on_frame=on_frame)
    assert proc._running == {}
