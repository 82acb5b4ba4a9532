# SPDX-License-Identifier: GPL-2.0-only
"""`--on WHERE`: a cluster of Dask that is there, or one that is made for the run; and the fleet in it."""

from __future__ import annotations

import ipaddress
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import dask
from distributed import Client, LocalCluster
from distributed.security import Security

from harness.fleet.fleet import Fleet
from harness.fleet.order import CPUS, RAM
from harness.flow.admission import VCPUS_PER_CORE
from harness.flow.resources import cores, most_for_guests
from harness.model.errors import InfraError, UserError
from harness.model.progress import Progress
from harness.proc import Deadline
from harness.store.layout import Layout

WHERE_FORMS = "local:N, tcp://HOST:PORT, tls://HOST:PORT, ssh:FILE or slurm:FILE"
PRELOAD = "harness.fleet.worker"
_MOST_LOCAL = 64
_CONNECT_SECONDS = 30
_WORKERS_SECONDS = 120.0
_LOOK_SECONDS = 0.2
# Dask gives up a task whose workers were lost so often; here that is counted by the boots that were begun.
_SETTINGS = {
    "distributed.scheduler.allowed-failures": 1000,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.comm.timeouts.connect": "30s",
}


@contextmanager
def fleet(where: str, layout: Layout, progress: Progress, share: str = "", most: int = 0) -> Iterator[Fleet]:
    """The fleet at that place, for the block. UserError for a place that there is not, or without a worker that fits.

    `share` is where all hosts find what boots rest on; `most` the most boots that are given out at a time, 0: as many
    as there is room for.
    """
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what goes wrong is told in our own words
    with dask.config.set(_SETTINGS), _client(where, layout, progress) as client:
        made = Fleet(client, layout, progress, share, most)
        try:
            _await_workers(made, progress)
            if client.dashboard_link:
                progress.step(f"the dashboard of Dask: {client.dashboard_link}")
            yield made
        finally:
            made.close()


@contextmanager
def _client(where: str, layout: Layout, progress: Progress) -> Iterator[Client]:
    kind, _, rest = where.partition(":")
    if kind == "local":
        with _local(rest, layout) as client:
            yield client
    elif kind in ("tcp", "tls"):
        _require_tls(where)
        with _connected(where) as client:
            yield client
    else:
        raise UserError(f"--on {where!r} is no place for a fleet", hint=f"--on takes {WHERE_FORMS}")


@contextmanager
def _local(count: str, layout: Layout) -> Iterator[Client]:
    """Workers on this host, with its store and their shares of its RAM and processors."""
    if not count.isdecimal() or not 0 < int(count) <= _MOST_LOCAL:
        raise UserError(f"--on local:{count} says not how many workers", hint="--on local:2")
    workers = int(count)
    vcpus = max(1, int(cores() * VCPUS_PER_CORE))
    supplies = {RAM: max(0, most_for_guests()) // workers, CPUS: max(1, vcpus // workers)}
    with _environment(TTM_HARNESS_STORE=os.fspath(layout.root)):
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=max(1, vcpus // workers),
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            memory_limit=0,
            resources=supplies,
            preload=[PRELOAD],
            silence_logs=logging.CRITICAL,
        )
    with cluster, Client(cluster, set_as_default=False, timeout=_CONNECT_SECONDS) as client:
        yield client


@contextmanager
def _connected(address: str, security: Security | None = None) -> Iterator[Client]:
    """A client of a scheduler that is there."""
    try:
        client = Client(address, security=security, set_as_default=False, timeout=_CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError, TypeError, RuntimeError) as error:
        raise UserError(
            f"the scheduler at {address} cannot be had: {error}",
            hint="is it started, and is its TLS that of your Dask configuration? (docs/fleet.md)",
        ) from error
    with client:
        yield client


def _require_tls(address: str) -> None:
    """UserError for a scheduler elsewhere without encryption: whoever reaches it runs programs on all hosts."""
    host = urlsplit(address).hostname or ""
    if not address.startswith("tls://") and not _is_loopback(host):
        raise UserError(
            f"{address} is not encrypted: who can reach it can run anything on all of its hosts",
            hint="start scheduler and workers with TLS, and say tls:// (docs/fleet.md)",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _await_workers(made: Fleet, progress: Progress) -> None:
    """Until there is a worker that may be given work; who may not is said, and why."""
    deadline = Deadline(_WORKERS_SECONDS)
    waited = False
    while not (fit := made.workers()):
        if deadline.passed:
            why = made.unfit()
            raise InfraError(
                "no worker of the fleet can be given work: " + ("; ".join(why) if why else "there is none"),
                hint="the harness, QEMU and virtme-ng must be the same on all hosts (docs/fleet.md)",
            )
        if not waited:
            progress.step("waiting for workers")
            waited = True
        time.sleep(_LOOK_SECONDS)
    hosts = {one.host for one in fit.values()}
    progress.step(f"a fleet of {len(fit)} workers on {len(hosts)} hosts: {', '.join(sorted(hosts))}")
    for one in made.unfit():
        progress.step(f"given no work: {one}")


@contextmanager
def _environment(**words: str) -> Iterator[None]:
    """For processes that Dask starts: they take the whole of ours."""
    before: Mapping[str, str | None] = {name: os.environ.get(name) for name in words}
    os.environ.update(words)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
