# SPDX-License-Identifier: GPL-2.0-only
"""A figure over many runs: a dot for each boot, from the oldest run to the newest, a colour for each kernel."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from harness.model.visible import visible_field
from harness.reports.site.pages import Point

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 1000, 190, 76, 10, 12, 40
_COLORS = 6


def dots_svg(name: str, points: Sequence[Point]) -> str:
    """`points`, the newest first; runs stand side by side, at equal distances."""
    runs = list(dict.fromkeys(point.run for point in reversed(points)))
    kernels = list(dict.fromkeys(filter(None, (_kernel(point) for point in reversed(points)))))
    low, high = min(0.0, *(one.value for one in points)), max((one.value for one in points), default=0.0)
    span = (high - low) or 1.0
    step = (_WIDTH - _LEFT - _RIGHT) / max(1, len(runs))
    place = {run: round(_LEFT + step * (number + 0.5), 1) for number, run in enumerate(runs)}
    room = _HEIGHT - _TOP - _BOTTOM
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = _HEIGHT - _BOTTOM - room * share
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(
            f'<text class="soft" x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{_short(low + span * share)}</text>'
        )
    for point in points:
        y = round(_HEIGHT - _BOTTOM - room * (point.value - low) / span, 1)
        kind = kernels.index(_kernel(point)) % _COLORS
        told = f"{_kernel(point)}, {point.run}: {point.value:,.6g}"
        dot = f'<circle class="k{kind}" cx="{place[point.run]}" cy="{y}" r="3">'
        parts.append(f"{dot}<title>{escape(visible_field(told))}</title></circle>")
    if runs:
        day = (f"{run[:4]}-{run[4:6]}-{run[6:8]}" for run in (runs[0], runs[-1]))
        first, last = day
        y = _HEIGHT - _BOTTOM + 16
        parts.append(f'<text class="soft" x="{_LEFT}" y="{y}">{escape(first)}</text>')
        parts.append(f'<text class="soft" x="{_WIDTH - _RIGHT}" y="{y}" text-anchor="end">{escape(last)}</text>')
    parts += _legend(kernels)
    label = quoteattr(visible_field(f"{name}: {len(points)} boots of {len(runs)} runs"))
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
    return f'<svg class="dots" {size} role="img" aria-label={label}>{"".join(parts)}</svg>'


def _kernel(point: Point) -> str:
    return f"{point.kernel} {point.series}".strip() or "?"


def _legend(kernels: Sequence[str]) -> list[str]:
    parts, x, y = [], _LEFT, _HEIGHT - 8
    for number, name in enumerate(kernels):
        width = 24 + 6.4 * len(name)
        if x + width > _WIDTH:
            parts.append(f'<text class="soft" x="{x}" y="{y}">…</text>')
            break
        parts.append(f'<circle class="k{number % _COLORS}" cx="{x + 4}" cy="{y - 4}" r="3"/>')
        parts.append(f'<text class="soft" x="{x + 12}" y="{y}">{escape(visible_field(name))}</text>')
        x += int(width)
    return parts


def _short(value: float) -> str:
    """12, 3.4k, 250M: three digits or so."""
    for factor, word in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g}{word}"
    return f"{value:.3g}"
