# SPDX-License-Identifier: GPL-2.0-only
"""A recording of the sampler -> an SVG of memory, swap, stalls and shrinker over one time axis.

It draws and measures nothing: the figures of a report come from evidence/telemetry.py. Which columns of a suite's own
are drawn, and how, the suite says (harness/model/figure.py).
"""

from __future__ import annotations

import html
import io
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, cycle, pairwise
from typing import TYPE_CHECKING, Protocol

from harness.model.errors import UserError
from harness.model.figure import Figures, Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which people see apart who do not see all colours.
_BLACK, _GREY = "#000000", "#7f7f7f"
_ORANGE, _SKY, _GREEN = "#e69f00", "#56b4e9", "#009e73"
_BLUE, _RED, _PURPLE = "#0072b2", "#d55e00", "#cc79a7"
# What a suite has drawn takes them in turn, in the order of its table.
_COLORS = {
    Plot.MEMORY: (_PURPLE, _RED, _SKY, _BLACK),
    Plot.SCANS: (_SKY, _ORANGE, _GREEN, _PURPLE),
    Plot.RATE: (_RED, _BLACK, _BLUE, _PURPLE, _GREEN),
}

_WIDTH, _PANEL_HEIGHT = 10.0, 1.75
_LEFT, _RIGHT = 0.075, 0.925
_MOST_BINS = 240
_MOST_MARKS = 480  # on a curve twice that; more cannot be seen
_GAP_INTERVALS = 5
_LONGEST_LABEL = 28
_LABEL_SIZE = 7.0
_LABEL_ROWS = 2
# The mean width of a character, as a share of the font's size; generous, for the viewer may have another font.
_CHARACTER = 0.62


class PlotLine(Protocol):
    """What is drawn of a series: a value for each time, in seconds."""

    @property
    def times(self) -> tuple[float, ...]: ...
    @property
    def values(self) -> tuple[float, ...]: ...


class Recording(Protocol):
    """What is drawn of a recording: evidence.telemetry.Telemetry, of which this room knows only the shape."""

    @property
    def times(self) -> tuple[float, ...]: ...
    @property
    def interval(self) -> float: ...
    @property
    def page_size(self) -> int: ...
    @property
    def swap_used(self) -> PlotLine | None: ...
    @property
    def figures(self) -> Figures: ...
    def get(self, name: str) -> PlotLine | None: ...
    def growth(self, name: str) -> tuple[tuple[float, float], ...]: ...


@dataclass(frozen=True, slots=True)
class CurveStyle:
    """How a curve is drawn; `right` puts it on the axis at the right."""

    label: str
    color: str
    filled: bool = False
    dashed: bool = False
    right: bool = False


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve in the unit of its axis, open where a value is not a number."""

    look: CurveStyle
    times: tuple[float, ...]
    values: tuple[float, ...]
    steps: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """`top` is the least upper end of the axis at the left; `stalls` and `kills` are moments to mark."""

    title: str
    unit: str
    right_unit: str
    curves: tuple[Curve, ...]
    top: float = 0.0
    stalls: tuple[float, ...] = ()
    kills: tuple[float, ...] = ()


def plot_svg(telemetry: Recording, title: str, marks: Sequence[tuple[float, str]] = ()) -> str:
    """The text of an SVG; the same input gives the same bytes.

    `marks` are (time in seconds, name) of what began then and went on until the next mark. Panels without data are
    left out. Raises UserError without matplotlib.
    """
    title = _printable(title)
    drawn = [panel for panel in panels(telemetry) if panel.curves] if telemetry.times else []
    if not drawn:
        return _nothing(title)
    try:
        import matplotlib
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError(f"plots need matplotlib: {error}", hint="pip install matplotlib") from error
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        _set_style()
        figure = Figure(figsize=(_WIDTH, 1.0 + _PANEL_HEIGHT * len(drawn)))
        FigureCanvasSVG(figure)
        _draw(figure, drawn, telemetry, title, _bands(telemetry, marks))
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": "ttm-harness"})
    return text.getvalue()


# What is in the panels


def panels(telemetry: Recording) -> Iterator[Panel]:
    """What there is to be drawn, panel by panel; one without data has no curves. The recording has samples."""
    edges = _edges(telemetry)
    yield Panel("memory", "MiB", "", tuple(_memory(telemetry)))
    yield Panel("swap", "used, MiB", "in and out, MiB/s", tuple(_swap(telemetry, edges)))
    yield Panel(
        "waiting for memory (PSI)",
        "% of time",
        "",
        tuple(_pressure(telemetry, edges)),
        top=10.0,
        stalls=_moments(telemetry, "allocstall"),
        kills=_moments(telemetry, "oom_kill"),
    )
    yield Panel("shrinker", "scans/s", "MiB/s", tuple(_shrinker(telemetry, edges)))


def _memory(telemetry: Recording) -> Iterator[Curve]:
    for name, label, color in (
        ("MemFree", "free", _GREY),
        ("AnonPages", "anonymous", _ORANGE),
        ("Shmem", "shared (shmem)", _GREEN),
        ("GPUActive", "GPU objects", _BLUE),
    ):
        series = telemetry.get(name)
        if series is not None:
            yield _level(telemetry, series, CurveStyle(label, color, filled=name == "MemFree"))
    for name, mib, look in _own(telemetry, Plot.MEMORY):
        series = telemetry.get(name)
        if series is not None:
            yield _level(telemetry, series, look, mib)


def _swap(telemetry: Recording, edges: Sequence[float]) -> Iterator[Curve]:
    if telemetry.swap_used is None:
        return
    yield _level(telemetry, telemetry.swap_used, CurveStyle("used", _GREY, filled=True))
    mib = telemetry.page_size / (1 << 20)
    yield from _rate(telemetry, "pswpout", edges, mib, CurveStyle("out", _RED, right=True))
    yield from _rate(telemetry, "pswpin", edges, mib, CurveStyle("in", _BLUE, right=True))


def _pressure(telemetry: Recording, edges: Sequence[float]) -> Iterator[Curve]:
    percent = 100 * 1e-6
    for name, label, color in (("psi_some_total", "some task", _ORANGE), ("psi_full_total", "all tasks", _RED)):
        for curve in _rate(telemetry, name, edges, percent, CurveStyle(label, color, filled=True)):
            # A sample has one time, but a stalled guest reads its files at several.
            yield replace(curve, values=tuple(min(value, 100.0) for value in curve.values))


def _shrinker(telemetry: Recording, edges: Sequence[float]) -> Iterator[Curve]:
    for plot in (Plot.SCANS, Plot.RATE):
        for name, factor, look in _own(telemetry, plot):
            yield from _rate(telemetry, name, edges, factor, look)


def _own(telemetry: Recording, plot: Plot) -> Iterator[tuple[str, float, CurveStyle]]:
    """What the suites have drawn so: the name, how much of the axis's unit one is, the look."""
    for figure, color in zip(telemetry.figures.drawn(plot), cycle(_COLORS[plot]), strict=False):
        factor = 1.0 if plot is Plot.SCANS else figure.unit.in_bytes(telemetry.page_size) / (1 << 20)
        label = _printable(figure.title or figure.bare)
        yield (
            figure.name,
            factor,
            CurveStyle(label, color, plot is Plot.SCANS, dashed=figure.is_estimate, right=plot is Plot.RATE),
        )


def _level(telemetry: Recording, series: PlotLine, look: CurveStyle, mib: float = 1 / 1024) -> Curve:
    """A series as a curve in MiB, one of its unit being `mib` of them (KiB), open where there were no samples."""
    times: list[float] = []
    values: list[float] = []
    points = list(_thinned(series))
    longest = _GAP_INTERVALS * telemetry.interval * max(1, len(series.times) / len(points))
    for time, value in points:
        if times and time - times[-1] > longest:
            times.append((time + times[-1]) / 2)
            values.append(float("nan"))
        times.append(time)
        values.append(value * mib)
    return Curve(look, tuple(times), tuple(values))


def _thinned(series: PlotLine) -> Iterator[tuple[float, float]]:
    """The points of a series; of a long one the least and the largest value of each stretch."""
    points = list(zip(series.times, series.values, strict=True))
    stretch = -(-len(points) // _MOST_MARKS)
    if stretch <= 2:
        yield from points
        return
    for start in range(0, len(points), stretch):
        some = points[start : start + stretch]
        ends = {min(some, key=lambda point: point[1]), max(some, key=lambda point: point[1])}
        yield from sorted(ends)


def _moments(telemetry: Recording, name: str) -> tuple[float, ...]:
    """When a counter grew; not more moments than can be seen apart."""
    least = (telemetry.times[-1] - telemetry.times[0]) / _MOST_MARKS
    found: list[float] = []
    for time, grown in telemetry.growth(name):
        if grown and (not found or time - found[-1] >= least):
            found.append(time)
    return tuple(found)


def _rate(
    telemetry: Recording, name: str, edges: Sequence[float], factor: float, look: CurveStyle
) -> Iterator[Curve]:
    """A counter's growth per second in bins, as steps; nothing without the counter or without growth."""
    growth = telemetry.growth(name)
    if not any(grown for _, grown in growth) or len(edges) < 2:
        return
    times = (min(edges[0], growth[0][0]), *(time for time, _ in growth))
    sums = (0.0, *accumulate(grown for _, grown in growth))
    levels = [_interpolated(times, sums, edge) for edge in edges]
    rates = [(b - a) / (t - s) * factor for (s, a), (t, b) in pairwise(zip(edges, levels, strict=True))]
    yield Curve(look, tuple(edges), (*rates, rates[-1]), steps=True)


def _interpolated(times: Sequence[float], values: Sequence[float], at: float) -> float:
    """The value at a time between those of `times`, on a straight line; the last value after them."""
    behind = bisect_left(times, at)
    if behind == len(times):
        return values[-1]
    if behind == 0 or times[behind] == times[behind - 1]:
        return values[behind]
    share = (at - times[behind - 1]) / (times[behind] - times[behind - 1])
    return values[behind - 1] + share * (values[behind] - values[behind - 1])


def _edges(telemetry: Recording) -> tuple[float, ...]:
    """The edges of the bins for rates: two samples or more in each, and not more than can be seen."""
    start, span = telemetry.times[0], telemetry.times[-1] - telemetry.times[0]
    count = min(_MOST_BINS, int(span / (2 * telemetry.interval)))
    if count < 1:
        return telemetry.times[:1] + telemetry.times[-1:] if span > 0 else ()
    return tuple(start + span * number / count for number in range(count + 1))


# How they are drawn


def _set_style() -> None:
    """Group by group: newer releases of matplotlib know their names as types."""
    from matplotlib import rc

    rc("svg", hashsalt="ttm-harness", fonttype="none")
    rc("text", parse_math=False)
    rc("font", size=8.0)
    rc("axes", linewidth=0.6, edgecolor=_GREY, grid=True, axisbelow=True)
    rc("axes.grid", axis="y")
    rc("axes.spines", top=False)
    rc("xtick", color=_GREY, labelcolor=_BLACK)
    rc("ytick", color=_GREY, labelcolor=_BLACK)
    rc("lines", linewidth=1.2)
    rc("grid", color="#dcdcdc", linewidth=0.5)
    rc("legend", fontsize=7.5, frameon=False)


@dataclass(frozen=True, slots=True)
class _Band:
    """From one mark to the next. `row` is that of its label, None where there is no room for one."""

    start: float
    end: float
    label: str
    row: int | None


def _bands(telemetry: Recording, marks: Sequence[tuple[float, str]]) -> tuple[_Band, ...]:
    """The marks that fall into the recording, cut to it, each label in the first row in which it is free."""
    if not telemetry.times or telemetry.times[-1] <= telemetry.times[0]:
        return ()
    first, last = telemetry.times[0], telemetry.times[-1]
    per_second = _WIDTH * 72 * (_RIGHT - _LEFT) / (last - first)
    taken = [float("-inf")] * _LABEL_ROWS
    bands = []
    for (time, text), (following, _) in pairwise([*sorted(marks), (last, "")]):
        start, end = max(time, first), min(following, last)
        if end <= start:
            continue
        label = _printable(text)
        if len(label) > _LONGEST_LABEL:
            label = label[: _LONGEST_LABEL - 1] + "…"
        left = (start - first) * per_second
        right = left + (len(label) + 1) * _CHARACTER * _LABEL_SIZE
        row = next((row for row in range(_LABEL_ROWS) if taken[row] <= left), None)
        if right > (last - first) * per_second + _LABEL_SIZE * 8:
            row = None  # it would leave the picture
        if row is not None:
            taken[row] = right
        bands.append(_Band(start, end, label, row))
    return tuple(bands)


def _draw(figure: Figure, panels: Sequence[Panel], telemetry: Recording, title: str, bands: Sequence[_Band]) -> None:
    height = 1.0 + _PANEL_HEIGHT * len(panels)
    rows = 1 + max((band.row for band in bands if band.row is not None), default=-1)
    top = 1 - (0.58 + 0.14 * rows) / height
    grid = figure.add_gridspec(len(panels), 1, left=_LEFT, right=_RIGHT, bottom=0.42 / height, top=top, hspace=0.3)
    figure.text(_LEFT, 1 - 0.22 / height, title, fontsize=10, fontweight="bold", va="center")
    figure.text(_RIGHT, 1 - 0.22 / height, _footnote(telemetry), fontsize=7, color=_GREY, ha="right", va="center")
    first, last = telemetry.times[0], max(telemetry.times[-1], telemetry.times[0] + 1e-3)
    for number, panel in enumerate(panels):
        axes = figure.add_subplot(grid[number])
        axes.set_xlim(first, last)
        for index, band in enumerate(bands):
            axes.axvspan(band.start, band.end, color=("#f2f2f2", "#e6ecf2")[index % 2], linewidth=0, zorder=0)
        for start, end in _gaps(telemetry):
            axes.axvspan(
                start, end, facecolor="none", edgecolor=_RED, hatch="////", alpha=0.35, linewidth=0, zorder=0.5
            )
        _draw_panel(axes, panel)
        if number == len(panels) - 1:
            axes.set_xlabel("seconds since boot (CLOCK_MONOTONIC, as on the console)")
        else:
            axes.tick_params(labelbottom=False)
        if number == 0:
            _draw_labels(axes, bands)


def _draw_panel(axes: Axes, panel: Panel) -> None:
    other = axes.twinx() if any(curve.look.right for curve in panel.curves) else None
    for curve in panel.curves:
        target = other if curve.look.right and other is not None else axes
        _draw_curve(target, curve)
    axes.set_ylabel(panel.unit)
    axes.set_ylim(0, max(panel.top, axes.get_ylim()[1]))
    axes.spines["right"].set_visible(False)
    if other is not None:
        other.set_ylabel(panel.right_unit)
        other.set_ylim(0, max(0.1, other.get_ylim()[1]))
        other.grid(visible=False)
    if panel.stalls:
        axes.vlines(
            panel.stalls, 0, 0.07, transform=axes.get_xaxis_transform(), color=_BLACK, linewidth=0.6,
            label="a direct reclaim began (allocstall)",
        )  # fmt: skip
    for number, time in enumerate(panel.kills):
        axes.axvline(time, color=_BLACK, linewidth=1.2, linestyle=(0, (4, 2)), label="" if number else "OOM kill")
    handles, labels = axes.get_legend_handles_labels()
    if other is not None:
        more, names = other.get_legend_handles_labels()
        handles, labels = [*handles, *more], [*labels, *(f"{name} →" for name in names)]
    axes.legend(
        handles, labels, loc="lower right", bbox_to_anchor=(1.0, 0.97), ncols=len(labels),
        handlelength=1.4, columnspacing=1.2, borderaxespad=0.0, handletextpad=0.5,
    )  # fmt: skip
    axes.text(0, 1.04, panel.title, transform=axes.transAxes, fontsize=8, fontweight="bold", va="bottom")


def _draw_curve(axes: Axes, curve: Curve) -> None:
    look = curve.look
    style = "--" if look.dashed else "-"
    if curve.steps:
        axes.step(curve.times, curve.values, where="post", color=look.color, linestyle=style, label=look.label)
    else:
        axes.plot(curve.times, curve.values, color=look.color, linestyle=style, label=look.label)
    if look.filled:
        axes.fill_between(
            curve.times, curve.values, step="post" if curve.steps else None, color=look.color, alpha=0.2, linewidth=0
        )


def _draw_labels(axes: Axes, bands: Sequence[_Band]) -> None:
    """The names of the bands, above the legend of the first panel."""
    for band in bands:
        if band.row is None:
            continue
        axes.annotate(
            band.label, (band.start, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 16 + 10 * band.row),
            textcoords="offset points", fontsize=_LABEL_SIZE, color="#404040", annotation_clip=False,
        )  # fmt: skip


def _gaps(telemetry: Recording) -> list[tuple[float, float]]:
    """Where there were no samples, if it can be seen."""
    limit = max(_GAP_INTERVALS * telemetry.interval, (telemetry.times[-1] - telemetry.times[0]) / (2 * _MOST_MARKS))
    return [(start, end) for start, end in pairwise(telemetry.times) if end - start > limit]


def _footnote(telemetry: Recording) -> str:
    gap = max((end - start for start, end in pairwise(telemetry.times)), default=0.0)
    count = len(telemetry.times)
    return f"{count} samples every {telemetry.interval * 1000:.0f} ms, longest gap {gap:.1f} s"


def _printable(text: str) -> str:
    """XML has no control characters, and a label no line breaks."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _nothing(title: str) -> str:
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="480" height="60" font-family="sans-serif">\n'
        f'<text x="12" y="24" font-size="13" font-weight="bold">{html.escape(title)}</text>\n'
        '<text x="12" y="46" font-size="12">there are no samples</text>\n'
        "</svg>\n"
    )
