# SPDX-License-Identifier: GPL-2.0-only
"""What is concluded of nights: the verdict, what boots told, which known issues a person may want to change."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.flow.known_issues import parse_known
from harness.judge.ageing import FORGOTTEN_AFTER, PastResult, proposals
from harness.judge.known import is_known, newly_excused
from harness.judge.night import verdict_of_night
from harness.judge.telling import PastBoot, telling_of
from harness.model.known import KnownIssue, KnownIssues, KnownState, KnownUse
from harness.model.nightly import (
    ControlBoot,
    Job,
    JobLeft,
    JobResult,
    JobRow,
    Proposal,
    ProposalKind,
    Sighting,
    SuiteBoots,
)
from harness.model.outcome import Verdict
from harness.reports.proposals import to_proposals

JOB = Job("0" * 16, "newest 7.3.4", "newest", "newest", "debian", "7.3.4", "debian:7.3.4", "quick")
CAUGHT = ControlBoot("04-x", "pressure", "7.3.4", "caught", True, (), "run", 1.0)
GREEN = replace(CAUGHT, noticed="missed", caught=False)


def row(verdict: Verdict, *, current: bool = True, tonight: bool = True) -> JobRow:
    return JobRow(replace(JOB, current=current), JobResult(verdict, "run", ("why",)), "20261130T190000", tonight)


@pytest.mark.parametrize(
    ("rows", "left", "control", "troubles", "verdict"),
    [
        ([row(Verdict.GOOD)], [], CAUGHT, [], Verdict.GOOD),
        ([row(Verdict.GOOD, tonight=False)], [], None, [], Verdict.GOOD),
        ([row(Verdict.BAD), row(Verdict.GOOD)], [], CAUGHT, [], Verdict.BAD),
        ([row(Verdict.BAD, tonight=False)], [], None, [], Verdict.BAD),
        ([row(Verdict.BAD, current=False), row(Verdict.GOOD)], [], CAUGHT, [], Verdict.GOOD),
        ([row(Verdict.GOOD)], [], GREEN, [], Verdict.CANNOT_TELL),
        ([row(Verdict.BAD)], [], GREEN, ["no mirror"], Verdict.BAD),
        ([row(Verdict.GOOD)], [], CAUGHT, ["no mirror"], Verdict.CANNOT_TELL),
        ([row(Verdict.GOOD)], [JobLeft("x", 3, "no time left")], CAUGHT, [], Verdict.CANNOT_TELL),
        ([row(Verdict.CANNOT_TELL)], [], CAUGHT, [], Verdict.CANNOT_TELL),
        ([], [], CAUGHT, [], Verdict.CANNOT_TELL),
        ([row(Verdict.GOOD, current=False)], [], CAUGHT, [], Verdict.CANNOT_TELL),
    ],
)
def test_no_night_is_green_by_what_was_not_seen(
    rows: list[JobRow], left: list[JobLeft], control: ControlBoot | None, troubles: list[str], verdict: Verdict
) -> None:
    found, reasons = verdict_of_night(rows, left, control, troubles)
    assert found is verdict
    assert bool(reasons) == (verdict is not Verdict.GOOD)


def test_boots_that_change_their_minds_tell_more() -> None:
    boots = [PastBoot("256M", ("pressure",), "good 0")] * 9
    boots += [PastBoot("192M", ("pressure",), word) for word in ("good 0", "bad 1", "good 0", "bad 2")]
    boots += [PastBoot("96M", ("pressure",), "bad 3")] * 9  # always bad: nothing is learned by that
    found = telling_of(boots)
    assert found.of("192M", ("pressure",)) == 1.0
    assert found.of("256M", ("pressure",)) == found.of("96M", ("pressure",)) == 1 / 9
    assert found.of("never booted", ("pressure",)) == 1.0


EVENT = Sighting("pressure", "pressure.walk", "18d43f7d5757", "WARNING in ttm_x", "7.3.4", 0, 1)
FAILURE = Sighting("pressure", "pressure.walk", "", 'expected 0, got "-12"', "7.3.4", 1, 0)
USE = KnownUse("pool-lockdep", KnownState.STALE, "why", "who", "2027-01-01", 0, 0)


def past(*results: JobResult) -> list[PastResult]:
    days = (date.fromordinal(date(2026, 11, 1).toordinal() + number) for number in itertools.count())
    return [PastResult(day.isoformat(), one) for day, one in zip(days, results, strict=False)]


def result(*sightings: Sighting, base: int = 2, known: tuple[KnownUse, ...] = ()) -> JobResult:
    return JobResult(Verdict.BAD, "run", sightings=sightings, suites=(SuiteBoots("pressure", base, 1),), known=known)


def found(*results: JobResult, names: tuple[str, ...] = (), day: str = "2026-12-01") -> list[Proposal]:
    issues = tuple(KnownIssue(name, "why", "who", "2027-01-01", fingerprints=("0" * 12,)) for name in names)
    return list(proposals(past(*results), KnownIssues((), day, issues), day))


def test_a_failure_that_is_new_is_a_suspect() -> None:
    (one,) = found(result(), result(EVENT))
    assert (one.kind, one.fingerprint, one.since) == (ProposalKind.SUSPECT, EVENT.fingerprint, "2026-11-02")
    assert "in 0 of 4 boots without a series" in one.why


def test_what_kernels_without_a_series_show_is_proposed_as_known_with_an_expiry() -> None:
    (one,) = found(result(FAILURE), result(), result(FAILURE))
    assert (one.kind, one.seen, one.boots, one.expires) == (ProposalKind.KNOWN, 2, 6, "2027-03-01")


def test_what_a_person_has_taken_over_is_not_proposed_again() -> None:
    text = to_proposals(found(result(FAILURE), result(FAILURE)), "20261130T190000")
    issues = tuple(parse_known("\n".join(entries(text)), "proposals"))
    results = past(result(FAILURE), result(FAILURE))

    def on(day: str, issues: tuple[KnownIssue, ...] = issues) -> list[ProposalKind]:
        return [one.kind for one in proposals(results, KnownIssues((), day, issues), day)]

    assert on("2026-12-02") == []
    assert on("2028-01-01") == [ProposalKind.KNOWN]  # its time is over
    assert on("2026-12-02", tuple(replace(one, before=(7, 3), since=(6, 1)) for one in issues)) == [
        ProposalKind.KNOWN
    ]


@pytest.mark.parametrize(
    ("issue", "known"),
    [
        ({}, True),
        ({"fingerprints": ("0" * 12,)}, False),
        ({"cases": ("pressure.w*",)}, True),
        ({"cases": ("pressure.other",)}, False),
        ({"suites": ("ttm-kunit",)}, False),
        ({"since": (7, 4)}, False),
        ({"expires": "2026-11-30"}, False),
    ],
)
def test_an_event_is_known_by_its_fingerprint_where_the_issue_says(issue: dict[str, Any], known: bool) -> None:
    one = replace(KnownIssue("a", "why", "who", "2027-01-01", fingerprints=(EVENT.fingerprint,)), **issue)
    assert is_known(EVENT, [one], "2026-12-01") is known
    assert newly_excused(KnownIssues((), "2026-12-01", (one,)), result(EVENT)) is known
    used = (KnownUse("a", KnownState.SEEN, "why", "who", one.expires, 0, 1),)
    assert not newly_excused(KnownIssues((), "2026-12-01", (one,)), result(EVENT, known=used))


def test_a_suspect_is_forgotten_when_it_does_not_come_again() -> None:
    assert found(result(EVENT), *[result()] * (FORGOTTEN_AFTER - 1)) != []
    assert found(result(EVENT), *[result()] * FORGOTTEN_AFTER) == []


def test_a_known_issue_that_no_longer_shows_is_proposed_for_removal() -> None:
    stale, seen = result(known=(USE,)), result(known=(replace(USE, state=KnownState.SEEN),))
    rare = result(known=(replace(USE, state=KnownState.RARE),))
    assert found(stale, stale, names=("pool-lockdep",)) == []
    (one,) = found(seen, stale, stale, stale, names=("pool-lockdep",))
    assert (one.kind, one.name) == (ProposalKind.GONE, "pool-lockdep")
    assert found(stale, stale, stale, seen, names=("pool-lockdep",)) == []
    assert found(rare, rare, rare, rare, names=("pool-lockdep",)) == []
    assert found(stale, stale, stale, names=()) == []  # somebody took it out already


def test_an_expired_one_is_named_with_its_owner() -> None:
    use = replace(USE, state=KnownState.EXPIRED, expires="2026-11-01", cases=1)
    unseen = result(known=(replace(use, cases=0),))  # of another kernel of the same night, maybe
    (one,) = found(result(known=(use,)), unseen, names=("pool-lockdep",))
    assert one.kind is ProposalKind.EXPIRED
    assert "still seen on 2026-11-01: 1 case" in one.why
    assert "who" in one.why
    (one,) = found(unseen, names=("pool-lockdep",))
    assert "not seen since" in one.why


def test_proposals_are_comments_that_are_entries_without_their_signs() -> None:
    text = to_proposals(found(result(FAILURE), result(FAILURE, replace(EVENT, base_seen=3))), "20261130T190000")
    assert all(line.startswith("#") for line in text.splitlines())
    issues = parse_known("\n".join(entries(text)), "proposals")
    assert {issue.cases for issue in issues} == {("pressure.walk",), ()}
    assert {issue.fingerprints for issue in issues} == {(), (EVENT.fingerprint,)}
    assert {(issue.since, issue.before) for issue in issues} == {((7, 3), (7, 4))}  # where they were seen
    (message,) = {issue.message for issue in issues if issue.message}
    assert message == 'expected \\d+, got "\\-\\d+"'


def entries(text: str) -> Iterator[str]:
    """The lines of the entries, as a person takes them over."""
    inside = False
    for line in text.splitlines():
        inside = line == "# [[issue]]" or (inside and line != "#")
        if inside:
            yield line.removeprefix("# ")


@settings(max_examples=300, deadline=None)
@given(st.text(min_size=1, max_size=80), st.text(max_size=40))
def test_no_word_of_a_guest_gets_out_of_its_entry(message: str, case: str) -> None:
    odd = replace(FAILURE, title=message, case=case or "x")
    text = to_proposals(found(result(odd), result(odd)), "20261130T190000")
    assert all(line.startswith("#") for line in text.split("\n")[:-1])
    (issue,) = parse_known("\n".join(entries(text)), "proposals")
    assert issue.expires == "2027-03-01"


def test_nothing_to_propose_is_said() -> None:
    assert "nothing to propose" in to_proposals((), "20261130T190000")
