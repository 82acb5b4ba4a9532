# SPDX-License-Identifier: GPL-2.0-only
"""The gate's place: no object of it was made of another tree's files; what make stumbles over is told of each file.

make is the script of gate_support.py; `tests/kernel` has the real one.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from harness.kernel.fragments import compose, parse_fragment
from harness.kernel.object_builder import ObjectBuilder
from harness.model.tree import Tree
from harness.proc import Deadline
from harness.store.layout import Layout
from tests.unit.gate_support import install_make

A = "drivers/a.c"


@pytest.fixture
def base(tmp_path: Path) -> Tree:
    path = tmp_path / "base"
    for name, text in {
        "Kconfig": "config ACPI\n\tbool\n",
        "Makefile": "",
        "drivers/a.c": "a",
        "drivers/table.rules": "table",
        "include/linux/mm.h": "mm",
    }.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(f"{text}\n")
    return Tree("a" * 64, "7.3.4", "linux-test", path, "test")


def patched(base: Tree, name: str, text: str) -> Tree:
    """The tree with another text in one file; all others are shared, as apply.py does."""
    path = base.path.with_name(f"{base.path.name}-{name.replace('/', '-')}-{text.split()[0]}")
    shutil.copytree(base.path, path, copy_function=os.link)
    (path / name).unlink(missing_ok=True)
    (path / name).write_text(f"{text}\n")
    return Tree(f"{len(str(path)):064}", base.version, str(path), path, "test")


@pytest.fixture
def builder(base: Tree, scratch_layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectBuilder:
    install_make(tmp_path, monkeypatch)
    return builder_for(base, scratch_layout)


def builder_for(base: Tree, layout: Layout) -> ObjectBuilder:
    profile = compose("p", [parse_fragment("frag", "CONFIG_ACPI=y\n")])
    builder = ObjectBuilder(base, profile, layout, 1, {A, "include/linux/mm.h"})
    builder.configure(base, Deadline(60))
    return builder


def made_of(builder: ObjectBuilder, tree: Tree) -> str:
    found = builder.compile(tree, (A,), Deadline(60))
    assert found is not None and found.built == (A,)
    return found.warnings[0].text.removeprefix("made of ").strip()


@pytest.mark.parametrize(
    ("name", "text", "made"),
    [
        (A, "other", "mm table other"),
        ("include/linux/mm.h", "young", "young table a"),  # its record says what it was made of
        ("drivers/table.rules", "rules", "mm rules a"),  # there is no record: all is made anew
    ],
)
def test_nothing_that_another_tree_left_is_believed(
    base: Tree, scratch_layout: Layout, builder: ObjectBuilder, name: str, text: str, made: str
) -> None:
    tree = patched(base, name, text)
    assert made_of(builder, base) == "mm table a"
    assert made_of(builder, tree) == made
    assert made_of(builder, base) == "mm table a"
    # The next gate on the same base finds the place as this one left it.
    assert made_of(builder_for(base, scratch_layout), tree) == made


def test_what_did_not_change_stays(base: Tree, scratch_layout: Layout, builder: ObjectBuilder) -> None:
    made_of(builder, base)
    (place,) = scratch_layout.objects.iterdir()
    kept = place / "objects" / "drivers" / "table.h"
    before = kept.stat().st_ino
    made_of(builder, patched(base, A, "other"))
    assert kept.stat().st_ino == before


def test_a_place_of_an_unknown_tree_is_made_anew(base: Tree, scratch_layout: Layout, builder: ObjectBuilder) -> None:
    other = patched(base, "include/linux/mm.h", "young")
    assert made_of(builder, other) == "young table a"
    shutil.rmtree(other.path)
    assert made_of(builder, base) == "mm table a"
    (place,) = scratch_layout.objects.iterdir()
    (place / "objects" / "include" / "offsets.s").write_text("of a killed gate")
    (place / "objects" / "seen").unlink()
    assert made_of(builder, base) == "mm table a"
    assert (place / "objects" / "base.config").is_file()


def test_what_stops_make_is_told_of_every_file_and_what_has_no_rule_is_absent(
    base: Tree, builder: ObjectBuilder
) -> None:
    broken = patched(base, "include/linux/mm.h", "nonsense")
    names = (A, "drivers/nowhere.c")
    found = builder.compile(base, names, Deadline(60))
    assert found is not None
    assert (found.built, found.absent, found.errors) == ((A,), ("drivers/nowhere.c",), ())
    found = builder.compile(broken, names, Deadline(60))
    assert found is not None
    error = "include/linux/mm.h:1:1: error: unknown type name 'nonsense'"
    assert (found.built, found.absent) == ((), ())
    assert found.errors == tuple((name, error) for name in names)


def test_nothing_is_removed_through_a_link_that_a_build_left(
    base: Tree, scratch_layout: Layout, builder: ObjectBuilder, tmp_path: Path
) -> None:
    made_of(builder, base)
    (place,) = scratch_layout.objects.iterdir()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "a.o").write_text("mine")
    shutil.rmtree(place / "objects" / "drivers")
    (place / "objects" / "drivers").symlink_to(mine)
    assert made_of(builder, base) == "mm table a"
    assert (mine / "a.o").read_text() == "mine"
    assert sorted(path.name for path in mine.iterdir()) == ["a.o"]
