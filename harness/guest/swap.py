# SPDX-License-Identifier: GPL-2.0-only
"""Swap disks: sparse raw images with a swap signature, made without mkswap."""

from __future__ import annotations

import struct
from pathlib import Path

from harness.store.files import explain_os_error

_PAGE = 4096


def make_swap_image(path: Path, size: int) -> None:
    """A sparse file of `size` bytes that swapon takes (format: union swap_header, include/linux/swap.h).

    A raw disk, given to QEMU as raw: no format probing, no holes or modes for swapon to warn about.
    """
    header = bytearray(_PAGE)
    struct.pack_into("<III", header, 1024, 1, size // _PAGE - 1, 0)
    header[-10:] = b"SWAPSPACE2"
    try:
        with path.open("wb") as image:
            image.truncate(size)
            image.write(header)
    except OSError as error:
        raise explain_os_error(error, f"cannot make the swap disk {path}") from error
