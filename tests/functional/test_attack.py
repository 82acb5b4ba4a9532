# SPDX-License-Identifier: GPL-2.0-only
"""A small part of what `make soak` does at large: each attack for some seconds, and nothing may go wrong."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.attack import damage, kills, others
from tests.attack.forked import Call, ready, start, wait
from tests.attack.ground import Ground, processes_naming


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
