# SPDX-License-Identifier: GPL-2.0-only
"""What a memory image says, as text: a few lines for a report, or all of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from harness.model.memory import KernelTask, Line, Memory, Shrinker

MOST_LINES = 200  # of one list
_SHORT_LINES = 24


def short_lines(memory: Memory) -> tuple[str, ...]:
    """The short form: what the subjects have for it, shrinkers, tasks that are blocked, problems."""
    lines = [line for part in memory.parts.values() for line in _indented(part.short)]
    lines.append(_shrinker_line(memory))
    blocked = [task for task in memory.tasks if task.state == "D" or task.waits]
    lines += map(_task_line, blocked[:4])
    if len(blocked) > 4:
        lines.append(f"and {len(blocked) - 4} more tasks wait uninterruptibly or for a lock")
    lines += memory.problems
    return tuple(lines[:_SHORT_LINES])


def sections(memory: Memory) -> dict[str, tuple[str, ...]]:
    """The whole of it, by what somebody asks for."""
    found: dict[str, list[str]] = {}
    for part in memory.parts.values():
        for section in part.sections:
            found.setdefault(section.name, []).extend(_indented(section.lines))
    for name, lines in _own_sections(memory).items():
        found[name] = found.pop(name, []) + list(lines)  # behind those of the subjects
    return {name: tuple(lines) for name, lines in found.items()}


def _own_sections(memory: Memory) -> dict[str, Iterable[str]]:
    return {
        "shrinkers": _indented(tuple(map(_shrinker, memory.shrinkers))),
        "locks": (_task_line(task) for task in memory.tasks if task.waits),
        "tasks": _tasks(memory),
        "problems": memory.problems,
    }


def text(memory: Memory, wanted: Iterable[str] = ()) -> str:
    """The sections that are wanted, in their own order; all when none is named."""
    asked = set(wanted)
    blocks = []
    for name, lines in sections(memory).items():
        if lines and (not asked or name in asked):
            shown = [f"  {line}" for line in lines]
            blocks.append("\n".join((f"{name}:", *shown)))
    return "\n".join(blocks) + "\n"


def _indented(lines: Sequence[Line], indent: str = "") -> Iterator[str]:
    for line in lines[:MOST_LINES]:
        yield f"{indent}{line.text}{f'  WRONG: {line.wrong}' if line.wrong else ''}"
        yield from _indented(line.below, f"{indent}  ")
    if len(lines) > MOST_LINES:
        yield f"{indent}and {len(lines) - MOST_LINES} more"


def _shrinker(one: Shrinker) -> Line:
    counts = "".join(f", {name} {value}" for name, value in one.counts)
    return Line(f"{one.name}: {one.deferred} deferred{counts}  ({one.count})")


def _shrinker_line(memory: Memory) -> str:
    said = [
        ", ".join((f"{one.name}: {one.deferred} deferred", *(f"{name} {value}" for name, value in one.counts)))
        for one in memory.shrinkers
        if one.counts or one.deferred
    ]
    shown = f"; {'; '.join(said[:4])}" if said else ""
    return f"{len(memory.shrinkers)} shrinkers{shown}"


def _task_line(task: KernelTask) -> str:
    waits = f", waits {task.waits}" if task.waits else ""
    return f"{task.name} (pid {task.pid}), {task.state}{waits}"


def _tasks(memory: Memory) -> Iterator[str]:
    shown = [task for task in memory.tasks if task.stack or task.state == "D"]
    for task in shown[:MOST_LINES]:
        yield _task_line(task) + (f", CPU {task.cpu}" if task.state == "on CPU" else "")
        yield from (f"  {frame}" for frame in task.stack)
    yield f"{len(memory.tasks)} tasks in all"
