# SPDX-License-Identifier: GPL-2.0-only
"""A recording of guest-scripts/load/sampler.c -> series over time, and the figures that a report needs of them.

It knows the table, and which of the kernel's columns only ever count upwards; what the columns of a suite's own
statistics are, and what is made of them, the suite says (harness/model/figure.py).
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from harness.model.event import Metric
from harness.model.figure import NO_FIGURES, STAT, Figure, Figures

# A longer silence is worth a sentence: the sampler is protected from everything but a guest that stands still.
GAP_INTERVALS = 5

_FORMAT = "1"
_MOST_COLUMNS = 512
_MOST_SENTENCES = 10
_FIRST = re.compile(r"# ttm-sampler (\d{1,6})((?: [a-z_]{1,32}=\d{1,18})*)", re.ASCII)
_END = re.compile(r"# end((?: [a-z_]{1,32}=\d{1,18})*)", re.ASCII)
_COLUMN = re.compile(r"([A-Za-z][A-Za-z0-9_.]{0,63})(?::([A-Za-z0-9.%/]{1,16}))?", re.ASCII)
_RECORD = re.compile(r"\d{1,15}(?:\t(?:-|-?\d{1,18}))*", re.ASCII)

_COUNTERS = frozenset(
    {
        "sampler_cpu",
        "pswpin",
        "pswpout",
        "allocstall",
        "pgsteal_kswapd",
        "pgsteal_direct",
        "pgscan_kswapd",
        "pgscan_direct",
        "slabs_scanned",
        "drop_slab",
        "oom_kill",
        "compact_stall",
        "compact_fail",
        "psi_some_total",
        "psi_full_total",
    }
)
_SWAP_USED = "swap_used"
# How many of a unit of the table make a byte, a second, a percent. Divisors, because 1e-9 is not exact.
_DIVISORS = {"KiB": 1 / 1024, "us": 1e6, "ns": 1e9, "0.01%": 100.0}


@dataclass(frozen=True, slots=True)
class TimeSeries:
    """One column: `times` in seconds of the guest's CLOCK_MONOTONIC, and a value for each.

    Samples in which the column had no value are left out. `unit` is the table's: KiB, pages, us, ns, count, ...
    """

    name: str
    unit: str
    times: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Telemetry:
    """A recording. `times` are those of all samples, `interval` the seconds that were asked for between them.

    `problems` are sentences on what is wrong with the recording, or was with the guest; `ended` is False when the
    guest went away before the sampler was told to end. `figures` are those of the suites that ran.
    """

    series: tuple[TimeSeries, ...] = ()
    times: tuple[float, ...] = ()
    problems: tuple[str, ...] = ()
    interval: float = 0.1
    page_size: int = 4096
    ended: bool = False
    figures: Figures = NO_FIGURES

    def get(self, name: str) -> TimeSeries | None:
        """The series of that name, recorded or estimated, if there is a value of it."""
        column = self._column(name)
        figure = next((one for one in self.figures.own if one.name == name and one.is_estimate), None)
        return self._estimate(figure) if column is None and figure is not None else column

    def _column(self, name: str) -> TimeSeries | None:
        if name == _SWAP_USED:
            return self.swap_used
        return next((series for series in self.series if series.name == name), None)

    def counts(self, series: TimeSeries) -> bool:
        """It only grows, so that differences mean something; otherwise levels do."""
        if series.name.startswith(STAT):
            return not self.figures.of(series.name).level
        return series.name in _COUNTERS

    def delta(self, name: str) -> float | None:
        """How much a counter grew over the recording; None without the column."""
        series = self.get(name)
        return None if series is None else sum(self._growth(series))

    def peak(self, name: str) -> float | None:
        """The largest value that was seen; None without the column."""
        series = self.get(name)
        return None if series is None else max(series.values)

    def low(self, name: str) -> float | None:
        """The least value that was seen; None without the column."""
        series = self.get(name)
        return None if series is None else min(series.values)

    def rate(self, name: str) -> TimeSeries | None:
        """A counter's growth per second, each value at the end of its step; None without the column."""
        series = self.get(name)
        if series is None:
            return None
        growth = self._growth(series)
        starts = (self._before(series), *series.times[:-1])
        points = [
            (end, grown / (end - start))
            for start, end, grown in zip(starts, series.times, growth, strict=True)
            if end > start
        ]
        return TimeSeries(name, f"{series.unit}/s", tuple(t for t, _ in points), tuple(rate for _, rate in points))

    def growth(self, name: str) -> tuple[tuple[float, float], ...]:
        """(time, growth since the value before) of a counter; empty without the column."""
        series = self.get(name)
        return () if series is None else tuple(zip(series.times, self._growth(series), strict=True))

    @property
    def swap_used(self) -> TimeSeries | None:
        """SwapTotal - SwapFree, in KiB; None without swap."""
        total, free = self.get("SwapTotal"), self.get("SwapFree")
        if total is None or free is None or not any(total.values) or total.times != free.times:
            return None
        values = tuple(whole - left for whole, left in zip(total.values, free.values, strict=True))
        return TimeSeries(_SWAP_USED, "KiB", total.times, values)

    def _estimate(self, figure: Figure) -> TimeSeries | None:
        """What is there at each time, in KiB; None without the counter, or a column that bounds it. (A guest without
        swap has none used.)
        """
        grown = self.growth(figure.of)
        bounds = {name: self._column(name) for name in figure.within}
        if not grown or any(series is None and name != _SWAP_USED for name, series in bounds.items()):
            return None
        room: dict[float, float] = {}
        for series in bounds.values():
            for time, value in zip(series.times, series.values, strict=True) if series is not None else ():
                room[time] = room.get(time, 0) + value
        gone = [(self._kib(name), dict(self.growth(name))) for name in figure.less]
        kib, level, values = self._kib(figure.of), 0.0, []
        for time, more in grown:
            level += more * kib - sum(less.get(time, 0) * each for each, less in gone)
            level = max(0.0, min(level, room.get(time, level)))
            values.append(level)
        return TimeSeries(figure.name, "KiB", tuple(time for time, _ in grown), tuple(values))

    def _kib(self, name: str) -> float:
        return self.figures.of(name).unit.in_bytes(self.page_size) / 1024

    @property
    def longest_gap(self) -> float:
        """The longest time between two samples, in seconds; 0 with fewer than two."""
        return max((later - earlier for earlier, later in pairwise(self.times)), default=0.0)

    def _before(self, series: TimeSeries) -> float:
        """The time of the sample before the first one that has a value."""
        return self.times[max(0, bisect_left(self.times, series.times[0]) - 1)]

    def _growth(self, series: TimeSeries) -> tuple[float, ...]:
        """For each value what it grew since the one before. A module that is loaded counts from zero: a counter of
        its own that appears later than the recording grew by its first value, one that fell began anew."""
        born = series.name.startswith(STAT) and self._before(series) < series.times[0]
        first = series.values[0] if born else 0
        return (first, *(now - then if now >= then else now for then, now in pairwise(series.values)))


def metrics(telemetry: Telemetry) -> tuple[Metric, ...]:
    """The figures of a recording: sizes in bytes, times in seconds, pages and counts as the kernel counts them.

    A counter gives its growth under its own name, a level its NAME.min and NAME.max. No samples, no metrics.
    """
    if not telemetry.times:
        return ()
    found = [
        Metric("samples", len(telemetry.times)),
        Metric("seconds", telemetry.times[-1] - telemetry.times[0]),
        Metric("longest_gap", telemetry.longest_gap),
    ]
    for series in telemetry.series:
        divisor = _DIVISORS.get(series.unit, 1)
        if telemetry.counts(series):
            found.append(Metric(series.name, (telemetry.delta(series.name) or 0) / divisor))
        else:
            found.append(Metric(f"{series.name}.min", min(series.values) / divisor))
            found.append(Metric(f"{series.name}.max", max(series.values) / divisor))
    found += _derived(telemetry)
    return tuple(found)


def _derived(telemetry: Telemetry) -> Iterator[Metric]:
    """What takes two columns to say."""
    known = telemetry.figures
    for name in (_SWAP_USED, *(one.name for one in known.own if one.is_estimate)):
        series = telemetry.get(name)
        if series is not None:
            yield Metric(f"{name}.max", max(series.values) * 1024)
    for one in known.own:
        moved, took = (telemetry.delta(one.of), telemetry.delta(one.over)) if one.is_rate else (None, None)
        if moved and took:
            size, second = known.of(one.of).unit.in_bytes(telemetry.page_size), known.of(one.over).unit.seconds
            yield Metric(one.name, moved * size / (took * second))


def parse(text: str, figures: Figures = NO_FIGURES) -> Telemetry:
    """The text of a recording -> its series, where suites say that of their `figures`. Never raises; takes time
    linear in the size.

    A line without its end is left out: its last number may be cut. So is every line that is not what the header
    above it promises, and every sample that is not later than the one before it.
    """
    reader = _Reader(figures)
    *lines, rest = text.split("\n")
    for number, line in enumerate(lines, 1):
        reader.take(number, line)
    return reader.result(rest)


@dataclass
class _Block:
    """The samples under one header, as they were written."""

    columns: tuple[tuple[str, str], ...]
    times: list[float] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


class _Reader:
    """Takes complete lines one by one; what a line says never depends on later ones."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._blocks: list[_Block] = []
        self._units: dict[str, str] = {}
        self._valid_header = False
        self._times: list[float] = []
        self._interval = 0.1
        self._page_size = 4096
        self._version = ""
        self._ended = False
        self._dropped = 0
        self._garbage: list[int] = []
        self._backwards: list[tuple[int, float, float]] = []
        self._gaps: list[tuple[float, float]] = []

    def take(self, number: int, line: str) -> None:
        if not line:
            return
        if line.startswith("#"):
            good = self._comment(line)
        elif line.startswith("time_ms"):
            good = self._valid_header = self._header(line.split("\t"))
        else:
            good = self._record(number, line)
        if not good:
            self._garbage.append(number)

    def _comment(self, line: str) -> bool:
        first = _FIRST.fullmatch(line)
        if first is not None:
            values = _words(first[2])
            self._version = first[1]
            self._interval = values.get("interval_ms", 0) / 1000 or self._interval
            self._page_size = values.get("page_bytes", 0) or self._page_size
            return True
        end = _END.fullmatch(line)
        if end is not None:
            self._ended = True
            self._dropped += _words(end[1]).get("dropped", 0)
        return end is not None

    def _header(self, fields: list[str]) -> bool:
        if fields[0] != "time_ms" or len(fields) > _MOST_COLUMNS:
            return False
        columns = []
        for text in fields[1:]:
            match = _COLUMN.fullmatch(text)
            if match is None:
                return False
            columns.append((match[1], match[2] or str(self._figures.of(match[1]).unit)))
        names = dict(columns)
        if len(names) != len(columns) or any(self._units.get(name, unit) != unit for name, unit in columns):
            return False
        self._units |= names
        self._blocks.append(_Block(tuple(columns)))
        return True

    def _record(self, number: int, line: str) -> bool:
        if not self._valid_header or _RECORD.fullmatch(line) is None:
            return False
        milliseconds, *fields = line.split("\t")
        block = self._blocks[-1]
        if len(fields) != len(block.columns):
            return False
        time = int(milliseconds) / 1000
        if self._times:
            last = self._times[-1]
            if time <= last:
                self._backwards.append((number, last, time))
                return True
            if time - last > GAP_INTERVALS * self._interval:
                self._gaps.append((last, time))
        self._times.append(time)
        block.times.append(time)
        block.rows.append(fields)
        self._ended = False
        return True

    def result(self, rest: str) -> Telemetry:
        times = tuple(self._times)
        return Telemetry(
            series=tuple(self._series(times)),
            times=times,
            problems=tuple(self._problems(rest)),
            interval=self._interval,
            page_size=self._page_size,
            ended=self._ended,
            figures=self._figures,
        )

    def _series(self, all_times: tuple[float, ...]) -> Iterator[TimeSeries]:
        found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in self._units}
        for block in self._blocks:
            for (name, _), column in zip(block.columns, zip(*block.rows, strict=True), strict=False):
                times, values = found[name]
                if "-" in column:
                    there = [(t, int(text)) for t, text in zip(block.times, column, strict=True) if text != "-"]
                    times.extend(t for t, _ in there)
                    values.extend(value for _, value in there)
                else:
                    times.extend(block.times)
                    values.extend(map(int, column))
        for name, (times, values) in found.items():
            if times:
                shared = all_times if len(times) == len(all_times) else tuple(times)
                yield TimeSeries(name, self._units[name], shared, tuple(values))

    def _problems(self, rest: str) -> Iterator[str]:
        if not self._times:
            yield "the recording has no samples"
        if self._version and self._version != _FORMAT:
            yield f"the recording is of format {self._version}, this reads {_FORMAT}"
        if self._garbage:
            yield f"{_lines(len(self._garbage))} no part of a recording, the first is line {self._garbage[0]}"
        if self._backwards:
            number, last, time = self._backwards[0]
            yield (
                f"{_lines(len(self._backwards))} not later than the one before, "
                f"the first is line {number}: {time:.3f} s after {last:.3f} s"
            )
        if self._dropped:
            yield f"{self._dropped} samples could not be written"
        for start, end in self._gaps[:_MOST_SENTENCES]:
            yield f"no sample from {start:.3f} s to {end:.3f} s ({end - start:.1f} s): the guest stood still"
        if len(self._gaps) > _MOST_SENTENCES:
            yield f"{len(self._gaps) - _MOST_SENTENCES} more times the guest stood still"
        if rest:
            yield "the last line is cut"
        if self._times and not self._ended:
            yield f"the recording was cut off after {self._times[-1]:.3f} s"


def _words(text: str) -> dict[str, int]:
    """` name=1 other=2` -> a dictionary."""
    pairs = (word.partition("=") for word in text.split())
    return {name: int(value) for name, _, value in pairs}


def _lines(count: int) -> str:
    return "1 line is" if count == 1 else f"{count} lines are"
