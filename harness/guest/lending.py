# SPDX-License-Identifier: GPL-2.0-only
"""A PCI device of the host, lent to guests: taken from its driver, and given back whatever happens.

A process of its own (`lend.py`) does both, so that kill -9 of the harness gives it back, too. It holds the lock of
the device until then. If it was killed as well, a file in the store says what is still lent.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from harness.guest.pci import DRIVER, PciBus
from harness.model.errors import CommandFailed, DeadlineExceeded, InfraError
from harness.model.pci import PciDevice
from harness.proc import PIPE, Deadline, Process, run, spawn
from harness.store.files import is_locked, locked, write_atomically
from harness.store.layout import Layout

_LEND = Path(__file__).with_name("lend.py")
_LOCK_SECONDS = 10.0
_TAKE_SECONDS = 60.0
_BACK_SECONDS = 60.0
_MOST_SAID = 4096


class LentElsewhere(InfraError):
    """Somebody who lives has the device."""


@contextmanager
def lent(device: PciDevice, ram: int, layout: Layout, bus: PciBus | None = None) -> Iterator[PciDevice]:
    """Yields the device with its ids, bound to vfio-pci. UserError when a guest with `ram` bytes cannot have it,
    LentElsewhere when another command has it, InfraError when it is not as it was afterwards. What was bound to
    vfio-pci before stays so.
    """
    bus = bus or PciBus()
    with ExitStack() as stack:
        try:
            lock = stack.enter_context(locked(_lock(layout, device.address), Deadline(_LOCK_SECONDS)))
        except DeadlineExceeded as error:
            raise _elsewhere(device) from error
        mine = stack.enter_context(_alone(bus, device))
        give_back(device.address, layout, bus)
        function = bus.require_lendable(device, ram)
        found = PciDevice(device.address, function.ids)
        taken = [(one.address, one.driver) for one in bus.lent_with(function) if one.driver != DRIVER]
        if not taken:
            yield found
            return
        file = _file(layout, device.address)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(taken) + "\n")
        with _taken(bus, file, (lock, *mine)):
            yield found


@contextmanager
def _alone(bus: PciBus, device: PciDevice) -> Iterator[tuple[int, ...]]:
    """Locks the device itself, where it is there: who has another store sees nothing of this one's locks, and would
    take what is with vfio-pci for one that has always been.
    """
    try:
        handle = os.open(bus.devices / device.address, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield ()
        return
    with ExitStack() as stack:
        stack.callback(os.close, handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _elsewhere(device) from error
        yield (handle,)


def _elsewhere(device: PciDevice) -> LentElsewhere:
    return LentElsewhere(f"{device} is lent to another ttm-harness", hint="wait for it, or end it")


def left_lent(layout: Layout) -> tuple[str, ...]:
    """The addresses that are lent at this moment, and those that somebody who was killed has not given back."""
    return tuple(sorted(file.stem for file in _place(layout).glob("*.json")))


def is_lent(address: str, layout: Layout) -> bool:
    """Whether somebody who lives has it."""
    return is_locked(_lock(layout, address))


def give_back(address: str, layout: Layout, bus: PciBus | None = None) -> None:
    """What a command that was killed has left lent; nothing where nothing is. InfraError when it does not go."""
    file = _file(layout, address)
    if not file.exists():
        return
    try:
        run(_words(bus or PciBus(), -1, file), deadline=Deadline(_BACK_SECONDS))
    except DeadlineExceeded as error:
        raise InfraError(f"{address} is not given back: a guest still holds it", hint="end that QEMU") from error
    except CommandFailed as error:
        raise _not_back(error.tail) from error


@contextmanager
def _taken(bus: PciBus, file: Path, locks: tuple[int, ...]) -> Iterator[None]:
    read_end, write_end = os.pipe()
    with ExitStack() as ends:
        ends.callback(os.close, write_end)
        with spawn(_words(bus, read_end, file), stdout=PIPE, reaped=False, inherits=(read_end, *locks)) as process:
            os.close(read_end)
            assert process.stdout is not None
            if not select.select((process.stdout,), (), (), _TAKE_SECONDS)[0]:
                raise InfraError(
                    f"the device cannot be taken: its driver did not let go of it within {_TAKE_SECONDS:g} s",
                    hint="see dmesg; it is given back as soon as that driver does",
                )
            said = process.stdout.readline().decode("utf-8", "replace").strip()
            try:
                if said != "lent":
                    raise InfraError(f"the device cannot be taken: {said or 'nobody says why'}", hint="see dmesg")
                yield
            finally:
                ends.close()
                _wait_back(process, process.stdout)


def _wait_back(process: Process, said: IO[bytes]) -> None:
    try:
        status = process.wait(Deadline(_BACK_SECONDS))
    except DeadlineExceeded:
        raise InfraError(
            "the device is not given back yet: a guest still holds it", hint="it is, as soon as that QEMU has ended"
        ) from None
    if status != 0:
        raise _not_back(said.read(_MOST_SAID).decode("utf-8", "replace"))


def _not_back(said: str) -> InfraError:
    why = (said.strip() or "nobody says why").splitlines()[-1]
    return InfraError(f"the device is not as it was: {why}", hint="see dmesg; ttm-harness doctor --fix tries again")


def _words(bus: PciBus, pipe: int, file: Path) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", str(_LEND), str(bus.root / "sys"), str(pipe), str(file))


def _place(layout: Layout) -> Path:
    return layout.locks / "lent"


def _file(layout: Layout, address: str) -> Path:
    return _place(layout) / f"{address}.json"


def _lock(layout: Layout, address: str) -> Path:
    return layout.locks / f"device-{address}"
