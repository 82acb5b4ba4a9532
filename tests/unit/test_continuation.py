# SPDX-License-Identifier: GPL-2.0-only
"""A boot that ends in a case: which one, what it counts as, what is left; and several boots as one result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.flow import boots as boots_module
from harness.flow.boots import BootEnvironment, boot_cell
from harness.flow.continuation import held_case, joined, left_to_run, to_confirm
from harness.flow.deadlines import limits_of
from harness.flow.observe import FIRST, BootPart, Seen
from harness.guest.boot import Boot, SuiteResult
from harness.guest.liveness import CaseLimit
from harness.guest.stall import Stall
from harness.model.build import Build
from harness.model.cell import Cell, Knob
from harness.model.kernel import PreparedKernel
from harness.model.machine import Machine
from harness.model.outcome import Ending, Outcome, Verdict
from harness.model.result import Case, Event, Span
from harness.model.suite import KnobForm, KnobSpec, Manifest, ManifestCase, Suite
from harness.model.swap import Swap, SwapArea, SwapKind
from harness.model.tree import Tree
from harness.model.units import GIB

NAMES = ("p.a", "p.b", "p.c", "p.d")
SUITE = Suite(
    name="p",
    title="",
    script="suite-pressure",
    arguments=(),
    symbols=(),
    requirements=(),
    shares_boot=False,
    deadline=400.0,
    profile="lean",
    selectable=True,
    may_skip=(),
    manifest=Manifest("p", tuple(ManifestCase(name, 1.0) for name in NAMES)),
    knobs=(KnobSpec("total", KnobForm.SHARE, ""), KnobSpec("device", KnobForm.CHOICE, "", chooses=True)),
    knob_cases=("a", "b"),
)
WHY = "the case b did not end within 30 s, while the guest was alive"
STALL = Stall(WHY, "running", True, 0, "")


def case(name: str, outcome: Outcome = Outcome.PASS, folder: str = "", raw: str = "ok") -> Case:
    return Case("p", name, outcome, raw=raw, boot=folder)


def seen(
    ending: Ending,
    cases: Sequence[Case],
    running: str = "",
    names: Sequence[str] | None = NAMES,
    part: BootPart = FIRST,
) -> Seen:
    stall = STALL if ending in (Ending.HUNG, Ending.TIMEOUT) else None
    ended = (SuiteResult("p", 0, 3.0),) if ending is Ending.FINISHED else ()
    boot = Boot(
        ending=ending,
        phase="p" if not ended else "shutdown",
        facts=None,
        taint_end=0,
        suites=ended,
        garbage=(),
        launcher="",
        stall=stall,
        accel="tcg",
        ready_after=2.0,
        seconds=5.0,
        case=running,
        overdue=ending is Ending.TIMEOUT,
    )
    return Seen(
        boot=boot,
        place=Path("/x/001-cell") / part.folder,
        folder=part.folder,
        why=part.why,
        asked=part.asked,
        alone=part.alone,
        cases=tuple(replace(one, boot=part.folder) for one in cases),
        events=(),
        own={"p": ()},
        announced={"p": tuple(names) if names is not None else None},
        silence=(),
        stall=WHY if stall is not None else "",
        problems=(),
        doubts=(),
        unlike=(),
        metrics=(),
    )


HELD = seen(Ending.TIMEOUT, [case("p.a"), case("p.?2-4", Outcome.INCOMPLETE, raw="")], "b")
ALONE = BootPart("alone-1", "", 1, alone=True)
CONFIRMED = seen(Ending.TIMEOUT, [], "b", ["p.b"], ALONE)
REST = seen(Ending.FINISHED, [case("p.c"), case("p.d", Outcome.FAIL)], "", ["p.c", "p.d"], BootPart("rest-1", "", 2))


def outcomes(cases: Sequence[Case]) -> dict[str, Outcome]:
    return {one.name: one.outcome for one in cases}


def test_the_case_in_which_a_boot_ended() -> None:
    assert held_case(SUITE, HELD) == "p.b"
    assert held_case(SUITE, replace(HELD, boot=replace(HELD.boot, ending=Ending.PANICKED))) == "p.b"
    assert held_case(SUITE, replace(HELD, boot=replace(HELD.boot, overdue=False))) == ""  # the whole suite was slow
    assert held_case(SUITE, replace(HELD, boot=replace(HELD.boot, ending=Ending.LOST))) == ""
    assert held_case(SUITE, replace(HELD, announced={"p": None})) == ""
    assert held_case(SUITE, REST) == ""


def test_only_a_deadline_needs_a_second_witness_and_only_a_fair_one() -> None:
    assert to_confirm(HELD)
    assert not to_confirm(replace(HELD, boot=replace(HELD.boot, ending=Ending.HUNG)))
    assert not to_confirm(replace(HELD, boot=replace(HELD.boot, fair=False)))


def test_what_is_left_is_what_comes_after() -> None:
    assert left_to_run(SUITE, [HELD]) == ("c", "d")
    assert left_to_run(SUITE, [HELD, CONFIRMED]) == ("c", "d")
    assert left_to_run(SUITE, [HELD, seen(Ending.HUNG, [], "c", ["p.c", "p.d"], BootPart("rest-1"))]) == ("d",)
    assert left_to_run(SUITE, [HELD, REST]) == ()


def test_all_boots_are_one_result() -> None:
    found = joined(SUITE, [HELD, CONFIRMED, REST])
    assert outcomes(found) == {
        "p.a": Outcome.PASS,
        "p.b": Outcome.TIMEOUT,
        "p.c": Outcome.PASS,
        "p.d": Outcome.FAIL,
    }
    assert found[1].message == f"{WHY}; TIMEOUT alone in a boot of its own, too (2 of 2)"
    assert [one.boot for one in found] == ["", "", "rest-1", "rest-1"]


@pytest.mark.parametrize(
    ("alone", "outcome", "words"),
    [
        (seen(Ending.FINISHED, [case("p.b")], "", ["p.b"], ALONE), Outcome.INCOMPLETE, "it was PASS (1 of 2)"),
        (
            seen(Ending.FINISHED, [case("p.b", Outcome.FAIL)], "", ["p.b"], ALONE),
            Outcome.TIMEOUT,
            "FAIL alone in a boot of its own",
        ),
        (seen(Ending.LOST, [], "", None, ALONE), Outcome.INCOMPLETE, "nothing, the boot ended LOST"),
        (
            replace(CONFIRMED, boot=replace(CONFIRMED.boot, fair=False)),
            Outcome.INCOMPLETE,
            "TIMEOUT alone in a boot of its own",
        ),
    ],
)
def test_a_deadline_alone_is_red_when_a_second_boot_says_so(alone: Seen, outcome: Outcome, words: str) -> None:
    held = joined(SUITE, [HELD, alone])[1]
    assert held.outcome is outcome
    assert words in held.message


def test_a_host_that_was_busy_is_nobodys_fault() -> None:
    slow = replace(HELD, boot=replace(HELD.boot, fair=False))
    held = joined(SUITE, [slow])[1]
    assert (held.name, held.outcome) == ("p.b", Outcome.INCOMPLETE)
    assert "it may be the host" in held.message


@pytest.mark.parametrize(("status", "outcome"), [("running", Outcome.TIMEOUT), ("paused", Outcome.INCOMPLETE)])
def test_a_hang_is_the_cases_if_the_machine_ran(status: str, outcome: Outcome) -> None:
    hung = replace(HELD, boot=replace(HELD.boot, ending=Ending.HUNG, stall=replace(STALL, status=status)))
    assert outcomes(joined(SUITE, [hung]))["p.b"] is outcome


def test_a_panic_is_the_cases_with_all_that_was_seen() -> None:
    event = Event("panic", "Kernel panic", "f", Span(1, 2))
    died = replace(case("p.?2", Outcome.CRASH, raw=""), events=(event,))
    panicked = replace(HELD, boot=replace(HELD.boot, ending=Ending.PANICKED, stall=None), cases=(case("p.a"), died))
    found = joined(SUITE, [panicked])
    assert outcomes(found) == {"p.a": Outcome.PASS, "p.b": Outcome.CRASH}
    assert found[1].events == (event,)


def test_what_was_promised_within_a_case_and_never_came_is_not_lost() -> None:
    """The case itself ended, and well by its own account."""
    cases = [case("p.a"), case("p.b.x"), case("p.b.?2", Outcome.INCOMPLETE, raw="")]
    found = outcomes(joined(SUITE, [seen(Ending.FINISHED, cases, "")]))
    assert found == {"p.a": Outcome.PASS, "p.b.x": Outcome.PASS, "p.b.?2": Outcome.INCOMPLETE}


def test_parameters_that_ended_are_kept_beside_their_case() -> None:
    part = seen(Ending.HUNG, [case("p.b.x"), case("p.b.?2", Outcome.INCOMPLETE, raw="")], "b")
    assert outcomes(joined(SUITE, [part])) == {"p.b.x": Outcome.PASS, "p.b": Outcome.TIMEOUT}


def test_results_without_an_announcement_are_left_as_they_are() -> None:
    silent = replace(HELD, announced={"p": None})
    assert joined(SUITE, [silent]) == HELD.cases


def test_a_cases_deadline_is_made_of_what_it_takes() -> None:
    suite = replace(SUITE, manifest=Manifest("p", (ManifestCase("p.a", 1.0), ManifestCase("p.c", 50.0))))
    cell = Cell("b", Machine(), ("p",), 1)
    assert limits_of(cell, (suite,)).cases == (
        ("p", "a", CaseLimit(1.0, 30.0)),
        ("p", "c", CaseLimit(50.0, 400.0)),
    )
    large = replace(cell, machine=Machine(ram=1 * GIB))
    assert {name: limit for _, name, limit in limits_of(large, (suite,)).cases}["c"] == CaseLimit(200.0, 1600.0)
    loaded = replace(cell, knobs=(Knob("total", "400%"),))
    assert [limit is None for _, _, limit in limits_of(loaded, (suite,)).cases] == [True, False]
    chosen = replace(cell, knobs=(Knob("device", "tgl"),))
    assert None not in [limit for _, _, limit in limits_of(chosen, (suite,)).cases]
    throttled = replace(cell, machine=Machine(swap=Swap((SwapArea(SwapKind.SLOW, 1 * GIB, bps=1 << 20),))))
    assert {limit for _, _, limit in limits_of(throttled, (suite,)).cases} == {None}
    assert limits_of(cell, (replace(suite, selectable=False),)).cases == ()


class Boots:
    """Stands for QEMU: each boot of the cell ends as it was told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *script: Seen) -> None:
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self._script = list(script)
        monkeypatch.setattr(boots_module, "_boot", self._boot)

    def _boot(
        self, cell: Cell, suites: Sequence[Suite], environment: BootEnvironment, place: Path, part: BootPart
    ) -> Seen:
        self.asked.append((part.folder, cell.cases))
        one = self._script.pop(0)
        return replace(
            one,
            place=place / part.folder,
            folder=part.folder,
            alone=part.alone,
            asked=part.asked,
            why=part.why,
            cases=tuple(replace(case, boot=part.folder) for case in one.cases),
        )


class Quiet:
    def step(self, text: str) -> None: ...

    def advance(self, done: int, total: int, unit: str) -> None: ...


@pytest.fixture
def environment(tmp_path: Path) -> BootEnvironment:
    config = tmp_path / "config"
    config.write_text("CONFIG_SWAP=y\n")
    tree = Tree(id="t", version="7.3.4", origin="here", path=tmp_path, spec="debian")
    build = Build("b", tree, "lean", "c", "gcc", "7.3.4", tmp_path, tmp_path)
    return BootEnvironment(PreparedKernel(build, {}), tmp_path, tmp_path / "run", Quiet())


def hung(name: str, *rest: str) -> Seen:
    return seen(Ending.HUNG, [], name, [f"p.{one}" for one in (name, *rest)])


def test_one_hang_costs_one_case(environment: BootEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    played = Boots(monkeypatch, HELD, CONFIRMED, REST)
    result = boot_cell(Cell("b", Machine(), ("p",), 1), (SUITE,), environment, 1)
    assert played.asked == [("", ()), ("alone-1", ("b",)), ("rest-1", ("c", "d"))]
    assert outcomes(result.cases)["p.b"] is Outcome.TIMEOUT
    assert result.run.verdict is Verdict.BAD
    assert [(one.directory, one.cases) for one in result.run.more] == [("alone-1", 1), ("rest-1", 2)]
    assert Outcome.NOT_RUN not in outcomes(result.cases).values()


def test_a_deadline_that_was_not_confirmed_is_no_verdict(
    environment: BootEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    well = seen(Ending.FINISHED, [case("p.b")], "", ["p.b"])
    rest = replace(REST, cases=(case("p.c"), case("p.d")))
    Boots(monkeypatch, HELD, well, rest)
    result = boot_cell(Cell("b", Machine(), ("p",), 1), (SUITE,), environment, 1)
    assert result.run.verdict is Verdict.CANNOT_TELL


def test_the_boots_have_a_bound_and_it_is_said(environment: BootEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    names = "abcdefg"
    suite = replace(SUITE, manifest=Manifest("p", tuple(ManifestCase(f"p.{name}", 1.0) for name in names)))
    played = Boots(monkeypatch, *(hung(*names[at:]) for at in range(5)))
    result = boot_cell(Cell("b", Machine(), ("p",), 1), (suite,), environment, 1)
    assert [folder for folder, _ in played.asked] == ["", "rest-1", "rest-2", "rest-3"]
    assert result.run.notes[0] == "p: 3 cases were left out, as 4 had ended a boot"
    assert outcomes(result.cases)["p.d"] is Outcome.TIMEOUT
    assert outcomes(result.cases)["p.e"] is Outcome.INCOMPLETE


def test_a_control_stops_at_its_first_red_case(environment: BootEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    played = Boots(monkeypatch, HELD, CONFIRMED)
    environment = replace(environment, stop_at_first=True)
    assert boot_cell(Cell("b", Machine(), ("p",), 1), (SUITE,), environment, 1).run.verdict is Verdict.BAD
    assert [folder for folder, _ in played.asked] == ["", "alone-1"]
