# SPDX-License-Identifier: GPL-2.0-only
"""What a boot answers to a search."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.judge.predicate import learnt, look
from harness.model.cell import Cell
from harness.model.event import Case, Event
from harness.model.machine import Machine
from harness.model.outcome import Ending, Outcome, Verdict
from harness.model.result import Run
from harness.model.search import Answer, BootVotes, Predicate, Sight
from harness.model.span import Span

RUN = Run(
    id="001-a",
    cell=Cell("b" * 64, Machine(), ("p",), 1),
    directory="001-a",
    ending=Ending.FINISHED,
    phase="shutdown",
    accel="tcg",
    facts=None,
    differences=(),
    problems=(),
    stages=(),
    verdict=Verdict.GOOD,
)
BOOT = Case("boot", "kernel", Outcome.PASS)
ANY = Predicate()


def event(fingerprint: str, kind: str = "oops", expected: str = "") -> Event:
    return Event(kind, f"it broke at {fingerprint}", fingerprint, Span(1, 2), expected)


def case(outcome: Outcome, *events: Event, name: str = "p.a", message: str = "") -> Case:
    return Case("p", name, outcome, message=message, events=events)


def seen(predicate: Predicate, *cases: Case, events: tuple[Event, ...] = (), run: Run = RUN) -> Sight:
    return look(run, (*cases, BOOT), events, predicate, lambda kind: kind == "oom")


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.CRASH, Outcome.TIMEOUT, Outcome.WARN, Outcome.XFAIL])
def test_a_failure_is_bad(outcome: Outcome) -> None:
    sight = seen(ANY, case(outcome, message="three were lost\nand more"))
    assert (sight.answer, sight.why) == (Answer.BAD, f"{outcome} p.a: three were lost")


def test_what_ran_and_passed_is_good() -> None:
    assert seen(ANY, case(Outcome.PASS)).answer is Answer.GOOD


@pytest.mark.parametrize("outcome", [Outcome.NOT_RUN, Outcome.INCOMPLETE, Outcome.SKIP])
def test_what_did_not_run_is_no_evidence(outcome: Outcome) -> None:
    assert seen(ANY, case(outcome)).answer is Answer.NOTHING
    assert seen(ANY).answer is Answer.NOTHING


def test_an_invalid_boot_is_no_evidence_though_it_is_red() -> None:
    invalid = replace(RUN, problems=("the seed was another",))
    sight = seen(ANY, case(Outcome.FAIL), run=invalid)
    assert (sight.answer, sight.why) == (Answer.NOTHING, "no valid boot: the seed was another")


def test_only_the_cases_that_are_asked_for_count() -> None:
    asked = Predicate(red=("p.b*",))
    assert seen(asked, case(Outcome.FAIL), case(Outcome.PASS, name="p.b1")).answer is Answer.GOOD
    assert seen(asked, case(Outcome.PASS), case(Outcome.FAIL, name="p.b1")).answer is Answer.BAD
    assert seen(asked, case(Outcome.FAIL)).answer is Answer.NOTHING


def test_a_fingerprint_is_looked_for_in_every_event() -> None:
    asked = Predicate(fingerprint="abcd")
    assert seen(asked, case(Outcome.CRASH, event("abcdef"))).answer is Answer.BAD
    assert seen(asked, case(Outcome.PASS), events=(event("abcdef", kind="oom"),)).answer is Answer.BAD
    another = seen(asked, case(Outcome.CRASH, event("ffff")))
    assert another.answer is Answer.NOTHING
    assert "another way" in another.why
    assert seen(asked, case(Outcome.PASS)).answer is Answer.GOOD


def test_what_died_first_is_what_is_looked_for() -> None:
    first = seen(ANY, case(Outcome.CRASH, event("aaaa"), event("eeee", expected="on purpose")))
    same = learnt(ANY, first)
    assert same.signature == frozenset({"aaaa"})
    assert seen(same, case(Outcome.CRASH, event("bbbb"), event("aaaa"))).answer is Answer.BAD
    assert seen(same, case(Outcome.CRASH, event("bbbb"))).answer is Answer.NOTHING
    assert seen(same, case(Outcome.FAIL)).answer is Answer.NOTHING


def test_a_check_that_failed_is_not_a_kernel_that_died() -> None:
    same = learnt(ANY, seen(ANY, case(Outcome.FAIL)))
    assert same.signature == frozenset()
    assert seen(same, case(Outcome.FAIL)).answer is Answer.BAD
    assert seen(same, case(Outcome.FAIL, event("cccc", kind="oom"))).answer is Answer.BAD  # a note tells of no fault
    assert seen(same, case(Outcome.CRASH, event("bbbb"))).answer is Answer.NOTHING


def test_nothing_is_learnt_from_what_is_not_bad_or_was_named() -> None:
    assert learnt(ANY, seen(ANY, case(Outcome.PASS))) == ANY
    named = Predicate(fingerprint="abcd")
    assert learnt(named, seen(named, case(Outcome.CRASH, event("abcd")))) == named


def test_tallies_are_told_as_n_of_m() -> None:
    bad, good, nothing = (Sight(answer) for answer in (Answer.BAD, Answer.GOOD, Answer.NOTHING))
    assert str(BootVotes.of([bad, good, good])) == "1/3 bad"
    assert str(BootVotes.of([bad, nothing])) == "1/1 bad, 1 no evidence"
    assert str(BootVotes.of([nothing])) == "no evidence"
