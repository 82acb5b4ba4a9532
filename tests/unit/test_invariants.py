# SPDX-License-Identifier: GPL-2.0-only
"""docs/invariants.md defines what cases and controls cite."""

from __future__ import annotations

import re
from pathlib import Path

from harness.flow.controls import control_set, read_controls, with_controls
from harness.suites.registry import SHIPPED, suite_named

ROOT = Path(__file__).parents[2]
_ROW = re.compile(r"^\| \*\*(I\d+)\*\* \|", re.MULTILINE)
_OWN_ROW = re.compile(r"^\| (S\d+) \|", re.MULTILINE)  # a suite's README may have invariants of its own
_CITED = re.compile(r"\bI\d{1,2}\b")
_LIST = re.compile(r'"(I\d{1,2}(?:,I\d{1,2})*)"')


def defined() -> list[str]:
    return _ROW.findall((ROOT / "docs" / "invariants.md").read_text(encoding="utf-8"))


def test_they_are_defined_once_and_in_order() -> None:
    assert defined() == [f"I{number}" for number in range(1, 21)]


def test_controls_break_what_is_defined() -> None:
    for name in with_controls():
        suite = suite_named(name)
        own = set(_OWN_ROW.findall((suite.folder / "README.md").read_text(encoding="utf-8")))
        for one in read_controls(control_set(suite).folder):
            assert set(one.breaks) <= {*defined(), *own}, one.name


def test_cases_check_what_is_defined() -> None:
    cited = set()
    for path in (SHIPPED / "ttm" / "pressure" / "module").glob("case_*.c"):
        for words in _LIST.findall(path.read_text(encoding="utf-8")):
            cited |= set(words.split(","))
    assert len(cited) > 15
    assert cited <= set(defined())


def test_the_pages_that_speak_of_them_say_where_they_are() -> None:
    for path in (SHIPPED / "ttm" / "pressure" / "README.md", SHIPPED / "CONTROLS.md"):
        text = path.read_text(encoding="utf-8")
        assert set(_CITED.findall(text)) <= set(defined())
        assert "docs/invariants.md" in text, path
