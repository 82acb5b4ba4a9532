# SPDX-License-Identifier: GPL-2.0-only
"""Two reports of the OOM killer, field by field: what is alike, what is not, and by which rule."""

from __future__ import annotations

from collections.abc import Iterator

from harness.judge.callpath import call_path
from harness.judge.ledger import ledger_of
from harness.judge.scenario import kinds
from harness.model.oom import Oom, OomEnding
from harness.model.scenario import Likeness, MemoryShares
from harness.model.units import about_size

_POINTS = 15  # of a hundred that two shares may differ by


def compare_ooms(theirs: Oom, ours: Oom) -> tuple[Likeness, ...]:
    """The report that somebody sent, and the one of the run."""
    return tuple(_fields(theirs, ours))


def same_kind(theirs: Oom, ours: Oom) -> bool:
    """The same happened: the classes are the same, whoever was killed, and it ended alike. A report that is cut does
    not say how it ended, and nothing else of what is missing counts."""
    ended = OomEnding.UNKNOWN in (theirs.report.ending, ours.report.ending) or (
        theirs.report.ending is ours.report.ending
    )
    return ended and kinds(theirs) == kinds(ours)


def _fields(theirs: Oom, ours: Oom) -> Iterator[Likeness]:
    one, other = theirs.report, ours.report
    yield _words("class", ", ".join(kinds(theirs)) or "none", ", ".join(kinds(ours)) or "none")
    yield _words("ending", str(one.ending), str(other.ending), unknown=str(OomEnding.UNKNOWN))
    yield _words("constraint", one.constraint.kind, other.constraint.kind)
    yield _words("order", _number(one.invoker.order), _number(other.invoker.order))
    flags = (_flags(one.invoker.gfp_flags), _flags(other.invoker.gfp_flags))
    yield _words("gfp mask", *flags)
    paths = (str(call_path(one.functions)), str(call_path(other.functions)))
    yield _words("asked by", *paths, unknown="unknown")
    left, right = ledger_of(one), ledger_of(other)
    yield _words("free memory", _zone(left), _zone(right), rule="where it stands among the watermarks")
    yield _share("swap free", left.swap_free, left.swap_total, right.swap_free, right.swap_total)
    for name, key in (
        ("anonymous", "anon"),
        ("page cache", "file"),
        ("shared memory", "shmem"),
        ("unevictable", "unevictable"),
        ("slab", "slab"),
        ("drivers", "held"),
    ):
        yield _share(name, getattr(left, key), left.managed, getattr(right, key), right.managed)
    yield _share("the victim's", _victim(theirs), left.managed, _victim(ours), right.managed)


def _words(field: str, theirs: str, ours: str, rule: str = "the same words", unknown: str = "") -> Likeness:
    told = bool(theirs) and bool(ours) and unknown not in (theirs, ours)
    return Likeness(field, theirs or "not said", ours or "not said", theirs == ours if told else None, rule)


def _share(field: str, theirs: int | None, of: int | None, ours: int | None, our_of: int | None) -> Likeness:
    """Shares that differ by no more than _POINTS hundredths are alike; none of nothing is none."""
    left, right = _hundredths(theirs, of), _hundredths(ours, our_of)
    alike = None if left is None or right is None else abs(left - right) <= _POINTS
    return Likeness(
        field, _told(theirs, left, of), _told(ours, right, our_of), alike, f"shares within {_POINTS} points"
    )


def _hundredths(part: int | None, of: int | None) -> float | None:
    return None if part is None or not of else 100 * part / of


def _told(part: int | None, share: float | None, of: int | None) -> str:
    if part is None or of is None:
        return "not said"
    return "none" if share is None else f"{share:.0f} % ({about_size(part)})"


def _number(order: int | None) -> str:
    return "" if order is None else str(order)


def _flags(flags: tuple[str, ...]) -> str:
    return "|".join(sorted(flags))


def _zone(ledger: MemoryShares) -> str:
    if ledger.free is None or ledger.min is None or ledger.low is None or ledger.high is None:
        return ""
    marks = ((ledger.min, "below min"), (ledger.low, "min to low"), (ledger.high, "low to high"))
    # What lies on the lists of the CPUs is free, too, and more than the difference of two marks in a small machine.
    return next((name for mark, name in marks if ledger.free < mark), "above high")


def _victim(oom: Oom) -> int | None:
    victim = oom.report.victim
    return None if victim is None else victim.rss
