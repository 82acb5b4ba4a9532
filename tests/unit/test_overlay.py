# SPDX-License-Identifier: GPL-2.0-only
"""Overlays: our files in a copy of a driver of the tree, which is left as it is; what is missing is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.flow.controls import broken_overlay, read_controls
from harness.kernel.overlay import build_overlay, lay_over, read_overlay
from harness.model.build import Build
from harness.model.errors import FindingError, InfraError, UserError
from harness.model.tree import Tree
from harness.proc import Deadline
from harness.sandbox import CHOICE
from harness.store.layout import Layout
from harness.store.sealed import seal
from harness.suites.registry import registry, suite_named

DRIVER = "drivers/gpu/drm/load"
FAKE_MAKE = """\
#!/bin/sh
for word; do case $word in M=*) cd "${word#M=}" || exit 2 ;; esac; done
echo called >> @ROOT@/calls
cat load.c Makefile ours/*.c > load.ko
"""
TEXT = """\
driver = "drivers/gpu/drm/load"
folder = "ours"
[[hook]]
file = "load.c"
needs = ["struct load {", "load_shrink("]
append = '#include "ours/peek.c"'
[[hook]]
file = "Makefile"
needs = ["load-y"]
append = '''
load-y += ours/case.o
'''
"""
FEATURES = """\
[[feature]]
define = "OURS_NEW"
file = "include/load.h"
words = "load_new("
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A kernel tree with a driver in it."""
    path = tmp_path / "tree"
    (path / DRIVER).mkdir(parents=True)
    (path / DRIVER / "load.c").write_text("struct load {\n};\nlong load_shrink(void);\n")
    (path / DRIVER / "Makefile").write_text("load-y := load.o\n")
    (path / "include").mkdir()
    (path / "include" / "load.h").write_text("void load_old(void);\n")
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "ours-of-load"
    path.mkdir()
    (path / "overlay.toml").write_text(TEXT)
    (path / "features.toml").write_text(FEATURES)
    (path / "case.c").write_text("int ours;\n")
    (path / "peek.c").write_text("int peek;\n")
    (path / "README.md").write_text("not for the compiler\n")
    return path


@pytest.fixture
def build(tree: Path, scratch_layout: Layout) -> Build:
    objects = scratch_layout.objects / "o" / "objects"
    objects.mkdir(parents=True)
    seal(objects.parent, [])
    return Build(
        "b" * 64,
        Tree("a" * 64, "7.3.4", "linux-test", tree, "test"),
        "lean",
        "c",
        "gcc",
        "7.3.4",
        scratch_layout.builds / "b",
        objects,
    )


@pytest.fixture(autouse=True)
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "make").write_text(FAKE_MAKE.replace("@ROOT@", str(tmp_path)))
    (folder / "make").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv(CHOICE, "none")  # this make leaves a line where a contained one could not


def content(path: Path) -> dict[str, str]:
    return {str(one.relative_to(path)): one.read_text() for one in path.rglob("*") if one.is_file()}


def test_our_files_and_lines_are_in_the_copy_and_not_in_the_tree(
    build: Build, source: Path, tree: Path, scratch_layout: Layout
) -> None:
    before = content(tree)
    made = build_overlay(build, source, scratch_layout, Deadline(30))
    text = (made / "load.ko").read_text()
    assert text.splitlines() == [
        *("struct load {", "};", "long load_shrink(void);", "", '#include "ours/peek.c"'),
        *("load-y := load.o", "", "load-y += ours/case.o"),
        *("int ours;", "int peek;"),
    ]
    assert content(tree) == before
    assert not list(scratch_layout.objects.glob("*.part-*"))


def test_what_is_made_is_found_again_and_made_anew_for_another_content(
    build: Build, source: Path, tree: Path, tmp_path: Path, scratch_layout: Layout
) -> None:
    first = build_overlay(build, source, scratch_layout, Deadline(30))
    (source / "README.md").write_text("changed\n")
    assert build_overlay(build, source, scratch_layout, Deadline(30)) == first
    assert (tmp_path / "calls").read_text().count("called") == 1
    (source / "case.c").write_text("int other;\n")
    second = build_overlay(build, source, scratch_layout, Deadline(30))
    (tree / DRIVER / "load.c").write_text("struct load {\n\tint patched;\n};\nlong load_shrink(void);\n")
    third = build_overlay(build, source, scratch_layout, Deadline(30))
    assert len({first, second, third}) == 3
    assert "patched" in (third / "load.ko").read_text()


def test_a_feature_is_defined_where_the_tree_has_it(source: Path, tree: Path, build: Build) -> None:
    (tree / "include" / "load.h").write_text("void load_new(void);\n")
    lay_over(read_overlay(source), build.tree, tree / DRIVER)
    assert "#define OURS_NEW 1" in (tree / DRIVER / "ours" / "features.h").read_text().splitlines()


def test_a_feature_is_not_defined_where_the_tree_is_without(source: Path, tree: Path, build: Build) -> None:
    lay_over(read_overlay(source), build.tree, tree / DRIVER)
    assert "OURS_NEW" not in (tree / DRIVER / "ours" / "features.h").read_text()


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("load.c", "struct load {\n", r"no 'load_shrink\(' in drivers/gpu/drm/load/load\.c"),
        ("load.c", "long load_shrink(void);", r"no 'struct load \{' in drivers/gpu/drm/load/load\.c"),
        ("load.c", None, r"there is no drivers/gpu/drm/load/load\.c$"),
        ("Makefile", "obj-m := x.o\n", "no 'load-y' in drivers/gpu/drm/load/Makefile"),
    ],
)
def test_what_our_lines_lean_on_and_is_gone_is_named(
    build: Build, source: Path, tree: Path, scratch_layout: Layout, file: str, text: str | None, said: str
) -> None:
    path = tree / DRIVER / file
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(InfraError, match=said) as refusal:
        build_overlay(build, source, scratch_layout, Deadline(30))
    assert "7.3.4" in refusal.value.message
    assert "overlay.toml" in (refusal.value.hint or "")
    assert not list(scratch_layout.objects.glob("*.part-*"))


def test_what_is_not_c_is_not_laid_over(source: Path, tree: Path, build: Build) -> None:
    lay_over(read_overlay(source), build.tree, tree / DRIVER)
    assert (tree / DRIVER / "ours" / "case.c").is_file()
    assert not (tree / DRIVER / "ours" / "README.md").exists()


def test_a_tree_without_the_driver_or_with_a_folder_of_ours(
    build: Build, source: Path, tree: Path, scratch_layout: Layout
) -> None:
    (tree / DRIVER / "ours").mkdir()
    with pytest.raises(InfraError, match=f"{DRIVER}/ours of its own"):
        build_overlay(build, source, scratch_layout, Deadline(30))
    (tree / DRIVER).rename(tree / "elsewhere")
    with pytest.raises(InfraError, match=f"has no {DRIVER}"):
        build_overlay(build, source, scratch_layout, Deadline(30))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "driver",
        TEXT.replace("folder", "fodler"),
        TEXT.replace('needs = ["load-y"]', "needs = 3"),
        TEXT.split("[[hook]]", maxsplit=1)[0],
        TEXT.replace("append", "apend"),
        "\xff\xfe",
    ],
)
def test_a_description_that_is_none_is_said_to_be_corrupt(source: Path, text: str) -> None:
    (source / "overlay.toml").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"overlay\.toml"):
        read_overlay(source)


def test_no_description_is_said_to_be_corrupt(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"overlay\.toml"):
        read_overlay(tmp_path)


PATCH = """\
From: x
Subject: y

z
---
--- a/drivers/gpu/drm/load/load.c
+++ b/drivers/gpu/drm/load/load.c
@@ -1,2 +1,3 @@
 struct load {
+	int broken;
 };
"""


def test_a_control_goes_into_the_copy(
    build: Build, tree: Path, source: Path, tmp_path: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = tmp_path / "data"
    scripts.mkdir()
    source.rename(scripts / "ours-of-load")
    (scripts / "01-broken.patch").write_text(PATCH)
    (scripts / "controls.toml").write_text(
        '[[control]]\nfile = "01-broken.patch"\nclass = "state"\nbreaks = []\nreaches = ""\napplies = []\n'
    )
    (control,) = read_controls(scripts)
    before = content(tree)
    broken = broken_overlay(control, scripts / "ours-of-load", build, scratch_layout)
    assert "int broken;" in (broken / "load.ko").read_text()
    assert content(tree) == before
    (tree / DRIVER / "load.c").write_text("struct load { int a; };\nlong load_shrink(void);\nstruct load {};\n")
    with pytest.raises(FindingError, match=r"01-broken does not apply to 7\.3\.4"):
        broken_overlay(control, scripts / "ours-of-load", build, scratch_layout)


def test_the_overlays_of_the_suites_are_there() -> None:
    for suite in registry().suites.values():
        if suite.needs_overlay is not None:
            overlay = read_overlay(suite.needs_overlay)
            assert overlay.hooks
            assert any(hook.file == "Makefile" for hook in overlay.hooks)


def test_the_devices_of_the_knob_are_those_of_the_module() -> None:
    text = (suite_named("xe-fake").folder / "overlay" / "device.c").read_text()
    kinds = [line.split('"')[1] for line in text.splitlines() if line.startswith('\t{ "')]
    assert (*kinds, "all") == suite_named("xe-fake").knobs[0].choices
