# SPDX-License-Identifier: GPL-2.0-only
"""The verdict over a night: never green by what was not tested, not reached, or not seen to turn red. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.judge.expectations import overall
from harness.model.nightly import ControlBoot, JobLeft, JobResult, JobRow
from harness.model.outcome import Verdict


def verdict_of_night(
    rows: Sequence[JobRow], left: Sequence[JobLeft], control: ControlBoot | None, troubles: Sequence[str]
) -> tuple[Verdict, tuple[str, ...]]:
    """From the newest result of each job; those that are about what there is a newer one of do not count."""
    counting = [one for one in rows if one.job.current]
    verdict = overall(one.result.verdict for one in counting)
    doubts = (*_doubts(control), *troubles, *(f"left: {one.label}: {one.why}" for one in left))
    if not counting and not doubts:
        doubts = ("nothing was tested: no kernel and no series was found",)
    if verdict is Verdict.GOOD and doubts:
        verdict = Verdict.CANNOT_TELL
    return verdict, (*doubts, *_words(counting))


def _doubts(control: ControlBoot | None) -> Iterator[str]:
    if control is not None and not control.caught:
        yield (
            f"the control {control.name} in {control.kernel} was {control.noticed}, and had to be caught: "
            "what is green tonight may be so because nothing is seen"
        )


def _words(rows: Sequence[JobRow]) -> Iterator[str]:
    for row in rows:
        if row.result.verdict is not Verdict.GOOD:
            why = row.result.trouble or _shown(row.result) or next(iter(row.result.reasons), "")
            yield f"{row.job.label}: {row.result.verdict}{': ' * bool(why)}{why}"


def _shown(result: JobResult) -> str:
    """The first of what boots showed: it says more than in which boot that was."""
    words = [one.words for one in result.sightings]
    return f"{words[0]}{f', and {len(words) - 1} more' if words[1:] else ''}" if words else ""
