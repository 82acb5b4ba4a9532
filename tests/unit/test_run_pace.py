# SPDX-License-Identifier: GPL-2.0-only
"""A run that has no time for all of its boots: which come first, what is left, and how it is gone on with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from harness.flow.run import resume
from harness.flow.run_record import Planned
from harness.model.outcome import Verdict
from harness.store.journal import Step, read_journal
from harness.store.layout import Layout
from harness.store.runs import load_report
from tests.unit.stand_in.cells import good, request
from tests.unit.stand_in.runs import BASE, Ground

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def ground(tmp_path: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Ground:
    return Ground(tmp_path, scratch_layout, monkeypatch)


class Paced:
    """So many boots, those first that are worth most."""

    def __init__(self, most: int, worth: Callable[[Planned], float] = lambda planned: 0.0) -> None:
        self._left = most
        self.worth = worth
        self.opened: list[int] = []

    def opens(self, planned: Sequence[Planned]) -> None:
        self.opened = [one.number for one in planned]

    def begins(self, planned: Planned) -> bool:
        self._left -= 1
        return self._left >= 0


def begun(directory: Path) -> list[int]:
    return [one.number for one in read_journal(directory) if one.step is Step.BEGUN]


def test_the_boots_that_are_worth_most_come_first(ground: Ground) -> None:
    ground.plays(good(), good(), good())
    pace = Paced(9, lambda planned: planned.cell.seed)
    report, directory = ground.execute(request(repeat=3), pace=pace)
    assert begun(directory) == [3, 2, 1]
    assert pace.opened == [1, 2, 3]
    assert report.verdict is Verdict.GOOD
    assert [run.cell.seed for run in report.runs] == [1, 2, 3]  # in a report the order is that of the plan


def test_base_and_tip_stay_beside_each_other(ground: Ground) -> None:
    ground.plays(*[good()] * 4)
    _, directory = ground.execute(request(repeat=2, base=BASE), pace=Paced(9, lambda planned: planned.cell.seed))
    assert begun(directory) == [3, 4, 1, 2]


def test_what_there_is_no_time_for_is_left_to_resume(ground: Ground) -> None:
    ground.plays(good(), good(), good())
    report, directory = ground.execute(request(repeat=3), pace=Paced(1))
    assert report.verdict is Verdict.CANNOT_TELL
    assert report.reasons[0] == "the run was interrupted: 2 boots were not made"
    assert load_report(directory) == report
    assert read_journal(directory)[-1].step is Step.FINISHED
    report, again = resume(ground.layout, "", ground.told, parallel=1, pace=Paced(1))
    assert (again, len(report.runs), report.verdict) == (directory, 2, Verdict.CANNOT_TELL)
    report, again = ground.resume()
    assert (again, len(report.runs), report.verdict) == (directory, 3, Verdict.GOOD)
    assert begun(directory) == [1, 2, 3]
    assert read_journal(directory)[-1].step is Step.ENDED


def test_the_twin_of_a_boot_that_was_left_is_left_too(ground: Ground) -> None:
    report, directory = ground.execute(request(), request(), pace=Paced(0))
    assert (report.verdict, report.runs) == (Verdict.CANNOT_TELL, ())
    assert begun(directory) == []
