# SPDX-License-Identifier: GPL-2.0-only
"""What of another build's objects may be taken: trees compared by content, records read, logs put together."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from harness.kernel.artefacts import objects_to_seal
from harness.kernel.incremental import (
    SEED_LOG,
    Seed,
    TreeDifference,
    compare_trees,
    find_seed,
    names_any,
    plant,
    steps_left,
    whole_log,
)
from harness.model.build import Build
from harness.model.codec import to_json
from harness.model.tree import Tree
from harness.proc import Deadline
from harness.store.files import locked
from harness.store.layout import Layout
from harness.store.sealed import seal

FILES = {
    "Makefile": "VERSION = 7\n",
    "mm/a.c": "a",
    "mm/b.c": "b",
    "include/linux/a.h": "h",
    "include/linux/b.h": "h",
    "arch/x86/mm/init.c": "x",
}


def anyone(_: Build) -> bool:
    return True


def make_tree(root: Path) -> Path:
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "old")


@pytest.fixture
def new(tmp_path: Path, old: Path) -> Path:
    """Linked, as apply.py makes trees."""
    subprocess.run(["cp", "-al", str(old), str(tmp_path / "new")], check=True)
    return tmp_path / "new"


def write(path: Path, text: str) -> None:
    """A file of its own, never through a link."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def difference(old: Path, new: Path) -> TreeDifference:
    found = compare_trees(old, new)
    assert found is not None
    return found


def test_trees_are_compared_by_content(old: Path, new: Path) -> None:
    assert difference(old, new).changed == frozenset()
    write(new / "mm/a.c", "A")
    write(new / "mm/b.c", "b")  # a file of its own with the same in it
    write(new / "mm/new/deep.c", "n")
    (new / "include/linux/b.h").unlink()
    found = difference(old, new)
    assert found.changed == {"mm/a.c", "mm/new/deep.c", "include/linux/b.h"}
    assert found.alone == {"mm/new/deep.c", "include/linux/b.h"}
    assert difference(new, old).changed == found.changed
    # Times say nothing: the size and the time are those of the old file.
    write(new / "mm/b.c", "B")
    shutil.copystat(old / "mm/b.c", new / "mm/b.c")
    assert "mm/b.c" in difference(old, new).changed


def test_links_are_compared_as_links(old: Path, new: Path, tmp_path: Path) -> None:
    (old / "one").symlink_to("mm/a.c")
    (new / "one").symlink_to("mm/a.c")
    (old / "two").symlink_to("mm/a.c")
    (new / "two").symlink_to("mm/b.c")
    (old / "loop").symlink_to(".")
    found = difference(old, new)
    assert found.changed == {"two", "loop"}
    assert not found.fit
    (new / "mm/a.c").unlink()
    write(new / "mm/a.c/in.c", "a file that became a directory")
    assert compare_trees(old, new) is None
    assert compare_trees(new, old) is None


def test_trees_that_share_nothing_are_not_read_to_the_end(tmp_path: Path) -> None:
    for name, text in (("x", "1"), ("y", "2")):
        (tmp_path / name / "mm").mkdir(parents=True)
        for number in range(300):
            (tmp_path / name / "mm" / f"{number}.c").write_text(text)
    assert compare_trees(tmp_path / "x", tmp_path / "y") is None


@pytest.mark.parametrize(
    ("path", "fit"),
    [
        ("mm/a.c", True),
        ("include/linux/a.h", True),
        ("drivers/gpu/drm/ttm/Makefile", True),
        ("drivers/gpu/drm/xe/Kconfig.debug", True),
        ("Documentation/gpu/xe.rst", True),
        ("MAINTAINERS", True),
        ("arch/x86/mm/init.c", False),
        ("arch/x86/include/asm/cpufeatures.h", False),
        ("include/asm-generic/a.h", False),
        ("include/uapi/asm-generic/unistd.h", False),
        ("scripts/mod/modpost.c", False),
        ("tools/objtool/check.c", False),
        ("Makefile", False),
        ("drivers/gpu/drm/xe/xe_wa_oob.rules", False),
        ("kernel/time/timeconst.bc", False),
        ("lib/raid6/unroll.awk", False),
        ("mm/.hidden.c", False),
        ("rust/kernel/a.h", False),
        ("include/linux/oid_registry.h", False),
        ("include/linux/netdevice.h", True),
        ("fs/smb/client/nterr.h", False),
    ],
)
def test_only_changes_whose_reach_is_known_are_fit(path: str, fit: bool) -> None:
    assert TreeDifference(frozenset({path, "mm/b.c"}), frozenset(), frozenset()).fit is fit


def test_a_header_that_hides_another_one_is_not_fit() -> None:
    path = "drivers/gpu/drm/ttm/ttm_backup.h"
    lone = frozenset({path})
    assert TreeDifference(lone, lone, frozenset({"other.h"})).fit
    # `#include <linux/ttm_backup.h>` or "ttm_backup.h" may now be another file than the records say.
    assert not TreeDifference(lone, lone, frozenset({"ttm_backup.h"})).fit
    moved = frozenset({path, "include/drm/ttm/ttm_backup.h"})
    assert not TreeDifference(moved, moved, frozenset()).fit


def make_build(layout: Layout, tree: Path, name: str = "a" * 64) -> Build:
    """A finished build with two objects, one of them made of a header, too."""
    objects = layout.objects / name[:16] / "objects"
    path = layout.builds / name[:16]
    for one in (objects / "mm", objects / "tools" / "objtool", path):
        one.mkdir(parents=True)
    (objects / "Module.symvers").touch()
    for letter, also in (("a", " ../include/linux/a.h \\\n"), ("b", "")):
        (objects / f"mm/{letter}.o").write_text(letter)
        record = (
            f"savedcmd_mm/{letter}.o := gcc\nsource_mm/{letter}.o := ../mm/{letter}.c\ndeps_mm/{letter}.o := \\\n"
        )
        (objects / f"mm/.{letter}.o.cmd").write_text(record + also)
    (objects / "tools/objtool/.x.o.cmd").write_text(
        f"cmd_{objects}/tools/objtool/x.o := gcc -o {objects}/x.o {tree}/x.c\n"
    )
    os.utime(objects / "tools/objtool/.x.o.cmd", (1000, 1000))
    for junk in ("seconds", "module-0123.log", "install.log"):
        (objects / junk).write_text("9.0")
    (objects / "build.log").write_text(
        "+ make\n  CC      mm/a.o\n../mm/a.c:1:1: warning: old a [-Wa]\n"
        "  CC      mm/b.o\n../mm/b.c:2:1: warning: b [-Wb]\n"
    )
    build = Build(name, Tree("1" * 64, "7.3.4", "o", tree, "s"), "lean", "c", "gcc 12", "7.3.4", path, objects)
    (path / "build.json").write_text(to_json(build))
    seal(objects.parent, objects_to_seal(objects.parent, objects))
    return build


def take(build: Build, changed: set[str], layout: Layout, tree: Tree | None = None) -> bool:
    """The build's objects for a tree in which these files are others."""
    place, lock = layout.objects / "place", layout.locks / "build-a"
    return plant(Seed(build, frozenset(changed)), tree or build.tree, place, lock, Deadline(30))


def test_the_nearest_build_is_found(old: Path, new: Path, scratch_layout: Layout, tmp_path: Path) -> None:
    wanted = Tree("2" * 64, "7.3.4", "o", new, "s")
    assert find_seed(wanted, "lean", anyone, scratch_layout) is None
    far = tmp_path / "far"
    subprocess.run(["cp", "-al", str(old), str(far)], check=True)
    for number in range(20):
        write(far / f"mm/more{number}.c", "B")
    make_build(scratch_layout, far, "f" * 64)
    near = make_build(scratch_layout, old)
    write(new / "mm/a.c", "A")
    lost = replace(near, id="e" * 64, objects=Path(f"/{'e' * 300}"))  # nobody can look there
    (scratch_layout.builds / "e").mkdir()
    (scratch_layout.builds / "e" / "build.json").write_text(to_json(lost))
    found = find_seed(wanted, "lean", anyone, scratch_layout)
    assert found is not None
    assert found == Seed(near, frozenset({"mm/a.c"}))
    for other in (
        find_seed(wanted, "debug", anyone, scratch_layout),
        find_seed(wanted, "lean", lambda build: build.id == "0" * 64, scratch_layout),
        find_seed(replace(wanted, version="7.3.5"), "lean", anyone, scratch_layout),
    ):
        assert other is None
    os.utime(new / "mm/a.c", (1000, 1000))  # older than the objects: make would not look at it
    assert find_seed(wanted, "lean", anyone, scratch_layout) is None
    os.utime(new / "mm/a.c")
    # Objects that are not those that were made would be in the next kernel.
    (near.objects / "mm/a.o").write_text("tampered")
    found = find_seed(wanted, "lean", anyone, scratch_layout)
    assert found is not None and found.build.id == "f" * 64
    (near.objects / "mm/a.o").write_text("a")
    # Builds that are broken, or whose objects or tree are gone, are passed over.
    (near.path / "build.json").write_text("{")
    found = find_seed(wanted, "lean", anyone, scratch_layout)
    assert found is not None and found.build.id == "f" * 64
    shutil.rmtree(far)
    assert find_seed(wanted, "lean", anyone, scratch_layout) is None


def test_what_was_made_of_a_changed_file_is_left_out(old: Path, scratch_layout: Layout) -> None:
    build = make_build(scratch_layout, old)
    place = scratch_layout.objects / "place"
    new = replace(build.tree, path=scratch_layout.root / "new")
    assert take(build, {"include/linux/a.h"}, scratch_layout, new)
    objects = place / "objects"
    assert not (objects / "mm/a.o").exists() and not (objects / "mm/.a.o.cmd").exists()
    assert (objects / "mm/b.o").stat().st_mtime_ns == (build.objects / "mm/b.o").stat().st_mtime_ns
    record = objects / "tools/objtool/.x.o.cmd"
    assert str(build.objects) not in record.read_text() and f"-o {objects}/x.o {new.path}/x.c" in record.read_text()
    assert record.stat().st_mtime == 1000
    assert {path.name for path in objects.iterdir()} == {"Module.symvers", "mm", "tools", SEED_LOG}
    assert (build.objects / "mm/a.o").exists()  # the other build is as it was
    assert steps_left((objects / SEED_LOG).read_text().split("\n"), objects) == 1


def test_records_that_do_not_know_a_source_are_not_believed(old: Path, scratch_layout: Layout) -> None:
    build = make_build(scratch_layout, old)
    record = build.objects / "mm/.b.o.cmd"
    record.write_text(record.read_text().replace("../mm/b.c", "/elsewhere/mm/b.c"))
    place = scratch_layout.objects / "place"
    assert not take(build, {"mm/b.c"}, scratch_layout)
    assert not place.exists()


def test_a_build_that_is_being_made_again_is_no_seed(old: Path, scratch_layout: Layout) -> None:
    build, place = make_build(scratch_layout, old), scratch_layout.objects / "place"
    lock = scratch_layout.locks / "build-a"
    with locked(lock, Deadline(5)):
        assert not take(build, set(), scratch_layout)
    assert not place.exists()


@pytest.mark.parametrize(
    ("record", "path", "named"),
    [
        ("../mm/a.c \\", "mm/a.c", True),
        ("../mm/b.c \\", "mm/a.c", False),
        ("../kernel/sched/../workqueue_internal.h \\", "kernel/workqueue_internal.h", True),
        ("../drivers/gpu/drm/xe/compat-i915-headers/../../i915/i915_reg.h", "drivers/gpu/drm/i915/i915_reg.h", True),
        ("$(wildcard ../block/partitions/../blk.h)", "block/blk.h", True),
        ("../drivers/gpu/drm/ttm/tests/../ttm_pool_internal.h", "drivers/gpu/drm/ttm/ttm_pool.h", False),
    ],
)
def test_a_record_names_a_file_in_more_than_one_way(record: str, path: str, named: bool) -> None:
    paths = {f"../{path}".encode()}
    assert names_any(record.encode(), re.compile(b"|".join(map(re.escape, paths))), paths) is named


def test_other_recipes_are_not_in_any_record(old: Path, new: Path) -> None:
    makefile = "obj-y += a.o b.o\n$(obj)/x.h: $(src)/x.rules\n\t$(call cmd,x)\ncmd_x = gen $< $@\n"
    write(old / "mm/Makefile", makefile)
    write(new / "mm/Makefile", makefile.replace("a.o", "a.o c.o"))
    assert difference(old, new).fit
    write(new / "mm/Makefile", makefile.replace("gen $<", "gen -v $<"))
    assert not difference(old, new).fit
    (new / "mm/Makefile").unlink()
    assert not difference(old, new).fit


def test_a_build_that_is_pruned_meanwhile_is_no_seed(old: Path, scratch_layout: Layout) -> None:
    build = make_build(scratch_layout, old)
    shutil.rmtree(build.objects)
    assert not take(build, {"mm/b.c"}, scratch_layout)
    assert not list(scratch_layout.objects.glob("place*"))


def test_the_log_is_as_if_all_had_been_compiled(old: Path, scratch_layout: Layout) -> None:
    build = make_build(scratch_layout, old)
    place = scratch_layout.objects / "place"
    assert take(build, {"mm/a.c"}, scratch_layout)
    said = (place / "objects" / SEED_LOG).read_text().split("\n")
    now = ["+ make", "  CC      mm/a.o", "../mm/a.c:1:1: warning: new a [-Wa]"]
    (place / "objects/mm/a.o").touch()
    log = whole_log(said, now, place / "objects")
    assert "old a" not in "\n".join(log)
    assert "new a" in "\n".join(log) and "warning: b" in "\n".join(log)
    assert whole_log(said, log, place / "objects") == log  # killed before the first log was removed
    (place / "objects/mm/b.o").unlink()  # a Makefile names it no longer
    assert "warning: b" not in "\n".join(whole_log(said, now, place / "objects"))
