# SPDX-License-Identifier: GPL-2.0-only
"""The host's PCI devices that guests of a command have: looked at before anything is built, lent while guests run.

Of a kind, the first that can be had is taken: one that is set aside for guests before one that has a driver.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from harness.flow.request import Request
from harness.guest.lending import LentElsewhere, is_lent, lent
from harness.guest.pci import DRIVER, PciBus
from harness.model.errors import UserError
from harness.model.machine import Machine
from harness.model.pci import PciDevice
from harness.model.progress import Progress
from harness.store.layout import Layout


def with_devices(requests: Sequence[Request], bus: PciBus | None = None) -> tuple[Request, ...]:
    """The requests with VENDOR:DEVICE of what they ask for: an address alone says nothing on another day. UserError
    for what a guest cannot have.
    """
    bus = bus or PciBus()
    return tuple(replace(one, machine=with_device(one.machine, bus)) for one in requests)


def with_device(machine: Machine, bus: PciBus | None = None) -> Machine:
    """The same for one machine."""
    if not machine.device:
        return machine
    bus, device = bus or PciBus(), PciDevice.parse(machine.device)
    if not device.address:
        _lendable(device, machine.ram, bus)
        return machine
    return replace(machine, device=str(PciDevice(device.address, bus.require_lendable(device, machine.ram).ids)))


@contextmanager
def devices_lent(
    machines: Iterable[Machine],
    layout: Layout,
    say: Progress,
    bus: PciBus | None = None,
    *,
    set_aside: bool = False,
    all_lent: Callable[[str], None] | None = None,
) -> Iterator[dict[str, str]]:
    """Each device is with vfio-pci until the block is left. Yields them with their addresses and ids, by what was
    asked for. With `set_aside` none of a kind is taken from a driver. While others have all of a kind, `all_lent` is
    called with what was asked for, again and again; LentElsewhere without it.
    """
    bus = bus or PciBus()
    most: dict[str, int] = {}
    for machine in machines:
        if machine.device:
            most[machine.device] = max(most.get(machine.device, 0), machine.ram)
    with ExitStack() as stack:
        found = {}
        for text, ram in most.items():
            say.step(f"taking {text} from this host for the guests")
            device = PciDevice.parse(text)
            if device.address:
                found[text] = str(stack.enter_context(lent(device, ram, layout, bus)))
                continue
            while (one := _one_of(_lendable(device, ram, bus, set_aside), ram, layout, bus, stack)) is None:
                if all_lent is None:
                    raise LentElsewhere(
                        f"each {text} of this host is lent to a guest", hint="wait for one, or end it"
                    )
                all_lent(text)
            found[text] = str(one)
        if found:
            _pin_all()
        yield found


def _one_of(those: Sequence[PciDevice], ram: int, layout: Layout, bus: PciBus, stack: ExitStack) -> PciDevice | None:
    """The first that nobody has; lent until the stack is left."""
    for one in those:
        if not is_lent(one.address, layout):
            try:
                return stack.enter_context(lent(one, ram, layout, bus))
            except LentElsewhere:
                pass  # somebody was quicker, or has another store
    return None


def _lendable(device: PciDevice, ram: int, bus: PciBus, set_aside: bool = False) -> list[PciDevice]:
    """Those of its kind that a guest can have. UserError where there is none, with the reason for one."""
    there = [one for one in bus.functions() if one.ids == device.ids and (one.driver == DRIVER or not set_aside)]
    there.sort(key=lambda one: one.driver != DRIVER)
    named = [PciDevice(one.address, one.ids) for one in there]
    if found := [one for one in named if not any(bus.objections(one, ram))]:
        return found
    for one in named:
        bus.require_lendable(one, ram)
    aside = " set aside for guests" if set_aside else ""
    raise UserError(f"this host has no PCI device {device.ids}{aside}", hint="lspci -Dnn shows what it has")


def _pin_all() -> None:
    """What contains QEMU takes its right to pin memory without a limit, also from root's."""
    _, most = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (most, most))
