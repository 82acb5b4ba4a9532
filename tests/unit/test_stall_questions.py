# SPDX-License-Identifier: GPL-2.0-only
"""What a guest that was given up is asked, and every way in which QEMU or the kernel may fail to answer."""

from __future__ import annotations

import re
import socket
import threading
from pathlib import Path

import pytest

from harness.guest import boot as boot_module
from harness.guest import qmp, stall
from harness.guest.boot import Boot, boot
from harness.guest.stall import Stall
from harness.model.outcome import Ending
from harness.proc import Deadline
from tests.unit.stand_in import (
    HANG,
    LIMITS,
    READY,
    Clock,
    Hurry,
    StandIn,
    Step,
    frame,
    into_suite,
    launch_in,
    seen,
    time_passes,
)

pytestmark = pytest.mark.timeout(30)

KEYS = {key: f"[    9.000000] sysrq: the answer to {key}\n" for key in "wlmt"}
NMI = "[    9.000000] Kernel panic - not syncing: NMI: Not continuing\n"
SILENT = into_suite(time_passes(), HANG)


class Ground:
    """A directory in which guests are given up."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stand_in = StandIn(place, monkeypatch)
        self.hurry = Hurry()
        self.launch = launch_in(place)
        self.console = place / "console.log"
        Clock(self.stand_in, monkeypatch)
        monkeypatch.setattr(stall, "time", self.hurry)

    def boot(
        self,
        *steps: Step,
        monitor: dict[str, object] | str | None = None,
        keys: dict[str, str] | None = None,
        nmi: str = "",
        reference: float | None = None,
        stop: threading.Event | None = None,
    ) -> Boot:
        self.stand_in.plays(*steps, monitor=monitor, keys=keys, nmi=nmi)
        return boot(self.launch, self.console, LIMITS, reference_ready=reference, stop=stop)

    def stalled(self, monitor: dict[str, object] | str | None = None, **answers: dict[str, str]) -> Stall:
        """The record of a guest that is HUNG."""
        found = self.boot(*SILENT, monitor=monitor, **answers)  # type: ignore[arg-type]
        assert found.ending is Ending.HUNG
        assert found.stall is not None
        assert re.match(r"the guest was given up: no heartbeat and no progress for \d+ s\n", found.stall.text)
        return found.stall


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    return Ground(tmp_path, monkeypatch)


def answers(found: Stall) -> list[str]:
    return re.findall(r"^(?:sysrq . \(.*\)|NMI): .*$", found.text, re.MULTILINE)


def test_a_kernel_that_answers_everything(ground: Ground) -> None:
    found = ground.stalled(keys=KEYS)
    assert answers(found) == [
        "sysrq w (blocked tasks): answered on the console",
        "sysrq l (all CPUs): answered on the console",
        "sysrq m (memory): answered on the console",
        "sysrq t (all tasks): answered on the console",
    ]
    assert (found.status, found.machine_ran, found.answered) == ("running", True, True)
    console = ground.console.read_text()
    assert console[found.asked_at :] == "".join(KEYS.values())
    assert console[: found.asked_at] == "[    1.000000] Linux version 7.3.4\n"
    assert 'query-status: {"status": "running", "running": true}' in found.text
    assert 'query-cpus-fast: [{"cpu-index": 0}]' in found.text
    assert found.text.count("RIP of each CPU: ffffffff81234567\nEAX=0") == 1
    opened = [one.readlink() for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
    assert not any(one.name == "keys" for one in opened)


def test_a_kernel_that_answers_only_an_nmi(ground: Ground) -> None:
    found = ground.boot(*SILENT, nmi=NMI)
    assert found.ending is Ending.HUNG  # its panic is the answer
    assert found.stall is not None
    assert answers(found.stall) == [
        "sysrq w (blocked tasks): no answer on the console",
        "sysrq l (all CPUs): no answer on the console",
        "sysrq m (memory): no answer on the console",
        "sysrq t (all tasks): no answer on the console",
        "NMI: answered on the console",
    ]
    assert (found.stall.status, found.stall.answered) == ("running", False)
    assert found.stall.text.count("RIP of each CPU") == 2
    assert ground.console.read_text()[found.stall.asked_at :] == NMI


def test_a_kernel_that_answers_nothing_is_not_waited_for_again_and_again(ground: Ground) -> None:
    ground.hurry.times = 200.0
    found = ground.stalled()
    assert answers(found)[-1] == "NMI: no answer on the console"
    assert 11.5 < ground.hurry.monotonic() < 12.5  # 5 s for the first, 0.5 s for each of three, 5 s for the NMI


def test_a_slow_kernel_gets_more_time(ground: Ground) -> None:
    ground.hurry.times = 200.0
    steps = (time_passes(20.0), READY, seen("ready"), frame("start", "mine"), time_passes(), HANG)
    found = ground.boot(*steps, reference=10.0)
    assert found.stall is not None
    assert 23.0 < ground.hurry.monotonic() < 27.0


def test_a_kernel_that_answers_late_is_heard_and_waited_for_again(ground: Ground) -> None:
    keys = {key: text for key, text in KEYS.items() if key in "lt"}
    found = ground.stalled(keys=keys)
    assert [line.split(":")[1] for line in answers(found)] == [
        *(" no answer on the console", " answered on the console") * 2
    ]
    assert found.answered
    # 5 s of silence each for w and m, a second of quiet and what it took for l and t
    assert 12.0 < ground.hurry.monotonic() < 14.0


def test_a_kernel_that_answered_once_gets_no_nmi(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stall, "_FIRST_BYTE_SECONDS", 2.0)
    ground.launch.qmp.with_name("keys").touch()  # of an earlier attempt
    found = ground.stalled(keys={"w": KEYS["w"]})
    assert found.answered
    assert answers(found)[0] == "sysrq w (blocked tasks): answered on the console"
    assert answers(found)[-1] == "sysrq t (all tasks): no answer on the console"


@pytest.mark.parametrize(("factor", "until"), [(1, 3.0), (10, 30.0)])
def test_an_answer_goes_on_until_the_console_is_quiet(ground: Ground, factor: int, until: float) -> None:
    sleep = ground.hurry.sleep

    def printing(seconds: float) -> None:
        before = ground.hurry.monotonic()
        sleep(seconds)
        if (now := ground.hurry.monotonic()) < until and int(now * 2 / factor) > int(before * 2 / factor):
            with ground.console.open("ab") as console:
                console.write(b"[    9.000000] and more\n")

    ground.hurry.sleep = printing  # type: ignore[method-assign]
    ground.hurry.times = 1000.0
    steps = (time_passes(50.0), READY, seen("ready"), frame("start", "mine"), time_passes(), HANG)
    found = ground.boot(*steps, reference=50.0 / factor)
    assert found.stall is not None
    assert [" answered" in line for line in answers(found.stall)] == [True, False, False, False]


def test_a_kernel_that_never_falls_quiet_is_not_listened_to_for_ever(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stall, "_ANSWER_SECONDS", 2.0)
    flood = (("until_asked", "chardev-send-break"), ("flood", "console", "again\n"))
    found = ground.boot(*into_suite(time_passes(), *flood))
    assert found.stall is not None
    assert found.stall.answered
    assert ground.hurry.monotonic() < 9.0


def test_a_stop_ends_the_questions(ground: Ground) -> None:
    stop = threading.Event()
    sleep = ground.hurry.sleep

    def interrupted(seconds: float) -> None:
        sleep(seconds)
        stop.set()

    ground.hurry.sleep = interrupted  # type: ignore[method-assign]
    found = ground.boot(*SILENT, stop=stop)
    assert (found.ending, found.stall) == (Ending.INTERRUPTED, None)
    assert ground.hurry.monotonic() < 1.0


@pytest.mark.parametrize(
    ("state", "status"),
    [({"status": "paused"}, "paused"), ({"status": "io-error"}, "io-error"), ({}, ""), ([], "")],
    ids=str,
)
def test_a_kernel_that_qemu_does_not_run_is_not_asked(ground: Ground, state: object, status: str) -> None:
    found = ground.stalled({"query-status": state})
    assert (found.status, found.machine_ran, found.answered) == (status, False, False)
    assert answers(found) == []
    assert "RIP of each CPU" in found.text
    assert ground.hurry.monotonic() == 0.0


@pytest.mark.parametrize(
    ("monitor", "said"),
    [
        ("absent", "QEMU's monitor does not answer: [Errno 2]"),
        ({"greeting": "silent"}, "QEMU's monitor does not answer: timed out"),
        ({"greeting": "hangs-up"}, "QEMU closed its monitor"),
        ({"qmp_capabilities": "refuses"}, "QEMU refused qmp_capabilities: not now"),
        ({"query-status": "silent"}, "QEMU's monitor does not answer: timed out"),
        ({"query-status": "refuses"}, "QEMU refused query-status: not now"),
        ({"query-status": "hangs-up"}, "QEMU closed its monitor"),
        ({"query-status": {"line": "no JSON"}}, "QEMU's monitor does not answer: Expecting value"),
        ({"query-status": "drones"}, "QEMU's monitor said more than 1 MiB in one line"),
    ],
    ids=lambda one: str(one)[:40],
)
def test_a_qemu_that_does_not_answer_is_no_machine_that_ran(
    ground: Ground, monitor: dict[str, object] | str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stall, "_QEMU_SECONDS", 10.0 if "drones" in str(monitor) else 0.1)
    monkeypatch.setattr(boot_module, "_ACCEL_SECONDS", 0.1)
    monkeypatch.setattr(qmp, "_LONGEST", 1 << 20)
    found = ground.stalled(monitor)
    assert (found.status, found.machine_ran, found.answered) == ("", False, False)
    assert said in found.text


@pytest.mark.parametrize(
    ("monitor", "said"),
    [
        ({"query-cpus-fast": "refuses"}, "QEMU refused query-cpus-fast: not now"),
        ({"human-monitor-command": "hangs-up"}, "QEMU closed its monitor"),
        ({"chardev-change": "refuses"}, "QEMU refused chardev-change: not now"),
        ({"chardev-send-break": "refuses"}, "QEMU refused chardev-send-break: not now"),
        ({"chardev-send-break": "silent"}, "QEMU's monitor does not answer: timed out"),
        ({"inject-nmi": "hangs-up"}, "QEMU closed its monitor"),
    ],
    ids=lambda one: str(one)[:40],
)
def test_what_was_said_before_qemu_failed_is_kept(
    ground: Ground, monitor: dict[str, object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stall, "_ALL_SECONDS", 0.3 if "silent" in monitor.values() else 90.0)
    found = ground.stalled(monitor)
    assert (found.status, found.machine_ran) == ("running", True)
    assert "query-status:" in found.text
    assert found.text.endswith(said)


def test_a_session_ends_with_its_deadline_whatever_the_socket_would_wait() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(TimeoutError):
        qmp.Monitor(ours, Deadline(0.05)).ask("query-status")


def test_registers_that_are_no_text_are_none(ground: Ground) -> None:
    found = ground.stalled({"human-monitor-command": {}}, keys=KEYS)
    assert "RIP of each CPU: \n" in found.text
    assert found.answered


def test_a_fifo_that_cannot_be_made_is_said(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    def mkfifo(_path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.mkfifo", mkfifo)
    found = ground.stalled()
    assert found.text.endswith("no FIFO for the console's input: [Errno 28] No space left on device")


def test_a_console_that_is_gone_has_no_bytes(tmp_path: Path) -> None:
    found = stall.interrogate(tmp_path / "qmp", tmp_path / "console.log", "it is silent", 1.0, threading.Event())
    assert (found.asked_at, found.status) == (0, "")
    assert found.text.startswith("the guest was given up: it is silent\nQEMU's monitor does not answer")
