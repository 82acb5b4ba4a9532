# SPDX-License-Identifier: GPL-2.0-only
"""Swap of a machine: its areas as they are asked for, and as the guest found them.

none                                    no swap
disk:1G                                 a virtio disk
slow:1G:4M, slow:1G:100iops             a virtio disk that QEMU throttles to so much a second
zram:512M, zram:512M:zstd               compressed RAM
zswap:1G, zswap:1G:lz4:20%:4M           a disk (here a slow one) behind zswap: compressor, limit of its pool
zram:128M@100+disk:512M@10              several at once; without priorities the first is used first
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from harness.model.errors import UserError
from harness.model.units import KIB, MIB, format_size, parse_size

PAGE = 4 * KIB
SLOW_RATE = 4 * MIB  # bytes a second of a slow disk that names no limit
_LEAST_RATE = 64 * KIB  # below, one page of swap takes longer than the guest's own deadlines
_LEAST_IOPS = 10
_MOST_SIZE = PAGE << 32  # the header counts pages in 32 bits
_MOST_PRIORITY = 32767  # SWAP_FLAG_PRIO_MASK
_MOST_AREAS = 8
_ALGORITHM = re.compile(r"[a-z][a-z0-9-]{0,30}|842", re.ASCII)
_HINT = "write --swap none, disk:1G, zram:512M:zstd, zswap:1G:lz4, slow:1G:4M, or several: zram:128M@100+disk:1G@10"


class SwapKind(StrEnum):
    DISK = "disk"  # a raw virtio disk, sparse on the host
    SLOW = "slow"  # the same, throttled by QEMU
    ZRAM = "zram"  # compressed RAM
    ZSWAP = "zswap"  # a disk, and zswap in front of it


@dataclass(frozen=True, slots=True)
class SwapArea:
    """One area. `size` in bytes; a `priority` of None is the kernel's own choice.

    `algorithm` compresses (zram, zswap; empty: the kernel's default), `pool_percent` is zswap's max_pool_percent
    (0: the default), `bps` (bytes) and `iops` throttle a disk per second (0: not at all), at most one of them.
    """

    kind: SwapKind
    size: int
    priority: int | None = None
    algorithm: str = ""
    pool_percent: int = 0
    bps: int = 0
    iops: int = 0

    def __post_init__(self) -> None:
        def refuse(sentence: str) -> None:
            raise UserError(f"swap {self}: {sentence}", hint=_HINT)

        if self.size < MIB:
            raise UserError(f"swap of {format_size(self.size)} is too small", hint="1M is the least")
        if self.size % PAGE or self.size >= _MOST_SIZE:
            refuse("its size is not in whole pages of 4K" if self.size % PAGE else "it is larger than swap can be")
        if self.priority is not None and not 0 <= self.priority <= _MOST_PRIORITY:
            refuse(f"a priority is 0 to {_MOST_PRIORITY}")
        if self.algorithm and not self.compressed:
            refuse(f"{self.kind} is not compressed, {self.algorithm} has nothing to do")
        if self.algorithm and not _ALGORITHM.fullmatch(self.algorithm):
            refuse("its algorithm is no word")
        if self.pool_percent and self.kind is not SwapKind.ZSWAP:
            refuse("only zswap has a pool with a limit")
        if not 0 <= self.pool_percent <= 100:
            refuse("a pool is limited to 1% to 100% of RAM")
        if (self.bps or self.iops) and self.kind not in (SwapKind.SLOW, SwapKind.ZSWAP):
            refuse("only a slow disk is throttled")
        if self.kind is SwapKind.SLOW and not self.bps and not self.iops:
            refuse("a slow disk has a limit")
        if self.bps and self.iops:
            refuse("a disk is throttled by bytes or by operations, not by both")
        if (self.bps and self.bps < _LEAST_RATE) or (self.iops and self.iops < _LEAST_IOPS):
            refuse(f"a slow disk does at least {format_size(_LEAST_RATE)} or {_LEAST_IOPS} operations a second")

    @property
    def compressed(self) -> bool:
        return self.kind in (SwapKind.ZRAM, SwapKind.ZSWAP)

    @property
    def on_disk(self) -> bool:
        """It has an image on the host."""
        return self.kind is not SwapKind.ZRAM

    @classmethod
    def parse(cls, text: str) -> SwapArea:
        """`KIND:SIZE[:OPTION]…[@PRIORITY]`, the options in any order; UserError otherwise."""
        what, at, priority = text.partition("@")
        kind, *rest = what.split(":")
        if kind not in SwapKind.__members__.values():
            raise UserError(f"swap {text!r} is of no known kind", hint=_HINT)
        if not rest or not rest[0]:
            raise UserError(f"swap {text!r} names no size", hint=f"write --swap {kind}:1G")
        if at and not re.fullmatch(r"\d{1,5}", priority, re.ASCII):
            raise UserError(f"swap {text!r}: {priority!r} is no priority", hint=_HINT)
        options: dict[str, str | int] = {}
        for word in rest[1:]:
            name, value = _option(word, text)
            if name in options:
                raise UserError(f"swap {text!r} says twice what its {name.replace('_', ' ')} is")
            options[name] = value
        if kind == SwapKind.SLOW and not {"bps", "iops"} & options.keys():
            options["bps"] = SLOW_RATE
        return cls(
            SwapKind(kind),
            parse_size(rest[0], "swap size"),
            int(priority) if at else None,
            algorithm=str(options.get("algorithm", "")),
            pool_percent=int(options.get("pool_percent", 0)),
            bps=int(options.get("bps", 0)),
            iops=int(options.get("iops", 0)),
        )

    def __str__(self) -> str:
        words = [str(self.kind), format_size(self.size)]
        words += [self.algorithm] if self.algorithm else []
        words += [f"{self.pool_percent}%"] if self.pool_percent else []
        words += [format_size(self.bps)] if self.bps else []
        words += [f"{self.iops}iops"] if self.iops else []
        return ":".join(words) + (f"@{self.priority}" if self.priority is not None else "")


def _option(word: str, text: str) -> tuple[str, str | int]:
    """A word of an area, told by its form: `zstd`, `20%`, `100iops`, `4M`."""
    if _ALGORITHM.fullmatch(word):
        return "algorithm", word
    if number := re.fullmatch(r"(\d{1,3})%", word, re.ASCII):
        if not int(number[1]):
            raise UserError(f"swap {text!r}: a pool of 0% keeps nothing", hint="write zswap:1G:20%")
        return "pool_percent", int(number[1])
    if number := re.fullmatch(r"(\d{1,9})iops", word, re.ASCII):
        return "iops", _limit(int(number[1]), text)
    return "bps", _limit(parse_size(word, "limit of a disk"), text)


def _limit(value: int, text: str) -> int:
    if not value:
        raise UserError(f"swap {text!r}: a disk that does nothing is no swap", hint=_HINT)
    return value


@dataclass(frozen=True, slots=True)
class Swap:
    """All areas of a machine, none for a machine without swap. Several have each a priority.

    Zswap is the kernel's, not an area's: it is in front of every area, so it is all of them or none.
    """

    areas: tuple[SwapArea, ...] = ()

    def __post_init__(self) -> None:
        if len(self.areas) > _MOST_AREAS:
            raise UserError(f"{len(self.areas)} swap areas are too many", hint=f"{_MOST_AREAS} is the most")
        given = {area.priority is not None for area in self.areas}
        if len(self.areas) > 1 and False in given:
            raise UserError(
                f"swap {self}: not every area has a priority",
                hint="give each a priority or none: zram:128M@100+disk:512M@10, zram:128M+disk:512M",
            )
        ways = {(area.kind is SwapKind.ZSWAP and (area.algorithm, area.pool_percent)) for area in self.areas}
        if len(ways) > 1:
            raise UserError(
                f"swap {self}: zswap is in front of every area, in one way",
                hint="make all of them zswap with the same words: zswap:512M:lz4+zswap:1G:lz4:4M",
            )

    @property
    def size(self) -> int:
        """All areas together, in bytes; 0 exactly when there is none."""
        return sum(area.size for area in self.areas)

    @property
    def zswap(self) -> SwapArea | None:
        """An area that says how zswap is to be, if it is to be at all."""
        return next((area for area in self.areas if area.kind is SwapKind.ZSWAP), None)

    @classmethod
    def parse(cls, text: str) -> Swap:
        """`none`, or areas joined by `+`; UserError otherwise. Without priorities the first area is the highest."""
        if text == "none":
            return cls()
        if text.startswith("none:"):
            raise UserError(f"swap {text!r}: none has no size")
        areas = tuple(SwapArea.parse(part) for part in text.split("+"))
        if len(areas) > 1 and all(area.priority is None for area in areas):
            areas = tuple(replace(area, priority=len(areas) - at) for at, area in enumerate(areas, 1))
        return cls(areas)

    def __str__(self) -> str:
        return "+".join(map(str, self.areas)) or "none"


@dataclass(frozen=True, slots=True)
class SwapFacts:
    """What came of one area. `size` in bytes, 0 if it is not in use; `algorithm` as the kernel has it, with those
    that it could have had; `rate` is what a throttled disk did in a second, in the unit of its limit.
    """

    size: int
    priority: int = 0
    rate: int = 0
    algorithm: str = ""
    algorithms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ZswapFacts:
    """/sys/module/zswap/parameters, as far as a machine asks for them."""

    enabled: bool
    compressor: str
    pool_percent: int
