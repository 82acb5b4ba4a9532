# SPDX-License-Identifier: GPL-2.0-only
"""Frames of backtraces -> lines of the sources, by the objects of the build itself; no network.

A frame says symbol, offset and size, so that it does not matter where the kernel or a module was loaded. One process
an object (in a .ko: a section) looks up all addresses of a log at once: llvm-symbolizer where it is there, which is
quicker with a vmlinux; else, and for modules, addr2line of binutils, without which no kernel is built.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.kernel.elf import CodePlace, ElfObject, read_object
from harness.model.arch import guest_arch
from harness.model.errors import HarnessError, UserError
from harness.model.frame import Decoded, Frame, SourcePlace
from harness.proc import Deadline, find_tool, run
from harness.sandbox import Confines, within

VMLINUX = "vmlinux"
_MOST_ADDRESSES = 8_000  # words of one command; bubblewrap takes 9,000, its own among them
_LANDMARK, _LANDMARK_FILE = "start_kernel", "init/main.c"  # where the tree begins in the names of the files
# kernel/module.py compiles in copies that go away.
_MODULE_BUILD = re.compile(r"^/.*/scratch/(?:own/|shared/)?")
_BUILD = re.compile(r"[0-9a-f]{16}", re.ASCII)  # the name of an object directory
_ADDRESS = re.compile(r"0x[0-9a-f]+$")
_LINE = re.compile(r"(.+):(\d+)(?: \(discriminator \d+\))?$")

_Places = tuple[SourcePlace, ...]


@dataclass(frozen=True, slots=True)
class Objects:
    """Where the objects are: the kernel's, and the directories below which modules are looked for."""

    vmlinux: Path
    module_directories: tuple[Path, ...]


def decode(frames: Iterable[Frame], objects: Objects, deadline: Deadline) -> Decoded:
    """What can be said of each of the frames. Raises nothing: what failed is the `problem`."""
    wanted = tuple(dict.fromkeys(frames))
    if not wanted:
        return Decoded()
    by_module: dict[str, list[Frame]] = {}
    for frame in wanted:
        by_module.setdefault(frame.module, []).append(frame)
    try:
        kernel = _open(objects.vmlinux, [*by_module.get("", ()), Frame(_LANDMARK, 0, 0)])
        root = _tree_prefix(kernel, deadline)
        places = dict(_lookup(kernel, by_module.pop("", []), root, deadline))
    except HarnessError as error:
        return Decoded(problem=error.message)
    files = _module_files(objects.module_directories) if by_module else {}
    problems = []
    for name, mine in sorted(by_module.items()):
        try:
            if name not in files:
                raise UserError(f"there is no object of the module {name}")
            places.update(_lookup(_open(files[name], mine), mine, root, deadline))
        except HarnessError as error:
            problems.append(error.message)
    return Decoded(places, "; ".join(problems))


def _open(path: Path, frames: Sequence[Frame]) -> ElfObject:
    if not path.is_file():
        raise UserError(f"there is no {path.name} any more" if path.name == VMLINUX else f"there is no {path}")
    found = read_object(path, {frame.function for frame in frames})
    if not found.has_lines:
        raise UserError(f"{path.name} has no line tables (CONFIG_DEBUG_INFO_DWARF5 and _REDUCED make them)")
    return found


def _module_files(directories: Iterable[Path]) -> dict[str, Path]:
    """Module name, as the kernel prints it, -> its object; of the first directory that has one."""
    files: dict[str, Path] = {}
    for directory in directories:
        for path in sorted(directory.rglob("*.ko")):
            files.setdefault(path.stem.replace("-", "_"), path)
    return files


def _lookup(
    found: ElfObject, frames: Iterable[Frame], root: str, deadline: Deadline
) -> Iterator[tuple[Frame, _Places]]:
    """The frames of one object with their places; none for a frame that is not certain."""
    candidates = {frame: found.places(frame.function, frame.size) for frame in frames}
    addresses = {_address(frame, place) for frame, places in candidates.items() for place in places}
    lines = _ask(found, addresses, root, deadline)
    for frame, places in candidates.items():
        told = {lines.get(_address(frame, place), ()) for place in places}
        yield frame, told.pop() if len(told) == 1 else ()


def _address(frame: Frame, place: CodePlace) -> CodePlace:
    """A call is before the address to which it returns."""
    return place._replace(address=place.address + frame.offset - (frame.returns and frame.offset > 0))


def _tree_prefix(kernel: ElfObject, deadline: Deadline) -> str:
    """What stands before the names of the tree's files, as one file says whose name is known."""
    begin = kernel.landmark(_LANDMARK)
    if begin is None:
        return ""
    for place in _ask(kernel, {begin}, "", deadline).get(begin, ()):
        if place.function == _LANDMARK and place.file.endswith("/" + _LANDMARK_FILE):
            return place.file.removesuffix(_LANDMARK_FILE)
    return ""


def _ask(
    found: ElfObject, addresses: Iterable[CodePlace], root: str, deadline: Deadline
) -> Mapping[CodePlace, _Places]:
    by_section: dict[str, list[int]] = {}
    for place in sorted(addresses):
        by_section.setdefault(place.section if found.relocatable else "", []).append(place.address)
    sections = {(place.section if found.relocatable else "", place.address): place for place in addresses}
    answers: dict[CodePlace, _Places] = {}
    for section, numbers in by_section.items():
        for start in range(0, len(numbers), _MOST_ADDRESSES):
            part = numbers[start : start + _MOST_ADDRESSES]
            words = [f"{number:#x}" for number in part]
            alone = within(Confines(reads=(found.path.resolve(),)))
            argv = (*_tool(found, section), *words)
            output = run(argv, deadline=deadline, cwd=Path("/"), merge_errors=False, reaped=True, within=alone).output
            for number, told in zip(part, _blocks(output.splitlines(), root), strict=False):
                answers[sections[section, number]] = told
    return answers


def _tool(found: ElfObject, section: str) -> tuple[str, ...]:
    addr2line = f"{guest_arch().prefix}addr2line"
    if found.relocatable:  # llvm-symbolizer cannot be told a section
        return (addr2line, "-a", "-f", "-i", "-j", section, "-e", str(found.path.resolve()))
    if find_tool("llvm-symbolizer") is not None:
        return ("llvm-symbolizer", "--output-style=GNU", "-a", "-f", "-i", "-e", str(found.path.resolve()))
    return (addr2line, "-a", "-f", "-i", "-e", str(found.path.resolve()))


def _blocks(lines: Sequence[str], root: str) -> Iterator[_Places]:
    """For each address that the tool names: pairs of a function and FILE:LINE, up to the next address."""
    starts = [at for at, line in enumerate(lines) if _ADDRESS.match(line)]
    for begin, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        pairs = zip(lines[begin + 1 : end : 2], lines[begin + 2 : end : 2], strict=False)
        places = [_place(function, where, root) for function, where in pairs]
        whole = [place for place in places if place is not None]
        yield tuple(whole) if len(whole) == len(places) else ()


def _place(function: str, where: str, root: str) -> SourcePlace | None:
    match = _LINE.match(where)
    if match is None or "??" in (function, match[1]) or match[2] == "0":
        return None
    file = posixpath.normpath(match[1])
    return SourcePlace(function, _MODULE_BUILD.sub("", _in_tree(file, root)), int(match[2]))


def _in_tree(file: str, root: str) -> str:
    """The name in the tree. Objects that a build took over from another one name the place of that."""
    if not root or file.startswith(root):
        return file.removeprefix(root)
    beside, own = posixpath.split(root.rstrip("/"))
    other, _, rest = file.removeprefix(f"{beside}/").partition("/")
    return rest if file.startswith(f"{beside}/") and _BUILD.fullmatch(own) and _BUILD.fullmatch(other) else file
