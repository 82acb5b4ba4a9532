# SPDX-License-Identifier: GPL-2.0-only
"""Figures among the diagnostics of a case."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.evidence.figures import figures
from harness.model.result import Metric


def test_figures_are_found_among_other_lines() -> None:
    lines = (
        "# content_wb: expected 1, got 2",
        "# content_wb: pages=512",
        "# content_wb: ms=1.5",
        "pages=9",
        "# a: b=c",
    )
    assert figures(lines) == (Metric("pages", 512.0), Metric("ms", 1.5))


def test_the_last_of_a_name_counts() -> None:
    assert figures(("# a: n=1", "# a: n=-2")) == (Metric("n", -2.0),)


@given(st.lists(st.text()))
def test_never_raises(lines: list[str]) -> None:
    figures(lines)
