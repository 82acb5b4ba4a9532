# SPDX-License-Identifier: GPL-2.0-only
"""Guests that do not go on, each made to happen for real: what stood still is named, and slow is not hung."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harness.evidence.recognisers import BLOCKED
from harness.evidence.stall import CPU
from harness.flow import deadlines
from harness.flow.collect import CellResult
from harness.guest import boot as boot_module
from harness.guest.qmp import monitor
from harness.judge.expectations import BOOT_SUITE
from harness.model.outcome import Ending, Outcome, Verdict
from harness.proc import Deadline, Process
from tests.functional.conftest import TINY_MACHINE, Runner
from tests.functional.test_endings import REST, SAY

CRASH = "modprobe lkdtm\necho {} >/sys/kernel/debug/provoke-crash/DIRECT\nsleep 999\n"
ONE_CPU = replace(TINY_MACHINE, cpus=1)
QUICK_DETECTOR = replace(TINY_MACHINE, cmdline=("sysctl.kernel.hung_task_timeout_secs=3",))


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds in the place of minutes; the guest's own pace still scales them."""
    monkeypatch.setattr(deadlines, "SILENCE_SECONDS", 6.0)
    monkeypatch.setattr(deadlines, "AROUND_SUITES_SECONDS", 8.0)  # two are short with other guests beside


def message(result: CellResult) -> str:
    return next(case.message for case in result.cases if case.suite == BOOT_SUITE)


def stall_text(result: CellResult, tmp_path: Path) -> str:
    return (tmp_path / "run" / result.run.directory / "stall.txt").read_text()


def test_a_task_that_is_blocked_for_good_is_named(run_script: Runner, tmp_path: Path) -> None:
    result = run_script(SAY + CRASH.format("HUNG_TASK"), machine=QUICK_DETECTOR, deadline=300.0)
    assert result.run.ending is Ending.HUNG
    assert result.run.phase == "script"
    assert result.run.verdict is Verdict.BAD
    blocked = [event for event in result.events if event.kind == BLOCKED]
    assert [event.title for event in blocked] == ["task sh is blocked in lkdtm_HUNG_TASK"]
    assert blocked[0].task == "sh"
    assert any(frame.startswith("lkdtm_HUNG_TASK+0x") for frame in blocked[0].frames)
    assert "task sh is blocked in lkdtm_HUNG_TASK" in message(result)
    assert {"hung-task", BLOCKED} <= {event.kind for event in result.events}
    stall = stall_text(result, tmp_path)
    assert '"status": "running"' in stall
    for key in ("w (blocked tasks)", "l (all CPUs)", "m (memory)", "t (all tasks)"):
        assert f"sysrq {key}: answered" in stall


def test_a_kernel_that_spins_without_interrupts_says_where_by_nmi(run_script: Runner, tmp_path: Path) -> None:
    result = run_script(SAY + CRASH.format("HARDLOCKUP"), machine=ONE_CPU, deadline=300.0)
    assert result.run.ending is Ending.HUNG
    assert result.run.verdict is Verdict.BAD
    spinning = [event for event in result.events if event.kind == CPU]
    assert len(spinning) == 1
    assert spinning[0].title.endswith("was in lkdtm_HARDLOCKUP")
    assert "lkdtm_HARDLOCKUP" in message(result)
    assert "panic" not in {event.kind for event in result.events}  # it was the harness who asked
    stall = stall_text(result, tmp_path)
    assert "sysrq w (blocked tasks): no answer" in stall
    assert "NMI: answered" in stall
    assert stall.count("RIP=") == 2  # looked at twice: does it go round in a circle


def test_a_kernel_that_runs_no_thread_any_more_is_asked_all_the_same(run_script: Runner, tmp_path: Path) -> None:
    # It takes interrupts, but its console has a thread of its own: the answers come out with the panic.
    result = run_script(SAY + CRASH.format("SOFTLOCKUP"), machine=ONE_CPU, deadline=300.0)
    assert result.run.ending is Ending.HUNG
    assert "CPU 0 was in lkdtm_SOFTLOCKUP" in [event.title for event in result.events if event.kind == CPU]
    console = (tmp_path / "run" / result.run.directory / "console.log").read_text()
    assert "sysrq: Show State" in console


def test_user_space_that_stops_is_a_timeout_while_the_heart_beats(run_script: Runner, tmp_path: Path) -> None:
    result = run_script(SAY + "killall -STOP sh init\nsleep 99\n", deadline=8.0)
    assert result.run.ending is Ending.TIMEOUT
    assert "the suite script did not end within its" in message(result)
    assert "guest was alive" in message(result)
    assert "sysrq t (all tasks): answered" in stall_text(result, tmp_path)


def test_a_suite_that_works_for_too_long_is_a_timeout_of_that_suite(run_script: Runner) -> None:
    result = run_script(SAY + "while :; do sleep 1; done\n", deadline=8.0)
    assert result.run.ending is Ending.TIMEOUT
    assert result.run.phase == "script"
    assert result.run.verdict is Verdict.CANNOT_TELL
    assert "the suite script did not end within its" in message(result)


def test_a_suite_that_is_silent_for_long_but_ends_is_good(run_script: Runner) -> None:
    result = run_script(SAY + "sleep 25\n" + REST, deadline=120.0)
    assert result.run.ending is Ending.FINISHED
    assert result.run.verdict is Verdict.GOOD


def test_a_guest_whose_heart_was_killed_is_hung(run_script: Runner) -> None:
    result = run_script(SAY + "killall -9 heart\nsleep 999\n", deadline=300.0)
    assert result.run.ending is Ending.HUNG
    assert "no heartbeat and no progress" in message(result)


def test_the_heart_beats_while_memory_runs_out(run_script: Runner, tmp_path: Path) -> None:
    hog = """sh -c 'echo 1000 >/proc/$$/oom_score_adj; exec awk "BEGIN { s = \\"x\\"; while (1) s = s s }"'\n"""
    faults = "cat /proc/$(pidof heart)/stat >/results/heart.$1\n"
    script = SAY + f"faults() {{ {faults} }}\nfaults before\n" + hog * 3 + "faults after\n" + REST
    result = run_script(script, deadline=120.0)
    assert result.run.ending is Ending.FINISHED
    place = tmp_path / "run" / result.run.directory / "results"
    before, after = ((place / f"heart.{when}").read_text().split() for when in ("before", "after"))
    assert before[9:13] == after[9:13]  # minor and major faults, with those of children
    assert sum(map(int, after[13:15])) - sum(map(int, before[13:15])) <= 10  # clock ticks of 10 ms
    assert "oom" in {event.kind for event in result.events}


class Meddler:
    """Does something to QEMU, in a thread, once the suite has started."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, act: Callable[[Process, Path], None]) -> None:
        self._act = act
        self._done = threading.Event()
        original = boot_module._Follower.__init__

        def init(follower: boot_module._Follower, *arguments: object) -> None:
            original(follower, *arguments)  # type: ignore[arg-type]
            threading.Thread(target=self._meddle, args=(follower,), daemon=True).start()

        monkeypatch.setattr(boot_module._Follower, "__init__", init)

    def _meddle(self, follower: boot_module._Follower) -> None:
        limit = Deadline(60.0)
        while follower._seen.phase != "script" and not limit.passed:
            time.sleep(0.05)
        self._act(follower._process, follower._launch.qmp)


def qemu_of(socket: Path) -> int:
    """The QEMU that works where its monitor's socket is."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                place = (entry / "cwd").readlink()
            except OSError:
                continue
            if words[0].endswith(b"qemu-system-x86_64") and place == socket.parent.resolve():
                return int(entry.name)
    raise AssertionError("no QEMU")


@contextmanager
def slowed(pid: int, share: float, limit: Deadline) -> Iterator[None]:
    """The process gets only a share of the time."""
    while not limit.passed:
        try:
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.2 * (1 - share))
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            break
        time.sleep(0.2 * share)
    yield


def test_a_machine_that_was_stopped_is_hung_but_nobodys_fault(
    run_script: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stop(_process: Process, socket: Path) -> None:
        with monitor(socket, Deadline(5.0)) as session:
            session.ask("stop")

    Meddler(monkeypatch, stop)
    result = run_script(SAY + "sleep 999\n", deadline=300.0)
    assert result.run.ending is Ending.HUNG
    assert '"status": "paused"' in stall_text(result, tmp_path)
    assert result.run.verdict is Verdict.CANNOT_TELL
    assert any("its state is 'paused'" in problem for problem in result.run.problems)


def test_a_qemu_that_does_not_answer_is_ended_all_the_same(
    run_script: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pids: list[int] = []

    def freeze(_process: Process, socket: Path) -> None:
        pids.append(qemu_of(socket))
        os.kill(pids[0], signal.SIGSTOP)

    Meddler(monkeypatch, freeze)
    result = run_script(SAY + "sleep 999\n", deadline=300.0)
    assert result.run.ending is Ending.HUNG
    assert "monitor does not answer" in stall_text(result, tmp_path)
    assert result.run.verdict is Verdict.CANNOT_TELL
    assert not Path(f"/proc/{pids[0]}").exists()


def test_a_slow_guest_is_not_hung(run_script: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(_process: Process, socket: Path) -> None:
        with slowed(qemu_of(socket), 0.15, Deadline(40.0)):
            pass

    Meddler(monkeypatch, slow)
    result = run_script(SAY + "i=0\nwhile [ $i -lt 400 ]; do sleep 0.01; i=$((i+1)); done\n" + REST, deadline=200.0)
    assert result.run.ending is Ending.FINISHED
    assert result.run.verdict is Verdict.GOOD


def test_a_slow_guest_that_does_not_end_is_a_timeout(run_script: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(_process: Process, socket: Path) -> None:
        with slowed(qemu_of(socket), 0.15, Deadline(60.0)):
            pass

    Meddler(monkeypatch, slow)
    result = run_script(SAY + "while :; do sleep 1; done\n", deadline=15.0)
    assert result.run.ending is Ending.TIMEOUT
    assert Outcome.CRASH not in {case.outcome for case in result.cases}
