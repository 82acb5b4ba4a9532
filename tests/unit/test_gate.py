# SPDX-License-Identifier: GPL-2.0-only
"""The gate: what compilers and checkpatch said -> marks; marks -> the first bad patch; and what is printed of it."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness.reports
from harness.judge.flips import flips_of
from harness.judge.gate import (
    applies_check,
    build_check,
    builds,
    checkpatch_check,
    documented_of,
    flips_check,
    judged,
    kernel_doc_check,
    mail_of,
    missing_name,
    objects_check,
    provider_of,
    sources_of,
    warnings_check,
    with_failed_build,
)
from harness.kernel.buildlog import Paths
from harness.kernel.objects import errors_by_target
from harness.model.build import CompilerWarning
from harness.model.codec import to_json
from harness.model.gate import Compiled, Gate, GateCheck, Mark, PatchGate
from harness.model.outcome import Standing
from harness.model.series import ChangeKind, FileChange, HunkReport, HunkState, Patch, PatchReport, Series
from harness.reports.gate import print_gate

SCHEMA = json.loads((Path(harness.reports.__file__).parent / "schema" / "gate-1.json").read_text())
DATA = Path(__file__).parent.parent / "data" / "make"


def changed(path: str, kind: ChangeKind = ChangeKind.MODIFIED) -> FileChange:
    return FileChange(path, kind, 1, 1)


def patch(position: int, *files: FileChange, diff: str = "", total: int = 3, author: str = "A <a@x.org>") -> Patch:
    return Patch(f"do {position}", position, total, 1, diff, files, f"{position:040x}", author=author)


def series(*patches: Patch, missing: tuple[int, ...] = ()) -> Series:
    return Series("them", 1, patches[0].total, patches, "mbox:t", missing=missing)


A = patch(1, changed("drivers/a.c"))
B = patch(2, changed("drivers/b.c"), changed("include/new.h"))
C = patch(3, changed("include/late.h", ChangeKind.ADDED), changed("drivers/c.c"), diff="+int helper(int x)\n")
ALL = series(A, B, C)


def warning(text: str, line: int = 5, file: str = "drivers/a.c") -> CompilerWarning:
    return CompilerWarning(file, line, text)


def broken(*names: str) -> Compiled:
    return Compiled(errors=tuple((name, f"{name}:1:1: error: no") for name in names))


def test_the_files_whose_objects_are_looked_at() -> None:
    assert sources_of(A, ALL) == ("drivers/a.c",)
    # A header has users; those that the series knows of.
    assert sources_of(B, ALL) == ("drivers/a.c", "drivers/b.c", "drivers/c.c")
    gone = patch(1, changed("drivers/a.c", ChangeKind.DELETED))
    assert sources_of(gone, series(gone)) == ()
    assert documented_of(B) == ("drivers/b.c", "include/new.h")


def test_an_error_is_of_the_patch_that_brings_it() -> None:
    good = Compiled(built=("drivers/a.c",))
    assert objects_check(Compiled(), good, ALL, A).mark is Mark.OK
    check = objects_check(good, broken("drivers/a.c"), ALL, A)
    assert check.mark is Mark.BAD
    assert "error: no" in check.message


def test_what_was_broken_before_blames_nobody_and_is_not_good_either() -> None:
    check = objects_check(broken("drivers/a.c"), broken("drivers/a.c"), ALL, A)
    assert check.mark is Mark.NOT_RUN
    assert "before this patch" in check.message
    assert objects_check(broken("drivers/a.c"), broken("drivers/a.c", "drivers/b.c"), ALL, A).mark is Mark.BAD


def test_an_object_that_the_config_has_not_is_not_good() -> None:
    check = objects_check(Compiled(), Compiled(absent=("drivers/a.c",)), ALL, A)
    assert check.mark is Mark.NOT_RUN
    assert "drivers/a.c" in check.message
    assert objects_check(Compiled(), Compiled(), ALL, A).message == "no .c file is touched"


def test_warnings_are_told_by_their_text_and_not_by_their_line() -> None:
    before = Compiled(built=("drivers/a.c",), warnings=(warning("unused x", 5),))
    moved = Compiled(built=("drivers/a.c",), warnings=(warning("unused x", 99),))
    assert warnings_check(before, moved).mark is Mark.OK
    elsewhere = Compiled(built=("drivers/a.c",), warnings=(warning("unused x", 5, "drivers/b.c"),))
    check = warnings_check(before, elsewhere)
    assert check.mark is Mark.BAD
    assert "drivers/b.c:5: unused x" in check.message
    assert warnings_check(Compiled(), broken("drivers/a.c")).mark is Mark.NOT_RUN
    assert build_check((warning("old"),), (warning("old", 7),)).mark is Mark.OK
    assert build_check((), (warning("undefined", 0, "ttm.ko"),)).mark is Mark.BAD


def test_other_configs() -> None:
    good = Compiled(built=("drivers/a.c",))
    assert flips_check([]).mark is Mark.OK
    assert flips_check([("SHMEM=n", good, Compiled())]).mark is Mark.OK
    check = flips_check([("SHMEM=n", good, Compiled()), ("i386", broken("drivers/a.c"), good)])
    assert check.mark is Mark.BAD
    assert check.message.startswith("i386: drivers/a.c:1:1: error")
    assert flips_check([("i386", broken("drivers/a.c"), broken("drivers/a.c"))]).mark is Mark.OK
    refused = flips_check([("SHMEM=n", None, Compiled())])
    assert refused.mark is Mark.OK
    assert refused.details == ("SHMEM=n: Kconfig does not let it be",)


def test_configs_that_a_patch_implies() -> None:
    diff = (
        "--- a/drivers/a.c\n+++ b/drivers/a.c\n@@ -1,3 +1,4 @@\n #ifdef CONFIG_UNTOUCHED\n"
        "+#if IS_ENABLED(CONFIG_DRM_XE)\n+\tshmem_file_setup();\n-\tdebugfs_create_file();\n+#ifdef CONFIG_OFF\n"
    )
    one = patch(1, changed("drivers/a.c"), diff=diff)
    config = {"DRM_XE": "m", "SHMEM": "y", "DEBUG_FS": "y", "UNTOUCHED": "y", "DRM_TTM": "m", "SWAP": "y"}
    flips = flips_of(one, config, ["obj-$(CONFIG_DRM_TTM) += ttm.o\nobj-$(CONFIG_OTHER) += o.o\n"], False)
    assert [flip.name for flip in flips] == ["DRM_XE=n", "SHMEM=n", "DEBUG_FS=n", "built in", "i386"]
    assert flips_of(one, config, [], True)[-1].name == "clang"
    built_in = flips_of(patch(1, changed("a.c")), {"DRM_TTM": "y"}, ["obj-$(CONFIG_DRM_TTM) += ttm.o"], False)
    assert [flip.name for flip in built_in] == ["modules", "i386"]


def test_symbols_of_a_changed_kconfig_file() -> None:
    one = patch(1, changed("drivers/Kconfig"), diff="+config NEW_ONE\n+\tdepends on MMU && !SMALL\n")
    flips = flips_of(one, {"NEW_ONE": "y", "MMU": "y", "SMALL": "n"}, [], False)
    assert [flip.name for flip in flips] == ["NEW_ONE=n", "MMU=n", "i386"]


@pytest.mark.parametrize(
    ("said", "mark"),
    [
        ("", Mark.OK),
        ("patch:12: WARNING: line length of 120 exceeds 100 columns\n", Mark.WARN),
        ("patch:: WARNING: added, moved or deleted file(s), does MAINTAINERS need updating?\n", Mark.WARN),
        ("patch:3: CHECK: Alignment should match\npatch:9: ERROR: code indent should use tabs\n", Mark.BAD),
        ("\x00\xff: nonsense\n", Mark.OK),
    ],
)
def test_checkpatch(said: str, mark: Mark) -> None:
    assert checkpatch_check(said).mark is mark


def test_kernel_doc_in_both_forms() -> None:
    new = "Warning: include/new.h:11 struct member 'q' not described in 'z'\n"
    old = "include/new.h:12: warning: Function parameter or struct member 'q' not described in 'z'\n"
    for said in (new, old):
        assert kernel_doc_check("", said).mark is Mark.BAD
        assert kernel_doc_check(said.replace(":1", ":2"), said).mark is Mark.OK
    assert kernel_doc_check(new, "").mark is Mark.OK


def test_fuzz_is_said_aloud() -> None:
    hunks = (HunkReport("a.c", 1, 5, HunkState.OFFSET, 3), HunkReport("a.c", 2, 9, HunkState.FUZZ, 0, 2))
    assert applies_check(PatchReport(1, 3, "do", True, hunks[:1])).mark is Mark.OK
    check = applies_check(PatchReport(1, 3, "do", True, hunks))
    assert check.mark is Mark.WARN
    assert "1 of 2 hunks" in check.message


def test_what_is_missing_and_who_brings_it() -> None:
    header = "drivers/b.c:4:10: fatal error: drm/late.h: No such file or directory"
    assert missing_name(header) == "drm/late.h"
    assert missing_name("x.c:1: error: implicit declaration of function ‘helper’ [-Werror]") == "helper"
    assert missing_name("x.c:1:1: error: 'struct z' has no member named 'q'") == "q"
    assert missing_name('ERROR: modpost: "helper" [drivers/a.ko] undefined!') == "helper"
    assert missing_name("x.c:1:1: error: expected ';'") == ""
    assert provider_of("late.h", ALL, A) == "patch 3/3 'do 3' brings late.h"
    assert provider_of("helper", ALL, A) == "patch 3/3 'do 3' brings helper"
    assert provider_of("helper", ALL, C) == "neither the tree nor the series has helper"
    alone = series(patch(2, changed("a.c"), total=6), missing=(1, 3))
    assert provider_of("late.h", alone, alone.patches[0]) == (
        "late.h may come with what is missing of the series: 1/6, 3/6"
    )
    assert provider_of("", ALL, A) == ""


def test_the_mail_for_checkpatch() -> None:
    assert mail_of(A).startswith("From: A <a@x.org>\n")
    # A page gives a name alone: nobody could sign off with that.
    assert mail_of(patch(1, changed("a.c"), author="Ada")).startswith("Subject: [PATCH 1/3] do 1\n")


def gated(position: int, *marks: Mark) -> PatchGate:
    names = ("applies", "checkpatch", "kernel-doc", "objects", "warnings", "configs", "build")
    checks = tuple(GateCheck(name, mark, f"{name} says") for name, mark in zip(names, marks, strict=False))
    return PatchGate(position, 3, f"do [{position}]", "0" * 40, checks)


def verdict(*patches: PatchGate, of: Series = ALL) -> Gate:
    return judged(of, "linux 7.3.4", patches)


def test_the_verdict() -> None:
    good = [gated(number, Mark.OK, Mark.WARN, Mark.OK) for number in (1, 2, 3)]
    assert verdict(*good).verdict is Standing.GOOD
    bad = verdict(good[0], gated(2, Mark.OK, Mark.BAD), gated(3, Mark.BAD))
    assert (bad.verdict, bad.first_bad) == (Standing.BAD, 2)
    unsure = verdict(good[0], gated(2, Mark.OK, Mark.NOT_RUN), good[2])
    assert (unsure.verdict, unsure.first_bad) == (Standing.CANNOT_TELL, 0)
    partial = verdict(good[0], of=series(patch(1, changed("a.c")), missing=(2, 3)))
    assert partial.verdict is Standing.CANNOT_TELL
    assert "not whole: 2, 3 of 3 missing" in partial.reasons[-1]


def test_a_kernel_that_the_gate_knows_not_to_compile_is_not_built() -> None:
    names = ("applies", "objects")
    marks = ((Mark.OK, Mark.OK), (Mark.OK, Mark.BAD), (Mark.BAD, Mark.OK))
    both = [tuple(map(GateCheck, names, pair)) for pair in marks]
    patches = [PatchGate(number, 3, "s", "0" * 40, checks) for number, checks in enumerate(both, 1)]
    gate = verdict(*patches)
    assert [builds(gate, upto) for upto in (1, 2, 3, None)] == [True, False, True, True]
    assert not builds(verdict(*patches[:2]), None)
    assert builds(verdict(), None)  # nothing is known of it


def test_a_kernel_that_does_not_link_is_a_finding_of_its_patch() -> None:
    gate = verdict(*(gated(number, Mark.OK, Mark.OK) for number in (1, 2, 3)))
    assert gate.verdict is Standing.GOOD
    bad = with_failed_build(gate, 2, "undefined reference to `x'")
    assert (bad.verdict, bad.first_bad) == (Standing.BAD, 2)
    assert bad.patches[1].bad and not bad.patches[0].bad and not bad.patches[2].bad
    assert "patch 2/3: build bad: undefined reference to `x'" in bad.reasons
    both = with_failed_build(bad, None, "no")
    assert both.first_bad == 2 and both.patches[2].bad
    assert with_failed_build(bad, 2, "again").patches[1].checks[-1].message == "again"
    assert sum(check.name == "build" for check in with_failed_build(bad, 2, "again").patches[1].checks) == 1


@pytest.mark.parametrize("count", [0, 1, 3])
def test_what_is_printed_and_written_is_whole(count: int) -> None:
    gate = verdict(*(gated(number, Mark.OK, Mark.WARN, Mark.BAD, Mark.NOT_RUN) for number in range(1, count + 1)))
    jsonschema.validate(json.loads(to_json(gate)), SCHEMA)
    out = io.StringIO()
    print_gate(gate, out)
    assert f"verdict: {gate.verdict}" in out.getvalue()
    assert all(f"do [{number}]" in out.getvalue() for number in range(1, count + 1))


def test_errors_by_target_of_a_make_that_went_on() -> None:
    lines = (DATA / "two-objects-without-a-header" / "input.log").read_text().splitlines()
    found = errors_by_target(lines, Paths(("/src/kernel/o",)))
    assert found == {
        "drivers/gpu/drm/ttm/ttm_pool.o": (
            "drivers/gpu/drm/ttm/ttm_pool.c:44:10: fatal error: drm/ttm/ttm_backup.h: No such file or directory"
        ),
        "drivers/gpu/drm/ttm/ttm_tt.o": (
            "drivers/gpu/drm/ttm/ttm_tt.c:43:10: fatal error: drm/ttm/ttm_backup.h: No such file or directory"
        ),
    }


@given(st.lists(st.text(max_size=60), max_size=20))
def test_hostile_output_is_only_text(lines: Sequence[str]) -> None:
    said = "\n".join(lines)
    checkpatch_check(said)
    kernel_doc_check(said, said)
    missing_name(said)
    errors_by_target(lines, Paths(("/o",)))
