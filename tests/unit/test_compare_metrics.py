# SPDX-License-Identifier: GPL-2.0-only
"""A change of a figure is called only when the repeats bear it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from harness.judge.metrics import Said, better
from harness.judge.metrics import compare_metrics as compared_with
from harness.judge.sides import Side
from harness.model.compare import MetricChange, MetricComparison, Shift
from harness.model.figure import Better, Figure, Unit
from harness.model.outcome import Outcome
from harness.suites.registry import figures_said
from tests.unit.compare_support import booted, case, side

NOTHING_SAID: Said = {}


def measured(name: str, values: Sequence[float], outcome: Outcome = Outcome.PASS) -> Side:
    return side(*(booted(number, (case(outcome, figures={name: value}),)) for number, value in enumerate(values)))


def compare_metrics(base: Side, tip: Side, said: Said = NOTHING_SAID) -> MetricComparison:
    return compared_with(base, tip, said)


def compared(base: Sequence[float], tip: Sequence[float], name: str = "ms") -> MetricComparison:
    return compare_metrics(measured(name, base), measured(name, tip))


def only(found: MetricComparison) -> MetricChange:
    (one,) = found.changes
    return one


QUICK, SLOW = (10.0, 11.0, 12.0, 13.0, 14.0), (20.0, 22.0, 21.0, 25.0, 23.0)


def test_what_is_the_same_in_all_boots_is_not_listed() -> None:
    found = compared((5.0,) * 5, (5.0,) * 5)
    assert (found.changes, found.tested) == ((), 0)


def test_repeats_that_agree_make_a_change() -> None:
    one = only(compared(QUICK, SLOW))
    assert (one.shift, one.effect, one.base.median, one.tip.median) == (Shift.WORSE, 1.0, 12, 22)
    assert one.chance == pytest.approx(2 / 252)
    assert one.ratio == pytest.approx(10 / 12)
    assert only(compared(SLOW, QUICK)).shift is Shift.BETTER
    assert only(compared(QUICK, SLOW, "backed_up")).shift is Shift.CHANGED


@pytest.mark.parametrize("name", ["ms", "seconds", "longest_gap", "stat.waited"])
def test_times_of_several_hosts_are_not_compared(name: str) -> None:
    said = {"s": (Figure("stat.waited", unit=Unit.US),)}
    for hosts, words in ((("a", "a"), ()), (("a", "b"), ("a, b",)), (("", "b"), ("b, this host",))):
        base, tip = (
            Side(tuple(replace(run, host=host) for run in one.runs), one.cases, one.events, one.groups)
            for one, host in zip((measured(name, QUICK), measured(name, SLOW)), hosts, strict=True)
        )
        found = compare_metrics(base, tip, said)
        assert [one.name for one in found.changes] == ([] if words else [name])
        assert found.notes == tuple(f"no times are compared: the boots were made on {one}" for one in words)
    assert only(compared(QUICK, SLOW, "backed_up")).name == "backed_up"


@pytest.mark.parametrize("boots", [1, 2, 3])
def test_without_enough_repeats_no_change_is_called(boots: int) -> None:
    found = compared(QUICK[:boots], [value * 100 for value in SLOW[:boots]])
    assert only(found).shift is Shift.UNCLEAR
    assert only(found).chance is None
    assert (found.tested, found.needed) == (0, 4)


def test_a_single_outlier_is_no_change() -> None:
    assert only(compared(QUICK, (*QUICK[:4], 10_000.0))).shift is Shift.SAME
    assert only(compared((10.0,) * 8, (*(10.0,) * 7, 1e9))).shift is Shift.SAME


def test_noise_around_the_same_value_is_no_change() -> None:
    assert only(compared((10.0, 12.0, 14.0, 16.0, 18.0), (11.0, 13.0, 15.0, 17.0, 9.0))).shift is Shift.SAME


def test_a_sure_but_tiny_change_is_none() -> None:
    assert only(compared((1000.0, 1001.0, 1002.0, 1003.0), (1010.0, 1011.0, 1012.0, 1013.0))).shift is Shift.SAME


def test_many_figures_need_more_repeats_than_one() -> None:
    """Of a hundred figures of pure chance five would pass a test at 5 %."""

    def boots(step: int, extra: float) -> Side:
        rows = ({f"n{place}": float((number * step + place) % 5) for place in range(40)} for number in range(5))
        return side(*(booted(n, (case(figures={"ms": 10.0 + n + extra, **row}),)) for n, row in enumerate(rows)))

    found = compare_metrics(boots(1, 0.0), boots(2, 20.0))
    shifts = {one.name: one.shift for one in found.changes}
    assert shifts.pop("ms") is Shift.UNCLEAR
    assert set(shifts.values()) == {Shift.SAME}
    assert (found.tested, found.needed_alone) == (41, 7)


def test_a_case_that_failed_measured_nothing() -> None:
    failed = measured("ms", (1.0,) * 5, Outcome.FAIL)
    assert compare_metrics(measured("ms", QUICK), failed).changes == ()
    assert compare_metrics(failed, measured("ms", QUICK)).changes == ()


def whole(values: Sequence[float], *names: str, first: Outcome = Outcome.PASS) -> Side:
    cases = [case(first), *(case(name=f"t.{name}") for name in names)]
    return side(*(booted(n, cases, seconds=value, metrics={"pswpout": value * 7}) for n, value in enumerate(values)))


def test_whole_boots_are_compared_where_they_did_the_same() -> None:
    found = compare_metrics(whole(QUICK), whole(SLOW))
    assert {(one.suite, one.case, one.name): one.shift for one in found.changes} == {
        ("s", "", "seconds"): Shift.WORSE,
        ("s", "", "pswpout"): Shift.CHANGED,
    }
    assert found.notes == ()


def test_boots_that_did_more_are_not_slower() -> None:
    found = compare_metrics(whole(QUICK), whole(SLOW, "b"))
    assert found.changes == ()
    assert found.notes == ("what was measured over whole boots of s is left out: they executed 2 to 3 cases",)
    assert compare_metrics(whole(QUICK, first=Outcome.NOT_RUN), whole(SLOW)).changes == ()


def test_the_time_of_what_is_over_at_once_is_noise() -> None:
    def timed(*seconds: float) -> Side:
        return side(*(booted(n, (replace(case(), seconds=one),)) for n, one in enumerate(seconds)))

    assert compare_metrics(timed(0.001, 0.002), timed(0.01, 0.09)).changes == ()
    assert compare_metrics(timed(1.0, 2.0), timed(3.0, 4.0)).changes != ()


def test_boots_that_are_no_evidence_are_left_out() -> None:
    run, cases, events = booted(9, (case(figures={"ms": 1e9}),))
    odd = replace(run, problems=("the guest never got ready",))
    boots = [booted(n, (case(figures={"ms": value}),)) for n, value in enumerate(QUICK)]
    assert only(compare_metrics(measured("ms", SLOW), side(*boots, (odd, cases, events)))).tip.most == 14


SHIPPED = figures_said(("pressure", "pressure-findings", "drm-shmem", "xe-fake", "ttm-kunit"))


@pytest.mark.parametrize(
    ("suites", "name"),
    [
        ("ttm-kunit", "ms"),
        ("ttm-kunit", "load_ms"),
        ("ttm-kunit", "psi_some_total"),
        ("ttm-kunit", "psi_some_avg10.min"),
        ("ttm-kunit", "oom_kill"),
        ("ttm-kunit", "checks_failed"),
        ("gone", "longest_gap"),
        ("a,b", "a.seconds"),
        ("pressure", "scan_ns_max"),
        ("pressure", "stat.scan_ns_max.max"),
        ("pressure", "failed"),
        ("pressure-findings", "failures"),
        ("ttm-kunit,pressure", "stat.enomem"),
        ("drm-shmem", "failures"),
        ("xe-fake", "scan_us_max"),
    ],
)
def test_of_some_figures_less_is_better(suites: str, name: str) -> None:
    assert better(suites, name, SHIPPED) is Better.LESS


@pytest.mark.parametrize(
    ("suites", "name"),
    [
        ("pressure", "stat.backed_up"),
        ("pressure", "backup_bytes_per_second"),
        ("pressure", "stat.scan_ns_max.min"),
        ("pressure", "pswpout"),
        ("pressure", "MemFree.min"),
        ("pressure", "objects"),
        ("pressure", "forms"),
        ("xe-fake", "stat.enomem"),  # which is another suite's
        ("gone", "failed"),
    ],
)
def test_of_most_figures_nobody_can_say(suites: str, name: str) -> None:
    assert better(suites, name, SHIPPED) is Better.NEITHER


@pytest.mark.parametrize(
    ("said", "shift"),
    [(Better.LESS, Shift.WORSE), (Better.MORE, Shift.BETTER), (Better.NEITHER, Shift.CHANGED)],
)
def test_a_suite_says_which_way_is_better(said: Better, shift: Shift) -> None:
    mine = {"s": (Figure("given_*", better=said),), "other": (Figure("*", better=Better.LESS),)}
    grown = compare_metrics(measured("given_back", QUICK), measured("given_back", SLOW), mine)
    assert only(grown).shift is shift
    fallen = compare_metrics(measured("given_back", SLOW), measured("given_back", QUICK), mine)
    opposite = {Shift.WORSE: Shift.BETTER, Shift.BETTER: Shift.WORSE, Shift.CHANGED: Shift.CHANGED}
    assert only(fallen).shift is opposite[shift]
