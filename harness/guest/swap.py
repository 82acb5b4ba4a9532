# SPDX-License-Identifier: GPL-2.0-only
"""Swap disks: which a machine has, and their images, sparse and with a swap signature, made without mkswap."""

from __future__ import annotations

import struct
from pathlib import Path

from harness.guest.argv import SwapDisk
from harness.model.swap import PAGE, Swap
from harness.store.files import explain_os_error


def swap_serial(number: int) -> str:
    """The serial of the disk of the area with that number, by which the guest finds it."""
    return f"harness-swap{number}"


def swap_disks(swap: Swap, directory: Path) -> tuple[SwapDisk, ...]:
    """The disks of the areas that have one, with images in `directory`, which are yet to be made."""
    return tuple(
        SwapDisk(directory / f"swap{number}.img", swap_serial(number), area.bps, area.iops)
        for number, area in enumerate(swap.areas)
        if area.on_disk
    )


def make_swap_image(path: Path, size: int) -> None:
    """A sparse file of `size` bytes that swapon takes (format: union swap_header, include/linux/swap.h).

    A raw disk, given to QEMU as raw: no format probing, no holes or modes for swapon to warn about.
    """
    header = bytearray(PAGE)
    struct.pack_into("<III", header, 1024, 1, size // PAGE - 1, 0)
    header[-10:] = b"SWAPSPACE2"
    try:
        with path.open("wb") as image:
            image.truncate(size)
            image.write(header)
    except OSError as error:
        raise explain_os_error(error, f"cannot make the swap disk {path}") from error
