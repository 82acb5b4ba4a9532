# SPDX-License-Identifier: GPL-2.0-only
"""Boots side by side on this host, as far as tokens go, in their order; one thread follows each guest."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass

from harness.flow.admission import VCPUS_PER_CORE, Claim, Tokens, check_machine
from harness.flow.resources import cores, room_for_guests
from harness.model.errors import InfraError
from harness.model.machine import Machine
from harness.model.progress import Progress
from harness.model.units import format_size
from harness.proc import Deadline
from harness.store.claims import Claims
from harness.store.layout import Layout

LOOK_SECONDS = 0.5
NO_ROOM_SECONDS = 900.0
WAITS = "waiting for the host to have room for the next guest"
# How many times slower a guest may get, as others may start beside it.
CROWD = max(1.0, VCPUS_PER_CORE)


@dataclass(frozen=True, slots=True)
class Task:
    """A piece of work and what it takes from the host."""

    claim: Claim
    work: Callable[[], None]


def side_by_side(
    tasks: Sequence[Task], tokens: Tokens, most: int, stop: threading.Event, waiting_for_room: Callable[[], None]
) -> None:
    """Runs every task, at most `most` at a time, the next one when its claim is admitted.

    Nobody overtakes: base and tip stay beside each other in time, and a large guest does not wait for ever. When one
    fails, or on Ctrl-C, `stop` is set, the others are waited for, and the exception goes on. After a quarter of an
    hour without room for any, the cores that other processes' guests have are shared; InfraError when it is the RAM.
    """
    queue = deque(tasks)
    running: dict[Future[None], Claim] = {}
    patience: Deadline | None = None
    with ThreadPoolExecutor(max_workers=most, thread_name_prefix="boot") as pool:
        try:
            while queue or running:
                while queue and len(running) < most and tokens.admit(queue[0].claim):
                    task = queue.popleft()
                    running[pool.submit(task.work)] = task.claim
                    patience = None
                if not running:
                    if patience is None:
                        patience = Deadline(NO_ROOM_SECONDS)
                        waiting_for_room()
                    if patience.passed and tokens.admit(queue[0].claim, crowded=True):
                        task = queue.popleft()
                        running[pool.submit(task.work)] = task.claim
                        patience = None
                        continue
                    _check_patience(patience, queue[0].claim)
                    stop.wait(LOOK_SECONDS)
                    continue
                # Also when nobody ends: what the rest of the host does makes room, too.
                done, _ = wait(running, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    tokens.give_back(running.pop(future))
                    future.result()
        except BaseException:
            stop.set()
            raise


@contextmanager
def admitted(claim: Claim, tokens: Tokens, waiting_for_room: Callable[[], None], *, crowded: bool) -> Iterator[None]:
    """Holds the claim for the block, once it is admitted; who waits, waits as in `side_by_side`."""
    patience = Deadline(NO_ROOM_SECONDS)
    if not tokens.admit(claim, crowded=crowded):
        waiting_for_room()
        while not tokens.admit(claim, crowded=crowded or patience.passed):
            _check_patience(patience, claim)
            time.sleep(LOOK_SECONDS)
    try:
        yield
    finally:
        tokens.give_back(claim)


@contextmanager
def room_for(machine: Machine, layout: Layout, progress: Progress, *, crowded: bool = False) -> Iterator[None]:
    """What a guest with that machine takes of this host is its own for the block, among the guests of all processes
    that use the store. UserError where the host could never carry it; who waits, says so.

    With `crowded` it does not wait for cores: who has a guest already would wait for itself.
    """
    check_machine(machine)
    tokens = Tokens(room_for_guests, max(1, int(cores() * VCPUS_PER_CORE)), Claims(layout))

    def wait_for_room() -> None:
        progress.step(WAITS)

    with admitted(Claim.of(machine), tokens, wait_for_room, crowded=crowded):
        yield


def _check_patience(patience: Deadline, claim: Claim) -> None:
    """InfraError when time is up."""
    if patience.passed:
        raise InfraError(
            f"this host had no {format_size(claim.ram)} of RAM to give to a guest for {patience.seconds:.0f} s",
            hint="end what takes the memory, or have fewer guests side by side; a run goes on with --resume",
        )
