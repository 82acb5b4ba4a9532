# SPDX-License-Identifier: GPL-2.0-only
"""The gate: what compilers and checkpatch said -> marks; marks -> the first bad patch; and what is printed of it."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness.reports
from harness.judge.config_variants import variants_of
from harness.judge.gate import (
    applies_check,
    build_check,
    builds,
    checkpatch_check,
    coccinelle_check,
    documented_of,
    flips_check,
    judged,
    kernel_doc_check,
    mail_of,
    missing_name,
    new_names,
    objects_check,
    provider_of,
    renamed,
    sources_of,
    warnings_check,
    with_failed_build,
)
from harness.judge.reach import built_of, lost_exports, objects_in, objects_named, words_of
from harness.kernel.buildlog import Failures, Paths, parse_checked, parse_failures
from harness.model.arch import ARM64
from harness.model.build import CompilerWarning
from harness.model.codec import to_json
from harness.model.gate import Compiled, ConfigVariant, Gate, GateCheck, Mark, PatchGate
from harness.model.outcome import Verdict
from harness.model.series import ChangeKind, FileChange, HunkReport, HunkState, Patch, PatchReport, Series
from harness.reports.gate import gate_remarks, print_gate

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


def test_what_can_change_a_kernel() -> None:
    documents = ("Documentation/gpu/a.rst", "MAINTAINERS", "drivers/.gitignore", ".mailmap", "tools/a/README.rst")
    others = ("include/new.h", "arch/x86/entry/entry_64.S", "drivers/xe.rules", "Makefile", "drivers/Kconfig")
    assert built_of(patch(1, *map(changed, (*documents, *others)))) == others
    gone = patch(1, changed("drivers/a.c", ChangeKind.DELETED))
    assert built_of(gone) == ("drivers/a.c",)


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
    assert objects_check(Compiled(), Compiled(), ALL, A).message == "nothing that is built is touched"


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


def test_what_gcc_takes_for_unset_is_said_and_held_against_nobody() -> None:
    maybe = warning("'ret' may be used uninitialized [-Wmaybe-uninitialized]")
    only = Compiled(built=("drivers/a.c",), warnings=(maybe,))
    check = warnings_check(Compiled(), only)
    assert check.mark is Mark.WARN and "'ret'" in check.message
    assert warnings_check(only, only).mark is Mark.OK
    assert warnings_check(Compiled(), replace(only, warnings=(maybe, warning("x")))).message.endswith(": x")
    assert flips_check([("i386", only, Compiled())]).mark is Mark.OK


def test_other_configs() -> None:
    good = Compiled(built=("drivers/a.c",))
    assert flips_check([]).mark is Mark.OK
    assert flips_check([("SHMEM=n", good, Compiled())]).mark is Mark.OK
    check = flips_check([("SHMEM=n", good, Compiled()), ("i386", broken("drivers/a.c"), good)])
    assert check.mark is Mark.BAD
    assert check.message.startswith("i386: drivers/a.c:1:1: error")
    refused = flips_check([("SHMEM=n", None, Compiled()), ("i386", good, Compiled())])
    assert (refused.mark, refused.message) == (Mark.OK, "i386")
    assert refused.details == ("SHMEM=n: Kconfig does not let it be",)


def test_a_config_in_which_nothing_is_compiled_says_nothing() -> None:
    good = Compiled(built=("drivers/a.c",))
    absent = Compiled(absent=("drivers/a.c",))
    check = flips_check([("SHMEM=n", absent, absent), ("i386", broken("drivers/a.c"), broken("drivers/a.c"))])
    assert (check.mark, check.details) == (Mark.NOT_RUN, ("SHMEM=n: not built there", "i386: not built there"))
    assert flips_check([("SHMEM=n", None, Compiled())]).mark is Mark.NOT_RUN
    some = flips_check([("SHMEM=n", absent, absent), ("i386", good, Compiled())])
    assert (some.mark, some.message, some.details) == (Mark.OK, "i386", ("SHMEM=n: not built there",))


def test_what_a_script_found_before_is_not_held_against_a_patch() -> None:
    said = "./drivers/a.c:95:26-30: ERROR: reference preceded by free on line 94\n"
    check = coccinelle_check("", said, {})
    assert check.mark is Mark.WARN
    assert check.details == ("drivers/a.c: ERROR: reference preceded by free",)
    moved = said.replace("95", "97").replace("94", "96").replace("./", "")
    assert coccinelle_check(said, moved, {}).mark is Mark.OK
    assert coccinelle_check(said.replace("a.c", "old.c"), said, {"drivers/old.c": "drivers/a.c"}).mark is Mark.OK
    assert coccinelle_check(said, "", {}).mark is Mark.OK
    assert coccinelle_check("", "init_defs_builtins: /usr/lib/coccinelle\n", {}).mark is Mark.OK


def test_configs_that_a_patch_implies() -> None:
    diff = (
        "--- a/drivers/a.c\n+++ b/drivers/a.c\n@@ -1,3 +1,4 @@\n #ifdef CONFIG_UNTOUCHED\n"
        "+#if IS_ENABLED(CONFIG_DRM_XE)\n+\tshmem_file_setup();\n-\tdebugfs_create_file();\n+#ifdef CONFIG_OFF\n"
    )
    one = patch(1, changed("drivers/a.c"), diff=diff)
    config = {"DRM_XE": "m", "SHMEM": "y", "DEBUG_FS": "y", "UNTOUCHED": "y", "DRM_TTM": "m", "SWAP": "y"}
    variants = variants_of(one, config, ["obj-$(CONFIG_DRM_TTM) += ttm.o\nobj-$(CONFIG_OTHER) += o.o\n"], "")
    assert [variant.name for variant in variants] == ["DRM_XE=n", "SHMEM=n", "DEBUG_FS=n", "built in", "i386"]
    for clang, words in (("clang", ("LLVM=1", "CC=clang")), ("clang-19", ("LLVM=-19", "CC=clang-19"))):
        assert variants_of(one, config, [], clang)[-1] == ConfigVariant("clang", words=words)
    cast = patch(1, changed("a.c"), diff="+\tfput((struct file *)own);\n")
    assert [one.name for one in variants_of(cast, {}, [], "clang")] == ["i386", "clang", "clang-randstruct"]
    assert [one.name for one in variants_of(cast, {}, [], "")] == ["i386"]
    built_in = variants_of(patch(1, changed("a.c")), {"DRM_TTM": "y"}, ["obj-$(CONFIG_DRM_TTM) += ttm.o"], "")
    assert [variant.name for variant in built_in] == ["modules", "i386"]


def test_no_32_bits_are_asked_for_where_they_want_another_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.model.arch._chosen", ARM64)
    assert variants_of(patch(1, changed("drivers/a.c")), {}, [], "") == ()


def test_symbols_of_a_changed_kconfig_file() -> None:
    one = patch(1, changed("drivers/Kconfig"), diff="+config NEW_ONE\n+\tdepends on MMU && !SMALL\n")
    variants = variants_of(one, {"NEW_ONE": "y", "MMU": "y", "SMALL": "n"}, [], "")
    assert [variant.name for variant in variants] == ["NEW_ONE=n", "MMU=n", "i386"]


@pytest.mark.parametrize(
    ("said", "mark"),
    [
        ("", Mark.OK),
        ("patch:12: WARNING: line length of 120 exceeds 100 columns\n", Mark.WARN),
        ("patch:: WARNING: added, moved or deleted file(s), does MAINTAINERS need updating?\n", Mark.WARN),
        ("patch:3: CHECK: Alignment should match\npatch:9: ERROR: code indent should use tabs\n", Mark.WARN),
        ("\x00\xff: nonsense\n", Mark.OK),
    ],
)
def test_checkpatch(said: str, mark: Mark) -> None:
    assert checkpatch_check(said).mark is mark
    assert (checkpatch_check(said, strict=True).mark is Mark.BAD) == ("ERROR" in said)


def test_kernel_doc_in_both_forms() -> None:
    new = "Warning: include/new.h:11 struct member 'q' not described in 'z'\n"
    old = "include/new.h:12: warning: Function parameter or struct member 'q' not described in 'z'\n"
    for said in (new, old):
        assert kernel_doc_check("", said).mark is Mark.BAD
        assert kernel_doc_check(said.replace(":1", ":2"), said).mark is Mark.OK
    assert kernel_doc_check(new, "").mark is Mark.OK


def test_what_a_renamed_file_had_before_is_not_new() -> None:
    moved = FileChange("drivers/new.c", ChangeKind.RENAMED, 0, 0, old_path="drivers/old.c")
    copied = FileChange("drivers/copy.c", ChangeKind.COPIED, 0, 0, old_path="drivers/b.c")
    names = new_names(patch(1, moved, copied, changed("drivers/a.c")))
    assert names == {"drivers/old.c": "drivers/new.c"}
    old = Compiled(
        built=("drivers/old.c",),
        errors=(("drivers/old.c", "no"),),
        warnings=(warning("unused x", 5, "drivers/old.c"), warning("unused y")),
    )
    new = Compiled(
        errors=(("drivers/new.c", "no"),),
        warnings=(warning("unused x", 9, "drivers/new.c"), warning("unused y")),
    )
    before = renamed(old, names)
    assert before.built == ("drivers/new.c",)
    assert objects_check(before, new, ALL, A).mark is Mark.NOT_RUN
    assert warnings_check(before, replace(new, errors=())).mark is Mark.OK
    assert warnings_check(old, new).mark is Mark.BAD
    said = "Warning: drivers/{}.c:11 struct member 'q' not described in 'z'\n"
    assert kernel_doc_check(said.format("old"), said.format("new"), names).mark is Mark.OK
    assert kernel_doc_check(said.format("old"), said.format("new")).mark is Mark.BAD


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
    assert verdict(*good).verdict is Verdict.GOOD
    bad = verdict(good[0], gated(2, Mark.OK, Mark.BAD), gated(3, Mark.BAD))
    assert (bad.verdict, bad.first_bad) == (Verdict.BAD, 2)
    unsure = verdict(good[0], gated(2, Mark.OK, Mark.NOT_RUN), good[2])
    assert (unsure.verdict, unsure.first_bad) == (Verdict.CANNOT_TELL, 0)
    partial = verdict(good[0], of=series(patch(1, changed("a.c")), missing=(2, 3)))
    assert partial.verdict is Verdict.CANNOT_TELL
    assert "not whole: 2, 3 of 3 missing" in partial.reasons[-1]


def test_behind_a_gap_nobody_is_blamed() -> None:
    part = series(patch(1, changed("a.c")), patch(3, changed("c.c")), missing=(2,))
    behind = gated(3, Mark.BAD)
    found = verdict(gated(1, Mark.OK, Mark.OK), behind, of=part)
    assert (found.verdict, found.first_bad) == (Verdict.CANNOT_TELL, 0)
    assert found.reasons[0] == "the series is not whole: 2 of 3 missing"
    assert "perhaps for want of 2 of 3, which is missing: applies says" in found.reasons[1]
    assert found.patches[1].checks[0].mark is Mark.NOT_RUN
    # What comes before the gap is bad for itself; so is what checkpatch says under --strict.
    assert verdict(gated(1, Mark.BAD), behind, of=part).first_bad == 1
    assert verdict(gated(1, Mark.OK), gated(3, Mark.OK, Mark.BAD), of=part).first_bad == 3
    out = io.StringIO()
    print_gate(verdict(gated(1, Mark.BAD), behind, of=part), out)
    assert "the series is not whole: 2 of 3 missing" in out.getvalue()


def test_a_series_with_a_problem_is_not_good() -> None:
    doubled = replace(ALL, problems=("patch 1/3 is there 2 times",))
    found = verdict(*(gated(number, Mark.OK) for number in (1, 2, 3)), of=doubled)
    assert found.verdict is Verdict.CANNOT_TELL
    assert found.reasons == ("the series is not whole: patch 1/3 is there 2 times",)


def test_what_a_header_and_a_makefile_reach() -> None:
    diff = (
        "diff --git a/include/x.h b/include/x.h\n--- a/include/x.h\n+++ b/include/x.h\n@@ -1,2 +1,2 @@ struct box {\n"
        "-int old_name(int depth,\n-\t\tlong width);\n+int new_name(int depth,\n+\t\tunsigned long width,\n"
        "+\t\tint more);\n+ * a comment\n int kept(void);\n"
        "diff --git a/d/x.c b/d/x.c\n--- a/d/x.c\n+++ b/d/x.c\n@@ -1,1 +1,1 @@\n-EXPORT_SYMBOL_GPL(old_name);\n"
        "+EXPORT_SYMBOL_GPL(new_name);\n"
        "diff --git a/d/Makefile b/d/Makefile\n--- a/d/Makefile\n+++ b/d/Makefile\n@@ -1,1 +1,1 @@\n"
        "-obj-y += x.o\n+obj-y += x.o y.o\n"
    )
    one = patch(1, changed("include/x.h"), changed("d/x.c"), changed("d/Makefile"), diff=diff)
    assert words_of(one, "include/x.h") == frozenset({"old_name", "new_name", "box"})
    assert lost_exports(one) == ("old_name",)
    assert objects_named(one, "d/Makefile") == ("x.o", "y.o")
    flags = replace(one, diff=diff.replace("+obj-y += x.o y.o", "+ccflags-y += -DX"))
    assert objects_named(flags, "d/Makefile") is None
    gone = patch(1, changed("include/x.h", ChangeKind.DELETED))
    assert words_of(gone, "include/x.h") is None
    assert objects_in("obj-y := a.o b/c.o # d.o\n") == ("a.o", "b/c.o")


def test_a_kernel_that_the_gate_knows_not_to_compile_is_not_built() -> None:
    names = ("applies", "objects")
    marks = ((Mark.OK, Mark.OK), (Mark.OK, Mark.BAD), (Mark.WARN, Mark.OK))
    both = [tuple(map(GateCheck, names, pair)) for pair in marks]
    patches = [PatchGate(number, 3, "s", "0" * 40, checks) for number, checks in enumerate(both, 1)]
    gate = verdict(*patches)
    assert [builds(gate, upto) for upto in (1, 2, 3, None)] == [True, False, True, True]
    assert not builds(verdict(*patches[:2]), None)
    assert builds(verdict(), None)  # nothing is known of it


def test_no_kernel_comes_after_a_patch_that_does_not_apply() -> None:
    refused = PatchGate(2, 3, "do", "0" * 40, (GateCheck("applies", Mark.BAD),))
    gate = verdict(gated(1, Mark.OK, Mark.OK), refused)  # the gate ends there
    assert [builds(gate, upto) for upto in (1, 2, 3, None)] == [True, False, False, False]


def test_a_kernel_that_does_not_link_is_a_finding_of_its_patch() -> None:
    gate = verdict(*(gated(number, Mark.OK, Mark.OK) for number in (1, 2, 3)))
    assert gate.verdict is Verdict.GOOD
    bad = with_failed_build(gate, 2, "undefined reference to `x'", True)
    assert (bad.verdict, bad.first_bad) == (Verdict.BAD, 2)
    assert bad.patches[1].bad and not bad.patches[0].bad and not bad.patches[2].bad
    assert "patch 2/3: build bad: undefined reference to `x'" in bad.reasons
    both = with_failed_build(bad, None, "no", True)
    assert both.first_bad == 2 and both.patches[2].bad
    again = with_failed_build(bad, 2, "again", True)
    assert again.patches[1].checks[-1].message == "again"
    assert sum(check.name == "build" for check in again.patches[1].checks) == 1


def test_a_kernel_that_does_not_link_blames_no_patch_when_the_one_before_was_not_built() -> None:
    gate = verdict(*(gated(number, Mark.OK, Mark.OK) for number in (1, 2, 3)))
    found = with_failed_build(gate, None, "undefined reference to `x'", False)
    assert (found.verdict, found.first_bad, found.patches) == (Verdict.BAD, 0, gate.patches)
    assert found.reasons[-1] == "with patches 1 to 3 it does not build: undefined reference to `x'"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_what_is_printed_and_written_is_whole(count: int) -> None:
    gate = verdict(*(gated(number, Mark.OK, Mark.WARN, Mark.BAD, Mark.NOT_RUN) for number in range(1, count + 1)))
    jsonschema.validate(json.loads(to_json(gate)), SCHEMA)
    out = io.StringIO()
    print_gate(gate, out)
    assert f"verdict: {gate.verdict}" in out.getvalue()
    assert all(f"do [{number}]" in out.getvalue() for number in range(1, count + 1))


def test_what_no_checker_looked_at_is_said_once() -> None:
    check = GateCheck("warnings", Mark.OK, "no sparse is installed")
    gate = verdict(*(PatchGate(number, 2, "do", "0" * 40, (check,)) for number in (1, 2)))
    out = io.StringIO()
    print_gate(gate, out)
    assert out.getvalue().count("  warnings: no sparse is installed") == 1
    whole = replace(gate, patches=(replace(gate.patches[0], checks=(replace(check, message=""),)),))
    assert gate_remarks(gate) and not gate_remarks(whole)


def failures(*lines: str) -> Failures:
    return parse_failures(lines, Paths(("/src/kernel/o",)))


def test_errors_by_target_of_a_make_that_went_on() -> None:
    lines = (DATA / "two-objects-without-a-header" / "input.log").read_text().splitlines()
    found = failures(*lines).errors
    assert {target: text for target, text in found.items() if target.endswith(".o")} == {
        "drivers/gpu/drm/ttm/ttm_pool.o": (
            "drivers/gpu/drm/ttm/ttm_pool.c:44:10: fatal error: drm/ttm/ttm_backup.h: No such file or directory"
        ),
        "drivers/gpu/drm/ttm/ttm_tt.o": (
            "drivers/gpu/drm/ttm/ttm_tt.c:43:10: fatal error: drm/ttm/ttm_backup.h: No such file or directory"
        ),
    }


def test_what_sparse_calls_an_error_is_a_warning_and_not_that_of_the_next_object() -> None:
    told = failures(
        "  CC [M]  drivers/a.o",
        "  CHECK   ../drivers/a.c",
        "../drivers/a.c:5:37: error: incompatible types in comparison expression (different address spaces):",
        "../drivers/a.c:5:37:    void [noderef] __user *",
        "  CC [M]  drivers/b.o",
        "../drivers/b.c:7:1: error: expected ';'",
        "make[3]: *** [../scripts/Makefile.build:290: drivers/b.o] Error 1",
        "make[3]: Target 'drivers/b.o' not remade because of errors.",
        "make[2]: *** [/src/kernel/Makefile:2255: drivers] Error 2",
    )
    assert told.errors["drivers/b.o"] == "drivers/b.c:7:1: error: expected ';'"
    text = "error: incompatible types in comparison expression (different address spaces):"
    assert parse_checked(told.rest, Paths(())) == (CompilerWarning("drivers/a.c", 5, text),)


def test_what_stops_make_before_it_comes_to_any_object() -> None:
    prepare = failures(
        "  CC      arch/x86/kernel/asm-offsets.s",
        "In file included from ../include/linux/mm.h:27,",
        "../include/linux/mm_types.h:40:1: error: unknown type name 'nonsense'",
        "make[2]: *** [../scripts/Makefile.build:182: arch/x86/kernel/asm-offsets.s] Error 1",
        "make[1]: *** [/src/kernel/Makefile:1311: prepare0] Error 2",
    )
    first = next(iter(prepare.errors.items()))
    assert first == (
        "arch/x86/kernel/asm-offsets.s",
        "include/linux/mm_types.h:40:1: error: unknown type name 'nonsense'",
    )
    assert parse_checked(prepare.rest, Paths(())) == ()
    makefile = failures(
        "../drivers/gpu/drm/ttm/Makefile:5: *** missing separator.  Stop.",
        "make[4]: *** [../scripts/Makefile.build:556: drivers/gpu/drm/ttm] Error 2",
    )
    assert next(iter(makefile.errors.values())) == "drivers/gpu/drm/ttm/Makefile:5: *** missing separator.  Stop."


@given(st.lists(st.text(max_size=60), max_size=20))
def test_hostile_output_is_only_text(lines: Sequence[str]) -> None:
    said = "\n".join(lines)
    checkpatch_check(said)
    kernel_doc_check(said, said)
    coccinelle_check(said, said, {})
    missing_name(said)
    parse_checked(parse_failures(lines, Paths(("/o",))).rest, Paths(("/o",)))
