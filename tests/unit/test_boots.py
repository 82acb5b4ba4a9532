# SPDX-License-Identifier: GPL-2.0-only
"""What a boot rests on is looked at before any guest is started; what is wrong with the host is no finding."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.flow.boots import (
    BootEnvironment,
    boot_cell,
    disk_trouble,
    kunit_fails_at,
    looked_at,
    require_same,
)
from harness.model.build import Build
from harness.model.cell import Cell
from harness.model.errors import StoreDamaged
from harness.model.kernel import PreparedKernel
from harness.model.machine import Accel, Machine, Swap
from harness.model.suite import Suite
from harness.model.tree import Tree
from harness.store.sealed import seal
from tests.unit.results_support import Quiet

SUITE = Suite("script", "", "suite-exec", (), (), (), False, 30.0, "tiny")


@pytest.fixture
def environment(tmp_path: Path) -> BootEnvironment:
    build, root, modules = tmp_path / "build", tmp_path / "root", tmp_path / "control" / "modules"
    for path, name in ((build, "bzImage"), (root, "init"), (modules, "ttm.ko"), (tmp_path / "own", "own.ko")):
        path.mkdir(parents=True)
        (path / name).write_text(name)
    for path in (build, root, modules.parent, tmp_path / "own"):
        seal(path)
    made = Build("b" * 64, Tree("a" * 64, "7.3.4", "o", tmp_path, "s"), "tiny", "c", "gcc", "7.3.4", build, build)
    (tmp_path / "run").mkdir()
    kernel = PreparedKernel(made, {"script": tmp_path / "own"})
    return BootEnvironment(kernel, root, tmp_path / "run", Quiet(), modules)


@pytest.mark.parametrize("file", ["build/bzImage", "root/init", "control/modules/ttm.ko", "own/own.ko"])
def test_nothing_is_booted_on_what_is_damaged(file: str, environment: BootEnvironment, tmp_path: Path) -> None:
    cell = Cell(environment.kernel.build.id, Machine(swap=Swap(), accel=Accel.TCG), ("script",), seed=1)
    (tmp_path / file).write_text("tampered")
    with pytest.raises(StoreDamaged, match=f"{file} "):
        boot_cell(cell, (SUITE,), environment, 1)
    assert list(environment.directory.iterdir()) == []


def test_what_was_made_good_again_while_a_guest_ran_is_seen(environment: BootEnvironment, tmp_path: Path) -> None:
    roots = environment.sealed((SUITE,))
    before = looked_at(roots)
    assert tuple(before) == roots
    require_same(before)
    build = tmp_path / "build"
    build.touch()  # its last use, for `results prune`
    require_same(before)
    text = (build / "bzImage").read_bytes()
    (build / "bzImage").write_bytes(b"tampered")
    with pytest.raises(StoreDamaged, match="bzImage has 8 bytes"):
        require_same(before)
    (build / "bzImage").write_bytes(text)
    with pytest.raises(StoreDamaged, match="changed while the guest ran"):
        require_same(before)
    before = looked_at(roots)
    build.rename(tmp_path / "aside")
    shutil.copytree(tmp_path / "aside", build)
    with pytest.raises(StoreDamaged, match="changed while the guest ran"):
        require_same(before)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2M", "tmpfs", str(place)], check=False).returncode:
        pytest.skip("only root may mount")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_seen(small_disk: Path) -> None:
    assert disk_trouble(small_disk) == ""
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "swap.img").write_bytes(os.urandom(3 << 20))
    assert disk_trouble(small_disk) == f"the disk of {small_disk} is full"
    (small_disk / "swap.img").unlink()
    assert disk_trouble(small_disk) == ""


FAILS = "ffffffff8122a2c0 T __kunit_do_failed_assertion\nffffffff815037fc r __ksymtab___kunit_do_failed_assertion\n"
KUNIT = replace(SUITE, script="suite-kunit")


@pytest.mark.parametrize(
    ("symbols", "config", "suite", "cmdline", "at", "words"),
    [
        (FAILS, "CONFIG_KUNIT=y\n", KUNIT, (), 0xFFFF_FFFF_8122_A2C0, None),
        (FAILS, "CONFIG_KUNIT=y\n", SUITE, (), 0xFFFF_FFFF_8122_A2C0, None),
        ("ffffffff81000000 T _text\n", "CONFIG_KUNIT=m\n", KUNIT, (), None, None),
        (FAILS, "CONFIG_RANDOMIZE_BASE=y\n", KUNIT, (), None, "--append nokaslr"),
        (FAILS, "CONFIG_RANDOMIZE_BASE=y\n", SUITE, (), None, None),
        (FAILS, "CONFIG_RANDOMIZE_BASE=y\n", KUNIT, ("nokaslr",), 0xFFFF_FFFF_8122_A2C0, None),
    ],
)
def test_where_a_failing_case_of_kunit_stops_its_guest(
    environment: BootEnvironment,
    symbols: str,
    config: str,
    suite: Suite,
    cmdline: tuple[str, ...],
    at: int | None,
    words: str | None,
) -> None:
    build = environment.kernel.build
    (build.path / "System.map").write_text(symbols)
    build.config_path.write_text(config)
    cell = Cell(build.id, Machine(swap=Swap(), accel=Accel.TCG, cmdline=cmdline), (suite.name,), seed=1)
    assert kunit_fails_at(cell, (suite,), environment) == (None, ())
    found, said = kunit_fails_at(cell, (suite,), replace(environment, keep_state=True))
    assert found == at
    assert [words is not None and words in one for one in said] == ([True] if words else [])
