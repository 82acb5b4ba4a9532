# SPDX-License-Identifier: GPL-2.0-only
"""What an image says of TTM, in words."""

from __future__ import annotations

from collections.abc import Iterator

from harness.model.memory import Line, Part, Section
from harness.model.units import about_size

from .values import BufferObject, BulkMove, Cursor, LruList, Place, Pool, Ttm, TtmDevice

_PAGE = 4096


def part_of(ttm: Ttm) -> Part:
    """All of it; the few lines are what is on lists, and what stands where it does not belong."""
    sections = {
        "devices": map(_device, ttm.devices) if ttm.devices else (_no_device(ttm),),
        "lists": (_list(one, device) for device in ttm.devices for one in _filled(device)),
        "bulk-moves": (_bulk_move(bulk, device) for device in ttm.devices for bulk in device.bulk_moves),
        "pools": _pools(ttm),
        "locks": _locks(ttm),
        "problems": _problems(ttm),
    }
    return Part(tuple(Section(name, tuple(lines)) for name, lines in sections.items()), tuple(_short(ttm)))


def _short(ttm: Ttm) -> Iterator[Line]:
    yield from map(_short_device, ttm.devices)
    if ttm.objects >= 0:
        yield Line(f"TTM counts {ttm.objects} objects; its pools have {_pages(ttm.pooled)}")
    yield from _problems(ttm)


def _problems(ttm: Ttm) -> Iterator[Line]:
    if ttm.problem:
        yield Line(f"TTM's devices: {ttm.problem}")


def _no_device(ttm: Ttm) -> Line:
    return Line("TTM has no device" if ttm.objects >= 0 else "TTM is not there")


def _name(device: TtmDevice) -> str:
    return f"device {device.address:#x} ({device.name})"


def _filled(device: TtmDevice) -> list[LruList]:
    return [one for one in device.lists if one.places or one.problem]


def _short_device(device: TtmDevice) -> Line:
    lists = _filled(device)
    told = ", ".join(f"{_count(one)} on {_list_name(one)}" for one in lists)
    below: list[Line] = []
    for one in lists:
        below += [Line(f"{_list_name(one)}: {one.problem}")] if one.problem else []
        below += [_place(place) for place in one.places if place.wrong]
    return Line(f"{_name(device)}: {device.problem or told or 'nothing on its lists'}", below=tuple(below))


def _count(one: LruList) -> str:
    words = [f"{one.objects} object{'s' if one.objects != 1 else ''}"] if one.objects or not one.cursors else []
    words += [f"{one.cursors} walk{'s' if one.cursors != 1 else ''}"] if one.cursors else []
    return " and ".join(words)


def _list_name(one: LruList) -> str:
    return f"the list `{one.name}`" if one.memory < 0 else f"the list of {one.name}"


def _device(device: TtmDevice) -> Line:
    managers = []
    for manager in device.managers:
        size = f" of {about_size(manager.size)}" if manager.size else ""
        tt = ", for ttm_tt" if manager.uses_tt else ""
        used = f"{about_size(manager.usage)}{size} in use{tt} ({manager.functions})"
        managers.append(Line(f"memory {manager.memory}: {used}"))
    return Line(f"{_name(device)}{f': {device.problem}' if device.problem else ''}", below=tuple(managers))


def _list(one: LruList, device: TtmDevice) -> Line:
    below = (*((Line(one.problem),) if one.problem else ()), *map(_place, one.places))
    return Line(f"{_list_name(one)} of {_name(device)}: {_count(one)}", below=below)


def _place(place: Place) -> Line:
    if place.object is not None:
        return Line(_object(place.object), place.wrong)
    if place.cursor is not None:
        return Line(_cursor(place.cursor), place.wrong)
    return Line(f"{place.address:#x}", place.wrong)


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


def _bulk_move(bulk: BulkMove, device: TtmDevice) -> Line:
    empty = ", empty: no stretch of any list is its own" if not bulk.stretches else ""
    stretches = (
        f"memory {one.memory}, priority {one.priority}: resources {one.first:#x} to {one.last:#x}"
        for one in bulk.stretches
    )
    below = (*((bulk.problem,) if bulk.problem else ()), *stretches, *map(_cursor, bulk.cursors))
    said = f"bulk move {bulk.address:#x} of {_name(device)}: {bulk.members} objects name it{empty}"
    return Line(said, below=tuple(map(Line, below)))


def _pages(count: int) -> str:
    return f"{count} pages ({about_size(count * _PAGE)})" if count >= 0 else "an unknown number of pages"


def _pools(ttm: Ttm) -> Iterator[Line]:
    by_name: dict[str, list[Pool]] = {}
    for pool in ttm.pools:
        by_name.setdefault(pool.name, []).append(pool)
    for name, pools in by_name.items():
        held = [f"{pool.chunks} of order {pool.order}{pool.problem and f' ({pool.problem})'}" for pool in pools]
        filled = [words for words, pool in zip(held, pools, strict=True) if pool.chunks or pool.problem]
        yield Line(f"{name}: {', '.join(filled) or 'empty'}")
    if by_name:
        summed = sum(pool.chunks << pool.order for pool in ttm.pools if 0 <= pool.order < 64)
        counted = f"TTM counts {_pages(ttm.pooled)} of at most {_pages(ttm.pool_limit)}"
        yield Line(f"together {_pages(summed)}; {counted}")


def _locks(ttm: Ttm) -> Iterator[Line]:
    found = (place.object for device in ttm.devices for one in device.lists for place in one.places)
    held = {one.address: one for one in found if one is not None and (one.owner or one.waiters)}
    for one in held.values():
        waiters = f"; it is waited for by {', '.join(one.waiters)}" if one.waiters else ""
        yield Line(f"object {one.address:#x}: locked by {one.owner or 'nobody'}{waiters}")
