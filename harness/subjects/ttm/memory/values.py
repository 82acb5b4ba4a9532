# SPDX-License-Identifier: GPL-2.0-only
"""TTM's devices, lists and pools in a memory image.

The kernel that it is of may have been broken, or hostile: any number may be garbage, and any list may have been torn.
`problem` says so where a walk had to end early; addresses are the kernel's own.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PageVector:
    """The pages of a ttm_tt: `flags` without their prefix; of `size` entries so many are pages, so many handles of a
    backup. `unread`: the vector could not be read.
    """

    flags: tuple[str, ...]
    caching: str
    size: int
    pages: int
    handles: int
    unread: bool = False
    restoring: bool = False  # a restore was interrupted

    @property
    def hidden(self) -> bool:
        """What is swapped out or backed up is on no list of walks."""
        return bool({"SWAPPED", "BACKED_UP"} & set(self.flags))


@dataclass(frozen=True, slots=True)
class BufferObject:
    """`memory` is the type in which it lies, -1 without a resource; `bulk` the address of its bulk move, 0 for none;
    `owner` the task that holds its lock, `waiters` those that wait for that.
    """

    address: int
    size: int
    memory: int
    priority: int
    pins: int
    deleted: bool
    bulk: int
    vector: PageVector | None
    owner: str = ""
    waiters: tuple[str, ...] = ()

    @property
    def hidden(self) -> bool:
        """It belongs on the list that no walk goes along."""
        return self.pins > 0 or (self.vector is not None and self.vector.hidden)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A walk: its mark is on some list; it goes along those of the memory type, from this priority on."""

    address: int
    memory: int
    priority: int
    bulk: int


@dataclass(frozen=True, slots=True)
class Place:
    """One thing on a list: an object's resource, or the mark of a walk. `wrong` says why it does not belong there."""

    address: int
    object: BufferObject | None = None
    cursor: Cursor | None = None
    wrong: str = ""


@dataclass(frozen=True, slots=True)
class LruList:
    """`memory` is -1 for the list of what no walk is to see, and `name` what the kernel calls that."""

    name: str
    memory: int
    priority: int
    places: tuple[Place, ...]
    problem: str = ""

    @property
    def objects(self) -> int:
        return sum(place.object is not None for place in self.places)

    @property
    def cursors(self) -> int:
        return sum(place.cursor is not None for place in self.places)


@dataclass(frozen=True, slots=True)
class Manager:
    """Of one memory type; `size` and `usage` in bytes, as the kernel counts them."""

    memory: int
    functions: str
    uses_tt: bool
    size: int
    usage: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """The members of a bulk move of one memory type and priority, from the resource `first` to `last`."""

    memory: int
    priority: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class BulkMove:
    """`members` counts the objects on lists that are of it, `cursors` are the walks that stand in it."""

    address: int
    members: int
    stretches: tuple[Stretch, ...]
    cursors: tuple[Cursor, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class TtmDevice:
    address: int
    name: str
    managers: tuple[Manager, ...]
    lists: tuple[LruList, ...]
    bulk_moves: tuple[BulkMove, ...]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Pool:
    """Chunks of 2**order pages that wait for their next use."""

    name: str
    order: int
    chunks: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Ttm:
    """All of it. `objects` is TTM's own count, -1 without TTM; `pooled` the pages of all pools by TTM's count, of at
    most `pool_limit`. `problem` is of the list of devices.
    """

    devices: tuple[TtmDevice, ...]
    objects: int
    pools: tuple[Pool, ...]
    pooled: int
    pool_limit: int
    problem: str = ""
