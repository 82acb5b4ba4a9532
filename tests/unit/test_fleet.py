# SPDX-License-Identifier: GPL-2.0-only
"""Runs whose boots are made by workers of Dask, on this host: kernels are made up, and guests stand in for QEMU."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.fleet.clusters import fleet
from harness.fleet.fleet import Fleet
from harness.flow.run import RunOptions, execute, resume
from harness.model.errors import UserError
from harness.model.outcome import Verdict
from harness.model.result import Report
from harness.store.journal import Step, read_journal
from harness.store.layout import Layout
from tests.unit.stand_in.cells import good, request
from tests.unit.stand_in.runs import Ground

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def ground(tmp_path: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Ground:
    return Ground(tmp_path, scratch_layout, monkeypatch)


def on_fleet(ground: Ground, hosts: Fleet, boots: int) -> tuple[Report, Path]:
    return execute((request(repeat=boots),), ground.layout, ground.told, RunOptions(hosts=hosts))


def test_a_run_on_workers_of_this_host(ground: Ground) -> None:
    ground.plays(*[good()] * 4)
    with fleet("local:2", ground.layout, ground.told) as hosts:
        report, directory = on_fleet(ground, hosts, 4)
    assert (report.verdict, report.reasons) == (Verdict.GOOD, ())
    assert {run.host for run in report.runs} == {os.uname().nodename}
    print(ground.told.said)
