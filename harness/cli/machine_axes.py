# SPDX-License-Identifier: GPL-2.0-only
"""The options that say what machines the guests are: one for each key of a plan's [machine], each an axis."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from harness.model.address import ADDRESS_FORM
from harness.model.errors import UserError
from harness.model.machine import SETTINGS, Accel
from harness.model.pci import DEVICE_FORM, KIND_FORM

if TYPE_CHECKING:
    from harness.flow.planfile import MachineValue

ACCELERATORS = click.Choice([word.value for word in Accel if word is not Accel.NONE])
_NUMBERS = ("cpus", *(one.key for one in SETTINGS if not one.size))
_HELP = {  # in the order of MACHINE_KEYS in flow/planfile.py, which takes its time to import
    "ram": "RAM of the guest; given again for another machine.  [default: 256M]",
    "swap": "disk:SIZE, slow:SIZE[:RATE], zram:SIZE[:ALGORITHM], zswap:SIZE[:ALGORITHM][:PERCENT%][:RATE], each with "
    "@PRIORITY; RATE is SIZE a second, or NUMBERiops; given again for another machine.  [default: disk:1G]",
    "cpus": "vCPUs of the guest.  [default: 2]",
    "accel": "[default: auto]",
    "cmdline": "A further kernel argument.",
    **{one.key: one.help for one in SETTINGS},
    "free": "Free RAM when the first suite starts; the rest is taken away.",
    "at": f"A test machine instead of a guest: {ADDRESS_FORM}; docs/test-machine.md.",
    "device": f"A PCI device of the host for the guest: {DEVICE_FORM}, or {KIND_FORM}; docs/passthrough.md.",
}


def machine_axes(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options, and makes of them its argument `machine`, a MachineAxes."""

    @functools.wraps(command)
    def with_machine(**options: object) -> None:
        from harness.flow.planfile import MachineAxes

        axes = tuple((key, _values(key, options.pop(f"machine_{key}"))) for key in _HELP)
        command(machine=MachineAxes(tuple((key, values) for key, values in axes if values)), **options)

    decorated: Callable[..., None] = with_machine
    for key in reversed(_HELP):
        decorated = _option(key)(decorated)
    return decorated


def _flag(key: str) -> str:
    return {"cmdline": "--append", "at": "--machine"}.get(key, f"--{key.replace('_', '-')}")


def _option(key: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    kind = ACCELERATORS if key == "accel" else int if key in _NUMBERS else str
    usual = "N" if key in _NUMBERS else "SIZE"
    metavar = {"cmdline": "WORD", "accel": None, "at": "ADDRESS", "device": "ADDRESS"}.get(key, usual)
    metavar = "none|AREA[+AREA…]" if key == "swap" else metavar
    return click.option(_flag(key), f"machine_{key}", multiple=True, type=kind, metavar=metavar, help=_HELP[key])


def _values(key: str, said: object) -> tuple[MachineValue, ...]:
    """The values in the order in which they were given, each once."""
    from harness.flow.planfile import MACHINE_KEYS

    values = []
    for one in said if isinstance(said, tuple) else ():
        try:
            values.append(MACHINE_KEYS[key](one))
        except UserError as error:
            raise UserError(f"{_flag(key)}: {error.message}", hint=error.hint) from error
    return tuple(dict.fromkeys(values))
