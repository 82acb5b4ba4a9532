# SPDX-License-Identifier: GPL-2.0-only
"""The text of a plan -> its axes, validated: harness/plans/README.md is the contract. Reads no file.

Every mistake becomes one sentence with the file, the line, the key and what may stand there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields

from harness.checkout import data_directory
from harness.kernel.fragments import read_profile
from harness.model.address import SshAddress
from harness.model.errors import UserError
from harness.model.machine import SETTINGS, Accel, Swap
from harness.model.pci import PciDevice
from harness.model.series import SeriesSpec
from harness.model.toml import (
    Mistake,
    Way,
    as_integer,
    as_text,
    each,
    read_by,
    read_each,
    read_keys,
    refusal,
    structure,
    to_table,
    unknown_key,
)
from harness.model.tree import SourceSpec
from harness.model.units import format_size, parse_size
from harness.model.words import parse_globs, parse_words
from harness.suites.registry import registry

MOST_SEED = 2**32 - 1
MOST_REPEAT = 10_000

MachineValue = int | str | Swap | Accel | tuple[str, ...]


def _size(value: object) -> int:
    return parse_size(str(value) if isinstance(value, int) and not isinstance(value, bool) else as_text(value))


def _accel(value: object) -> Accel:
    if value not in Accel.__members__.values():
        raise UserError(f"{value!r} is no accelerator", hint=", ".join(Accel))
    return Accel(as_text(value))


def _address(value: object) -> str:
    return str(SshAddress.parse(as_text(value)))


def _device(value: object) -> str:
    return str(PciDevice.parse(as_text(value)))


def _swap(value: object) -> Swap:
    return Swap.parse(as_text(value))


def _words(value: object) -> tuple[str, ...]:
    return parse_words((as_text(value),))


# The one place for the keys of [machine]: the fields of Machine.
MACHINE_KEYS: dict[str, Callable[[object], MachineValue]] = {
    "ram": _size,
    "swap": _swap,
    "cpus": as_integer,
    "accel": _accel,
    "cmdline": _words,
    **{one.key: _size if one.size else as_integer for one in SETTINGS},
    "free": _size,
    "at": _address,
    "device": _device,
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


def _source(value: object) -> SourceSpec:
    return SourceSpec.parse(as_text(value))


def _series(value: object) -> OptionalSeries:
    text = as_text(value)
    return OptionalSeries(None if text == "none" else SeriesSpec.parse(text))


def _profile(value: object) -> ProfileName:
    return ProfileName(read_profile(as_text(value), data_directory("kernel-configs")).name)


def _suite(value: object) -> SuiteName:
    return SuiteName(registry().word_for(as_text(value)))


def _glob(value: object) -> Glob:
    globs = parse_globs((as_text(value),))
    if len(globs) != 1:
        raise UserError("a case is named by no letter" if not globs else "each case is a text of its own")
    return Glob(globs[0])


def _number(value: object) -> int:
    number = as_integer(value)
    if not 0 <= number <= MOST_SEED:
        raise UserError(f"{number} is out of range", hint=f"0 to {MOST_SEED}")
    return number


def _machine_axes(value: object) -> MachineAxes:
    def axis(key: str, values: object) -> tuple[str, tuple[MachineValue, ...]]:
        if key not in MACHINE_KEYS:
            raise UserError(unknown_key(key, MACHINE_KEYS))
        return key, each(MACHINE_KEYS[key], values)

    return MachineAxes(read_keys(value, axis))


def _knob_axes(value: object) -> KnobAxes:
    def word(value: object) -> str:
        return str(value) if isinstance(value, int) else as_text(value)

    return KnobAxes(read_keys(value, lambda key, values: (key, each(word, values))))


@dataclass(frozen=True, slots=True)
class Axes:
    """What is said of each axis; an empty tuple says nothing. Suites and cases are lists that go together."""

    source: tuple[SourceSpec, ...] = field(default=(), metadata=read_each(_source))
    base: tuple[SourceSpec, ...] = field(default=(), metadata=read_each(_source))
    series: tuple[OptionalSeries, ...] = field(default=(), metadata=read_each(_series))
    profile: tuple[ProfileName, ...] = field(default=(), metadata=read_each(_profile))
    suites: tuple[SuiteName, ...] = field(default=(), metadata=read_each(_suite))
    cases: tuple[Glob, ...] = field(default=(), metadata=read_each(_glob))
    seeds: tuple[int, ...] = field(default=(), metadata=read_each(_number))
    repeat: tuple[int, ...] = field(default=(), metadata=read_each(_number))
    machine: MachineAxes = field(default=MachineAxes(), metadata=read_by(_machine_axes))
    knobs: KnobAxes = field(default=KnobAxes(), metadata=read_by(_knob_axes))


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


def _title(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise UserError("must be a string in one line")
    return value


def _names(value: object) -> tuple[str, ...]:
    names = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str) and one for one in names):
        raise UserError("must be names of plans, as in ['quick', 'mine.toml']")
    return tuple(map(str, names))


@dataclass(frozen=True, slots=True)
class _File(Axes):
    """The keys of a file: those of its one product, or what all of its products share, and these."""

    title: str = field(default="", metadata=read_by(_title))
    include: tuple[str, ...] = field(default=(), metadata=read_by(_names))
    product: tuple[Axes, ...] = ()
    cell: tuple[Axes, ...] = ()
    exclude: tuple[Axes, ...] = ()


# What takes one value, and not one after the other.
_SINGLE = ("base", "repeat")
_NOT_IN_EXCLUDE = ("base", "cases", "repeat")
_HINT = "harness/plans/README.md has every key"


def parse_plan(text: str, name: str) -> PlanText:
    """`name` is the file, for the sentences. UserError has one line for every mistake."""
    file = structure(_File, to_table(text, name), text, name, _HINT)
    top = Axes(**{one.name: getattr(file, one.name) for one in fields(Axes)})
    plan = PlanText(name, file.title, top, file.include, file.product, file.cell, file.exclude)
    if misplaced := tuple(_misplaced(plan)):
        raise refusal(misplaced, text, name, _HINT)
    return plan


def _misplaced(plan: PlanText) -> Iterator[Mistake]:
    """What is a key of the format, but cannot stand where it stands."""
    places: list[tuple[Way, Axes]] = [((), plan.top)]
    places += [(("product", number), axes) for number, axes in enumerate(plan.product)]
    cells: list[tuple[Way, Axes]] = [(("cell", number), axes) for number, axes in enumerate(plan.cell)]
    for where, axes in (*places, *cells):
        for key in _SINGLE:
            if len(getattr(axes, key)) > 1:
                yield (*where, key), "takes one value"
        if any(not 1 <= number <= MOST_REPEAT for number in axes.repeat):
            yield (*where, "repeat"), f"1 to {MOST_REPEAT}"
        if axes.repeat and len(axes.seeds) > 1:
            yield (*where, "repeat"), "several seeds say already how many boots there are"
    for where, axes in cells:
        own = [((key,), getattr(axes, key)) for key in ("source", "series", "profile", "seeds")]
        machine = [(("machine", key), values) for key, values in axes.machine.axes]
        knobs = [(("knobs", key), values) for key, values in axes.knobs.axes]
        for way, values in (*own, *machine, *knobs):
            if len(values) > 1:
                yield (*where, *way), "a cell takes one value; several are for [[product]]"
    for number, axes in enumerate(plan.exclude):
        if axes == Axes():
            yield ("exclude", number), "names nothing, and would leave out everything"
        for key in _NOT_IN_EXCLUDE:
            if getattr(axes, key):
                yield ("exclude", number, key), "nothing is left out by it"
