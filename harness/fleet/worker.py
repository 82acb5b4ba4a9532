# SPDX-License-Identifier: GPL-2.0-only
"""What runs in a worker of Dask: it says at its start what its host can do, makes boots, hands out what they left.

    dask worker --preload harness.fleet.worker ...

Guests end with the order that asked for them, and with the worker, whatever ends that.
"""

from __future__ import annotations

import functools
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from distributed import Worker, get_worker
from distributed.worker import thread_state

from harness.fleet.brought import TREE, holds, open_parcel, pack_build
from harness.fleet.order import (
    CPUS,
    DEVICE,
    FACTS,
    KVM,
    PIECE,
    PLENTY,
    RAM,
    BootOrder,
    BuildOrder,
    Failure,
    GateOrder,
    Order,
    Parcel,
    WorkerAnswer,
    own_facts,
)
from harness.fleet.pulse import Pulse
from harness.fleet.shares import fetch
from harness.flow.admission import VCPUS_PER_CORE, Claim, Tokens
from harness.flow.boots import BootEnvironment, Stopped, boots_of
from harness.flow.devices import devices_lent
from harness.flow.gate import gate_series
from harness.flow.hosts import Booted
from harness.flow.resources import cores, most_for_guests, room_for_guests
from harness.flow.schedule import admitted
from harness.kernel.build import obtain
from harness.model.errors import HarnessError, InfraError, StoreDamaged
from harness.model.machine import Machine
from harness.proc import Deadline
from harness.store.claims import Claims
from harness.store.files import locked, mark_used
from harness.store.layout import Layout
from harness.store.pack import pack
from harness.store.scratch import scratch_directory
from harness.store.sealed import OTHER, damage, set_aside, take

_LOOK_SECONDS = 0.25
_WORD_SECONDS = 2.0  # from a word that is not answered to the next
_KNOWN_SECONDS = 180.0  # that who asked has to answer it
_PROFILING = ("profile", "profile-cycle")  # Dask's, of tasks: a hundred samples a second as long as a guest lives
_PARCEL_SECONDS = 1800.0
_BUILD_SECONDS = 4 * 3600.0
_ADVANCE_SECONDS = 1.0
_SILENCE_SECONDS = 300.0  # between two pieces of a parcel
_KEPT_SECONDS = 3600.0  # evidence that nobody asks for


@dataclass
class _Kept:
    """Packed evidence that waits to be fetched; its directory is held as long."""

    file: Path
    hold: ExitStack
    touched: float


@dataclass
class _Arriving:
    """A parcel on its way from the one who asks."""

    file: Path
    last: float = field(default_factory=time.monotonic)
    whole: threading.Event = field(default_factory=threading.Event)


class Station:
    """What this process has at hand; one a process."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}
        self._arriving: dict[str, _Arriving] = {}
        self._unknown: dict[str, threading.Event] = {}

    def keep(self, file: Path, hold: ExitStack) -> str:
        """The token under which the file can be read until somebody drops it, or nobody has asked for it for long."""
        token, now = secrets.token_hex(8), time.monotonic()
        with self._lock:
            old = [name for name, one in self._kept.items() if now - one.touched > _KEPT_SECONDS]
            self._kept[token] = _Kept(file, hold, now)
        for name in old:
            self.drop(name)
        return token

    def read(self, token: str, offset: int) -> bytes:
        with self._lock:
            kept = self._kept[token]
            kept.touched = time.monotonic()
        with kept.file.open("rb") as file:
            file.seek(offset)
            return file.read(PIECE)

    def drop(self, token: str) -> None:
        with self._lock:
            kept = self._kept.pop(token, None)
        if kept is not None:
            kept.hold.close()

    def take_piece(self, name: str, offset: int, data: bytes, last: bool) -> bool:
        """Whether the piece was wanted: it comes after those that are there."""
        with self._lock:
            arriving = self._arriving.get(name)
        if arriving is None or arriving.whole.is_set():
            return False
        with arriving.file.open("ab") as file:
            if file.tell() != offset:
                return False
            file.write(data)
        arriving.last = time.monotonic()
        if last:
            arriving.whole.set()
        return True

    @contextmanager
    def arriving(self, parcel: Parcel, file: Path) -> Iterator[_Arriving]:
        """Pieces of the parcel go to the file meanwhile."""
        file.touch()
        with self._lock:
            mine = self._arriving[parcel.name] = _Arriving(file)
        try:
            yield mine
        finally:
            with self._lock:
                self._arriving.pop(parcel.name, None)

    @contextmanager
    def beginning(self, token: str) -> Iterator[threading.Event]:
        """It is set as soon as who asked knows of the beginning of that token."""
        known = threading.Event()
        with self._lock:
            self._unknown[token] = known
        try:
            yield known
        finally:
            with self._lock:
                self._unknown.pop(token, None)

    def know(self, token: str) -> None:
        """Who asked knows of that beginning; one that is over, or another process's, does not matter."""
        with self._lock:
            known = self._unknown.get(token)
        if known is not None:
            known.set()


@functools.cache
def station() -> Station:
    """That of this process."""
    return Station(Layout.from_environment())


def dask_setup(worker: Worker) -> None:
    """Dask calls it before the worker registers: from then on it is known what the host can do, and that it may be
    given work of a harness that is like its own. What a task does is not sampled: it waits for its guest.
    """
    for name in _PROFILING:
        if (callback := worker.periodic_callbacks.pop(name, None)) is not None:
            callback.stop()
    facts = own_facts(station().layout)
    worker.startup_information[FACTS] = lambda _: facts.plain
    supplies = {
        RAM: float(max(0, most_for_guests())),
        CPUS: float(max(1, int(cores() * VCPUS_PER_CORE))),
        KVM: PLENTY if facts.kvm else 0.0,
        facts.mark: PLENTY,
        facts.compiler_mark: PLENTY,
        facts.gate_mark: PLENTY,
        **{f"{DEVICE}{one}": float(facts.devices.count(one)) for one in facts.devices},
    }
    state = worker.state
    for name, much in supplies.items():
        if name not in state.total_resources:  # the user may have said less
            state.total_resources[name] = state.available_resources[name] = much


def read_piece(token: str, offset: int) -> bytes:
    """Of the evidence of a boot; KeyError when it is not there any more."""
    return station().read(token, offset)


async def drop_evidence(token: str) -> None:
    """It was fetched, or nobody wants it. Dask only runs what is asynchronous without being waited for."""
    station().drop(token)


def take_piece(name: str, offset: int, data: bytes, last: bool) -> bool:
    """A piece of a parcel; False: it is not wanted."""
    return station().take_piece(name, offset, data, last)


def know(token: str) -> None:
    """Who asked knows that an order was begun here."""
    station().know(token)


def make_boots(order: BootOrder) -> WorkerAnswer:
    """The task of Dask: the cell's boots, on this host."""
    return _task(order, _made)


def make_build(order: BuildOrder) -> WorkerAnswer:
    """The task of Dask: a kernel and its objects. Where who asks has the same store, nothing is sent."""
    return _task(order, _built)


def make_gate(order: GateOrder) -> WorkerAnswer:
    """The task of Dask: what the gate says of a series."""
    return _task(order, _gated)


_Order = TypeVar("_Order", BootOrder, BuildOrder, GateOrder)


def _task(order: _Order, work: Callable[[_Order, _Desk], WorkerAnswer]) -> WorkerAnswer:
    """Does the work as long as somebody waits for it. It raises nothing that a harness knows of."""
    desk = _Desk(get_worker(), order)
    with desk.watched():
        try:
            desk.begin()
            return work(order, desk)
        except Stopped:
            return desk.failed(InfraError("it was called off"))
        except HarnessError as error:
            return desk.failed(error)


class _Desk:
    """An order as this worker sees it: whether it still stands, and the way to tell who gave it."""

    def __init__(self, worker: Worker, order: Order) -> None:
        self._worker = worker
        self._order = order
        self._key = thread_state.key
        self._over = threading.Event()
        self._advanced = 0.0
        self._doubt = ""
        self._pulse: Pulse | None = None
        self.stop = threading.Event()

    def tell(self, kind: str, **more: str) -> None:
        said = {"kind": kind, "key": self._order.key, "worker": self._worker.address, **more}
        self._worker.loop.add_callback(self._worker.log_event, self._order.topic, said)

    def begin(self) -> None:
        """Returns when who asked knows that the order is begun here: what is done from then on is not done again
        without being said, whoever is lost. The word can be lost with the scheduler, so it is said until then.
        """
        token, deadline = secrets.token_hex(8), Deadline(_KNOWN_SECONDS)
        with station().beginning(token) as known:
            while not known.is_set():
                if deadline.passed:
                    raise InfraError("who asked does not say that it knows of the beginning")
                self.tell("begun", host=self.host, token=token)
                known.wait(_WORD_SECONDS)
                if self.stop.is_set():
                    raise Stopped

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Sets `stop` as soon as nobody waits for the answer: Dask does not end a task that runs."""
        threading.Thread(target=self._watch, daemon=True).start()
        try:
            yield
        finally:
            self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            state = self._worker.state.tasks.get(self._key)
            if state is None or state.state == "cancelled":
                self.stop.set()
                return
            self._feel()

    @contextmanager
    def following(self, directory: Path) -> Iterator[None]:
        """Tells whether there is doubt of the guests that speak below it; at their end, too, since their answer is
        weighed by that.
        """
        self._pulse = Pulse(directory)
        try:
            yield
        finally:
            self._feel()
            self._pulse = None

    def _feel(self) -> None:
        pulse = self._pulse
        if pulse is not None and (doubt := pulse.doubt()) != self._doubt:
            self._doubt = doubt
            self.tell("doubt", text=doubt)

    def failed(self, error: HarnessError) -> WorkerAnswer:
        return WorkerAnswer(self.host, self._worker.address, failure=Failure.of(error))

    @property
    def host(self) -> str:
        return own_facts(station().layout).host

    @property
    def address(self) -> str:
        return str(self._worker.address)

    # As a Progress; it ends a build that nobody waits for any more.
    def step(self, text: str) -> None:
        if self.stop.is_set():
            raise Stopped
        self.tell("step", text=text)

    def advance(self, done: int, total: int, unit: str) -> None:
        if self.stop.is_set():
            raise Stopped
        if time.monotonic() - self._advanced > _ADVANCE_SECONDS:
            self._advanced = time.monotonic()
            self.tell("advance", done=f"{done}", total=f"{total}", unit=unit)


def _built(order: BuildOrder, desk: _Desk) -> WorkerAnswer:
    layout = station().layout
    path = _obtained(order.parcels[0], order, desk)
    tree = replace(order.tree, path=path)
    build = obtain(tree, order.profile, layout, Deadline(_BUILD_SECONDS), desk)
    if build.id != order.identity:
        raise InfraError(f"it would be another build here, {build.id[:16]}: the tools of this host are others")
    if (layout.locks / order.topic).exists():  # which lies in the store of the one who asks
        return WorkerAnswer(desk.host, desk.address)
    with ExitStack() as hold:
        packed = hold.enter_context(scratch_directory(layout)) / "build"
        sealed = pack_build(build, layout, packed)
        return _handed_out(packed, hold, WorkerAnswer(desk.host, desk.address, seal=sealed))


def _gated(order: GateOrder, desk: _Desk) -> WorkerAnswer:
    base = replace(order.job.base, path=_obtained(order.parcels[0], order, desk))
    gate = gate_series(replace(order.job, base=base, jobs=None), station().layout, desk)
    return WorkerAnswer(desk.host, desk.address, gate=gate)


def _handed_out(packed: Path, hold: ExitStack, answer: WorkerAnswer) -> WorkerAnswer:
    """The answer with the beginning of the file, and a token for the rest of it, if there is one."""
    size = packed.stat().st_size
    with packed.open("rb") as file:
        first = file.read(PIECE)
    token = station().keep(packed, hold.pop_all()) if size > len(first) else ""
    return replace(answer, size=size, first=first, token=token)


def _made(order: BootOrder, desk: _Desk) -> WorkerAnswer:
    places = {parcel.path: _obtained(parcel, order, desk) for parcel in order.parcels}
    try:
        return _booted(order, places, desk)
    except StoreDamaged:
        own = [path for path in places.values() if station().layout.parcels in path.parents]
        bad = [path for path in own if damage(path)]
        if not bad:
            raise
    for path in bad:
        set_aside(path, station().layout)
    places = {parcel.path: _obtained(parcel, order, desk) for parcel in order.parcels}
    return _booted(order, places, desk)


def _booted(order: BootOrder, places: Mapping[Path, Path], desk: _Desk) -> WorkerAnswer:
    layout, here = station().layout, order.at(places)
    tokens = Tokens(room_for_guests, max(1, int(cores() * VCPUS_PER_CORE)), Claims(layout))
    with ExitStack() as stack:
        stack.enter_context(
            admitted(Claim.of(here.cell.machine), tokens, lambda: desk.step("waits for room"), crowded=False)
        )
        if desk.stop.is_set():
            raise Stopped
        device = stack.enter_context(_lent(here.cell.machine, desk))
        hold = stack.enter_context(ExitStack())
        directory = hold.enter_context(scratch_directory(layout))
        environment = BootEnvironment(
            kernel=here.kernel,
            root=here.root,
            directory=directory,
            progress=desk,
            module_tree=here.module_tree,
            stop_at_first=here.stop_at_first,
            stop=desk.stop,
            other=here.other,
            keep_state=here.keep_state,
            crowd=max(1.0, VCPUS_PER_CORE),
            stress=here.stress,
            device=device,
        )
        with desk.following(directory):
            seen, notes = boots_of(here.cell, here.suites, environment, here.number)
        boots = tuple(Booted(one.part, one.boot, one.troubles) for one in seen)
        place = directory / f"{here.number:03d}-{here.cell.id}"
        sealed = take(place)
        rows = [row for row in sealed.rows if row.kind != OTHER]  # a pipe or a device that a guest made says nothing
        identity = type(sealed)(tuple(rows), sealed.whole, sealed.checked).id
        packed = directory / "evidence"
        pack(place, [row.path for row in rows], packed)
        answer = WorkerAnswer(desk.host, desk.address, boots, tuple(notes), identity, device=device)
        return _handed_out(packed, hold, answer)


@contextmanager
def _lent(machine: Machine, desk: _Desk) -> Iterator[str]:
    """One of the kind that the machine asks for, with its address; empty where it asks for none. Who waits for one
    that Dask counts as free waits as for room: others of this host have it.
    """
    said = False

    def wait(kind: str) -> None:
        nonlocal said
        if not said:
            desk.step(f"waits for {kind}")
            said = True
        if desk.stop.wait(_LOOK_SECONDS):
            raise Stopped

    with devices_lent((machine,), station().layout, desk, set_aside=True, all_lent=wait) as found:
        yield found.get(machine.device, "")


def _obtained(parcel: Parcel, order: Order, desk: _Desk) -> Path:
    """Where this host has the parcel: at the same place, where it shares that with who asks; or fetched, once."""
    layout = station().layout
    final = layout.parcels / parcel.id[:32]
    inside = final / TREE if parcel.tree else final
    for path in (parcel.path, inside):
        if holds(path, parcel):
            if path is inside:
                mark_used(final)
            return path
    deadline = Deadline(_PARCEL_SECONDS)
    with locked(layout.locks / f"parcel-{final.name}", deadline):
        if holds(inside, parcel):
            return inside
        if final.exists():
            set_aside(final, layout)
        with scratch_directory(layout) as scratch:
            file = scratch / parcel.name
            if order.share:
                fetch(order.share, parcel.name, file)
            else:
                _await(parcel, file, desk, deadline)
            open_parcel(parcel, file, final)
    return inside


def _await(parcel: Parcel, file: Path, desk: _Desk, deadline: Deadline) -> None:
    """Asks for the parcel and waits for its pieces."""
    with station().arriving(parcel, file) as arriving:
        desk.tell("wants", parcel=parcel.id)
        while not arriving.whole.wait(_LOOK_SECONDS):
            if desk.stop.is_set():
                raise Stopped
            if deadline.passed or time.monotonic() - arriving.last > _SILENCE_SECONDS:
                raise InfraError(f"nothing comes of {parcel.path}, which the boot rests on")
