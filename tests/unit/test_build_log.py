# SPDX-License-Identifier: GPL-2.0-only
"""What make printed, read: real logs in data/make, one a folder, with what is to be found in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.kernel.buildlog import (
    Paths,
    first_error,
    host_trouble,
    missing_header,
    parse_checked,
    parse_failures,
    parse_warnings,
    step_of,
)
from harness.model.visible import visible

DATA = Path(__file__).parent.parent / "data" / "make"
PATHS = Paths(("/src/kernel/o", "/src/kernel/d7.3/linux-source-7.3"))
SCENARIOS = sorted(path.name for path in DATA.iterdir())


def read(scenario: str) -> list[str]:
    return (DATA / scenario / "input.log").read_text().split("\n")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_real_logs(scenario: str) -> None:
    lines = read(scenario)
    found = {
        "steps": len({step for line in lines if (step := step_of(line))}),
        "error": first_error(lines, PATHS),
        "host": host_trouble(lines),
        "missing_header": missing_header(lines),
        "warnings": [[item.file, item.line, item.text] for item in parse_warnings(lines, PATHS)],
    }
    assert found == json.loads((DATA / scenario / "expected.json").read_text())


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_log_cut_anywhere_has_no_more_than_the_log(scenario: str) -> None:
    lines = read(scenario)
    whole = {(item.file, item.text) for item in parse_warnings(lines, PATHS)}
    for end in range(len(lines)):
        assert {(item.file, item.text) for item in parse_warnings(lines[:end], PATHS)} <= whole


@given(st.lists(st.text()))
def test_any_lines_are_read(lines: list[str]) -> None:
    parse_warnings(lines, PATHS)
    first_error(lines, PATHS)
    host_trouble(lines)
    missing_header(lines)


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("  CC      mm/vmscan.o", "CC mm/vmscan.o"),
        ("  CC [M]  fs/fuse/dev.o", "CC fs/fuse/dev.o"),
        ("  LD [M]  fs/fuse/fuse.ko", "LD fs/fuse/fuse.ko"),
        ("  MKPIGGY arch/x86/boot/compressed/piggy.S", "MKPIGGY arch/x86/boot/compressed/piggy.S"),
        ("make[1]: Entering directory '/x'", None),
        ("    5 | #define KERN_SOH", None),
        ("      |  ^~~~", None),
        ("  Cc x", None),
    ],
)
def test_steps(line: str, step: str | None) -> None:
    assert step_of(line) == step


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ld: mm/built-in.a(vmscan.o): in function `f': undefined reference to `g'", True),
        ("make[2]: *** No rule to make target 'x.o', needed by 'y'.  Stop.", True),
        ("drivers/x.o: error: objtool: f() falls through", True),
        ("  CC      mm/error.o", False),
        ("all is well", False),
    ],
)
def test_errors_that_are_not_the_compiler_s(line: str, said: bool) -> None:
    assert first_error(["  CC      a.o", line], PATHS) == (line if said else None)


def test_the_compiler_s_error_comes_before_make_s() -> None:
    lines = ["make[3]: *** [a.o] Error 1", "/src/kernel/o/include/generated/a.h:1:2: error: odd"]
    assert first_error(lines, PATHS) == "include/generated/a.h:1:2: error: odd"


def test_older_modpost_and_objtool() -> None:
    lines = [
        "WARNING: modpost: missing MODULE_DESCRIPTION() in lib/kunit/kunit-test.o",
        "WARNING: modpost: vmlinux: section mismatch in reference: f+0x12 (section: .text) -> g (section: .init)",
        "vmlinux.o: warning: objtool: f+0x1f: unreachable",
        "vmlinux.o: warning: objtool: f+0x20: unreachable",
    ]
    assert [(item.file, item.text) for item in parse_warnings(lines, PATHS)] == [
        ("lib/kunit/kunit-test.o", "missing MODULE_DESCRIPTION() in lib/kunit/kunit-test.o"),
        ("vmlinux", "section mismatch in reference: f (section: .text) -> g (section: .init)"),
        ("vmlinux.o", "f: unreachable"),
    ]


def test_a_missing_header_of_the_sources_is_theirs() -> None:
    line = "tools/objtool/elf.c:9:10: fatal error: gelf.h: No such file or directory"
    assert missing_header([line]) == "gelf.h"
    assert missing_header([line.replace("gelf.h", "linux/odd.h")]) is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{standard input}: Fatal error: can't write 9 bytes to x.o: 'No space left on device'", "the disk is full"),
        ("mm/slab.c:99:1: fatal error: error writing to /tmp/cc.s: No space left on device", "the disk is full"),
        ("ld: final link failed: Disk quota exceeded", "the disk is full"),
        ("fixdep: error opening file: mm/x.o.d: Input/output error", "the disk cannot be used"),
        ("/bin/sh: 1: cannot create mm/.x.o.cmd: Read-only file system", "the disk cannot be used"),
        ("collect2: fatal error: ld terminated with signal 9 [Killed]", "was killed, as happens"),
        ("make[3]: *** [../scripts/Makefile.build:287: mm/slab.o] Killed", "was killed, as happens"),
        ("make[2]: *** [../scripts/Makefile.vmlinux:34: vmlinux] Error 137", "was killed, as happens"),
        ("/bin/sh: line 1: 4242 Killed                  ld -r -o x.o", "was killed, as happens"),
        ("make[3]: *** [../scripts/Makefile.build:287: mm/slab.o] Terminated", "somebody ended it"),
        ("cc1: out of memory allocating 65536 bytes after a total of 1 bytes", "out of memory"),
        ("ld: final link failed: memory exhausted", "out of memory"),
        ("/bin/sh: 0: Cannot fork", "does not let it start"),
        ("make: vfork: Resource temporarily unavailable", "does not let it start"),
        ("mm/slab.c:99:1: internal compiler error: Segmentation fault", "the compiler itself crashed"),
        ("ld: mm/slab.o: file not recognized: file truncated", "an object is cut off"),
        ("/bin/sh: 1: bc: not found", "a tool is gone: bc"),
        ("/bin/bash: line 1: objcopy: command not found", "a tool is gone: objcopy"),
        ("make[1]: gcc: No such file or directory", "a tool is gone: gcc"),
        ("gcc: fatal error: cannot execute 'cc1': execvp: No such file or directory", "a tool is gone: cc1"),
    ],
)
def test_the_host_s_troubles_are_known(line: str, said: str) -> None:
    assert said in (host_trouble(["  CC      mm/slab.o", line]) or "")


@pytest.mark.parametrize(
    "line",
    [
        "mm/slab.c:9:2: error: #error No space left on device",
        "    9 | #error Cannot allocate memory",
        "mm/slab.c:9:2: warning: #warning Killed signal terminated program cc1",
        "mm/slab.c:9:2: error: expected ';' before 'Killed'",
        "/bin/sh: 1: my-own-script: not found",
        "make[1]: *** No rule to make target 'mm/gone.o'.  Stop.",
        "make[3]: *** [../scripts/Makefile.build:287: mm/slab.o] Error 1",
    ],
)
def test_what_the_sources_do_is_not_the_host_s_trouble(line: str) -> None:
    assert host_trouble([line]) is None


# ---- colours ----

LINK = "\x1b]8;;https://example.org/w\x07-Wunused-variable\x1b]8;;\x07"
PAINTED = {
    "gcc": (
        "\x1b[01m\x1b[Kmm/a.c:\x1b[m\x1b[K In function '\x1b[01m\x1b[Kf\x1b[m\x1b[K':",
        "\x1b[01m\x1b[Kmm/a.c:3:1:\x1b[m\x1b[K \x1b[01;35m\x1b[Kwarning: \x1b[m\x1b[Kunused variable ["
        f"\x1b[01;35m\x1b[K{LINK}\x1b[m\x1b[K]",
        "\x1b[01m\x1b[Kmm/a.c:4:2:\x1b[m\x1b[K \x1b[01;31m\x1b[Kerror: \x1b[m\x1b[Kodd",
    ),
    "clang": (
        "mm/a.c: In function 'f':",
        "\x1b[1mmm/a.c:3:1: \x1b[0m\x1b[0;1;35mwarning: \x1b[0m\x1b[1munused variable [-Wunused-variable]\x1b[0m",
        "\x1b[1mmm/a.c:4:2: \x1b[0m\x1b[0;1;31merror: \x1b[0m\x1b[1modd\x1b[0m",
    ),
}


@pytest.mark.parametrize("compiler", sorted(PAINTED))
def test_a_compiler_that_colours_its_output(compiler: str) -> None:
    lines = ["\x1b[32m  CC      mm/a.o\x1b[0m", *PAINTED[compiler], "make[2]: *** [Makefile:1: mm/a.o] Error 1"]
    assert step_of(lines[0]) == "CC mm/a.o"
    (warning,) = parse_warnings(lines, PATHS)
    assert (warning.file, warning.line, warning.text) == ("mm/a.c", 3, "unused variable [-Wunused-variable]")
    assert first_error(lines, PATHS) == "mm/a.c:4:2: error: odd"
    failures = parse_failures(lines, PATHS)
    assert failures.errors == {"mm/a.o": "mm/a.c:4:2: error: odd"}
    assert not any("\x1b" in line for line in failures.rest)
    checked = parse_checked(["  CHECK   mm/a.c", lines[3]], PATHS)
    assert [(one.file, one.line, one.text) for one in checked] == [("mm/a.c", 4, "error: odd")]


def test_colours_hide_neither_the_host_nor_a_header() -> None:
    full = "\x1b[1mcc1:\x1b[0m \x1b[31mfatal error: \x1b[0merror writing to x.s: No space left on device"
    assert host_trouble([full]) == "the disk is full"
    gone = "\x1b[1mtools/elf.c:9:10:\x1b[0m \x1b[31mfatal error: \x1b[0mgelf.h: No such file or directory"
    assert missing_header([gone]) == "gelf.h"


def test_what_else_a_source_says_to_a_terminal_is_shown_and_not_obeyed() -> None:
    line = 'mm/a.c:1:2: warning: #warning "\x1b[2Jverdict: \x1b[32mgood\x1b[0m" [-Wcpp]'
    (warning,) = parse_warnings([line], PATHS)
    assert warning.text == '#warning "\x1b[2Jverdict: good" [-Wcpp]'
    assert "\x1b" not in visible(warning.text)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_real_log_in_colours_says_the_same(scenario: str) -> None:
    plain = read(scenario)
    begin, middle, end = "\x1b[01m\x1b[K", ":\x1b[m\x1b[K ", "\x1b[0m"
    painted = [begin + line.replace(": ", middle) + end for line in plain]
    for reader in (parse_warnings, first_error):
        assert reader(painted, PATHS) == reader(plain, PATHS)
    assert (host_trouble(painted), missing_header(painted)) == (host_trouble(plain), missing_header(plain))
