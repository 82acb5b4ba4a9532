# SPDX-License-Identifier: GPL-2.0-only
"""Knobs are refused before a boot, with the valid ones listed."""

from __future__ import annotations

import pytest

from harness.model.cell import Knob
from harness.model.errors import UserError
from harness.suites import pressure, ttm_kunit
from harness.suites.knobs import check_knob_cases, check_knobs

SUITES = (ttm_kunit.SUITE, pressure.SUITE)


@pytest.mark.parametrize(
    "text", ["bo=1M", "bo=4K", "bo=64M", "total=200%", "total=100M", "caching=wc", "dma=1", "threads=16", "busy=0"]
)
def test_what_fits(text: str) -> None:
    name, _, value = text.partition("=")
    check_knobs((Knob(name, value),), SUITES)


@pytest.mark.parametrize(
    "text",
    [
        *("bo=1K", "bo=65M", "bo=big", "total=401%", "total=0%", "total=%", "total=0", "total=-5%"),
        *("caching=wt", "caching=WC", "dma=2", "dma=-1", "dma=", "threads=0", "threads=17", "busy=101", "busy=٣"),
    ],
)
def test_what_does_not_fit(text: str) -> None:
    name, _, value = text.partition("=")
    with pytest.raises(UserError, match=name) as refusal:
        check_knobs((Knob(name, value),), SUITES)
    assert refusal.value.hint


def test_an_unknown_knob_lists_the_known() -> None:
    with pytest.raises(UserError) as refusal:
        check_knobs((Knob("bosize", "1M"),), SUITES)
    assert "caching: wb, wc, uc" in (refusal.value.hint or "")


def test_suites_without_knobs() -> None:
    with pytest.raises(UserError) as refusal:
        check_knobs((Knob("bo", "1M"),), (ttm_kunit.SUITE,))
    assert refusal.value.hint == "the chosen suites have none"


def test_a_knob_given_twice() -> None:
    with pytest.raises(UserError, match="twice"):
        check_knobs((Knob("bo", "1M"), Knob("bo", "2M")), SUITES)


@pytest.mark.parametrize("cases", [(), ("forward_progress",), ("pressure_wc", "walk_once"), ("*",), ("pressure_*",)])
def test_knobs_for_cases_that_take_them(cases: tuple[str, ...]) -> None:
    check_knob_cases((Knob("bo", "1M"),), cases, SUITES)


@pytest.mark.parametrize("cases", [("walk_once",), ("content_*", "resume_each")])
def test_knobs_that_would_change_nothing(cases: tuple[str, ...]) -> None:
    check_knob_cases((), cases, SUITES)
    with pytest.raises(UserError, match="takes knobs"):
        check_knob_cases((Knob("bo", "1M"),), cases, SUITES)
