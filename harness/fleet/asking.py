# SPDX-License-Identifier: GPL-2.0-only
"""Orders go out, and answers come back: to whom first, how many, and what is done about those that are lost or slow.

How often an order was begun is counted here: Dask starts a task of a lost worker again without a word. So a worker
says that it begins, and does nothing before this side has heard it.
"""

from __future__ import annotations

import getpass
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import median

import dask
from distributed import Client, Future, KilledWorker, Semaphore
from distributed.core import Status

from harness.fleet import worker
from harness.fleet.order import Order, WorkerAnswer, WorkerFacts
from harness.fleet.pulse import SILENT
from harness.fleet.trial import Beginning, NoAnswer, Trial
from harness.flow.boots import Stopped
from harness.model.errors import BuildFailed, ConfigUnmet, HarnessError, InfraError, StoreDamaged, UserError
from harness.model.progress import FleetProgress, HostDoing
from harness.model.units import format_seconds
from harness.proc import Deadline

PER_USER = "ttm-harness.boots-per-user"  # in the Dask configuration of the scheduler
STRAGGLES = 2.0  # times what boots like it take
LEAST_SECONDS = 30.0  # that a straggler has taken
_LAST = -1_000_000  # the priority of what is begun once more: nobody waits for it
_LOOK_SECONDS = 0.5
_BACK_SECONDS = 120.0  # for a scheduler that went away
_ANSWER_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Asked:
    """An order, and what Dask is told of it. Orders of the same `alike` take about as long as each other; what has
    none is never begun a second time for being slow.
    """

    order: Order
    task: Callable[..., WorkerAnswer]
    needs: Mapping[str, float]
    alike: str = ""


class Asker:
    """Used by many threads, one an order."""

    def __init__(self, client: Client, progress: FleetProgress, fit: Callable[[], Mapping[str, WorkerFacts]]) -> None:
        self._client = client
        self._progress = progress
        self._fit = fit
        self.topic = f"harness-{secrets.token_hex(8)}"
        self.wants: Callable[[str, str], None] = lambda _parcel, _worker: None
        self._lock = threading.Lock()
        self._trials: dict[str, Trial] = {}
        self._waiting: dict[str, int] = {}  # key -> rank, of what has not begun
        self._took: dict[str, list[float]] = {}  # alike -> seconds
        self._ended: dict[str, int] = {}  # host -> answers
        self.per_user = int(client.run_on_scheduler(dask.config.get, PER_USER, 0))
        self._leases = self._fresh_leases()
        self._listen()

    def answer(self, asked: Asked, trial: Trial, stop: threading.Event | None) -> WorkerAnswer:
        """What a worker made of the order. NoAnswer where none did, Stopped when the command ends."""
        tries: dict[str, Future] = {}
        with self._allowed(trial, stop):
            try:
                self._begin(asked, trial, tries)
                answer = self._first(asked, trial, tries, stop)
            finally:
                self._end(tries)
                with self._lock:
                    for key in (asked.order.key, _again(asked.order.key)):
                        self._trials.pop(key, None)
                        self._waiting.pop(key, None)
                self._show()
        with self._lock:
            self._ended[answer.host] = self._ended.get(answer.host, 0) + 1
        self._show()
        return answer

    def knows(self, hosts: Iterator[str]) -> None:
        """These are there, and have done nothing yet."""
        with self._lock:
            for host in hosts:
                self._ended.setdefault(host, 0)

    # An order and its tries.

    def _begin(self, asked: Asked, trial: Trial, tries: dict[str, Future], workers: list[str] | None = None) -> None:
        if self._client.status != Status.running.name:
            self._reconnected()
        key = asked.order.key
        trial.changed.clear()
        with self._lock:
            self._trials[key] = trial
            # Nobody overtakes those of the same command; the first of each user comes before the second of any.
            rank = max((len(self._trials), *self._waiting.values()))
            if workers is None:
                self._waiting[key] = rank
        self._listen()  # a scheduler that came back unnoticed knows nothing of us
        future = self._client.submit(
            asked.task,
            asked.order,
            key=key,
            resources=dict(asked.needs),
            priority=_LAST if workers else -rank,
            workers=workers,
            retries=0,
            pure=False,
        )
        tries[key] = future
        future.add_done_callback(lambda _: trial.changed.set())

    def _first(
        self, asked: Asked, trial: Trial, tries: dict[str, Future], stop: threading.Event | None
    ) -> WorkerAnswer:
        """The first answer; that of a guest of which there is more doubt is waited for, and counts before it."""
        best: WorkerAnswer | None = None
        counts = ""  # whose the best is
        while tries:
            trial.changed.wait(_LOOK_SECONDS)
            trial.changed.clear()
            if stop is not None and stop.is_set():
                raise Stopped
            for key in [one for one, future in tries.items() if future.done()]:
                answer = self._taken(asked, trial, key, tries, alone=best is None)
                if answer is not None and (best is None or _doubt(trial, key) > _doubt(trial, counts)):
                    answer, best, counts = best, answer, key
                if answer is not None and answer.token:
                    self.drop(answer)
            if best is not None and all(_doubt(trial, key) <= _doubt(trial, counts) for key in tries):
                break
            if best is None and trial.is_hopeless:
                raise NoAnswer
            if best is None and (why := self._straggles(asked, trial, tries)):
                self._begin_again(asked, trial, tries, why)
        assert best is not None
        self._note(trial, asked.order.key, best, ended=bool(tries))
        return best

    def _taken(
        self, asked: Asked, trial: Trial, key: str, tries: dict[str, Future], *, alone: bool
    ) -> WorkerAnswer | None:
        """The answer of a try that has ended; None when it came to nothing and another did, or may, come to more."""
        future = tries.pop(key)
        try:
            answer = _whole(self._result(future, trial, key))
        except (NoAnswer, HarnessError) as error:
            if alone and not tries:
                raise
            if how := error.message if isinstance(error, HarnessError) else str(error):
                trial.loses(how)
            return None
        began = trial.last(key)
        if asked.alike and began is not None:
            with self._lock:
                self._took.setdefault(asked.alike, []).append(time.monotonic() - began.at)
        return answer

    def _result(self, future: Future, trial: Trial, key: str) -> WorkerAnswer:
        if future.cancelled():
            with self._lock:
                self._trials.pop(key, None)  # nobody begins it from now on
                begun = key in trial.begun
            if begun:
                trial.notes.append("the scheduler of the fleet was lost while it was made, and it was begun again")
                trial.progress.step("  the scheduler of the fleet was lost while it was made")
            self._reconnected()
            raise NoAnswer
        try:
            answer = future.result(timeout=_ANSWER_SECONDS)
        except KilledWorker as error:
            raise NoAnswer("its workers were lost, one after the other") from error
        except (OSError, TimeoutError, RuntimeError, ValueError, TypeError, AttributeError, ImportError) as error:
            raise NoAnswer(f"a worker could not make it: {type(error).__name__}: {error}") from error
        assert isinstance(answer, WorkerAnswer)
        return answer

    def _end(self, tries: Mapping[str, Future]) -> None:
        """Guests of those that are still at it end (worker.py); evidence that nobody wants is dropped."""
        for future in tries.values():
            if future.done() and not future.cancelled() and future.status == "finished":
                answer = future.result(timeout=_ANSWER_SECONDS)
                if answer.token:
                    self.drop(answer)
            future.cancel()

    def drop(self, answer: WorkerAnswer) -> None:
        """The evidence that a worker has ready was fetched, or nobody wants it."""
        self._client.run(worker.drop_evidence, answer.token, workers=[answer.address], on_error="ignore", wait=False)

    # Stragglers.

    def _straggles(self, asked: Asked, trial: Trial, tries: Mapping[str, Future]) -> str:
        """Why the one try is to have another beside it; empty where it is not: it is in its time, or nobody knows
        what that is, or there is doubt of its guest; others wait for a place; or there is no other worker.
        """
        began = trial.last(asked.order.key)
        if began is None or list(tries) != [asked.order.key] or trial.doubts.get(asked.order.key):
            return ""
        with self._lock:
            took, waiting = list(self._took.get(asked.alike, ())), bool(self._waiting)
        if waiting or not asked.alike or not took:
            return ""
        usual, seconds = median(took), time.monotonic() - began.at
        if seconds <= max(LEAST_SECONDS, STRAGGLES * usual) or _again(asked.order.key) in trial.begun:
            return ""
        return f"after {format_seconds(seconds)} on {began.host}, where boots like it take {format_seconds(usual)}"

    def _begin_again(self, asked: Asked, trial: Trial, tries: dict[str, Future], why: str) -> None:
        began = trial.last(asked.order.key)
        assert began is not None
        if workers := self._elsewhere(began):
            again = replace(asked, order=replace(asked.order, key=_again(asked.order.key)))
            trial.why_again = why
            trial.progress.step(f"  {why}: others are asked for it, too")
            self._begin(again, trial, tries, workers)

    def _elsewhere(self, began: Beginning) -> list[str]:
        """The workers on other hosts; where there are none, the others on the same."""
        others = {address: facts.host for address, facts in self._fit().items() if address != began.address}
        return [address for address, host in others.items() if host != began.host] or list(others)

    def _note(self, trial: Trial, key: str, answer: WorkerAnswer, *, ended: bool) -> None:
        again = trial.last(_again(key))
        if again is None:
            return
        which = "second" if answer.address == again.address else "first"
        doubt = f", as {trial.doubts[key]}" if which == "first" and trial.doubts.get(key) else ""
        trial.notes.append(
            f"{trial.why_again}, it was begun on {again.host}, too: the answer of the {which} counts{doubt}"
            f"{', and the other was ended' if ended else ''}"
        )

    # The scheduler.

    def _fresh_leases(self) -> Semaphore | None:
        if not self.per_user:
            return None
        name = f"ttm-harness {getpass.getuser()}"
        return Semaphore(self.per_user, name, scheduler_rpc=self._client.scheduler, loop=self._client.loop)

    @contextmanager
    def _allowed(self, trial: Trial, stop: threading.Event | None) -> Iterator[None]:
        """As one of the boots that a user may have at a time, all commands together."""
        if self._leases is None:
            yield
            return
        said = False
        while not self._leased():
            if stop is not None and stop.is_set():
                raise Stopped
            if not said:
                trial.progress.step(f"{trial.name} waits: {self.per_user} boots of a user are the most here")
                said = True
        leases = self._leases
        try:
            yield
        finally:
            try:
                leases.release()
            except (OSError, RuntimeError):
                pass  # it went with its scheduler

    def _leased(self) -> bool:
        assert self._leases is not None
        try:
            return bool(self._leases.acquire(timeout=_LOOK_SECONDS))
        except (OSError, RuntimeError, KeyError):
            self._reconnected()
            return False

    def _reconnected(self) -> None:
        """Waits for a scheduler that went away; what it had was lost with it, and is asked for again."""
        deadline = Deadline(_BACK_SECONDS)
        while self._client.status != Status.running.name:
            if deadline.passed or self._client.status == "closed":
                raise InfraError(
                    "the scheduler of the fleet went away and did not come back",
                    hint="what has ended is kept: ttm-harness run --resume goes on with it, from any host",
                )
            time.sleep(_LOOK_SECONDS)
        self._leases = self._fresh_leases()
        self._listen()

    # What is heard, and shown.

    def _listen(self) -> None:
        self._client.subscribe_topic(self.topic, self._hear)

    def _hear(self, event: tuple[float, dict[str, str]]) -> None:
        _, said = event
        kind = said["kind"]
        if kind == "wants":
            self.wants(said["parcel"], said["worker"])
            return
        with self._lock:
            trial = self._trials.get(said["key"])
            if trial is not None and kind == "begun":
                self._waiting.pop(said["key"], None)
                trial.begins(said["key"], said["host"], said["worker"], said["token"])
        if trial is None:
            return
        if kind == "begun":
            self._client.loop.add_callback(self._acknowledge, said["token"], said["worker"])
            self._show()
        elif kind == "doubt":
            trial.doubts[said["key"]] = said["text"]
            trial.changed.set()
        elif kind == "step" and said["text"] != trial.title:
            trial.progress.step(said["text"])
        elif kind == "advance":
            trial.progress.advance(int(said["done"]), int(said["total"]), said["unit"])

    async def _acknowledge(self, token: str, address: str) -> None:
        """That the beginning is known; what does not arrive is asked for again."""
        try:
            await self._client.run(worker.know, token, workers=[address], on_error="ignore")
        except (OSError, RuntimeError):
            pass  # the scheduler has gone

    def _show(self) -> None:
        """What each host does now."""
        with self._lock:
            works: dict[str, list[str]] = {host: [] for host in self._ended}
            for key, trial in self._trials.items():
                if (began := trial.last(key)) is not None:
                    works.setdefault(began.host, []).append(trial.name)
            doing = [HostDoing(host, tuple(names), self._ended.get(host, 0)) for host, names in works.items()]
        self._progress.hosts(doing)


def _doubt(trial: Trial, key: str) -> int:
    """How much there is of a guest: words that may be a finding count for more than silence."""
    text = trial.doubts.get(key, "")
    return 0 if not text else 1 if text == SILENT else 2


def _again(key: str) -> str:
    """The key of an order that is begun once more beside itself."""
    return f"{key}-again"


def _whole(answer: WorkerAnswer) -> WorkerAnswer:
    """NoAnswer, or the error that a command ends with, for a failure."""
    failure = answer.failure
    if failure is None:
        return answer
    if failure.kind == StoreDamaged.__name__:
        raise StoreDamaged(failure.message, hint=failure.hint)
    for kind in (UserError, ConfigUnmet, BuildFailed):
        if failure.kind == kind.__name__:
            raise kind(f"{answer.host}: {failure.message}", hint=failure.hint)
    raise NoAnswer(f"{answer.host} could not make it: {failure.message}")
