# SPDX-License-Identifier: GPL-2.0-only
"""The symbols of a vmlinux or a .ko, as kallsyms counts them, from the ELF file alone (64-bit, little-endian).

Only what backtraces need: which addresses a function of that name and size may have. The kernel prints as the size of
a function the distance to whatever symbol comes next, so that padding belongs to it.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from harness.model.errors import UserError

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATABLE = 1
_SYMTAB = 2
_EXECUTABLE = 0x4  # SHF_EXECINSTR
_CODE_TYPES = (0, 2)  # NOTYPE (assembler), FUNC
_UNLISTED = (b".L", b"$", b"__pfx_", b"__kcfi_typeid_", b"__crc_")  # not in kallsyms (scripts/mksysmap)
_RESERVED = 0xFF00  # section indices from here on are no sections


class CodePlace(NamedTuple):
    """Where a function begins: an address, in a .ko one within `section`."""

    section: str
    address: int


class _Section(NamedTuple):
    name: str
    type: int
    flags: int
    offset: int
    size: int
    link: int


class _Symbol(NamedTuple):
    section: int
    address: int
    size: int


@dataclass(frozen=True, slots=True)
class ElfObject:
    """The symbols of one object that were asked for, and the addresses of all."""

    path: Path
    relocatable: bool
    has_lines: bool
    _names: tuple[str, ...]
    _symbols: dict[str, tuple[_Symbol, ...]]
    _addresses: dict[int, list[int]]

    def places(self, function: str, size: int) -> tuple[CodePlace, ...]:
        """The places of the functions of that name whose size is the one printed; several where they cannot be told
        apart, none where there is no such function.
        """
        found = self._symbols.get(function, ())
        exact = [one for one in found if self._distance(one) == size]
        fitting = exact or [one for one in found if self._may_be(one, size)]
        return tuple(dict.fromkeys(CodePlace(self._names[one.section], one.address) for one in fitting))

    def landmark(self, function: str) -> CodePlace | None:
        """Where the only function of that name begins."""
        found = self._symbols.get(function, ())
        return CodePlace(self._names[found[0].section], found[0].address) if len(found) == 1 else None

    def _distance(self, symbol: _Symbol) -> int | None:
        """To the next symbol of its section; None behind the last one."""
        addresses = self._addresses[symbol.section]
        after = bisect_right(addresses, symbol.address)
        return addresses[after] - symbol.address if after < len(addresses) else None

    def _may_be(self, symbol: _Symbol, size: int) -> bool:
        """Not kallsyms' size to the byte, but who knows: what comes behind it is in another section."""
        return symbol.size > 0 and symbol.size <= size and self._distance(symbol) is None


def read_object(path: Path, functions: Collection[str]) -> ElfObject:
    """The object with what is known of those functions. UserError when it is no such file or has no symbols."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return _read(path, data, functions)
    except (struct.error, IndexError, ValueError) as error:
        raise UserError(
            f"{path} is no ELF object of a 64-bit little-endian kernel ({error})",
            hint="a vmlinux or a .ko of the build is wanted, not what is booted",
        ) from error


def _read(path: Path, data: bytes, functions: Collection[str]) -> ElfObject:
    ident, kind, _, _, _, _, table, _, _, _, _, entry, count, names_at = _HEADER.unpack_from(data)
    if ident[:6] != b"\x7fELF\x02\x01" or entry != _SECTION.size:
        raise ValueError("another format")
    sections = _sections(data, table, count, names_at)
    symtab = next((one for one in sections if one.type == _SYMTAB), None)
    if symtab is None:
        raise UserError(f"{path} has no symbols", hint="a vmlinux that was not stripped has them")
    strings = sections[symtab.link]
    text = data[strings.offset : strings.offset + strings.size]
    wanted = {name.encode(): name for name in functions}
    symbols: dict[str, list[_Symbol]] = {}
    addresses: dict[int, set[int]] = {at: set() for at, one in enumerate(sections) if one.flags & _EXECUTABLE}
    table_bytes = memoryview(data)[symtab.offset : symtab.offset + symtab.size // _SYMBOL.size * _SYMBOL.size]
    for name_at, info, _, section, address, size in _SYMBOL.iter_unpack(table_bytes):
        if section not in addresses or section >= _RESERVED or info & 15 not in _CODE_TYPES:
            continue
        name = text[name_at : text.find(b"\0", name_at)]
        if not name or name.startswith(_UNLISTED):
            continue
        addresses[section].add(address)
        if name in wanted:
            symbols.setdefault(wanted[name], []).append(_Symbol(section, address, size))
    return ElfObject(
        path=path,
        relocatable=kind == _RELOCATABLE,
        has_lines=any(one.name == ".debug_line" for one in sections),
        _names=tuple(one.name for one in sections),
        _symbols={name: tuple(found) for name, found in symbols.items()},
        _addresses={section: sorted(found) for section, found in addresses.items()},
    )


def _sections(data: bytes, table: int, count: int, names_at: int) -> list[_Section]:
    raw = [_SECTION.unpack_from(data, table + number * _SECTION.size) for number in range(count)]
    _, _, _, _, offset, size, *_ = raw[names_at]
    names = data[offset : offset + size]
    return [
        _Section(names[name : names.find(b"\0", name)].decode("ascii", "replace"), type_, flags, offset, size, link)
        for name, type_, flags, _, offset, size, link, *_ in raw
    ]
