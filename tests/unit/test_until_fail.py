# SPDX-License-Identifier: GPL-2.0-only
"""Boots that are repeated until one is bad, and guests that the host treats badly."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from harness.flow.boots import STRESS_LOG
from harness.flow.run_record import load_record
from harness.guest import stress as stress_module
from harness.guest.argv import Launch
from harness.guest.control import ControlFrame
from harness.guest.stress import Act, Kind, Stress, acts, threads_of
from harness.model.outcome import Verdict
from harness.reports.text import spread
from harness.store.layout import Layout
from tests.unit.stand_in import Step as Act_
from tests.unit.stand_in import launch_in, seen
from tests.unit.stand_in.cells import BOOTS, begins, case, ends, good, powers_off, request
from tests.unit.stand_in.runs import Ground

pytestmark = pytest.mark.timeout(60)


def script(result: str) -> tuple[Act_, ...]:
    return (*BOOTS, *begins("p", "a"), *case("a", 1, result), *ends(), *powers_off())


@pytest.fixture
def ground(tmp_path: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Ground:
    return Ground(tmp_path, scratch_layout, monkeypatch)


def test_the_first_bad_boot_is_the_last(ground: Ground) -> None:
    ground.plays(script("ok"), script("not ok"), script("ok"))
    report, directory = ground.execute(replace(request(), repeat=6, cases=("a",)), until_fail=True)
    assert (report.verdict, len(report.runs), ground.stand_in.left) == (Verdict.BAD, 2, 1)
    assert "ended at the first bad boot: 4 of 6 were not made" in report.reasons
    assert not any("interrupted" in reason for reason in report.reasons)
    assert load_record(directory).until_fail
    words = spread(report)
    assert words[1].split() == ["outcomes", "in", "2", "boots", "fingerprints"]
    assert words[2].split() == ["p.a", "1", "PASS,", "1", "FAIL"]


def test_without_a_bad_boot_all_are_made(ground: Ground) -> None:
    ground.plays(*[good(("a",))] * 3)
    report, _ = ground.execute(replace(request(), repeat=3, cases=("a",)), until_fail=True)
    assert (report.verdict, report.reasons, len(report.runs)) == (Verdict.GOOD, (), 3)
    assert spread(report) == []


def test_a_plan_of_stress_is_the_seeds() -> None:
    first, again, other = (list(itertools.islice(acts(seed), 60)) for seed in (1, 1, 2))
    assert first == again != other
    assert {one.kind for one in first} == set(Kind)
    assert all(0 < one.seconds <= 3 for one in first)


def test_the_clock_stands_still_while_the_guest_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    now = [100.0]

    class Session:
        def __enter__(self) -> Session:
            return self

        def __exit__(self, *_: object) -> None: ...

        def ask(self, command: str) -> str:
            asked.append(command)
            return ""

    class Waits:
        def wait(self, seconds: float) -> bool:
            now[0] += seconds
            return False

        def is_set(self) -> bool:
            return False

        def set(self) -> None: ...

    monkeypatch.setattr(stress_module, "monitor", lambda *_: Session())
    monkeypatch.setattr("harness.guest.stress.time.monotonic", lambda: now[0])
    stress = Stress(launch_in(tmp_path), 1)
    monkeypatch.setattr(stress, "_ends", Waits())
    stress._do(Act(Kind.PAUSE, 5.0), tmp_path / "qmp")
    assert (asked, stress.clock()) == (["stop", "cont"], 100.0)
    now[0] += 2.0
    assert stress.clock() == 102.0
    stress._do(Act(Kind.THROTTLE, 1.0, 0.25), tmp_path / "qmp")
    assert asked == ["stop", "cont"] * 3
    assert stress.clock() == 102.5
    assert [line.split(maxsplit=1)[1] for line in stress.told] == ["pause 5.000 s", "throttle 1.000 s by 0.250"]


def test_it_begins_with_the_first_suite(tmp_path: Path) -> None:
    stress = Stress(launch_in(tmp_path), 1)
    stress.on_frame(ControlFrame("ready", "0.10"))
    assert not stress._begins.is_set()
    stress.on_frame(ControlFrame("start", "p"))
    assert stress._begins.is_set()


def test_nobody_elses_threads_are_touched(tmp_path: Path) -> None:
    launch: Launch = launch_in(tmp_path)
    assert list(threads_of(launch)) == []


def test_a_boot_under_stress_says_what_was_done_to_it(ground: Ground) -> None:
    ground.plays((*BOOTS, *begins("p", "a"), *case("a", 1), seen("it"), *ends(), *powers_off()))
    report, directory = ground.execute(replace(request(), cases=("a",)), stress=True)
    assert report.verdict is Verdict.GOOD
    assert (directory / report.runs[0].directory / STRESS_LOG).is_file()
    plain = replace(request(), cases=("a",))
    ground.plays(good(("a",)))
    report, _ = ground.execute(plain, fresh=False)
    assert report.runs[0].kept_from == "", "a boot under stress was taken for one without"
