# SPDX-License-Identifier: GPL-2.0-only
"""What the memory image of a guest says: tasks and shrinkers, and lines of what the subjects read in it.

The kernel that it is of may have been broken, or hostile: any number may be garbage, and any list may have been torn.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SCHEMA = "ttm-harness/memory/1"


@dataclass(frozen=True, slots=True)
class Line:
    """`wrong` says why what the line is about does not belong where it is; `below` stands indented under the line."""

    text: str
    wrong: str = ""
    below: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """Lines by the name that somebody asks for them by. Sections of one name are shown as one."""

    name: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """What a subject says of an image: all its sections, also those that are empty, and what a report is to have."""

    sections: tuple[Section, ...]
    short: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True)
class Shrinker:
    """`deferred` is what earlier scans left to the next one; `counts` are figures of those that a subject knows."""

    name: str
    count: str
    deferred: int
    counts: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class KernelTask:
    """`state` is a letter, as of ps, or what it is; `waits` says for which lock and who holds it."""

    pid: int
    name: str
    state: str
    cpu: int
    stack: tuple[str, ...] = ()
    waits: str = ""


@dataclass(frozen=True, slots=True)
class Memory:
    """All of it; `parts` by the names of the subjects. Its JSON form is described by reports/schema/."""

    schema: str
    release: str
    shrinkers: tuple[Shrinker, ...]
    tasks: tuple[KernelTask, ...]
    parts: dict[str, Part] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
