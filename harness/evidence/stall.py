# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel answered when a guest that hung was asked where it is: sysrq w, t and l, or an NMI. Pure.

The blocked tasks are events as in any log (splats.py). Here they are told once, although w and t both print them; the
CPUs that were not idle become events, too; and the panic by which the kernel answers the harness's NMI is marked as
that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from harness.evidence.lines import LogLine
from harness.evidence.recognisers import BLOCKED
from harness.evidence.splats import MOST_EXCERPT, fingerprint, frames_of, functions, task_of
from harness.model.event import Event, Span

CPU = "cpu-backtrace"
ASKED = "asked by the harness, of a guest that had stalled"
_NMI_PANIC = "Kernel panic - not syncing: NMI: Not continuing"
_CPU = re.compile(r"NMI backtrace for cpu (\d{1,5})(?P<idle> skipped: idling)?")
_OVER = re.compile(r"NMI backtrace for cpu |sysrq: |Sending NMI from CPU ")
_KERNEL_RIP = re.compile(r"RIP: (?:0010|0060):([A-Za-z_][\w.$]{0,120})\+0x")
_IDLE = re.compile(r"(?:\w*_)?idle(?:_\w+)?$|pv_native_safe_halt|native_safe_halt|mwait_\w+|acpi_safe_halt")
_MOST_TOLD = 3


def stall_events(lines: Sequence[LogLine], events: Sequence[Event], first: int) -> tuple[Event, ...]:
    """The events of a log that answers a stall from line `first` on, in their order."""
    told: set[tuple[str, str]] = set()
    kept: list[Event] = []
    for event in events:
        if event.span.first < first:
            kept.append(event)
        elif event.kind == BLOCKED:
            if (event.task, event.fingerprint) not in told:
                told.add((event.task, event.fingerprint))
                kept.append(replace(event, expected=ASKED))
        elif event.title == _NMI_PANIC:
            kept.append(replace(event, kind=CPU, title=_nmi_title(event), expected=ASKED))
        else:
            kept.append(event)
    kept += _cpus([line for line in lines if line.number >= first])
    return tuple(sorted(kept, key=lambda event: event.span.first))


def suspects(events: Sequence[Event], first: int) -> str:
    """Who may be the cause, in a few words: the blocked tasks and the busy CPUs among the answers."""
    titles = [event.title for event in events if event.span.first >= first and event.kind in (BLOCKED, CPU)]
    more = f" and {len(titles) - _MOST_TOLD} more" if len(titles) > _MOST_TOLD else ""
    return "; ".join(titles[:_MOST_TOLD]) + more


def _cpus(lines: Sequence[LogLine]) -> list[Event]:
    """An event for each CPU in the answer to sysrq l that was not idle."""
    starts = [at for at, line in enumerate(lines) if _OVER.match(line.text)]
    events = []
    for at, end in pairwise((*starts, len(lines))):
        match = _CPU.match(lines[at].text)
        if match is None or match["idle"]:
            continue
        block = lines[at : min(end, at + MOST_EXCERPT)]
        texts = tuple(line.text for line in block)
        place = _interrupted(texts)
        if place is None or _IDLE.fullmatch(place):
            continue
        title = f"CPU {match[1]} was in {place}"
        frames, modules = frames_of(texts)
        mark = fingerprint(CPU, title, functions(texts))
        span = Span(block[0].number, block[-1].number)
        events.append(Event(CPU, title, mark, span, ASKED, texts, "", task_of(texts), modules, frames))
    return events


def _nmi_title(event: Event) -> str:
    return f"the CPU that takes NMIs was in {_interrupted(event.lines) or 'user space'}"


def _interrupted(texts: Sequence[str]) -> str | None:
    """The kernel function that the question broke into: the innermost RIP; None for user space."""
    for text in texts:
        match = _KERNEL_RIP.match(text)
        if match is not None:
            return match[1]
    return None
