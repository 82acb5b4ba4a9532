# SPDX-License-Identifier: GPL-2.0-only
"""Backtraces to lines of sources: on objects that the test compiles, whose every line is known."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.evidence.backtrace import frame_in, frames_of_events, with_places
from harness.evidence.lines import decode as decode_log
from harness.evidence.splats import find_events
from harness.flow.sources import objects_beside, objects_of_build, with_sources
from harness.kernel import decode as decode_module
from harness.kernel.decode import Objects, _in_tree, decode
from harness.kernel.elf import read_object
from harness.model.errors import UserError
from harness.model.frame import Decoded, Frame, SourcePlace
from harness.proc import Deadline
from harness.store.layout import Layout
from tests.conftest import require_tool

MAIN = """\
#include "../include/inner.h"
void other(void);
int start_kernel(int a)
{
	other();
	return a;
}
static __attribute__((noinline)) void twice(void)
{
	inner(1);
}
void outer(void)
{
	twice();
	inner(2);
}
__attribute__((noinline, noreturn)) void dies(void)
{
	for (;;)
		asm volatile("hlt");
}
__attribute__((noinline)) void ends_in_a_call(void)
{
	dies();
}
int _start(void)
{
	outer();
	ends_in_a_call();
	return start_kernel(1);
}
"""
INNER = """\
extern volatile int sink;
static inline __attribute__((always_inline)) void inner(int a)
{
	sink = a;
}
"""
OTHER = """\
#include "../include/inner.h"
volatile int sink;
static __attribute__((noinline)) void twice(void)
{
	sink = 1;
	sink = 2;
	sink = 3;
	sink = 4;
	sink = 5;
	sink = 6;
}
static __attribute__((noinline)) void same(void)
{
	sink = 7;
}
void other(void)
{
	twice();
	same();
}
"""
THIRD = """\
extern volatile int sink;
static __attribute__((noinline)) void same(void)
{
	sink = 8;
}
void third(void)
{
	same();
}
"""
MODULE = """\
extern volatile int sink;
void mod_work(void)
{
	sink = 1;
	sink = 2;
}
__attribute__((section(".init.text"))) int mod_init(void)
{
	sink = 3;
	sink = 4;
	return 0;
}
"""
FLAGS = ("-g", "-O2", "-fno-pie", "-ffreestanding", "-fcf-protection=none", "-fno-reorder-functions")


def cc(place: Path, *words: str) -> None:
    subprocess.run([require_tool("gcc"), *FLAGS, *words], cwd=place, check=True, timeout=60)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place as the harness builds in: sources, and `objects` inside of it, from where they are named by `../`."""
    place = tmp_path_factory.mktemp("place")
    for name, text in (
        ("init/main.c", MAIN),
        ("include/inner.h", INNER),
        ("mm/other.c", OTHER),
        ("mm/third.c", THIRD),
        ("drivers/mod-one.c", MODULE),
    ):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(text)
    objects = place / "objects"
    (objects / "drivers").mkdir(parents=True)
    sources = ("../init/main.c", "../mm/other.c", "../mm/third.c")
    cc(objects, "-nostdlib", "-no-pie", "-static", "-o", "vmlinux", *sources)
    cc(objects, "-c", "-o", "drivers/mod-one.ko", "../drivers/mod-one.c")
    return place


@pytest.fixture(params=["llvm-symbolizer", "addr2line"])
def tool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name = str(request.param)
    require_tool(name)
    if name == "addr2line":
        monkeypatch.setattr(decode_module, "find_tool", lambda _name: None)
    return name


def objects(tree: Path) -> Objects:
    return objects_beside(tree / "objects" / "vmlinux")


def symbols(path: Path, name: str) -> list[tuple[int, int]]:
    """Address and size of the functions of that name, as nm counts them."""
    output = subprocess.run(["nm", "-S", str(path)], capture_output=True, text=True, check=True, timeout=60).stdout
    rows = [line.split() for line in output.splitlines()]
    return [(int(row[0], 16), int(row[1], 16)) for row in rows if len(row) == 4 and row[3] == name]


def printed_size(path: Path, name: str, which: int = 0) -> int:
    """As the kernel prints it: up to the next function."""
    output = subprocess.run(["nm", str(path)], capture_output=True, text=True, check=True, timeout=60).stdout
    code = sorted({int(row[0], 16) for row in map(str.split, output.splitlines()) if row[1] in "tT"})
    start, size = symbols(path, name)[which]
    return next((address - start for address in code if address > start), size)


def told(decoded: Decoded, frame: Frame) -> list[str]:
    return [f"{place.function} {place}" for place in decoded.places[frame]]


def test_inlined_functions_come_first(tree: Path, tool: str) -> None:
    vmlinux = tree / "objects" / "vmlinux"
    pointer = Frame("outer", symbols(vmlinux, "outer")[0][1] - 1, printed_size(vmlinux, "outer"), returns=False)
    found = decode([pointer], objects(tree), Deadline(60))
    assert found.problem == ""
    size = symbols(vmlinux, "outer")[0][1]
    all_of_it = [Frame("outer", at, pointer.size, returns=False) for at in range(size)]
    lines = {tuple(told(decode(all_of_it, objects(tree), Deadline(60)), one)) for one in all_of_it}
    assert ("inner include/inner.h:4", "outer init/main.c:15") in lines


def test_a_return_address_is_the_line_of_the_call(tree: Path, tool: str) -> None:
    vmlinux = tree / "objects" / "vmlinux"
    size = printed_size(vmlinux, "ends_in_a_call")
    _, own = symbols(vmlinux, "ends_in_a_call")[0]
    back = Frame("ends_in_a_call", own, size)  # a call that never returns: the address is behind the function
    assert told(decode([back], objects(tree), Deadline(60)), back) == ["ends_in_a_call init/main.c:24"]


def test_the_size_tells_static_namesakes_apart(tree: Path, tool: str) -> None:
    vmlinux = tree / "objects" / "vmlinux"
    frames = [Frame("twice", 0, printed_size(vmlinux, "twice", which), returns=False) for which in (0, 1)]
    assert frames[0].size != frames[1].size
    found = decode(frames, objects(tree), Deadline(60))
    files = {found.places[frame][-1].file for frame in frames}
    assert files == {"init/main.c", "mm/other.c"}


def test_what_cannot_be_told_apart_is_not_told(tree: Path, tool: str) -> None:
    vmlinux = tree / "objects" / "vmlinux"
    sizes = [printed_size(vmlinux, "same", which) for which in (0, 1)]
    assert sizes[0] == sizes[1]
    frame = Frame("same", 0, sizes[0], returns=False)
    assert decode([frame], objects(tree), Deadline(60)).places[frame] == ()


@pytest.mark.parametrize("frame", [Frame("outer", 1, 0x7777), Frame("nowhere", 1, 2), Frame("outer", 0x900000, 0x11)])
def test_another_kernel_is_not_guessed_at(tree: Path, tool: str, frame: Frame) -> None:
    assert decode([frame], objects(tree), Deadline(60)).places[frame] == ()


def test_modules_have_sections_that_all_begin_at_zero(tree: Path) -> None:
    module = tree / "objects" / "drivers" / "mod-one.ko"
    work = Frame("mod_work", 0, symbols(module, "mod_work")[0][1], "mod_one", returns=False)
    init = Frame("mod_init", 0, symbols(module, "mod_init")[0][1], "mod_one", returns=False)
    found = decode([work, init], objects(tree), Deadline(60))
    assert found.problem == ""
    assert [found.places[frame][-1].line for frame in (work, init)] == [4, 9]
    assert {found.places[frame][-1].file for frame in (work, init)} == {"drivers/mod-one.c"}


def test_a_module_that_is_not_there_spoils_nothing_else(tree: Path) -> None:
    vmlinux = tree / "objects" / "vmlinux"
    frame = Frame("outer", 0, printed_size(vmlinux, "outer"), returns=False)
    found = decode([frame, Frame("f", 1, 2, "absent")], objects(tree), Deadline(60))
    assert found.problem == "there is no object of the module absent"
    assert found.places[frame]


@pytest.mark.parametrize("order", [0, 1])
def test_the_first_directory_with_the_module_counts(tree: Path, tmp_path: Path, order: int) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "scratch").mkdir()
    (own / "scratch" / "mod-one.c").write_text("\n\n" + MODULE)
    cc(own, "-c", "-o", "mod-one.ko", str(own / "scratch" / "mod-one.c"))
    size = symbols(own / "mod-one.ko", "mod_work")[0][1]
    frame = Frame("mod_work", 0, size, "mod_one", returns=False)
    directories = (own, tree / "objects") if order == 0 else (tree / "objects", own)
    found = decode([frame], Objects(tree / "objects" / "vmlinux", directories), Deadline(60))
    expected = (
        SourcePlace("mod_work", "mod-one.c", 6) if order == 0 else SourcePlace("mod_work", "drivers/mod-one.c", 4)
    )
    assert found.places[frame] == (expected,)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no ELF object"),
        (b"\x7fELF\x02\x01" + b"\0" * 10, "is no ELF object"),
        (b"\x7fELF\x01\x01" + b"\xff" * 600, "is no ELF object"),
        (b"\x7fELF\x02\x01" + b"\xff" * 600, "is no ELF object"),
        (b"# text\n" * 100, "is no ELF object"),
    ],
)
def test_what_is_no_kernel_is_said_so(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(content)
    found = decode([Frame("a", 1, 2)], objects_beside(path), Deadline(60))
    assert found.places == {}
    assert words in found.problem


def test_any_cut_of_an_object_is_survived(tree: Path, tmp_path: Path) -> None:
    whole = (tree / "objects" / "drivers" / "mod-one.ko").read_bytes()
    for length in range(0, len(whole), 97):
        path = tmp_path / "cut.ko"
        path.write_bytes(whole[:length])
        try:
            read_object(path, {"mod_work"})
        except UserError as error:
            assert "cut.ko" in error.message


def test_a_build_without_vmlinux_or_line_tables_says_why(tree: Path, tmp_path: Path) -> None:
    assert decode([Frame("a", 1, 2)], objects_beside(tmp_path / "vmlinux"), Deadline(60)).problem == (
        "there is no vmlinux any more"
    )
    bare = tmp_path / "bare"
    bare.mkdir()
    subprocess.run(
        ["strip", "-g", "-o", str(bare / "vmlinux"), str(tree / "objects" / "vmlinux")], check=True, timeout=60
    )
    assert (
        "has no line tables" in decode([Frame("outer", 1, 2)], objects_beside(bare / "vmlinux"), Deadline(60)).problem
    )
    subprocess.run(["strip", "-o", str(bare / "vmlinux"), str(tree / "objects" / "vmlinux")], check=True, timeout=60)
    assert "has no symbols" in decode([Frame("outer", 1, 2)], objects_beside(bare / "vmlinux"), Deadline(60)).problem


def test_nothing_to_decode_asks_nobody(tmp_path: Path) -> None:
    assert decode([], objects_beside(tmp_path / "vmlinux"), Deadline(60)) == Decoded()


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        (" ttm_bo_put+0x12/0x34 [ttm]", Frame("ttm_bo_put", 0x12, 0x34, "ttm")),
        (" ttm_bo_put+0x12/0x34 [ttm 0123456789abcdef0123]", Frame("ttm_bo_put", 0x12, 0x34, "ttm")),
        (" ? foo.constprop.0+0x1/0x22", Frame("foo.constprop.0", 1, 0x22)),
        ("RIP: 0010:foo+0x1/0x22 [m]", Frame("foo", 1, 0x22, "m", returns=False)),
        ("BUG: KASAN: slab-use-after-free in foo+0x1/0x22 [m]", Frame("foo", 1, 0x22, "m")),
        ("RIP: 0033:0x47b7a0", None),
        ("WARNING: mm/vmscan.c:12 at foo+0x1/0x22, CPU#0: kswapd0/1", None),
        ("Code: 00 +0x", None),
    ],
)
def test_the_frame_of_a_line(text: str, frame: Frame | None) -> None:
    assert frame_in(text) == frame


OOPS = """\
[    1.000000] BUG: kernel NULL pointer dereference, address: 0000000000000008
[    1.000000] Oops: Oops: 0002 [#1] SMP
[    1.000000] CPU: 0 UID: 0 PID: 97 Comm: sh Not tainted 7.3.4 #1
[    1.000000] RIP: 0010:{outer}
[    1.000000] Call Trace:
[    1.000000]  <TASK>
[    1.000000]  {twice}
[    1.000000]  unknown_one+0x1/0x2
[    1.000000]  </TASK>
[    1.000000] ---[ end trace 0000000000000000 ]---
"""


def oops(tree: Path) -> bytes:
    vmlinux = tree / "objects" / "vmlinux"
    outer = f"outer+0x{symbols(vmlinux, 'outer')[0][1] - 1:x}/0x{printed_size(vmlinux, 'outer'):x}"
    twice = f"twice+0x1/0x{printed_size(vmlinux, 'twice', 1):x}"
    return OOPS.format(outer=outer, twice=twice).encode()


def test_an_event_gets_its_lines_and_keeps_its_fingerprint(tree: Path) -> None:
    before = find_events(decode_log(oops(tree)))
    after, problem = with_sources(before, objects(tree))
    assert problem == ""
    assert after[0].fingerprint == before[0].fingerprint
    assert after[0].frames == before[0].frames
    assert after[0].title == f"{before[0].title} [in outer, init/main.c:16]"
    assert after[0].lines[3].startswith(before[0].lines[3] + " (")
    assert after[0].lines[3].endswith("init/main.c:16)")
    assert "mm/other.c:" in after[0].lines[6] or "init/main.c:" in after[0].lines[6]
    assert after[0].lines[7] == " unknown_one+0x1/0x2 (?)"
    assert str(tree) not in "".join(after[0].lines)


def test_an_event_that_was_not_decoded_says_why(tmp_path: Path) -> None:
    before = find_events(decode_log(OOPS.format(outer="a+0x1/0x2", twice="b+0x1/0x2").encode()))
    after, problem = with_sources(before, objects_beside(tmp_path / "vmlinux"))
    assert after[0].title == before[0].title
    assert after[0].lines == (*before[0].lines, f"[not decoded: {problem}]")


def test_a_title_that_has_a_line_gets_no_other() -> None:
    text = "[    1.000000] WARNING: mm/a.c:3 at foo+0x1/0x22, CPU#0: sh/1\n[    1.000000]  foo+0x1/0x22\n"
    event = find_events(decode_log(text.encode()))[0]
    frame = Frame("foo", 1, 0x22)
    decoded = Decoded({frame: (SourcePlace("foo", "mm/a.c", 3),)})
    assert with_places(event, decoded).title == event.title
    assert with_places(event, decoded).lines[1] == " foo+0x1/0x22 (mm/a.c:3)"


def test_real_logs_do_not_change_but_where_something_is_known() -> None:
    data = Path(__file__).parent.parent / "data"
    logs: Sequence[Path] = sorted(data.rglob("*.log"))
    assert len(logs) > 20
    frames = 0
    for log in logs:
        events = find_events(decode_log(log.read_bytes()))
        frames += len(frames_of_events(events))
        assert tuple(with_places(event, Decoded()) for event in events) == events
    assert frames > 100


def test_a_build_is_found_by_the_beginning_of_its_id(scratch_layout: Layout) -> None:
    (scratch_layout.builds / "0123456789abcdef").mkdir()
    (scratch_layout.builds / "01ffffffffffffff").mkdir()
    found = objects_of_build("0123", scratch_layout)
    assert found.vmlinux == scratch_layout.objects / "0123456789abcdef" / "objects" / "vmlinux"
    assert objects_of_build("0123456789abcdef" + "0" * 48, scratch_layout) == found
    for name in ("01", "77", ""):
        with pytest.raises(UserError, match="in the store"):
            objects_of_build(name, scratch_layout)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("/s/objects/0123456789abcdef/kernel/fork.c", "kernel/fork.c"),
        ("/s/objects/fedcba9876543210/kernel/configs.c", "kernel/configs.c"),
        ("/s/objects/module-0123456789/a.c", "/s/objects/module-0123456789/a.c"),
        ("/s/other/fedcba9876543210/a.c", "/s/other/fedcba9876543210/a.c"),
        ("kernel/fork.c", "kernel/fork.c"),
    ],
)
def test_a_file_has_its_name_in_the_tree(file: str, name: str) -> None:
    assert _in_tree(file, "/s/objects/0123456789abcdef/") == name
    assert _in_tree(file, "") == file
