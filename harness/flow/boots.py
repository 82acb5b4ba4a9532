# SPDX-License-Identifier: GPL-2.0-only
"""One cell -> one boot: its directory, all that is written before, the launch."""

from __future__ import annotations

import os
import shlex
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.flow.readout import CellResult, read_out
from harness.flow.sources import objects_of
from harness.guest.argv import Launch, Share, vng_argv
from harness.guest.boot import boot
from harness.guest.control import Frame
from harness.guest.job import machine_job
from harness.guest.liveness import Limits
from harness.guest.swap import make_swap_image, swap_disks
from harness.kernel.decode import Objects
from harness.model.build import Build
from harness.model.cell import Cell
from harness.model.codec import to_json
from harness.model.machine import Accel
from harness.model.outcome import Ending
from harness.model.progress import Progress
from harness.model.suite import Suite
from harness.proc import search_path
from harness.store.files import write_atomically

# What a boot of the lean kernel takes from the start of vng to `ready` on the machine that the limits were set for
# (2 cores, TCG); slower machines get longer limits in proportion.
REFERENCE_READY_SECONDS = 2.0
_BOOT_SECONDS = 90.0
_SILENCE_SECONDS = 60.0
_AROUND_SUITES_SECONDS = 30.0
_BAD_DISK_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Bench:
    """What all cells of a command share."""

    build: Build
    root: Path
    accel: Accel
    directory: Path
    progress: Progress
    modules: Mapping[str, Path] = field(default_factory=dict)  # suite -> its own modules, or other extra files
    module_tree: Path | None = None  # what the guest gets as /lib/modules, where it is not the build's own
    stop_at_first: bool = False  # a suite may end at its first red case
    stop: threading.Event | None = None  # set when the user ends the command
    slowness: float = 1.0  # of the kernel's profile
    crowd: float = 1.0  # how many times slower a guest may get when others start beside it


class Stopped(Exception):
    """The guest was ended because the command ends: there is no result."""


def boot_cell(cell: Cell, suites: Sequence[Suite], bench: Bench, number: int) -> CellResult:
    """Boots the cell once and judges what came of it. Everything to do it again is written before the boot."""
    name = f"{number:03d}-{cell.id}"
    place = bench.directory / name
    results = place / "results"
    results.mkdir(parents=True)
    disks = swap_disks(cell.machine.swap, place)
    bad_disk = place / "bad.img" if any(suite.bad_disk for suite in suites) else None
    with tempfile.TemporaryDirectory(prefix="ttm-") as sockets:
        launch = Launch(
            image=bench.build.image,
            root=bench.root,
            machine=cell.machine,
            accel=cell.machine.accel,
            shares=shares_of(results, bench.module_tree or bench.build.modules, _extra(suites, bench)),
            swap_disks=disks,
            control=place / "control.log",
            qmp=Path(sockets) / "qmp",
            bad_disk=bad_disk,
        )
        _write_before(place, results, cell, suites, launch, bench)
        images = _images(cell, launch)
        bench.progress.step(f"boot {number}: {cell.machine}: {', '.join(cell.suites)}")
        limits = Limits(
            boot=_BOOT_SECONDS,
            run=_AROUND_SUITES_SECONDS + sum(suite.deadline + _AROUND_SUITES_SECONDS for suite in suites),
            silence=_SILENCE_SECONDS,
            suites=tuple((suite.name, suite.deadline + _AROUND_SUITES_SECONDS) for suite in suites),
        ).scaled(bench.crowd * bench.slowness)
        try:
            for image, size in images:
                make_swap_image(image, size)
            shown = _shown(bench.progress)
            expected = REFERENCE_READY_SECONDS * bench.slowness
            result = boot(launch, place / "console.log", limits, shown, expected, bench.stop)
        finally:
            for image, _ in images:
                image.unlink(missing_ok=True)  # their content is the guest's memory, of no use afterwards
    if result.ending is Ending.INTERRUPTED:
        raise Stopped
    write_atomically(place / "launcher.log", result.launcher)
    if result.stall is not None:
        write_atomically(place / "stall.txt", result.stall.text + "\n")
    return read_out(cell, suites, bench.build, result, place, _objects(suites, bench))


def shares_of(results: Path, modules: Path, extra: Path | None = None) -> tuple[Share, ...]:
    """The 9p shares of every guest: results to write, modules and the suite's extra files to read."""
    shares = [Share("ttm.results", results, writable=True), Share("ttm.modules", modules)]
    if extra is not None:
        shares.append(Share("ttm.extra", extra))
    return tuple(shares)


def _extra(suites: Sequence[Suite], bench: Bench) -> Path | None:
    """What the cell's suite brings along; suites that do so have a boot of their own."""
    return next((bench.modules[suite.name] for suite in suites if suite.name in bench.modules), None)


def _objects(suites: Sequence[Suite], bench: Bench) -> Objects:
    """What the guest runs, with its line tables: the suites' own modules before those of the kernel."""
    own = tuple(bench.modules[suite.name] for suite in suites if suite.name in bench.modules)
    return objects_of(bench.build, (*own, *((bench.module_tree,) if bench.module_tree is not None else ())))


def job_text(cell: Cell, stop_at_first: bool = False, sample_ms: int = 0) -> str:
    """The shell file that guest-scripts/init reads: see guest-scripts/README.md."""
    knobs = ",".join(f"{knob.name}={knob.value}" for knob in cell.knobs)
    values = {
        "TTM_SEED": str(cell.seed),
        "TTM_KNOBS": knobs,
        "TTM_CASES": ",".join(cell.cases),
        **machine_job(cell.machine),
    }
    if sample_ms:
        values["TTM_SAMPLE_MS"] = str(sample_ms)
    if stop_at_first:
        values["TTM_STOP_AT_FIRST"] = "1"
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def suites_text(suites: Sequence[Suite]) -> str:
    """One line a suite: its name, its runner, the runner's arguments."""
    return "".join(" ".join((suite.name, suite.script, *suite.arguments)) + "\n" for suite in suites)


def _images(cell: Cell, launch: Launch) -> tuple[tuple[Path, int], ...]:
    """The swap images of a launch and their sizes in bytes."""
    sizes = (area.size for area in cell.machine.swap.areas if area.on_disk)
    images = tuple((disk.path, size) for disk, size in zip(launch.swap_disks, sizes, strict=True))
    return (*images, (launch.bad_disk, _BAD_DISK_BYTES)) if launch.bad_disk is not None else images


def _write_before(
    place: Path, results: Path, cell: Cell, suites: Sequence[Suite], launch: Launch, bench: Bench
) -> None:
    sample_ms = max(suite.sample_ms for suite in suites)
    write_atomically(results / "job", job_text(cell, bench.stop_at_first, sample_ms))
    write_atomically(results / "suites", suites_text(suites))
    write_atomically(place / "cell.json", to_json(cell))
    write_atomically(place / "config", bench.build.config_path.read_text(encoding="utf-8"))
    write_atomically(place / "argv", shlex.join(vng_argv(launch)) + "\n")
    write_atomically(place / "reproduce.sh", reproduce_text(cell, launch), executable=True)


def reproduce_text(cell: Cell, launch: Launch) -> str:
    """A script that boots the same guest again, without the harness, with its console on the terminal."""
    again = Path("again")
    shares = (Share("ttm.results", again / "results", writable=True), *launch.shares[1:])
    replay = replace(
        launch,
        shares=shares,
        swap_disks=tuple(replace(disk, path=again / disk.path.name) for disk in launch.swap_disks),
        bad_disk=again / "bad.img" if launch.bad_disk else None,
        control=again / "control.log",
        qmp=again / "qmp",
    )
    disks = "".join(f"truncate -s {size} {image}\nmkswap -q {image}\n" for image, size in _images(cell, replay))
    return (
        "#!/bin/sh\n"
        f"# Cell {cell.id}: {cell.machine}, suites {', '.join(cell.suites)}, seed {cell.seed}.\n"
        "# Needs vng and mkswap; writes to the folder `again` beside this script.\n"
        "set -eu\n"
        f"PATH={shlex.quote(os.pathsep.join(search_path()))}\n"
        'cd "$(dirname "$0")"\n'
        "rm -rf again\n"
        "mkdir -p again/results\n"
        # As in the boot: what you have told vng in ~/.config would win over these words.
        'export HOME="$PWD/again"\n'
        "unset XDG_CONFIG_HOME XDG_DATA_HOME XDG_CACHE_HOME\n"
        "cp results/job results/suites again/results/\n"
        f"{disks}"
        f"exec {shlex.join(vng_argv(replay))}\n"
    )


def _shown(progress: Progress) -> Callable[[Frame], None]:
    def on_frame(frame: Frame) -> None:
        if frame.kind == "start":
            progress.step(f"  suite {frame.text}")

    return on_frame
