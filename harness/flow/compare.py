# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness compare`: kept runs -> two sides of boots -> what changed between them.

A side is one kernel: boots of others cannot be put together with it. A boot is compared with boots of the same
profile on the same machine with the same knobs, but for what is to be looked past.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path

from harness.flow.comparison import Contrast, contrasted, metrics_between, without_known
from harness.flow.run_loader import read_report
from harness.flow.run_record import load_record
from harness.judge.compare import standing_between
from harness.judge.sides import Side, only, sound
from harness.model.cell import Cell
from harness.model.compare import Leg, MetricChange, MetricComparison, Shift
from harness.model.comparison import COMPARE_SCHEMA, ComparedSide, CompareOutput
from harness.model.errors import HarnessError, UserError
from harness.model.known import NOTHING_KNOWN, KnownIssues
from harness.model.machine import Machine
from harness.model.outcome import Verdict
from harness.model.result import Case, Event, Provenance, Report, Run
from harness.model.units import format_size
from harness.store.layout import Layout
from harness.store.runs import find_run
from harness.suites.registry import suite_named

_SIZES = ("ram", "memory_max", "memory_high", "min_free", "free")
_LISTS = ("cmdline", "knobs")
_SHORTEST_ID = 6


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """How to compare. `across` are TRAITS that may differ; a change for the worse of a metric that fits one of the
    globs `metrics` is a regression (any change, where nobody can say what is worse).
    """

    across: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    known: KnownIssues = NOTHING_KNOWN


@dataclass(frozen=True, slots=True)
class _Taken:
    """The boots of one side, each with a name that no other boot has."""

    asked: str
    sources: tuple[str, ...]
    runs: tuple[Run, ...]
    cases: tuple[Case, ...]
    events: tuple[Event, ...]
    kernels: Mapping[str, Provenance]  # by build id
    twice: int


def compare_runs(
    first: str, second: str, options: CompareOptions, layout: Layout, read: Callable[[Path], Report] = read_report
) -> CompareOutput:
    """The runs that `first` and `second` name (see `_named`); without a second, the legs of the first. `read` is how
    a report is had.
    """
    if not second:
        first, second = _legs_of(first)
    before, after = (_take(words, leg, layout, read) for words, leg in ((first, Leg.BASE), (second, Leg.TIP)))
    return _compared(before, after, options)


def _legs_of(words: str) -> tuple[str, str]:
    if any(word in words for word in (",", ":")) and not Path(words).is_dir():
        raise UserError(
            f"{words!r} alone has nothing to be compared with",
            hint="compare A B; or compare RUN, for the base and the patched kernel of one run",
        )
    return f"{words}:{Leg.BASE}", f"{words}:{Leg.TIP}"


def _named(words: str, layout: Layout) -> list[tuple[Path, str]]:
    """`RUN[:WHICH][,…]` -> directories, each with its WHICH: base, patched, a kernel's version or build id."""
    found = []
    for word in [words] if Path(words).is_dir() else words.split(","):
        name, which = word.strip(), str(Leg.TIP)
        if not Path(name).is_dir() and ":" in name:
            name, _, which = name.rpartition(":")
            which = str(Leg.TIP) if which == Leg.TIP.word else which
        if not name or not which:
            raise UserError(
                f"{word!r} names no run", hint="RUN, RUN:base, RUN:patched, RUN:VERSION, several with commas between"
            )
        found.append((name, which))
    return [(find_run(layout, name), which) for name, which in found]


def _take(words: str, leg: Leg, layout: Layout, read: Callable[[Path], Report]) -> _Taken:
    sources: list[str] = []
    runs: list[Run] = []
    cases: list[Case] = []
    events: list[Event] = []
    kernels: dict[str, Provenance] = {}
    seen: set[tuple[str, str]] = set()
    twice = 0
    for directory, which in _named(words, layout):
        report = read(directory)
        if report.presubmit is not None:
            raise UserError(
                f"{directory.name} was a run with --presubmit: a few chosen cases, which never stand for the whole",
                hint="compare runs of whole suites",
            )
        _know_own_suites(directory)
        known = {one.build_id: one for one in _kernels(report)}
        chosen = [run for run in report.runs if _is_chosen(run, which, known)]
        if not chosen:
            raise UserError(f"the run {directory.name} has no boot of {which!r}", hint=f"it has {_choices(report)}")
        sources.append(f"{directory.name}:{which}")
        kernels |= {run.cell.build_id: known[run.cell.build_id] for run in chosen if run.cell.build_id in known}
        names = {}
        for run in chosen:
            # A result that was kept from another run is the same boot: it must not count as a second one.
            origin = (run.kept_from or directory.name, run.cell.id)
            twice += origin in seen
            if origin not in seen:
                seen.add(origin)
                names[run.id] = f"{leg}/{directory.name}/{run.id}"
                runs.append(replace(run, id=names[run.id], leg=leg))
        cases += (replace(case, run=names[case.run]) for case in report.cases if case.run in names)
        events += (replace(event, run=names[event.run]) for event in report.events if event.run in names)
    return _Taken(words, tuple(sources), tuple(runs), tuple(cases), tuple(events), kernels, twice)


def _know_own_suites(directory: Path) -> None:
    """A suite in a folder of the user's, if it is still there, says what its figures are."""
    with suppress(HarnessError):  # of a report alone nobody knows where they were
        for name in {name for request in load_record(directory).requests for name in request.suites if "/" in name}:
            suite_named(name)


def _kernels(report: Report) -> tuple[Provenance, ...]:
    return (report.provenance, *((report.base,) if report.base else ()), *report.kernels)


def _is_chosen(run: Run, which: str, kernels: Mapping[str, Provenance]) -> bool:
    if which in tuple(Leg):
        return run.leg == which
    where = kernels.get(run.cell.build_id)
    if where is not None and (where.tree_version == which or where.tree_version.startswith(f"{which}.")):
        return True
    return len(which) >= _SHORTEST_ID and run.cell.build_id.startswith(which)


def _choices(report: Report) -> str:
    versions = dict.fromkeys(one.tree_version for one in _kernels(report))
    return ", ".join([*dict.fromkeys(run.leg.word for run in report.runs), *versions])


def _compared(before: _Taken, after: _Taken, options: CompareOptions) -> CompareOutput:
    kernels = {**before.kernels, **after.kernels}
    excused = without_known(
        options.known,
        kernels.values(),
        (*before.runs, *after.runs),
        (*before.cases, *after.cases),
        (*before.events, *after.events),
    )
    traits = {run.id: _traits(run.cell, kernels.get(run.cell.build_id), options.across) for run in excused.runs}
    for side in (before, after):
        _check_one_kernel(side, traits)
    telling = _telling(traits.values())
    groups = {run: ", ".join(_word(name, of[name]) for name in telling) for run, of in traits.items()}
    sides = [
        sound([run for run in excused.runs if run.leg is leg], excused.cases, excused.events, groups)
        for leg in (Leg.BASE, Leg.TIP)
    ]
    common = {groups[run.id] for run in sides[0].runs} & {groups[run.id] for run in sides[1].runs}
    if common:
        contrast = contrasted(*(only(side, common) for side in sides))
        verdict, reasons = standing_between(contrast.cases, contrast.events)
    else:  # a list of all that is on one side only would say no more than this
        contrast = Contrast()
        verdict, reasons = Verdict.CANNOT_TELL, (_nothing_common(before, after, traits),)
    metrics = contrast.metrics or metrics_between(*sides)
    worse = tuple(_metric_words(one) for one in _judged_metrics(metrics, options.metrics))
    return CompareOutput(
        schema=COMPARE_SCHEMA,
        verdict=Verdict.BAD if worse else verdict,
        reasons=(*reasons, *worse, *(one.sentence for one in excused.uses if one.counts_again)),
        base=_side(before, len(sides[0].runs)),
        tip=_side(after, len(sides[1].runs)),
        comparisons=contrast.cases,
        event_changes=contrast.events,
        metric_changes=metrics,
        known=excused.uses,
        remarks=(*_alone(sides, common), *_remarks(before, after, options)),
    )


def _side(taken: _Taken, boots: int) -> ComparedSide:
    return ComparedSide(taken.asked, taken.sources, boots, len(taken.runs) - boots, tuple(taken.kernels.values()))


def _traits(cell: Cell, kernel: Provenance | None, across: Sequence[str]) -> dict[str, str]:
    """What must be the same for boots to be compared, in words; seeds and suites need not be."""
    found = {"profile": kernel.profile if kernel is not None else "unknown"}
    for one in fields(Machine):
        value = getattr(cell.machine, one.name)
        if isinstance(value, tuple):
            found[one.name] = " ".join(value)
        elif isinstance(value, int) and one.name in _SIZES:
            found[one.name] = format_size(value)
        else:
            found[one.name] = "" if value is None else str(value)
    found["knobs"] = ",".join(sorted(f"{knob.name}={knob.value}" for knob in cell.knobs))
    return {name: value for name, value in found.items() if name not in across}


def _telling(traits: Iterable[Mapping[str, str]]) -> list[str]:
    """The traits in which boots differ: they are the words for a machine."""
    of = list(traits)
    return [name for name in (of[0] if of else ()) if len({one[name] for one in of}) > 1]


def _word(name: str, value: str) -> str:
    if name == "ram":
        return f"{value} RAM"
    return f"{name} {value}" if value else f"no {name}" if name in _LISTS else f"{name} as it is"


def _check_one_kernel(side: _Taken, traits: Mapping[str, Mapping[str, str]]) -> None:
    """Boots of two kernels on one machine are no repeats of each other."""
    trees: dict[tuple[tuple[str, str], ...], set[str]] = {}
    for run in side.runs:
        kernel = side.kernels.get(run.cell.build_id)
        tree = kernel.tree_id if kernel is not None else run.cell.build_id
        trees.setdefault(tuple(traits[run.id].items()), set()).add(tree)
    if any(len(different) > 1 for different in trees.values()):
        versions = ", ".join(
            f"{one.tree_version} {one.profile} ({one.build_id[:12]})" for one in side.kernels.values()
        )
        raise UserError(
            f"{side.asked!r} has boots of several kernels on one machine: {versions}",
            hint="a side is one kernel: RUN:VERSION or RUN:BUILD-ID says which",
        )


def _nothing_common(before: _Taken, after: _Taken, traits: Mapping[str, Mapping[str, str]]) -> str:
    if not before.runs or not after.runs:
        return "one of the sides has no boot"
    if not any(_is_sound(run) for run in before.runs) or not any(_is_sound(run) for run in after.runs):
        return "one of the sides has no boot that is evidence"
    names = _telling(traits.values())
    words = [
        "; ".join(dict.fromkeys(" ".join(_word(name, traits[run.id][name]) for name in names) for run in side.runs))
        for side in (before, after)
    ]
    return f"no machine is on both sides: {words[0]} on the one, {words[1]} on the other (--across {','.join(names)})"


def _alone(sides: Sequence[Side], common: set[str]) -> Iterator[str]:
    """A sentence for each machine that one side has alone, where others are on both."""
    for leg, side in zip(Leg, sides, strict=True):
        for group in dict.fromkeys(side.group(run.id) for run in side.runs):
            if common and group not in common:
                yield f"on the {leg} only, and left out: {group}"


def _is_sound(run: Run) -> bool:
    return not run.problems and not run.differences


def _judged_metrics(metrics: MetricComparison, globs: Sequence[str]) -> Iterator[MetricChange]:
    for one in metrics.changes:
        if one.shift in (Shift.WORSE, Shift.CHANGED) and any(fnmatch.fnmatchcase(one.name, glob) for glob in globs):
            yield one


def _metric_words(one: MetricChange) -> str:
    where = " ".join(word for word in (one.suite, one.case, one.name) if word)
    machine = f" ({one.machine})" if one.machine else ""
    return f"{one.shift} {where}{machine}: median {one.base.median:g} -> {one.tip.median:g}"


def _remarks(before: _Taken, after: _Taken, options: CompareOptions) -> Iterator[str]:
    for name in ("compiler", "qemu", "harness", "host"):
        old, new = ({str(getattr(one, name)) for one in side.kernels.values()} for side in (before, after))
        if old != new:
            yield f"not the same {name}: {', '.join(sorted(old))} against {', '.join(sorted(new))}"
    if {one.partition(":")[0] for one in before.sources} != {one.partition(":")[0] for one in after.sources}:
        yield "the sides were not booted in turn: what changed on the host between them is in the figures, too"
    for side in (before, after):
        if side.twice:
            yield f"{side.asked}: {side.twice} of its results are of one boot with another, and count once"
    if options.across:
        yield f"looked past: {', '.join(options.across)}"
