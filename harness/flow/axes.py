# SPDX-License-Identifier: GPL-2.0-only
"""`--x ram=64M..512M/32M`: an axis of a frontier as it is written, and a request with one of its values."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from harness.flow.planfile import MACHINE_KEYS
from harness.flow.request import Request
from harness.model.cell import Knob
from harness.model.errors import UserError
from harness.model.frontier import Axis
from harness.model.machine import SETTINGS
from harness.model.suite import KnobForm
from harness.model.swap import Swap, SwapArea, SwapKind
from harness.model.units import MIB, format_size, parse_size, whole_number
from harness.suites.registry import suite_named

_PARTS = 8  # of a range that names no step
_MOST = 200  # values
_FORM = "NAME=FROM..TO[/STEP] or NAME=A,B,C, as in ram=64M..512M/32M, swap=0..512M/64M, swap:zram=0..256M/32M"
_SIZES = ("ram", "free", *(one.key for one in SETTINGS if one.size))
_NUMBERS = ("cpus", *(one.key for one in SETTINGS if not one.size))
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class _Unit:
    """How values of an axis are read and written; `step`: what an unnamed one is a multiple of."""

    read: Callable[[str], int]
    write: Callable[[int], str]
    step: int = 1


_SIZE = _Unit(parse_size, lambda size: format_size(size) if size else "0", MIB)


def _number(text: str) -> int:
    value = whole_number(text.strip(), -1)
    if value < 0:
        raise UserError(f"{text!r} is no number")
    return value


_PLAIN = _Unit(_number, str)
_PERCENT = _Unit(lambda text: _number(text.strip().removesuffix("%")), lambda value: f"{value}%")


def parse_axis(text: str, suite: str) -> Axis:
    """UserError for an axis without an order, and for values that are none."""
    head, equals, values = text.partition("=")
    name, _, kind = head.strip().partition(":")
    if not equals or not _NAME.fullmatch(name) or not values.strip():
        raise UserError(f"the axis {text!r} is not {_FORM.partition(',')[0]}", hint=_FORM)
    if kind and (name != "swap" or kind not in (SwapKind.DISK, SwapKind.ZRAM, SwapKind.ZSWAP, SwapKind.SLOW)):
        raise UserError(
            f"the axis {text!r}: there is no {head!r}", hint="swap:disk, swap:zram, swap:zswap, swap:slow"
        )
    unit = _unit(name, suite)
    if unit is _PERCENT and values.strip()[-1:].isalpha():
        unit = _SIZE  # `total` is a share, or a size
    try:
        found = _values(values.strip(), unit)
    except UserError as error:
        raise UserError(f"the axis {text!r}: {error.message}", hint=error.hint or _FORM) from error
    if name == "swap":
        kind = kind or SwapKind.DISK
    return Axis(name, found, tuple(map(unit.write, found)), kind)


def _unit(name: str, suite: str) -> _Unit:
    if name == "swap" or name in _SIZES:
        return _SIZE
    if name in _NUMBERS:
        return _PLAIN
    if name in MACHINE_KEYS:
        raise UserError(f"{name} has no order, so nothing begins along it", hint=f"axes with one: {_orders(suite)}")
    knob = next((one for one in suite_named(suite).knobs if one.name == name), None)
    if knob is None:
        raise UserError(f"there is no axis {name!r}", hint=f"axes: {_orders(suite)}")
    if knob.form is KnobForm.CHOICE:
        raise UserError(
            f"{name} has no order, so nothing begins along it: it is one of {', '.join(knob.choices)}",
            hint=f"axes with one: {_orders(suite)}",
        )
    units = {KnobForm.SIZE: _SIZE, KnobForm.SHARE: _PERCENT, KnobForm.CHANCE: _PERCENT}
    return units.get(knob.form, _PLAIN)


def _orders(suite: str) -> str:
    knobs = (one.name for one in suite_named(suite).knobs if one.form is not KnobForm.CHOICE)
    return ", ".join(("ram", "swap", *_NUMBERS, *_SIZES[1:], *knobs))


def _values(text: str, unit: _Unit) -> tuple[int, ...]:
    span, dots, _ = text.partition("..")
    if dots:
        rest, slash, step_word = text[len(span) + 2 :].partition("/")
        first, last = unit.read(span), unit.read(rest)
        step = unit.read(step_word) if slash else max(unit.step, (last - first) // _PARTS // unit.step * unit.step)
        if first >= last:
            raise UserError(f"{span} is not below {rest}")
        if step < 1:
            raise UserError("its step is none")
        found = [*range(first, min(last + 1, first + step * (_MOST + 1)), step)]
        found += [last] if found[-1] < last and len(found) <= _MOST else []
    else:
        found = sorted({unit.read(word) for word in text.split(",")})
    if len(found) > _MOST:
        raise UserError(f"more than {_MOST} values", hint="a larger step: ram=64M..4G/64M")
    if len(found) < 2:
        raise UserError("one value is no axis", hint="two or more")
    return tuple(found)


def at(request: Request, axes: Sequence[tuple[Axis, int]]) -> Request:
    """The request with these values (by their places) in place of its own. UserError for a machine that cannot be."""
    fields: dict[str, object] = {}
    knobs = {knob.name: knob.value for knob in request.knobs}
    for axis, place in axes:
        value = axis.values[place]
        if axis.name == "swap":
            fields["swap"] = Swap((SwapArea.parse(f"{axis.kind}:{format_size(value)}"),)) if value else Swap()
        elif axis.name in MACHINE_KEYS:
            fields[axis.name] = value
        else:
            knobs[axis.name] = axis.labels[place]
    machine = replace(request.machine, **fields)  # type: ignore[arg-type]  # by MACHINE_KEYS
    return replace(request, machine=machine, knobs=tuple(Knob(name, value) for name, value in knobs.items()))
