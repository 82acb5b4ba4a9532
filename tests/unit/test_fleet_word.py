# SPDX-License-Identifier: GPL-2.0-only
"""The word that a worker begins a boot: nothing is booted before who asked has heard it, whoever is lost then."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.fleet import worker
from harness.fleet.asking import Asker
from harness.fleet.clusters import fleet
from harness.fleet.fleet import Fleet
from harness.fleet.trial import NoAnswer, Trial
from harness.flow.boots import Stopped
from harness.flow.run import RunOptions, execute
from harness.model.errors import InfraError
from harness.model.outcome import Verdict
from harness.model.result import Report
from harness.store.layout import Layout
from tests.unit.stand_in.cells import Told, good, request
from tests.unit.stand_in.runs import Ground

pytestmark = pytest.mark.timeout(300)

LOST = "was lost while it made it"


@pytest.fixture
def ground(tmp_path: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Ground:
    return Ground(tmp_path, scratch_layout, monkeypatch)


def run_on(hosts: Fleet, ground: Ground) -> Report:
    report, _ = execute((request(),), ground.layout, ground.told, RunOptions(hosts=hosts))
    return report


def notes_of(report: Report) -> list[str]:
    return [note for run in report.runs for note in run.notes]


async def kill(asker: Asker, address: str) -> None:
    """The worker at that address."""
    process = await asker._client.run(os.getpid, workers=[address])
    os.kill(process[address], signal.SIGKILL)


def test_words_that_are_lost(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    with fleet("local:2", ground.layout, ground.told) as hosts:
        with monkeypatch.context() as patch:
            a_beginning_that_is_lost_with_its_worker_was_none(ground, hosts, patch)
        with monkeypatch.context() as patch:
            a_beginning_that_was_heard_is_said_also_when_no_guest_came_of_it(ground, hosts, patch)


def a_beginning_that_is_lost_with_its_worker_was_none(
    ground: Ground, hosts: Fleet, patch: pytest.MonkeyPatch
) -> None:
    """It was said twice, so the guest has had its time to start; and the one script there is is still there."""
    words: list[str] = []
    hear = Asker._hear

    def lose(self: Asker, event: tuple[float, dict[str, str]]) -> None:
        said = event[1]
        if said["kind"] != "begun" or (len(words) == 2 and said["token"] not in words):
            hear(self, event)
        elif len(words) < 2:
            words.append(said["token"])
            if len(words) == 2:
                self._client.loop.add_callback(kill, self, said["worker"])

    patch.setattr(Asker, "_hear", lose)
    ground.plays(good())
    report = run_on(hosts, ground)
    assert words[0] == words[1]
    assert (report.verdict, ground.stand_in.left) == (Verdict.GOOD, 0)
    assert notes_of(report) == []


def a_beginning_that_was_heard_is_said_also_when_no_guest_came_of_it(
    ground: Ground, hosts: Fleet, patch: pytest.MonkeyPatch
) -> None:
    """The worker is killed between the word and the answer to it."""
    acknowledge = Asker._acknowledge
    tokens: list[str] = []

    async def kill_first(self: Asker, token: str, address: str) -> None:
        if not tokens:
            tokens.append(token)
            await kill(self, address)
        elif token not in tokens:
            await acknowledge(self, token, address)

    patch.setattr(Asker, "_acknowledge", kill_first)
    ground.plays(good())
    report = run_on(hosts, ground)
    assert (report.verdict, ground.stand_in.left) == (Verdict.GOOD, 0)
    (note,) = notes_of(report)
    assert LOST in note


class Loop:
    """Keeps what it is to call."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def add_callback(self, call: Callable[..., object], *words: object) -> None:
        self.calls.append(words)


class Silent:
    """A client of Dask as far as an asker needs it to hear."""

    status = "running"

    def __init__(self) -> None:
        self.loop = Loop()

    def run_on_scheduler(self, *_: object) -> int:
        return 0

    def subscribe_topic(self, *_: object) -> None:
        pass


def heard(asker: Asker, token: str) -> None:
    said = {"kind": "begun", "key": "k", "host": "lab3", "worker": "tcp://lab3", "token": token}
    asker._hear((0.0, said))


def test_a_word_that_comes_again_is_one_beginning_and_answered_again() -> None:
    client, told = Silent(), Told()
    asker = Asker(cast("Any", client), told, dict)
    asker._trials["k"] = trial = Trial("boot 1: all", told)
    heard(asker, "1")
    heard(asker, "1")
    assert (len(trial.begun["k"]), trial.losses) == (1, [])
    assert client.loop.calls == [("1", "tcp://lab3")] * 2
    heard(asker, "2")
    assert trial.losses == [f"the worker on lab3 {LOST}"]


@pytest.mark.parametrize("begun", [False, True])
def test_of_an_order_that_went_with_its_scheduler_nothing_is_begun_any_more(begun: bool) -> None:
    """What was begun is said, and a word that is late gets no answer."""
    client, told = Silent(), Told()
    asker = Asker(cast("Any", client), told, dict)
    asker._trials["k"] = trial = Trial("boot 1: all", told)
    if begun:
        heard(asker, "1")
    with pytest.raises(NoAnswer):
        asker._result(cast("Any", SimpleNamespace(cancelled=lambda: True)), trial, "k")
    answers = len(client.loop.calls)
    heard(asker, "2")
    assert len(client.loop.calls) == answers == int(begun)
    assert len(trial.notes) == int(begun)


def desk_of(monkeypatch: pytest.MonkeyPatch, layout: Layout) -> tuple[worker._Desk, list[dict[str, str]]]:
    told: list[dict[str, str]] = []
    loop = SimpleNamespace(add_callback=lambda log, topic, said: log(topic, said))
    dask_worker = SimpleNamespace(address="tcp://x", loop=loop, log_event=lambda _, said: told.append(said))
    station = worker.Station(layout)
    monkeypatch.setattr(worker, "thread_state", SimpleNamespace(key="k"))
    monkeypatch.setattr(worker, "station", lambda: station)
    monkeypatch.setattr(worker, "_WORD_SECONDS", 0.01)
    return worker._Desk(cast("Any", dask_worker), cast("Any", SimpleNamespace(key="k", topic="t"))), told


def test_a_worker_says_it_until_it_is_known(scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    desk, told = desk_of(monkeypatch, scratch_layout)

    def tell(kind: str, **more: str) -> None:
        told.append(more)
        worker.know("another's")
        if len(told) == 3:
            worker.know(more["token"])

    monkeypatch.setattr(desk, "tell", tell)
    desk.begin()
    assert len(told) == 3
    assert len({one["token"] for one in told}) == 1


def test_a_worker_begins_nothing_of_which_nobody_knows(
    scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, told = desk_of(monkeypatch, scratch_layout)
    monkeypatch.setattr(worker, "_KNOWN_SECONDS", 0.05)
    with pytest.raises(InfraError, match="does not say that it knows"):
        desk.begin()
    assert told
    desk.stop.set()
    with pytest.raises(Stopped):
        desk.begin()
