# SPDX-License-Identifier: GPL-2.0-only
"""Knobs are refused before a boot, with the valid ones listed."""

from __future__ import annotations

import re

import pytest

from harness.model.cell import Knob
from harness.model.errors import UserError
from harness.model.words import parse_knobs
from harness.suites.knobs import check_knob_cases, check_knobs
from harness.suites.registry import suite_named

SUITES = (suite_named("ttm-kunit"), suite_named("pressure"))


@pytest.mark.parametrize(
    "text",
    [
        "bo=1M",
        "bo=4K",
        "bo=64M",
        "total=200%",
        "total=100M",
        "caching=wc",
        "dma=1",
        "threads=16",
        "busy=0",
        "failslab=1%",
        "fail_page_alloc=100%",
    ],
)
def test_what_fits(text: str) -> None:
    name, _, value = text.partition("=")
    check_knobs((Knob(name, value),), SUITES)


@pytest.mark.parametrize(
    "text",
    [
        *("bo=1K", "bo=65M", "bo=big", "total=401%", "total=0%", "total=%", "total=0", "total=-5%"),
        *("caching=wt", "caching=WC", "dma=2", "dma=-1", "dma=", "threads=0", "threads=17", "busy=101", "busy=٣"),
        *("failslab=1", "failslab=0%", "failslab=101%", "failslab=0.5%", "failslab=%", "failslab=-1%", "failslab=١%"),
        *(f"threads={'1' * 5000}", f"total={'1' * 5000}%"),
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
        check_knobs((Knob("bo", "1M"),), (suite_named("ttm-kunit"),))
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
    with pytest.raises(UserError, match="takes the knob bo"):
        check_knob_cases((Knob("bo", "1M"),), cases, SUITES)


@pytest.mark.parametrize("device", suite_named("xe-fake").knobs[0].choices)
def test_fake_devices(device: str) -> None:
    check_knobs((Knob("device", device),), (suite_named("xe-fake"),))
    check_knob_cases((Knob("device", device),), ("content",), (suite_named("xe-fake"),))


@pytest.mark.parametrize("device", ["", "adl", "TGL", "tgl,dg1", "none"])
def test_a_device_that_is_not_there_lists_those_that_are(device: str) -> None:
    with pytest.raises(UserError, match="device") as refusal:
        check_knobs((Knob("device", device),), (suite_named("xe-fake"),))
    assert "lnl-suspend" in (refusal.value.hint or "")


FAILURES = (Knob("failslab", "1%"), Knob("failslab_interval", "10"), Knob("failslab_times", "5"))


def test_failures_by_chance() -> None:
    check_knobs(FAILURES, SUITES)
    check_knobs((Knob("fail_page_alloc_times", "5"), Knob("fail_page_alloc", "1%")), SUITES)
    check_knob_cases(FAILURES, ("pressure_wc",), SUITES)


@pytest.mark.parametrize("text", ["failslab_times=1", "failslab_interval=2", "backup_fault_times=3"])
def test_how_often_is_nothing_without_a_chance(text: str) -> None:
    name, _, value = text.partition("=")
    with pytest.raises(UserError, match=f"{name} means nothing without"):
        check_knobs((Knob(name, value), Knob("fail_page_alloc", "1%")), SUITES)


@pytest.mark.parametrize("knob", [FAILURES[0], Knob("fail_page_alloc", "1%"), Knob("backup_fault", "5")])
def test_failures_are_for_the_cases_of_load(knob: Knob) -> None:
    check_knob_cases((Knob("bo", "1M"),), ("hog_beside",), SUITES)
    with pytest.raises(UserError, match=f"takes the knob {knob.name}"):
        check_knob_cases((knob,), ("hog_beside",), SUITES)


@pytest.mark.parametrize("text", ["bo", "=1M", "bo="])
def test_what_is_no_knob_is_told_how_one_looks(text: str) -> None:
    with pytest.raises(UserError, match="NAME=VALUE") as refusal:
        parse_knobs((text,))
    assert refusal.value.hint


_KEY = re.compile(r'TP_KEY\("(\w+)", (K_\w+), \w+, ([^,]+), ([^,]+),\s+(NULL|"[\w,]*")\)')


@pytest.mark.parametrize("name", ["pressure", "drm-shmem"])
def test_the_module_takes_the_knobs_of_its_suite(name: str) -> None:
    suite = suite_named(name)
    source = (suite.folder / "module" / "main.c").read_text(encoding="utf-8")
    keys = {key: rest for key, *rest in _KEY.findall(source)}
    for knob in suite.knobs:
        if re.match("backup_fault|fail", knob.name):  # the script's, by knobs() of guest-scripts/module-cases
            continue
        assert knob.name in keys, f"{name}: tp_keys of main.c has no {knob.name}"
        kind, least, most, words = keys[knob.name]
        if kind == "K_INT":
            assert (int(least), int(most)) == (knob.least, knob.most), knob.name
        if kind == "K_ENUM":
            assert set(words.strip('"').split(",")) == set(knob.choices), knob.name
