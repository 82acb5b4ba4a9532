# SPDX-License-Identifier: GPL-2.0-only
"""The text of a plan -> its axes, validated: harness/plans/README.md is the contract. Reads no file.

Every mistake becomes one sentence with the file, the key and what may stand there; all of them are told at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import get_args, get_origin

from cattrs import Converter
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn

from harness.checkout import data_directory
from harness.kernel.fragments import read_profile
from harness.model.errors import UserError
from harness.model.machine import SETTINGS, Accel, Swap
from harness.model.series import SeriesSpec
from harness.model.toml import to_table, unknown_key
from harness.model.tree import SourceSpec
from harness.model.units import format_size, parse_size
from harness.model.words import parse_globs, parse_words
from harness.suites.registry import registry

MOST_SEED = 2**32 - 1
MOST_REPEAT = 10_000

MachineValue = int | Swap | Accel | tuple[str, ...]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise UserError(f"{value!r} is not a string", hint="write it in quotes")
    return value


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise UserError(f"{value!r} is not an integer")
    return value


def _size(value: object) -> int:
    return parse_size(str(value) if isinstance(value, int) and not isinstance(value, bool) else _text(value))


def _accel(value: object) -> Accel:
    if value not in Accel.__members__.values():
        raise UserError(f"{value!r} is no accelerator", hint=", ".join(Accel))
    return Accel(_text(value))


def _swap(value: object) -> Swap:
    return Swap.parse(_text(value))


def _words(value: object) -> tuple[str, ...]:
    return parse_words((_text(value),))


# The one place for the keys of [machine]: the fields of Machine.
MACHINE_KEYS: dict[str, Callable[[object], MachineValue]] = {
    "ram": _size,
    "swap": _swap,
    "cpus": _integer,
    "accel": _accel,
    "cmdline": _words,
    **{one.key: _size if one.size else _integer for one in SETTINGS},
    "free": _size,
}


def value_word(key: str, value: object) -> str:
    """The value of a key of [machine] as people write it."""
    if isinstance(value, int) and MACHINE_KEYS[key] is _size:
        return format_size(value)
    return str(value)


@dataclass(frozen=True, slots=True)
class MachineAxes:
    """`[machine]`: for each key the values that it takes in turn."""

    axes: tuple[tuple[str, tuple[MachineValue, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class KnobAxes:
    """`[knobs]`: for each knob the values that it takes in turn, as text."""

    axes: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class SuiteName:
    """The name of a suite that there is, or its folder."""

    name: str


@dataclass(frozen=True, slots=True)
class ProfileName:
    """The name of a profile that there is."""

    name: str


@dataclass(frozen=True, slots=True)
class OptionalSeries:
    """A series, or the word `none`: the source as it is."""

    series: SeriesSpec | None


@dataclass(frozen=True, slots=True)
class Glob:
    text: str


@dataclass(frozen=True, slots=True)
class Axes:
    """What is said of each axis; an empty tuple says nothing. Suites and cases are lists that go together."""

    source: tuple[SourceSpec, ...] = ()
    base: tuple[SourceSpec, ...] = ()
    series: tuple[OptionalSeries, ...] = ()
    profile: tuple[ProfileName, ...] = ()
    suites: tuple[SuiteName, ...] = ()
    cases: tuple[Glob, ...] = ()
    seeds: tuple[int, ...] = ()
    repeat: tuple[int, ...] = ()
    machine: MachineAxes = MachineAxes()
    knobs: KnobAxes = KnobAxes()


@dataclass(frozen=True, slots=True)
class PlanText:
    """One file. Without `include`, `product` and `cell` the top level is the one product."""

    name: str
    title: str
    top: Axes
    include: tuple[str, ...] = ()
    product: tuple[Axes, ...] = ()
    cell: tuple[Axes, ...] = ()
    exclude: tuple[Axes, ...] = ()


_HEAD = ("title", "include", "product", "cell", "exclude")
# What takes one value, and not one after the other.
_SINGLE = ("base", "repeat")
_NOT_IN_EXCLUDE = ("base", "cases", "repeat")


def parse_plan(text: str, name: str) -> PlanText:
    """`name` is the file, for the sentences. UserError has one line for every mistake."""
    table = to_table(text, name)
    troubles: list[str] = []
    head = {key: table.pop(key) for key in _HEAD if key in table}
    plan = PlanText(
        name=name,
        title=_title(head.get("title", ""), troubles),
        top=_axes(table, "", troubles),
        include=_names(head.get("include", []), troubles),
        product=_tables(head.get("product", []), "product", troubles),
        cell=_tables(head.get("cell", []), "cell", troubles),
        exclude=_tables(head.get("exclude", []), "exclude", troubles),
    )
    troubles += _misplaced(plan)
    if troubles:
        first, *rest = troubles
        more = "".join(f"\n  {name}: {trouble}" for trouble in rest)
        raise UserError(f"{name}: {first}{more}", hint="harness/plans/README.md has every key")
    return plan


def _title(value: object, troubles: list[str]) -> str:
    if isinstance(value, str) and value.isprintable():
        return value
    troubles.append("title: must be a string in one line")
    return ""


def _names(value: object, troubles: list[str]) -> tuple[str, ...]:
    names = value if isinstance(value, list) else [value]
    if all(isinstance(one, str) and one for one in names):
        return tuple(map(str, names))
    troubles.append("include: must be names of plans, as in ['quick', 'mine.toml']")
    return ()


def _tables(value: object, key: str, troubles: list[str]) -> tuple[Axes, ...]:
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        return tuple(_axes(one, f"{key}[{number}].", troubles) for number, one in enumerate(value, 1))
    troubles.append(f"{key}: must be tables, each written as [[{key}]]")
    return ()


def _axes(table: Mapping[str, object], where: str, troubles: list[str]) -> Axes:
    try:
        return _converter.structure(table, Axes)
    except ClassValidationError as error:
        troubles += _sentences(error, where)
        return Axes()


def _sentences(error: ClassValidationError, where: str) -> Iterator[str]:
    named, others = error.group_exceptions()
    for one, note in named:
        if isinstance(one, _Troubles):
            yield from (f"{where}{note.name}.{line}" for line in one.lines)
        else:
            yield f"{where}{note.name}: {_said(one)}"
    for other in others:
        if isinstance(other, ForbiddenExtraKeysError):
            keys = [one.name for one in fields(Axes)]
            keys = [*_HEAD, *keys] if not where else keys
            yield from (f"{where}{key}: {unknown_key(key, keys)}" for key in sorted(other.extra_fields))
        else:
            yield f"{where.rstrip('.') or 'the plan'}: {_said(other)}"


def _said(error: Exception) -> str:
    if isinstance(error, UserError):
        return f"{error.message} (allowed: {error.hint})" if error.hint else error.message
    return str(error) or type(error).__name__


def _misplaced(plan: PlanText) -> Iterator[str]:
    """What is a key of the format, but cannot stand where it stands."""
    places = [("", plan.top), *((f"product[{n}].", axes) for n, axes in enumerate(plan.product, 1))]
    cells = [(f"cell[{n}].", axes) for n, axes in enumerate(plan.cell, 1)]
    for where, axes in (*places, *cells):
        for key in _SINGLE:
            if len(getattr(axes, key)) > 1:
                yield f"{where}{key}: takes one value"
        if any(not 1 <= number <= MOST_REPEAT for number in axes.repeat):
            yield f"{where}repeat: 1 to {MOST_REPEAT}"
        if axes.repeat and len(axes.seeds) > 1:
            yield f"{where}repeat: several seeds say already how many boots there are"
    for where, axes in cells:
        for key in ("source", "series", "profile", "seeds"):
            if len(getattr(axes, key)) > 1:
                yield f"{where}{key}: a cell takes one value; several are for [[product]]"
        for key, values in (*axes.machine.axes, *axes.knobs.axes):
            if len(values) > 1:
                yield f"{where}{key}: a cell takes one value; several are for [[product]]"
    for number, axes in enumerate(plan.exclude, 1):
        if axes == Axes():
            yield f"exclude[{number}]: names nothing, and would leave out everything"
        for key in _NOT_IN_EXCLUDE:
            if getattr(axes, key):
                yield f"exclude[{number}].{key}: nothing is left out by it"


class _Troubles(Exception):
    """Several mistakes in one table; each line begins with the key below it."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


def _items(value: object) -> list[object]:
    """A value alone is a list of one."""
    items = value if isinstance(value, list) else [value]
    if not items:
        raise UserError("the list is empty", hint="one value or more")
    if len({repr(one) for one in items}) < len(items):
        raise UserError("a value stands there twice")
    return items


def _table(value: object, line: Callable[[str, object], None]) -> None:
    if not isinstance(value, dict):
        raise UserError(f"{value!r} is not a table")
    lines = []
    for key, one in value.items():
        try:
            line(key, one)
        except UserError as error:
            lines.append(error.message if error.message.startswith(f"{key}:") else f"{key}: {_said(error)}")
    if lines:
        raise _Troubles(lines)


def _machine_axes(value: object, _: type[MachineAxes]) -> MachineAxes:
    found: list[tuple[str, tuple[MachineValue, ...]]] = []

    def line(key: str, one: object) -> None:
        if key not in MACHINE_KEYS:
            raise UserError(f"{key}: {unknown_key(key, MACHINE_KEYS)}")
        found.append((key, tuple(MACHINE_KEYS[key](item) for item in _items(one))))

    _table(value, line)
    return MachineAxes(tuple(found))


def _knob_axes(value: object, _: type[KnobAxes]) -> KnobAxes:
    found: list[tuple[str, tuple[str, ...]]] = []

    def line(key: str, one: object) -> None:
        values = tuple(str(item) if isinstance(item, int) else _text(item) for item in _items(one))
        found.append((key, values))

    _table(value, line)
    return KnobAxes(tuple(found))


def _suite(value: object, _: type[SuiteName]) -> SuiteName:
    return SuiteName(registry().word_for(_text(value)))


def _profile(value: object, _: type[ProfileName]) -> ProfileName:
    return ProfileName(read_profile(_text(value), data_directory("kernel-configs")).name)


def _maybe(value: object, _: type[OptionalSeries]) -> OptionalSeries:
    text = _text(value)
    return OptionalSeries(None if text == "none" else SeriesSpec.parse(text))


def _glob(value: object, _: type[Glob]) -> Glob:
    globs = parse_globs((_text(value),))
    if not globs:
        raise UserError("a case is named by no letter")
    return Glob(globs[0])


def _number(value: object, _: type[int]) -> int:
    number = _integer(value)
    if not 0 <= number <= MOST_SEED:
        raise UserError(f"{number} is out of range", hint=f"0 to {MOST_SEED}")
    return number


def _is_axis(kind: object) -> bool:
    return get_origin(kind) is tuple


def _make_converter() -> Converter:
    converter = Converter(forbid_extra_keys=True)

    def axis(value: object, kind: type[tuple[object, ...]]) -> tuple[object, ...]:
        item = get_args(kind)[0]
        return tuple(converter.structure(one, item) for one in _items(value))

    converter.register_structure_hook_func(_is_axis, axis)
    converter.register_structure_hook(int, _number)
    converter.register_structure_hook(SourceSpec, lambda value, _: SourceSpec.parse(_text(value)))
    for kind, hook in (
        (MachineAxes, _machine_axes),
        (KnobAxes, _knob_axes),
        (SuiteName, _suite),
        (ProfileName, _profile),
        (OptionalSeries, _maybe),
        (Glob, _glob),
    ):
        converter.register_structure_hook(kind, hook)
    converter.register_structure_hook(Axes, make_dict_structure_fn(Axes, converter, _cattrs_forbid_extra_keys=True))
    return converter


_converter = _make_converter()
