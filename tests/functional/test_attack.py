# SPDX-License-Identifier: GPL-2.0-only
"""A small part of what `make soak` does at large: each attack for some seconds, and nothing may go wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.checkout import ROOT
from harness.store.journal import Journal, Step, read_journal
from harness.store.layout import Layout
from tests.attack import damage, fleet, kills, others
from tests.attack.forked import Call, ready, start, wait
from tests.attack.ground import Ground, processes_naming
from tests.unit.stand_in.cells import good, request
from tests.unit.stand_in.runs import Ground as StoreWithRuns


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    ready()
    return Ground(tmp_path, 1)


def test_kills(ground: Ground) -> None:
    kills.attack(ground, 8)
    assert ground.tally.lines == []


def test_damaged_stores(ground: Ground) -> None:
    damage.attack(ground, 64)
    assert ground.tally.lines == []


def test_streams(ground: Ground) -> None:
    others.attack_streams(ground, damage.make_model(ground), 60)
    assert ground.tally.lines == []


def test_mails(ground: Ground) -> None:
    others.attack_mails(ground, 60)
    assert ground.tally.lines == []


def test_an_attack_is_told_of_a_fault(ground: Ground) -> None:
    (ground.canary / "file").write_text("somebody else's\n")
    ground.look_at_canary("nothing")
    assert ground.tally.faults["outside touched"] == 1
    assert "1 outside touched" in ground.tally.text()


def test_kills_in_a_fleet() -> None:
    words = (sys.executable, "-m", "tests.attack.fleet", "--kills", "6", "--boots", "8", "--seconds", "0.5")
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 kills" in done.stdout
    assert "0 faults" in done.stdout


def test_the_attack_on_a_fleet_is_told_of_a_fault(
    tmp_path: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = StoreWithRuns(tmp_path, scratch_layout, monkeypatch)
    made.plays(good(), good())
    _, directory = made.execute(request(repeat=2))
    (tmp_path / fleet.SAID_FILE).write_text("  the worker on lab3 was lost while it made it\n")
    assert faults(made, tmp_path, begun=3) == []
    assert "begun 4 times, and only 1 of it were said" in faults(made, tmp_path, begun=4)[0]
    entry = next(one for one in read_journal(directory) if one.step is Step.FINISHED)
    (directory / entry.place / "console.log").write_text("nothing\n")
    assert entry.place in faults(made, tmp_path, begun=2)[0]
    with Journal(directory) as journal:
        journal.append(entry)
    assert "the boots that ended are [1, 1, 2]" in faults(made, tmp_path, begun=2)[0]
    monkeypatch.setattr(fleet, "_LEFT_SECONDS", 0.2)
    with subprocess.Popen(["sh", "-c", "read line", str(tmp_path)], stdin=subprocess.PIPE) as process:
        assert any("a process is left" in one for one in faults(made, tmp_path, begun=2))
        process.kill()


def faults(made: StoreWithRuns, place: Path, begun: int) -> list[str]:
    tally = fleet.Tally()
    fleet.look_at(made, place, tally, 2, begun)
    return tally.faults


@pytest.mark.parametrize("presses", [2, 5])
def test_who_presses_ctrl_c_again_and_again_leaves_nothing_behind(ground: Ground, presses: int) -> None:
    """In a boot, where guests have a grace that an impatient user must not cut short by half."""
    assert ground.command(*ground.run_words).status == 0
    words = (*ground.run_words, "--append", "flood=none")  # a guest that takes its time
    child = start(Call(words, ground.environment(), cwd=str(ground.place)))
    limit = time.monotonic() + 60
    before = set(ground.store.glob("runs/*/001-*/control.log"))
    while not set(ground.store.glob("runs/*/001-*/control.log")) - before:
        assert time.monotonic() < limit
        time.sleep(0.02)
    for _ in range(presses):
        os.kill(child, signal.SIGINT)
        time.sleep(0.05)
    status = wait(child, 30)
    left = processes_naming(ground.store)
    assert status in (130, 0)
    assert left == []
