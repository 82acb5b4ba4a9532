# SPDX-License-Identifier: GPL-2.0-only
"""The one who asks: gives boots to the workers of a Dask cluster, and brings what they left home.

Which worker makes a boot is Dask's choice. How often one was begun is counted here, by what the workers tell: Dask
starts a task of a lost worker again without a word.
"""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from distributed import Client, Future, KilledWorker
from distributed.core import Status

from harness.fleet import worker
from harness.fleet.brought import take_build
from harness.fleet.order import (
    CPUS,
    FACTS,
    KVM,
    PIECE,
    RAM,
    BootOrder,
    BuildOrder,
    Parcel,
    WorkerAnswer,
    WorkerFacts,
    own_facts,
)
from harness.fleet.shares import put
from harness.flow.admission import Claim
from harness.flow.boots import BootEnvironment, Stopped, write_places_here
from harness.flow.hosts import FromHost, SetAside, seen_here
from harness.kernel.build import build_id, find
from harness.kernel.make import compiler_version
from harness.model.build import Profile
from harness.model.cell import Cell
from harness.model.errors import BuildFailed, ConfigUnmet, InfraError, StoreDamaged, UserError
from harness.model.machine import Accel, Machine
from harness.model.progress import Progress
from harness.model.suite import Suite
from harness.model.tree import Tree
from harness.model.units import format_size
from harness.proc import Deadline
from harness.store.layout import Layout
from harness.store.pack import pack, unpack
from harness.store.scratch import scratch_directory
from harness.store.sealed import require_whole, take
from harness.store.source_seal import is_sealed

MOST_LOSSES = 2  # of one boot
_LOOK_SECONDS = 0.5
_AHEAD = 2  # boots that are given out for each guest that there is room for
_MOST_BOOTS = 1000
_SENDERS = 4
_BACK_SECONDS = 120.0  # for a scheduler that went away
_ANSWER_SECONDS = 120.0
_TOOL_SECONDS = 60.0


class _Lost(Exception):
    """A try came to nothing, by no word of the kernel's; the text says how."""


@dataclass
class _Trial:
    """A boot and what became of those who tried it. Changed by Dask's thread as their words come."""

    title: str  # the boot, or the build, as its worker says it first
    progress: Progress
    begun: dict[str, list[str]] = field(default_factory=dict)  # key -> the hosts, one after the other
    began: float = 0.0
    losses: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    changed: threading.Event = field(default_factory=threading.Event)

    def begins(self, key: str, host: str) -> None:
        hosts = self.begun.setdefault(key, [])
        if hosts:
            self.loses(f"the worker on {hosts[-1]} was lost while it made it")
        hosts.append(host)
        self.began = time.monotonic()

    def loses(self, how: str) -> None:
        self.losses.append(how)
        self.progress.step(f"  {how}")
        self.changed.set()

    @property
    def is_hopeless(self) -> bool:
        return len(self.losses) >= MOST_LOSSES


class Fleet:
    """Implements flow.hosts.Hosts. Made by `fleet` in clusters.py, which also ends it."""

    def __init__(self, client: Client, layout: Layout, progress: Progress, share: str = "", most: int = 0) -> None:
        self._client = client
        self._layout = layout
        self._progress = progress
        self._share = share
        self._limit = most or _MOST_BOOTS
        self._own = own_facts(layout)
        self._topic = f"harness-{secrets.token_hex(8)}"
        self._turn = itertools.count()
        self._lock = threading.Lock()
        self._trials: dict[str, _Trial] = {}
        self._sent: dict[str, Parcel] = {}
        self._packing: dict[str, threading.Lock] = {}
        self._senders = ThreadPoolExecutor(_SENDERS, thread_name_prefix="parcel")
        self._scratch = scratch_directory(layout)
        self._place = self._scratch.__enter__()
        self._mark = layout.locks / self._topic  # by which a worker knows that it has the same store
        self._mark.touch()
        self._listen()

    def close(self) -> None:
        """Nothing is sent any more; what was packed goes."""
        self._mark.unlink(missing_ok=True)
        self._senders.shutdown(wait=True, cancel_futures=True)
        self._scratch.__exit__(None, None, None)

    # What there is.

    def workers(self) -> dict[str, WorkerFacts]:
        """The workers that may work for this harness, by their addresses."""
        return {address: facts for address, facts, why in self._looked() if facts is not None and not why}

    def unfit(self) -> list[str]:
        """A sentence for each host that may not."""
        return list(
            dict.fromkeys(
                f"{facts.host if facts else address}: {why}" for address, facts, why in self._looked() if why
            )
        )

    def _looked(self) -> Iterator[tuple[str, WorkerFacts | None, str]]:
        for address, info in self._client.scheduler_info(n_workers=-1)["workers"].items():
            facts = WorkerFacts.read(info.get(FACTS))
            why = "it was not started with --preload harness.fleet.worker" if FACTS not in info else ""
            if not why:
                why = facts.unlike(self._own) if facts is not None else "its harness is another version"
            yield address, facts, why

    def _supplies(self) -> list[dict[str, float]]:
        fit = self.workers()
        found = self._client.scheduler_info(n_workers=-1)["workers"]
        return [info["resources"] for address, info in found.items() if address in fit]

    @property
    def most(self) -> int:
        found = self._client.scheduler_info(n_workers=-1)["workers"]
        guests = sum(int(found[address]["nthreads"]) for address in self.workers() if address in found)
        return max(1, min(self._limit, _AHEAD * guests))

    def check_machine(self, machine: Machine) -> None:
        most = max((one[RAM] for one in self._supplies()), default=0.0)
        if Claim.of(machine).ram > most:
            raise UserError(
                f"no host of the fleet can carry a guest with {format_size(machine.ram)} of RAM: the largest has "
                f"{int(most) >> 20}M for guests, and QEMU takes of that, too",
                hint="a smaller --ram, or another host",
            )

    def accel(self, asked: Accel) -> Accel:
        if asked is Accel.TCG:
            return Accel.TCG
        if any(one[KVM] for one in self._supplies()):
            return Accel.KVM
        if asked is Accel.KVM:
            raise UserError(
                "no host of the fleet has a KVM that works, but --accel kvm asks for it", hint="--accel tcg"
            )
        return Accel.TCG

    def build(self, tree: Tree, profile: Profile, progress: Progress) -> None:
        deadline = Deadline(_TOOL_SECONDS)
        if find(tree, profile, self._layout, deadline) is not None:
            return
        if not is_sealed(tree.path.parent):
            progress.step(f"{tree.path} is no source of the store, so the kernel is built here")
            return
        if not any(one.compiler_mark == self._own.compiler_mark for one in self.workers().values()):
            progress.step(f"no host of the fleet has {self._own.compiler}, so the kernel is built here")
            return
        identity = build_id(tree, profile, compiler_version(deadline))
        parcel = Parcel.of_tree(tree.path)
        self._offer((parcel,))
        trial = _Trial(f"a kernel {tree.version}, profile {profile.name}", progress)
        while True:
            key = f"harness-build-{identity[:16]}-{secrets.token_hex(8)}"
            order = BuildOrder(self._topic, key, identity, tree, profile, (parcel,), self._share)
            try:
                answer = self._answer(order, trial, None)
                if answer.size:
                    progress.step(f"the kernel comes from {answer.host}")
                    with self._fetched(answer) as file, scratch_directory(self._layout) as scratch:
                        take_build(file, answer.seal, tree, identity, self._layout, scratch)
                return
            except _Lost as lost:
                if str(lost):
                    trial.loses(str(lost))
            if trial.is_hopeless:
                raise InfraError(f"the kernel could not be built by the fleet: {'; '.join(trial.losses)}")

    # What is asked.

    def boots_of(self, cell: Cell, suites: Sequence[Suite], environment: BootEnvironment, number: int) -> FromHost:
        parcels = self._parcels(environment.sealed(suites))
        title = f"boot {number}: {cell.machine}: {', '.join(cell.suites)}"
        trial = _Trial(title, environment.progress)
        place = environment.directory / f"{number:03d}-{cell.id}"
        while True:
            order = self._order(cell, suites, environment, number, parcels)
            try:
                answer = self._answer(order, trial, environment)
                self._bring(answer, place)
                break
            except _Lost as lost:
                if str(lost):
                    trial.loses(str(lost))
            if trial.is_hopeless:
                raise SetAside("; ".join(trial.losses))
        for booted in answer.boots:
            write_places_here(place / booted.part.folder, suites, environment)
        boots = tuple(seen_here(cell, suites, environment, place, booted) for booted in answer.boots)
        again = [f"it was begun again on {answer.host}: {how}" for how in trial.losses]
        return FromHost(answer.host, boots, (*answer.notes, *again, *trial.notes))

    def _parcels(self, sealed: Sequence[Path]) -> tuple[Parcel, ...]:
        require_whole(sealed)
        found = tuple(map(Parcel.of, sealed))
        self._offer(found)
        return found

    def _offer(self, parcels: Sequence[Parcel]) -> None:
        """Workers may ask for these."""
        with self._lock:
            self._sent.update((one.id, one) for one in parcels)
        if self._share:
            for one in parcels:
                put(self._share, one.name, self._pack(one))

    def _order(
        self,
        cell: Cell,
        suites: Sequence[Suite],
        environment: BootEnvironment,
        number: int,
        parcels: tuple[Parcel, ...],
    ) -> BootOrder:
        other = environment.other
        if other is not None and other.place is None:
            raise UserError(
                f"the root {other.spec} is a directory of this host, and no other has it",
                hint="a root of the form tar:FILE or debian:SUITE goes to all hosts",
            )
        return BootOrder(
            topic=self._topic,
            key=f"harness-boot-{number}-{secrets.token_hex(8)}",
            number=number,
            cell=cell,
            suites=tuple(suites),
            kernel=environment.kernel,
            root=environment.root,
            other=other,
            parcels=parcels,
            share=self._share,
            keep_state=environment.keep_state,
            stop_at_first=environment.stop_at_first,
            stress=environment.stress,
        )

    def _needs(self, machine: Machine) -> dict[str, float]:
        claim = Claim.of(machine)
        most = max((one[CPUS] for one in self._supplies()), default=1.0)
        needs = {RAM: float(claim.ram), CPUS: min(float(claim.cpus), most), self._own.mark: 1.0}
        return {**needs, KVM: 1.0} if machine.accel is Accel.KVM else needs

    def _answer(
        self, order: BootOrder | BuildOrder, trial: _Trial, environment: BootEnvironment | None
    ) -> WorkerAnswer:
        """What a worker made of the order. _Lost where none did, Stopped when the command ends."""
        with self._heard(order.key, trial):
            future = self._submit(order)
            try:
                self._await(future, trial, environment)
                answer = self._result(future)
            finally:
                future.cancel()
        if answer.failure is None:
            return answer
        if answer.failure.kind == StoreDamaged.__name__:
            raise StoreDamaged(answer.failure.message, hint=answer.failure.hint)
        for kind in (UserError, ConfigUnmet, BuildFailed):
            if answer.failure.kind == kind.__name__:
                raise kind(f"{answer.host}: {answer.failure.message}", hint=answer.failure.hint)
        raise _Lost(f"{answer.host} could not make it: {answer.failure.message}")

    def _submit(self, order: BootOrder | BuildOrder) -> Future:
        if self._client.status != Status.running.name:
            self._reconnected()
        task: Callable[..., WorkerAnswer] = worker.make_boots
        if isinstance(order, BuildOrder):
            task, needs = worker.make_build, {self._own.compiler_mark: 1.0}
        else:
            needs = self._needs(order.cell.machine)
        return self._client.submit(
            task,
            order,
            key=order.key,
            resources=needs,
            priority=-next(self._turn),  # those that were asked for first
            retries=0,
            pure=False,
        )

    def _await(self, future: Future, trial: _Trial, environment: BootEnvironment | None) -> None:
        trial.changed.clear()
        future.add_done_callback(lambda _: trial.changed.set())
        while not future.done():
            trial.changed.wait(_LOOK_SECONDS)
            trial.changed.clear()
            if environment is not None and environment.stop is not None and environment.stop.is_set():
                raise Stopped
            if trial.is_hopeless:
                raise _Lost
        if future.cancelled():
            if trial.begun.get(future.key):
                trial.notes.append("the scheduler of the fleet was lost while it was made, and it was begun again")
            self._reconnected()
            raise _Lost

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
        self._listen()

    def _result(self, future: Future) -> WorkerAnswer:
        try:
            answer = future.result(timeout=_ANSWER_SECONDS)
        except KilledWorker as error:
            raise _Lost("its workers were lost, one after the other") from error
        except (OSError, TimeoutError, RuntimeError, ValueError, TypeError, AttributeError, ImportError) as error:
            raise _Lost(f"a worker could not make it: {type(error).__name__}: {error}") from error
        assert isinstance(answer, WorkerAnswer)
        return answer

    def _bring(self, answer: WorkerAnswer, place: Path) -> None:
        """The evidence, piece by piece from the worker's disk; believed if it is what the worker sealed."""
        with self._fetched(answer) as file, scratch_directory(self._layout) as scratch:
            into = scratch / "boot"
            into.mkdir()
            unpack(file, into)
            if take(into).id != answer.seal:
                raise _Lost(f"what came from {answer.host} is not what it sealed")
            into.rename(place)

    @contextmanager
    def _fetched(self, answer: WorkerAnswer) -> Iterator[Path]:
        """The file that a worker has ready, whole; when the block ends well the worker may forget it."""
        with scratch_directory(self._layout) as scratch:
            file = scratch / "fetched"
            with file.open("wb") as sink:
                sink.write(answer.first)
                while (offset := sink.tell()) < answer.size:
                    sink.write(self._piece(answer, offset))
            yield file
        if answer.token:
            self._client.run(
                worker.drop_evidence, answer.token, workers=[answer.address], on_error="ignore", wait=False
            )

    def _piece(self, answer: WorkerAnswer, offset: int) -> bytes:
        got = self._client.run(worker.read_piece, answer.token, offset, workers=[answer.address], on_error="ignore")
        piece = got.get(answer.address, b"")
        if not piece:
            raise _Lost(f"{answer.host} was lost before its evidence was fetched")
        return bytes(piece)

    # What is heard.

    def _listen(self) -> None:
        self._client.subscribe_topic(self._topic, self._hear)

    @contextmanager
    def _heard(self, key: str, trial: _Trial) -> Iterator[None]:
        with self._lock:
            self._trials[key] = trial
        try:
            yield
        finally:
            with self._lock:
                self._trials.pop(key, None)

    def _hear(self, event: tuple[float, dict[str, str]]) -> None:
        _, said = event
        with self._lock:
            trial = self._trials.get(said["key"])
            parcel = self._sent.get(said.get("parcel", ""))
        if said["kind"] == "wants" and parcel is not None:
            self._senders.submit(self._send, parcel, said["worker"])
        elif trial is not None and said["kind"] == "begun":
            trial.begins(said["key"], said["host"])
            trial.progress.step(f"{trial.title}, on {said['host']}")
        elif trial is not None and said["kind"] == "step" and said["text"] != trial.title:
            trial.progress.step(said["text"])
        elif trial is not None and said["kind"] == "advance":
            trial.progress.advance(int(said["done"]), int(said["total"]), said["unit"])

    def _send(self, parcel: Parcel, address: str) -> None:
        """To one worker, piece by piece; one that is gone, or has it by now, says nothing or no."""
        file = self._pack(parcel)
        size, offset = file.stat().st_size, 0
        with file.open("rb") as source:
            while piece := source.read(PIECE):
                last = offset + len(piece) == size
                got = self._client.run(
                    worker.take_piece, parcel.name, offset, piece, last, workers=[address], on_error="ignore"
                )
                if not got.get(address):
                    return
                offset += len(piece)

    def _pack(self, parcel: Parcel) -> Path:
        """Packed once, whoever wants it."""
        with self._lock:
            lock = self._packing.setdefault(parcel.id, threading.Lock())
        with lock:
            file = self._place / parcel.name
            if not file.exists():
                part = file.with_suffix(".part")
                pack(parcel.path, parcel.names(), part)
                part.rename(file)
        return file
