# SPDX-License-Identifier: GPL-2.0-only
"""The host's PCI devices that guests of a command have: looked at before anything is built, lent while guests run."""

from __future__ import annotations

import resource
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from harness.flow.request import Request
from harness.guest.lending import lent
from harness.guest.pci import PciBus
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
    device = PciDevice.parse(machine.device)
    return replace(
        machine, device=str(PciDevice(device.address, (bus or PciBus()).require_lendable(device, machine.ram).ids))
    )


@contextmanager
def devices_lent(
    machines: Iterable[Machine], layout: Layout, say: Progress, bus: PciBus | None = None
) -> Iterator[dict[str, str]]:
    """Each device is with vfio-pci until the block is left. Yields them with their ids, by what was asked for."""
    most: dict[str, int] = {}
    for machine in machines:
        if machine.device:
            most[machine.device] = max(most.get(machine.device, 0), machine.ram)
    with ExitStack() as stack:
        found = {}
        for text, ram in most.items():
            say.step(f"taking {text} from this host for the guests")
            found[text] = str(stack.enter_context(lent(PciDevice.parse(text), ram, layout, bus)))
        if found:
            _pin_all()
        yield found


def _pin_all() -> None:
    """What contains QEMU takes its right to pin memory without a limit, also from root's."""
    _, most = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (most, most))
