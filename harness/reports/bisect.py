# SPDX-License-Identifier: GPL-2.0-only
"""A bisection for people, and the draft of a mail about what it found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from harness.model.search import Answer, BisectOutput, BisectResult, CandidateSeen, Sight
from harness.model.units import format_seconds
from harness.reports.console import console_on, plain

_WIDEST = 68
_SHOWN = 24
_EVIDENCE = 3  # boots of each side that are named


def print_bisect(output: BisectOutput, place: Path, file: IO[str], *, color: bool | None = None) -> None:
    console = console_on(file, color=color)
    seen = [one for one in output.candidates if one.sights or one.unfit]
    for one in seen[:_SHOWN]:
        mark = {True: ">", False: " "}[one in output.suspects]
        console.print(f"{mark} {one.number:>5}  {plain(_standing(one)):<22}  {plain(one.label[:_WIDEST])}")
    if len(seen) > _SHOWN:
        console.print(f"  and {len(seen) - _SHOWN} more that were asked, in {plain(place)}")
    console.print(
        f"{len(output.candidates)} candidates, {output.boots} boots made and {output.kept} that were there, "
        f"{format_seconds(output.seconds)}"
    )
    console.print()
    for line in conclusion(output):
        console.print(plain(line))
    console.print(f"[dim]{plain(place)}[/]")


def _standing(one: CandidateSeen) -> str:
    return "not evidence" if one.unfit else str(one.tally)


def conclusion(output: BisectOutput) -> Iterator[str]:
    """What came out, in sentences."""
    last = output.candidates[-1]
    first = output.candidates[0]
    match output.found:
        case BisectResult.FOUND:
            several = len(output.suspects) > 1
            yield "first bad: one of these, which nothing tells apart" if several else "first bad:"
            yield from (f"    {one.label}" for one in output.suspects)
            yield f"odds {odds_words(output.odds)}; what is bad fails in about {output.rate:.0%} of its boots"
            yield from _evidence(output)
        case BisectResult.GOOD_END_IS_BAD:
            yield f"the end that is said to be good is bad itself: {first.label} ({first.tally})"
            yield from _sights(first, Answer.BAD)
        case BisectResult.BAD_END_IS_GOOD:
            yield f"the end that is said to be bad does not fail: {last.label} ({last.tally})"
            yield from _sights(last, Answer.GOOD)
        case BisectResult.UNSURE:
            yield f"cannot tell: {output.why or 'the ends themselves could not be had'}"
            labels = [one.label for one in output.candidates[output.first : output.last + 1]]
            yield f"likeliest so far, at {output.odds:.0%}: {'; '.join(labels[:3]) or 'none of them is bad'}"
            for one in (first, last):
                yield from (f"    {one.label}: {one.unfit}" for _ in [0] if one.unfit)
    skipped = [one for one in output.candidates if one.unfit]
    if skipped:
        yield f"{len(skipped)} candidates are no evidence, as {skipped[0].label}: {skipped[0].unfit}"


def odds_words(odds: float) -> str:
    """0.98 -> `49 to 1 (98.0 %)`, 0.25 -> `1 to 3 (25.0 %)`."""
    against = odds / max(1 - odds, 1e-6)
    words = f"{against:.0f} to 1" if against >= 1 else f"1 to {1 / max(against, 1e-6):.0f}"
    return f"{words} ({odds * 100:.1f} %)"


def culprit(labels: Sequence[str], first: int) -> str:
    """The likeliest first bad candidates in a few words; `labels` are those from number `first` on."""
    if not labels:
        return "none of them"
    if len(labels) > 1:
        return f"one of {len(labels)}, {labels[0][:_WIDEST]} to {labels[-1][:_WIDEST]}"
    return f"{labels[0][:_WIDEST]}, said to be good" if first == 0 else labels[0][:_WIDEST]


def _evidence(output: BisectOutput) -> Iterator[str]:
    bad = output.candidates[output.last]
    good = output.candidates[output.first - 1]
    yield f"good side: {good.label}: {good.tally}"
    yield from _sights(good, Answer.GOOD)
    yield f"bad side: {bad.label}: {bad.tally}"
    yield from _sights(bad, Answer.BAD)


def _sights(one: CandidateSeen, answer: Answer) -> Iterator[str]:
    yield from (f"    {_of(sight)}" for sight in [s for s in one.sights if s.answer is answer][:_EVIDENCE])


def _of(sight: Sight) -> str:
    return f"{sight.why}  (seed {sight.seed}, {sight.run}/{sight.boot})"


def bisect_mail(output: BisectOutput, commit: str = "") -> str:
    """A draft; empty where nothing was found. No path of this machine is in it."""
    if output.found is not BisectResult.FOUND:
        return ""
    bad, good = output.candidates[output.last], output.candidates[output.first - 1]
    symptom = next((sight.why for sight in bad.sights if sight.answer is Answer.BAD), "")
    many = len(output.suspects) > 1
    lines = [
        f"Subject: [BISECTED] {symptom or output.question}",
        "",
        "Hi,",
        "",
        f"this fails in {bad.tally.bad} of {bad.tally.evidence} boots under memory pressure:",
        "",
        f"    {symptom}",
        "",
        "A bisection points to one of" if many else "A bisection points to",
        "",
        *(f"    {one.label}" for one in output.suspects),
        "",
        f"with odds of {odds_words(output.odds)}. Each kernel was booted as often as that needed:",
        "",
        *_table(output),
        "",
        f"The last good one is {good.label} ({good.version}).",
        "",
        "To see it again with ttm-harness:",
        "",
        f"    {output.command}",
        "",
    ]
    prints = sorted({one for sight in bad.sights for one in sight.fingerprints})
    if prints:
        lines += [f"Fingerprints: {', '.join(prints[:5])}", ""]
    if commit and not many:
        lines += [f"#regzbot introduced: {commit}", ""]
    return "\n".join(lines)


def _table(output: BisectOutput) -> Iterator[str]:
    for one in output.candidates:
        if one.sights or one.unfit:
            yield f"    {_standing(one):<22}  {one.label[:_WIDEST]}"
