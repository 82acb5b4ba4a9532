# SPDX-License-Identifier: GPL-2.0-only
"""The one who asks: gives boots to the workers of a Dask cluster, and brings what they left home.

Which worker makes a boot is Dask's choice.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from distributed import Client

from harness.fleet import worker
from harness.fleet.asking import Asked, Asker
from harness.fleet.brought import take_build
from harness.fleet.order import (
    CPUS,
    DEVICE,
    FACTS,
    KVM,
    RAM,
    BootOrder,
    BuildOrder,
    GateOrder,
    Parcel,
    WorkerAnswer,
    WorkerFacts,
    own_facts,
)
from harness.fleet.post import ParcelPost
from harness.fleet.trial import NoAnswer, Trial
from harness.flow.admission import Claim
from harness.flow.boots import BootEnvironment, write_places_here
from harness.flow.gate import GateJob
from harness.flow.hosts import FromHost, SetAside, seen_here
from harness.flow.matrix import shape_of
from harness.kernel.build import build_id, find
from harness.kernel.make import compiler_version
from harness.model.build import Profile
from harness.model.cell import Cell
from harness.model.errors import UserError
from harness.model.gate import Gate
from harness.model.machine import Accel, Machine
from harness.model.pci import KIND_FORM, PciDevice
from harness.model.progress import FleetProgress, Progress
from harness.model.suite import Suite
from harness.model.tree import Tree
from harness.model.units import format_size
from harness.proc import Deadline
from harness.store.layout import Layout
from harness.store.pack import unpack
from harness.store.scratch import scratch_directory
from harness.store.sealed import require_whole, take
from harness.store.source_seal import is_sealed

_AHEAD = 2  # boots that are given out for each guest that there is room for
_MOST_BOOTS = 1000
_TOOL_SECONDS = 60.0


class Fleet:
    """Implements flow.hosts.Hosts. Made by `fleet` in clusters.py, which also ends it."""

    def __init__(
        self, client: Client, layout: Layout, progress: FleetProgress, share: str = "", most: int = 0
    ) -> None:
        self._client = client
        self._layout = layout
        self._share = share
        self._limit = most or _MOST_BOOTS
        self._own = own_facts(layout)
        self._asker = Asker(client, progress, self.workers)
        self._scratch = scratch_directory(layout)
        self._post = ParcelPost(client, self._scratch.__enter__(), share)
        self._asker.wants = self._post.wanted
        self._mark = layout.locks / self._asker.topic  # by which a worker knows that it has the same store
        self._mark.touch()

    def close(self) -> None:
        """Nothing is sent any more; what was packed goes."""
        self._mark.unlink(missing_ok=True)
        self._post.close()
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

    def show(self) -> None:
        """Who is there."""
        self._asker.knows(one.host for one in self.workers().values())

    @property
    def most(self) -> int:
        found = self._client.scheduler_info(n_workers=-1)["workers"]
        guests = sum(int(found[address]["nthreads"]) for address in self.workers() if address in found)
        return max(1, min(self._limit, _AHEAD * guests))

    def check_machine(self, machine: Machine) -> None:
        supplies, device = self._supplies(), _device(machine)
        if device:
            supplies = [one for one in supplies if one.get(device, 0.0) >= 1.0]
            if not supplies:
                there = {one for facts in self.workers().values() for one in facts.devices}
                raise UserError(
                    f"no host of the fleet has {machine.device} set aside for guests: "
                    f"they have {', '.join(sorted(there)) or 'none'}",
                    hint="bind one to vfio-pci there before its worker starts (docs/passthrough.md)",
                )
        most = max((one[RAM] for one in supplies), default=0.0)
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
        parcel = self._of_tree(tree)

        def order() -> BuildOrder:
            key = f"harness-build-{identity[:16]}-{secrets.token_hex(8)}"
            return BuildOrder(self._asker.topic, key, identity, tree, profile, (parcel,), self._share)

        def take_home(answer: WorkerAnswer) -> None:
            if answer.size:
                progress.step(f"the kernel comes from {answer.host}")
                with self._fetched(answer) as file, scratch_directory(self._layout) as scratch:
                    take_build(file, answer.seal, tree, identity, self._layout, scratch)

        trial = Trial(f"a kernel {tree.version}, profile {profile.name}", progress)
        needs = {self._own.compiler_mark: 1.0}
        self._made(trial, lambda: Asked(order(), worker.make_build, needs), take_home)

    def gate(self, job: GateJob, progress: Progress) -> Gate | None:
        if not is_sealed(job.base.path.parent):
            progress.step(f"{job.base.path} is no source of the store, so the gate is here")
            return None
        if not any(one.gate_mark == self._own.gate_mark for one in self.workers().values()):
            progress.step(f"no host of the fleet has {self._own.compiler} and the same checkers: the gate is here")
            return None
        parcel = self._of_tree(job.base)

        def order() -> GateOrder:
            key = f"harness-gate-{secrets.token_hex(8)}"
            return GateOrder(self._asker.topic, key, job, (parcel,), self._share)

        trial = Trial(f"gate of {job.series.label}", progress)
        needs = {self._own.gate_mark: 1.0}
        return self._made(trial, lambda: Asked(order(), worker.make_gate, needs)).gate

    def _of_tree(self, tree: Tree) -> Parcel:
        parcel = Parcel.of_tree(tree.path)
        self._post.offer((parcel,))
        return parcel

    def _made(
        self,
        trial: Trial,
        asked: Callable[[], Asked],
        take_home: Callable[[WorkerAnswer], None] = lambda _: None,
        stop: threading.Event | None = None,
    ) -> WorkerAnswer:
        """The answer to what is asked, again where it came to nothing. SetAside when that is hopeless."""
        while True:
            try:
                answer = self._asker.answer(asked(), trial, stop)
                take_home(answer)
                return answer
            except NoAnswer as lost:
                if str(lost):
                    trial.loses(str(lost))
            if trial.is_hopeless:
                raise SetAside(f"{trial.name} was set aside: {'; '.join(trial.losses)}")

    # What is asked.

    def boots_of(self, cell: Cell, suites: Sequence[Suite], environment: BootEnvironment, number: int) -> FromHost:
        parcels = self._parcels(environment.sealed(suites))
        title = f"boot {number}: {cell.machine}: {', '.join(cell.suites)}"
        trial = Trial(title, environment.progress)
        place = environment.directory / f"{number:03d}-{cell.id}"

        def asked() -> Asked:
            order = self._order(cell, suites, environment, number, parcels)
            return Asked(order, worker.make_boots, self._needs(cell.machine), _alike(cell))

        answer = self._made(trial, asked, lambda one: self._bring(one, place), environment.stop)
        environment = replace(environment, device=answer.device)
        for booted in answer.boots:
            write_places_here(place / booted.part.folder, suites, environment)
        boots = tuple(seen_here(cell, suites, environment, place, booted) for booted in answer.boots)
        again = [f"it was begun again on {answer.host}: {how}" for how in trial.losses]
        return FromHost(answer.host, boots, (*answer.notes, *again, *trial.notes))

    def _parcels(self, sealed: Sequence[Path]) -> tuple[Parcel, ...]:
        require_whole(sealed)
        found = tuple(map(Parcel.of, sealed))
        self._post.offer(found)
        return found

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
            topic=self._asker.topic,
            key=f"harness-boot-{number}-{secrets.token_hex(8)}",
            number=number,
            cell=cell,
            suites=tuple(suites),
            kernel=environment.kernel,
            root=environment.root,
            other=other,
            parcels=parcels,
            share=self._share,
            module_tree=environment.module_tree,
            keep_state=environment.keep_state,
            stop_at_first=environment.stop_at_first,
            stress=environment.stress,
        )

    def _needs(self, machine: Machine) -> dict[str, float]:
        claim = Claim.of(machine)
        most = max((one[CPUS] for one in self._supplies()), default=1.0)
        needs = {RAM: float(claim.ram), CPUS: min(float(claim.cpus), most), self._own.mark: 1.0}
        if machine.accel is Accel.KVM:
            needs[KVM] = 1.0
        if device := _device(machine):
            needs[device] = 1.0
        return needs

    def _bring(self, answer: WorkerAnswer, place: Path) -> None:
        """The evidence, piece by piece from the worker's disk; believed if it is what the worker sealed."""
        with self._fetched(answer) as file, scratch_directory(self._layout) as scratch:
            into = scratch / "boot"
            into.mkdir()
            unpack(file, into)
            if take(into).id != answer.seal:
                raise NoAnswer(f"what came from {answer.host} is not what it sealed")
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
            self._asker.drop(answer)

    def _piece(self, answer: WorkerAnswer, offset: int) -> bytes:
        got = self._client.run(worker.read_piece, answer.token, offset, workers=[answer.address], on_error="ignore")
        piece = got.get(answer.address, b"")
        if not piece:
            raise NoAnswer(f"{answer.host} was lost before its evidence was fetched")
        return bytes(piece)


def _device(machine: Machine) -> str:
    """The resource of Dask that a guest with a device needs. UserError where it names one by its address."""
    if not machine.device:
        return ""
    device = PciDevice.parse(machine.device)
    if device.address:
        raise UserError(
            f"{machine.device} is of one host, and guests of a fleet run on any",
            hint=f"name the kind: --device {KIND_FORM}",
        )
    return f"{DEVICE}{device.ids}"


def _alike(cell: Cell) -> str:
    """What boots that take about as long as each other have in common: machine and shape (flow/matrix.py)."""
    return f"{cell.machine} {shape_of(cell, '')}"
