# SPDX-License-Identifier: GPL-2.0-only
"""A pass that has to show what it did, and a skip that says what would make it run. The log is put together of the
words of drivers/gpu/drm/xe/tests/xe_bo.c and of lib/kunit: there is no such GPU here.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.evidence.lines import decode
from harness.evidence.parse import parse_ktap_text
from harness.flow.igt_suite import igt_cases
from harness.judge.expectations import require
from harness.model.event import Case
from harness.model.outcome import Outcome
from harness.model.suite import Ground
from harness.suites.registry import suite_named
from tests.unit.test_igt import EVERY
from tests.unit.test_ktap import golden

GROUND = Ground((7, 3, 0))
NAME = "xe_bo_shrink.xe_bo_shrink_kunit.0000:03:00.0"
SAID = (
    "Random seed is 0x0123456789abcdef.",
    "Free ram is 7516192768 bytes. Will allocate twice of that.",
    "Readbacks interrupted: 3 successful: 221",
)
FIGURES = {"free_ram": 7516192768.0, "readbacks_interrupted": 3.0, "readbacks_successful": 221.0}


def log_of(*said: str, end: str = "") -> bytes:
    lines = (
        "KTAP version 1",
        "1..1",
        "    KTAP version 1",
        "    # Subtest: xe_bo_shrink",
        "    1..1",
        "        KTAP version 1",
        "        # Subtest: xe_bo_shrink_kunit",
        *(f"    # xe_bo_shrink_kunit: {one}" for one in said),
        f"        ok 1 0000:03:00.0{end}",
        "    # xe_bo_shrink_kunit.speed: slow",
        f"    ok 1 xe_bo_shrink_kunit{end}",
        f"ok 1 xe_bo_shrink{end}",
    )
    return stamped(*lines)


def stamped(*lines: str) -> bytes:
    return "".join(f"[{at:5d}.000000] {line}\n" for at, line in enumerate(lines, 1)).encode()


def shrink(log: bytes) -> Case:
    suite = suite_named("xe-live")
    cases = require(suite, GROUND, (replace(one, suite="xe-live") for one in parse_ktap_text(log).cases))
    return next(case for case in cases if case.name == NAME)


def test_a_pass_that_read_objects_back_has_their_number() -> None:
    case = shrink(log_of(*SAID))
    assert case.outcome is Outcome.PASS
    assert {one.name: one.value for one in case.metrics} == FIGURES
    assert case.message.startswith("Random seed is 0x0123456789abcdef; Free ram is 7516192768 bytes; Readbacks")


@pytest.mark.parametrize("said", [(*SAID[:2], "Readbacks interrupted: 0 successful: 0"), SAID[:2], ()])
def test_a_pass_that_read_nothing_back_is_none(said: tuple[str, ...]) -> None:
    case = shrink(log_of(*said))
    assert case.outcome is Outcome.INCOMPLETE
    assert "without reading an object back" in case.message


def test_a_failure_stays_one() -> None:
    assert shrink(log_of(*SAID[:2]).replace(b"ok 1", b"not ok 1")).outcome is Outcome.FAIL


def test_too_much_memory_says_which_would_do() -> None:
    case = shrink(log_of(SAID[0], end=" # SKIP Too long expected execution time."))
    assert case.outcome is Outcome.NOT_RUN
    assert "Too long expected execution time" in case.message and "mem=30G" in case.message


def test_without_a_device_the_reason_is_said() -> None:
    log = parse_ktap_text(golden("xe-live-suites-skip-without-a-gpu"))
    cases = require(suite_named("xe-live"), GROUND, (replace(one, suite="xe-live") for one in log.cases))
    assert {case.outcome for case in cases} == {Outcome.NOT_RUN}
    assert {case.message for case in cases} == {"required, but skipped: no GPU that xe drives is in this guest"}


def test_other_suites_are_left_alone() -> None:
    one = Case("ttm-kunit", "ttm_pool.alloc", Outcome.PASS)
    assert one in require(suite_named("ttm-kunit"), GROUND, (one,))


def test_what_kunit_says_beside_an_igt_test_is_the_tests() -> None:
    lines = decode(stamped("ttm-harness: case igt-self igt_words@pass", *(f"    # a: {one}" for one in SAID)))
    found, _ = igt_cases(suite_named("igt-self"), EVERY, lines, (), ("igt-self.igt_words@pass",))
    case = next(one for one in found.cases if one.name == "igt-self.igt_words@pass")
    xe = suite_named("igt-xe-shrinker")
    named = replace(case, suite=xe.name, name=f"{xe.name}.xe_live_ktest@xe_bo_shrink")
    judged = next(one for one in require(xe, GROUND, (named,)) if one.name == named.name)
    assert {one.name: one.value for one in judged.metrics} == FIGURES and judged.outcome is Outcome.PASS
    empty = require(xe, GROUND, (replace(named, diagnostics=()),))[0]
    assert empty.outcome is Outcome.INCOMPLETE
