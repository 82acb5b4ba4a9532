# SPDX-License-Identifier: GPL-2.0-only
"""What `--on` takes: the form of it, looked at before anything of Dask is imported."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from harness.model.errors import UserError

WHERE_FORMS = "local:N, tcp://HOST:PORT, tls://HOST:PORT, ssh:FILE or slurm:FILE"
_MOST_LOCAL = 64


@dataclass(frozen=True, slots=True)
class FleetPlace:
    """A place of a fleet: its kind, and the rest of the word. `text` is the whole."""

    kind: str
    rest: str

    @property
    def text(self) -> str:
        return f"{self.kind}:{self.rest}"

    @classmethod
    def parse(cls, text: str) -> FleetPlace:
        """UserError for what is no place, or one that is not to be trusted."""
        kind, _, rest = text.partition(":")
        if kind == "local":
            if not (rest.isascii() and rest.isdecimal() and 0 < int(rest) <= _MOST_LOCAL):
                raise UserError(f"--on {text} says not how many workers, of 1 to {_MOST_LOCAL}", hint="--on local:2")
        elif kind in ("tcp", "tls"):
            _check_address(text)
        elif kind not in ("ssh", "slurm") or not rest:
            raise UserError(f"--on {text!r} is no place for a fleet", hint=f"--on takes {WHERE_FORMS}")
        return cls(kind, rest)


def _check_address(address: str) -> None:
    """UserError for a scheduler elsewhere without encryption: whoever reaches it runs programs on all hosts."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not host or port is None:
        raise UserError(f"--on {address!r} names no host and port", hint="--on tls://HOST:8786")
    if parts.scheme != "tls" and not _is_loopback(host):
        raise UserError(
            f"{address} is not encrypted: who can reach it can run anything on all of its hosts",
            hint="start scheduler and workers with TLS, and say tls:// (docs/fleet.md)",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
