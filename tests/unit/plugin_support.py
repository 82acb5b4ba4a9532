# SPDX-License-Identifier: GPL-2.0-only
"""A plugin for the pytest that a test starts: guests and runs of suites that are made up, and told in `boots.log`.

A guest is told by a test what its kernel is to say (`says`), and to end (`dies`). What a suite's cases come to stands
in `results.json`: suite -> case -> outcome and message.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.flow.boots import BootEnvironment
from harness.flow.live import GuestEnded, LiveGuest, Unannounced
from harness.flow.request import Request
from harness.flow.run import RunOptions
from harness.guest.boot import Boot
from harness.model.build import Build
from harness.model.cell import Cell
from harness.model.event import Event
from harness.model.kernel import KernelSpec, PreparedKernel
from harness.model.machine import Machine
from harness.model.outcome import Ending, Outcome, Verdict
from harness.model.result import REPORT_SCHEMA, Case, Provenance, Report, Run, Stage
from harness.model.span import Span
from harness.model.suite import Suite
from harness.model.tree import Tree
from harness.pytest_plugin import guests, suites
from harness.store.layout import Layout

HERE = Path.cwd()


def note(text: str) -> None:
    with (HERE / "boots.log").open("a") as file:
        file.write(f"{os.environ.get('PYTEST_XDIST_WORKER', 'alone')} {text}\n")


class MadeUp(LiveGuest):
    """A guest without a kernel."""

    def __init__(self, place: Path, machine: Machine) -> None:
        self.directory = place
        self.machine = machine
        self._events: list[Event] = []
        self._new: list[Event] = []
        self.end: GuestEnded | None = None
        self.end_told = False

    @property
    def lives(self) -> bool:
        return self.end is None

    def says(self, kind: str, title: str) -> None:
        self._new.append(Event(kind, title, "0" * 16, Span(1, 2), lines=(title, "Call Trace:", " guilty+0x1/0x2")))

    def dies(self, *, seen: bool = True) -> None:
        self.says("panic", "Kernel panic - not syncing: made up")
        self._events += self._new
        boot = SimpleNamespace(ending=Ending.PANICKED, stall=None)
        self.end = GuestEnded(as_boot(boot), self._events, self._new, self.directory)
        self._new.clear()
        if seen:
            self.end_told = True
            raise self.end

    def take_unannounced(self) -> tuple[Event, ...]:
        if self.end is not None and not self.end_told:
            self.end_told = True
            raise self.end
        new = tuple(self._new)
        self._events += new
        self._new.clear()
        return new


def as_boot(value: object) -> Boot:
    return value  # type: ignore[return-value]


@contextlib.contextmanager
def live_guest(environment: BootEnvironment, machine: Machine, layout: Layout, name: str) -> Iterator[LiveGuest]:
    place = environment.directory / name
    place.mkdir()
    (place / "console.log").write_text("the last words\n")
    note(f"boots {name} {machine.ram >> 20}M")
    guest = MadeUp(place, machine)
    yield guest
    note(f"ends {name}")
    if guest.end is not None and not guest.end_told:
        raise guest.end
    if left := guest.take_unannounced():
        raise Unannounced(left, place)


def prepare(wanted: KernelSpec, asked: Mapping[Suite, bool], layout: Layout, *_: object) -> PreparedKernel:
    note(f"prepares {wanted.profile}")
    place = HERE / "build"
    place.mkdir(exist_ok=True)
    (place / "config").write_text('CONFIG_SWAP=y\nCONFIG_NAME="x=y"\n# CONFIG_KASAN is not set\n')
    tree = Tree("t" * 64, "7.3.4", "made up", HERE, "debian")
    build = Build("b" * 64, tree, wanted.profile, "c" * 64, "gcc", "7.3.4", place, place)
    (layout.builds / build.id[:16]).mkdir(exist_ok=True)
    return PreparedKernel(build, {})


def execute(
    requests: Sequence[Request], layout: Layout, progress: object, options: RunOptions
) -> tuple[Report, Path]:
    cases: list[Case] = []
    runs: list[Run] = []
    plain = json.loads((HERE / "results.json").read_text())
    for number, request in enumerate(requests, 1):
        note(f"runs {','.join(map(os.path.basename, request.suites))} {','.join(request.cases) or 'all'}")
        cell = Cell("b" * 64, request.machine, request.suites, 1)
        name = f"{number:03d}-x"
        problems = tuple(plain.get("problems", ()))
        runs.append(Run(name, cell, name, Ending.FINISHED, "shutdown", "tcg", None, (), problems, (), Verdict.GOOD))
        cases += _cases_of(request, plain, name)
    time.sleep(0.1)
    words = {one.name: "" for one in fields(Provenance)}
    where = Provenance(**{**words, "build_warnings": 0})  # type: ignore[arg-type]
    return Report(
        REPORT_SCHEMA, "made-up", Verdict.GOOD, (), where, tuple(runs), tuple(cases), (), (Stage("boot", 1.0),)
    ), HERE


def _cases_of(request: Request, plain: Mapping[str, Mapping[str, tuple[str, str]]], boot: str) -> Iterator[Case]:
    for suite in (*map(os.path.basename, request.suites), "boot"):
        for name, (outcome, message) in plain.get(suite, {}).items():
            called = {name, name.partition(".")[2], ".".join(name.split(".")[:2])}
            if suite == "boot" or not request.cases or called & set(request.cases):
                raw = "" if outcome == "NOT_RUN" else "ok"
                yield Case(suite, name, Outcome(outcome), 1.5, message, raw, Span(7, 7), run=boot)


def known_kernel(wanted: KernelSpec, layout: Layout, _: object) -> tuple[Tree, Build]:
    build = prepare(wanted, {}, layout).build
    return build.tree, build


def pytest_configure(config: pytest.Config) -> None:
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    made_up = {"prepare": prepare, "live_guest": live_guest, "execute": execute, "known_kernel": known_kernel}
    made_up["prepare_root"] = lambda *_: HERE
    made_up["settle_accel"] = lambda asked, *_: asked
    for module in (guests, suites):
        for name, value in made_up.items():
            patch.setattr(module, name, value, raising=False)
