# SPDX-License-Identifier: GPL-2.0-only
"""History replayed: its patches fit the newest kernel, and one bug by the gate and one by a boot are seen."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.flow.controls import apply_control
from harness.flow.replays import chosen_regressions, control_of, history_folder
from harness.inputs.resolve import resolve
from harness.inputs.series.assemble import Selection, assemble
from harness.inputs.series.mbox import read_messages
from harness.model.regression import Regression, ReplayKind
from harness.model.tree import SourceSpec, Tree
from harness.proc import Deadline
from harness.store.layout import Layout
from tests.kernel.test_run import RUN_SECONDS
from tests.unit.results_support import Quiet

EVERY = chosen_regressions(())


@pytest.fixture(scope="module")
def newest(layout: Layout) -> Tree:
    return resolve(SourceSpec.parse("debian"), layout, Deadline(RUN_SECONDS), Quiet())


def copy_of(tree: Tree, names: set[str], to: Path) -> Path:
    for name in names:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tree.path / name, to / name)
    return to


@pytest.mark.parametrize("one", [one for one in EVERY if one.kind is ReplayKind.PATCH], ids=lambda one: one.id)
def test_a_patch_applies_without_fuzz_where_it_was_made_for(one: Regression, newest: Tree, tmp_path: Path) -> None:
    control = control_of(one)
    files = {line[6:] for line in control.patch.read_text().splitlines() if line.startswith("+++ b/")}
    apply_control(control, copy_of(newest, files, tmp_path), newest.version)


@pytest.mark.parametrize("one", [one for one in EVERY if one.kind is ReplayKind.GATE], ids=lambda one: one.id)
def test_a_patch_for_the_gate_is_a_mail_that_applies(one: Regression, newest: Tree, tmp_path: Path) -> None:
    path = history_folder() / one.gate
    (patch,) = assemble(read_messages(path.read_bytes(), path.name), Selection(f"mbox:{path.name}")).patches
    tree = copy_of(newest, set(patch.paths), tmp_path)
    argv = ["patch", "-p1", "--fuzz=0", "--batch", "-d", str(tree), "-i", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


def test_one_is_seen_by_the_gate_and_one_by_a_case_and_both_are_kept() -> None:
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "harness", "history", "--json", "B12", "R10"],
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        seen = {one["regression"]["id"]: one["replay"]["by"] for one in json.loads(done.stdout)["regressions"]}
        assert seen == {"B12": ["gate: objects"], "R10": ["pressure.shrink_empty"]}
