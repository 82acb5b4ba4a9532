# SPDX-License-Identifier: GPL-2.0-only
"""Takes PCI functions from their drivers and gives them back: `lend.py SYS FD FILE`, from `lending.py`.

Standard library only, because it starts in an isolated interpreter. FILE is JSON, a list of [ADDRESS, DRIVER]; SYS is
where sysfs is. It binds all of them to vfio-pci and prints a line `lent`. FD is the read end of a pipe whose other
end only the harness holds: end of file means that the harness is done, or gone, by kill -9 too. Then each goes back
to the driver that it had; one that is no longer there (a card that was pulled) is nobody's to give back. FILE is
removed when that is so; else it stays, for the next one to try, and a line on standard output says what is not as it
was. With FD -1 it only gives back.
"""

import json
import os
import signal
import sys
from pathlib import Path

DRIVER = "vfio-pci"


def main(argv: list[str]) -> int:
    pipe = int(argv[1])
    # What ends the harness, and all that it started, must not end this one.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.setsid()
    return lend(Path(argv[0]), pipe, Path(argv[2]))


def lend(system: Path, pipe: int, file: Path) -> int:
    functions = json.loads(file.read_text(encoding="utf-8"))
    if pipe >= 0:
        told = [bind(system, address, DRIVER) for address, _ in functions]
        say(next(filter(None, told), "lent"))
        while os.read(pipe, 1):
            pass
    there = [one for one in functions if (system / "bus/pci/devices" / one[0]).exists()]
    troubles = [one for one in (bind(system, address, driver) for address, driver in there) if one]
    for one in troubles:
        say(one)
    if not troubles:
        file.unlink()
    return 1 if troubles else 0


def bind(system: Path, address: str, driver: str) -> str:
    """Has the function bound to that driver, or to none when it is empty. A sentence when it is not.

    A guest that still runs holds vfio-pci: the kernel waits with the unbinding until it has ended.
    """
    here = system / "bus/pci/devices" / address
    try:
        if bound(here) not in ("", driver):
            write(here / "driver/unbind", address)
        # An override of one line feed is none (drivers/base/driver.c, driver_set_override).
        write(here / "driver_override", driver if driver == DRIVER else "\n")
        if driver and bound(here) != driver:
            write(system / "bus/pci/drivers_probe", address)
    except OSError as error:
        return f"{address} does not go to {driver or 'no driver'}: {error.strerror} ({error.filename})"
    got = bound(here)
    return "" if got == driver else f"{address} is with {got or 'no driver'}, and not with {driver or 'no driver'}"


def bound(here: Path) -> str:
    try:
        return (here / "driver").readlink().name
    except OSError:
        return ""


def write(file: Path, text: str) -> None:
    with file.open("w", encoding="utf-8") as sysfs:
        sysfs.write(text)


def say(text: str) -> None:
    try:
        os.write(1, f"{text}\n".encode())
    except OSError:
        pass  # the harness is gone


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
