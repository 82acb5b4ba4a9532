# SPDX-License-Identifier: GPL-2.0-only
"""Known issues: what they excuse, what they do not, and what is said of a file with mistakes in it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import jsonschema
import pytest

from harness.checkout import data_directory
from harness.flow.known_issues import SHIPPED, parse_known, read_known
from harness.judge.known import WithKnownIssues, excuse
from harness.model.codec import from_json, to_json
from harness.model.errors import UserError
from harness.model.known import KnownIssue, KnownIssues, KnownState
from harness.model.outcome import Outcome, Verdict
from harness.model.result import Event, Report, Span
from tests.unit.compare_support import OOM, SPLAT, Boot, booted, case, is_note, report
from tests.unit.test_reports import SCHEMA

TODAY, LATER, EARLIER = "2026-11-21", "2027-01-31", "2026-11-20"
ISSUE = KnownIssue("k", "a reason", "somebody", LATER, fingerprints=(SPLAT.fingerprint,))
BY_MESSAGE = KnownIssue("m", "another reason", "somebody", LATER, cases=("t.*",), message="why FAIL")
PANIC = Event("panic", "Kernel panic - not syncing: x", "cccccccccccc", Span(30, 31))


def excused(
    *boots: Boot, issues: tuple[KnownIssue, ...] = (ISSUE,), version: tuple[int, int] = (7, 3)
) -> WithKnownIssues:
    results = (
        [run for run, _, _ in boots],
        [one for _, cases, _ in boots for one in cases],
        [one for _, _, events in boots for one in events],
    )
    return excuse(KnownIssues(("f",), TODAY, issues), results, {"b" * 64: version}, is_note)


def outcomes(found: WithKnownIssues) -> list[Outcome]:
    return [one.outcome for one in found.cases]


@pytest.mark.parametrize("outcome", [Outcome.WARN, Outcome.CRASH])
def test_a_known_event_makes_its_case_xfail_and_never_a_pass(outcome: Outcome) -> None:
    found = excused(booted(1, (case(outcome, SPLAT),)))
    assert outcomes(found) == [Outcome.XFAIL, Outcome.PASS]
    assert (found.cases[0].known, found.cases[0].message) == ("k", f"known: a reason (why {outcome})")
    assert found.events[0].known == found.cases[0].events[0].known == "k"
    assert found.runs[0].verdict is Verdict.GOOD
    (use,) = found.uses
    assert (use.state, use.cases, use.events, use.sentence) == (KnownState.SEEN, 1, 1, "")


def test_another_event_beside_it_is_not_excused() -> None:
    other = replace(SPLAT, fingerprint="dddddddddddd", span=Span(14, 15))
    found = excused(booted(1, (case(Outcome.WARN, SPLAT, other),)))
    assert outcomes(found)[0] is Outcome.WARN
    assert found.events[0].known == "k"


def test_a_note_beside_it_excuses_nothing_and_hinders_nothing() -> None:
    assert outcomes(excused(booted(1, (case(Outcome.WARN, SPLAT, OOM),))))[0] is Outcome.XFAIL
    assert outcomes(excused(booted(1, (case(Outcome.CRASH, OOM),))))[0] is Outcome.CRASH


def test_what_a_case_says_of_itself_is_not_excused_by_an_event() -> None:
    assert outcomes(excused(booted(1, (case(Outcome.FAIL, SPLAT),))))[0] is Outcome.FAIL


def test_an_expired_issue_counts_again_and_says_so() -> None:
    found = excused(booted(1, (case(Outcome.WARN, SPLAT),)), issues=(replace(ISSUE, expires=EARLIER),))
    assert outcomes(found)[0] is Outcome.WARN
    assert found.events[0].known == ""
    (use,) = found.uses
    assert use.state is KnownState.EXPIRED
    assert use.counts_again
    assert use.sentence == (
        f"known issue k expired on {EARLIER} and counts again: 0 cases, 1 event (owner: somebody)"
    )


def test_it_holds_on_its_last_day() -> None:
    assert outcomes(excused(booted(1, (case(Outcome.WARN, SPLAT),)), issues=(replace(ISSUE, expires=TODAY),)))[0] is (
        Outcome.XFAIL
    )


@pytest.mark.parametrize(
    ("issue", "state"),
    [
        (ISSUE, KnownState.STALE),
        (replace(ISSUE, rare=True), KnownState.RARE),
        (replace(ISSUE, suites=("other",)), KnownState.ELSEWHERE),
        (replace(ISSUE, before=(7, 3)), KnownState.ELSEWHERE),
        (replace(ISSUE, since=(7, 4)), KnownState.ELSEWHERE),
        (replace(ISSUE, expires=EARLIER), KnownState.EXPIRED),
    ],
)
def test_an_issue_that_matches_nothing(issue: KnownIssue, state: KnownState) -> None:
    (use,) = excused(booted(1, (case(),)), issues=(issue,)).uses
    assert use.state is state
    assert not use.counts_again
    assert bool(use.sentence) is (state in (KnownState.STALE, KnownState.EXPIRED))


@pytest.mark.parametrize(
    "issue",
    [
        replace(ISSUE, fingerprints=("dddddddddddd",)),
        replace(ISSUE, cases=("u.*",)),
        replace(ISSUE, suites=("other",)),
        replace(ISSUE, before=(7, 3)),
    ],
)
def test_what_does_not_fit_excuses_nothing(issue: KnownIssue) -> None:
    assert outcomes(excused(booted(1, (case(Outcome.WARN, SPLAT),)), issues=(issue,)))[0] is Outcome.WARN


def test_a_failure_is_known_by_its_message() -> None:
    found = excused(booted(1, (case(Outcome.FAIL), case(Outcome.FAIL, name="u.b"))), issues=(BY_MESSAGE,))
    assert outcomes(found) == [Outcome.XFAIL, Outcome.FAIL, Outcome.PASS]
    assert found.uses[0].cases == 1
    other = replace(BY_MESSAGE, message="another")
    assert outcomes(excused(booted(1, (case(Outcome.FAIL),)), issues=(other,)))[0] is Outcome.FAIL
    expired = excused(booted(1, (case(Outcome.FAIL),)), issues=(replace(BY_MESSAGE, expires=EARLIER),))
    assert (outcomes(expired)[0], expired.uses[0].cases) == (Outcome.FAIL, 1)


def test_a_failure_with_a_splat_that_nobody_knows_is_not_known() -> None:
    assert outcomes(excused(booted(1, (case(Outcome.FAIL, SPLAT),)), issues=(BY_MESSAGE,)))[0] is Outcome.FAIL
    assert outcomes(excused(booted(1, (case(Outcome.FAIL, SPLAT),)), issues=(ISSUE, BY_MESSAGE)))[0] is Outcome.XFAIL


def test_a_message_does_not_excuse_a_crash() -> None:
    loud = replace(BY_MESSAGE, message=".*")
    assert outcomes(excused(booted(1, (case(Outcome.CRASH),)), issues=(loud,)))[0] is Outcome.CRASH


def test_a_known_panic_excuses_the_boot_but_what_it_kept_from_running_is_missing() -> None:
    issue = replace(ISSUE, fingerprints=(PANIC.fingerprint,))
    run, cases, events = booted(1, (case(Outcome.CRASH, PANIC), case(Outcome.INCOMPLETE, name="t.b")))
    dead = (*cases[:-1], replace(cases[-1], outcome=Outcome.CRASH, message="the kernel panicked"))
    found = excused((run, dead, events), issues=(issue,))
    assert outcomes(found) == [Outcome.XFAIL, Outcome.INCOMPLETE, Outcome.XFAIL]
    assert found.runs[0].verdict is Verdict.CANNOT_TELL
    assert outcomes(excused((run, dead, events)))[2] is Outcome.CRASH


def test_an_event_outside_of_every_case() -> None:
    assert outcomes(excused(booted(1, (case(),), loose=(SPLAT,)))) == [Outcome.PASS, Outcome.XFAIL]
    bound = replace(ISSUE, cases=("t.*",))
    assert outcomes(excused(booted(1, (case(),), loose=(SPLAT,)), issues=(bound,)))[1] is Outcome.WARN


def test_an_event_that_a_suite_expects_is_not_taken_for_a_known_one() -> None:
    expected = replace(SPLAT, expected="on purpose")
    assert excused(booted(1, (case(Outcome.PASS, expected),))).uses[0].state is KnownState.STALE


def test_nothing_known_changes_nothing() -> None:
    boot = booted(1, (case(Outcome.WARN, SPLAT),))
    assert excused(boot, issues=()).cases == boot[1]


def test_it_is_in_the_json_of_a_report() -> None:
    found = excused(booted(1, (case(Outcome.WARN, SPLAT),)))
    whole = replace(report("r"), runs=found.runs, cases=found.cases, events=found.events, known=found.uses)
    jsonschema.validate(json.loads(to_json(whole)), SCHEMA)
    assert from_json(Report, to_json(whole)) == whole


# The file

ENTRY = """[[issue]]
name = "k"
reason = "why"
owner = "who"
expires = 2027-01-31
"""
GOOD = ENTRY + 'fingerprints = ["aaaaaaaaaaaa"]\n'


def test_a_file_with_every_key() -> None:
    text = ENTRY + (
        'cases = ["ttm_pool.*", "t[ab]"]\nmessage = "got -\\\\d+"\nsuites = ["ttm-kunit"]\n'
        'since = "6.15"\nbefore = "7.4"\nrare = true\n'
    )
    (issue,) = parse_known(text, "f")
    assert issue == KnownIssue(
        "k",
        "why",
        "who",
        "2027-01-31",
        (),
        ("ttm_pool.*", "t[ab]"),
        "got -\\d+",
        ("ttm-kunit",),
        (6, 15),
        (7, 4),
        True,
    )


def test_an_empty_file_knows_nothing() -> None:
    assert parse_known("", "f") == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("issue = 3", ("f:1: issue: 3 is not a list of tables",)),
        ("[[issue", ("f is not TOML",)),
        ("[[isue]]\n", ("f:1: isue: there is no such key", "did you mean issue?")),
        ("[[issue]]\n", ("issue[1].name: is missing", "issue[1].expires: is missing")),
        (GOOD + "resaon = 'x'\n", ("f:7: issue[1].resaon: there is no such key", "did you mean reason?")),
        (GOOD + "colour = 'x'\n", ("issue[1].colour: there is no such key", "allowed: name, reason")),
        (GOOD.replace('"k"', '"K k"'), ("f:2: issue[1].name: 'K k' is no name", "small letters")),
        (GOOD.replace('"why"', '""'), ("f:3: issue[1].reason: '' is not a text",)),
        (GOOD.replace('"why"', '"a\\u001bb"'), ("issue[1].reason:", "not a text in one line")),
        (GOOD.replace('"who"', "7"), ("issue[1].owner: 7 is not a text",)),
        (GOOD.replace("2027-01-31", '"2027-01-31"'), ("expires: '2027-01-31' is no date", "without quotes")),
        (GOOD.replace("2027-01-31", "2027-01-31T00:00:00"), ("is no date",)),
        (GOOD.replace("2027-01-31", "2027-02-31"), ("f is not TOML",)),
        (GOOD.replace("aaaaaaaaaaaa", "aaa"), ("fingerprints: 'aaa' cannot be one of them", "twelve hex digits")),
        (ENTRY + "fingerprints = []\n", ("fingerprints: [] is no list with something in it",)),
        (ENTRY + 'fingerprints = "aaaaaaaaaaaa"\n', ("is no list",)),
        (ENTRY, ("issue[1].fingerprints: it matches nothing",)),
        (ENTRY + 'cases = ["a"]\n', ("message: cases without fingerprints need one",)),
        (ENTRY + 'message = "a"\n', ("it matches nothing",)),
        (GOOD + 'message = "a"\n', ("message: goes with cases alone",)),
        (ENTRY + 'cases = ["a b"]\nmessage = "a"\n', ("cases: 'a b' cannot be one of them",)),
        (ENTRY + 'cases = ["a"]\nmessage = "("\n', ("message: '(' is no regular expression",)),
        (GOOD + 'suites = ["ttm-kunti"]\n', ("suites:", "ttm-kunti")),
        (GOOD + "since = 6.15\n", ("since: 6.15 is no version", 'such as "7.2"')),
        (GOOD + 'since = "7.4"\nbefore = "7.4"\n', ("before: must be a later kernel",)),
        (GOOD + 'rare = "yes"\n', ("rare: 'yes' is neither true nor false",)),
        (GOOD + GOOD, ("f:8: issue[2].name: k is there twice",)),
    ],
)
def test_a_mistake_is_a_sentence(text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as caught:
        parse_known(text, "f")
    assert all(word in caught.value.message for word in words), caught.value.message
    assert caught.value.message.startswith("f")


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(UserError) as caught:
        parse_known(ENTRY + "rare = 1\nsince = 1\n" + ENTRY.replace('"k"', '"l"'), "f")
    assert len(caught.value.message.splitlines()) == 3


def test_files_are_put_together(tmp_path: Path) -> None:
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text(GOOD)
    two.write_text(GOOD.replace('"k"', '"l"'))
    found = read_known((str(one), str(two)), date(2026, 11, 21))
    assert [issue.name for issue in found.issues] == ["k", "l"]
    assert (found.day, found.files) == (TODAY, (str(one), str(two)))
    with pytest.raises(UserError, match="two known issues of the name k"):
        read_known((str(one), str(one)))


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"#" * (5 << 20)])
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "known.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"known\.toml"):
        read_known((str(path),))
    with pytest.raises(UserError):
        read_known((str(tmp_path),))


def test_the_shipped_file_is_valid_and_none_of_it_is_taken_unasked() -> None:
    assert read_known((SHIPPED,)).issues
    assert read_known(()).issues == ()
    readme = (data_directory("patches") / "known-issues" / "README.md").read_text()
    for key in (
        "fingerprints",
        "cases",
        "message",
        "suites",
        "since",
        "before",
        "rare",
        "reason",
        "owner",
        "expires",
    ):
        assert f"    {key} = " in readme
    example = "\n".join(line.strip() for line in readme.splitlines() if line.startswith("    "))
    with pytest.raises(UserError, match="message: goes with cases alone"):
        parse_known(example, "README.md")
    without = "\n".join(line for line in example.splitlines() if not line.startswith("message"))
    assert parse_known(without, "README.md")
