# SPDX-License-Identifier: GPL-2.0-only
"""Side by side, but never more than the host has: the tokens as a property, the scheduler with real threads."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.flow import schedule
from harness.flow.admission import OVERHEAD, Claim, Tokens
from harness.flow.resources import last_to_die, most_for_guests, reserve, room_for_guests
from harness.flow.schedule import Task, admitted, side_by_side
from harness.model.errors import InfraError
from harness.model.machine import Machine
from harness.model.units import GIB, MIB
from harness.proc import PIPE, Deadline, run, spawn
from harness.store.claims import Claims, Held
from harness.store.layout import Layout

OWN_PATH = {"PYTHONPATH": str(Path(__file__).parents[2])}
CLAIM = st.builds(Claim, ram=st.integers(1, 100), cpus=st.integers(1, 8))


@settings(deadline=None)
@given(st.lists(st.tuples(CLAIM, st.integers(0, 300), st.booleans())), st.integers(1, 8))
def test_the_host_is_never_overcommitted(moves: list[tuple[Claim, int, bool]], cpus: int) -> None:
    capacity = 0
    tokens = Tokens(lambda: capacity, cpus)
    held: list[Claim] = []
    for claim, capacity, ends in moves:  # what the host has changes at every step
        if ends and held:
            tokens.give_back(held.pop())
        before = sum(one.ram for one in held)
        admitted = tokens.admit(claim)
        if admitted:
            held.append(claim)
            assert before + claim.ram <= capacity
            assert sum(one.cpus for one in held) <= cpus or len(held) == 1
        else:
            alone = not held and claim.ram <= capacity
            assert not alone, "a guest alone that fits must be let in"
        assert (tokens.ram_held, tokens.cpus_held) == (sum(c.ram for c in held), sum(c.cpus for c in held))


def test_a_claim_has_qemus_own_memory_in_it() -> None:
    assert Claim.of(Machine(ram=256 * MIB, cpus=2)) == Claim(256 * MIB + OVERHEAD, 2)


class Load:
    """Tasks that note how many of them ran at once, and in which order they began."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running = 0
        self.most = 0
        self.begun: list[int] = []

    def task(self, number: int, claim: Claim, seconds: float = 0.02) -> Task:
        def work() -> None:
            with self.lock:
                self.running += 1
                self.most = max(self.most, self.running)
                self.begun.append(number)
            time.sleep(seconds)
            with self.lock:
                self.running -= 1

        return Task(claim, work)


def test_as_many_as_tokens_allow_and_in_order() -> None:
    load = Load()
    tasks = [load.task(number, Claim(30, 1)) for number in range(12)]
    side_by_side(tasks, Tokens(lambda: 100, 8), 8, threading.Event(), lambda: None)
    assert load.most == 3
    assert sorted(load.begun) == list(range(12))
    assert all(abs(place - number) < 3 for place, number in enumerate(load.begun))


def test_a_large_guest_is_not_overtaken() -> None:
    load = Load()
    tasks = [load.task(0, Claim(10, 1), 0.1), load.task(1, Claim(100, 1)), load.task(2, Claim(10, 1))]
    side_by_side(tasks, Tokens(lambda: 100, 8), 8, threading.Event(), lambda: None)
    assert load.begun == [0, 1, 2]
    assert load.most == 1


def test_at_most_what_the_user_says() -> None:
    load = Load()
    tasks = [load.task(number, Claim(1, 1)) for number in range(6)]
    side_by_side(tasks, Tokens(lambda: 100, 8), 1, threading.Event(), lambda: None)
    assert load.most == 1


def test_one_that_fails_ends_the_others() -> None:
    stop = threading.Event()
    ended = []

    def fail() -> None:
        raise InfraError("no space left")

    def patient() -> None:
        ended.append(stop.wait(20))

    tasks = [Task(Claim(1, 1), patient), Task(Claim(1, 1), fail), Task(Claim(90, 1), patient)]
    with pytest.raises(InfraError, match="no space left"):
        side_by_side(tasks, Tokens(lambda: 50, 8), 8, stop, lambda: None)
    assert ended == [True]


def test_waiting_for_room_is_said_and_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "NO_ROOM_SECONDS", 0.3)
    monkeypatch.setattr(schedule, "LOOK_SECONDS", 0.05)
    said: list[str] = []
    with pytest.raises(InfraError, match="no 100 of RAM"):
        side_by_side(
            [Load().task(0, Claim(100, 1))], Tokens(lambda: 50, 8), 1, threading.Event(), lambda: said.append("wait")
        )
    assert said == ["wait"]


def test_room_that_comes_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "LOOK_SECONDS", 0.02)
    began = time.monotonic()
    load = Load()
    tokens = Tokens(lambda: 100 if time.monotonic() - began > 0.2 else 0, 8)
    side_by_side([load.task(0, Claim(100, 1))], tokens, 1, threading.Event(), lambda: None)
    assert load.begun == [0]


HOLDER = """
import os, sys, time
from pathlib import Path
from harness.store.claims import Claims, Held
from harness.store.layout import Layout
claims = Claims(Layout(Path(sys.argv[1])))
with claims.turn():
    file = claims.make(60, 3)
print(os.getpid(), flush=True)
time.sleep(60)
"""


def test_guests_of_other_processes_count_until_these_are_gone(scratch_layout: Layout) -> None:
    claims = Claims(scratch_layout)
    tokens = Tokens(lambda: 100, 4, claims)
    with spawn((sys.executable, "-c", HOLDER, str(scratch_layout.root)), stdout=PIPE, env=OWN_PATH) as other:
        assert other.stdout is not None
        pid = int(other.stdout.readline())
        assert claims.all() == (Held(pid, 60, 3),)
        assert not tokens.admit(Claim(50, 1))  # too much RAM
        assert not tokens.admit(Claim(50, 1), crowded=True)
        assert not tokens.admit(Claim(10, 2))  # too many vCPUs
        assert tokens.admit(Claim(10, 2), crowded=True)
        os.kill(pid, signal.SIGKILL)
        other.wait(Deadline(10))
    assert tokens.admit(Claim(50, 1))
    assert len(claims.all()) == 2
    for claim in (Claim(10, 2), Claim(50, 1)):
        tokens.give_back(claim)
    assert claims.all() == ()
    assert [path.name for path in (scratch_layout.locks / "guests").iterdir()] == ["gate"]


def test_a_claim_that_nobody_can_read_is_none(scratch_layout: Layout) -> None:
    claims = Claims(scratch_layout)
    with claims.turn():
        file = claims.make(1, 1)
        (Path(str(file.name))).write_bytes(b"\xff" * 1000)
        assert claims.all() == ()
        claims.drop(file)


def test_who_waits_long_shares_the_cores_and_never_the_ram(
    scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "NO_ROOM_SECONDS", 0.2)
    monkeypatch.setattr(schedule, "LOOK_SECONDS", 0.02)
    first, second = (Tokens(lambda: 100, 2, Claims(scratch_layout)) for _ in range(2))
    assert first.admit(Claim(60, 2))
    said: list[str] = []
    with admitted(Claim(30, 2), second, lambda: said.append("waits"), crowded=False):
        assert said == ["waits"]
        assert second.cpus_held == 2
    assert second.cpus_held == 0
    with (
        pytest.raises(InfraError, match="no 50 of RAM"),
        admitted(Claim(50, 1), second, lambda: None, crowded=False),
    ):
        pytest.fail("it was let in")


def test_this_host_has_room_and_keeps_some() -> None:
    assert reserve() >= GIB // 2
    assert room_for_guests() <= most_for_guests()


def test_what_guests_have_taken_already_counts_as_theirs() -> None:
    before = room_for_guests()
    code = "import sys, time; x = bytearray(300 << 20); x[::4096] = b'x' * len(x[::4096]); print(1, flush=True)"
    with spawn(("python3", "-c", code + "; time.sleep(30)"), stdout=PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        # Without the correction this would be 300 MiB less; the rest of the host moves, too.
        assert room_for_guests() > before - 200 * MIB


def test_guests_are_first_in_line_and_builds_are_not() -> None:
    words = ("cat", "/proc/self/oom_score_adj")
    with last_to_die():
        assert int(run(words, deadline=Deadline(20), reaped=True).output) >= 0
        with spawn(words, stdout=PIPE, first_to_die=True) as guest:
            assert guest.stdout is not None
            assert guest.stdout.read() == b"1000\n"


def test_the_harness_is_last_in_line_where_it_may_and_leaves_it_again() -> None:
    score = Path("/proc/self/oom_score_adj")
    before = score.read_text()
    try:
        score.write_text("-500")
        least = -500
        score.write_text(before)
    except OSError:
        least = int(before)  # without CAP_SYS_RESOURCE, and nothing is said of it
    with last_to_die():
        assert int(score.read_text()) <= least
    assert score.read_text() == before
