# SPDX-License-Identifier: GPL-2.0-only
"""An image -> TTM's devices: managers, every list with what is on it, bulk moves; and its pools.

What a structure has is asked of its type, never of the kernel's version.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from harness.memory.kernel import UNREADABLE, KernelImage, Object
from harness.memory.tasks import mutex_of

from .places import wrong_cursor, wrong_object
from .values import (
    BufferObject,
    BulkMove,
    Cursor,
    LruList,
    Manager,
    PageVector,
    Place,
    Pool,
    Stretch,
    Ttm,
    TtmDevice,
)

_MOST_DEVICES = 64
_MOST_MEMORIES = 64
_MOST_PRIORITIES = 32
_MOST_ENTRIES = 1 << 20  # of one page vector, 4 GiB
_MOST_READ = 8 << 20  # entries of all vectors together
_MOST_CHUNKS = 1 << 20
_FLAG = "HARNESS_TT_"
_MARK = 1  # enum ttm_lru_item_type: a walk's
_POOLS = ("write_combined", "uncached", "dma32_write_combined", "dma32_uncached")


def read(kernel: KernelImage) -> Ttm:
    """All that the image says of TTM."""
    devices, objects, problem = _Reader(kernel).devices()
    pools, pooled, limit = _pools(kernel)
    return Ttm(devices, objects, pools, pooled, limit, problem)


class _Reader:
    """Reads the devices of an image; each object once."""

    def __init__(self, kernel: KernelImage) -> None:
        self._kernel = kernel
        self._objects: dict[int, BufferObject | None] = {}
        self._entries = 0
        self._flags = {
            name.removeprefix(_FLAG): value for name, value in kernel.enumerators("enum harness_tt_flag").items()
        }
        self._marks = kernel.enumerators("enum ttm_lru_item_type").get("TTM_LRU_HITCH", _MARK)

    def devices(self) -> tuple[tuple[TtmDevice, ...], int, str]:
        """The devices, TTM's own count of objects (-1 without TTM), and what is wrong with the list of devices."""
        try:
            common = self._kernel.at("struct ttm_global", self._kernel.module_symbol("ttm_glob"))
            objects = int(common.bo_count.counter)
            found = self._kernel.ring(int(common.device_list.address_of_()), _MOST_DEVICES)
        except UNREADABLE:
            return (), -1, ""
        devices = (self._device(self._kernel.outer("struct ttm_device", "device_list", at)) for at in found.nodes)
        return tuple(devices), objects, found.problem

    def _device(self, device: Object) -> TtmDevice:
        address = int(device.address_)
        try:
            name = self._kernel.name_of(int(device.funcs))
            managers = tuple(self._managers(device))
            lists = tuple(self._lists(device))
        except UNREADABLE as error:
            return TtmDevice(address, "?", (), (), (), f"it cannot be read: {error}")
        return TtmDevice(address, name, managers, lists, tuple(self._bulk_moves(lists)))

    def _managers_of(self, device: Object) -> Iterator[tuple[int, Object]]:
        for memory in range(min(len(device.man_drv), _MOST_MEMORIES)):
            if pointer := int(device.man_drv[memory]):
                yield memory, self._kernel.at("struct ttm_resource_manager", pointer)

    def _managers(self, device: Object) -> Iterator[Manager]:
        for memory, manager in self._managers_of(device):
            try:
                yield Manager(
                    memory,
                    self._kernel.name_of(int(manager.func)),
                    bool(manager.use_tt),
                    int(manager.size),
                    int(manager.usage),
                )
            except UNREADABLE:
                yield Manager(memory, "cannot be read", False, 0, 0)

    def _lists(self, device: Object) -> Iterator[LruList]:
        for memory, manager in self._managers_of(device):
            for priority in range(min(len(manager.lru), _MOST_PRIORITIES)):
                yield self._list(f"memory {memory}, priority {priority}", manager.lru[priority], memory, priority)
        for name in ("unevictable", "pinned"):
            if self._kernel.has("struct ttm_device", name):
                yield self._list(name, device.member_(name), -1, 0)

    def _list(self, name: str, head: Object, memory: int, priority: int) -> LruList:
        found = self._kernel.ring(int(head.address_of_()))
        places = tuple(self._place(address, memory, priority) for address in found.nodes)
        return LruList(name, memory, priority, places, found.problem)

    def _place(self, address: int, memory: int, priority: int) -> Place:
        kernel = self._kernel
        try:
            item = kernel.outer("struct ttm_lru_item", "link", address)
            if int(item.type) == self._marks:
                cursor = self._cursor(kernel.outer("struct ttm_resource_cursor", "hitch", int(item.address_)))
                return Place(address, cursor=cursor, wrong=wrong_cursor(cursor, memory, priority))
            resource = kernel.outer("struct ttm_resource", "lru", int(item.address_))
            at = int(resource.bo)
            found = self._object(at)
            if found is None:
                return Place(address, wrong=f"its object at {at:#x} cannot be read")
            own = int(kernel.at("struct ttm_buffer_object", at).resource) == int(resource.address_)
            found = found if own else replace(found, memory=int(resource.mem_type))
        except UNREADABLE:
            return Place(address, wrong="it is neither an object's nor a walk's")
        late = not kernel.has("struct ttm_device", "unevictable")  # moved only when it is next used
        return Place(address, found, wrong=wrong_object(found, memory, priority, own=own, moved_late=late))

    def _cursor(self, cursor: Object) -> Cursor:
        has = self._kernel.has
        return Cursor(
            int(cursor.address_),
            int(cursor.mem_type) if has("struct ttm_resource_cursor", "mem_type") else -1,
            int(cursor.priority),
            int(cursor.bulk) if has("struct ttm_resource_cursor", "bulk") else 0,
        )

    def _object(self, address: int) -> BufferObject | None:
        if address not in self._objects:
            try:
                self._objects[address] = self._read(self._kernel.at("struct ttm_buffer_object", address))
            except UNREADABLE:
                self._objects[address] = None
        return self._objects[address]

    def _read(self, found: Object) -> BufferObject:
        resource, vector = int(found.resource), int(found.ttm)
        lock = mutex_of(self._kernel, int(found.base.resv.lock.base.address_of_())) if int(found.base.resv) else None
        return BufferObject(
            address=int(found.address_),
            size=int(found.base.size),
            memory=int(self._kernel.at("struct ttm_resource", resource).mem_type) if resource else -1,
            priority=int(found.priority),
            pins=int(found.pin_count),
            deleted=bool(found.deleted),
            bulk=int(found.bulk_move),
            vector=self._vector(self._kernel.at("struct ttm_tt", vector)) if vector else None,
            owner=lock.owner if lock is not None else "",
            waiters=lock.waiters if lock is not None else (),
        )

    def _vector(self, vector: Object) -> PageVector:
        bits, size = int(vector.page_flags), int(vector.num_pages)
        flags = tuple(name for name, bit in self._flags.items() if bits & bit)
        caching = str(vector.caching.format_(type_name=False)).removeprefix("ttm_")
        restoring = self._kernel.has("struct ttm_tt", "restore") and bool(int(vector.restore))
        if not int(vector.pages):
            return PageVector(flags, caching, size, 0, 0, restoring=restoring)
        self._entries += size
        if size > _MOST_ENTRIES or self._entries > _MOST_READ:
            return PageVector(flags, caching, size, 0, 0, True, restoring)
        try:
            entries = [entry for entry in self._kernel.words(int(vector.pages), size) if entry]
        except UNREADABLE:
            return PageVector(flags, caching, size, 0, 0, True, restoring)
        handles = sum(entry & 1 for entry in entries)  # ttm_backup_page_ptr_is_handle()
        return PageVector(flags, caching, size, len(entries) - handles, handles, False, restoring)

    def _bulk_moves(self, lists: tuple[LruList, ...]) -> Iterator[BulkMove]:
        """Those of the objects on the lists, and of walks."""
        objects = {place.object.address: place.object for one in lists for place in one.places if place.object}
        cursors = [place.cursor for one in lists for place in one.places if place.cursor]
        for address in sorted({one.bulk for one in objects.values()} | {one.bulk for one in cursors} - {0}):
            if address:
                yield self._bulk_move(address, sum(one.bulk == address for one in objects.values()))

    def _bulk_move(self, address: int, members: int) -> BulkMove:
        kernel = self._kernel
        bulk = kernel.at("struct ttm_lru_bulk_move", address)
        try:
            stretches = tuple(
                Stretch(memory, priority, int(position.first), int(position.last))
                for memory in range(min(len(bulk.pos), _MOST_MEMORIES))
                for priority in range(min(len(bulk.pos[memory]), _MOST_PRIORITIES))
                if int((position := bulk.pos[memory][priority]).first) or int(position.last)
            )
            if not kernel.has("struct ttm_lru_bulk_move", "cursor_list"):
                return BulkMove(address, members, stretches)
            found = kernel.ring(int(bulk.cursor_list.address_of_()))
            marks = (kernel.outer("struct ttm_resource_cursor", "bulk_link", node) for node in found.nodes)
            return BulkMove(address, members, stretches, tuple(map(self._cursor, marks)), found.problem)
        except UNREADABLE as error:
            return BulkMove(address, members, (), (), f"it cannot be read: {error}")


def _pools(kernel: KernelImage) -> tuple[tuple[Pool, ...], int, int]:
    """What the global pools have, the pages of all by TTM's own count, and their limit; -1 without TTM."""
    found = []
    for name in _POOLS:
        try:
            first = kernel.module_symbol(f"global_{name}")
            size = kernel.program.type("struct ttm_pool_type").size or 0
        except UNREADABLE:
            continue
        for order in range(_orders(kernel)):
            found.append(_pool(kernel, name, order, first + order * size))
    try:
        pooled = kernel.word(kernel.module_symbol("allocated_pages"))
        limit = kernel.word(kernel.module_symbol("page_pool_size"))
    except UNREADABLE:
        return tuple(found), -1, -1
    return tuple(found), pooled, limit


def _orders(kernel: KernelImage) -> int:
    """NR_PAGE_ORDERS, as the pools of a device have it."""
    try:
        one = kernel.at("struct ttm_pool", 0)
        return min(len(one.caching[0].orders), 64)
    except UNREADABLE:
        return 0


def _pool(kernel: KernelImage, name: str, order: int, address: int) -> Pool:
    one = kernel.at("struct ttm_pool_type", address)
    try:
        if kernel.type_of("struct ttm_pool_type", "pages") == "struct list_lru":
            return Pool(name, order, int(kernel.at("struct list_lru_node", int(one.pages.node)).nr_items.counter))
        chunks = kernel.ring(int(one.pages.address_of_()), _MOST_CHUNKS)
        return Pool(name, order, len(chunks.nodes), chunks.problem)
    except UNREADABLE:
        return Pool(name, order, 0, "it cannot be read")
