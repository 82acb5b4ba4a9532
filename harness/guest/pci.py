# SPDX-License-Identifier: GPL-2.0-only
"""What the host's sysfs says of a PCI device, and why a guest cannot have it. Changes nothing.

A device is given by its IOMMU group (Documentation/driver-api/vfio.rst): all of a group is given, or nothing. What
one boot left in a device must not be there in the next, so that it must be possible to reset it.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.model.errors import InfraError, UserError
from harness.model.pci import PciDevice
from harness.model.units import MIB, format_size

DRIVER = "vfio-pci"
_BRIDGE, _DISPLAY = 0x06, 0x03
# What a host may stand on. `xe` and its like are none of it, nor are accelerators and what has no class.
_KEPT = {0x01: "a storage controller", 0x02: "a network card", 0x05: "a memory controller", 0x0C: "a bus controller"}
_PINNED = 64 * MIB  # what VFIO maps beside the guest's RAM: ROMs, video RAM, tables


@dataclass(frozen=True, slots=True)
class PciFunction:
    """One function: `kind` is its class, 24 bits; `group` None without an IOMMU; `resets` the ways to reset it;
    `screens` the connectors that a screen is on; `nodes` its files in /dev.
    """

    address: str
    ids: str
    kind: int
    driver: str
    group: int | None
    resets: tuple[str, ...] = ()
    screens: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()

    @property
    def slot(self) -> str:
        return self.address.rpartition(".")[0]

    @property
    def is_bridge(self) -> bool:
        return self.kind >> 16 == _BRIDGE

    @property
    def is_display(self) -> bool:
        return self.kind >> 16 == _DISPLAY


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a guest cannot have a device, and what to do about it."""

    why: str
    hint: str


class PciBus:
    """The host's, or one of files below `root`, for tests."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root
        self.devices = root / "sys/bus/pci/devices"

    def function(self, address: str) -> PciFunction | None:
        here = self.devices / address
        if not (here / "vendor").is_file():
            return None
        # Its classes, each with what it has of that class: links lead to other devices.
        own = [one for kind in _entries(here) if kind.is_dir() and not kind.is_symlink() for one in _entries(kind)]
        screens = (part for one in own for part in _entries(one) if _text(part / "status") == "connected")
        group = _target(here / "iommu_group")
        return PciFunction(
            address,
            f"{_hexadecimal(here / 'vendor'):04x}:{_hexadecimal(here / 'device'):04x}",
            _hexadecimal(here / "class"),
            _target(here / "driver"),
            int(group) if group.isdecimal() else None,
            tuple(_text(here / "reset_method").split()),
            tuple(sorted(one.name for one in screens)),
            tuple(sorted(filter(None, map(_node, own)))),
        )

    def functions(self) -> Iterator[PciFunction]:
        for one in _entries(self.devices):
            if (found := self.function(one.name)) is not None:
                yield found

    def lent_with(self, function: PciFunction) -> tuple[PciFunction, ...]:
        """What goes to the guest's side together with it: all of its group but bridges, itself first."""
        others = [one for one in self.functions() if one.group == function.group and one.address != function.address]
        return (function, *(one for one in others if not one.is_bridge))

    def users_of(self, function: PciFunction) -> tuple[str, ...]:
        """Processes that have its files in /dev open, as `NAME (process N)`."""
        wanted = {f"/dev/{node}" for node in function.nodes}
        found = {}
        for process in _entries(self.root / "proc") if wanted else ():
            if process.name.isdecimal() and any(_link(one) in wanted for one in _entries(process / "fd")):
                found[int(process.name)] = _text(process / "comm") or "?"
        return tuple(f"{name} (process {number})" for number, name in sorted(found.items()))

    def require_lendable(self, device: PciDevice, ram: int) -> PciFunction:
        """What is there; UserError with the first of the objections."""
        for one in self.objections(device, ram):
            raise UserError(one.why, hint=one.hint)
        function = self.function(device.address)
        assert function is not None
        return function

    def objections(self, device: PciDevice, ram: int) -> Iterator[Obstacle]:
        """All that stands against giving it to a guest with `ram` bytes; nothing, and it can be had."""
        function = self.function(device.address)
        if function is None:
            there = ", ".join(f"vfio:{one.address} ({one.ids})" for one in self.functions() if one.is_display)
            yield Obstacle(f"this host has no PCI device {device.address}", f"its GPUs: {there or 'none'}")
            return
        if device.ids and device.ids != function.ids:
            yield Obstacle(
                f"{device.address} is {function.ids}, and not {device.ids} as asked for",
                "another device sits there now: lspci -Dnn shows all",
            )
        if function.is_bridge or function.kind >> 16 in _KEPT:
            what = "a bridge" if function.is_bridge else _KEPT[function.kind >> 16]
            yield Obstacle(f"{device.address} is {what}, which this host may need", "a GPU or another accelerator")
            return
        if function.group is None:
            yield Obstacle(
                f"{device.address} is behind no IOMMU, so a guest could write anywhere in this host's memory with it",
                "VT-d or AMD-Vi in the firmware, and intel_iommu=on where the kernel is without "
                "CONFIG_INTEL_IOMMU_DEFAULT_ON",
            )
        else:
            yield from self._of_group(function)
        yield from self._of_use(function)
        yield from self._of_rights(function, ram)

    def _of_group(self, function: PciFunction) -> Iterator[Obstacle]:
        strangers = [one for one in self.lent_with(function) if one.slot != function.slot]
        if strangers:
            named = ", ".join(f"{one.address} ({one.driver or 'no driver'})" for one in strangers)
            yield Obstacle(
                f"{function.address} shares its IOMMU group {function.group} with {named}, which would go with it",
                "another slot of the board, or one whose bridge has ACS",
            )
        if not function.resets:
            yield Obstacle(
                f"{function.address} cannot be reset: what one boot leaves in it would be there in the next",
                "there is no reset_method of it in sysfs; a newer kernel may know one",
            )

    def _of_use(self, function: PciFunction) -> Iterator[Obstacle]:
        if function.driver == DRIVER:
            return
        if users := self.users_of(function):
            named = ", ".join(users[:3]) + (f" and {len(users) - 3} more" if users[3:] else "")
            yield Obstacle(
                f"{function.address} is in use by {named}",
                "end them: a desktop ends by systemctl isolate multi-user.target",
            )
        elif function.screens:
            yield Obstacle(
                f"a screen is on {function.address} ({', '.join(function.screens)}), which would go dark",
                f"take the cable out, or bind the device to {DRIVER} before",
            )

    def _of_rights(self, function: PciFunction, ram: int) -> Iterator[Obstacle]:
        if not (self.root / "sys/bus/pci/drivers" / DRIVER).is_dir():
            yield Obstacle(f"the driver {DRIVER} is not loaded in this host's kernel", f"modprobe {DRIVER}")
        if function.driver == DRIVER:
            node = self.root / f"dev/vfio/{function.group}"
            if not os.access(node, os.R_OK | os.W_OK):
                yield Obstacle(f"/dev/vfio/{function.group} cannot be opened", "as root: chown it to yourself")
        elif not os.access(self.devices / function.address / "driver_override", os.W_OK):
            yield Obstacle(
                f"only root can take {function.address} from {function.driver or 'where it is'} and give it back",
                f"start as root, or bind it to {DRIVER} before and own its /dev/vfio file",
            )
        limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
        if os.geteuid() != 0 and limit != resource.RLIM_INFINITY and limit < ram + _PINNED:
            yield Obstacle(
                f"all of the guest's RAM is pinned for a device, and you may pin {format_size(limit)}",
                "ulimit -l unlimited, or memlock in /etc/security/limits.conf",
            )


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []  # there is none, or it is somebody else's


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _node(thing: Path) -> str:
    """Its file in /dev, as the kernel tells udev; empty without one."""
    lines = _text(thing / "uevent").splitlines()
    return next((line.removeprefix("DEVNAME=") for line in lines if line.startswith("DEVNAME=")), "")


def _hexadecimal(file: Path) -> int:
    try:
        return int(_text(file), 16)
    except ValueError:
        return 0


def _link(file: Path) -> str:
    try:
        return str(file.readlink())
    except OSError:
        return ""


def _target(link: Path) -> str:
    return Path(_link(link)).name


@dataclass(frozen=True, slots=True)
class Passthrough:
    """What QEMU opens for a device: `nodes` of VFIO, and what it `reads` in sysfs."""

    nodes: tuple[Path, ...] = ()
    reads: tuple[Path, ...] = ()


def passthrough(device: str) -> Passthrough:
    """Nothing without a device; InfraError when it has gone from this host."""
    if not device:
        return Passthrough()
    address = PciDevice.parse(device).address
    function = PciBus().function(address)
    if function is None or function.group is None:
        raise InfraError(f"{device} is no longer there, or no longer behind an IOMMU", hint="lspci -D shows what is")
    return Passthrough(
        (Path("/dev/vfio/vfio"), Path(f"/dev/vfio/{function.group}")),
        (Path("/sys/bus/pci"), Path("/sys/devices"), Path("/sys/kernel/iommu_groups")),
    )
