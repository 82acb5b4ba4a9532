# SPDX-License-Identifier: GPL-2.0-only
"""What a memory image says, as text: a few lines for a report, or all of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.model.memory import BufferObject, BulkMove, Cursor, LruList, Memory, Place, Pool, Task, TtmDevice
from harness.model.units import about_size

MOST_LINES = 200  # of one list
_SHORT_LINES = 24
_PAGE = 4096


def short_lines(memory: Memory) -> tuple[str, ...]:
    """The short form: devices, what is on lists, what stands where it does not belong, pools, shrinkers, locks."""
    lines = [*(line for device in memory.devices for line in _short_device(device))]
    if memory.objects >= 0:
        lines.append(f"TTM counts {memory.objects} objects; its pools have {_pages(memory.pooled)}")
    lines += [_shrinker_line(memory)]
    blocked = [task for task in memory.tasks if task.state == "D" or task.waits]
    lines += [_task_line(task) for task in blocked[:4]]
    if len(blocked) > 4:
        lines.append(f"and {len(blocked) - 4} more tasks wait uninterruptibly or for a lock")
    lines += memory.problems
    return tuple(lines[:_SHORT_LINES])


def sections(memory: Memory) -> dict[str, tuple[str, ...]]:
    """The whole of it, by what somebody asks for."""
    return {
        "devices": tuple(line for device in memory.devices for line in _device(device)) or (_no_ttm(memory),),
        "lists": tuple(line for device in memory.devices for line in _lists(device)),
        "bulk-moves": tuple(line for device in memory.devices for line in _bulk_moves(device)),
        "pools": tuple(_pools(memory)),
        "shrinkers": tuple(_shrinkers(memory)),
        "locks": tuple(_locks(memory)),
        "tasks": tuple(_tasks(memory)),
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


def _no_ttm(memory: Memory) -> str:
    return "TTM has no device" if memory.objects >= 0 else "TTM is not there"


def _name(device: TtmDevice) -> str:
    return f"device {device.address:#x} ({device.name})"


def _short_device(device: TtmDevice) -> Iterator[str]:
    lists = [one for one in device.lists if one.places or one.problem]
    told = ", ".join(f"{_count(one)} on {_list_name(one)}" for one in lists)
    yield f"{_name(device)}: {device.problem or told or 'nothing on its lists'}"
    for one in lists:
        if one.problem:
            yield f"  {_list_name(one)}: {one.problem}"
        yield from (f"  {_place(place)}" for place in one.places if place.wrong)


def _count(one: LruList) -> str:
    words = [f"{one.objects} object{'s' if one.objects != 1 else ''}"] if one.objects or not one.cursors else []
    words += [f"{one.cursors} walk{'s' if one.cursors != 1 else ''}"] if one.cursors else []
    return " and ".join(words)


def _list_name(one: LruList) -> str:
    return f"the list `{one.name}`" if one.memory < 0 else f"the list of {one.name}"


def _device(device: TtmDevice) -> Iterator[str]:
    yield f"{_name(device)}{f': {device.problem}' if device.problem else ''}"
    for manager in device.managers:
        size = f" of {about_size(manager.size)}" if manager.size else ""
        tt = ", for ttm_tt" if manager.uses_tt else ""
        yield f"  memory {manager.memory}: {about_size(manager.usage)}{size} in use{tt} ({manager.functions})"


def _lists(device: TtmDevice) -> Iterator[str]:
    for one in device.lists:
        if not one.places and not one.problem:
            continue
        yield f"{_list_name(one)} of {_name(device)}: {_count(one)}"
        for place in one.places[:MOST_LINES]:
            yield f"  {_place(place)}"
        if len(one.places) > MOST_LINES:
            yield f"  and {len(one.places) - MOST_LINES} more"
        if one.problem:
            yield f"  {one.problem}"


def _place(place: Place) -> str:
    what = f"{place.address:#x}"
    if place.object is not None:
        what = _object(place.object)
    elif place.cursor is not None:
        what = _cursor(place.cursor)
    return f"{what}{f'  WRONG: {place.wrong}' if place.wrong else ''}"


def _cursor(cursor: Cursor) -> str:
    where = (
        f"memory {cursor.memory}, priority {cursor.priority}" if cursor.memory >= 0 else f"priority {cursor.priority}"
    )
    bulk = f", in the bulk move {cursor.bulk:#x}" if cursor.bulk else ""
    return f"a walk {cursor.address:#x} along {where}{bulk}"


def _object(found: BufferObject) -> str:
    words = [f"object {found.address:#x}", about_size(found.size), f"memory {found.memory}"]
    if found.priority:
        words.append(f"priority {found.priority}")
    if found.pins:
        words.append(f"pinned {found.pins} x")
    if found.deleted:
        words.append("deleted")
    if found.bulk:
        words.append(f"bulk move {found.bulk:#x}")
    if (vector := found.vector) is not None:
        words.append("|".join(vector.flags) or "no flags")
        words.append(f"{vector.caching}, {vector.pages} pages and {vector.handles} handles of {vector.size}")
        words += ["cannot be read"] * vector.unread + ["a restore was interrupted"] * vector.restoring
    if found.owner:
        words.append(f"locked by {found.owner}")
    return ", ".join(words)


def _bulk_moves(device: TtmDevice) -> Iterator[str]:
    for bulk in device.bulk_moves:
        yield from _bulk_move(bulk, device)


def _bulk_move(bulk: BulkMove, device: TtmDevice) -> Iterator[str]:
    empty = ", empty: no stretch of any list is its own" if not bulk.stretches else ""
    yield f"bulk move {bulk.address:#x} of {_name(device)}: {bulk.members} objects name it{empty}"
    for one in bulk.stretches:
        yield f"  memory {one.memory}, priority {one.priority}: resources {one.first:#x} to {one.last:#x}"
    for cursor in bulk.cursors:
        yield f"  {_cursor(cursor)}"
    if bulk.problem:
        yield f"  {bulk.problem}"


def _pages(count: int) -> str:
    return f"{count} pages ({about_size(count * _PAGE)})" if count >= 0 else "an unknown number of pages"


def _pools(memory: Memory) -> Iterator[str]:
    by_name: dict[str, list[Pool]] = {}
    for pool in memory.pools:
        by_name.setdefault(pool.name, []).append(pool)
    for name, pools in by_name.items():
        held = [f"{pool.chunks} of order {pool.order}{pool.problem and f' ({pool.problem})'}" for pool in pools]
        filled = [words for words, pool in zip(held, pools, strict=True) if pool.chunks or pool.problem]
        yield f"{name}: {', '.join(filled) or 'empty'}"
    if by_name:
        summed = sum(pool.chunks << pool.order for pool in memory.pools if 0 <= pool.order < 64)
        yield f"together {_pages(summed)}; TTM counts {_pages(memory.pooled)} of at most {_pages(memory.pool_limit)}"


def _shrinkers(memory: Memory) -> Iterator[str]:
    for one in memory.shrinkers[:MOST_LINES]:
        counts = "".join(f", {name} {value}" for name, value in one.counts)
        yield f"{one.name}: {one.deferred} deferred{counts}  ({one.count})"


def _shrinker_line(memory: Memory) -> str:
    said = [
        ", ".join((f"{one.name}: {one.deferred} deferred", *(f"{name} {value}" for name, value in one.counts)))
        for one in memory.shrinkers
        if one.counts or one.deferred
    ]
    shown = f"; {'; '.join(said[:4])}" if said else ""
    return f"{len(memory.shrinkers)} shrinkers{shown}"


def _task_line(task: Task) -> str:
    waits = f", waits {task.waits}" if task.waits else ""
    return f"{task.name} (pid {task.pid}), {task.state}{waits}"


def _locks(memory: Memory) -> Iterator[str]:
    held: dict[int, BufferObject] = {}
    for device in memory.devices:
        for one in device.lists:
            for place in one.places:
                if place.object is not None and (place.object.owner or place.object.waiters):
                    held[place.object.address] = place.object
    for found in list(held.values())[:MOST_LINES]:
        waiters = f"; it is waited for by {', '.join(found.waiters)}" if found.waiters else ""
        yield f"object {found.address:#x}: locked by {found.owner or 'nobody'}{waiters}"
    yield from (_task_line(task) for task in memory.tasks if task.waits)


def _tasks(memory: Memory) -> Iterator[str]:
    shown = [task for task in memory.tasks if task.stack or task.state == "D"]
    for task in shown[:MOST_LINES]:
        yield _task_line(task) + (f", CPU {task.cpu}" if task.state == "on CPU" else "")
        yield from (f"  {frame}" for frame in task.stack)
    yield f"{len(memory.tasks)} tasks in all"
