# SPDX-License-Identifier: GPL-2.0-only
"""The search for the first bad candidate, against oracles that are made up: sure ones, flaky ones, and liars."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.judge.bisect import Ask, Belief, Bisection, next_step, stands
from harness.model.search import Answer, BootVotes, Sight

Oracle = Callable[[int], Answer]


class Flaky:
    """Candidates from `first` on fail in `rate` of their boots, those before in `wrong` of theirs."""

    def __init__(self, first: int, rate: float = 1.0, wrong: float = 0.0, seed: int = 1) -> None:
        self.first, self.rate, self.wrong = first, rate, wrong
        self._chance = random.Random(seed)

    def __call__(self, candidate: int) -> Answer:
        share = self.rate if candidate >= self.first else self.wrong
        return Answer.BAD if self._chance.random() < share else Answer.GOOD


def searched(search: Bisection, oracle: Oracle, unfit: Collection[int] = ()) -> tuple[Belief, list[int]]:
    """The belief at the end, and the candidates in the order in which they were booted."""
    sights: dict[int, list[Sight]] = {}
    asked: list[int] = []
    known: set[int] = set()
    for _ in range(2 * search.most + search.count):
        tallies = {one: BootVotes.of(of) for one, of in sights.items()}
        step = next_step(search, tallies, sorted(known))
        if isinstance(step, Belief):
            return step, asked
        if step.candidate in unfit:
            assert step.candidate not in known, "what cannot be had was asked for again"
            known.add(step.candidate)
            continue
        asked.append(step.candidate)
        sights.setdefault(step.candidate, []).append(Sight(oracle(step.candidate)))
    raise AssertionError("the search does not end")


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 40).flatmap(lambda count: st.tuples(st.just(count), st.integers(1, count - 1))))
def test_what_always_fails_is_found_in_few_boots(case: tuple[int, int]) -> None:
    count, first = case
    belief, asked = searched(Bisection(count), Flaky(first))
    assert (belief.first, belief.last, belief.sure) == (first, first, True)
    assert belief.odds >= 0.95
    assert len(asked) <= 8 + 2 * count.bit_length()


def test_the_ends_come_first() -> None:
    _, asked = searched(Bisection(9), Flaky(4))
    assert asked[0] == 8
    assert asked[1] == 0


@pytest.mark.parametrize(("rate", "wrong", "least"), [(0.5, 0.0, 36), (0.7, 0.02, 36), (0.9, 0.05, 36)])
def test_the_odds_of_what_is_flaky_are_kept(rate: float, wrong: float, least: int) -> None:
    """Of 40 searches 95 % should be right; fewer than 90 % would be a confidence that lies."""
    chance = random.Random(7)
    right = 0
    for seed in range(40):
        first = chance.randrange(1, 7)
        belief, _ = searched(Bisection(7, most=300), Flaky(first, rate, wrong, seed))
        right += belief.sure and belief.first == first == belief.last
    assert right >= least


def test_a_good_end_that_is_bad_is_said() -> None:
    belief, _ = searched(Bisection(7), Flaky(0))
    assert (belief.first, belief.last, belief.sure) == (0, 0, True)


def test_a_bad_end_that_is_good_is_said() -> None:
    belief, asked = searched(Bisection(7), Flaky(7))
    assert (belief.first, belief.last, belief.sure) == (7, 7, True)
    assert set(asked) == {6}  # nothing in between is built for that


def test_what_cannot_be_built_leaves_suspects_that_nothing_tells_apart() -> None:
    belief, asked = searched(Bisection(7), Flaky(3), unfit=(3, 4))
    assert (belief.first, belief.last, belief.sure) == (3, 5, True)
    assert not set(asked) & {3, 4}


def test_an_unbuildable_candidate_elsewhere_does_no_harm() -> None:
    belief, _ = searched(Bisection(7), Flaky(3), unfit=(5,))
    assert (belief.first, belief.last, belief.sure) == (3, 3, True)


def test_one_that_never_tells_is_left_alone() -> None:
    def oracle(candidate: int) -> Answer:
        return Answer.NOTHING if candidate == 3 else Flaky(3)(candidate)

    belief, asked = searched(Bisection(7), oracle)
    assert asked.count(3) == 2
    assert (belief.first, belief.last) == (3, 4)


@pytest.mark.parametrize(("end", "word"), [(0, "good"), (6, "bad")])
def test_an_end_without_evidence_ends_the_search(end: int, word: str) -> None:
    belief, asked = searched(Bisection(7), Flaky(3), unfit=(end,))
    assert not belief.sure
    assert belief.why == f"the end that is said to be {word} gives no evidence"
    assert len(asked) <= 3


def test_too_few_boots_are_no_answer() -> None:
    belief, asked = searched(Bisection(7, most=5), Flaky(3, 0.5))
    assert len(asked) == 5
    assert (belief.sure, belief.why) == (False, "5 boots were not enough")


def test_a_coin_proves_nothing() -> None:
    """Everything fails half of the time: that is an end that is bad, or no answer, and no patch."""
    belief, _ = searched(Bisection(7, most=200), Flaky(0, 0.5))
    assert not belief.sure or belief.first == 0


def test_one_answer_that_is_wrong_is_outvoted() -> None:
    """The first of the bad ones in the middle that is booted comes through, once."""
    sure, lied = Flaky(2), list[int]()

    def oracle(candidate: int) -> Answer:
        if 2 <= candidate < 6 and not lied:
            lied.append(candidate)
            return Answer.GOOD
        return sure(candidate)

    belief, asked = searched(Bisection(7), oracle)
    assert (belief.first, belief.last, belief.sure) == (2, 2, True)
    assert asked.count(lied[0]) > 1


def test_what_must_be_built_is_asked_later() -> None:
    seen = {6: BootVotes(bad=1), 0: BootVotes(good=1)}
    plain = next_step(Bisection(7), seen)
    dear = next_step(Bisection(7), seen, costs={number: 50.0 if number in (2, 3, 4) else 1.0 for number in range(7)})
    assert isinstance(plain, Ask)
    assert plain.candidate in (2, 3)
    assert isinstance(dear, Ask)
    assert dear.candidate in (1, 5)


def test_a_thousand_candidates() -> None:
    belief, asked = searched(Bisection(1000), Flaky(617))
    assert (belief.first, belief.last) == (617, 617)
    assert len(asked) <= 28


def test_one_tree_alone() -> None:
    assert stands(BootVotes()) is None
    assert stands(BootVotes(bad=1, good=5)) is True
    assert stands(BootVotes(good=2)) is None
    assert stands(BootVotes(good=3)) is False
    assert stands(BootVotes(good=10), rate=0.2) is None
    assert stands(BootVotes(good=14), rate=0.2) is False
    assert stands(BootVotes(nothing=9)) is None
