# SPDX-License-Identifier: GPL-2.0-only
"""What the program that runs a guest may write to, were a guest to take it over; vng is a script here that tries."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from harness.flow.boots import reproduce_text
from harness.guest.argv import Launch, Share, SwapDisk
from harness.guest.boot import boot
from harness.guest.liveness import BootLimits
from harness.model.cell import Cell
from harness.model.machine import Accel, Machine, Swap
from harness.model.outcome import Ending
from harness.sandbox import CHOICE, containment


def launch_in(root: Path, swap: Swap) -> Launch:
    for name in ("boot/results", "build/modules", "root", "sockets"):
        (root / name).mkdir(parents=True)
    (root / "build" / "bzImage").write_text("image\n")
    return Launch(
        image=root / "build" / "bzImage",
        root=root / "root",
        machine=Machine(swap=swap, accel=Accel.TCG),
        accel=Accel.TCG,
        shares=(
            Share("harness.results", root / "boot" / "results", writable=True),
            Share("harness.modules", root / "build" / "modules"),
        ),
        swap_disks=(SwapDisk(root / "boot" / "swap0.img", "harness-swap0"),) if swap.areas else (),
        control=root / "boot" / "control.log",
        qmp=root / "sockets" / "qmp",
    )


def fake_vng(root: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    folder = root / "bin"
    folder.mkdir()
    (folder / "vng").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "vng").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_a_guest_writes_to_its_own_directory_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = launch_in(tmp_path, Swap())
    (tmp_path / "other").mkdir()
    marker = f"/tmp/ttm-test-guest-{os.getpid()}"
    bad = [launch.image, launch.root / "x", launch.shares[1].path / "x", tmp_path / "other" / "x", Path(marker)]
    good = [launch.control, launch.shares[0].path / "x", launch.qmp.parent / "x"]
    tries = "\n".join(f"(echo evil >> {shlex.quote(str(path))}) 2>/dev/null" for path in (*bad, *good))
    fake_vng(tmp_path, monkeypatch, f"cat {launch.image}\n{tries}\nls -d {tmp_path}/other ~/.config\n")
    if not containment().backend:
        pytest.fail("no containment") if os.environ.get("CI") else pytest.skip(containment().why)
    limits = BootLimits(boot=20, run=20, silence=20)
    result = boot(launch, tmp_path / "boot" / "console.log", limits)
    assert result.ending is Ending.LOST
    console = (tmp_path / "boot" / "console.log").read_text()
    assert console == "image\n"  # it saw what it boots, and neither its neighbours nor the user's settings
    assert launch.image.read_text() == "image\n"
    assert [path for path in (*bad[1:], *good) if path.exists()] == good


def test_the_replay_of_a_boot_has_a_home_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOICE, "none")
    launch = launch_in(tmp_path, Swap.parse("disk:1M"))
    fake_vng(tmp_path, monkeypatch, 'echo "$HOME"; echo "${XDG_CONFIG_HOME-unset}"; ls -A again; echo "$@"')
    for name in ("job", "suites"):
        (launch.shares[0].path / name).write_text("")
    script = tmp_path / "boot" / "reproduce.sh"
    script.write_text(reproduce_text(Cell("b" * 64, launch.machine, ("x",), 1), launch))
    environment = {"PATH": os.environ["PATH"], "HOME": "/home/me", "XDG_CONFIG_HOME": "/home/me/.config"}
    done = subprocess.run(["sh", str(script)], env=environment, capture_output=True, text=True, check=True, cwd="/")
    home, config, *names, words = done.stdout.splitlines()
    assert (home, config) == (str(tmp_path / "boot" / "again"), "unset")
    assert sorted(names) == ["results", "swap0.img"]
    assert "-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny" in words
