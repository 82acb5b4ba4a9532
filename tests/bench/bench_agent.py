# SPDX-License-Identifier: GPL-2.0-only
"""The agent beside ssh in the same guest: a command there and back, 100 MB there and back, what stays in memory; and
what another root costs at boot.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.checkout import data_directory
from harness.flow.boots import BootEnvironment
from harness.flow.live import LiveGuest, live_guest
from harness.flow.prepare import parts_of_root
from harness.guest.root import guest_root
from harness.inputs.resolve import resolve
from harness.kernel.build import obtain
from harness.kernel.fragments import read_profile
from harness.model.kernel import PreparedKernel
from harness.model.machine import Accel, Machine, Swap
from harness.model.root import PreparedRoot
from harness.model.tree import SourceSpec
from harness.model.units import MIB
from harness.proc import Deadline
from harness.store.layout import Layout
from tests.functional.conftest import Quiet
from tests.functional.conftest import debian as debian

ROUNDS = 30
BOOTS = 3
BYTES = 100_000_000
MACHINE = Machine(ram=256 * MIB, swap=Swap(), accel=Accel.TCG)


@pytest.fixture(scope="module", name="environment")
def fixture_environment(layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> BootEnvironment:
    tree = resolve(SourceSpec.parse("debian"), layout, Deadline(1800), Quiet())
    build = obtain(tree, read_profile("lean", data_directory("kernel-configs")), layout, Deadline(7200), Quiet())
    own = guest_root(layout, parts_of_root(), Deadline(60))
    return BootEnvironment(PreparedKernel(build, {}), own, tmp_path_factory.mktemp("bench"), Quiet())


def timed(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


def show(what: str, seconds: list[float]) -> None:
    middle = statistics.median(seconds)
    print(f"{what:<44}{middle * 1e3:>10.1f} ms  ({min(seconds) * 1e3:.1f} to {max(seconds) * 1e3:.1f})")


def round_trips(guest: LiveGuest) -> None:
    guest.run(("true",), over="ssh")
    for over in ("agent", "ssh"):
        show(f"`true` over {over}", [timed(lambda: guest.run(("true",), over=over)) for _ in range(ROUNDS)])  # noqa: B023
    show("ping of the agent", [timed(guest.ping) for _ in range(ROUNDS)])


def copies(guest: LiveGuest, place: Path) -> None:
    file = place / "data"
    file.write_bytes(bytes(BYTES))
    target, place_in_guest = place / "back", "/results/data"
    with guest.ssh() as client:
        files = client.open_sftp()
        rows = (
            ("push over the agent", lambda: guest.push(file, place_in_guest)),
            ("pull over the agent", lambda: guest.pull(place_in_guest, target)),
            ("put over sftp", lambda: files.put(str(file), place_in_guest)),
            ("get over sftp", lambda: files.get(place_in_guest, str(target))),
        )
        for what, action in rows:
            seconds = timed(action)
            print(f"{what:<44}{seconds:>10.1f} s   {BYTES / seconds / 1e6:.1f} MB/s")
    assert target.read_bytes() == bytes(BYTES)


def test_the_agent_beside_ssh(
    environment: BootEnvironment,
    debian: PreparedRoot,
    layout: Layout,
    tmp_path: Path,
) -> None:
    with live_guest(replace(environment, other=debian), MACHINE, layout, ssh=True) as guest:
        round_trips(guest)
        copies(guest, tmp_path)
        agent = "grep -E '^(VmRSS|VmLck|VmSize)' /proc/$PPID/status"
        sshd = "for p in $(pidof sshd sshd-session); do grep -hE '^(Name|VmRSS|VmLck)' /proc/$p/status; done"
        for command in (agent, sshd):
            print(" ".join(guest.run(command).text.split()))


def test_another_root_at_boot(environment: BootEnvironment, debian: PreparedRoot, layout: Layout) -> None:
    for name, other in (("busybox", None), (str(debian.spec), debian)):
        up, first = [], []
        for number in range(BOOTS):
            began = time.monotonic()
            with live_guest(replace(environment, other=other), MACHINE, layout, f"{name[:7]}-{number}") as guest:
                up.append(time.monotonic() - began)
                first.append(timed(lambda: guest.run(("sh", "-c", "cat /etc/passwd"))))
        show(f"boot to agent, root {name}", up)
        show("  and its first command", first)
