# SPDX-License-Identifier: GPL-2.0-only
"""PCI devices for guests: why not, and that they come back. The kernel's part in binding is played (`played_lend.py`
beside the bus of files); tests/kernel/nested_passthrough.py has the real one.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.flow.devices import devices_lent, with_device, with_devices
from harness.flow.doctor import Status, _devices
from harness.flow.request import Request
from harness.guest import lending
from harness.guest.argv import qemu_words
from harness.guest.facts import guest_facts
from harness.guest.lending import LentElsewhere, give_back, is_lent, left_lent, lent
from harness.guest.pci import PciBus
from harness.judge.machine import machine_differences
from harness.model.codec import from_json, to_json
from harness.model.errors import InfraError, UserError
from harness.model.kernel import KernelSpec
from harness.model.machine import Machine
from harness.model.pci import PciDevice
from harness.model.tree import SourceSpec
from harness.model.units import MIB
from harness.proc import PIPE, spawn
from harness.store.layout import Layout
from tests.unit.inputs_support import Heard
from tests.unit.test_argv import LAUNCH
from tests.unit.test_machine_reached import REPORTED

GPU = "0000:03:00.0"
SOUND = "0000:03:00.1"
RAM = 256 * MIB


class Files:
    """A bus of files: what sysfs shows of a GPU with its sound function behind an IOMMU."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for driver in ("xe", "snd_hda_intel", "vfio-pci"):
            (root / "sys/bus/pci/drivers" / driver).mkdir(parents=True)
        (root / "dev/vfio").mkdir(parents=True)
        (root / "dev/vfio/7").touch()
        (root / "sys/bus/pci/drivers_probe").touch()
        self.device(GPU, "0x8086", "0xe20b", 0x030000, "xe")
        self.device(SOUND, "0x8086", "0xe2f7", 0x040300, "snd_hda_intel")
        self.device("0000:02:00.0", "0x8086", "0xe2ff", 0x060400, "pcieport")

    def device(self, address: str, vendor: str, device: str, kind: int, driver: str, group: int | None = 7) -> None:
        here = self.root / "sys/bus/pci/devices" / address
        here.mkdir(parents=True)
        (here / "vendor").write_text(vendor + "\n")
        (here / "device").write_text(device + "\n")
        (here / "class").write_text(f"{kind:#08x}\n")
        (here / "reset_method").write_text("flr bus\n")
        (here / "driver_override").write_text("(null)\n")
        (here / "own_driver").write_text(driver)  # of the played kernel: what probing finds
        (here / "driver").symlink_to(f"../drivers/{driver}")
        if group is not None:
            (here / "iommu_group").symlink_to(f"../../../kernel/iommu_groups/{group}")

    def driver(self, address: str) -> str:
        link = self.root / "sys/bus/pci/devices" / address / "driver"
        return link.readlink().name if link.is_symlink() else ""

    @property
    def drivers(self) -> tuple[str, str]:
        return self.driver(GPU), self.driver(SOUND)

    @property
    def bus(self) -> PciBus:
        return PciBus(self.root)

    def whys(self, device: str = f"vfio:{GPU}") -> list[str]:
        return [one.why for one in self.bus.objections(PciDevice.parse(device), RAM)]


AS_THEY_WERE, TAKEN = ("xe", "snd_hda_intel"), ("vfio-pci", "vfio-pci")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    monkeypatch.setattr(lending, "_LEND", Path(__file__).with_name("played_lend.py"))
    monkeypatch.setattr(lending, "_LOCK_SECONDS", 0.3)
    return Files(tmp_path / "host")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("vfio:0000:03:00.0", "vfio:0000:03:00.0"),
        ("vfio:03:00.0", "vfio:0000:03:00.0"),
        ("vfio:00AF:1f.7", None),
        ("vfio:AF:1F.7=8086:E20B", "vfio:0000:af:1f.7=8086:e20b"),
        ("vfio:8086:E20B", "vfio:8086:e20b"),
        ("vfio:8086:e20b=8086:e20b", None),
        ("vfio:8086:e20", None),
        ("vfio:0000:03:00.8", None),
        ("vfio:0000:03:20.0", None),
        ("0000:03:00.0", None),
        ("vfio:", None),
        ("vfio:../../../etc", None),
        ("vfio:0000:03:00.0,x-igd-opregion=on", None),
        ("vfio:0000:03:00.0\n", None),
    ],
)
def test_a_device_is_named_by_its_address_or_by_its_kind(text: str, shown: str | None) -> None:
    if shown is None:
        with pytest.raises(UserError):
            PciDevice.parse(text)
    else:
        assert str(PciDevice.parse(text)) == shown
        assert PciDevice.parse(shown) == PciDevice.parse(text)


def test_nothing_stands_against_a_free_one(files: Files) -> None:
    assert files.whys() == []
    assert files.whys(f"vfio:{GPU}=8086:e20b") == []


def test_a_device_that_is_not_there_names_those_that_are(files: Files) -> None:
    (said,) = files.bus.objections(PciDevice("0000:09:00.0"), RAM)
    assert said.why == "this host has no PCI device 0000:09:00.0"
    assert f"vfio:{GPU} (8086:e20b)" in said.hint


def test_another_device_at_the_address_is_told(files: Files) -> None:
    assert files.whys(f"vfio:{GPU}=8086:ffff") == [f"{GPU} is 8086:e20b, and not 8086:ffff as asked for"]


@pytest.mark.parametrize(
    ("kind", "word"), [(0x020000, "network card"), (0x010802, "storage"), (0x060400, "bridge"), (0x0C0330, "bus")]
)
def test_what_the_host_may_need_is_not_for_a_guest(files: Files, kind: int, word: str) -> None:
    files.device("0000:05:00.0", "0x1af4", "0x1041", kind, "virtio", 9)
    (why,) = files.whys("vfio:0000:05:00.0")
    assert word in why


def test_no_iommu(files: Files) -> None:
    files.device("0000:05:00.0", "0x1002", "0x73bf", 0x030000, "amdgpu", None)
    (why,) = files.whys("vfio:0000:05:00.0")
    assert "behind no IOMMU" in why


def test_another_device_in_the_group(files: Files) -> None:
    files.device("0000:04:00.0", "0x8086", "0x15f3", 0x020000, "igc")
    assert files.whys() == [f"{GPU} shares its IOMMU group 7 with 0000:04:00.0 (igc), which would go with it"]


def test_one_that_cannot_be_reset(files: Files) -> None:
    (files.root / "sys/bus/pci/devices" / GPU / "reset_method").write_text("\n")
    assert "cannot be reset" in files.whys()[0]


def _screen(files: Files, status: str) -> None:
    connector = files.root / "sys/bus/pci/devices" / GPU / "drm/card0/card0-DP-1"
    connector.mkdir(parents=True)
    (connector.parent / "uevent").write_text("MAJOR=226\nMINOR=0\nDEVNAME=dri/card0\nDEVTYPE=drm_minor\n")
    (connector / "status").write_text(status + "\n")


def test_a_screen_that_is_on_it(files: Files) -> None:
    _screen(files, "connected")
    assert files.whys() == [f"a screen is on {GPU} (card0-DP-1), which would go dark"]


def test_a_socket_without_a_screen_is_none(files: Files) -> None:
    _screen(files, "disconnected")
    assert files.whys() == []


def test_who_uses_it_is_named(files: Files) -> None:
    _screen(files, "connected")
    process = files.root / "proc/812"
    (process / "fd").mkdir(parents=True)
    (process / "comm").write_text("gnome-shell\n")
    (process / "fd/9").symlink_to("/dev/dri/card0")
    assert files.whys() == [f"{GPU} is in use by gnome-shell (process 812)"]


def test_without_the_driver(files: Files) -> None:
    (files.root / "sys/bus/pci/drivers/vfio-pci").rmdir()
    assert files.whys() == ["the driver vfio-pci is not loaded in this host's kernel"]


def test_lent_and_given_back(files: Files, scratch_layout: Layout) -> None:
    with lent(PciDevice(GPU), RAM, scratch_layout, files.bus) as found:
        assert str(found) == f"vfio:{GPU}=8086:e20b"
        assert files.drivers == TAKEN
        assert left_lent(scratch_layout) == (GPU,)
        assert is_lent(GPU, scratch_layout)
    assert files.drivers == AS_THEY_WERE
    assert left_lent(scratch_layout) == ()
    assert not is_lent(GPU, scratch_layout)


def test_given_back_after_an_error(files: Files, scratch_layout: Layout) -> None:
    with pytest.raises(ZeroDivisionError), lent(PciDevice(GPU), RAM, scratch_layout, files.bus):
        raise ZeroDivisionError
    assert files.drivers == AS_THEY_WERE


def test_what_was_with_vfio_before_stays_there(files: Files, scratch_layout: Layout) -> None:
    for address in (GPU, SOUND):
        link = files.root / "sys/bus/pci/devices" / address / "driver"
        link.unlink()
        link.symlink_to("../drivers/vfio-pci")
    with lent(PciDevice(GPU), RAM, scratch_layout, files.bus):
        assert left_lent(scratch_layout) == ()
    assert files.drivers == TAKEN


def test_one_that_had_no_driver_has_none_again(files: Files, scratch_layout: Layout) -> None:
    (files.root / "sys/bus/pci/devices" / GPU / "driver").unlink()
    with lent(PciDevice(GPU), RAM, scratch_layout, files.bus):
        assert files.drivers == TAKEN
    assert files.drivers == ("", "snd_hda_intel")


def test_two_cannot_have_it(files: Files, scratch_layout: Layout) -> None:
    with (
        lent(PciDevice(GPU), RAM, scratch_layout, files.bus),
        pytest.raises(InfraError, match="lent to another"),
        lent(PciDevice(GPU), RAM, scratch_layout, files.bus),
    ):
        pass
    assert files.drivers == AS_THEY_WERE


def test_two_stores_cannot_have_it(files: Files, scratch_layout: Layout, tmp_path: Path) -> None:
    """What one has bound to vfio-pci is not for the other to take as it finds it."""
    other = Layout(tmp_path / "other")
    with (
        lent(PciDevice(GPU), RAM, scratch_layout, files.bus),
        pytest.raises(InfraError, match="lent to another"),
        lent(PciDevice(GPU), RAM, other, files.bus),
    ):
        pytest.fail("it was lent twice")
    assert files.drivers == AS_THEY_WERE
    with lent(PciDevice(GPU), RAM, other, files.bus):
        assert files.drivers == TAKEN


def test_a_driver_that_does_not_let_go(files: Files, scratch_layout: Layout) -> None:
    (files.root / "sys/bus/pci/devices" / GPU / "stuck").touch()
    with (
        pytest.raises(InfraError, match=r"cannot be taken: 0000:03:00\.0 is with xe"),
        lent(PciDevice(GPU), RAM, scratch_layout, files.bus),
    ):
        pytest.fail("it was not taken")
    assert files.drivers == AS_THEY_WERE


def test_a_driver_that_takes_its_time_to_let_go(
    files: Files, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What hangs in the kernel is not waited for; it is given back when that is over."""
    monkeypatch.setattr(lending, "_TAKE_SECONDS", 0.2)
    waits = files.root / "sys/bus/pci/devices" / GPU / "waits"
    waits.touch()
    with (
        pytest.raises(InfraError, match=r"did not let go of it within 0\.2 s"),
        lent(PciDevice(GPU), RAM, scratch_layout, files.bus),
    ):
        pytest.fail("it was not taken")
    waits.unlink()
    limit = time.monotonic() + 60
    while left_lent(scratch_layout):
        assert time.monotonic() < limit
        time.sleep(0.05)
    assert files.drivers == AS_THEY_WERE


def test_one_that_does_not_come_back_is_told_and_kept_in_mind(files: Files, scratch_layout: Layout) -> None:
    stuck = files.root / "sys/bus/pci/devices" / GPU / "stuck"
    with pytest.raises(InfraError, match="not as it was"), lent(PciDevice(GPU), RAM, scratch_layout, files.bus):
        stuck.touch()
    assert left_lent(scratch_layout) == (GPU,)
    (said, _) = _devices(scratch_layout, files.bus)
    assert said.status is Status.ABSENT
    assert "doctor --fix gives it back" in said.detail
    stuck.unlink()
    give_back(GPU, scratch_layout, files.bus)
    assert files.drivers == AS_THEY_WERE
    assert left_lent(scratch_layout) == ()


def test_one_that_was_pulled_is_nobodys_to_give_back(files: Files, scratch_layout: Layout) -> None:
    with lent(PciDevice(GPU), RAM, scratch_layout, files.bus):
        shutil.rmtree(files.root / "sys/bus/pci/devices" / GPU)
    assert files.drivers == ("", "snd_hda_intel")
    assert left_lent(scratch_layout) == ()


_HOLDER = """
import sys
from pathlib import Path
from harness.guest import lending
from harness.guest.pci import PciBus
from harness.model.pci import PciDevice
from harness.store.layout import Layout
lending._LEND = Path(sys.argv[3])
with lending.lent(PciDevice(sys.argv[4]), 256 << 20, Layout(Path(sys.argv[1])), PciBus(Path(sys.argv[2]))):
    print("lent", flush=True)
    sys.stdin.read()
"""


def _holder(files: Files, layout: Layout) -> tuple[str, ...]:
    played = str(Path(__file__).with_name("played_lend.py"))
    return (sys.executable, "-c", _HOLDER, str(layout.root), str(files.root), played, GPU)


def _until(what: str, is_so: object, wanted: object) -> None:
    limit = time.monotonic() + 30.0
    while time.monotonic() < limit:
        if callable(is_so) and is_so() == wanted:
            return
        time.sleep(0.02)
    pytest.fail(what)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_given_back_when_the_harness_is_killed(files: Files, scratch_layout: Layout, number: int) -> None:
    read_end, write_end = os.pipe()
    with (
        os.fdopen(read_end, "rb") as stdin,
        spawn(_holder(files, scratch_layout), stdin=stdin, stdout=PIPE, reaped=False) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == b"lent\n"
        assert files.drivers == TAKEN
        os.killpg(process.pid, number)
        _until("it was not given back", lambda: files.drivers, AS_THEY_WERE)
    os.close(write_end)
    _until("it is still in mind", lambda: left_lent(scratch_layout), ())


def test_the_next_command_gives_back_what_nobody_did(files: Files, scratch_layout: Layout) -> None:
    """The lender was killed, too: a host that lost its power looks like it."""
    with lent(PciDevice(GPU), RAM, scratch_layout, files.bus):
        file = scratch_layout.locks / "lent" / f"{GPU}.json"
        kept = file.read_text()
    file.write_text(kept)
    for address in (GPU, SOUND):
        link = files.root / "sys/bus/pci/devices" / address / "driver"
        link.unlink()
        link.symlink_to("../drivers/vfio-pci")
    with lent(PciDevice(GPU), RAM, scratch_layout, files.bus):
        assert files.drivers == TAKEN
    assert files.drivers == AS_THEY_WERE


def _request(machine: Machine) -> Request:
    return Request(KernelSpec(SourceSpec.parse("debian"), "tiny"), machine, ("kunit-self",))


def test_a_run_says_which_device_it_was(files: Files) -> None:
    (request,) = with_devices([_request(Machine(device=f"vfio:{GPU}"))], files.bus)
    assert request.machine.device == f"vfio:{GPU}=8086:e20b"
    assert with_devices([_request(Machine())], files.bus) == (_request(Machine()),)


def test_a_run_that_cannot_have_it_ends_before_anything_is_built(files: Files) -> None:
    with pytest.raises(UserError, match="no PCI device"):
        with_devices([_request(Machine(device="vfio:0000:09:00.0"))], files.bus)


def test_guests_have_it_one_after_the_other(files: Files, scratch_layout: Layout) -> None:
    machines: Sequence[Machine] = [Machine(device=f"vfio:{GPU}"), Machine(), Machine(device=f"vfio:{GPU}", cpus=1)]
    with devices_lent(machines, scratch_layout, Heard(), files.bus) as devices:
        assert devices == {f"vfio:{GPU}": f"vfio:{GPU}=8086:e20b"}
        assert files.drivers == TAKEN
    assert files.drivers == AS_THEY_WERE


def test_of_a_kind_the_first_that_is_free_is_lent(files: Files, scratch_layout: Layout) -> None:
    """One that is with vfio-pci already comes before one that has to be taken from its driver."""
    files.device("0000:04:00.0", "0x8086", "0xe20b", 0x030000, "vfio-pci", 8)
    (files.root / "dev/vfio/8").touch()
    kind = "vfio:8086:e20b"
    machines = (Machine(device=kind),)
    assert with_device(machines[0], files.bus) == machines[0]
    with devices_lent(machines, scratch_layout, Heard(), files.bus) as first:
        assert first == {kind: "vfio:0000:04:00.0=8086:e20b"}
        assert files.drivers == AS_THEY_WERE
        with (
            pytest.raises(LentElsewhere, match="each vfio:8086:e20b of this host is lent"),
            devices_lent(machines, scratch_layout, Heard(), files.bus, set_aside=True),
        ):
            pytest.fail("it took one from its driver")
        with devices_lent(machines, scratch_layout, Heard(), files.bus) as second:
            assert second == {kind: f"vfio:{GPU}=8086:e20b"}
            assert files.drivers == TAKEN
        assert files.drivers == AS_THEY_WERE
    with pytest.raises(UserError, match="no PCI device 8086:56a0"):
        with_device(Machine(device="vfio:8086:56a0"), files.bus)


def test_of_a_kind_that_cannot_be_lent_it_is_said_why(files: Files) -> None:
    (files.root / "sys/bus/pci/devices" / GPU / "reset_method").write_text("")
    with pytest.raises(UserError, match="cannot be reset"):
        with_device(Machine(device="vfio:8086:e20b"), files.bus)


def test_qemu_is_given_it() -> None:
    words = qemu_words(replace(LAUNCH, machine=Machine(device=f"vfio:{GPU}=8086:e20b")))
    assert f"vfio-pci,host={GPU}" in words


def test_a_guest_without_it_is_no_evidence() -> None:
    machine = Machine(device=f"vfio:{GPU}=8086:e20b")
    unlike = {
        said: [one for one in machine_differences(machine, facts) if one.what == "PCI device"]
        for said in ("8086:29c0 8086:e20b", "8086:29c0", "", "8086:e20", "8086:e20b0")
        if (facts := guest_facts({**REPORTED, "pci": said})) is not None
    }
    assert [said for said, found in unlike.items() if not found] == ["8086:29c0 8086:e20b"]
    assert unlike["8086:29c0"][0].got == "8086:29c0"


def test_what_is_rare_is_written_only_where_it_is() -> None:
    assert '"device"' not in to_json(Machine())
    machine = Machine(device=f"vfio:{GPU}")
    assert from_json(Machine, to_json(machine)) == machine
    assert machine.identity != Machine().identity
    assert str(machine).endswith(f"vfio:{GPU}")


def test_a_test_machine_has_its_own_devices() -> None:
    with pytest.raises(UserError, match="has its own devices"):
        Machine(at="ssh:root@box", device=f"vfio:{GPU}")
