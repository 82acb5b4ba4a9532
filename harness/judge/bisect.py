# SPDX-License-Identifier: GPL-2.0-only
"""Which candidate is the first bad one? A search by Bayes' rule that takes no single boot for the truth. Pure.

Candidates 0 to n stand in an order: what is bad stays bad. The hypotheses are that the first bad one is candidate h,
0 <= h <= n, and that none is (n + 1); those in the middle are alike beforehand, the two that contradict who asked
have a share of their own. A bad candidate fails at one unknown rate, a good one at another, near 0; both rates have a
Beta prior and are integrated out, so that the boots themselves say how flaky it is. What is asked next is what tells
most about h for its cost (mutual information); a candidate may be asked again and again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import exp, lgamma, log
from typing import NamedTuple

from harness.model.search import BootVotes

CONFIDENCE = 0.95
RATE = 2 / 3  # at which something bad fails, where nobody says
_RATE_WEIGHT = 2.0
_FALSE = (0.5, 19.5)  # a good candidate fails once in forty boots, as far as one knows beforehand
_END_SHARE = 0.2  # of each hypothesis that contradicts who asked
_PATIENCE = 2  # boots without evidence at a candidate, before it is left alone
_LEAST_GAIN = 1e-9  # bits


@dataclass(frozen=True, slots=True)
class Bisection:
    """`count` candidates, the first said to be good, the last to be bad. `rate`: how often something bad fails, as
    far as is known beforehand; `most` boots are made.
    """

    count: int
    confidence: float = CONFIDENCE
    rate: float = RATE
    most: int = 100


@dataclass(frozen=True, slots=True)
class Ask:
    """Boot this candidate."""

    candidate: int


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed: the first bad candidate is one of `first` to `last` (0: the good end is bad itself; `count`:
    none is bad), at `odds` of 1; `rate`: how often something bad fails. `sure`: it reached the confidence.
    `why`: a sentence where it did not.
    """

    first: int
    last: int
    odds: float
    rate: float
    sure: bool
    why: str = ""


def next_step(
    search: Bisection,
    seen: Mapping[int, BootVotes],
    unfit: Sequence[int] = (),
    costs: Mapping[int, float] | None = None,
) -> Ask | Belief:
    """What to do, given what was seen of each candidate. `unfit` are those that cannot be had at all; `costs` of a
    boot of each, 1 where nothing is said.
    """
    askable = _askable(search, seen, unfit)
    weights = _Weights(search, seen)
    belief = _belief(search, weights, askable)
    good_end, bad_end = (seen.get(end, BootVotes()) for end in (0, search.count - 1))
    for end, tally, word in ((search.count - 1, bad_end, "bad"), (0, good_end, "good")):
        if end not in askable and not tally.evidence:
            return _unsure(belief, f"the end that is said to be {word} gives no evidence")
    if belief.sure and bad_end.evidence:
        return belief
    if sum(tally.evidence + tally.nothing for tally in seen.values()) >= search.most:
        return _unsure(belief, f"{search.most} boots were not enough")
    if not bad_end.bad and search.count - 1 in askable:
        return Ask(search.count - 1)  # first of all: it shows what is looked for
    if not good_end.evidence:
        return Ask(0)
    best = _most_telling(weights, askable, costs or {})
    return best if best is not None else _unsure(belief, "no candidate that is left can tell more")


def believed(search: Bisection, seen: Mapping[int, BootVotes], unfit: Sequence[int] = (), why: str = "") -> Belief:
    """How things stand, whatever is to be done next; with `why` the search ends there, and is not sure."""
    belief = _belief(search, _Weights(search, seen), _askable(search, seen, unfit))
    return _unsure(belief, why) if why else belief


def stands(tally: BootVotes, confidence: float = CONFIDENCE, rate: float = RATE) -> bool | None:
    """Is the one candidate bad? None: boot it again. For `git bisect run`, which asks for one after the other."""
    if tally.bad:
        return True
    missed = (1 - min(rate, 0.999)) ** tally.good  # the chance that something bad did not fail so often
    return False if tally.good and missed <= 1 - confidence else None


def _askable(search: Bisection, seen: Mapping[int, BootVotes], unfit: Sequence[int]) -> list[int]:
    return [one for one in range(search.count) if one not in set(unfit) and not _tires(seen.get(one, BootVotes()))]


def _tires(tally: BootVotes) -> bool:
    return tally.nothing >= _PATIENCE + tally.evidence


def _unsure(belief: Belief, why: str) -> Belief:
    return Belief(belief.first, belief.last, belief.odds, belief.rate, False, why)


class _Weights:
    """The posterior of each hypothesis 0..count, and the rates that each of them believes in."""

    def __init__(self, search: Bisection, seen: Mapping[int, BootVotes]) -> None:
        count = search.count
        reds = list(accumulate((seen.get(one, BootVotes()).bad for one in range(count)), initial=0))
        greens = list(accumulate((seen.get(one, BootVotes()).good for one in range(count)), initial=0))
        rate = min(max(search.rate, 1e-3), 0.999)
        prior = (_RATE_WEIGHT, _RATE_WEIGHT * (1 - rate) / rate)
        middle = (1 - 2 * _END_SHARE) / (count - 1)
        bad, good, logs = [], [], []
        for first in range(count + 1):
            after = _Rate(prior[0] + reds[count] - reds[first], prior[1] + greens[count] - greens[first])
            before = _Rate(_FALSE[0] + reds[first], _FALSE[1] + greens[first])
            bad.append(after)
            good.append(before)
            share = _END_SHARE if first in (0, count) else middle
            logs.append(log(share) + _log_beta(*after) + _log_beta(*before))
        top = max(logs)
        weights = [exp(one - top) for one in logs]
        total = sum(weights)
        self.of = [one / total for one in weights]
        self.bad, self.good = bad, good

    @property
    def rate(self) -> float:
        """How often something bad fails."""
        return sum(weight * one.mean for weight, one in zip(self.of, self.bad, strict=True))


class _Rate(NamedTuple):
    """A Beta distribution."""

    red: float
    green: float

    @property
    def mean(self) -> float:
        return self.red / (self.red + self.green)


def _log_beta(red: float, green: float) -> float:
    return lgamma(red) + lgamma(green) - lgamma(red + green)


def _belief(search: Bisection, weights: _Weights, askable: Sequence[int]) -> Belief:
    """The likeliest of the groups of hypotheses that nothing which can be asked tells apart."""
    groups = list(_groups(search.count, askable))
    odds = {group: sum(weights.of[group[0] : group[1] + 1]) for group in groups}
    first, last = max(groups, key=lambda group: odds[group])
    return Belief(first, last, odds[first, last], weights.rate, odds[first, last] >= search.confidence)


def _groups(count: int, askable: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Hypotheses c and c + 1 are told apart by candidate c alone."""
    first = 0
    for candidate in askable:
        yield first, candidate
        first = candidate + 1
    yield first, count


def _most_telling(weights: _Weights, askable: Sequence[int], costs: Mapping[int, float]) -> Ask | None:
    """The candidate whose answer is expected to tell most about the first bad one, for its cost."""
    pairs = list(zip(weights.of, weights.bad, weights.good, strict=True))
    bad = list(accumulate((w * one.mean for w, one, _ in pairs), initial=0.0))
    bad_bits = list(accumulate((w * _bits(one.mean) for w, one, _ in pairs), initial=0.0))
    good = list(accumulate((w * one.mean for w, _, one in pairs), initial=0.0))
    good_bits = list(accumulate((w * _bits(one.mean) for w, _, one in pairs), initial=0.0))
    best, best_gain = None, _LEAST_GAIN
    for candidate in askable:
        at = candidate + 1  # hypotheses up to here have it bad
        red = bad[at] + good[-1] - good[at]
        gain = _bits(red) - (bad_bits[at] + good_bits[-1] - good_bits[at])
        gain /= costs.get(candidate, 1.0)
        if gain > best_gain:
            best, best_gain = Ask(candidate), gain
    return best


def _bits(chance: float) -> float:
    """The entropy of a coin."""
    if not 0 < chance < 1:
        return 0.0
    return -(chance * log(chance) + (1 - chance) * log(1 - chance)) / log(2)
