# SPDX-License-Identifier: GPL-2.0-only
"""The one way to rich: consoles whose words, whatever they quote, cannot move a cursor or forge a line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape as _escape_markup
from rich.segment import Segment

from harness.model.visible import visible, visible_field


class _Console(Console):
    """What is rendered is made harmless once more where it leaves: only rich's own codes reach the terminal."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def console_on(file: IO[str], *, color: bool | None = None, quiet: bool = False) -> Console:
    """A console on the file; plain where that is no terminal, unless `color` says otherwise."""
    # The program's own streams (cli/streams.py) would make text of rich's codes, too.
    return _Console(
        file=getattr(file, "underneath", file), force_terminal=color, quiet=quiet, highlight=False, soft_wrap=True
    )


def plain(text: object) -> str:
    """Somebody's words as a part of a line of ours, with no markup in them."""
    return _escape_markup(visible_field(str(text)))
