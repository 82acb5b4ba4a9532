# SPDX-License-Identifier: GPL-2.0-only
"""The table `figures` of suite.toml -> what a suite says of its numbers (harness/subjects/README.md)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from harness.model.compare import COST_KEYS
from harness.model.figure import STAT, Better, Figure, Plot, Unit
from harness.model.toml import Way, refusal

_TABLE = "figures"
_NAME = re.compile(r"[\w.*?\[\]!-]{1,64}", re.ASCII)
_GLOB = frozenset("*?[")
_TAKEN = COST_KEYS | {"oom"}  # which JUnit calls the kills


@dataclass(frozen=True, slots=True)
class FigureRow:
    """A row of the table; the keys of `Figure` by the same name mean the same. Without a unit it is a count."""

    unit: Unit | None = None
    level: bool = False
    better: Better = Better.NEITHER
    title: str = ""
    plot: Plot | None = None
    cost: bool = False
    of: str = ""
    over: str = ""
    less: tuple[str, ...] = ()
    within: tuple[str, ...] = ()


def figures_of(rows: Mapping[str, FigureRow], text: str, where: str) -> tuple[Figure, ...]:
    """The rows in their order; UserError has a line for every row that cannot be. `text` is that of the file."""
    found = {name: _figure(name, row) for name, row in rows.items()}
    if mistakes := [one for name, row in rows.items() for one in _mistakes(name, row, found)]:
        raise refusal(mistakes, text, where)
    return tuple(found.values())


def _figure(name: str, row: FigureRow) -> Figure:
    told = {**asdict(row), "unit": row.unit or Unit.COUNT}
    figure = Figure(name, **told)
    # An estimate is a level in KiB, whatever the counters that it is made of are.
    return Figure(name, **{**told, "unit": Unit.KIB, "level": True}) if figure.is_estimate else figure


def _mistakes(name: str, row: FigureRow, found: Mapping[str, Figure]) -> Iterator[tuple[Way, str]]:
    for key, said in (*_of_name(name, row), *_of_parts(row, found), *_of_looks(found[name])):
        yield (_TABLE, name, *filter(None, (key,))), said


def _of_name(name: str, row: FigureRow) -> Iterator[tuple[str, str]]:
    """What only some names can have."""
    if not _NAME.fullmatch(name):
        yield "", "no figure is called so"
    if row.of and name.startswith(STAT):
        yield "of", f"a column of the suite's statistics ({STAT}NAME) is made of nothing"
    for key in ("unit", "level", "cost", *(() if row.of else ("plot", "title"))):
        if getattr(row, key) and not name.startswith(STAT):
            yield key, f"only a column of the suite's statistics ({STAT}NAME) has one"
    for key in ("plot", "cost", "of"):
        if getattr(row, key) and _GLOB & set(name):
            yield key, "a glob is several figures"


def _of_parts(row: FigureRow, found: Mapping[str, Figure]) -> Iterator[tuple[str, str]]:
    """What a figure is made of."""
    for key in ("over", "less", "within"):
        if getattr(row, key) and not row.of:
            yield key, "of which counter?"
    if row.of and bool(row.over) is bool(row.less or row.within):
        yield "of", "either over a time, or less what went and within what bounds it"
    sizes, times = {one for one in Unit if one.in_bytes(1)}, {one for one in Unit if one.seconds}
    for key, names, units in (("of", (row.of,), sizes), ("less", row.less, sizes), ("over", (row.over,), times)):
        for name in filter(None, names):
            part = found.get(name)
            column = name.startswith(STAT) and not _GLOB & set(name)
            if part is None or part.level or not column or part.unit not in units:
                yield key, f"{name!r} is no counter of this table in {' or '.join(sorted(units))}"
    for name in row.within:
        if name in found and found[name].of:
            yield "within", f"{name!r} is itself made of others"


def _of_looks(figure: Figure) -> Iterator[tuple[str, str]]:
    is_size = bool(figure.unit.in_bytes(1))
    fits = {
        Plot.MEMORY: figure.level and is_size,
        Plot.RATE: not figure.level and is_size,
        Plot.SCANS: not figure.level and figure.unit is Unit.COUNT and not figure.of,
    }
    wanted = {Plot.MEMORY: "a level of memory", Plot.RATE: "a counter of memory", Plot.SCANS: "a counter of scans"}
    if figure.plot is not None and not fits[figure.plot]:
        yield "plot", f"{figure.plot} is for {wanted[figure.plot]}"
    if figure.title and figure.plot is None:
        yield "title", "it is drawn nowhere"
    if figure.cost and (figure.level or figure.unit.seconds):
        yield "cost", "only a counter of memory or of times that something happened is one"
    if figure.cost and figure.bare in _TAKEN:
        yield "cost", f"{figure.bare!r} is told of every machine already"
