# SPDX-License-Identifier: GPL-2.0-only
"""TOML text -> a frozen dataclass, validated: the one reader of all that people write in TOML.

Every mistake is one sentence with the file, the line and the key, and all of them are told at once. What the keys of
a format are, their kinds and defaults, is said by the dataclass that is asked for. The metadata of a field can have
the `key`, where that is a word of Python's, and a function that reads its value (`read_by`).
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

from harness.model.errors import UserError
from harness.model.units import parse_size

if TYPE_CHECKING:
    from cattrs import Converter

T = TypeVar("T")
LARGEST = 4 << 20  # bytes; no file that people write comes near it

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+(?:\s*\.\s*[A-Za-z0-9_-]+)*)\s*=""")
_PART = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)\s*(?:\.|$)""")
_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})", re.ASCII)

Step = str | int
Way = tuple[Step, ...]
Mistake = tuple[Way, str]


class Mistakes(Exception):
    """Several in one value, each with the way to it from there."""

    def __init__(self, found: Iterable[Mistake]) -> None:
        self.found = tuple(found)
        super().__init__(f"{len(self.found)} mistakes")


class Size(int):
    """Bytes, written as people do: "64M"."""


class Version(tuple[int, int]):
    """The first two numbers of a kernel's version, written "7.2"."""

    __slots__ = ()


FIRST, NEVER = Version((0, 0)), Version((9999, 0))
NONE = Size(0)


class Pattern(str):
    """A regular expression."""


def read_toml(kind: type[T], path: Path) -> T:
    """The file as a value; UserError has a line for every mistake, or says why it cannot be read."""
    return parse_toml(kind, text_of(path), str(path))


def text_of(path: Path) -> str:
    """The text of a file that people write; UserError says why it cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise UserError(f"{path} is larger than any such file is", hint="is it the right one?")
        return content.decode("utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error


def parse_toml(kind: type[T], text: str, where: str) -> T:
    """Text -> value; `where` is the file, for the sentences."""
    return structure(kind, to_table(text, where), text, where)


def to_table(text: str, where: str) -> dict[str, Any]:
    """TOML text -> its table; UserError for anything else."""
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise UserError(f"{where} is not TOML that can be read: it is nested too deep") from error
    except ValueError as error:  # also of an integer with thousands of digits
        raise UserError(f"{where} is not TOML: {error}") from error


def structure(kind: type[T], table: dict[str, Any], text: str, where: str, hint: str | None = None) -> T:
    """A table that was read -> value; `text` is what it was read from, for the lines."""
    from cattrs.errors import BaseValidationError

    try:
        return _converter().structure(table, kind)
    except BaseValidationError as error:
        raise refusal(_mistakes(error, ()), text, where, hint) from error


def refusal(mistakes: Iterable[Mistake], text: str, where: str, hint: str | None = None) -> UserError:
    """The error for mistakes in a text, a line for each, in their order."""
    lines = lines_of(text)
    told = sorted((_line(lines, way), f"{_name(way)}{said}") for way, said in mistakes)
    return UserError("\n  ".join(f"{where}:{line}: {said}" for line, said in told), hint=hint)


def read_by(read: Callable[[object], object]) -> dict[str, object]:
    """The metadata of a field whose value is read by a function of the format's own, which may raise UserError."""
    return {"read": read}


def read_each(read: Callable[[object], object]) -> dict[str, object]:
    """The same for a tuple of such values; a value alone is a list of one, and none may be there twice."""

    return read_by(lambda value: each(read, value))


def each(read: Callable[[object], T], value: object) -> tuple[T, ...]:
    """A list of such values, or one alone."""
    found = value if isinstance(value, list) else [value]
    if not found:
        raise UserError("the list is empty", hint="one value or more")
    if len({repr(one) for one in found}) < len(found):
        raise UserError("a value stands there twice")
    return tuple(map(read, found))


def read_keys(value: object, read: Callable[[str, object], T]) -> tuple[T, ...]:
    """A table whose keys are not those of a dataclass, read key by key."""
    if not isinstance(value, dict):
        raise UserError(f"{_shown(value)} is not a table")
    found, wrong = [], []
    for key, one in value.items():
        try:
            found.append(read(key, one))
        except UserError as error:
            wrong.append(((key,), _said(error)))
    if wrong:
        raise Mistakes(wrong)
    return tuple(found)


def lines_of(text: str) -> dict[Way, int]:
    """Where each table and key of a TOML text begins; lines count from 1. What is unclear is left out."""
    found: dict[Way, int] = {}
    counts: dict[Way, int] = {}
    table: Way = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = tuple(_parts(header[2]))
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            found.setdefault((*table, *_parts(key[1])), number)
    return found


def _parts(words: str) -> Iterator[str]:
    for match in _PART.finditer(words):
        yield match[1].strip("\"'")


def _line(lines: dict[Way, int], way: Way) -> int:
    """Of the key, or of what it is in."""
    while way and way not in lines:
        way = way[:-1]
    return lines.get(way, 1)


def _name(way: Way) -> str:
    name = ""
    for step in way:
        name += f"[{step + 1}]" if isinstance(step, int) else f".{step}" if name else step
    return f"{name}: " if name else ""


def _mistakes(error: BaseException, way: Way) -> Iterator[tuple[Way, str]]:
    from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError

    if isinstance(error, ClassValidationError):
        named, others = error.group_exceptions()
        for one, note in named:
            yield from _mistakes(one, (*way, note.name))
        for other in others:
            yield from _mistakes(other, way)
    elif isinstance(error, IterableValidationError):
        items, others = error.group_exceptions()
        for one, place in items:
            yield from _mistakes(one, (*way, place.index))
        for other in others:
            yield from _mistakes(other, way)
    elif isinstance(error, ForbiddenExtraKeysError):
        there = [str(one.metadata.get("key", one.name)) for one in fields(error.cl)] if is_dataclass(error.cl) else []
        for key in sorted(error.extra_fields):
            yield (*way, key), unknown_key(key, there)
    elif isinstance(error, KeyError):
        yield way, "is missing"
    elif isinstance(error, Mistakes):
        yield from (((*way, *below), said) for below, said in error.found)
    elif isinstance(error, UserError):
        yield way, _said(error)
    else:
        yield way, str(error) or type(error).__name__


def _said(error: UserError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message


def unknown_key(key: str, there: Iterable[str]) -> str:
    """The sentence for a key that no format has, with the one that may have been meant."""
    keys = tuple(there)
    near = difflib.get_close_matches(key, keys, n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    return f"there is no such key{meant}; allowed: {', '.join(keys)}"


def as_text(value: object, _: object = None) -> str:
    if not isinstance(value, str):
        raise UserError(f"{_shown(value)} is not a string", hint="write it in quotes")
    return value


def as_integer(value: object, _: object = None) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise UserError(f"{_shown(value)} is not an integer")
    return value


def _integer_or_text(value: object, _: object = None) -> int | str:
    return value if isinstance(value, str) else as_integer(value)


def _number(value: object, _: object = None) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        raise UserError(f"{_shown(value)} is not a number")
    return float(value)


def _truth(value: object, _: object = None) -> bool:
    if not isinstance(value, bool):
        raise UserError(f"{_shown(value)} is neither true nor false")
    return value


def as_size(value: object, _: object = None) -> Size:
    return Size(parse_size(as_text(value)))


def as_version(value: object, _: object = None) -> Version:
    match = _VERSION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise UserError(f"{_shown(value)} is no version", hint='such as "7.2"')
    return Version((int(match[1]), int(match[2])))


def as_pattern(value: object, _: object = None) -> Pattern:
    text = as_text(value)
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise UserError(f"{_shown(value)} is no regular expression: {error}") from error
    return Pattern(text)


def _text_or_word(value: object, kind: type[str]) -> str:
    """cattrs asks the hook of str for enumerations of words, too."""
    if not issubclass(kind, StrEnum):
        return as_text(value)
    if value not in kind.__members__.values():
        raise UserError(f"{_shown(value)} is none of these", hint=", ".join(kind))
    return kind(as_text(value))


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _is_of(container: type[object]) -> Callable[[object], bool]:
    return lambda kind: get_origin(kind) is container


def _hook_of(read: Callable[[object], object] | None) -> Callable[[object, object], object] | None:
    return None if read is None else lambda value, _: read(value)


def _dataclass_hook(converter: Converter, kind: type[Any]) -> Callable[[object, object], object]:
    from cattrs.gen import make_dict_structure_fn, override

    renamed = {
        one.name: override(rename=one.metadata.get("key"), struct_hook=_hook_of(one.metadata.get("read")))
        for one in fields(kind)
        if one.metadata
    }
    inner = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True, **renamed)  # type: ignore[arg-type]  # its other words are no fields of ours

    def hook(value: object, _: object) -> object:
        if not isinstance(value, dict):
            raise UserError(f"{_shown(value)} is not a table")
        return inner(value, kind)

    return hook


@cache
def _converter() -> Converter:
    from cattrs import Converter  # a tenth of a start: only who reads a file of the kind needs it
    from cattrs.errors import IterableValidationError, IterableValidationNote

    converter = Converter(forbid_extra_keys=True)

    def items(value: object, kind: type[tuple[object, ...]]) -> tuple[object, ...]:
        if not isinstance(value, list):
            tables = " of tables, each headed [[...]]" if is_dataclass(get_args(kind)[0]) else ""
            raise UserError(f"{_shown(value)} is not a list{tables}")
        found, wrong = [], []
        for index, one in enumerate(value):
            try:
                found.append(converter.structure(one, get_args(kind)[0]))
            except Exception as error:
                error.add_note(IterableValidationNote(f"at index {index}", index, get_args(kind)[0]))
                wrong.append(error)
        if wrong:
            raise IterableValidationError("in a list", wrong, tuple)
        return tuple(found)

    def table(value: object, kind: type[dict[str, object]]) -> dict[str, object]:
        if not isinstance(value, dict):
            raise UserError(f"{_shown(value)} is not a table")
        found: dict[str, object] = {}
        wrong = []
        for key, one in value.items():
            try:
                found[key] = converter.structure(one, get_args(kind)[1])
            except Exception as error:
                error.add_note(IterableValidationNote(f"at key {key}", key, get_args(kind)[1]))
                wrong.append(error)
        if wrong:
            raise IterableValidationError("in a table", wrong, dict)
        return found

    converter.register_structure_hook_factory(
        lambda kind: isinstance(kind, type) and is_dataclass(kind), lambda kind: _dataclass_hook(converter, kind)
    )
    converter.register_structure_hook_func(_is_of(tuple), items)
    converter.register_structure_hook_func(_is_of(dict), table)
    converter.register_structure_hook_func(lambda kind: kind == int | str, _integer_or_text)
    for kind, hook in (
        (str, _text_or_word), (int, as_integer), (float, _number), (bool, _truth),
        (Size, as_size), (Version, as_version), (Pattern, as_pattern),
    ):  # fmt: skip
        converter.register_structure_hook(kind, hook)
    return converter
