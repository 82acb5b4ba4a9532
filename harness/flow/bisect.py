# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness bisect`: candidates in an order, boots of them as the search asks, the first bad one with its odds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.flow.candidates import Candidate
from harness.flow.laboratory import Budget, KnownKernel, Laboratory, Unfit
from harness.flow.request import Request
from harness.judge.bisect import Ask, Belief, Bisection, believed, next_step, stands
from harness.judge.predicate import learnt
from harness.model.errors import UserError
from harness.model.progress import MultiProgress
from harness.model.search import (
    BISECT_SCHEMA,
    Answer,
    BisectOutput,
    BisectResult,
    BootVotes,
    CandidateSeen,
    Predicate,
    Sight,
)
from harness.model.units import format_seconds
from harness.reports.bisect import culprit, odds_words

_BUILD_COST = 3.0  # of a boot whose kernel must be built first, in boots


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of every candidate: `request` with its kernel in place of its own. `learns`: what fails otherwise
    than the bad end did is no evidence. `command`: the words that ask it again.
    """

    request: Request
    predicate: Predicate
    learns: bool
    confidence: float
    rate: float
    most: int
    budget: Budget
    command: str

    def of(self, candidate: Candidate, turn: int) -> Request:
        seed = ((self.request.seed or 0) + turn) % 2**32
        return replace(self.request, kernel=candidate.kernel, seed=seed, repeat=1, base=None)


def bisect(
    candidates: Sequence[Candidate], question: Question, laboratory: Laboratory, progress: MultiProgress
) -> BisectOutput:
    """Boots until the first bad candidate is known to the confidence, or nothing that can be asked tells more."""
    return _Bisect(candidates, question, laboratory, progress).run()


class _Bisect:
    def __init__(
        self, candidates: Sequence[Candidate], question: Question, laboratory: Laboratory, progress: MultiProgress
    ) -> None:
        self._candidates = candidates
        self._question = question
        self._predicate = question.predicate
        self._laboratory = laboratory
        self._progress = progress
        self._search = Bisection(len(candidates), question.confidence, question.rate, question.most)
        self._sights: dict[int, list[Sight]] = {}
        self._unfit: dict[int, str] = {}
        self._known: dict[int, KnownKernel] = {}
        self._began = time.monotonic()

    def run(self) -> BisectOutput:
        while True:
            step = next_step(self._search, self._tallies, sorted(self._unfit), self._costs())
            if isinstance(step, Belief):
                return self._output(step)
            if self._question.budget.spent:
                return self._output(self._believed("the time that it was given is over"))
            self._ask(step)
            self._progress.step(f"  {self._standing(step.candidate)}")

    def _believed(self, why: str = "") -> Belief:
        return believed(self._search, self._tallies, sorted(self._unfit), why)

    def _standing(self, number: int) -> str:
        """What the candidate says so far, and what is believed by that."""
        belief = self._believed()
        tally = "no kernel" if number in self._unfit else str(BootVotes.of(self._sights[number]))
        labels = tuple(one.label for one in self._candidates[belief.first : belief.last + 1])
        return f"so far {tally}; first bad is most likely {culprit(labels, belief.first)}, {odds_words(belief.odds)}"

    @property
    def _tallies(self) -> Mapping[int, BootVotes]:
        return {number: BootVotes.of(sights) for number, sights in self._sights.items()}

    def _costs(self) -> Mapping[int, float]:
        """What was booted is built. What the store has beside that is not looked at: whoever goes on with a search
        must ask the same as before.
        """
        return {number: 1.0 if number in self._sights else _BUILD_COST for number in range(len(self._candidates))}

    def _ask(self, step: Ask) -> None:
        number = step.candidate
        candidate = self._candidates[number]
        turn = len(self._sights.get(number, ()))
        again = f", once more ({turn + 1})" if turn else ""
        self._progress.step(f"candidate {number} of {len(self._candidates) - 1}: {candidate.label}{again}")
        try:
            self._known[number] = self._laboratory.kernel(candidate.kernel)
            sight = self._laboratory.sight(self._question.of(candidate, turn), self._predicate)
        except Unfit as error:
            self._unfit[number] = str(error)
            self._progress.step(f"  no kernel: {error}")
            return
        except UserError as error:
            if number in (0, len(self._candidates) - 1):
                raise
            self._unfit[number] = error.message  # a revision that is not there, in the middle
            self._progress.step(f"  no kernel: {error.message}")
            return
        if self._question.learns and number == len(self._candidates) - 1:
            self._predicate = learnt(self._predicate, sight)
        self._sights.setdefault(number, []).append(sight)
        kept = " (there already)" if sight.kept else f" ({format_seconds(sight.seconds)})"
        self._progress.step(f"  {sight.answer}{kept}: {sight.why}")

    def _output(self, belief: Belief) -> BisectOutput:
        every = [one for sights in self._sights.values() for one in sights]
        return BisectOutput(
            schema=BISECT_SCHEMA,
            found=_found(belief, len(self._candidates)),
            question=str(self._predicate),
            first=belief.first,
            last=belief.last,
            odds=belief.odds,
            confidence=self._question.confidence,
            rate=belief.rate,
            boots=sum(not one.kept for one in every),
            kept=sum(one.kept for one in every),
            seconds=time.monotonic() - self._began,
            candidates=tuple(self._seen(number) for number in range(len(self._candidates))),
            command=self._question.command,
            why=belief.why,
        )

    def _seen(self, number: int) -> CandidateSeen:
        known = self._known.get(number)
        return CandidateSeen(
            number,
            self._candidates[number].label,
            known.version if known else "",
            known.build_id if known else "",
            tuple(self._sights.get(number, ())),
            self._unfit.get(number, ""),
        )


def _found(belief: Belief, count: int) -> BisectResult:
    if not belief.sure:
        return BisectResult.UNSURE
    if belief.last == 0:
        return BisectResult.GOOD_END_IS_BAD
    if belief.first == count:
        return BisectResult.BAD_END_IS_GOOD
    return BisectResult.FOUND if belief.first > 0 and belief.last < count else BisectResult.UNSURE


def step_of_git(candidate: Candidate, question: Question, laboratory: Laboratory, progress: MultiProgress) -> int:
    """The status for `git bisect run`: 0 good, 1 bad, 125 neither can be said of this commit."""
    sights: list[Sight] = []
    while len(sights) < question.most:
        standing = stands(BootVotes.of(sights), question.confidence, question.rate)
        if standing is not None:
            progress.step(f"{'bad' if standing else 'good'}: {sights[-1].why}  [{BootVotes.of(sights)}]")
            return 1 if standing else 0
        try:
            sights.append(laboratory.sight(question.of(candidate, len(sights)), question.predicate))
        except Unfit as error:
            progress.step(f"skipped: {error}")
            return 125
        progress.step(f"  {sights[-1].answer}: {sights[-1].why}")
        if sum(one.answer is Answer.NOTHING for one in sights) > 1:
            break
    progress.step(f"skipped: {BootVotes.of(sights)}")
    return 125
