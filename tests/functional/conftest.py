# SPDX-License-Identifier: GPL-2.0-only
"""The tiny kernel, built once into the user's store, and a way to run a script in a guest of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.checkout import data_directory
from harness.flow.boots import BootEnvironment, boot_cell
from harness.flow.collect import CellResult
from harness.flow.prepare import parts_of_root
from harness.guest.root import guest_root
from harness.inputs.apt import apt_is_own
from harness.inputs.resolve import resolve
from harness.inputs.roots import obtain_root
from harness.inputs.source_cache import Work
from harness.kernel.build import obtain
from harness.kernel.fragments import read_profile
from harness.model.build import Build
from harness.model.cell import Cell
from harness.model.kernel import PreparedKernel
from harness.model.machine import Accel, Machine, Swap
from harness.model.root import PreparedRoot, RootSpec
from harness.model.suite import Manifest, ManifestCase, Requirement, Suite
from harness.model.tree import SourceSpec
from harness.model.units import MIB
from harness.proc import Deadline, find_tool
from harness.store.layout import Layout
from harness.store.sealed import seal
from tests.functional.plugin_support import Plugin

TINY_MACHINE = Machine(ram=128 * MIB, swap=Swap(), accel=Accel.TCG)


class Quiet:
    """Progress that nobody reads."""

    def step(self, text: str) -> None: ...

    def advance(self, done: int, total: int, unit: str) -> None: ...


@pytest.fixture(scope="session", autouse=True)
def apart(own_runs: None) -> None:
    """For commands that no fixture gave a store to."""


@pytest.fixture(scope="session")
def tiny(layout: Layout) -> Build:
    tree = resolve(SourceSpec.parse("debian"), layout, Deadline(1800), Quiet())
    profile = read_profile("tiny", data_directory("kernel-configs"))
    return obtain(tree, profile, layout, Deadline(3600), Quiet())


@pytest.fixture(scope="session")
def debian(layout: Layout) -> PreparedRoot:
    """A root of the host's own suite, with sshd in it, made once into the user's store."""
    names = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    if not apt_is_own() or find_tool("mmdebstrap") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("a root of Debian needs apt and mmdebstrap")
    spec = RootSpec.parse(f"debian:{names['VERSION_CODENAME']}+openssh-server")
    return obtain_root(spec, Work(layout, Deadline(900), Quiet()))


Runner = Callable[..., CellResult]


@pytest.fixture
def run_script(tiny: Build, layout: Layout, tmp_path: Path) -> Runner:
    """run_script("shell text", machine=…, requires=…, deadline=…): one boot of the tiny kernel, judged.

    With `cases` the script can run a part of these, and must run all. It runs in the root `other`, if any.
    """

    def run(
        script: str,
        *,
        machine: Machine = TINY_MACHINE,
        requires: str = "",
        deadline: float = 30.0,
        cases: tuple[str, ...] = (),
        other: PreparedRoot | None = None,
        keep_state: bool = False,
    ) -> CellResult:
        extra = tmp_path / "extra"
        extra.mkdir(exist_ok=True)
        (extra / "script.sh").write_text(script)
        seal(extra)
        suite = Suite(
            name="script",
            title="a script of this test",
            script="suite-exec",
            arguments=("/extra/script.sh",),
            symbols=(),
            requirements=(Requirement(requires, 1),) if requires else (),
            shares_boot=False,
            deadline=deadline,
            profile="tiny",
            selectable=bool(cases),
            manifest=Manifest("script", tuple(ManifestCase(name, 0.1) for name in cases)) if cases else None,
        )
        root = guest_root(layout, parts_of_root(), Deadline(60))
        kernel = PreparedKernel(tiny, {"script": extra})
        environment = BootEnvironment(kernel, root, tmp_path / "run", Quiet(), other=other, keep_state=keep_state)
        environment.directory.mkdir(exist_ok=True)
        cell = Cell(tiny.id, machine, ("script",), seed=7)
        return boot_cell(cell, (suite,), environment, number=1)

    return run


@pytest.fixture
def plugin(pytester: pytest.Pytester, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Plugin:
    """pytest with the harness's plugin, in an empty project."""
    return Plugin.made(pytester, layout, monkeypatch)
