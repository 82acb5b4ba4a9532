# SPDX-License-Identifier: GPL-2.0-only
"""The search for the smallest that still fails, against failures that are made up."""

from __future__ import annotations

import random
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.judge.minimise import Items, Number, Problem, Reduction, Smallest, best_so_far, next_trial
from harness.model.search import Answer, BootVotes, Sight

NAMES = tuple("abcdefghij")
PROBLEM = Problem(
    (Number("ram", 256, 32, 8), Number("cpus", 4, 1)),
    (Items("cases", NAMES, least=1), Items("knobs", ("k", "l", "m"))),
)


def minimised(
    problem: Problem, oracle: Callable[[Reduction], Answer], most: int = 1000
) -> tuple[Smallest, dict[Reduction, BootVotes], int]:
    sights: dict[Reduction, list[Sight]] = {}
    for boots in range(most):
        seen = {size: BootVotes.of(of) for size, of in sights.items()}
        step = next_trial(problem, seen)
        if isinstance(step, Smallest):
            return step, seen, boots
        sights.setdefault(step.size, []).append(Sight(oracle(step.size)))
    return best_so_far(problem, {size: BootVotes.of(of) for size, of in sights.items()}), {}, most


def when(fails: Callable[[Reduction], bool]) -> Callable[[Reduction], Answer]:
    return lambda size: Answer.BAD if fails(size) else Answer.GOOD


@settings(max_examples=40, deadline=None)
@given(st.sets(st.sampled_from(NAMES[:-1]), max_size=3), st.integers(4, 32), st.integers(1, 4), st.booleans())
def test_what_is_needed_is_all_that_is_left(needed: set[str], ram: int, cpus: int, knob: bool) -> None:
    def fails(size: Reduction) -> bool:
        return (
            needed <= set(size.parts("cases"))
            and size.number("ram") >= 8 * ram
            and size.number("cpus") >= cpus
            and (not knob or "l" in size.parts("knobs"))
        )

    found, seen, boots = minimised(PROBLEM, when(fails))
    assert found.failed
    assert found.finished
    assert set(found.size.parts("cases")) == needed | {"j"}
    assert found.size.parts("knobs") == (("l",) if knob else ())
    assert (found.size.number("ram"), found.size.number("cpus")) == (8 * ram, cpus)
    assert seen[found.size].bad >= 3
    assert boots < 150


def test_the_order_of_the_cases_is_kept() -> None:
    found, _, _ = minimised(PROBLEM, when(lambda size: {"c", "g"} <= set(size.parts("cases"))))
    assert found.size.parts("cases") == ("c", "g", "j")


def test_what_never_fails_is_said_after_ten_boots() -> None:
    found, _, boots = minimised(PROBLEM, when(lambda _: False))
    assert (found.failed, found.size, boots) == (False, PROBLEM.whole, 10)


def test_what_gives_no_evidence_does_not_fail() -> None:
    found, _, boots = minimised(PROBLEM, lambda _: Answer.NOTHING)
    assert (found.failed, boots) == (False, 3)


def test_a_size_at_which_no_guest_starts_is_not_smaller() -> None:
    def oracle(size: Reduction) -> Answer:
        return Answer.NOTHING if size.number("ram") < 64 else Answer.BAD

    found, _, _ = minimised(PROBLEM, oracle)
    assert found.size.number("ram") == 64


def test_what_fails_only_sometimes() -> None:
    """Half of the time it fails, where it can at all: what is left holds in most searches all that is needed."""
    whole = 0
    for seed in range(20):
        chance = random.Random(seed)

        def oracle(size: Reduction, chance: random.Random = chance) -> Answer:
            able = "c" in size.parts("cases") and size.number("ram") >= 96
            return Answer.BAD if able and chance.random() < 0.5 else Answer.GOOD

        found, seen, _ = minimised(PROBLEM, oracle)
        if found.failed:
            assert seen[found.size].bad >= 1, "the smallest was never seen to fail"
            whole += found.size.parts("cases") == ("c", "j")
    assert whole >= 14


def test_what_had_to_wait_for_something_else_is_tried_again() -> None:
    """With less RAM the knob is no longer needed."""

    def fails(size: Reduction) -> bool:
        return size.number("ram") >= 64 and ("k" in size.parts("knobs") or size.number("ram") <= 64)

    found, _, _ = minimised(PROBLEM, when(fails))
    assert found.size.parts("knobs") == ()
    assert found.size.number("ram") == 64


def test_a_search_that_must_end_has_the_best_so_far() -> None:
    found, _, _ = minimised(PROBLEM, when(lambda size: "c" in size.parts("cases")), most=12)
    assert not found.finished
    assert found.failed
    assert "c" in found.size.parts("cases")
    assert len(found.size.parts("cases")) < 10


def test_nothing_to_make_smaller() -> None:
    problem = Problem((Number("ram", 32, 32),), (Items("cases", ("a",), least=1),))
    found, _, boots = minimised(problem, when(lambda _: True))
    assert (found.size, boots) == (problem.whole, 3)
