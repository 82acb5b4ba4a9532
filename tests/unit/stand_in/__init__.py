# SPDX-License-Identifier: GPL-2.0-only
"""Scripts for the guest that stands in for QEMU (guest.py), a clock that they move, and what they are booted with."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from harness.guest import boot as boot_module
from harness.guest.argv import Launch, Share
from harness.guest.control import ControlFrame
from harness.guest.job import machine_job
from harness.guest.liveness import BootLimits, Liveness
from harness.model.machine import Accel, Machine, Swap
from harness.sandbox import CHOICE

Step = tuple[object, ...]

READY = ("control", "@ready 4 0.10\n")
ASKED_ACCEL = ("until_asked", "query-kvm")
HANG = ("hang",)


def frames(*pairs: tuple[str, str]) -> Step:
    """Frames on the control port, in one write."""
    return (
        "control",
        "".join(f"@{kind} {len(text.encode())} {text}\n" for kind, text in pairs).encode().decode("latin-1"),
    )


def frame(kind: str, text: str) -> Step:
    return frames((kind, text))


def say(*lines: str) -> Step:
    """Lines of the kernel's on the console."""
    return ("console", "".join(f"[    1.000000] {line}\n" for line in lines))


def time_passes(seconds: float = 100_000.0, *then: tuple[str, str]) -> Step:
    """The host's clock is moved; `then` are frames that come in the moment after."""
    return frames(("passes", str(seconds)), *then)


class Clock:
    """The clock of the follower and of the guest's life: the real one, and what the script has moved it by."""

    def __init__(self, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
        self._moved = 0.0
        clock = self

        class Moved(Liveness):
            def frame(self, frame: ControlFrame) -> None:
                if frame.kind == "passes":
                    clock.move(float(frame.text))
                elif frame.kind == "seen":
                    stand_in.let(frame.text)
                else:
                    super().frame(frame)

        monkeypatch.setattr(boot_module, "Liveness", Moved)
        monkeypatch.setattr(boot_module, "time", self)
        monkeypatch.setattr(boot_module, "_POLL_SECONDS", 0.002)

    def move(self, seconds: float) -> None:
        self._moved += seconds

    def monotonic(self) -> float:
        return time.monotonic() + self._moved

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class Hurry:
    """A clock for the questions to a stalled guest, which runs `times` as fast as the real one."""

    def __init__(self, times: float = 15.0) -> None:
        self.times = times
        self._now = 0.0

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds
        time.sleep(seconds / self.times)


class StandIn:
    """The `vng` first in PATH: each boot plays the next of the scripts."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._turns = place / "turns"
        self._turns.mkdir(parents=True)
        self._count = 0
        self.folder = folder = place / "bin"
        folder.mkdir()
        program = shlex.join(
            (sys.executable, "-I", "-S", str(Path(__file__).with_name("guest.py")), str(self._turns))
        )
        for name, words in (("vng", f'exec {program} "$@"'), ("qemu-system-x86_64", "echo QEMU that stands in")):
            (folder / name).write_text(f"#!/bin/sh\n{words}\n")
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin:/usr/sbin:/sbin")
        # What contains a guest is tested with test_guest_confines.py; it takes longer than all of a boot here.
        monkeypatch.setenv(CHOICE, "none")

    def plays(
        self,
        *steps: Step,
        monitor: Mapping[str, object] | str | None = None,
        keys: Mapping[str, str] | None = None,
        nmi: str = "",
    ) -> None:
        """The script of one more boot."""
        self._count += 1
        script = {"steps": steps, "monitor": monitor or {}, "keys": keys or {}, "nmi": nmi}
        (self._turns / f"{self._count:03d}.json").write_text(json.dumps(script))

    @property
    def left(self) -> int:
        """Scripts that no boot has taken."""
        return len(list(self._turns.glob("*.json")))

    def has_reached(self, name: str) -> bool:
        return bool(list(self._turns.glob(f"{name}.reached")))

    def wait_for(self, name: str) -> None:
        limit = time.monotonic() + 30.0
        while not self.has_reached(name):
            assert time.monotonic() < limit, f"the guest has not reached {name}"
            time.sleep(0.002)

    def let(self, name: str) -> None:
        (self._turns / name).touch()


LIMITS = BootLimits(boot=90.0, run=1000.0, silence=60.0, suites=(("mine", 300.0),))


def seen(name: str) -> Step:
    """The harness has seen all that was said before, and neither of it is a sign of life."""
    return ("be_seen", name)


def whole(suites: Sequence[str] = ("mine",), *between: Step) -> tuple[Step, ...]:
    """All steps of a guest whose suites end well, with what happens in the last of them."""
    steps: list[Step] = [say("Linux version 7.3.4"), READY, ("facts",)]
    for suite in suites:
        steps += [say(f"ttm-harness: suite {suite} begin"), frame("start", suite)]
        steps += between if suite == suites[-1] else ()
        steps += [say(f"ttm-harness: suite {suite} end 0"), frame("result", f"{suite} 0")]
    return (*steps, ASKED_ACCEL, frames(("fact", "taint_end=0"), ("exit", str(len(suites)))))


def into_suite(*steps: Step) -> tuple[Step, ...]:
    """A guest that is in its suite, and then does this."""
    return (say("Linux version 7.3.4"), READY, ("facts",), frame("start", "mine"), *steps)


def launch_in(place: Path) -> Launch:
    """What a boot needs, in a directory."""
    for name in ("results", "modules", "root", "sockets"):
        (place / name).mkdir()
    (place / "bzImage").touch()
    (place / "config").write_text("CONFIG_SWAP=y\n")
    machine = Machine(swap=Swap(), accel=Accel.TCG)
    job = {"HARNESS_SEED": "7", **machine_job(machine)}
    (place / "results" / "job").write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in job.items()))
    return Launch(
        image=place / "bzImage",
        root=place / "root",
        machine=machine,
        accel=Accel.TCG,
        shares=(
            Share("harness.results", place / "results", writable=True),
            Share("harness.modules", place / "modules"),
        ),
        swap_disks=(),
        control=place / "control.log",
        qmp=place / "sockets" / "qmp",
    )
