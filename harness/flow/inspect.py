# SPDX-License-Identifier: GPL-2.0-only
"""A kept memory image -> what it says. drgn reads it in a process of its own (harness/memory), which is contained."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import zstandard

from harness.checkout import data_directory
from harness.flow.kept_boot import StoredBoot, find_boot
from harness.guest.image import FOLDER, SUFFIX, require_room
from harness.kernel.decode import VMLINUX
from harness.kernel.module import build_module
from harness.model.build import Build
from harness.model.cell import Cell
from harness.model.codec import from_json
from harness.model.errors import CommandFailed, HarnessError, InfraError, ModuleFailed, StoreCorrupt, UserError
from harness.model.memory import Memory
from harness.model.progress import Progress
from harness.model.subject import Subject
from harness.model.units import GIB, MIB, about_size
from harness.proc import Deadline, run, run_attached
from harness.reports.memory import short_lines
from harness.sandbox import Confines, SandboxLimits, within
from harness.store.files import read_regular
from harness.store.layout import Layout
from harness.store.runs import find_run
from harness.store.scratch import scratch_directory
from harness.suites.registry import registry

_MOST_TOLD = 2  # images of one cell in its report
_READ_SECONDS = 120.0
_BUILD_SECONDS = 600.0
_CHUNK = MIB
_LARGEST_IMAGE = 1 << 42
_FRAME_HEADER = 18  # bytes that have all of zstd's
_LARGEST_JSON = 64 << 20
_ADDRESSES = 8 * GIB  # that the reader may map: debug info, mostly
_NOT_OPENED, _NO_DRGN = 3, 4  # the reader's own
_ROOT = Path(__file__).parents[2]
_CALL = "import sys; sys.path.insert(0, {!r}); from harness.memory.reader import main; sys.exit(main(sys.argv[1]))"
_INSTALL = "pip install 'ttm-harness[inspect]'"
_BANNER = """memory  {name}, Linux {release}
names   memory: all that was read; kernel: bounded reads; program: drgn's own; readers: of the subjects
"""


@dataclass(frozen=True, slots=True)
class Image:
    """A kept image, in the directory of its boot."""

    path: Path
    place: Path

    @property
    def name(self) -> str:
        return self.path.name.removesuffix(SUFFIX)


def find_image(layout: Layout, target: str) -> Image:
    """By its path, or RUN[/BOOT[/IMAGE]]; UserError where that is none, or more than one."""
    path = Path(target)
    try:
        if path.is_file():
            return Image(path, path.absolute().parent.parent)
        whole = path.is_dir()
    except OSError:
        whole = False
    name, *more = (target,) if whole else target.strip("/").split("/")
    directory = find_run(layout, name)
    found = [one for one in _images(directory) if _is_meant(one, directory, more)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UserError(
            f"{target} has no memory image", hint="`ttm-harness run --keep-state` keeps those of what goes wrong"
        )
    names = ", ".join(f"{directory.name}/{one.path.relative_to(directory).parts[0]}/{one.name}" for one in found[:8])
    raise UserError(f"{target} has {len(found)} memory images", hint=f"one of {names}")


def _images(directory: Path) -> list[Image]:
    found = sorted(directory.glob(f"**/{FOLDER}/*{SUFFIX}"))
    return [Image(path, path.parent.parent) for path in found if path.is_file() and not path.is_symlink()]


def _is_meant(image: Image, directory: Path, words: Sequence[str]) -> bool:
    """BOOT is a boot's number, or the beginning of its folder's name; IMAGE is its name."""
    folders = image.place.relative_to(directory).parts
    boot, name = (*words, "", "")[:2]
    number = folders[0].partition("-")[0].lstrip("0") if folders else ""
    return (not boot or boot == number or any(one.startswith(boot) for one in folders)) and name in ("", image.name)


def inspect(image: Image, layout: Layout, progress: Progress) -> Memory:
    """What the image says. UserError where it is no image of a build in the store, or drgn is not there."""
    with _asked(image, layout, progress, "json") as (argv, contained, scratch):
        try:
            run(argv, deadline=Deadline(_READ_SECONDS), cwd=scratch, within=contained, reaped=True)
        except CommandFailed as error:
            raise _explained(error, image) from error
        text = read_regular(scratch / "memory.json", _LARGEST_JSON).decode("utf-8")
        return from_json(Memory, text, f"what drgn said of {image.path}")


def notes_of_images(run: Path, place: str, layout: Layout, progress: Progress) -> tuple[str, ...]:
    """Sentences for the images of a cell's boots, with the short form of the first ones. None makes a run fail."""
    notes: list[str] = []
    for number, image in enumerate(_images(run / place)):
        size = about_size(image.path.stat().st_size)
        target = "/".join((run.name, *image.place.relative_to(run).parts[:1], image.name))
        notes.append(f"memory image {image.name}, {size}: ttm-harness inspect {target}")
        if number >= _MOST_TOLD:
            continue
        progress.step(f"  reading the memory image {image.name}")
        try:
            notes += (f"  {line}" for line in short_lines(inspect(image, layout, progress)))
        except HarnessError as error:
            notes.append(f"  it was not read: {error.message}{f' ({error.hint})' if error.hint else ''}")
    return tuple(notes)


def run_script(
    image: Image, script: Path, layout: Layout, progress: Progress, say: Callable[[str], None], seconds: float
) -> None:
    """Runs a script of the user's with the image opened; each line that it prints is given to `say`."""
    if not script.is_file():
        raise UserError(f"there is no script {script}")
    with _asked(image, layout, progress, "script", script.absolute()) as (argv, contained, scratch):
        try:
            run(argv, deadline=Deadline(seconds), cwd=scratch, within=contained, reaped=True, on_line=say)
        except CommandFailed as error:
            raise _explained(error, image) from error


def prompt(image: Image, layout: Layout, progress: Progress) -> None:
    """A Python prompt on the user's terminal with the image opened."""
    with _asked(image, layout, progress, "prompt") as (argv, contained, _):
        try:
            run_attached((*contained, *argv))
        except CommandFailed as error:
            raise _explained(error, image) from error


def _explained(error: CommandFailed, image: Image) -> HarnessError:
    last = error.tail.strip().splitlines()[-1:] or ["it said nothing"]
    if error.status == _NO_DRGN:
        return UserError("drgn, which reads memory images, is not installed", hint=_INSTALL)
    if error.status == _NOT_OPENED:
        return UserError(f"{image.path}: {last[0]}")
    return InfraError(f"drgn did not come to the end of {image.path}: {last[0]}")


@contextmanager
def _asked(
    image: Image, layout: Layout, progress: Progress, mode: str, script: Path | None = None
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], Path]]:
    """The reader's argv, the words that contain it, and the only directory to which it can write."""
    build = build_of(image, layout)
    subjects, problems = _reading(find_boot(layout, str(image.place)))
    types = _types(subjects, build, layout, progress, problems)
    with scratch_directory(layout) as scratch:
        elf = scratch / "memory.elf"
        unpack(image.path, elf)
        asked = {
            "image": str(elf),
            "vmlinux": str(build.objects / VMLINUX),
            "types": [str(path) for path in types],
            "symbols": str(build.path / "System.map"),
            "modules": {name: [str(path) for path in paths] for name, paths in _modules(build, layout).items()},
            "release": build.release,
            "readers": [(one.name, str(one.memory)) for one in subjects],
            "problems": problems,
            "mode": mode,
            "script": str(script or ""),
            "banner": _BANNER.format(name=image.name, release=build.release),
        }
        (scratch / "asked.json").write_text(json.dumps(asked), "utf-8")
        folders = (one.folder for one in subjects if not one.folder.is_relative_to(_ROOT / "harness"))
        reads = (layout.objects, build.path, _ROOT / "harness", *folders, *((script,) if script else ()))
        limits = SandboxLimits(memory=_ADDRESSES, reserve=0)
        contained = within(Confines(writes=(scratch,), reads=reads, limits=limits))
        argv = (sys.executable, "-I", "-c", _CALL.format(str(_ROOT)), str(scratch))
        yield argv, contained, scratch


def _reading(boot: StoredBoot) -> tuple[list[Subject], list[str]]:
    """The subjects that read something in images; and which suites of the boot are no longer there."""
    problems = []
    for word in boot.words.values():
        try:
            registry().named(word)  # a folder of the user's is known from now on
        except UserError as error:
            problems.append(f"whether its subject reads something cannot be told: {error.message}")
    return [one for one in registry().subjects.values() if one.memory is not None], problems


def _types(
    subjects: Sequence[Subject], build: Build, layout: Layout, progress: Progress, problems: list[str]
) -> list[Path]:
    """The objects with types: ours, and those of the subjects. What does not build is a problem."""
    deadline = Deadline(_BUILD_SECONDS)
    made = [build_module(build, data_directory("guest-scripts") / "types", layout, deadline, progress)]
    for one in subjects:
        try:
            made += [build_module(build, one.types, layout, deadline, progress)] if one.types is not None else []
        except (ModuleFailed, UserError) as error:
            problems.append(f"{one.name} has no types: {error.message}")
    return [path for directory in made for path in sorted(directory.glob("*.ko"))]


def build_of(image: Image, layout: Layout) -> Build:
    """UserError where the build is gone that the boot was of, or its debug info."""
    try:
        cell = from_json(Cell, (image.place / "cell.json").read_text("utf-8"), str(image.place / "cell.json"))
        path = layout.builds / cell.build_id[:16] / "build.json"
        build = from_json(Build, path.read_text("utf-8"), str(path))
    except FileNotFoundError as error:
        if str(error.filename).endswith("cell.json"):
            raise UserError(
                f"{image.path} does not lie in the directory of a boot: {image.place} has no cell.json"
            ) from None
        raise UserError(
            f"the build {cell.build_id[:16]} that {image.path} is of is no longer in the store",
            hint="run it again: the same sources give the same build",
        ) from None
    except (OSError, UnicodeDecodeError, StoreCorrupt) as error:
        raise UserError(f"it cannot be told which build {image.path} is of: {error}") from error
    if not (build.objects / VMLINUX).is_file():
        raise UserError(
            f"the objects of the build {build.id[:16]} are no longer in the store, and its vmlinux with them",
            hint="run it again: the same sources give the same build",
        )
    return build


def _modules(build: Build, layout: Layout) -> dict[str, list[Path]]:
    """Where a module of that name may be, the kernel's own and the suites': their build ids tell which it is."""
    order = build.objects / "modules.order"
    lines = order.read_text("utf-8").split() if order.is_file() else ()
    paths = [(build.objects / line).with_suffix(".ko") for line in lines]
    paths += sorted(layout.objects.glob("module-*/*.ko"), key=lambda path: path.stat().st_mtime, reverse=True)
    found: dict[str, list[Path]] = {}
    for path in paths:
        found.setdefault(path.stem.replace("-", "_"), []).append(path)
    return found


def unpack(packed: Path, into: Path) -> None:
    """Writes an image as it was; what is zero takes no room. UserError where it is none, or not whole."""
    try:
        with packed.open("rb") as source:
            size = zstandard.get_frame_parameters(source.read(_FRAME_HEADER)).content_size
            if not 0 < size < _LARGEST_IMAGE:
                raise zstandard.ZstdError("it does not say how large it is")
            require_room(into.parent, size)
            source.seek(0)
            written = _unpack(source, into, size)
    except (zstandard.ZstdError, OSError) as error:
        raise UserError(f"{packed} is no memory image, or a damaged one: {error}") from error
    if written != size:
        raise UserError(f"{packed} is cut off: {written} of {size} bytes are there")


def _unpack(source: BinaryIO, into: Path, size: int) -> int:
    """How many bytes came out, of at most `size`."""
    written = 0
    with into.open("wb") as target, zstandard.ZstdDecompressor().stream_reader(source) as reader:
        while piece := reader.read(min(_CHUNK, size - written + 1)):
            written += len(piece)
            if written > size:
                break
            if piece.count(0) == len(piece):
                target.seek(len(piece), 1)
            else:
                target.write(piece)
        target.truncate(min(written, size))
    return written
