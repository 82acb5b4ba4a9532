# SPDX-License-Identifier: GPL-2.0-only
"""`--on WHERE`: a cluster of Dask that is there, or one that is made for the run; and the fleet in it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import dask
from distributed import Client, LocalCluster
from distributed.security import Security

from harness.fleet.fleet import Fleet
from harness.fleet.join import Joining, security_of
from harness.fleet.order import CPUS, RAM
from harness.fleet.slurm import PRELOAD, slurm_jobs
from harness.fleet.ssh_hosts import SshWorkers, joined, read_hosts
from harness.fleet.where import FleetPlace
from harness.flow.admission import VCPUS_PER_CORE
from harness.flow.resources import cores, most_for_guests
from harness.model.errors import InfraError, UserError
from harness.model.progress import FleetProgress, Progress
from harness.proc import Deadline
from harness.store.layout import Layout
from harness.store.scratch import scratch_directory

_CONNECT_SECONDS = 60
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
def fleet(where: str, layout: Layout, progress: FleetProgress, share: str = "", most: int = 0) -> Iterator[Fleet]:
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
                progress.step(_dashboard(client))
            yield made
        finally:
            made.close()


def _dashboard(client: Client) -> str:
    """Where it is; a scheduler without bokeh has the address, and nothing there."""
    try:
        client.run_on_scheduler(metadata.version, "bokeh")
    except metadata.PackageNotFoundError:
        return "no dashboard of Dask: its scheduler has no bokeh (pip install 'ttm-harness[dashboard]')"
    return f"the dashboard of Dask: {client.dashboard_link}"


@contextmanager
def _client(where: str, layout: Layout, progress: Progress) -> Iterator[Client]:
    place = FleetPlace.parse(where)
    if place.kind == "local":
        clients = local_workers(int(place.rest), layout.root)
    elif place.kind == "slurm":
        clients = slurm_jobs(Path(place.rest))
    elif place.kind == "ssh":
        clients = _by_ssh(Path(place.rest), layout, progress)
    else:
        clients = _connected(place.text)
    with clients as client:
        yield client


@contextmanager
def local_workers(workers: int, store: Path) -> Iterator[Client]:
    """Workers on this host, with that store and their shares of its RAM and processors."""
    vcpus = max(1, int(cores() * VCPUS_PER_CORE))
    supplies = {RAM: max(0, most_for_guests()) // workers, CPUS: max(1, vcpus // workers)}
    with _environment(TTM_HARNESS_STORE=os.fspath(store)):
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
def _by_ssh(file: Path, layout: Layout, progress: Progress) -> Iterator[Client]:
    """The scheduler on this host, and workers on the hosts of the file; all that goes between them is encrypted."""
    told = read_hosts(file)
    security = Security.temporary()
    keys = security.get_tls_config_for_role("client")
    try:
        cluster = LocalCluster(
            n_workers=0,
            host=told.listen,
            protocol="tls",
            security=security_of(keys["ca_file"], keys["key"]),
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        )
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"the scheduler cannot listen at {told.listen}: {error}",
            hint=f"listen, in {file}, is an address of this host",
        ) from error
    joining = Joining(cluster.scheduler_address, keys["ca_file"], keys["key"])
    with cluster, scratch_directory(layout) as logs, joined(told.hosts, joining, logs) as there:
        with Client(cluster, set_as_default=False, timeout=_CONNECT_SECONDS) as client:
            _await_ssh(client, there, progress)
            yield client


def _await_ssh(client: Client, there: SshWorkers, progress: Progress) -> None:
    """Until all have come that still can, or time is up; then those that are there must do. InfraError when none is:
    what ssh says is the reason. Who is not there is told.
    """
    deadline = Deadline(_WORKERS_SECONDS)
    while True:
        come, lost = len(client.scheduler_info(n_workers=-1)["workers"]), there.lost()
        if deadline.passed or come + len(lost) >= len(there.connections):
            break
        time.sleep(_LOOK_SECONDS)
    if not come:
        raise InfraError("no host became a worker: " + ("; ".join(lost) if lost else "none has come in time"))
    for one in lost:
        progress.step(f"not in the fleet: {one}")


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
    made.show()
    hosts = {one.host for one in fit.values()}
    progress.step(f"workers of the fleet: {len(fit)}, on {', '.join(sorted(hosts))}")
    for host, devices in sorted({one.host: one.devices for one in fit.values() if one.devices}.items()):
        progress.step(f"{host} has for guests: {', '.join(devices)}")
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
