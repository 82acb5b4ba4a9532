# SPDX-License-Identifier: GPL-2.0-only
"""What make printed, read: real logs in data/make, one a folder, with what is to be found in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.kernel.buildlog import Paths, first_error, host_trouble, missing_header, parse_warnings, step_of

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
