# SPDX-License-Identifier: GPL-2.0-only
"""Makes this host a worker of a fleet, for as long as standard input is open:

    python -m harness.fleet.join

The first line of it is JSON: the scheduler's address, the certificate and key (which are in no file and in no list of
processes), and how many guests at most. That is how `--on ssh:FILE` starts it on each host.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from dataclasses import asdict, dataclass

from distributed import Nanny
from distributed.security import Security

from harness.fleet.order import CPUS
from harness.flow.admission import VCPUS_PER_CORE
from harness.flow.resources import cores

_LONGEST = 1 << 16


@dataclass(frozen=True, slots=True)
class Joining:
    """What a host is told: where the scheduler is, how to speak to it, at most how many guests (0: as many as its
    processors carry).
    """

    scheduler: str
    certificate: str
    key: str
    guests: int = 0

    @property
    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def read(cls, line: bytes) -> Joining:
        return cls(**json.loads(line))

    def security(self) -> Security:
        return security_of(self.certificate, self.key)


def security_of(certificate: str, key: str) -> Security:
    """TLS on both sides: who has not this key is not spoken to."""
    return Security(
        tls_ca_file=certificate,
        tls_client_cert=certificate,
        tls_client_key=key,
        tls_scheduler_cert=certificate,
        tls_scheduler_key=key,
        tls_worker_cert=certificate,
        tls_worker_key=key,
        require_encryption=True,
    )


async def work(told: Joining) -> None:
    """A worker, watched by a nanny, until nobody speaks to us any more."""
    guests = told.guests or max(1, int(cores() * VCPUS_PER_CORE))
    over = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait_for_the_end() -> None:
        while sys.stdin.buffer.read(_LONGEST):
            pass
        loop.call_soon_threadsafe(over.set)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    async with Nanny(
        told.scheduler,
        nthreads=guests,
        security=told.security(),
        protocol="tls",
        memory_limit=0,
        preload=["harness.fleet.worker"],
        resources={CPUS: float(guests)} if told.guests else None,
        dashboard=False,
    ):
        await over.wait()


def main() -> None:
    told = Joining.read(sys.stdin.buffer.readline(_LONGEST))
    asyncio.run(work(told))
    os._exit(0)  # a thread may wait for what never comes; its guests have ended with the worker


if __name__ == "__main__":
    main()
