# SPDX-License-Identifier: GPL-2.0-only
"""Boots of a fleet that take long: which are begun elsewhere, too, and whose answer counts; and a limit per user."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dask
import pytest

from harness.fleet import asking, worker
from harness.fleet.clusters import fleet
from harness.fleet.fleet import Fleet
from harness.fleet.order import WorkerAnswer
from harness.fleet.pulse import SILENT, SILENT_SECONDS, Pulse
from harness.fleet.trial import Trial
from harness.flow.run import RunOptions, execute
from harness.model.outcome import Verdict
from harness.model.progress import HostDoing
from harness.model.result import Report
from harness.store.layout import Layout
from tests.unit.stand_in import say
from tests.unit.stand_in.cells import BOOTS, Told, begins, good, request
from tests.unit.stand_in.runs import Ground
from tests.unit.test_fleet import until_no_guest_is_left

pytestmark = pytest.mark.timeout(300)

REST = good()[len(BOOTS) + len(begins()) :]


@pytest.fixture
def ground(tmp_path: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Ground:
    return Ground(tmp_path, scratch_layout, monkeypatch)


def run_on(hosts: Fleet, ground: Ground, boots: int) -> Report:
    report, _ = execute((request(repeat=boots),), ground.layout, ground.told, RunOptions(hosts=hosts))
    return report


def notes_of(report: Report) -> list[str]:
    return [note for run in report.runs for note in run.notes]


def until(told: Callable[[], bool]) -> None:
    limit = time.monotonic() + 60.0
    while not told():
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_who_gets_a_boot_and_whose_answer_counts(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    with fleet("local:2", ground.layout, ground.told) as hosts:
        a_user_has_a_limit(hosts, ground)
        monkeypatch.setattr(asking, "LEAST_SECONDS", 0.2)
        monkeypatch.setattr(asking, "STRAGGLES", 1.0)
        a_straggler_is_made_elsewhere_too(hosts, ground)
        until_no_guest_is_left(ground)
        who_is_in_doubt_is_waited_for(hosts, ground)


def a_straggler_is_made_elsewhere_too(hosts: Fleet, ground: Ground) -> None:
    ground.plays(good(), good(), (*BOOTS, *begins(), ("until", "never")), good())
    report = run_on(hosts, ground, 3)
    assert (report.verdict, ground.stand_in.left) == (Verdict.GOOD, 0)
    (note,) = notes_of(report)
    assert "the answer of the second counts, and the other was ended" in note


def who_is_in_doubt_is_waited_for(hosts: Fleet, ground: Ground) -> None:
    ground.plays(
        (*BOOTS, *begins(), ("until", "bad"), say("BUG: sleeping in the wrong place"), ("until", "first"), *REST),
        (("reach", "begun again"), ("until", "second"), *good()),
    )
    threading.Thread(target=let_the_second_be_first, args=(ground, hosts)).start()
    report = run_on(hosts, ground, 1)
    (note,) = notes_of(report)
    assert "the answer of the first counts, as it had said 'BUG: '" in note
    assert report.verdict is Verdict.BAD


def let_the_second_be_first(ground: Ground, hosts: Fleet) -> None:
    """But of the first there is doubt by then."""
    asker = hosts._asker
    answers = sum(map(len, asker._took.values()))
    ground.stand_in.wait_for("begun again")
    ground.stand_in.let("bad")
    until(lambda: any(trial.doubts for trial in tuple(asker._trials.values())))
    ground.stand_in.let("second")
    until(lambda: sum(map(len, asker._took.values())) > answers)
    ground.stand_in.let("first")


class Counts(Told):
    """How many were at work at a time."""

    most = 0

    def hosts(self, doing: Sequence[HostDoing]) -> None:
        super().hosts(doing)
        self.most = max(self.most, sum(len(one.works) for one in doing))


def a_user_has_a_limit(hosts: Fleet, ground: Ground) -> None:
    told = Counts()
    ground.plays((*BOOTS, *begins(), ("until", "others wait"), *REST), good(), good())
    with dask.config.set({asking.PER_USER: 1}):
        limited = Fleet(hosts._client, ground.layout, told)
    threading.Thread(target=let_it_end_when_others_wait, args=(ground, told)).start()
    try:
        report, _ = execute((request(repeat=3),), ground.layout, told, RunOptions(hosts=limited))
    finally:
        limited.close()
    assert report.verdict is Verdict.GOOD
    assert told.most == 1
    assert [one.ended for one in told.doing] == [3]
    assert others_wait(told)


def others_wait(told: Told) -> bool:
    return any("waits: 1 boots of a user are the most here" in text for text in tuple(told.said))


def let_it_end_when_others_wait(ground: Ground, told: Told) -> None:
    """They say so only after a moment, in which a boot may have ended."""
    try:
        until(lambda: others_wait(told))
    finally:
        ground.stand_in.let("others wait")


class Ended:
    """A future of Dask with an answer."""

    status = "finished"

    def __init__(self, said: str) -> None:
        self.answer = WorkerAnswer(said, f"tcp://{said}", token=said)

    def done(self) -> bool:
        return True

    def cancelled(self) -> bool:
        return False

    def result(self, timeout: float) -> WorkerAnswer:
        return self.answer


class Hears:
    """A client of Dask as far as an asker needs it; `dropped` is whose evidence is to go."""

    def __init__(self) -> None:
        self.dropped: list[str] = []

    def run_on_scheduler(self, *_: object) -> int:
        return 0

    def subscribe_topic(self, *_: object) -> None:
        pass

    def run(self, _: object, token: str, **__: object) -> None:
        self.dropped.append(token)


BAD = "it had said 'BUG: '"


@pytest.mark.parametrize(
    ("doubts", "counts"),
    [
        ({}, "first"),
        ({"k": BAD}, "first"),
        ({"k-again": BAD}, "second"),
        ({"k": BAD, "k-again": SILENT}, "first"),
        ({"k": SILENT, "k-again": BAD}, "second"),
        ({"k": BAD, "k-again": BAD}, "first"),
    ],
)
def test_of_two_answers_that_come_at_once_a_finding_counts(doubts: dict[str, str], counts: str) -> None:
    client = Hears()
    asker = asking.Asker(cast("Any", client), cast("Any", Told()), dict)
    trial = Trial("boot 1: all", Told())
    trial.begins("k", "first", "tcp://first", "1")
    trial.begins("k-again", "second", "tcp://second", "2")
    trial.doubts.update(doubts)
    asked = asking.Asked(cast("Any", SimpleNamespace(key="k")), cast("Any", None), {})
    tries = {"k": Ended("first"), "k-again": Ended("second")}
    answer = asker._first(asked, trial, cast("Any", tries), None)
    assert answer.host == counts
    assert client.dropped == [{"first": "second", "second": "first"}[counts]]
    assert f"the answer of the {counts} counts" in trial.notes[0]


def test_what_a_guest_says_at_its_end_is_told_before_its_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_LOOK_SECONDS", 60.0)
    told: list[dict[str, str]] = []
    loop = SimpleNamespace(add_callback=lambda log, topic, said: log(topic, said))
    state = SimpleNamespace(tasks={})
    dask_worker = SimpleNamespace(
        address="tcp://x", loop=loop, log_event=lambda _, said: told.append(said), state=state
    )
    thread_state = SimpleNamespace(key="k")
    monkeypatch.setattr(worker, "thread_state", thread_state)
    desk = worker._Desk(cast("Any", dask_worker), cast("Any", SimpleNamespace(key="k", topic="t")))
    (tmp_path / "001-abc").mkdir()
    with desk.watched(), desk.following(tmp_path):
        (tmp_path / "001-abc" / "console.log").write_text("    not ok 4 d\n")
    assert [(one["kind"], one["text"]) for one in told] == [("doubt", "it had said 'not ok 4'")]


class Hand:
    """A clock that is moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_a_guest_said_tells_whether_it_is_only_slow(tmp_path: Path) -> None:
    clock = Hand()
    pulse = Pulse(tmp_path, clock)
    clock.now = 1000.0
    assert pulse.doubt() == ""  # it waits for room, or for what it boots
    place = tmp_path / "001-abc"
    (place / "alone-1").mkdir(parents=True)
    console, control = place / "console.log", place / "alone-1" / "control.log"
    console.write_text("[    1.0] Linux version 7.3.4\n")
    control.write_text("@ready 4 0.10\n")
    assert pulse.doubt() == ""
    clock.now += SILENT_SECONDS + 1
    with control.open("a") as port:
        port.write("@beat 1 1\n@beat 1 2\n")
    assert "had said nothing" in pulse.doubt()  # its heart beats, but nothing goes on
    with control.open("a") as port:
        port.write("@beat 1 3\n@case 3 p b\n")
    assert pulse.doubt() == ""
    with console.open("a") as port:
        port.write("[    2.0] BUG")
    assert pulse.doubt() == ""
    with console.open("a") as port:
        port.write(": unable to handle page fault\n")
    assert pulse.doubt() == "it had said 'BUG: '"
    clock.now += 10 * SILENT_SECONDS
    assert pulse.doubt() == "it had said 'BUG: '"


@pytest.mark.parametrize(
    "line",
    [
        "    not ok 3 c",
        "WARNING: CPU: 0 PID: 1 at mm/x.c:1",
        "hog invoked oom-killer: gfp_mask=0x1",
        "Oops: 0000 [#1]",
        "INFO: task kworker/0:1:9 blocked for more than 30 seconds.",
        "rcu: INFO: rcu_sched self-detected stall on CPU",
        "[IGT] xe_evict: finished subtest evict-small, FAIL",
        "[IGT] xe_evict: exiting, ret=98",
        "UBSAN: array-index-out-of-bounds in drivers/gpu/drm/ttm/ttm_pool.c:910:3",
        "BUG kmalloc-64 (Not tainted): Right Redzone overwritten",
        "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
        "Read-error on swap-device (254:0:8)",
        "get_swap_device: Bad swap file entry 3ffffffffffff",
        "general protection fault, probably for non-canonical address 0xdead: 0000 [#1] SMP",
        "kernel BUG at drivers/gpu/drm/ttm/ttm_bo.c:123!",
        "[   T123] INFO: trying to register non-static key.",
    ],
)
def test_what_may_be_a_finding_is_no_straggler(tmp_path: Path, line: str) -> None:
    (tmp_path / "001-abc").mkdir()
    (tmp_path / "001-abc" / "console.log").write_text(f"[    1.0] {line}\n")
    assert "it had said" in Pulse(tmp_path).doubt()


def test_what_every_guest_says_is_none(tmp_path: Path) -> None:
    (tmp_path / "001-abc").mkdir()
    said = (
        "VFS: Mounted root (9p filesystem) readonly on device 0:16.",
        "DMA-API: preallocated 65536 debug entries",
        "workqueue: drm_worker hogged CPU for >10000us 4 times, consider switching to WQ_UNBOUND",
        "    ok 3 c",
        "kmemleak: Kernel memory leak detector initialized (mem pool available: 15672)",
        "rcu: INFO is off",
        "[IGT] xe_evict: finished subtest evict-small, SUCCESS",
        "[IGT] xe_evict: exiting, ret=0",
    )
    (tmp_path / "001-abc" / "console.log").write_text("".join(f"[    1.000000] {line}\n" for line in said))
    assert Pulse(tmp_path).doubt() == ""
