# SPDX-License-Identifier: GPL-2.0-only
"""A device by its kind: any host that has one set aside for guests makes the boot, and says which one it was.

Buses are files (test_passthrough.py), guests stand in for QEMU; the worker of Dask is in this process, so that it has
that bus.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import dask
import pytest
from distributed import Client, LocalCluster

from harness.fleet import clusters, worker
from harness.fleet import order as order_module
from harness.fleet.clusters import fleet
from harness.fleet.slurm import PRELOAD
from harness.flow.request import Request
from harness.flow.resources import guest_devices
from harness.flow.run import RunOptions, execute
from harness.guest.lending import lent
from harness.guest.pci import PciBus
from harness.model.errors import UserError
from harness.model.outcome import Verdict
from harness.model.pci import PciDevice
from harness.model.result import Report
from harness.store.layout import Layout
from tests.unit.stand_in import ASKED_ACCEL, READY, say
from tests.unit.stand_in.cells import BOOTS, MACHINE, good, request
from tests.unit.stand_in.runs import Ground
from tests.unit.test_passthrough import GPU, RAM, SOUND, Files

KIND = "vfio:8086:e20b"
SECOND = "0000:04:00.0"
SEES = (say("Linux version 7.3.4"), READY, ASKED_ACCEL, ("facts", ["pci=8086:29c0 8086:e20b"]))
REST = good()[len(BOOTS) :]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    made = Files(tmp_path / "host")
    monkeypatch.setattr(PciBus.__init__, "__defaults__", (made.root,))
    return made


@pytest.fixture
def ground(tmp_path: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Ground:
    return Ground(tmp_path / "ground", scratch_layout, monkeypatch)


def set_aside(files: Files, address: str, group: int) -> None:
    """Its driver is vfio-pci, as its owner has made it."""
    devices = files.root / "sys/bus/pci/devices"
    for one in (GPU, SOUND) if address == GPU else ():
        (devices / one / "driver").unlink()
        (devices / one / "driver").symlink_to("../drivers/vfio-pci")
    if address != GPU:
        files.device(address, "0x8086", "0xe20b", 0x030000, "vfio-pci", group)
    (files.root / f"dev/vfio/{group}").touch()
    (files.root / "sys/bus/pci/drivers/vfio-pci" / address).symlink_to(f"../../devices/{address}")


def asked(device: str, **more: object) -> tuple[Request, ...]:
    return (replace(request(**more), machine=replace(MACHINE, device=device, cpus=1)),)  # type: ignore[arg-type]


@pytest.fixture
def one_worker(files: Files, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    @contextmanager
    def in_this_process(guests: int, store: Path) -> Iterator[Client]:
        monkeypatch.setenv("TTM_HARNESS_STORE", str(store))
        with (
            dask.config.set({"distributed.worker.daemon": False}),
            LocalCluster(
                n_workers=1, threads_per_worker=guests, processes=False, dashboard_address=":0", preload=[PRELOAD]
            ) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            yield client

    monkeypatch.setattr(clusters, "local_workers", in_this_process)
    driver = files.root / "sys/bus/pci/drivers/vfio-pci"
    monkeypatch.setattr(order_module, "guest_devices", functools.partial(guest_devices, driver))
    worker.station.cache_clear()
    yield
    worker.station.cache_clear()


def made_on(ground: Ground, guests: int, *requests: Request) -> tuple[Report, Path]:
    with fleet(f"local:{guests}", ground.layout, ground.told) as hosts:
        return execute(requests, ground.layout, ground.told, RunOptions(hosts=hosts))


@pytest.mark.usefixtures("one_worker")
def test_two_guests_of_a_fleet_have_two_of_a_kind(files: Files, ground: Ground) -> None:
    set_aside(files, GPU, 7)
    set_aside(files, SECOND, 8)
    for name, other in (("first", "second"), ("second", "first")):
        ground.plays((*SEES, ("reach", name), ("until", f"{other}.reached"), *REST))
    report, directory = made_on(ground, 2, *asked(KIND, repeat=2))
    assert (report.verdict, report.reasons) == (Verdict.GOOD, ())
    assert {run.cell.machine.device for run in report.runs} == {KIND}
    addresses = {run.directory: note.rpartition(" ")[2] for run in report.runs for note in run.notes}
    assert sorted(addresses.values()) == [GPU, SECOND]
    for place, address in addresses.items():
        assert f"vfio-pci,host={address}" in (directory / place / "argv").read_text()
        assert f"vfio-pci,host={address}" in (directory / place / "reproduce.sh").read_text()
    for address in (GPU, SECOND):
        assert files.driver(address) == "vfio-pci"
        with lent(PciDevice(address), RAM, ground.layout):
            pass  # nobody has it


@pytest.mark.usefixtures("one_worker")
def test_a_worker_does_not_sample_its_tasks(ground: Ground) -> None:
    """For hours, while they wait for guests; Dask's own worker does."""
    sampled = {"profile", "profile-cycle"}
    with fleet("local:1", ground.layout, ground.told) as hosts:
        (callbacks,) = hosts._client.run(lambda dask_worker: set(dask_worker.periodic_callbacks)).values()
    assert "heartbeat" in callbacks
    assert not sampled & callbacks
    with LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as plain:
        assert sampled <= set(plain.workers[0].periodic_callbacks)


@pytest.mark.usefixtures("one_worker")
def test_a_guest_that_does_not_see_it_is_no_evidence(files: Files, ground: Ground) -> None:
    set_aside(files, GPU, 7)
    ground.plays(good())
    report, _ = made_on(ground, 1, *asked(KIND))
    assert report.verdict is Verdict.CANNOT_TELL
    assert any("PCI device" in reason for reason in report.reasons)


@pytest.mark.usefixtures("one_worker")
def test_who_finds_it_lent_waits(files: Files, ground: Ground, tmp_path: Path) -> None:
    set_aside(files, GPU, 7)
    waits, held = threading.Event(), threading.Event()
    ground.told.when(f"1:waits for {KIND}", waits.set)

    def hold() -> None:
        with lent(PciDevice(GPU), RAM, Layout(tmp_path / "other")):
            held.set()
            waits.wait(60.0)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(60.0)
    ground.plays((*SEES, *REST))
    report, _ = made_on(ground, 1, *asked(KIND))
    holder.join()
    assert waits.is_set()
    assert report.verdict is Verdict.GOOD


@pytest.mark.usefixtures("one_worker")
def test_what_a_fleet_refuses(files: Files, ground: Ground) -> None:
    """One with a driver is not set aside; an address is of one host; the guest has to fit where the device is."""
    with pytest.raises(
        UserError, match="no host of the fleet has vfio:8086:e20b set aside for guests: they have none"
    ):
        made_on(ground, 1, *asked(KIND))
    with pytest.raises(UserError, match="is of one host"):
        made_on(ground, 1, *asked(f"vfio:{GPU}"))
    set_aside(files, GPU, 7)
    order_module.own_facts.cache_clear()
    with pytest.raises(UserError, match="no host of the fleet can carry"):
        made_on(ground, 1, *(replace(one, machine=replace(one.machine, ram=1 << 50)) for one in asked(KIND)))
    with pytest.raises(UserError, match=r"has vfio:8086:56a0 set aside for guests: they have 8086:e20b"):
        made_on(ground, 1, *asked("vfio:8086:56a0"))


def test_a_run_on_this_host_takes_one_of_the_kind(files: Files, ground: Ground) -> None:
    set_aside(files, SECOND, 8)
    ground.plays((*SEES, *REST))
    report, directory = ground.execute(*asked(KIND))
    (run,) = report.runs
    assert (report.verdict, run.cell.machine.device) == (Verdict.GOOD, KIND)
    assert run.notes == (f"{KIND} was {SECOND}",)
    assert f"vfio-pci,host={SECOND}" in (directory / run.directory / "argv").read_text()
    with pytest.raises(UserError, match="this host has no PCI device 8086:56a0"):
        ground.execute(*asked("vfio:8086:56a0"))
