# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness frontier`: boots on two axes, of one kernel or of two, until the line where they fail is known."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.flow.axes import at
from harness.flow.laboratory import Budget, KnownKernel, Laboratory, Unfit
from harness.flow.request import Request
from harness.judge.frontier import (
    AskPoint,
    AxisGrid,
    Phase,
    Point,
    holes,
    is_rising,
    needs,
    next_point,
    sentence,
    so_far,
    whole_map,
)
from harness.model.compare import Leg
from harness.model.errors import BuildFailed, UserError
from harness.model.frontier import (
    FRONTIER_SCHEMA,
    Axis,
    FrontierOutput,
    FrontierPoint,
    FrontierSide,
    Need,
    Standing,
)
from harness.model.progress import MultiProgress
from harness.model.search import Answer, BootVotes, Predicate, Sight

_PURPOSE = {Phase.COARSE: "", Phase.LINE: "", Phase.AGAIN: ", once more", Phase.CHECK: ", to check"}


@dataclass(frozen=True, slots=True)
class Survey:
    """What a frontier is of: `request` is that of the tip; with a base, that is booted, too."""

    request: Request
    x: Axis
    y: Axis
    predicate: Predicate
    repeats: int
    most: int
    budget: Budget
    command: str


@dataclass
class _Side:
    leg: Leg
    request: Request
    known: KnownKernel
    sights: dict[Point, list[Sight]] = field(default_factory=dict)

    @property
    def tallies(self) -> Mapping[Point, BootVotes]:
        return {point: BootVotes.of(sights) for point, sights in self.sights.items()}

    @property
    def boots(self) -> int:
        return sum(len(sights) for sights in self.sights.values())


def frontier(survey: Survey, laboratory: Laboratory, progress: MultiProgress) -> FrontierOutput:
    """BuildFailed when a kernel cannot be had: there is nothing to look at then."""
    began = time.monotonic()
    grid = AxisGrid(len(survey.x.values), len(survey.y.values), survey.repeats)
    sides = []
    for leg, kernel in survey.request.sides.items():
        try:
            known = laboratory.kernel(kernel)
        except Unfit as error:
            raise BuildFailed(f"no kernel for the {leg}: {error}") from error
        sides.append(_Side(leg, replace(survey.request, kernel=kernel, base=None), known))
    finished = False
    while not finished and not survey.budget.spent and sum(side.boots for side in sides) < survey.most:
        finished = not _step(survey, grid, sides, laboratory, progress)
    return _output(survey, grid, sides, finished, time.monotonic() - began)


def _step(
    survey: Survey, grid: AxisGrid, sides: Sequence[_Side], laboratory: Laboratory, progress: MultiProgress
) -> bool:
    """One boot more, of the side that is less far; False when none is left to make."""
    asks = [(ask, side) for side in sides if (ask := next_point(grid, side.tallies)) is not None]
    if not asks:
        return False
    ask, side = min(asks, key=lambda pair: (pair[0].phase, pair[1].boots))
    sight = _sight(survey, ask, side, laboratory)
    side.sights.setdefault(ask.point, []).append(sight)
    x, y = ask.point
    of = f"{side.leg} " if len(sides) > 1 else ""
    kept = ", there already" if sight.kept else f", {sight.seconds:.0f} s" if sight.seconds else ""
    progress.step(
        f"{sum(one.boots for one in sides):>4}  {of}{survey.x.at(x)}, {survey.y.at(y)}{_PURPOSE[ask.phase]}: "
        f"{sight.answer}{kept}: {sight.why[:100]}"
    )
    return True


def _sight(survey: Survey, ask: AskPoint, side: _Side, laboratory: Laboratory) -> Sight:
    turn = len(side.sights.get(ask.point, ()))
    seed = ((side.request.seed or 0) + turn) % 2**32
    try:
        request = at(replace(side.request, seed=seed), ((survey.x, ask.point[0]), (survey.y, ask.point[1])))
    except UserError as error:
        return Sight(Answer.NOTHING, f"there is no such machine: {error.message}", seed=seed)
    try:
        return laboratory.sight(request, survey.predicate)
    except Unfit as error:
        raise BuildFailed(f"no kernel for the {side.leg}: {error}") from error


def _output(survey: Survey, grid: AxisGrid, sides: Sequence[_Side], finished: bool, seconds: float) -> FrontierOutput:
    maps = [whole_map(grid, side.tallies) for side in sides]
    rising = is_rising(maps)
    made = tuple(_side(side, grid, whole, rising) for side, whole in zip(sides, maps, strict=True))
    every = [sight for side in sides for sights in side.sights.values() for sight in sights]
    sentences, status = _said(survey, made, maps, rising)
    return FrontierOutput(
        schema=FRONTIER_SCHEMA,
        question=str(survey.predicate),
        x=survey.x,
        y=survey.y,
        rising=rising,
        sides=made,
        sentences=sentences,
        exit_status=status,
        finished=finished,
        boots=sum(not one.kept for one in every),
        kept=sum(one.kept for one in every),
        seconds=seconds,
        command=survey.command,
    )


def _side(side: _Side, grid: AxisGrid, whole: Mapping[Point, Standing], rising: bool) -> FrontierSide:
    points = tuple(
        FrontierPoint(x, y, whole[x, y], tuple(side.sights.get((x, y), ())))
        for y in range(grid.rows)
        for x in range(grid.columns)
    )
    label = f"{side.known.version}" + (f" with {side.request.kernel.patches}" if side.request.kernel.series else "")
    return FrontierSide(
        side.leg,
        label,
        side.known.build_id,
        points,
        needs(grid, whole, rising),
        holes(grid, whole, rising),
        side.boots,
    )


def _said(
    survey: Survey, sides: Sequence[FrontierSide], maps: Sequence[Mapping[Point, Standing]], rising: bool
) -> tuple[tuple[str, ...], int]:
    """What matters, and the exit status: 1 where the patched kernel is anywhere worse, 3 where nothing was seen."""
    evidence = [set(one.values()) & {Standing.SURVIVES, Standing.FAILS, Standing.FLAKY} for one in maps]
    if not all(evidence):
        return ("no boot of one of the kernels said anything",), 3
    said, status = [], 0
    if len(sides) > 1:
        words, worse = sentence(survey.x, survey.y, rising, sides[0].needs, sides[1].needs)
        status = 1 if worse else 0
        if not _comparable(sides):
            words, status = so_far(survey.x, survey.y, rising, maps[0], maps[1]) or words, 3
        said.append(words)
    else:
        said.append(_alone(survey, sides[0].needs, rising))
    for side in sides:
        if side.holes:
            x, y = side.holes[0]
            said.append(
                f"no clean line on {side.label}: it survives at {survey.x.at(x)} with {survey.y.at(y)}, and fails "
                f"further on in that row ({len(side.holes)} such points)"
            )
    return tuple(said), status


def _comparable(sides: Sequence[FrontierSide]) -> bool:
    """Whether any row is known of both."""
    return any(base.known and tip.known for base, tip in zip(sides[0].needs, sides[1].needs, strict=True))


def _alone(survey: Survey, found: Sequence[Need], rising: bool) -> str:
    """The same for one kernel."""
    known = [one for one in found if one.known]
    if known and all(one.all_of_it for one in known):
        return "it survives everywhere"
    some = [one for one in known if one.place is not None]
    if not some:
        return "it survives nowhere, as far as was booted"
    first, last = some[0], some[-1]
    assert first.place is not None and last.place is not None
    how = "from {} on" if rising else "up to {}"
    words = f"it survives {how.format(survey.x.at(first.place))} with {survey.y.at(first.row)}"
    if last.row != first.row and last.place != first.place:
        words += f", and {how.format(survey.x.at(last.place))} with {survey.y.at(last.row)}"
    return words
