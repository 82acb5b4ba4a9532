# SPDX-License-Identifier: GPL-2.0-only
"""Events on one side only: whose fault they are, and when nobody can say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from harness.judge.compare import standing_between, verdict_against_base
from harness.judge.events import compare_events
from harness.model.compare import Change, EventChange
from harness.model.outcome import Outcome, Verdict
from harness.model.result import Case, Span
from tests.unit.compare_support import OOM, SPLAT, booted, case, is_note, side

P, W, F, C, S = Outcome.PASS, Outcome.WARN, Outcome.FAIL, Outcome.CRASH, Outcome.SKIP


def compared(base: Sequence[Case], tip: Sequence[Case]) -> tuple[EventChange, ...]:
    """Each case is a boot of its own."""
    before, after = (side(*(booted(number, (one,)) for number, one in enumerate(some))) for some in (base, tip))
    return compare_events(before, after, is_note)


def change(base: Sequence[Case], tip: Sequence[Case]) -> Change:
    (one,) = compared(base, tip)
    return one.change


WITH, WITHOUT = case(W, SPLAT), case(P)


@pytest.mark.parametrize(
    ("base", "tip", "expected"),
    [
        ((WITHOUT,), (WITH,), Change.REGRESSED),
        ((WITH,), (WITHOUT,), Change.FIXED),
        ((WITH,), (WITH,), Change.SAME),
        ((WITHOUT,) * 3, (WITH,) * 3, Change.REGRESSED),
        ((WITHOUT,) * 3, (WITH, WITHOUT, WITHOUT), Change.FLAKY),
        ((WITH, WITHOUT), (WITHOUT,) * 2, Change.FLAKY),
        ((case(F),), (WITH,), Change.NEW),  # the base failed before it could have said so
        ((case(S),), (WITH,), Change.NEW),
        ((WITH,), (case(C),), Change.GONE),
        ((WITH,), (), Change.GONE),
        ((case(P),), (case(P, OOM),), Change.NEW),  # a note blames nobody
        ((case(P, OOM),), (case(P),), Change.GONE),
        ((case(P, OOM), case(P)), (case(P, OOM), case(P)), Change.SAME),  # as often, and no more to be said
        ((case(P, OOM), case(P)), (case(P, OOM),) * 2, Change.FLAKY),
        ((WITH, WITHOUT), (WITH, WITHOUT), Change.FLAKY),
        ((case(P),), (case(P, replace(SPLAT, expected="on purpose")),), Change.NEW),
    ],
)
def test_changes(base: Sequence[Case], tip: Sequence[Case], expected: Change) -> None:
    assert change(base, tip) is expected


def test_enough_repeats_tell_what_is_flaky_from_what_got_worse() -> None:
    rarely, often = (WITH, *(WITHOUT,) * 19), (*(WITH,) * 12, *(WITHOUT,) * 8)
    assert change(rarely, often) is Change.REGRESSED
    assert change(often, rarely) is Change.FLAKY  # better, but not over
    assert change(often, (WITHOUT,) * 20) is Change.FIXED
    assert change(rarely, (WITHOUT,) * 20) is Change.FLAKY


def test_counts_are_of_the_boots_that_came_through_the_case() -> None:
    (one,) = compared((WITHOUT, WITHOUT, case(F)), (WITH, WITHOUT, WITHOUT))
    assert one.counts == "0/2 -> 1/3"
    assert one.cases == ("s t.a",)


def test_what_is_said_outside_of_every_case_is_the_boots() -> None:
    plain, loud = booted(1, (case(P),)), booted(1, (case(P),), loose=(SPLAT,))
    (one,) = compare_events(side(plain), side(loud), is_note)
    assert (one.change, one.cases) == (Change.REGRESSED, ("boot kernel",))


def test_the_same_fingerprint_twice_in_a_boot_is_one_boot() -> None:
    again = replace(SPLAT, span=Span(13, 14))
    (one,) = compared((WITHOUT,), (case(W, SPLAT, again),))
    assert one.counts == "0/1 -> 1/1"


def known(one: Case) -> Case:
    return replace(one, events=tuple(replace(event, known="k") for event in one.events))


def test_what_is_known_is_nobodys_fault() -> None:
    assert change((WITHOUT,), (known(WITH),)) is Change.KNOWN
    assert change((WITHOUT, WITHOUT), (known(WITH), WITHOUT)) is Change.KNOWN
    assert change((WITHOUT, WITHOUT), (known(WITH), WITH)) is Change.REGRESSED
    assert change((known(WITH),), (WITHOUT,)) is Change.FIXED


def test_a_splat_in_a_case_that_fails_on_both_sides_blames_nobody() -> None:
    events = compared((case(F),), (case(F, SPLAT),))
    assert verdict_against_base((), Verdict.BAD, Verdict.BAD, events)[0] is Verdict.CANNOT_TELL


def test_a_new_event_turns_a_verdict() -> None:
    events = compared((WITHOUT,), (WITH,))
    verdict, why = verdict_against_base((), Verdict.GOOD, Verdict.GOOD, events)
    assert (verdict, why) == (
        Verdict.BAD,
        ("REGRESSED warning aaaaaaaaaaaa: WARNING: at f: 0/1 -> 1/1 boots",),
    )
    assert standing_between((), events)[0] is Verdict.BAD
