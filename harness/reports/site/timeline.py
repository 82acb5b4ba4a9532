# SPDX-License-Identifier: GPL-2.0-only
"""A boot on one time axis: its cases, what the kernel said, memory, swap, stalls, the shrinker. An SVG of our own.

What is drawn is what reports/plot.py draws (`panels`); here it is inline, follows the colours of the page, and its
cases and events are links.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from harness.model.outcome import Outcome
from harness.model.units import format_seconds
from harness.model.visible import visible_field
from harness.reports.plot import Curve, Panel, Recording, panels
from harness.reports.site.values import CaseSpan, Moment

_WIDTH, _LEFT, _RIGHT = 1200, 62, 62
_PANEL, _GAP, _LANE = 96, 34, 18
_INNER = _WIDTH - _LEFT - _RIGHT
_CHARACTER = 6.2  # pixels, generous
_LEAST_WIDTH = 1.5  # of a case, so that it can be seen and hit
_BLACK = "#000000"
_TICKS = 8

_Places = dict[tuple[float, ...], list[float]]  # of times, which curves have in common, on the axis


@dataclass(frozen=True, slots=True)
class _Axis:
    """Seconds -> pixels."""

    start: float
    end: float

    def at(self, time: float) -> float:
        share = (time - self.start) / (self.end - self.start)
        return round(_LEFT + _INNER * min(1.0, max(0.0, share)), 1)


def timeline_svg(recording: Recording, spans: Sequence[CaseSpan], moments: Sequence[Moment], console: str) -> str:
    """The text of the SVG, with links into the page `console`; empty where nothing has a time."""
    times = [*recording.times, *(time for span in spans for time in (span.start, span.end))]
    times += [moment.time for moment in moments]
    if not times or max(times) <= min(times):
        return ""
    axis = _Axis(min(times), max(times))
    drawn = [panel for panel in panels(recording) if panel.curves] if recording.times else []
    parts = [*_cases(axis, spans, console)]
    top = 2 * _LANE + _GAP
    places: _Places = {}
    for panel in drawn:
        parts += _panel(axis, panel, top, places)
        top += _PANEL + _GAP
    bottom = top - _GAP + 4
    parts += _seconds(axis, 2 * _LANE + 4, bottom)
    parts += _moments(axis, moments, bottom, console)
    height = bottom + 22
    label = f"{len(spans)} cases and {len(moments)} events over {format_seconds(axis.end - axis.start)}"
    return (
        f'<svg class="timeline" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" role="group" '
        f"aria-label={quoteattr(label)}>{''.join(parts)}</svg>"
    )


def _text(x: float, y: float, words: str, name: str = "", anchor: str = "start") -> str:
    kind = f' class="{name}"' if name else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{kind}>{escape(visible_field(words))}</text>'


def _class(outcome: Outcome) -> str:
    if outcome in (Outcome.PASS, Outcome.XFAIL):
        return "pass"
    if outcome is Outcome.SKIP:
        return "skip"
    return "fail" if outcome.finding or outcome is Outcome.INCOMPLETE else "gap"


def _cases(axis: _Axis, spans: Sequence[CaseSpan], console: str) -> Iterator[str]:
    yield _text(_LEFT - 6, 14, "cases", "soft", "end")
    for span in spans:
        left, right = axis.at(span.start), axis.at(span.end)
        width = round(max(_LEAST_WIDTH, right - left - 0.5), 1)
        name = visible_field(span.name)
        told = f"{name}: {span.outcome}, {format_seconds(span.end - span.start)}"
        room = int((width - 4) / _CHARACTER)
        short = name.rpartition(".")[2]
        label = short if len(short) <= room else f"{short[: room - 1]}…" if room > 5 else ""
        yield (
            f"<a href={quoteattr(f'{console}#{span.anchor}')} aria-label={quoteattr(told)}>"
            f'<rect class="{_class(span.outcome)}" x="{left}" y="2" width="{width}" height="{_LANE}">'
            f"<title>{escape(told)}</title></rect>{_text(left + 3, 15, label, 'in') if label else ''}</a>"
        )


def _moments(axis: _Axis, moments: Sequence[Moment], bottom: float, console: str) -> Iterator[str]:
    if moments:
        yield _text(_LEFT - 6, _LANE + 17, "events", "soft", "end")
    for moment in moments:
        x = axis.at(moment.time)
        told = f"{visible_field(moment.title)} at {moment.time:.1f} s"
        kind = "grave" if moment.grave else "note"
        line = f'<line class="{kind}" x1="{x}" x2="{x}" y1="{_LANE + 12}" y2="{bottom}"/>' if moment.grave else ""
        yield (
            f"<a href={quoteattr(f'{console}#{moment.anchor}')} aria-label={quoteattr(told)}>{line}"
            f'<path class="{kind}" d="M{x} {_LANE + 6}l5 5l-5 5l-5 -5z"><title>{escape(told)}</title></path></a>'
        )


def _seconds(axis: _Axis, top: float, bottom: float) -> Iterator[str]:
    step = _step((axis.end - axis.start) / _TICKS)
    first = math.ceil(axis.start / step)
    for number in range(first, first + _TICKS + 2):  # not by adding: a small step is lost in a large time
        time = number * step
        if time > axis.end:
            break
        x = axis.at(time)
        yield f'<line class="grid" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>'
        yield _text(x, bottom + 15, f"{time:g} s", "soft", "middle")


def _step(about: float) -> float:
    """1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(about))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= about)


def _panel(axis: _Axis, panel: Panel, top: float, places: _Places) -> Iterator[str]:
    bottom = top + _PANEL
    yield f'<rect class="frame" x="{_LEFT}" y="{top}" width="{_INNER}" height="{_PANEL}"/>'
    yield from _legend(panel, top)
    for right in (False, True):
        curves = [curve for curve in panel.curves if curve.look.right is right]
        if not curves:
            continue
        least = 0.0 if right else panel.top
        most = max((v for curve in curves for v in curve.values if v == v), default=0.0)
        high = _nice(max(least, most))
        for share in (0.0, 0.5, 1.0):
            y = bottom - share * _PANEL
            x, anchor = (_LEFT + _INNER + 6, "start") if right else (_LEFT - 6, "end")
            yield _text(x, y + 4, f"{high * share:g}", "soft", anchor)
            if not right and 0 < share < 1:
                yield f'<line class="grid" x1="{_LEFT}" x2="{_LEFT + _INNER}" y1="{y}" y2="{y}"/>'
        for curve in curves:
            if curve.times not in places:
                places[curve.times] = [axis.at(time) for time in curve.times]
            yield _path(places[curve.times], curve, bottom, high)
    for times, kind, y in ((panel.stalls, "stall", bottom - 3), (panel.kills, "kill", top + 3)):
        for time in times:
            yield f'<path class="{kind}" d="M{axis.at(time)} {y - 3}v6"/>'


def _legend(panel: Panel, top: float) -> Iterator[str]:
    yield _text(_LEFT, top - 8, panel.title, "head")
    x = _LEFT + 14 + len(panel.title) * 7.0
    words = [
        (curve.look.label + (" (right)" if curve.look.right else ""), curve.look.color) for curve in panel.curves
    ]
    if panel.stalls:
        words.append(("allocation stalls", ""))
    for label, colour in words:
        stroke = f' stroke="{colour}"' if colour not in ("", _BLACK) else ' class="ink"'
        yield f'<path{stroke} stroke-width="3" d="M{x:g} {top - 12}h12"/>'
        yield _text(x + 16, top - 8, label, "soft")
        x += 30 + len(label) * _CHARACTER
    yield _text(_LEFT + _INNER, top - 8, " · ".join(filter(None, (panel.unit, panel.right_unit))), "soft", "end")


def _nice(value: float) -> float:
    """The upper end of an axis: not much above the value, and its half is a plain number, too."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10) if factor * power >= value)


def _path(xs: Sequence[float], curve: Curve, bottom: float, high: float) -> str:
    """The curve; `xs` are its times on the axis."""
    words: list[str] = []
    first_x = 0.0
    begun = False
    scale = _PANEL / high
    for x, value in zip(xs, curve.values, strict=True):
        if value != value:
            begun = False
            continue
        y = round(bottom - min(_PANEL, max(0.0, value * scale)), 1)
        if not begun:
            words.append(f"M{x} {y}")
            first_x = first_x or x
        elif curve.steps:
            words.append(f"H{x}V{y}")
        else:
            words.append(f"L{x} {y}")
        begun = True
    look = curve.look
    colour = f' stroke="{look.color}"' if look.color != _BLACK else ' class="ink"'
    dashes = ' stroke-dasharray="4 3"' if look.dashed else ""
    filled = ""
    if look.filled and words and all(value == value for value in curve.values):
        area = f"{''.join(words)}V{bottom}H{first_x}z"
        filled = f'<path fill="{look.color}" fill-opacity=".18" stroke="none" d="{area}"/>'
    return f'{filled}<path{colour}{dashes} fill="none" d="{"".join(words)}"/>'
