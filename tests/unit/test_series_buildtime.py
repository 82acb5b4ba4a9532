# SPDX-License-Identifier: GPL-2.0-only
"""What of a patch the build executes: Makefiles, Kconfig files, scripts, host tools; and what only looks like it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.inputs.series.apply import apart_of, apply_series
from harness.inputs.series.buildtime import build_time
from harness.kernel.artefacts import objects_to_seal
from harness.kernel.fragments import compose, parse_fragment
from harness.kernel.incremental import find_seed
from harness.kernel.make import cache_of
from harness.kernel.object_builder import ObjectBuilder
from harness.model.build import Build
from harness.model.codec import to_json
from harness.model.series import BuildTime, Patch, say_build_time
from harness.model.tree import Tree
from harness.proc import Deadline
from harness.store.layout import Layout
from harness.store.sealed import seal
from tests.unit.series_support import mail, mbox, read

OBJECTS = "obj-$(CONFIG_TTM_TEST) += ttm_test.o"


def patch_of(path: str, *added: str, removed: tuple[str, ...] = (), number: int = 1, total: int = 1) -> Patch:
    return read(mbox(one_mail(path, *added, removed=removed, number=number, total=total))).patches[0]


def one_mail(path: str, *added: str, removed: tuple[str, ...] = (), number: int = 1, total: int = 1) -> bytes:
    lines = [*(f"-{line}" for line in removed), *(f"+{line}" for line in added)]
    counts = f"@@ -1,{1 + len(removed)} +1,{1 + len(added)} @@"
    text = f"diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n{counts}\n x\n"
    return mail(f"[PATCH {number}/{total}] gpu: it", f"Why.\n---\n\n{text}" + "\n".join(lines) + "\n", f"{number}@x")


@pytest.mark.parametrize(
    ("path", "added", "runs"),
    [
        ("drivers/gpu/drm/ttm/Makefile", (OBJECTS,), False),
        ("drivers/gpu/drm/ttm/Makefile", ("ttm-y := ttm_bo.o \\", "\tttm_pool.o tests/"), False),
        ("drivers/gpu/drm/ttm/Makefile", ("# a remark", ""), False),
        ("drivers/gpu/drm/ttm/Makefile", ("obj-y += a.o", "$(shell echo evil)"), True),
        ("drivers/gpu/drm/ttm/Makefile", ("x := $(file >/tmp/x)",), True),
        ("drivers/gpu/drm/ttm/Makefile", ("all:", "\techo evil"), True),
        ("drivers/gpu/drm/ttm/Makefile", ("\trm -rf x",), True),
        ("drivers/gpu/drm/ttm/Makefile", ("# a remark \\",), True),
        ("drivers/gpu/drm/ttm/Makefile", ("include ../evil",), True),
        ("drivers/gpu/drm/ttm/Makefile", ("ccflags-y += -fplugin=./x.o",), True),
        ("drivers/gpu/drm/ttm/Makefile", ("ccflags-y += x.o",), True),
        ("drivers/gpu/drm/ttm/Makefile", ("hostprogs-always-y += x.o",), True),
        ("drivers/gpu/drm/radeon/Makefile", ("mkregtable-objs := evil.o",), True),
        ("drivers/gpu/drm/ttm/Kbuild", ("CC := ./evil",), True),
        ("Makefile", ("EXTRAVERSION = -x",), True),
        ("lib/Makefile.evil", ("x = y",), True),
        ("drivers/gpu/drm/Kconfig", ("config TTM_TEST", "\tbool", "\tdepends on DRM && !X", "\thelp"), False),
        ("drivers/gpu/drm/Kconfig", ('source "drivers/gpu/drm/ttm/Kconfig"',), False),
        ("drivers/gpu/drm/Kconfig", ('source "drivers/gpu/drm/ttm/evil.txt"',), True),
        ("drivers/gpu/drm/Kconfig", ("\tdef_bool $(shell,echo evil)",), True),
        ("drivers/gpu/drm/Kconfig.debug", ("x := $(success,true)",), True),
        ("scripts/checkpatch.pl", ("system('x');",), True),
        ("scripts/basic/fixdep.c", ("int x;",), True),
        ("tools/objtool/check.c", ("int x;",), True),
        ("certs/extract-cert.c", ("int x;",), True),
        ("usr/gen_init_cpio.c", ("int x;",), True),
        ("arch/x86/tools/relocs.c", ("int x;",), True),
        ("arch/x86/boot/mkcpustr.c", ("int x;",), True),
        ("lib/crc/gen_crc32table.c", ("int x;",), True),
        ("drivers/gpu/drm/xe/xe_gen_wa_oob.c", ("int x;",), True),
        ("drivers/gpu/drm/radeon/mkregtable.c", ("int x;",), True),
        ("kernel/gen_kheaders.sh", ("x",), True),
        ("drivers/gpu/evil.py", ("x",), True),
        ("drivers/gpu/evil", ("x",), True),
        ("Documentation/sphinx/kerneldoc.py", ("x",), True),
    ],
)  # fmt: skip
def test_what_the_build_reads_as_a_program_is_told(path: str, added: tuple[str, ...], runs: bool) -> None:
    (touch,) = build_time(patch_of(path, *added))
    assert (touch.path, touch.runs) == (path, runs)
    said = say_build_time((touch,))
    assert said.startswith("runs at build time: " if runs else "is read at build time: ") and path in said


@pytest.mark.parametrize(
    "path",
    [
        "drivers/gpu/drm/ttm/ttm_bo.c",
        "include/drm/ttm/ttm_bo.h",
        "arch/x86/entry/entry_64.S",
        "Documentation/gpu/drm-mm.rst",
        "Documentation/devicetree/bindings/x.yaml",
        "MAINTAINERS",
        "drivers/gpu/drm/ttm/tests/.kunitconfig",
        "drivers/gpu/drm/xe/xe_wa_oob.rules",
        "arch/x86/configs/x86_64_defconfig",
    ],
)
def test_what_is_only_compiled_or_read_by_people_is_not(path: str) -> None:
    assert build_time(patch_of(path, "$(shell x)")) == ()
    assert say_build_time(()) == ""


def test_taking_a_line_away_from_a_makefile_is_no_program(tmp_path: Path) -> None:
    (touch,) = build_time(patch_of("drivers/gpu/Makefile", removed=("$(shell x)",)))
    assert not touch.runs


def tree_of(path: Path, *apart: str, digit: str = "a") -> Tree:
    path.mkdir(parents=True, exist_ok=True)
    return Tree(digit * 64, "7.3.4", "t", path, "t", apart)


def test_only_trees_with_programs_of_patches_are_apart(tmp_path: Path) -> None:
    mails = (
        one_mail("drivers/a.c", "int a;", number=1, total=4),
        one_mail("drivers/Makefile", "$(shell x)", number=2, total=4),
        one_mail("drivers/b.c", "int b;", number=3, total=4),
        one_mail("scripts/x.sh", "x", number=4, total=4),
    )
    series = read(mbox(*mails))
    tree = tree_of(tmp_path)
    found = [apart_of(tree, series, count) for count in range(5)]
    assert [len(one) for one in found] == [0, 0, 1, 1, 2]
    assert found[2] == found[3] == found[4][:1]
    assert apart_of(tree_of(tmp_path, digit="b"), series, 2) != found[2]


def test_the_tree_remembers_it(tmp_path: Path, scratch_layout: Layout) -> None:
    base = tree_of(tmp_path / "base")
    (base.path / "Makefile").write_text("VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\n")
    (base.path / "drivers").mkdir()
    (base.path / "drivers" / "Makefile").write_text("x\n")
    series = read(mbox(one_mail("drivers/Makefile", "$(shell x)")))
    made = apply_series(base, series, None, scratch_layout, Deadline(60))
    assert len(made.apart) == 1
    assert apply_series(base, series, None, scratch_layout, Deadline(60)).apart == made.apart  # found again
    assert json.loads(to_json(made))["apart"] == list(made.apart)
    old = json.loads((made.path.parent / "tree.json").read_text())
    del old["apart"]  # of before this was kept
    (made.path.parent / "tree.json").write_text(json.dumps(old))
    assert apply_series(base, series, None, scratch_layout, Deadline(60)).apart == made.apart


def test_what_was_made_while_they_ran_is_never_used_for_others(
    tmp_path: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its objects nor its ccache: a program of a patch could have written anything into them."""
    monkeypatch.setattr("harness.kernel.make.find_tool", lambda name: Path("/usr/bin") / name)
    root, place = scratch_layout.root, tmp_path / "place"
    plain, evil = tree_of(tmp_path / "plain"), tree_of(tmp_path / "evil", "e" * 16, digit="e")
    assert cache_of(plain, place, root) == root / "ccache-2"
    assert cache_of(evil, place, root) == place / "ccache"

    objects = scratch_layout.objects / "evil" / "objects"
    objects.mkdir(parents=True)
    (objects / "Module.symvers").write_text("")
    (objects / "build.log").write_text("")
    build = Build("e" * 64, evil, "p", "c", "gcc", "7.3.4", scratch_layout.builds / "evil", objects)
    build.path.mkdir()
    (build.path / "build.json").write_text(to_json(build))
    seal(objects.parent, objects_to_seal(objects.parent, objects))

    def seed(tree: Tree) -> object:
        return find_seed(tree, "p", lambda _: True, scratch_layout)

    assert seed(plain) is None
    assert seed(replace(plain, apart=("f" * 16,))) is None
    assert seed(replace(plain, apart=evil.apart)) is not None
    assert seed(replace(plain, apart=(*evil.apart, "f" * 16))) is not None

    profile = compose("p", [parse_fragment("frag", "CONFIG_A=y\n")])

    def lock(*apart: str) -> Path:
        return ObjectBuilder(plain, profile, scratch_layout, 1, (), apart).lock

    assert len({lock(), lock("e" * 16), lock("e" * 16, "f" * 16)}) == 3


def test_one_line_a_patch() -> None:
    touches = (BuildTime(1, "a/Makefile", "a Makefile", False), BuildTime(1, "b.sh", "a script", True))
    assert say_build_time(touches) == "runs at build time: a/Makefile (a Makefile); b.sh (a script)"
