# SPDX-License-Identifier: GPL-2.0-only
"""Where the time of a command went: what is kept, how it lies in each other, and what is written."""

from __future__ import annotations

import json
import threading
from itertools import pairwise
from pathlib import Path

import pytest

from harness import trace
from harness.model.errors import UserError
from harness.trace import note, now, span, tracing
from tests.unit.stand_in.cells import BOOTS, begins, case, case_begins, ends, powers_off, request
from tests.unit.stand_in.runs import Ground


def read(file: Path) -> dict[tuple[str, str], list[dict[str, object]]]:
    """The events by group and lane; every one must be of a group and a lane that are told."""
    whole = json.loads(file.read_text())
    assert whole["otherData"] == {"dropped": 0}
    names: dict[tuple[str, int, int], str] = {}
    found: dict[tuple[str, str], list[dict[str, object]]] = {}
    for event in whole["traceEvents"]:
        if event["ph"] == "M":
            names[event["name"], event["pid"], event["tid"]] = event["args"]["name"]
            continue
        group, lane = (names[kind, event["pid"], event["tid"]] for kind in ("process_name", "thread_name"))
        found.setdefault((group, lane), []).append(event)
    return found


def spans(events: list[dict[str, object]]) -> dict[str, tuple[int, int]]:
    return {
        str(one["name"]): (int(str(one["ts"])), int(str(one["ts"])) + int(str(one["dur"])))
        for one in events
        if one["ph"] == "X"
    }


def test_blocks_lie_in_each_other(tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    with tracing(file), span("outer"):
        with span("first"):
            note("a moment", now(), lane="moments")
        with span("second"):
            pass
    found = read(file)
    assert set(found) == {("ttm-harness", "MainThread"), ("ttm-harness", "moments")}
    steps = spans(found["ttm-harness", "MainThread"])
    assert list(steps) == ["first", "second", "outer", "command"]  # as they end
    assert steps["command"][0] <= steps["outer"][0] <= steps["first"][0]
    assert steps["first"][1] <= steps["second"][0] <= steps["second"][1] <= steps["outer"][1] <= steps["command"][1]
    assert [one["ph"] for one in found["ttm-harness", "moments"]] == ["i"]


def test_a_function_may_be_a_step_each_time(tmp_path: Path) -> None:
    @span("work")
    def work() -> None: ...

    work()
    with tracing(tmp_path / "trace.json"):
        work()
        threads = [threading.Thread(target=work, name=f"boot_{number}") for number in range(2)]
        for thread in threads:
            thread.start()
            thread.join()
    assert [list(spans(one)) for one in read(tmp_path / "trace.json").values()] == [
        ["work", "command"],
        ["work"],
        ["work"],
    ]


def test_without_a_file_nothing_is_kept(tmp_path: Path) -> None:
    with tracing(None), span("outer"):
        note("x", 0.0, 1.0)
    assert trace._recorder is None
    assert list(tmp_path.iterdir()) == []


def test_what_failed_is_written_too(tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    with pytest.raises(KeyboardInterrupt), tracing(file), span("long"):
        raise KeyboardInterrupt
    assert list(spans(read(file)["ttm-harness", "MainThread"])) == ["long", "command"]
    assert trace._recorder is None


def test_a_file_that_cannot_be_written_is_said_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot write the trace to .*No such file"), tracing(tmp_path / "no" / "t"):
        pytest.fail("the work began")


def test_too_many_events_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "_MOST_EVENTS", 5)
    file = tmp_path / "trace.json"
    with tracing(file):
        for _ in range(10):
            note("x", now())
    whole = json.loads(file.read_text())
    assert len(whole["traceEvents"]) == 5
    assert whole["otherData"]["dropped"] == 8  # two of the five are the names; the command itself came last


@pytest.fixture
def ground(tmp_path: Path, scratch_layout: object, monkeypatch: pytest.MonkeyPatch) -> Ground:
    return Ground(tmp_path, scratch_layout, monkeypatch)  # type: ignore[arg-type]


def test_a_guest_has_its_own_lanes(ground: Ground, tmp_path: Path) -> None:
    cases = (*case("a", 1), *case("b", 2))
    ground.plays((*BOOTS, *begins("p", ("a", "b")), *cases, *ends(), *powers_off()))
    file = tmp_path / "trace.json"
    with tracing(file):
        report, _ = ground.execute(request())
    found = read(file)
    guest = f"boot {report.runs[0].directory}"
    assert set(found) >= {("ttm-harness", "boot_0"), (guest, "cases"), (guest, "suites")}
    done = spans(found[guest, "cases"])
    assert [one for one in done if one in ("boot to ready", "a", "b", "power off")] == [
        "boot to ready",
        "a",
        "b",
        "power off",
    ]
    assert all(one[1] <= other[0] + 1 for one, other in pairwise(done.values()))  # one after the other, without a gap
    suite = spans(found[guest, "suites"])["p"]
    assert suite[0] <= done["a"][0] <= done["b"][1] <= suite[1]
    host = spans(found["ttm-harness", "boot_0"])
    assert list(host) == ["verify what it boots from", "boot", "read what it left", "judge"]
    assert host["boot"][0] <= done["boot to ready"][0] <= suite[1] <= host["boot"][1]


def test_a_guest_that_dies_closes_what_it_was_at(ground: Ground, tmp_path: Path) -> None:
    ground.plays((*BOOTS, *begins("p", ("a", "b")), *case_begins("a"), ("exit", 0)))
    file = tmp_path / "trace.json"
    with tracing(file):
        report, _ = ground.execute(request())
    found = read(file)
    guest = f"boot {report.runs[0].directory}"
    assert "a" in spans(found[guest, "cases"])
    assert "p" in spans(found[guest, "suites"])
