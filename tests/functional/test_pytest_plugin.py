# SPDX-License-Identifier: GPL-2.0-only
"""The pytest plugin with real guests: what a kernel says and how it dies, workers and guests that are killed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from harness.model.build import Build
from tests.functional.plugin_support import Plugin
from tests.processes import command_lines

pytest_plugins = ("pytester",)
pytestmark = pytest.mark.timeout(1200)

GUESTS = """
import os
import signal
from pathlib import Path

import pytest

PROVOKE = "modprobe lkdtm; echo WARNING >/sys/kernel/debug/provoke-crash/DIRECT"


def test_kernel(kernel, guest_session):
    assert guest_session.run("uname -r", check=True).text.strip() == kernel.release


def test_warns(guest_session):
    guest_session.run(PROVOKE, check=True)


def test_after(guest_session):
    pass


@pytest.mark.kernel_events(allow=["warning"])
def test_allowed(guest_session):
    guest_session.run(PROVOKE, check=True)


def test_dies(guest_session):
    guest_session.run("echo c >/proc/sysrq-trigger; sleep 60")


def test_new(guest_session):
    assert guest_session.run("true").good


def test_killed_from_outside(guest_session):
    place = os.fsencode(str(guest_session.directory))
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        words = path.read_bytes()
        if place in words and b"qemu-system" in words:
            os.kill(int(path.parent.name), signal.SIGKILL)
    guest_session.run(("sleep", "60"))


@pytest.mark.guest(ram="160M", swap="disk:64M")
def test_machine(guest_session):
    memory = guest_session.meminfo()
    assert memory["MemTotal"] > 128 << 20 and memory["SwapTotal"] == (64 << 20) - 4096


@pytest.mark.guest(ram="96M")
@pytest.mark.kernel_events(allow=["page-alloc-failure"])
def test_oom(guest):
    guest.run("echo 1 >/proc/sys/vm/overcommit_memory; hog 200M 5")


@pytest.mark.guest(cmdline="panic=-1 init=/nothing")
def test_does_not_boot(guest):
    pass
"""


def test_a_kernel_that_speaks_or_dies(tiny: Build, plugin: Plugin) -> None:
    (plugin.place / "test_guests.py").write_text(GUESTS)
    assert plugin.run() == {
        **dict.fromkeys(("test_kernel", "test_after", "test_allowed", "test_new", "test_machine"), "passed"),
        **dict.fromkeys(("test_warns", "test_dies", "test_killed_from_outside", "test_oom"), "failure"),
        "test_does_not_boot": "error",
    }, plugin.said
    texts = plugin.texts
    assert "lkdtm_do_action" in texts["test_warns"]
    assert "all that the guest left: " in texts["test_warns"]
    assert "ending: PANICKED" in texts["test_dies"]
    assert "sysrq triggered crash" in texts["test_dies"]
    assert "lkdtm" not in texts["test_dies"]
    assert "harness/guest/agent.py" not in plugin.said
    assert "ending: LOST" in texts["test_killed_from_outside"]
    assert "hog (pid" in texts["test_oom"]
    assert nothing_runs(plugin.place)


WORKERS = """
import os
import signal

import pytest


@pytest.mark.parametrize("number", range(4))
def test_good(guest_session, number):
    assert guest_session.run("true").good


@pytest.mark.guest(swap="disk:64M")
def test_killed(guest):
    with open("killed", "w") as file:
        file.write(str(guest.directory))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_worker_that_is_killed_leaves_nothing(tiny: Build, plugin: Plugin) -> None:
    (plugin.place / "test_workers.py").write_text(WORKERS)
    found = plugin.run("-n", "2")
    assert {name for name, how in found.items() if how == "passed"} == {f"test_good[{number}]" for number in range(4)}
    assert "crashed while running 'test_workers.py::test_killed'" in plugin.said
    left = Path((plugin.place / "killed").read_text())
    assert not [*left.glob("*.img"), *left.glob("scratch")], plugin.said
    assert nothing_runs(left)


SUITE = """
title = "its outcomes"
symbols = ["SWAP"]
profile = "tiny"
deadline = 60

[[floor]]
case = "*"
least = 1

[[expected_failures]]
case = "m.known"
message = ""
reason = "a bug that is known"
"""
RUNNER = """#!/bin/sh
say() { echo "<5>$1" >/dev/kmsg; }
say "KTAP version 1"
say "1..1"
say "    KTAP version 1"
say "    # Subtest: m"
say "    1..6"
say "    ok 1 good"
say "    # bad: expected 3, got 4"
say "    not ok 2 bad"
say "    ok 3 skipped # SKIP no hardware"
say "    not ok 4 known"
modprobe lkdtm
echo WARNING >/sys/kernel/debug/provoke-crash/DIRECT
say "    ok 5 warns"
say "    ok 6 last"
say "not ok 1 m"
"""


def test_a_suite_of_the_users_own_by_its_folder(tiny: Build, plugin: Plugin) -> None:
    folder = plugin.place / "mine"
    folder.mkdir()
    (folder / "suite.toml").write_text(SUITE)
    (folder / "run").write_text(RUNNER)
    assert plugin.run("--ttm-suite", "./mine") == {
        "m.good": "passed",
        "m.bad": "failure",
        "m.skipped": "skipped",
        "m.known": "skipped",
        "m.warns": "failure",
        "m.last": "passed",
    }, plugin.said
    assert "lkdtm" in plugin.texts["m.warns"]
    assert plugin.run("--ttm-suite", "./mine", "mine::m.good", "mine::m.bad") == {
        "m.good": "passed",
        "m.bad": "failure",
    }


def nothing_runs(place: Path) -> bool:
    """No process that has the place in its command line; a moment is theirs to end."""
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        if not any(str(place).encode() in words for words in _commands()):
            return True
        time.sleep(0.2)
    return False


def _commands() -> list[bytes]:
    return [words for words in command_lines() if b"qemu" in words or b"vng" in words]
