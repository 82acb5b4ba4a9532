# SPDX-License-Identifier: GPL-2.0-only
"""A report of a 6.12 guest, brought about again on that kernel, and not on one that has the shrinker."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel.test_run import ttm_harness

KMSG = Path(__file__).parents[1] / "data" / "kmsg"


def again(scenario: str, *words: str, status: int) -> dict[str, object]:
    log = str(KMSG / scenario / "input.log")
    return ttm_harness("repro", "--from-dmesg", log, "--go", "--quiet", *words, status=status)


def test_objects_that_hold_the_memory_kill_a_hog_again() -> None:
    found = again("objects-and-a-locked-hog-leave-swap-free-on-6.12", status=1)
    assert found["again"] is True
    fields = found["likeness"]
    assert isinstance(fields, list)
    assert {one["field"]: one["alike"] for one in fields}.items() >= {
        ("class", True),
        ("order", True),
        ("swap free", True),
        ("drivers", True),
    }


def test_a_kernel_with_the_shrinker_survives_it() -> None:
    found = again("objects-and-a-locked-hog-leave-swap-free-on-6.12", "--source", "debian", status=0)
    assert (found["again"], found["ours"]) == (False, None)


@pytest.mark.parametrize(
    "scenario", ["memory-cgroup-at-its-limit-on-7.3", "panic-on-oom-on-7.3", "order-2-kills-a-bystander-on-7.3"]
)
def test_other_kinds_happen_again(scenario: str) -> None:
    assert again(scenario, status=1)["again"] is True
