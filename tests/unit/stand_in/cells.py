# SPDX-License-Identifier: GPL-2.0-only
"""A kernel of a few files, a suite of four cases, and the steps of a guest that runs it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.flow.boots import BootEnvironment
from harness.flow.request import Request
from harness.model.build import Build
from harness.model.cell import Cell
from harness.model.kernel import KernelSpec, PreparedKernel
from harness.model.machine import Accel, Machine, Swap
from harness.model.progress import HostDoing, Progress
from harness.model.suite import Manifest, ManifestCase, Suite
from harness.model.tree import SourceSpec, Tree
from harness.store.sealed import seal
from tests.unit.results_support import Quiet
from tests.unit.stand_in import ASKED_ACCEL, READY, Step, frame, frames, say

NAMES = ("a", "b", "c", "d")
SUITE = Suite(
    name="p",
    title="four cases",
    script="suite-exec",
    arguments=(),
    symbols=(),
    requirements=(),
    shares_boot=False,
    deadline=400.0,
    profile="lean",
    selectable=True,
    manifest=Manifest("p", tuple(ManifestCase(f"p.{name}", 1.0) for name in NAMES)),
)
OTHER = replace(SUITE, name="q", manifest=Manifest("q", (ManifestCase("q.a", 1.0),)), selectable=False)
MACHINE = Machine(swap=Swap(), accel=Accel.TCG)


def kernel_in(place: Path, build_id: str = "b" * 64, modules: Mapping[str, Path] | None = None) -> PreparedKernel:
    """A sealed build; made again when it is there."""
    path = place / f"build-{build_id[:4]}"
    (path / "modules" / "lib" / "modules").mkdir(parents=True, exist_ok=True)
    (path / "bzImage").write_text("image")
    (path / "config").write_text("CONFIG_SWAP=y\n")
    seal(path)
    tree = Tree("a" * 64, "7.3.4", "made up", place, "debian")
    return PreparedKernel(Build(build_id, tree, "lean", "c", "gcc", "7.3.4", path, path), modules or {})


def root_in(place: Path) -> Path:
    """A sealed root of a guest; made again when it is there."""
    root = place / "root"
    root.mkdir(exist_ok=True)
    (root / "init").write_text("init")
    seal(root)
    return root


def environment_in(place: Path, progress: Progress, stop: threading.Event | None = None) -> BootEnvironment:
    (place / "run").mkdir()
    return BootEnvironment(kernel_in(place), root_in(place), place / "run", progress, stop=stop)


def request(seed: int = 1, suites: tuple[str, ...] = ("p",), **more: object) -> Request:
    return Request(
        kernel=KernelSpec(SourceSpec.parse("debian")),
        machine=MACHINE,
        suites=suites,
        seed=seed,
        **more,  # type: ignore[arg-type]
    )


def cell(suites: tuple[str, ...] = ("p",), machine: Machine = MACHINE) -> Cell:
    return Cell("b" * 64, machine, suites, seed=7)


def begins(suite: str = "p", cases: Sequence[str] = NAMES) -> tuple[Step, ...]:
    """The runner says what it is going to run."""
    return (
        say(f"ttm-harness: suite {suite} begin"),
        frame("start", suite),
        ("result_file", f"{suite}.announced", "".join(f"{suite}.{name}\n" for name in cases)),
        frame("announced", f"{suite} {len(cases)}"),
        say("KTAP version 1", "1..1", "    KTAP version 1", f"    # Subtest: {suite}", f"    1..{len(cases)}"),
    )


def case_begins(name: str, suite: str = "p") -> tuple[Step, ...]:
    return (say(f"ttm-harness: case {suite} {name}"), frame("case", f"{suite} {name}"))


def case(name: str, number: int, result: str = "ok", suite: str = "p") -> tuple[Step, ...]:
    return (*case_begins(name, suite), say(f"    {result} {number} {name}"))


def ends(suite: str = "p", status: int = 0) -> tuple[Step, ...]:
    return (
        frame("cases-end", suite),
        say(f"ok 1 {suite}", f"ttm-harness: suite {suite} end {status}"),
        frame("result", f"{suite} {status}"),
    )


BOOTS: tuple[Step, ...] = (say("Linux version 7.3.4"), READY, ASKED_ACCEL, ("facts",))


def powers_off(suites: int = 1, taint: int = 0) -> tuple[Step, ...]:
    return (frames(("fact", f"taint_end={taint}"), ("exit", str(suites))),)


def good(cases: Sequence[str] = NAMES, suite: str = "p") -> tuple[Step, ...]:
    """All steps of a guest in which each of the cases passes."""
    passed = [step for number, name in enumerate(cases, 1) for step in case(name, number, suite=suite)]
    return (*BOOTS, *begins(suite, cases), *passed, *ends(suite), *powers_off())


class Told(Quiet):
    """The progress of boots side by side; `when` does something as soon as that is said, once."""

    def __init__(self) -> None:
        super().__init__()
        self._acts: dict[str, Callable[[], None]] = {}
        self.doing: tuple[HostDoing, ...] = ()

    def when(self, text: str, act: Callable[[], None]) -> None:
        self._acts[text] = act

    def step(self, text: str) -> None:
        super().step(text)
        if (act := self._acts.pop(text, None)) is not None:
            act()

    def task(self, number: int, text: str) -> None:
        self.step(text if text.startswith("boot ") else f"{number}:{text}")

    def task_ends(self, number: int, text: str) -> None:
        self.step(text.partition(",")[0])

    def hosts(self, doing: Sequence[HostDoing]) -> None:
        self.doing = tuple(doing)
