# SPDX-License-Identifier: GPL-2.0-only
"""A store in which whole runs are made, with kernels that are made up and the guest that stands in for QEMU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from harness.flow import kernels as kernels_module
from harness.flow import matrix as matrix_module
from harness.flow import run as run_module
from harness.flow.request import Request
from harness.flow.run import RunOptions, execute, resume
from harness.guest import stall
from harness.model.kernel import KernelSpec, PreparedKernel
from harness.model.result import LeftOut, Report
from harness.model.suite import Suite
from harness.model.tree import SourceSpec
from harness.store.layout import Layout
from tests.unit.stand_in import Clock, Hurry, StandIn
from tests.unit.stand_in import Step as Act
from tests.unit.stand_in.cells import OTHER, SUITE, Told, kernel_in, root_in

BASE = KernelSpec(SourceSpec.parse("debian:6.12"))


class Ground:
    """A store in which runs are made, one boot at a time."""

    def __init__(self, place: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stand_in = StandIn(place, monkeypatch)
        Clock(self.stand_in, monkeypatch)
        monkeypatch.setattr(stall, "time", Hurry(200.0))
        monkeypatch.setattr("harness.store.runs._ASKED_SECONDS", 0.05)
        monkeypatch.setattr("harness.flow.schedule.LOOK_SECONDS", 0.02)
        self.layout = layout
        self.told = Told()
        self.made: list[KernelSpec] = []
        self.ids = {BASE: "a" * 64}
        self.left_out: tuple[LeftOut, ...] = ()
        self._place = place
        monkeypatch.setattr(matrix_module, "suite_named", {"p": SUITE, "q": OTHER}.__getitem__)
        monkeypatch.setattr("harness.flow.repro.suite_named", {"p": SUITE, "q": OTHER}.__getitem__)
        monkeypatch.setattr(matrix_module, "root_id", lambda _parts: "0" * 16)
        monkeypatch.setattr(kernels_module, "prepare", self._prepare)
        monkeypatch.setattr(run_module, "prepare", self._prepare)
        monkeypatch.setattr(run_module, "prepare_root", lambda *_: root_in(place))

    def _prepare(self, wanted: KernelSpec, suites: Mapping[Suite, bool], *_: object) -> PreparedKernel:
        self.made.append(wanted)
        made = kernel_in(self._place, wanted.build or self.ids.get(wanted, "b" * 64))
        return replace(made, left_out=self.left_out)

    @property
    def image(self) -> Path:
        return self._place / "build-bbbb" / "bzImage"

    def execute(self, *requests: Request, **options: object) -> tuple[Report, Path]:
        return execute(requests, self.layout, self.told, RunOptions(parallel=1, **options))  # type: ignore[arg-type]

    def resume(self, name: str = "") -> tuple[Report, Path]:
        return resume(self.layout, name, self.told, parallel=1)

    def plays(self, *scripts: tuple[Act, ...]) -> None:
        for script in scripts:
            self.stand_in.plays(*script)

    @property
    def newest(self) -> Path:
        return max(self.layout.runs.iterdir())
