# SPDX-License-Identifier: GPL-2.0-only
"""A cell from its boots to its verdict, for each way in which they can end, with a guest that stands in for QEMU."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from harness.flow import boots as boots_module
from harness.flow.boots import Stopped, boot_cell
from harness.flow.collect import CellResult, ground_of
from harness.guest import boot as boot_module
from harness.guest import bounded
from harness.guest.stall import Stall
from harness.judge.expectations import BOOT_SUITE
from harness.model.cell import Cell, Knob
from harness.model.codec import from_json
from harness.model.errors import StoreDamaged
from harness.model.machine import Swap
from harness.model.outcome import Ending, Verdict
from harness.model.suite import ExpectedSplat, Manifest, ManifestCase, Suite
from harness.model.suite import Ground as Grounds
from tests.unit.stand_in import HANG, Clock, StandIn, Step, say, seen, time_passes
from tests.unit.stand_in.cells import (
    BOOTS,
    NAMES,
    OTHER,
    SUITE,
    Told,
    begins,
    case,
    case_begins,
    cell,
    ends,
    environment_in,
    good,
    powers_off,
)

pytestmark = pytest.mark.timeout(30)

BEATS = (("beat", "1.00"),) * 20_000  # enough for all of the time that passes
PANIC = say("Kernel panic - not syncing: Fatal exception")
OOPS = say(
    "BUG: kernel NULL pointer dereference, address: 0000000000000000",
    "Oops: Oops: 0000 [#1] SMP",
    "RIP: 0010:vmap+0x6a/0xc0",
    "Call Trace:",
    " vmap+0x6a/0xc0",
    "---[ end trace 0000000000000000 ]---",
)


class Ground:
    """A directory in which cells are booted."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stand_in = StandIn(place, monkeypatch)
        self.clock = Clock(self.stand_in, monkeypatch)
        self.progress = Told()
        self.stop = threading.Event()
        self.environment = environment_in(place, self.progress, self.stop)
        self.place = place / "run" / f"001-{cell().id}"
        monkeypatch.setattr(boot_module, "interrogate", self._interrogate)

    def _interrogate(self, _qmp: Path, console: Path, why: str, *_: object) -> Stall:
        return Stall(why, "running", True, console.stat().st_size, f"the guest was given up: {why}")

    def boots(
        self, *scripts: tuple[Step, ...], suites: tuple[Suite, ...] = (SUITE,), of: Cell | None = None
    ) -> CellResult:
        for script in scripts:
            self.stand_in.plays(*script)
        result = boot_cell(of or cell(tuple(suite.name for suite in suites)), suites, self.environment, 1)
        assert self.stand_in.left == 0
        return result


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    return Ground(tmp_path, monkeypatch)


def outcomes(result: CellResult) -> dict[str, str]:
    return {one.name.rpartition(".")[2]: str(one.outcome) for one in result.cases if one.suite != BOOT_SUITE}


def boot_outcome(result: CellResult) -> str:
    return next(str(one.outcome) for one in result.cases if one.suite == BOOT_SUITE)


def test_all_pass(ground: Ground) -> None:
    result = ground.boots(good())
    assert result.run.reasons == ()
    assert (result.run.verdict, result.run.ending, result.run.phase) == (Verdict.GOOD, Ending.FINISHED, "shutdown")
    assert outcomes(result) == dict.fromkeys(NAMES, "PASS")
    assert boot_outcome(result) == "PASS"
    assert (result.run.differences, result.run.problems, result.run.notes, result.run.more) == ((), (), (), ())
    assert [stage.name for stage in result.run.stages] == ["ready", "p", "boot"]
    assert result.run.facts is not None
    assert result.run.id == result.run.directory == ground.place.name
    assert {one.run for one in result.cases} == {result.run.id}
    assert ground.progress.said == [f"boot 1: {cell().machine}: p", "  suite p"]
    names = {path.name for path in ground.place.iterdir()}
    assert {"cell.json", "argv", "config", "console.log", "control.log", "results", "reproduce.sh"} <= names
    assert names.isdisjoint({"scratch", "bad.img", "stall.txt"})
    assert from_json(Cell, (ground.place / "cell.json").read_text()) == cell()
    assert (ground.place / "results" / "suites").read_text() == "p suite-exec\n"
    assert "HARNESS_STOP_AT_FIRST" not in (ground.place / "results" / "job").read_text()


def test_a_case_fails(ground: Ground) -> None:
    steps = (*case("a", 1), *case("b", 2, "not ok"), *case("c", 3), *case("d", 4))
    result = ground.boots((*BOOTS, *begins(), *steps, *ends(), *powers_off()))
    assert result.run.verdict is Verdict.BAD
    assert outcomes(result) == {"a": "PASS", "b": "FAIL", "c": "PASS", "d": "PASS"}
    assert result.run.reasons == ("1 case FAIL",)


def test_a_panic_costs_the_case_and_the_rest_is_run_in_a_boot_of_its_own(ground: Ground) -> None:
    result = ground.boots((*BOOTS, *begins(), *case("a", 1), *case_begins("b"), PANIC), good(("c", "d")))
    assert result.run.verdict is Verdict.BAD
    assert outcomes(result) == {"a": "PASS", "b": "CRASH", "c": "PASS", "d": "PASS"}
    assert (result.run.ending, boot_outcome(result)) == (Ending.PANICKED, "CRASH")
    assert [(one.directory, one.ending, one.cases) for one in result.run.more] == [("rest-1", Ending.FINISHED, 2)]
    assert "HARNESS_CASES=c,d\n" in (ground.place / "rest-1" / "results" / "job").read_text()
    assert "panic" in {event.kind for event in result.events}
    assert ground.progress.said[2] == "  the boot ended in the case b; 2 more in a fresh one"


def test_an_oops_in_a_case_that_goes_on_is_that_cases(ground: Ground) -> None:
    steps = (*case("a", 1), *case_begins("b"), OOPS, say("    ok 2 b"), *case("c", 3), *case("d", 4))
    result = ground.boots((*BOOTS, *begins(), *steps, *ends(), *powers_off(taint=128)))
    assert result.run.verdict is Verdict.BAD
    assert outcomes(result) == {"a": "PASS", "b": "CRASH", "c": "PASS", "d": "PASS"}
    assert (result.run.ending, boot_outcome(result)) == (Ending.FINISHED, "PASS")


def test_an_oops_that_no_case_stands_for_is_the_boots(ground: Ground) -> None:
    result = ground.boots((*good()[:-1], OOPS, *powers_off(taint=128)))
    assert (result.run.verdict, boot_outcome(result)) == (Verdict.BAD, "CRASH")
    assert set(outcomes(result).values()) == {"PASS"}


def test_an_oops_that_no_case_stands_for_in_a_further_boot_is_no_silent_taint(ground: Ground) -> None:
    rest = (*good(("b", "c", "d"))[:-1], OOPS, *powers_off(taint=128))
    result = ground.boots((*BOOTS, *begins(), *case_begins("a"), PANIC), rest)
    assert (result.run.verdict, result.run.problems) == (Verdict.BAD, ())


def test_the_worst_of_its_boots_is_the_cells(ground: Ground) -> None:
    panics = (*BOOTS, *begins("p", ("b", "c", "d")), *case_begins("b"), PANIC)
    result = ground.boots(overdue(*NAMES), good(("a",)), panics, good(("c", "d")))
    assert (result.run.ending, boot_outcome(result)) == (Ending.TIMEOUT, "CRASH")


def test_a_guest_that_hangs_after_its_suites(ground: Ground) -> None:
    result = ground.boots((*good()[:-1], time_passes(), HANG))
    assert (result.run.phase, boot_outcome(result), result.run.verdict) == ("shutdown", "CRASH", Verdict.BAD)


def test_a_case_that_nobody_knows_is_noted(ground: Ground) -> None:
    result = ground.boots(good((*NAMES, "new")))
    assert result.run.verdict is Verdict.GOOD
    assert len(result.run.notes) == 1
    assert "p.new" in result.run.notes[0]


@pytest.mark.parametrize(
    ("results", "end", "told"),
    [
        (("ok", "ok"), powers_off(), True),
        (("ok", "not ok"), powers_off(), False),  # beside a finding it is no news
        (("ok", "ok"), (), False),
    ],
)
def test_a_log_that_is_not_whole_is_no_evidence(
    ground: Ground, results: tuple[str, str], end: tuple[Step, ...], told: bool
) -> None:
    first, last = results
    steps = (*case("a", 1, first), *case("b", 3), *case("c", 3), *case("d", 4, last))
    result = ground.boots((*BOOTS, *begins(), *steps, *ends(), *end))
    assert (result.run.problems[:1] == ("p: line 11: number 3 where 2 was due: b",)) is told


def test_an_oops_that_a_case_makes_on_purpose_is_none(ground: Ground) -> None:
    suite = replace(SUITE, expected_splats=(ExpectedSplat(r"p\.b", "NULL pointer", "it reads through one"),))
    steps = (*case("a", 1), *case_begins("b"), OOPS, say("    ok 2 b"), *case("c", 3), *case("d", 4))
    result = ground.boots((*BOOTS, *begins(), *steps, *ends(), *powers_off(taint=128)), suites=(suite,))
    assert (result.run.verdict, boot_outcome(result)) == (Verdict.GOOD, "PASS")
    assert [event.expected for event in result.events] == ["it reads through one"]


def test_a_note_of_the_kernels_makes_nothing_red(ground: Ground) -> None:
    note = say("Disabling lock debugging due to kernel taint")
    result = ground.boots((*good()[:-1], note, *powers_off()))
    assert (result.run.verdict, boot_outcome(result)) == (Verdict.GOOD, "PASS")
    assert [event.kind for event in result.events] == ["taint"]


def test_figures_that_a_case_prints_are_its_metrics(ground: Ground) -> None:
    figure = (*case_begins("a"), say("    # a: bytes=4096", "    ok 1 a"))
    rest = (*case("b", 2), *case("c", 3), *case("d", 4))
    result = ground.boots((*BOOTS, *begins(), *figure, *rest, *ends(), *powers_off()))
    assert [(one.name, metric.name, metric.value) for one in result.cases for metric in one.metrics] == [
        ("p.a", "bytes", 4096.0)
    ]


def test_the_seconds_of_all_boots_are_added(ground: Ground) -> None:
    def taking(seconds: float, cases: tuple[str, ...]) -> tuple[Step, ...]:
        return (*good(cases)[:-2], time_passes(seconds), *good(cases)[-2:])

    result = ground.boots(overdue(*NAMES), taking(7.0, ("a",)), taking(5.0, ("b", "c", "d")))
    took = {stage.name: stage.seconds for stage in result.run.stages}
    assert 12.0 <= took["p"] < 31.0
    assert took["boot"] >= 31.0 + 12.0


def test_what_decides_which_cases_must_run(ground: Ground) -> None:
    build = ground.environment.kernel.build
    machine = replace(cell().machine, ram=512 << 20, free=128 << 20, swap=Swap.parse("disk:64M"))
    few = ground_of(replace(cell(machine=machine), knobs=(Knob("bo", "1M"),)), build, frozenset({"one"}))
    assert few == Grounds((7, 3, 4), True, 128 << 20, frozenset({"SWAP"}), frozenset({"bo"}), frozenset({"one"}))
    many = ground_of(cell(machine=replace(machine, free=None, swap=Swap())), build, frozenset())
    assert (many.swap, many.ram) == (False, 512 << 20)


def test_a_taint_without_a_word_is_no_evidence(ground: Ground) -> None:
    result = ground.boots((*good()[:-1], *powers_off(taint=1 << 9)))
    assert result.run.verdict is Verdict.CANNOT_TELL
    assert result.run.problems == ("the kernel is tainted (512) by something that its console does not show",)


@pytest.mark.parametrize("taint", [1 << 5, 1 << 7, 1 << 14])
def test_each_taint_of_a_splat_counts(ground: Ground, taint: int) -> None:
    assert ground.boots((*good()[:-1], *powers_off(taint=taint))).run.verdict is Verdict.CANNOT_TELL


def test_a_taint_of_what_is_harmless_does_not(ground: Ground) -> None:
    assert ground.boots((*good()[:-1], *powers_off(taint=1 << 12 | 1 << 18))).run.verdict is Verdict.GOOD


def test_a_guest_that_goes_silent_in_a_case(ground: Ground) -> None:
    silent = (*BOOTS, *begins(), *case("a", 1), *case_begins("b"), time_passes(), HANG)
    result = ground.boots(silent, good(("c", "d")))
    assert result.run.verdict is Verdict.BAD
    assert outcomes(result) == {"a": "PASS", "b": "TIMEOUT", "c": "PASS", "d": "PASS"}
    assert (result.run.ending, boot_outcome(result)) == (Ending.HUNG, "CRASH")
    assert (ground.place / "stall.txt").read_text().startswith("the guest was given up: no heartbeat")
    assert not (ground.place / "rest-1" / "stall.txt").exists()


def overdue(*names: str) -> tuple[Step, ...]:
    """A boot that is to run these cases, the first of which does not end."""
    return (*BOOTS, *begins("p", names), *case_begins(names[0]), time_passes(31.0, *BEATS[:20]), HANG)


def test_a_case_beyond_its_deadline_is_tried_again_alone_and_then_it_is_its_fault(ground: Ground) -> None:
    result = ground.boots(overdue(*NAMES), overdue("a"), good(("b", "c", "d")))
    assert outcomes(result) == {"a": "TIMEOUT", "b": "PASS", "c": "PASS", "d": "PASS"}
    assert result.run.verdict is Verdict.BAD
    assert [one.directory for one in result.run.more] == ["alone-1", "rest-1"]
    assert "HARNESS_CASES=a\n" in (ground.place / "alone-1" / "results" / "job").read_text()
    assert "  the case a did not end; once more, alone" in ground.progress.said


def test_a_boot_that_only_confirms_another_says_nothing_of_itself(ground: Ground) -> None:
    alone = (*BOOTS, ("control", "nonsense\n"), *begins("p", "a"), *case_begins("a"), PANIC)
    result = ground.boots(overdue(*NAMES), alone, good(("b", "c", "d")))
    assert (outcomes(result)["a"], boot_outcome(result)) == ("TIMEOUT", "INCOMPLETE")
    assert (result.run.problems, result.events) == ((), ())


def test_what_is_wrong_with_a_further_boot_is_said_with_its_name(ground: Ground) -> None:
    rest = (*BOOTS, ("control", "nonsense\n"), *good(("b", "c", "d"))[4:])
    result = ground.boots((*BOOTS, *begins(), *case_begins("a"), PANIC), rest)
    assert result.run.problems == ("rest-1: the control channel carried broken frames, the first 'nonsense'",)


def test_one_that_ends_alone_is_nobodys_fault(ground: Ground) -> None:
    result = ground.boots(overdue(*NAMES), good(("a",)), good(("b", "c", "d")))
    assert outcomes(result)["a"] == "INCOMPLETE"
    assert result.run.verdict is Verdict.CANNOT_TELL


def test_the_last_case_leaves_nothing_for_another_boot(ground: Ground) -> None:
    steps = (*case("a", 1), *case("b", 2), *case("c", 3), *case_begins("d"), PANIC)
    result = ground.boots((*BOOTS, *begins(), *steps))
    assert outcomes(result) == {"a": "PASS", "b": "PASS", "c": "PASS", "d": "CRASH"}
    assert result.run.more == ()


def test_a_suite_that_cannot_run_a_part_is_not_gone_on_with(ground: Ground) -> None:
    steps = (*BOOTS, *begins(), *case("a", 1), *case_begins("b"), PANIC)
    result = ground.boots(steps, suites=(replace(SUITE, selectable=False),))
    assert result.run.more == ()
    assert outcomes(result)["c"] == "INCOMPLETE"


def test_the_first_red_case_may_be_the_end(ground: Ground) -> None:
    ground.environment = replace(ground.environment, stop_at_first=True)
    result = ground.boots((*BOOTS, *begins(), *case_begins("a"), PANIC))
    assert (result.run.verdict, result.run.more) == (Verdict.BAD, ())
    assert "HARNESS_STOP_AT_FIRST=1\n" in (ground.place / "results" / "job").read_text()


def test_qemu_that_is_killed_is_nobodys_fault(ground: Ground) -> None:
    result = ground.boots((*BOOTS, *begins(), *case("a", 1), *case_begins("b"), ("kill", 9)))
    assert (result.run.ending, result.run.verdict) == (Ending.LOST, Verdict.CANNOT_TELL)
    assert boot_outcome(result) == "INCOMPLETE"
    assert outcomes(result)["b"] == "INCOMPLETE"


def test_qemu_that_does_not_start_is_said(ground: Ground) -> None:
    result = ground.boots((("error", "qemu: no such machine\n"), ("leave", 1)))
    assert result.run.verdict is Verdict.CANNOT_TELL
    assert result.run.problems == (
        "the guest never got ready; its console ends with 'nothing'; the launcher said 'qemu: no such machine'",
    )
    assert (ground.place / "launcher.log").read_text() == "qemu: no such machine\n"
    assert outcomes(result) == dict.fromkeys(NAMES, "NOT_RUN")


def test_a_guest_that_never_gets_ready_is_nobodys_fault(ground: Ground) -> None:
    result = ground.boots((say("Linux version 7.3.4"), time_passes(), HANG))
    assert (result.run.verdict, result.run.ending, result.run.phase) == (Verdict.CANNOT_TELL, Ending.HUNG, "launch")


def test_garbage_on_the_control_port_is_no_evidence(ground: Ground) -> None:
    result = ground.boots((*BOOTS, ("control", "nonsense\n"), *good()[4:]))
    assert result.run.verdict is Verdict.CANNOT_TELL
    assert result.run.problems == ("the control channel carried broken frames, the first 'nonsense'",)


def test_a_flood_is_no_evidence(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "MOST_CONTROL", 1 << 16)
    monkeypatch.setattr(bounded, "_LOOK_SECONDS", 0.002)
    flood = ("flood", "control", f"@beat 990 {'x' * 990}\n")
    result = ground.boots((*BOOTS, *begins(), *case("a", 1), *case_begins("b"), flood))
    assert (result.run.ending, result.run.verdict) == (Ending.LOST, Verdict.CANNOT_TELL)
    assert "to the control channel" in (ground.place / "stall.txt").read_text()


def test_another_machine_than_was_asked_for_is_no_evidence(ground: Ground) -> None:
    steps = tuple(("facts", ["cpus=1"]) if step == ("facts",) else step for step in good())
    result = ground.boots(steps)
    assert (result.run.verdict, [one.what for one in result.run.differences]) == (Verdict.CANNOT_TELL, ["vCPUs"])


def test_a_runner_that_could_not_do_its_work_is_no_evidence(ground: Ground) -> None:
    log = ("result_file", "p.log", "first\nno such module\n")
    result = ground.boots((*good()[:-3], log, *ends(status=1)[1:], *powers_off()))
    assert result.run.verdict is Verdict.CANNOT_TELL
    assert "the runner of p could not do its work (status 1): no such module" in result.run.problems


def test_a_runner_that_could_not_do_its_work_is_told_before_what_is_missing_for_it(ground: Ground) -> None:
    log = ("result_file", "p.log", "no such module\n")
    steps = (*BOOTS, *begins()[:2], log, say("ttm-harness: suite p end 1"), *ends(status=1)[2:], *powers_off())
    suite = replace(SUITE, manifest=Manifest("p", (ManifestCase("p.a", 1.0),)))
    result = ground.boots(steps, suites=(suite,))
    assert result.run.problems == (
        "the runner of p could not do its work (status 1): no such module",
        "p: the guest did not say first which cases it was going to run",
    )


def test_a_runner_that_died_in_an_oops_is_not_what_counts(ground: Ground) -> None:
    steps = (*case("a", 1), *case_begins("b"), OOPS, *ends(status=137), *powers_off(taint=128))
    result = ground.boots((*BOOTS, *begins(), *steps))
    assert result.run.verdict is Verdict.BAD
    assert not any("runner" in problem for problem in result.run.problems)


def test_what_kunit_wrote_itself_contradicts_the_console(ground: Ground) -> None:
    own = "KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: p\n    1..1\n    not ok 1 a\nnot ok 1 p\n"
    result = ground.boots((*good()[:-2], ("result_file", "p/p.ktap", own), *good()[-2:]))
    assert result.run.verdict is Verdict.CANNOT_TELL
    assert result.run.problems == ("p: p.a passed on the console, but not in kunit's own record (1 such)",)


KUNIT_IS_OFF = (say("Kernel command line: quiet kunit.enable=0"), say("kunit: disabled"))


@pytest.mark.parametrize(
    ("script", "executed", "told"),
    [("suite-kunit", False, True), ("suite-kunit", True, False), ("suite-exec", False, False)],
)
def test_why_kunit_is_silent_is_told_of_its_own_suites(
    ground: Ground, script: str, executed: bool, told: bool
) -> None:
    suite = replace(SUITE, script=script, selectable=False)
    steps = good()[4:] if executed else (*begins()[:2], *ends(), *powers_off())
    result = ground.boots((*BOOTS, *KUNIT_IS_OFF, *steps), suites=(suite,))
    assert any(one.startswith("p: kunit") for one in result.run.problems) is told


def test_two_suites_in_one_boot(ground: Ground) -> None:
    both = (*good()[:-1], *begins("q", ("a",)), *case("a", 1, suite="q"), *ends("q"), *powers_off(2))
    result = ground.boots(both, suites=(SUITE, OTHER))
    assert result.run.verdict is Verdict.GOOD
    assert [(one.suite, one.name) for one in result.cases][-2:] == [("q", "q.a"), (BOOT_SUITE, "kernel")]
    assert (
        ground.place.with_name(result.run.id) / "results" / "suites"
    ).read_text() == "p suite-exec\nq suite-exec\n"


def test_a_suite_that_was_not_come_to_is_no_evidence(ground: Ground) -> None:
    result = ground.boots(good(), suites=(SUITE, OTHER))
    assert result.run.verdict is Verdict.CANNOT_TELL
    assert "suite q was not run to its end" in result.run.problems


def test_disks_are_there_while_the_guest_runs_and_gone_afterwards(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: dict[str, int] = {}

    def make(path: Path, size: int) -> None:
        path.touch()
        made[path.name] = size

    monkeypatch.setattr(boots_module, "make_swap_image", make)
    machine = replace(cell().machine, swap=Swap.parse("disk:64M"))
    steps = tuple(("facts", ["swap_total=67104768", "swap0=67104768 -2 0"]) if s == ("facts",) else s for s in good())
    suite = replace(SUITE, bad_disk=True, devices=("usb-tablet",))
    result = ground.boots(steps, suites=(suite,), of=cell(machine=machine))
    assert made == {"swap0.img": 64 << 20, "bad.img": 64 << 20}
    assert list(ground.environment.directory.rglob("*.img")) == []
    argv = (ground.environment.directory / result.run.id / "argv").read_text()
    assert "swap0.img" in argv
    assert "bad.img" in argv
    assert "-device usb-tablet" in argv


def test_a_suite_that_is_sampled_without_telemetry_is_no_evidence(ground: Ground) -> None:
    result = ground.boots(good(), suites=(replace(SUITE, sample_ms=500, stats="/sys/stats"),))
    assert result.run.problems == ("no telemetry came out of the guest",)
    job = (ground.place / "results" / "job").read_text()
    assert "HARNESS_SAMPLE_MS=500\nHARNESS_STATS=/sys/stats\n" in job


def test_a_fourth_case_that_does_not_end_leaves_the_rest_out(ground: Ground) -> None:
    names = ("a", "b", "c", "d", "e", "f")
    suite = replace(SUITE, manifest=Manifest("p", tuple(ManifestCase(f"p.{name}", 1.0) for name in names)))
    dead = [(*BOOTS, *begins("p", names[at:]), *case_begins(names[at]), PANIC) for at in range(4)]
    result = ground.boots(*dead, suites=(suite,))
    assert [one.directory for one in result.run.more] == ["rest-1", "rest-2", "rest-3"]
    assert result.run.notes[0] == "p: 2 cases were left out, as 4 had ended a boot"
    assert [outcomes(result)[name] for name in names] == ["CRASH"] * 4 + ["INCOMPLETE"] * 2


def test_a_build_that_was_made_good_again_while_the_guest_ran(ground: Ground) -> None:
    image = ground.environment.kernel.build.image

    def tamper() -> None:
        text = image.read_text()
        image.write_text("tampered")
        image.write_text(text)

    ground.progress.when("  suite p", tamper)
    with pytest.raises(StoreDamaged, match="changed while the guest ran"):
        ground.boots(good())


def test_a_stop_before_the_boot(ground: Ground) -> None:
    ground.stop.set()
    with pytest.raises(Stopped):
        ground.boots(good())
    assert not (ground.place / "scratch").exists()


def test_a_stop_while_a_suite_runs_leaves_no_result_and_no_scratch(ground: Ground) -> None:
    ground.progress.when("  suite p", ground.stop.set)
    with pytest.raises(Stopped):
        ground.boots((*BOOTS, *begins(), *case_begins("a"), HANG))
    assert (ground.place / "console.log").exists()
    assert not (ground.place / "scratch").exists()
    assert not (ground.place / "launcher.log").exists()


def test_a_stop_in_a_further_boot_leaves_no_result(ground: Ground) -> None:
    ground.progress.when("  the boot ended in the case a; 3 more in a fresh one", ground.stop.set)
    with pytest.raises(Stopped):
        ground.boots((*BOOTS, *begins(), *case_begins("a"), PANIC), good(("b", "c", "d")))


def test_ctrl_c_while_a_boot_is_followed(ground: Ground) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    ground.progress.when("  suite p", interrupt)
    with pytest.raises(KeyboardInterrupt):
        ground.boots((*BOOTS, *begins(), HANG))
    assert not (ground.place / "scratch").exists()


def test_ctrl_c_while_results_are_read(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    def observe(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(boots_module, "observe", observe)
    with pytest.raises(KeyboardInterrupt):
        ground.boots(good())
    assert (ground.place / "launcher.log").exists()  # all that the boot left is there


def test_a_build_that_was_damaged_while_the_guest_ran(ground: Ground) -> None:
    image = ground.environment.kernel.build.image

    def tamper() -> None:
        image.write_text("tampered")

    ground.progress.when("  suite p", tamper)
    with pytest.raises(StoreDamaged, match="bzImage"):
        ground.boots(good())


def test_a_root_that_is_gone_before_a_further_boot(ground: Ground) -> None:
    ground.progress.when(
        "  the boot ended in the case a; 3 more in a fresh one",
        lambda: shutil.rmtree(ground.environment.root),
    )
    with pytest.raises(StoreDamaged, match="root"):
        ground.boots((*BOOTS, *begins(), *case_begins("a"), PANIC))
    assert not (ground.place / "rest-1").exists()


def test_a_full_disk_is_no_evidence(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boots_module, "disk_trouble", lambda place: f"the disk of {place} is full")
    result = ground.boots(good())
    assert result.run.verdict is Verdict.CANNOT_TELL
    assert result.run.problems == (f"the disk of {ground.place} is full",)


def test_modules_of_a_suite_are_shared_and_sealed(ground: Ground, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    kernel = replace(ground.environment.kernel, modules={"p": own})
    ground.environment = replace(ground.environment, kernel=kernel)
    with pytest.raises(StoreDamaged, match="own has no seal"):
        ground.boots()


def test_a_crowded_host_and_a_slow_kernel_make_limits_longer(ground: Ground) -> None:
    kernel = replace(ground.environment.kernel, slowness=3.0)
    ground.environment = replace(ground.environment, kernel=kernel, crowd=2.0)
    slow = (time_passes(59.0 * 6), seen("it is late"), say("hello"))
    result = ground.boots((*slow, *good()))
    assert result.run.verdict is Verdict.GOOD, result.run.reasons
