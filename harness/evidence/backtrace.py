# SPDX-License-Identifier: GPL-2.0-only
"""The frames in the lines of events, and events with the source lines of their frames. Pure.

Only what is shown of an event changes: its lines and its title. The log, the frames as the kernel printed them and
the fingerprint stay as they are, so that events of kernels with and without line tables are still the same ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from harness.evidence.recognisers import BLOCKED
from harness.evidence.splats import LONGEST_TITLE, Severity, severity, telling
from harness.evidence.stall import CPU
from harness.model.event import Event
from harness.model.frame import Decoded, Frame, SourcePlace

_FRAME = re.compile(
    r"([A-Za-z_][\w.$]{0,120})\+0x([0-9a-f]{1,8})/0x([0-9a-f]{1,8})(?: \[([\w-]{1,60})(?: [0-9a-f]{8,64})?\])?"
)
_POINTER = re.compile(r"\b(?:RIP: (?:0010|0060):|EIP: |pc : )$")
_HAS_LINE = re.compile(r"\S\.[chS]:\d")
_TITLED = (BLOCKED, CPU)  # notes, but of interest for the place alone


def frame_in(text: str) -> Frame | None:
    """The frame that a line of a trace names; None for any other line, and where the kernel gave the line itself."""
    match = _FRAME.search(text) if "+0x" in text else None
    if match is None or _HAS_LINE.search(text):
        return None
    exact = _POINTER.search(text, 0, match.start()) is not None
    return Frame(match[1], int(match[2], 16), int(match[3], 16), match[4] or "", not exact)


def frames_of_events(events: Iterable[Event]) -> tuple[Frame, ...]:
    """All frames that are shown of these events, each once."""
    frames = (frame_in(text) for event in events for text in event.lines)
    return tuple(dict.fromkeys(frame for frame in frames if frame is not None))


def with_places(event: Event, decoded: Decoded) -> Event:
    """The event with FILE:LINE behind each frame, and behind the title the place of the first frame of interest."""
    frames = [frame_in(text) for text in event.lines]
    if not any(frames):
        return event
    lines = tuple(_line(text, frame, decoded) for text, frame in zip(event.lines, frames, strict=True))
    if decoded.problem:
        lines = (*lines, f"[not decoded: {decoded.problem}]")
    return replace(event, lines=lines, title=_title(event, frames, decoded))


def _line(text: str, frame: Frame | None, decoded: Decoded) -> str:
    """`foo+0x1/0x2 [m] (inner.h:3 inner, foo.c:4)`: innermost first, as the stack goes; `(?)` for what is unsure."""
    if frame is None or frame not in decoded.places:
        return text
    places = decoded.places[frame]
    if not places:
        return f"{text} (?)"
    told = [*(f"{place} {place.function}" for place in places[:-1]), str(places[-1])]
    return f"{text} ({', '.join(told)})"


def _title(event: Event, frames: Iterable[Frame | None], decoded: Decoded) -> str:
    if (severity(event.kind) is Severity.NOTE and event.kind not in _TITLED) or _HAS_LINE.search(event.title):
        return event.title
    for text, frame in zip(event.lines, frames, strict=False):
        places = decoded.places.get(frame, ()) if frame is not None else ()
        if telling(text):
            return _with_place(event.title, places[-1])[:LONGEST_TITLE] if places else event.title
    return event.title


def _with_place(title: str, place: SourcePlace) -> str:
    return f"{title} [{place}]" if place.function in title else f"{title} [in {place.function}, {place}]"
