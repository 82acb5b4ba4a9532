# SPDX-License-Identifier: GPL-2.0-only
"""The line where a kernel begins to fail: as a table, as a picture, as a page. Both kernels are on one picture."""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from harness.model.compare import Leg
from harness.model.frontier import Axis, FrontierOutput, FrontierPoint, FrontierSide, Need, Standing
from harness.model.units import format_seconds
from harness.reports.columns import columns
from harness.reports.console import console_on, plain

# Capital letters were seen in a boot, small ones are taken over from the boots around.
_LETTERS = {
    Standing.SURVIVES: "O",
    Standing.FLAKY: "~",
    Standing.FAILS: "X",
    Standing.NOTHING: "-",
    Standing.UNKNOWN: "?",
}
# Okabe and Ito's colours, which people see apart who do not see all colours.
_BASE, _TIP, _GAIN, _LOSS, _INK = "#d55e00", "#0072b2", "#c6e7d6", "#f6d5c2", "#333333"
_LEFT, _TOP, _RIGHT, _BOTTOM = 84, 46, 20, 86
_CELL_WIDTH, _CELL_HEIGHT = 72, 40
_MOST_WIDE, _MOST_HIGH = 760, 420
_MOST_TICKS = 16


def print_frontier(output: FrontierOutput, place: Path, file: IO[str], *, color: bool | None = None) -> None:
    console = console_on(file, color=color)
    for line in _table(output):
        console.print(plain(line))
    for side in output.sides:
        console.print()
        console.print(plain(f"{_name(side, output)}: {side.boots} boots"))
        for line in _map(output, side):
            console.print(plain(line))
    console.print()
    console.print(
        plain("O survives, X fails, ~ both, - no evidence, ? not booted; small letters: as all boots around it")
    )
    console.print(plain(_count(output)))
    console.print()
    for sentence in output.sentences:
        console.print(plain(sentence))
    console.print(f"[dim]{plain(place)}/frontier.html[/]")


def _count(output: FrontierOutput) -> str:
    far = "" if output.finished else "; the time was over, so that the line is as fine as that allowed"
    return f"{output.boots} boots made, {output.kept} that were there, {format_seconds(output.seconds)}{far}"


def _name(side: FrontierSide, output: FrontierOutput) -> str:
    if len(output.sides) < 2:
        return side.label
    return f"{'base' if side.leg is Leg.BASE else 'patched'} {side.label}"


def _table(output: FrontierOutput) -> Iterator[str]:
    """For each row, from where on each kernel survives."""
    verb = "survives from" if output.rising else "survives up to"
    head = (output.y.title, *(f"{_name(side, output)} {verb}" for side in output.sides))
    rows = [head]
    for row in reversed(range(len(output.y.values))):
        rows.append((output.y.labels[row], *(_need(side.needs[row], output.x) for side in output.sides)))
    yield from columns(rows)


def _need(need: Need, axis: Axis) -> str:
    if need.place is None:
        return "never" if need.known else "?"
    words = axis.labels[need.place]
    if need.all_of_it:
        return f"{words} (all)"
    return words if need.known else f"{words} or nearer"


def _map(output: FrontierOutput, side: FrontierSide) -> Iterator[str]:
    width = len(output.x.values)
    label = max(map(len, output.y.labels))
    for row in reversed(range(len(output.y.values))):
        letters = (_letter(side.point(x, row, width)) for x in range(width))
        yield f"  {output.y.labels[row]:>{label}}  {' '.join(letters)}"
    yield f"  {'':>{label}}  {output.x.title} {output.x.labels[0]} to {output.x.labels[-1]}"


def _letter(point: FrontierPoint) -> str:
    letter = _LETTERS[point.standing]
    return letter if point.seen else letter.lower()


def frontier_svg(output: FrontierOutput) -> str:
    """The picture: each kernel's line, every boot as a mark, and what one has over the other as a ground."""
    return "\n".join(_Picture(output).lines()) + "\n"


class _Picture:
    def __init__(self, output: FrontierOutput) -> None:
        self._output = output
        self._columns, self._rows = len(output.x.values), len(output.y.values)
        self._wide = min(_CELL_WIDTH, _MOST_WIDE / self._columns)
        self._high = min(_CELL_HEIGHT, _MOST_HIGH / self._rows)
        self._width = _LEFT + max(self._wide * self._columns, 480) + _RIGHT
        self._height = _TOP + self._high * self._rows + _BOTTOM

    def _x(self, place: float) -> float:
        """The middle of a column; half a place is its edge."""
        return _LEFT + (place + 0.5) * self._wide

    def _y(self, place: float) -> float:
        return _TOP + (self._rows - place - 0.5) * self._high

    def lines(self) -> Iterator[str]:
        size = f"{self._width:.0f} {self._height:.0f}"
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" width="{self._width:.0f}" '
            f'height="{self._height:.0f}" font-family="sans-serif" font-size="12" fill="{_INK}">'
        )
        title = self._output.sentences[0] if self._output.sentences else ""
        yield f"<title>{html.escape(title)}</title>"
        yield f'<rect width="{self._width:.0f}" height="{self._height:.0f}" fill="#ffffff"/>'
        if len(self._output.sides) > 1:
            yield from self._ground()
        yield from self._frame()
        for number, side in enumerate(self._output.sides):
            color = _TIP if side.leg is Leg.TIP else _BASE
            yield from self._marks(side, color, number)
            yield from self._line(side, color, number)
        yield from self._words()
        yield "</svg>"

    def _ground(self) -> Iterator[str]:
        """Where one of the two survives and the other does not."""
        base, tip = self._output.sides
        for y in range(self._rows):
            for x in range(self._columns):
                here = [side.point(x, y, self._columns).standing for side in (base, tip)]
                color = {(Standing.FAILS, Standing.SURVIVES): _GAIN, (Standing.SURVIVES, Standing.FAILS): _LOSS}.get(
                    (here[0], here[1])
                )
                if color:
                    yield (
                        f'<rect x="{self._x(x - 0.5):.1f}" y="{self._y(y + 0.5):.1f}" width="{self._wide:.1f}" '
                        f'height="{self._high:.1f}" fill="{color}"/>'
                    )

    def _frame(self) -> Iterator[str]:
        right, bottom = self._x(self._columns - 0.5), self._y(-0.5)
        yield (
            f'<rect x="{_LEFT}" y="{_TOP}" width="{right - _LEFT:.1f}" height="{bottom - _TOP:.1f}" fill="none" '
            f'stroke="#999999"/>'
        )
        every = max(1, -(-self._columns // _MOST_TICKS))
        for x in range(0, self._columns, every):
            yield _text(self._x(x), bottom + 16, self._output.x.labels[x], "middle", 10)
        every = max(1, -(-self._rows // _MOST_TICKS))
        for y in range(0, self._rows, every):
            yield _text(_LEFT - 6, self._y(y) + 4, self._output.y.labels[y], "end", 10)
        yield _text((_LEFT + right) / 2, bottom + 34, self._output.x.title, "middle", 12)
        middle = (_TOP + bottom) / 2
        yield (
            f'<text x="20" y="{middle:.1f}" text-anchor="middle" transform="rotate(-90 20 {middle:.1f})">'
            f"{html.escape(self._output.y.title)}</text>"
        )

    def _marks(self, side: FrontierSide, color: str, number: int) -> Iterator[str]:
        """A ring where it survived, a cross where it failed, both where it did both."""
        shift = (number - 0.5) * self._wide * 0.36 if len(self._output.sides) > 1 else 0.0
        for point in side.points:
            if not point.seen:
                continue
            x, y, size = self._x(point.x) + shift, self._y(point.y), 3.5
            cross = f"l{2 * size} {2 * size}m0 -{2 * size}l-{2 * size} {2 * size}"
            tell = html.escape(
                f"{_name(side, self._output)}, {self._output.x.at(point.x)}, "
                f"{self._output.y.at(point.y)}: {point.tally}"
            )
            yield f'<g stroke="{color}" stroke-width="1.5" fill="none"><title>{tell}</title>'
            if point.tally.good:
                yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size}" fill="#ffffff"/>'
            if point.tally.bad:
                yield f'<path d="M{x - size:.1f} {y - size:.1f}{cross}"/>'
            if not point.tally.evidence:
                yield f'<path d="M{x - size:.1f} {y:.1f}h{2 * size}" stroke-dasharray="2 2"/>'
            yield "</g>"

    def _line(self, side: FrontierSide, color: str, number: int) -> Iterator[str]:
        """Along the edges of the first columns that survive, where that is known; the second kernel's a little beside
        the first's.
        """
        path, last = [], None
        for need in side.needs:
            if need.place is None and not need.known:
                last = None  # nobody knows where it goes
                continue
            if need.place is None:
                edge = self._x(self._columns - 0.5 if self._output.rising else -0.5)
            else:
                edge = self._x(need.place + (-0.5 if self._output.rising else 0.5))
            edge += 1.5 * (2 * number - 1) if len(self._output.sides) > 1 else 0
            bottom, top = self._y(need.row - 0.5), self._y(need.row + 0.5)
            path.append(f"{'M' if last is None else 'L'}{edge:.1f} {bottom:.1f}L{edge:.1f} {top:.1f}")
            last = edge
        dash = ' stroke-dasharray="7 4"' if side.leg is Leg.BASE and len(self._output.sides) > 1 else ""
        yield f'<path d="{"".join(path)}" fill="none" stroke="{color}" stroke-width="3"{dash}/>'

    def _words(self) -> Iterator[str]:
        easier = "right of" if self._output.rising else "left of"
        for number, side in enumerate(self._output.sides):
            color = _TIP if side.leg is Leg.TIP else _BASE
            yield _text(
                _LEFT,
                18 + 16 * number,
                f"{_name(side, self._output)}: survives {easier} this line",
                "start",
                12,
                color,
            )
        y = self._height - 30
        yield _text(_LEFT, y, "○ a boot that survived   × one that failed", "start", 10)
        if len(self._output.sides) > 1:
            yield f'<rect x="{_LEFT + 230}" y="{y - 9:.1f}" width="14" height="10" fill="{_GAIN}"/>'
            yield _text(_LEFT + 248, y, "only the patched kernel survives", "start", 10)
        if self._output.sentences:
            yield _text(_LEFT, y + 18, self._output.sentences[0], "start", 11)


def _text(x: float, y: float, text: str, anchor: str, size: int, color: str = _INK) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{color}">'
        f"{html.escape(text)}</text>"
    )


def frontier_html(output: FrontierOutput) -> str:
    """A page of its own: the sentences, the picture, the table, every boot."""
    head = "".join(f"<th>{html.escape(one)}</th>" for one in ("kernel", output.x.title, output.y.title, "", "boots"))
    rows = "\n".join(_rows(output))
    said = "".join(f"<p><b>{html.escape(one)}</b></p>" for one in output.sentences)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>ttm-harness frontier</title>\n'
        "<style>body{font-family:sans-serif;max-width:60em;margin:2em auto;color:#333}"
        "table{border-collapse:collapse;font-size:90%}td,th{padding:.2em .7em;border-bottom:1px solid #ddd;"
        "text-align:left}code{white-space:pre-wrap}</style></head>\n"
        f"<body><h1>Where it begins to fail</h1>\n{said}\n{frontier_svg(output)}\n"
        f"<p>Bad is {html.escape(output.question)}. {html.escape(_count(output))}.</p>\n"
        f"<p><code>{html.escape(output.command)}</code></p>\n"
        f"<table><tr>{head}</tr>\n{rows}\n</table></body></html>\n"
    )


def _rows(output: FrontierOutput) -> Iterator[str]:
    for side in output.sides:
        for point in side.points:
            if point.seen:
                where = "; ".join(dict.fromkeys(sight.words for sight in point.sights))
                cells = (
                    _name(side, output),
                    output.x.labels[point.x],
                    output.y.labels[point.y],
                    str(point.tally),
                    where,
                )
                yield "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"
