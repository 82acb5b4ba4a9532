# SPDX-License-Identifier: GPL-2.0-only
"""A PCI device of a host, as the user names the one that a guest is to have: by its address, or by its kind."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.model.errors import UserError

DEVICE_FORM = "vfio:DOMAIN:BUS:SLOT.FUNCTION"
KIND_FORM = "vfio:VENDOR:DEVICE"
_FORM = re.compile(
    r"vfio:(?:(?P<domain>[0-9a-f]{4}):)?(?P<rest>[0-9a-f]{2}:[01][0-9a-f]\.[0-7])(?:=(?P<ids>[0-9a-f]{4}:[0-9a-f]{4}))?",
    re.ASCII | re.IGNORECASE,
)
_KIND = re.compile(r"vfio:(?P<ids>[0-9a-f]{4}:[0-9a-f]{4})", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PciDevice:
    """`address` as sysfs has it, 0000:03:00.0; `ids` is VENDOR:DEVICE in hexadecimal, empty until somebody looked.
    Without an address it is any of that kind.
    """

    address: str
    ids: str = ""

    @classmethod
    def parse(cls, text: str) -> PciDevice:
        """Read `--device`; the domain may be left out. UserError on anything else."""
        if kind := _KIND.fullmatch(text):
            return cls("", kind["ids"].lower())
        match = _FORM.fullmatch(text)
        if match is None:
            raise UserError(
                f"{text!r} is no device for a guest",
                hint=f"{DEVICE_FORM}, as in vfio:0000:03:00.0, or {KIND_FORM}; lspci -Dnn has all",
            )
        return cls(f"{match['domain'] or '0000'}:{match['rest']}".lower(), (match["ids"] or "").lower())

    def __str__(self) -> str:
        return "vfio:" + "=".join(filter(None, (self.address, self.ids)))
