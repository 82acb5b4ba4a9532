# SPDX-License-Identifier: GPL-2.0-only
"""Sizes and times as people write them. Sizes are integers of bytes, times are floats of seconds."""

from __future__ import annotations

import re

from harness.model.errors import UserError

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

MOST_SIZE = "1048576T"  # of what a program or a file system counts in 64 bits, and a database keeps
_MOST = 1 << 60

_FACTORS = {"": 1, "B": 1, "K": KIB, "M": MIB, "G": GIB, "T": 1 << 40}
_NUMBER = re.compile(r"[0-9]{1,18}")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([BKMGT]?)(?:I?B)?", re.IGNORECASE)


def whole_number(text: str, otherwise: int = 0) -> int:
    """`12` -> 12, and `otherwise` for no number: `int` refuses 5000 digits, and `isdigit` takes a superscript."""
    return int(text) if _NUMBER.fullmatch(text) else otherwise


def parse_size(text: str, what: str = "size") -> int:
    """`256M`, `1G`, `1.5GiB`, `4096` -> bytes; units are powers of 1024, as QEMU's are."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UserError(f"{what} {text!r} is not a size", hint="write a number and K, M or G, as in 256M")
    size = float(match[1]) * _FACTORS[match[2].upper()]
    if size >= _MOST:
        raise UserError(f"{what} {text[:40]!r} is larger than anything that has a size", hint=f"at most {MOST_SIZE}")
    if size != int(size):
        raise UserError(f"{what} {text!r} is not a whole number of bytes")
    return int(size)


def format_size(size: int) -> str:
    """Bytes -> the shortest exact form that `parse_size` reads back: 268435456 -> `256M`."""
    for unit in "TGMK":
        factor = _FACTORS[unit]
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def format_seconds(seconds: float) -> str:
    """Seconds for people: `0.3 s`, `42 s`, `8 min 05 s`, `2 h 03 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def about_size(size: int) -> str:
    """Bytes for people, to three digits or so: `512 B`, `3.4 MiB`, `120 GiB`."""
    for unit, factor in (("TiB", 1 << 40), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if size >= factor:
            return f"{size / factor:.{1 if size < 10 * factor else 0}f} {unit}"
    return f"{size} B"


_AGES = {"h": 3600, "d": 86400, "w": 7 * 86400}
_AGE = re.compile(r"(\d{1,5})([hdw])")


def parse_age(text: str, what: str = "age") -> int:
    """`12h`, `30d`, `8w` -> seconds."""
    match = _AGE.fullmatch(text.strip())
    if match is None:
        raise UserError(f"{what} {text!r} is not an age", hint="write hours, days or weeks, as in 12h, 30d, 8w")
    return int(match[1]) * _AGES[match[2]]
