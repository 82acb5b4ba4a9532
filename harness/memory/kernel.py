# SPDX-License-Identifier: GPL-2.0-only
"""An image opened: the only module that imports drgn. Every read may fail, and every walk has an end.

QEMU's image has no VMCOREINFO, as the kernel that it is of was built without. What drgn needs of it is known from the
build, where page tables and names are, and of the image, how far the kernel was moved at boot (placement.py).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import drgn
from drgn import Object as Object

from harness.memory.placement import Placement, find_placement
from harness.memory.walk import MOST_NODES, Ring, ring
from harness.model.visible import visible_field

UNREADABLE = (drgn.FaultError, LookupError, ValueError, TypeError, AttributeError, OverflowError)
_MOST_MODULES = 256
_MOST_FRAMES = 48
_ELF_HEADER = struct.Struct("<32xQ14xHH6x")  # where the table of segments is, the size of an entry, how many
_ELF_VADDR, _ELF_PADDR = 16, 24  # in an entry
_MOST_SEGMENTS = 1 << 10
_MOST_RAM = 1 << 40
_NOWHERE = 1 << 63  # neither user's nor kernel's
_MOST_ADDRESS = (1 << 64) - 1
_KERNEL_NAME = "Linux version {} ".format
_BUILD_ID = re.compile(rb"\x04\0\0\0(....)\x03\0\0\0GNU\0", re.DOTALL)


class NotOpened(Exception):
    """The image cannot be read, and why: a sentence."""


@dataclass(frozen=True, slots=True)
class Files:
    """`symbols` is the System.map; `modules` are where the object of a module may be, by its name; `types` have
    those that vmlinux lacks.
    """

    image: Path
    vmlinux: Path
    types: Sequence[Path]
    symbols: Mapping[str, int]
    modules: Mapping[str, Sequence[Path]]
    release: str


class KernelImage:
    """Made by `open_kernel`. Objects that it gives are drgn's own, whose reads may raise one of UNREADABLE."""

    def __init__(self, program: drgn.Program, symbols: Mapping[str, int]) -> None:
        self.program = program
        self._symbols = symbols

    def at(self, kind: str, address: int) -> Object:
        return drgn.Object(self.program, kind, address=address)

    def outer(self, kind: str, member: str, address: int) -> Object:
        """The structure that has its member at the address."""
        return self.at(kind, (address - drgn.offsetof(self.program.type(kind), member)) % (1 << 64))

    def has(self, kind: str, member: str = "") -> bool:
        try:
            found = self.program.type(kind)
        except LookupError:
            return False
        return not member or bool(found.has_member(member))

    def offset(self, kind: str, member: str) -> int:
        return int(drgn.offsetof(self.program.type(kind), member))

    def type_of(self, kind: str, member: str) -> str:
        """The name of a member's type."""
        return str(self.program.type(kind).member(member).type.type_name())

    def enumerators(self, kind: str) -> dict[str, int]:
        try:
            return {one.name: one.value for one in self.program.type(kind).enumerators or ()}
        except LookupError:
            return {}

    def symbol(self, name: str) -> int:
        """Where the kernel itself has it; LookupError where it has not."""
        return self._symbols[name]

    def module_symbol(self, name: str) -> int:
        """Where a module has it: the kernel may have another one of that name."""
        own = self._symbols.get(name)
        found = [one.address for one in self.program.symbols(name) if one.address != own]
        if not found:
            raise LookupError(name)
        return int(found[0])

    def name_of(self, address: int) -> str:
        """What is at an address, by its name."""
        try:
            found = self.program.symbol(address)
        except LookupError:
            return f"{address:#x}"
        beyond = address - found.address
        return f"{found.name}+{beyond:#x}" if beyond else str(found.name)

    def word(self, address: int) -> int:
        return int(self.program.read_u64(address))

    def words(self, address: int, count: int) -> Sequence[int]:
        """LookupError where there are none."""
        try:
            return memoryview(self.program.read(address, 8 * count)).cast("Q")
        except (drgn.FaultError, ValueError, OverflowError) as error:
            raise LookupError(str(error)) from error

    def text(self, address: int, most: int) -> str:
        return visible_field(bytes(self.program.read_c_string(address, max_size=most)).decode("utf-8", "replace"))

    def ring(self, head: int, most: int = MOST_NODES) -> Ring:
        """A list of the kernel's, from the head on."""
        return ring(head, lambda at: self.words(at, 2), most)

    def stack(self, task: Object) -> tuple[str, ...]:
        """The frames of a task's stack, the innermost first."""
        try:
            trace = self.program.stack_trace(task.address_of_())
            return tuple(self._frame(trace[number]) for number in range(min(len(trace), _MOST_FRAMES)))
        except UNREADABLE:
            return ()

    def _frame(self, frame: drgn.StackFrame) -> str:
        try:
            return f"{frame.name} (inlined)" if frame.is_inline else self.name_of(int(frame.pc))
        except UNREADABLE:
            return "?"


def open_kernel(files: Files) -> KernelImage:
    """NotOpened with the reason where the image is none, is another kernel's, or there are no types for it."""
    name = _KERNEL_NAME(files.release).encode()
    placement = _placement(files, name, _move_away(files.image))
    symbols = placement.symbols(files.symbols)
    for levels in (0, 1):  # of page tables, four or five: the CPU's choice, and so QEMU's
        program = _program(files, placement, levels)
        try:
            said = bytes(program.read(symbols["linux_banner"], len(name)))
        except UNREADABLE:
            continue
        if said == name:
            break
    else:
        raise NotOpened(f"the page tables of Linux {files.release} in the image lead to nowhere: they are torn")
    _load(program, files, symbols)
    return KernelImage(program, symbols)


def _placement(files: Files, name: bytes, most: int) -> Placement:
    """NotOpened where the image has no kernel of that name, as far from its place as all else of that build."""
    program = _program(files, Placement(0, 0), 0)

    def read(at: int, size: int) -> bytes:
        try:
            return bytes(program.read(at, size, physical=True))
        except UNREADABLE:
            return b""

    found = find_placement(files.symbols, name, read, most)
    if found is None:
        raise NotOpened(
            f"the image has no Linux {files.release} laid out like that build: it is another kernel's, "
            "or of a moment before the kernel had its page tables"
        )
    return found


def _move_away(image: Path) -> int:
    """QEMU gives its segments, which are of physical memory, virtual addresses from 0 on, too: a pointer to nowhere
    would be read there. They are given others, which no kernel has. Tells where physical memory ends.
    """
    most = 0
    try:
        with image.open("r+b") as file:
            header = file.read(_ELF_HEADER.size)
            magic, *_, table, size, count = (header[:4], *_ELF_HEADER.unpack(header))
            if magic != b"\x7fELF" or size < _ELF_VADDR + 8:
                raise NotOpened("the image is no ELF file of 64 bits")
            for number in range(min(count, _MOST_SEGMENTS)):
                file.seek(table + number * size + _ELF_PADDR)
                at = int.from_bytes(file.read(8), "little")
                held = int.from_bytes(file.read(8), "little")  # p_filesz
                most = min(max(most, at + held), _MOST_RAM)
                file.seek(table + number * size + _ELF_VADDR)
                file.write(((at | _NOWHERE) & _MOST_ADDRESS).to_bytes(8, "little"))
    except (OSError, struct.error) as error:
        raise NotOpened(f"the image is none: {error}") from error
    return most


def _program(files: Files, placement: Placement, levels: int) -> drgn.Program:
    known = {
        "OSRELEASE": files.release,
        "PAGESIZE": "4096",
        "SYMBOL(init_uts_ns)": f"{files.symbols['init_uts_ns'] + placement.offset:x}",
        "SYMBOL(swapper_pg_dir)": f"{files.symbols['init_top_pgt'] + placement.offset:x}",
        "NUMBER(phys_base)": str(placement.phys_base),
        "NUMBER(pgtable_l5_enabled)": str(levels),
        "KERNELOFFSET": f"{placement.offset:x}",
    }
    program = drgn.Program(vmcoreinfo="".join(f"{name}={value}\n" for name, value in known.items()).encode())
    try:
        program.set_core_dump(str(files.image))
    except Exception as error:  # drgn has no common class for what is wrong with a file
        raise NotOpened(f"the image is none that drgn can open: {error}") from error
    return program


def _load(program: drgn.Program, files: Files, symbols: Mapping[str, int]) -> None:
    try:
        for path in files.types:
            program.extra_module(path.stem, create=True).try_file(str(path), force=True)
        program.load_debug_info([str(files.vmlinux)])
    except (OSError, ValueError, drgn.MissingDebugInfoError) as error:
        raise NotOpened(f"the debug info of the build cannot be read: {error}") from error
    if program.main_module().wants_debug_file():
        raise NotOpened("the kernel was built without debug info; that of the profile lean has enough")
    _require_same(program, symbols)
    for module in _modules(program):
        for path in files.modules.get(str(module.name).replace("-", "_"), ()):
            module.try_file(str(path))  # it compares build ids itself
            if not module.wants_debug_file():
                break


def _require_same(program: drgn.Program, symbols: Mapping[str, int]) -> None:
    """The build id in memory is that of vmlinux: kernels of one version have the same name."""
    begin, end = symbols.get("__start_notes", 0), symbols.get("__stop_notes", 0)
    if not 0 < end - begin < 1 << 16:
        return
    try:
        notes = bytes(program.read(begin, end - begin))
        own = program.main_module().build_id
    except UNREADABLE:
        return
    found = _BUILD_ID.search(notes)
    if own and found and notes[found.end() : found.end() + len(own)] != own:
        raise NotOpened("the image is of another build of this version: their build ids differ")


def _modules(program: drgn.Program) -> Iterator[drgn.Module]:
    try:
        for number, (module, _) in enumerate(program.loaded_modules()):
            if number >= _MOST_MODULES:
                return
            yield module
    except UNREADABLE:
        return  # what is not found by name later is said there
