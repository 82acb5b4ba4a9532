# SPDX-License-Identifier: GPL-2.0-only
"""One cell -> one boot: its directory, all that is written before, the launch."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from harness.flow import deadlines
from harness.flow.boot_trace import BootTrace, followed
from harness.flow.collect import CellResult, read_out
from harness.flow.continuation import MOST_CONTINUATIONS, held_case, left_to_run, to_confirm
from harness.flow.deadlines import limits_of
from harness.flow.igt_results import carry_over
from harness.flow.observe import FIRST, BootPart, Seen, observe
from harness.flow.sources import objects_of
from harness.guest.argv import ROOT_TAG, Launch, Share, vng_argv
from harness.guest.boot import Boot, as_started, boot
from harness.guest.control import ControlFrame
from harness.guest.job import machine_job
from harness.guest.liveness import BootLimits
from harness.guest.stress import stressed
from harness.guest.swap import make_swap_image, swap_disks, swap_serial
from harness.guest.test_machine import Errand
from harness.kernel.decode import Objects
from harness.model.arch import guest_arch
from harness.model.cell import Cell
from harness.model.codec import from_json, to_json
from harness.model.errors import StoreDamaged, UserError
from harness.model.kernel import PreparedKernel
from harness.model.machine import Machine
from harness.model.outcome import Ending
from harness.model.pci import PciDevice
from harness.model.progress import Progress
from harness.model.root import PreparedRoot
from harness.model.suite import Suite, short_name
from harness.proc import search_path
from harness.store.files import read_regular, write_atomically
from harness.store.runs import BOOT_REPLAY, BOOT_SCRATCH, CELL_FILE
from harness.store.sealed import looks, require_whole
from harness.trace import span

STRESS_LOG = "stress.log"
_BAD_DISK_BYTES = 64 << 20
_DISK_FULL_BYTES = 1 << 20
_LARGEST_CELL = 64 << 20
STANDS_ON_FILE = "stands-on.json"
_MOVES = re.compile(r"^CONFIG_RANDOMIZE_BASE=y$", re.MULTILINE)
_FAILS = re.compile(r"^([0-9a-f]{16}) [Tt] __kunit_do_failed_assertion$", re.MULTILINE)  # before it says anything


@dataclass(frozen=True, slots=True)
class StandsOn:
    """The directories of the store that a boot was made of: the build, the guest's root, what it got as /lib/modules,
    and what its suite brings along.
    """

    build: Path
    root: Path
    modules: Path
    extra: Path | None


# A boot on the test machine of that address; how it went, and the command line of its kernel.
Elsewhere = Callable[[str, Errand, BootLimits, Progress], tuple[Boot, str]]


@dataclass(frozen=True, slots=True)
class BootEnvironment:
    """What a boot takes place in. `directory` is the run's, `root` what the guest boots from. Commands and suites run
    in the `other` root, where there is one.
    """

    kernel: PreparedKernel
    root: Path
    directory: Path
    progress: Progress
    module_tree: Path | None = None  # what the guest gets as /lib/modules, where it is not the build's own
    stop_at_first: bool = False  # a suite may end at its first red case
    stop: threading.Event | None = None  # set when the user ends the command
    other: PreparedRoot | None = None
    keep_state: bool = False  # images of the guest's memory where a case failed, at a panic and at a stall
    crowd: float = 1.0  # how many times slower a guest may get when others start beside it
    stress: bool = False  # the host pauses, throttles and pins it (guest/stress.py)
    elsewhere: Elsewhere | None = None  # who boots on test machines
    device: str = ""  # what the guest has of its host, where its machine names a kind

    def sealed(self, suites: Sequence[Suite]) -> tuple[Path, ...]:
        """The directories that a boot of these suites rests on, and which must be as they were made."""
        modules = (self.module_tree.parent,) if self.module_tree is not None else ()
        return (
            self.kernel.build.path,
            self.root,
            *((self.other.place,) if self.other is not None and self.other.place is not None else ()),
            *modules,
            *(self.kernel.modules[one.name] for one in suites if one.name in self.kernel.modules),
        )


class Stopped(Exception):
    """The guest was ended because the command ends: there is no result."""


def boot_cell(cell: Cell, suites: Sequence[Suite], environment: BootEnvironment, number: int) -> CellResult:
    """Boots the cell and judges what came of it. Everything to do it again is written before each boot.

    That is one boot, unless it ends in a case: then that case alone is tried again where it has only its deadline
    against it, and what was to come after it gets a boot of its own.

    StoreDamaged when what it rests on is not as it was made, before or after: then nobody knows what the guest ran.
    """
    boots, notes = boots_of(cell, suites, environment, number)
    with span("judge"):
        return read_out(cell, suites, environment.kernel.build, boots, notes)


def boots_of(
    cell: Cell, suites: Sequence[Suite], environment: BootEnvironment, number: int
) -> tuple[list[Seen], list[str]]:
    """The boots of `boot_cell`, not judged yet, and sentences for what was left out."""
    place = environment.directory / f"{number:03d}-{cell.id}"
    environment.progress.step(f"boot {number}: {cell.machine}: {', '.join(cell.suites)}")
    boots = [_boot(cell, suites, environment, place, FIRST)]
    device = environment.device
    notes = [f"{cell.machine.device} was {PciDevice.parse(device).address}"] if device else []
    if len(suites) == 1 and suites[0].selectable:
        notes += _go_on(cell, suites[0], environment, place, boots)
    return boots, notes


def _go_on(cell: Cell, suite: Suite, environment: BootEnvironment, place: Path, boots: list[Seen]) -> list[str]:
    """Makes the boots after one that ended in a case, and adds them; sentences for what was left out."""
    for turn in range(1, MOST_CONTINUATIONS + 2):
        held = held_case(suite, boots[-1])
        if not held:
            return []
        short = short_name(held)
        if to_confirm(boots[-1]) and short != held:
            environment.progress.step(f"  the case {short} did not end; once more, alone")
            part = BootPart(f"alone-{turn}", f"{held} did not end: alone", 1, alone=True)
            boots.append(_boot(replace(cell, cases=(short,)), (suite,), environment, place, part))
        parts = [seen for seen in boots if not seen.alone]
        left = left_to_run(suite, parts)
        if not left or environment.stop_at_first:
            return []
        if turn > MOST_CONTINUATIONS:
            return [f"{suite.name}: {len(left)} cases were left out, as {turn} had ended a boot"]
        environment.progress.step(f"  the boot ended in the case {short}; {len(left)} more in a fresh one")
        before = parts[-1].place if suite.is_igt else None
        part = BootPart(f"rest-{turn}", f"what was to come after {held}", len(left), before=before)
        boots.append(_boot(replace(cell, cases=left), (suite,), environment, place, part))
    return []


def _boot(
    cell: Cell, suites: Sequence[Suite], environment: BootEnvironment, cells_place: Path, part: BootPart
) -> Seen:
    """One boot, in the cell's own place or in a folder below it, and what it left."""
    sealed = environment.sealed(suites)
    with span("verify what it boots from"):
        before = looked_at(sealed)
    place = cells_place / part.folder if part.folder else cells_place
    results = place / "results"
    results.mkdir(parents=True)
    if cell.machine.at:
        return _boot_elsewhere(cell, suites, environment, place, part, before)
    if part.before is not None:
        for suite in suites:
            carry_over(part.before / "results" / suite.name, results / suite.name)
    with scratch_of(place) as sockets:
        launch = launch_of(cell, environment, place, sockets, suites)
        breaks, no_image = kunit_fails_at(cell, suites, environment)
        launch = replace(launch, breaks=breaks)
        _write_before(place, cell, suites, launch, environment)
        limits = limits_of(cell, suites).scaled(environment.crowd * environment.kernel.slowness)
        with disks_of(cell, launch):
            expected = deadlines.REFERENCE_READY_SECONDS * environment.kernel.slowness
            with span("boot"), followed(f"boot {place.relative_to(environment.directory)}") as trace:
                shown = _shown(environment.progress, trace)
                result = _made(launch, place, limits, shown, expected, cell.seed, environment)
            full = disk_trouble(place)  # before the images go, which may be what filled it
    if result.ending is Ending.INTERRUPTED:
        raise Stopped
    result = replace(result, image_troubles=(*no_image, *result.image_troubles))
    write_after(place, result)
    require_same(before)
    troubles = (full,) if full else ()
    with span("read what it left"):
        return observe(
            cell, suites, environment.kernel.build, result, place, objects_in(suites, environment), part, troubles
        )


def _boot_elsewhere(
    cell: Cell,
    suites: Sequence[Suite],
    environment: BootEnvironment,
    place: Path,
    part: BootPart,
    before: Mapping[Path, str],
) -> Seen:
    """The same on a test machine: what is left is the same, too."""
    assert environment.elsewhere is not None
    build, areas = environment.kernel.build, cell.machine.swap.areas
    _write_told(place, cell, suites, environment)
    write_atomically(place / STANDS_ON_FILE, to_json(stands_on(environment, extra_of(suites, environment))))
    limits = limits_of(cell, suites).scaled(environment.kernel.slowness)
    with scratch_of(place) as scratch:
        errand = Errand(
            machine=cell.machine,
            release=build.release,
            image=build.image,
            root=environment.root,
            modules=environment.module_tree or build.modules,
            extra=extra_of(suites, environment),
            results=place / "results",
            console=place / "console.log",
            control=place / "control.log",
            scratch=scratch,
            swap=tuple((swap_serial(number), one.size) for number, one in enumerate(areas) if one.on_disk),
        )
        with span("boot"):
            result, cmdline = environment.elsewhere(cell.machine.at, errand, limits, environment.progress)
    if result.ending is Ending.INTERRUPTED:
        raise Stopped
    write_atomically(place / "argv", f"kexec -l {build.image} --command-line={shlex.quote(cmdline)}\n")
    write_after(place, result)
    require_same(before)
    with span("read what it left"):
        return observe(cell, suites, build, result, place, objects_in(suites, environment), part, cmdline=cmdline)


def _made(
    launch: Launch,
    place: Path,
    limits: BootLimits,
    shown: Callable[[ControlFrame], None],
    expected: float,
    seed: int,
    environment: BootEnvironment,
) -> Boot:
    console = place / "console.log"
    if not environment.stress:
        return boot(launch, console, limits, shown, expected, environment.stop)
    with stressed(launch, seed, place / STRESS_LOG) as stress:

        def on_frame(frame: ControlFrame) -> None:
            stress.on_frame(frame)
            shown(frame)

        return boot(launch, console, limits, on_frame, expected, environment.stop, stress.clock)


def launch_of(
    cell: Cell,
    environment: BootEnvironment,
    place: Path,
    sockets: Path,
    suites: Sequence[Suite],
    *,
    live: bool = False,
    network: bool = False,
) -> Launch:
    """A launch whose files lie in `place`, its sockets in `sockets`; a live one has an agent's. With what the suites
    ask for.
    """
    modules = environment.module_tree or environment.kernel.build.modules
    other = environment.other.tree if environment.other is not None else None
    return Launch(
        image=environment.kernel.build.image,
        root=environment.root,
        machine=replace(cell.machine, device=environment.device or cell.machine.device),
        accel=cell.machine.accel,
        shares=shares_of(place / "results", modules, extra_of(suites, environment), other),
        swap_disks=swap_disks(cell.machine.swap, place),
        control=place / "control.log",
        qmp=sockets / "qmp",
        bad_disk=bad_disk_of(suites, place),
        devices=devices_of(suites),
        agent=sockets / "agent" if live else None,
        network=network,
        keep_state=environment.keep_state,
    )


def kunit_fails_at(
    cell: Cell, suites: Sequence[Suite], environment: BootEnvironment
) -> tuple[int | None, tuple[str, ...]]:
    """Where the guest is to stand still, so that a failing case of kunit leaves an image; and why it leaves none."""
    build = environment.kernel.build
    found = _FAILS.search((build.path / "System.map").read_text("utf-8")) if environment.keep_state else None
    if found is None:
        return None, ()
    if "nokaslr" in cell.machine.cmdline or not _MOVES.search(build.config_path.read_text("utf-8")):
        return int(found[1], 16), ()
    if not any(suite.is_kunit for suite in suites):
        return None, ()
    return None, (
        "no memory images of failed cases of kunit: where this kernel is, is known when it has booted "
        "(RANDOMIZE_BASE); --append nokaslr keeps it where it was linked",
    )


def require_guest(machine: Machine) -> None:
    """UserError for a test machine."""
    if machine.at:
        raise UserError(f"{machine.at} is no guest of this host", hint="--machine is for `run`; ssh leads there, too")


def stands_on(environment: BootEnvironment, extra: Path | None) -> StandsOn:
    """What a boot in that environment is made of."""
    build = environment.kernel.build
    return StandsOn(build.path, environment.root, environment.module_tree or build.modules, extra)


@contextmanager
def disks_of(cell: Cell, launch: Launch) -> Iterator[None]:
    """The images of a launch's disks. Their content is the guest's memory, of no use afterwards."""
    images = images_of(cell, launch)
    try:
        for image, size in images:
            make_swap_image(image, size)
        yield
    finally:
        for image, _ in images:
            image.unlink(missing_ok=True)


def write_after(place: Path, result: Boot) -> None:
    """What the launcher said, and what a guest that was given up answered."""
    write_atomically(place / "launcher.log", result.launcher)
    if result.stall is not None:
        write_atomically(place / "stall.txt", result.stall.text + "\n")


def looked_at(sealed: Sequence[Path]) -> Mapping[Path, str]:
    """How what is sealed looks, when it is as it was made."""
    try:
        before = looks(sealed)
    except OSError as error:
        raise StoreDamaged(f"{error.filename} is gone: {error.strerror}") from error
    require_whole(sealed)
    return before


def require_same(before: Mapping[Path, str]) -> None:
    """Somebody may have changed it and made it good again, while the guest was running on it."""
    after = looked_at(tuple(before))
    for root, look in before.items():
        if after[root] != look:
            raise StoreDamaged(f"{root} changed while the guest ran, though it is now as it was made")


def disk_trouble(place: Path) -> str:
    """A sentence when the disk is full: what the guest said may be lost then, and its disks stand still."""
    found = os.statvfs(place)
    blocks = found.f_bavail if os.geteuid() else found.f_bfree
    return f"the disk of {place} is full" if blocks * found.f_frsize < _DISK_FULL_BYTES else ""


@contextmanager
def scratch_of(place: Path) -> Iterator[Path]:
    """A directory for the sockets of a boot; what kill -9 leaves of it goes with the next run (store/runs.py)."""
    path = place / BOOT_SCRATCH
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def shares_of(
    results: Path, modules: Path, extra: Path | None = None, other: Path | None = None
) -> tuple[Share, ...]:
    """The 9p shares of every guest: results to write; modules, the suite's extra files and another root to read."""
    shares = [Share("harness.results", results, writable=True), Share("harness.modules", modules)]
    if extra is not None:
        shares.append(Share("harness.extra", extra))
    if other is not None:
        shares.append(Share(ROOT_TAG, other))
    return tuple(shares)


def extra_of(suites: Sequence[Suite], environment: BootEnvironment) -> Path | None:
    """What the cell's suite brings along; suites that do so have a boot of their own."""
    return next(
        (environment.kernel.modules[suite.name] for suite in suites if suite.name in environment.kernel.modules), None
    )


def objects_in(suites: Sequence[Suite], environment: BootEnvironment) -> Objects:
    """What the guest runs, with its line tables: the suites' own modules before those of the kernel."""
    own = tuple(
        environment.kernel.modules[suite.name] for suite in suites if suite.name in environment.kernel.modules
    )
    return objects_of(
        environment.kernel.build, (*own, *((environment.module_tree,) if environment.module_tree is not None else ()))
    )


def job_text(
    cell: Cell,
    stop_at_first: bool = False,
    sample_ms: int = 0,
    stats: str = "",
    other: PreparedRoot | None = None,
    keep_state: bool = False,
) -> str:
    """The shell file that guest-scripts/init reads: see guest-scripts/README.md."""
    knobs = ",".join(f"{knob.name}={knob.value}" for knob in cell.knobs)
    values = {
        "HARNESS_SEED": str(cell.seed),
        "HARNESS_KNOBS": knobs,
        "HARNESS_CASES": ",".join(cell.cases),
        **machine_job(cell.machine),
    }
    if sample_ms:
        values["HARNESS_SAMPLE_MS"] = str(sample_ms)
        values["HARNESS_STATS"] = stats
    if other is not None:
        values["HARNESS_ROOT"] = str(other.spec)
    if stop_at_first:
        values["HARNESS_STOP_AT_FIRST"] = "1"
    if keep_state and guest_arch().stops:
        values["HARNESS_KEEP_STATE"] = "1"
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def suites_text(suites: Sequence[Suite]) -> str:
    """One line a suite: its name, its runner, the runner's arguments."""
    return "".join(" ".join((suite.name, suite.script, *suite.arguments)) + "\n" for suite in suites)


def bad_disk_of(suites: Sequence[Suite], place: Path) -> Path | None:
    """The image of the disk whose writes fail, where one of the suites asks for it."""
    return place / "bad.img" if any(suite.bad_disk for suite in suites) else None


def devices_of(suites: Sequence[Suite]) -> tuple[str, ...]:
    """What the suites ask for of QEMU, each once."""
    return tuple(dict.fromkeys(device for suite in suites for device in suite.devices))


def images_of(cell: Cell, launch: Launch) -> tuple[tuple[Path, int], ...]:
    """The swap images of a launch and their sizes in bytes."""
    sizes = (area.size for area in cell.machine.swap.areas if area.on_disk)
    images = tuple((disk.path, size) for disk, size in zip(launch.swap_disks, sizes, strict=True))
    return (*images, (launch.bad_disk, _BAD_DISK_BYTES)) if launch.bad_disk is not None else images


def _write_before(
    place: Path, cell: Cell, suites: Sequence[Suite], launch: Launch, environment: BootEnvironment
) -> None:
    _write_told(place, cell, suites, environment)
    write_atomically(place / "argv", shlex.join(vng_argv(as_started(launch))) + "\n")
    _write_places(place, cell, suites, launch, environment)


def _write_told(place: Path, cell: Cell, suites: Sequence[Suite], environment: BootEnvironment) -> None:
    """What is told to the guest, and what it is told of."""
    results = place / "results"
    sample_ms = max(suite.sample_ms for suite in suites)
    stats = next((suite.stats for suite in suites if suite.stats), "")
    told = job_text(cell, environment.stop_at_first, sample_ms, stats, environment.other, environment.keep_state)
    write_atomically(results / "job", told)
    write_atomically(results / "suites", suites_text(suites))
    write_atomically(place / CELL_FILE, to_json(cell))
    write_atomically(place / "config", environment.kernel.build.config_path.read_text(encoding="utf-8"))


def _write_places(
    place: Path, cell: Cell, suites: Sequence[Suite], launch: Launch, environment: BootEnvironment
) -> None:
    write_atomically(place / STANDS_ON_FILE, to_json(stands_on(environment, extra_of(suites, environment))))
    write_atomically(place / "reproduce.sh", reproduce_text(cell, launch), executable=True)


def write_places_here(place: Path, suites: Sequence[Suite], environment: BootEnvironment) -> None:
    """Of a boot that another host made: where what it rests on lies here, so that it can be made again here."""
    file = place / CELL_FILE
    cell = from_json(Cell, read_regular(file, _LARGEST_CELL).decode("utf-8"), str(file))
    launch = launch_of(cell, environment, place, place / BOOT_SCRATCH, suites)
    _write_places(place, cell, suites, launch, environment)


def reproduce_text(cell: Cell, launch: Launch) -> str:
    """A script that boots the same guest again, without the harness, with its console on the terminal."""
    again = Path(BOOT_REPLAY)
    shares = (Share("harness.results", again / "results", writable=True), *launch.shares[1:])
    replay = replace(
        launch,
        keep_state=False,  # nobody would tell it to go on
        breaks=None,
        shares=shares,
        swap_disks=tuple(replace(disk, path=again / disk.path.name) for disk in launch.swap_disks),
        bad_disk=again / "bad.img" if launch.bad_disk else None,
        control=again / "control.log",
        qmp=again / "qmp",
    )
    disks = "".join(f"truncate -s {size} {image}\nmkswap -q {image}\n" for image, size in images_of(cell, replay))
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


def _shown(progress: Progress, trace: BootTrace) -> Callable[[ControlFrame], None]:
    def on_frame(frame: ControlFrame) -> None:
        trace.on_frame(frame)
        if frame.kind == "start":
            progress.step(f"  suite {frame.text}")

    return on_frame
