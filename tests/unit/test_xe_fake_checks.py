# SPDX-License-Identifier: GPL-2.0-only
"""The cases of xe-fake and the places where they check something, as their sources have them."""

from __future__ import annotations

import re

from harness.suites.registry import suite_named
from tests.kernel.broken_checks import Broken, all_cases, all_checks, table

SOURCES = suite_named("xe-fake").folder / "overlay"


def test_the_cases_are_those_that_run_when_nobody_chooses() -> None:
    cases = all_cases()
    assert {"counts", "locked", "vram_suspend", "upstream"} <= set(cases)
    assert not any(case.startswith(("suspect_", "fatal_")) for case in cases)


def test_each_case_can_fail() -> None:
    """A file of cases has an expectation for each, by itself or by one of its helpers."""
    for path in SOURCES.glob("case_*.c"):
        text = path.read_text(encoding="utf-8")
        assert re.search(r"KUNIT_EXPECT_|fake_expect_", text), path.name


def test_checks_are_named_by_file_and_line() -> None:
    checks = all_checks()
    assert len(checks) == len(set(checks)) > 200
    name, line = checks[0].split(":")
    assert "KUNIT_" in (SOURCES / name).read_text(encoding="utf-8").splitlines()[int(line) - 1]


def test_no_loop_of_a_case_goes_on_until_the_driver_says_stop() -> None:
    for path in SOURCES.glob("*.c"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"while \(fake_\w+\(|for \(;;\)|while \((1|true)\)", text), path.name


def test_a_case_that_stays_green_is_named() -> None:
    text = table([Broken("a", "x.c:1", "not ok"), Broken("a", "x.c:2", "ok"), Broken("b", "x.c:1", "not ok")])
    assert text.splitlines()[1:] == [f"{'a':28}      2    1  x.c:2", f"{'b':28}      1    1"]
