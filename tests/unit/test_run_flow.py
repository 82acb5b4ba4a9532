# SPDX-License-Identifier: GPL-2.0-only
"""A run from its requests to its report, and what becomes of it when it is interrupted, killed, damaged or gone on
with. Kernels are made up, and the guest is the one that stands in for QEMU.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from harness.flow import run as run_module
from harness.flow.admission import Tokens
from harness.flow.history import History, read_history
from harness.flow.run import RunOptions, execute
from harness.flow.run_loader import read_report
from harness.flow.run_record import save_result
from harness.flow.schedule import Task
from harness.model.compare import Leg
from harness.model.errors import InfraError, StoreDamaged, UserError
from harness.model.outcome import Verdict
from harness.model.result import LeftOut, Report
from harness.store.journal import JOURNAL_FILE, Step, read_journal
from harness.store.layout import Layout
from harness.store.runs import REPORT_FILE, load_report
from tests.unit.stand_in import HANG, seen, time_passes
from tests.unit.stand_in.cells import (
    BOOTS,
    begins,
    case,
    case_begins,
    ends,
    good,
    powers_off,
    request,
)
from tests.unit.stand_in.runs import BASE, Ground

pytestmark = pytest.mark.timeout(60)

BAD = (*BOOTS, *begins("p", "a"), *case("a", 1, "not ok"), *ends(), *powers_off())


@pytest.fixture
def ground(tmp_path: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Ground:
    return Ground(tmp_path, scratch_layout, monkeypatch)


def steps(directory: Path) -> list[str]:
    return [f"{one.step} {one.number}".removesuffix(" 0") for one in read_journal(directory)]


def ctrl_c() -> None:
    """What the terminal does; the thread that calls it is not the one that is told."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.05)


def interrupted(*_: object) -> str:
    raise KeyboardInterrupt


def require_whole(report: Report, directory: Path, boots: int, verdict: Verdict = Verdict.GOOD) -> None:
    """A run that has all of its boots, each once, and says so everywhere."""
    assert (report.verdict, report.reasons if verdict is Verdict.GOOD else ()) == (verdict, ())
    assert load_report(directory) == report
    assert len({one.id for one in report.runs}) == len(report.runs) == boots
    assert {one.run for one in report.cases} == {one.id for one in report.runs}
    assert Counter((one.run, one.suite, one.name) for one in report.cases).most_common(1)[0][1] == 1
    entries = read_journal(directory)
    assert entries[-1].step is Step.ENDED
    assert {path.name for path in directory.iterdir() if path.is_dir()} == {one.id for one in report.runs}
    assert {one.number for one in entries if one.step is Step.FINISHED} == set(range(1, boots + 1))


def test_one_boot(ground: Ground) -> None:
    ground.plays(good())
    report, directory = ground.execute(request())
    require_whole(report, directory, 1)
    assert steps(directory) == ["begun 1", "finished 1", "ended"]
    assert [stage.name for stage in report.stages] == ["gate", "accelerator", "boots"]
    assert report.provenance.qemu == "QEMU that stands in"
    assert report.id == directory.name
    assert ground.told.said == [f"boot 1: {request().machine}: p", "1:  suite p", "boot 1: good"]
    finished = read_journal(directory)[1]
    assert (finished.verdict, finished.kept_from) == ("good", "")
    assert finished.seconds > 0


def test_several_boots_one_after_the_other(ground: Ground) -> None:
    ground.plays(good(), BAD)
    report, directory = ground.execute(request(), request(seed=2, cases=("a",)))
    require_whole(report, directory, 2, Verdict.BAD)
    assert steps(directory) == ["begun 1", "finished 1", "begun 2", "finished 2", "ended"]
    assert ground.told.said[0] == "2 of 2 boots, at most 1 side by side"
    assert "boot 2: bad" in ground.told.said
    assert len(ground.made) == 1


def test_suites_that_share_no_boot(ground: Ground) -> None:
    ground.plays(good(), good(("a",), suite="q"))
    report, directory = ground.execute(request(suites=("p", "q")))
    require_whole(report, directory, 2)
    assert [run.cell.suites for run in report.runs] == [("p",), ("q",)]


def test_several_boots_side_by_side(ground: Ground) -> None:
    meets = {one: (("reach", one), ("until", f"{other}.reached")) for one, other in (("a", "b"), ("b", "a"))}
    ground.plays((*meets["a"], *good()), (*meets["b"], *good()))
    report, directory = execute((request(repeat=2),), ground.layout, ground.told, RunOptions(parallel=2))
    require_whole(report, directory, 2)
    assert [run.cell.seed for run in report.runs] == [1, 2]


@pytest.mark.parametrize(("parallel", "verdict"), [(1, Verdict.CANNOT_TELL), (2, Verdict.GOOD)])
def test_who_may_get_company_has_longer_limits(ground: Ground, parallel: int, verdict: Verdict) -> None:
    slow = (time_passes(100.0), seen("it is late"), *good())  # in silence, of which a guest alone has a minute
    ground.plays(slow, good())
    report, _ = execute((request(repeat=2),), ground.layout, ground.told, RunOptions(parallel=parallel))
    assert report.verdict is verdict


def test_a_host_without_room_is_waited_for(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    rooms = iter((0,))
    monkeypatch.setattr(run_module, "room_for_guests", lambda: next(rooms, 1 << 40))
    ground.plays(good())
    report, directory = ground.execute(request())
    require_whole(report, directory, 1)
    assert ground.told.said[0] == "waiting for the host to have room for the next guest"


def test_the_base_beside_the_patched_kernel(ground: Ground) -> None:
    ground.plays(BAD, good(("a",)))
    report, _ = ground.execute(request(base=BASE, cases=("a",)))
    assert report.verdict is Verdict.GOOD
    assert [run.leg for run in report.runs] == [Leg.BASE, Leg.TIP]
    assert [run.cell.build_id[0] for run in report.runs] == ["a", "b"]
    assert [str(one.change) for one in report.comparisons if one.suite == "p"] == ["FIXED"]


def left_out(suite: str, counts: bool) -> LeftOut:
    return LeftOut(suite, "6.12.0", "b" * 64, "p needs 6.15", counts=counts)


def test_a_kernel_that_is_too_old_for_everything_is_refused(ground: Ground) -> None:
    ground.left_out = (left_out("p", counts=False),)
    with pytest.raises(UserError, match="too old for all of the suites"):
        ground.execute(request())
    assert list(ground.layout.runs.iterdir()) == []


def test_a_suite_that_does_not_build_leaves_a_report_without_boots(ground: Ground) -> None:
    ground.left_out = (left_out("p", counts=True),)
    report, directory = ground.execute(request())
    assert report.verdict is Verdict.CANNOT_TELL
    assert steps(directory) == ["ended"]


# --- interrupted, and gone on with


def test_ctrl_c_before_the_first_boot(ground: Ground) -> None:
    ground.told.when("2 of 2 boots, at most 1 side by side", ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        ground.execute(request(repeat=2))
    directory = ground.newest
    assert steps(directory) == []
    assert not (directory / REPORT_FILE).exists()
    ground.plays(good(), good())
    report, again = ground.resume()
    assert again == directory
    require_whole(report, directory, 2)


def test_ctrl_c_while_a_guest_runs(ground: Ground) -> None:
    ground.plays(good(), (*BOOTS, *begins(), *case_begins("a"), HANG))
    ground.told.when("2:  suite p", ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        ground.execute(request(repeat=2))
    directory = ground.newest
    assert steps(directory) == ["begun 1", "finished 1", "begun 2"]
    assert "boot 2: ended" in ground.told.said
    partial = load_report(directory)
    assert (partial.verdict, len(partial.runs)) == (Verdict.CANNOT_TELL, 1)
    assert any("1 boot" in reason for reason in partial.reasons), partial.reasons
    ground.plays(good())
    report, again = ground.resume(directory.name)
    require_whole(report, again, 2)
    assert steps(directory)[3:] == ["resumed", "begun 2", "finished 2", "ended"]
    assert report.runs[0] == partial.runs[0]
    assert "1 of 2 boots, 1 results are there already, at most 1 side by side" in ground.told.said


def test_a_finding_before_ctrl_c_is_one_in_the_partial_report(ground: Ground) -> None:
    ground.plays(BAD, HANG_IN_BOOT)
    ground.told.when("2:  suite p", ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        ground.execute(request(repeat=2, cases=("a",)))
    assert load_report(ground.newest).verdict is Verdict.BAD


HANG_IN_BOOT = (*BOOTS, *begins("p", "a"), *case_begins("a"), HANG)


def test_ctrl_c_between_two_boots(ground: Ground) -> None:
    ground.plays(good())
    ground.told.when("boot 1: good", ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        ground.execute(request(repeat=2))
    directory = ground.newest
    assert steps(directory) == ["begun 1", "finished 1"]
    assert len(load_report(directory).runs) == 1
    ground.plays(good())
    require_whole(*ground.resume(), 2)


def test_a_boot_that_was_let_in_and_not_begun_is_not_begun_after_ctrl_c(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(tasks: Sequence[Task], _tokens: Tokens, _most: int, stop: threading.Event, _tell: object) -> None:
        stop.set()
        for task in tasks:
            task.work()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "side_by_side", late)
        with pytest.raises(KeyboardInterrupt):
            ground.execute(request())
    assert steps(ground.newest) == []


def test_ctrl_c_while_results_are_read(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*arguments: object) -> None:
        ctrl_c()
        save_result(*arguments)  # type: ignore[arg-type]

    ground.plays(good())
    with monkeypatch.context() as patch:
        patch.setattr("harness.flow.run.save_result", late)
        with pytest.raises(KeyboardInterrupt):
            ground.execute(request())
    # Who reads results is not cut short: the boot counts.
    assert steps(ground.newest) == ["begun 1", "finished 1"]
    require_whole(*ground.resume(), 1)


def test_ctrl_c_at_the_very_end(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    ground.plays(good())
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "save_report", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ground.execute(request())
    require_whole(*ground.resume(), 1)
    assert ground.stand_in.left == 0


def test_the_report_of_before_is_gone_when_a_run_goes_on_and_is_killed(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.plays(good(("a",)), HANG_IN_BOOT, BAD)
    ground.told.when("2:  suite p", ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        ground.execute(request(repeat=2, cases=("a",)))
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "save_report", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ground.resume()
    assert read_report(ground.newest).verdict is Verdict.BAD


def test_a_run_that_is_held_is_not_gone_on_with(ground: Ground) -> None:
    def meanwhile() -> None:
        with pytest.raises(UserError, match="no run in the store is unfinished"):
            ground.resume()
        with pytest.raises(UserError, match="is still being made"):
            ground.resume(ground.newest.name)

    ground.told.when("1:  suite p", meanwhile)
    ground.plays(good())
    require_whole(*ground.execute(request()), 1)


def killed(ground: Ground, directory: Path, entries: int, torn: bool = False) -> None:
    """The run as kill -9 leaves it after so many lines of its journal; `torn`: in the middle of the next."""
    lines = (directory / JOURNAL_FILE).read_bytes().splitlines(keepends=True)
    rest = lines[entries][:20] if torn else b""
    (directory / JOURNAL_FILE).write_bytes(b"".join(lines[:entries]) + rest)
    (directory / REPORT_FILE).unlink()
    ground.told.said.clear()


@pytest.mark.parametrize(
    ("entries", "torn", "again"),
    [(0, True, [1, 2]), (1, False, [1, 2]), (2, True, [2]), (3, True, [2]), (4, False, [])],
)
def test_a_run_killed_between_two_entries_goes_on_and_doubles_nothing(
    ground: Ground, entries: int, torn: bool, again: list[int]
) -> None:
    ground.plays(good(), good())
    before, directory = ground.execute(request(repeat=2))
    assert len(steps(directory)) == 5
    killed(ground, directory, entries, torn)
    ground.plays(*(good() for _ in again))
    report, _ = ground.resume(directory.name)
    require_whole(report, directory, 2)
    assert ground.stand_in.left == 0
    assert [f"begun {number}" for number in again] == [one for one in steps(directory)[entries:] if "begun" in one]
    kept = [one for one in before.runs if int(one.id[:3]) not in again]
    assert kept == [one for one in report.runs if int(one.id[:3]) not in again]


def test_a_place_that_the_journal_names_is_not_followed(ground: Ground) -> None:
    ground.plays(good())
    report, directory = ground.execute(request())
    killed(ground, directory, 2)
    path = directory / JOURNAL_FILE
    path.write_text(path.read_text().replace(report.runs[0].id, "../../elsewhere"))
    require_whole(*ground.resume(), 1)
    assert steps(directory)[2:] == ["resumed", "ended"]


def test_a_run_that_ended_is_not_unfinished(ground: Ground) -> None:
    ground.plays(good())
    _, directory = ground.execute(request())
    with pytest.raises(UserError, match="no run in the store is unfinished"):
        ground.resume()
    require_whole(*ground.resume(directory.name), 1)
    assert steps(directory)[3:] == ["resumed", "ended"]
    (directory / JOURNAL_FILE).write_text("no journal\n")
    with pytest.raises(UserError, match="no run in the store is unfinished"):
        ground.resume()


def test_the_newest_unfinished_run_is_gone_on_with(ground: Ground) -> None:
    ground.plays(good())
    _, directory = ground.execute(request())
    killed(ground, directory, 2)
    ground.plays(good())
    ground.execute(request(seed=5))
    report, again = ground.resume()
    assert again == directory
    require_whole(report, again, 1)


def test_a_run_whose_kernel_changed_is_not_gone_on_with(ground: Ground) -> None:
    ground.plays(good())
    _, directory = ground.execute(request())
    ground.ids[request().kernel] = "c" * 64
    with pytest.raises(UserError, match="has changed since it began"):
        ground.resume(directory.name)
    assert steps(directory)[-1] == "ended"


def test_a_result_that_was_damaged_is_not_believed_when_a_run_goes_on(ground: Ground) -> None:
    ground.plays(good(), good())
    _, directory = ground.execute(request(repeat=2))
    killed(ground, directory, 4)
    first, second = sorted(path for path in directory.iterdir() if path.is_dir())
    (first / "console.log").write_text("ok 1 p\n")
    ground.plays(good())
    report, _ = ground.resume()
    require_whole(report, directory, 2)
    assert ground.told.said[0].startswith("1 result that was there is not believed, and booted again: ")
    assert "console.log" in ground.told.said[0]
    assert [path.name.startswith(directory.name) for path in ground.layout.damaged.iterdir()] == [True]
    killed(ground, directory, len(steps(directory)) - 1)
    shutil.rmtree(first)
    shutil.rmtree(second)
    ground.plays(good(), good())
    require_whole(*ground.resume(), 2)
    assert ground.told.said[0].startswith("2 that were there are not believed, and booted again: ")


# --- what the boots rest on


def test_a_build_that_is_damaged_is_made_again_once(ground: Ground) -> None:
    def tamper() -> None:
        ground.image.write_text("tampered")

    ground.plays(good(), good())
    ground.told.when("1:  suite p", tamper)
    report, directory = ground.execute(request())
    require_whole(report, directory, 1)
    assert steps(directory) == ["begun 1", "finished 1", "ended"]
    assert len(ground.made) == 2
    assert any(one.startswith("boot 1 is made again: ") and "bzImage" in one for one in ground.told.said)


def test_a_build_that_is_damaged_twice_ends_the_run(ground: Ground) -> None:
    def tamper() -> None:
        ground.image.write_text("tampered")
        ground.told.when("1:  suite p", tamper)

    ground.plays(good(), good())
    ground.told.when("1:  suite p", tamper)
    with pytest.raises(StoreDamaged, match="bzImage"):
        ground.execute(request())
    directory = ground.newest
    assert steps(directory) == ["begun 1"]
    assert not (directory / REPORT_FILE).exists()
    ground.told.when("1:  suite p", lambda: None)
    ground.plays(good())
    require_whole(*ground.resume(), 1)


def test_what_is_made_again_must_be_the_same(ground: Ground) -> None:
    def tamper() -> None:
        ground.image.write_text("tampered")
        ground.ids[request().kernel] = "c" * 64

    ground.plays(good(), good())
    ground.told.when("2:  suite p", tamper)
    with pytest.raises(InfraError, match="has changed meanwhile"):
        ground.execute(request(repeat=2))
    assert len(load_report(ground.newest).runs) == 1


def test_a_host_without_vng_ends_the_run(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    ground.plays(good())
    monkeypatch.setattr("harness.proc.search_path", lambda: ("/usr/bin", "/bin"))
    with pytest.raises(UserError, match="vng is not installed"):
        ground.execute(request(repeat=2))
    assert steps(ground.newest) == ["begun 1"]


# --- what is known already


def test_results_of_earlier_runs_are_taken_over(ground: Ground) -> None:
    ground.plays(good())
    before, first = ground.execute(request())
    ground.plays(good())
    report, directory = ground.execute(request(repeat=2), fresh=False)
    require_whole(report, directory, 2)
    assert steps(directory) == ["finished 1", "begun 2", "finished 2", "ended"]
    assert [run.kept_from for run in report.runs] == [first.name, ""]
    assert report.runs[0].facts == before.runs[0].facts
    assert "1 of 2 boots, 1 results are there already, at most 1 side by side" in ground.told.said
    assert (directory / report.runs[0].id / "console.log").read_bytes()
    chained, _ = ground.execute(request(), fresh=False)
    assert [run.kept_from for run in chained.runs] == [first.name]
    assert ground.stand_in.left == 0


def test_a_fresh_run_takes_nothing_over(ground: Ground) -> None:
    ground.plays(good(), good())
    ground.execute(request())
    report, _ = ground.execute(request())
    assert [run.kept_from for run in report.runs] == [""]
    assert ground.stand_in.left == 0


def test_an_earlier_result_that_could_not_tell_is_not_taken_over(ground: Ground) -> None:
    ground.plays((("leave", 1),), good())
    assert ground.execute(request())[0].verdict is Verdict.CANNOT_TELL
    require_whole(*ground.execute(request(), fresh=False), 1)


def whole(layout: Layout) -> list[bool]:
    return [kept.whole for kept in read_history(layout).kept.values()]


def test_an_earlier_result_that_was_damaged_is_not_taken_over(ground: Ground) -> None:
    ground.plays(good())
    _, first = ground.execute(request())
    assert whole(ground.layout) == [True]
    next(first.glob("*/console.log")).write_text("ok 1 p\n")
    assert whole(ground.layout) == [False]
    ground.plays(good())
    report, directory = ground.execute(request(), fresh=False)
    require_whole(report, directory, 1)
    assert report.runs[0].kept_from == ""
    assert any("is not believed, and booted again" in one and "console.log" in one for one in ground.told.said)


def test_an_earlier_result_that_was_pruned_meanwhile_is_not_missed(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.plays(good(), good())
    _, first = ground.execute(request())

    def read_and_prune(layout: Layout) -> History:
        found = read_history(layout)
        shutil.rmtree(first)
        return found

    monkeypatch.setattr(run_module, "read_history", read_and_prune)
    require_whole(*ground.execute(request(), fresh=False), 1)
    assert not any("not believed" in one for one in ground.told.said)


def test_twins_are_booted_once(ground: Ground) -> None:
    ground.plays(good())
    report, directory = ground.execute(request(), request())
    require_whole(report, directory, 2)
    assert steps(directory) == ["begun 1", "finished 1", "finished 2", "ended"]
    assert [run.kept_from for run in report.runs] == ["", ""]
    assert report.runs[0].facts == report.runs[1].facts
    assert len(list(directory.glob("*/console.log"))) == 2


def test_a_twin_of_a_boot_that_ended_before_the_run_was_killed_is_not_booted(ground: Ground) -> None:
    ground.plays(good())
    _, directory = ground.execute(request(), request())
    killed(ground, directory, 2)
    require_whole(*ground.resume(), 2)
    assert steps(directory)[2:] == ["resumed", "finished 2", "ended"]


def test_a_twin_of_a_result_of_an_earlier_run_is_that_runs_too(ground: Ground) -> None:
    ground.plays(good())
    _, first = ground.execute(request())
    _, directory = ground.execute(request(), request(), fresh=False)
    killed(ground, directory, 1)
    report, _ = ground.resume()
    require_whole(report, directory, 2)
    assert [run.kept_from for run in report.runs] == [first.name] * 2


def test_ctrl_c_before_a_twin_is_taken_over(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    ground.plays(good())
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "take_over", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ground.execute(request(), request())
    assert len(load_report(ground.newest).runs) == 1
    require_whole(*ground.resume(), 2)


def test_the_report_says_which_tools_there_were(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(_package: str) -> str:
        raise PackageNotFoundError

    monkeypatch.setattr(run_module, "version", version)
    (ground.stand_in.folder / "qemu-system-x86_64").write_text("#!/bin/sh\n")
    ground.plays(good())
    report, directory = ground.execute(request())
    assert (report.provenance.qemu, report.provenance.vng) == ("unknown", "virtme-ng of the distribution")
    assert json.loads((directory / "run.json").read_text())["cells"][0]["number"] == 1
