# SPDX-License-Identifier: GPL-2.0-only
"""What goes between the one who asks and a worker: orders and answers. They are pickled by Dask, and both sides have
the same harness, or the one gets no work of the other.
"""

from __future__ import annotations

import hashlib
import os
import platform
import socket
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path

import harness
from harness import __version__
from harness.checkout import commit
from harness.flow.doctor import Status, examine
from harness.flow.gate import GateJob
from harness.flow.hosts import Booted
from harness.flow.resources import cores, guest_devices, most_for_guests
from harness.flow.run import tools
from harness.guest import accel
from harness.kernel.make import compiler_version
from harness.kernel.object_builder import newest_clang
from harness.model.build import Profile
from harness.model.cell import Cell
from harness.model.errors import HarnessError
from harness.model.gate import Gate
from harness.model.kernel import PreparedKernel
from harness.model.machine import Accel
from harness.model.root import PreparedRoot
from harness.model.suite import Suite
from harness.model.tree import Tree
from harness.proc import Deadline, find_tool, run
from harness.store import source_seal
from harness.store.layout import Layout
from harness.store.sealed import read_seal

FACTS = "ttm-harness"  # under which a worker has its facts in Dask's list of workers
RAM, CPUS, KVM = "harness-ram", "harness-cpus", "harness-kvm"  # Dask's resources
DEVICE = "harness-device-"  # and one for each kind of device, as VENDOR:DEVICE
PLENTY = 1_000_000.0  # of a resource that a worker has or has not
PIECE = 2 << 20  # bytes that go in one message
_TOOL_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Parcel:
    """A sealed directory that a boot rests on: where it lies with the one who asks, and the id of its seal."""

    path: Path
    id: str

    tree: bool = False  # a source, of which the list beside it says what it is (source_seal.py)

    @property
    def name(self) -> str:
        """Of what it is packed in."""
        return f"{self.id[:32]}.tar.zst"

    @classmethod
    def of(cls, path: Path) -> Parcel:
        """What is sealed there."""
        return cls(path, read_seal(path).id)

    @classmethod
    def of_tree(cls, tree: Path) -> Parcel:
        """A source of the store."""
        return cls(tree, source_seal.content_id(tree.parent)[0], tree=True)

    def names(self) -> Iterable[str]:
        """All that is in it, from the path on."""
        return source_seal.content_id(self.path.parent)[1] if self.tree else read_seal(self.path).contents()


@dataclass(frozen=True, slots=True)
class BootOrder:
    """A cell to be booted. The paths in it are those of the one who asks; `parcels` are what lies there.

    Who asks hears of it on the topic, under that key. `share` is a URL where parcels lie for all; empty: who asks
    sends them.
    """

    topic: str
    key: str
    number: int
    cell: Cell
    suites: tuple[Suite, ...]
    kernel: PreparedKernel
    root: Path
    other: PreparedRoot | None
    parcels: tuple[Parcel, ...]
    share: str = ""
    module_tree: Path | None = None
    keep_state: bool = False
    stop_at_first: bool = False
    stress: bool = False

    def at(self, places: Mapping[Path, Path]) -> BootOrder:
        """With the places where its parcels lie on another host; what was not sent is not there."""
        build = replace(self.kernel.build, path=places[self.kernel.build.path])
        modules = {name: places[path] for name, path in self.kernel.modules.items() if path in places}
        other = self.other
        if other is not None and other.place is not None:
            there = places[other.place]
            other = replace(other, place=there, tree=there / other.tree.relative_to(other.place))
        tree = self.module_tree
        return replace(
            self,
            kernel=replace(self.kernel, build=build, modules=modules),
            root=places[self.root],
            other=other,
            module_tree=places[tree.parent] / tree.name if tree is not None else None,
        )


@dataclass(frozen=True, slots=True)
class BuildOrder:
    """A kernel to be built of a source, which is its one parcel; `identity` is the id that the build must have."""

    topic: str
    key: str
    identity: str
    tree: Tree
    profile: Profile
    parcels: tuple[Parcel, ...]
    share: str = ""


@dataclass(frozen=True, slots=True)
class GateOrder:
    """The gate on a series; `job` has the tree that is its one parcel."""

    topic: str
    key: str
    job: GateJob
    parcels: tuple[Parcel, ...]
    share: str = ""


Order = BootOrder | BuildOrder | GateOrder


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a worker could not do it: the name of the error's class, its sentence, the cure."""

    kind: str
    message: str
    hint: str | None = None

    @classmethod
    def of(cls, error: HarnessError) -> Failure:
        return cls(type(error).__name__, error.message, error.hint)


@dataclass(frozen=True, slots=True)
class WorkerAnswer:
    """What came of an order. The evidence is packed: `size` bytes, the first of them with the answer, the rest to be
    asked for under `token`; `seal` is the id of what is in it.
    """

    host: str
    address: str
    boots: tuple[Booted, ...] = ()
    notes: tuple[str, ...] = ()
    seal: str = ""
    size: int = 0
    first: bytes = b""
    token: str = ""
    gate: Gate | None = None
    device: str = ""  # what the guests had of the host, where a kind was asked for
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What a worker's host can do, and what decides whether it may work for somebody: harness, tools, compiler."""

    host: str
    harness: str
    sources: str
    tools: str
    compiler: str
    checkers: str
    python: str
    kernel: str
    cores: int
    ram: int
    kvm: bool
    devices: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def plain(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def read(cls, plain: object) -> WorkerFacts | None:
        """None for what another harness may have said."""
        if not isinstance(plain, dict) or set(plain) != {one.name for one in fields(cls)}:
            return None
        lists = {name: tuple(plain[name]) for name in ("devices", "missing")}
        return cls(**{**plain, **lists})

    def unlike(self, other: WorkerFacts) -> str:
        """In what two hosts differ that must be the same, in words; empty where they are alike."""
        for what in ("harness", "sources", "tools", "python"):
            mine, theirs = getattr(self, what), getattr(other, what)
            if mine != theirs:
                return f"its {what} is {theirs}, and not {mine}"
        return ""

    @property
    def compiler_mark(self) -> str:
        """The resource of those workers whose builds are this one's."""
        return _mark(self.mark, self.compiler)

    @property
    def gate_mark(self) -> str:
        """The resource of those workers whose word on a patch is this one's."""
        return _mark(self.mark, self.compiler, self.checkers)

    @property
    def mark(self) -> str:
        """The resource that only those workers have who are alike in it, so that no other is given work."""
        return _mark(self.harness, self.sources, self.tools, self.python)


def _mark(*words: str) -> str:
    digest = hashlib.sha256("\0".join(words).encode())
    return f"harness-{digest.hexdigest()[:16]}"


@cache
def own_facts(layout: Layout) -> WorkerFacts:
    """Those of this host; a second's work."""
    return WorkerFacts(
        host=socket.gethostname(),
        harness=f"{__version__} ({commit()})",
        sources=_sources(),
        tools=_said(tools),
        compiler=_said(lambda: compiler_version(Deadline(_TOOL_SECONDS))),
        checkers=", ".join(map(_version, (newest_clang() or "clang", "spatch", "perl"))),
        python=".".join(platform.python_version_tuple()[:2]),
        kernel=platform.release(),
        cores=cores(),
        ram=max(0, most_for_guests()),
        kvm=accel.expected(Accel.AUTO, layout) is Accel.KVM,
        devices=guest_devices(),
        missing=tuple(one.name for one in examine(layout) if one.status is Status.MISSING),
    )


def _said(ask: object) -> str:
    try:
        return str(ask()) if callable(ask) else ""
    except HarnessError as error:
        return f"none ({error.message})"


def _version(tool: str) -> str:
    """What a tool says of itself, in its first line that says anything."""
    if find_tool(tool) is None:
        return f"no {tool}"
    said = _said(lambda: run((tool, "--version"), deadline=Deadline(_TOOL_SECONDS)).output)
    return next((line.strip() for line in said.splitlines() if line.strip()), tool)


def _sources() -> str:
    """Of the harness itself: two checkouts of one commit may differ."""
    top = Path(harness.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(top.rglob("*.py")):
        digest.update(f"{os.fspath(path.relative_to(top))}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
