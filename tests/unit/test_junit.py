# SPDX-License-Identifier: GPL-2.0-only
"""JUnit as its common readers want it; that the rules can say no."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.model.outcome import Outcome
from harness.model.result import Case
from harness.reports.junit import to_junit
from tests.junit_rules import complaints
from tests.unit.test_html import hostile
from tests.unit.test_reports import REPORT, RUN

GOOD = (
    '<testsuites name="x" tests="1" failures="0" errors="0" time="0.100"><testsuite name="s" tests="1" failures="0" '
    'errors="0" skipped="0" time="0.100"><properties><property name="a" value=""/></properties>'
    '<testcase name="n" classname="s" time="0.100"/></testsuite></testsuites>'
)


def test_a_report_is_what_the_readers_want() -> None:
    assert complaints(to_junit(REPORT)) == []


@settings(max_examples=50, deadline=None)
@given(st.text(min_size=1))
def test_so_is_one_with_any_words(word: str) -> None:
    assert complaints(to_junit(hostile(word))) == []


def test_the_rules_accept_what_is_good() -> None:
    assert complaints(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('errors="0" time="0.100"><testsuite', 'errors="0" skipped="0" time="0.100"><testsuite', "has skipped"),
        ('time="0.100"/>', 'time="1e-05"/>', "time="),
        ('<testcase name="n" classname="s"', '<testcase name="n"', "no classname"),
        ('classname="s" time="0.100"/>', 'classname="s"><skipped type="a"/></testcase>', "has type"),
        ('classname="s" time="0.100"/>', 'classname="s"><error/></testcase>', "no type"),
        ('classname="s" time="0.100"/>', 'classname="s"><system-out/><error type="a"/></testcase>', "holds"),
        ('skipped="0" time', 'skipped="1" time', "skipped of s is not 0"),
        ('name="s" tests="1"', 'name="a&#10;b" tests="1"', "name="),
        ("<property ", "<prop ", "no reader knows <prop>"),
        ("</testsuites>", "", "not XML"),
        (
            '<testcase name="n" classname="s" time="0.100"/>',
            '<testcase name="n" classname="s"/><testcase name="n" classname="s"/>',
            "stands 2 times",
        ),
    ],
)
def test_the_rules_say_no(old: str, new: str, said: str) -> None:
    assert old in GOOD
    assert any(said in one for one in complaints(GOOD.replace(old, new)))


def names_of(text: str) -> list[tuple[str | None, str | None]]:
    return [(case.get("classname"), case.get("name")) for case in ElementTree.fromstring(text).iter("testcase")]


def test_two_cases_of_one_name_are_two() -> None:
    cases = tuple(Case("s", name, Outcome.PASS, run="001-x") for name in ("a", "a", "a (2)", "a"))
    text = to_junit(replace(REPORT, cases=cases))
    assert complaints(text) == []
    assert len(set(names_of(text))) == 4
    assert ("s", "a") in names_of(text)


def test_boots_of_several_machines_are_told_apart() -> None:
    runs = tuple(replace(RUN, id=f"{ram}-x", group=f"{ram}M RAM") for ram in (128, 256))
    cases = tuple(Case("s", "a", Outcome.PASS, run=run.id) for run in runs)
    text = to_junit(replace(REPORT, runs=runs, cases=cases))
    assert complaints(text) == []
    assert names_of(text) == [("s [128M RAM]", "a"), ("s [256M RAM]", "a")]


def test_why_a_case_was_skipped_keeps_its_word() -> None:
    cases = (
        Case("s", "a", Outcome.XFAIL, message="a known bug", run="001-x"),
        Case("s", "b", Outcome.SKIP, run="001-x"),
    )
    root = ElementTree.fromstring(to_junit(replace(REPORT, cases=cases)))
    assert [skipped.get("message") for skipped in root.iter("skipped")] == ["XFAIL: a known bug", "SKIP"]
