# SPDX-License-Identifier: GPL-2.0-only
"""A kernel that began with the objects of another one is, to the byte, the kernel that is compiled from nothing: all
of its code and data. So is a module of which objects were kept.

The patch changes structures in headers that objects of the kernel and of its modules are made of, a file, and a
Makefile: an object that should have been made again and was not would have the old layout.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.checkout import data_directory
from harness.inputs.resolve import resolve
from harness.inputs.series.apply import apply_series
from harness.inputs.series.resolve import FetchOptions, resolve_series
from harness.inputs.source_cache import Work
from harness.kernel import build as building
from harness.kernel.build import build_id, obtain
from harness.kernel.fragments import read_profile
from harness.kernel.incremental import find_seed
from harness.kernel.make import compiler_version
from harness.kernel.module import build_module
from harness.kernel.module_place import ModulePlace
from harness.model.build import Build
from harness.model.series import SeriesSpec
from harness.model.tree import SourceSpec, Tree
from harness.proc import Deadline, run
from harness.store.layout import Layout
from tests.functional.conftest import Quiet
from tests.mails import patch_mail

SECONDS = 3000
EDITS = {
    "include/linux/swap.h": ("struct swap_extent {\n", "struct swap_extent {\n\tunsigned long harness_test;\n"),
    "include/kunit/test.h": ("struct kunit {\n", "struct kunit {\n\tunsigned long harness_test;\n"),
    "mm/page_io.c": (
        "#include <linux/kernel_stat.h>\n",
        "#include <linux/kernel_stat.h>\n#warning this file was compiled again\n",
    ),
    "drivers/misc/lkdtm/Makefile": ("+= core.o\n", "+= core.o harness_nothing.o\n"),
}
ADDED = {
    "drivers/misc/lkdtm/harness_nothing.c": ("// SPDX-License-Identifier: GPL-2.0-only\nint harness_nothing = %d;\n")
}
MODULE = {
    "Kbuild": "obj-m := harness_test.o\nharness_test-y := main.o size.o plain.o\n",
    "harness_test.h": "int plain(void);\nunsigned long size(void);\n",
    "main.c": """#include <kunit/test.h>
#include <linux/module.h>
#include "harness_test.h"
static int __init harness_test_init(void)
{
	return size() + plain() == sizeof(struct kunit) ? 0 : -EINVAL;
}
module_init(harness_test_init);
MODULE_DESCRIPTION("A test's own");
MODULE_LICENSE("GPL");
""",
    "size.c": """#include <kunit/test.h>
#include "harness_test.h"
unsigned long size(void)
{
	return sizeof(struct kunit);
}
""",
    "plain.c": """#include "harness_test.h"
int plain(void)
{
	return 0;
}
""",
}


def forget(tree: Tree, layout: Layout) -> None:
    name = build_id(tree, PROFILE, compiler_version(Deadline(30)))[:16]
    for folder in (layout.builds, layout.objects):
        shutil.rmtree(folder / name, ignore_errors=True)


PROFILE = read_profile("tiny", data_directory("kernel-configs"))


@pytest.fixture(scope="module")
def base(layout: Layout) -> Build:
    tree = resolve(SourceSpec.parse("debian"), layout, Deadline(SECONDS), Quiet())
    return obtain(tree, PROFILE, layout, Deadline(SECONDS), Quiet())


@pytest.fixture(scope="module")
def patched(base: Build, layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    # Another number each time: the tree must be younger than the objects, wherever these come from.
    added = {path: text % (time.time_ns() % 10**9) for path, text in ADDED.items()}
    mbox = tmp_path_factory.mktemp("mail") / "one.mbox"
    mbox.write_text(patch_mail(base.tree.path, EDITS, added))
    work = Work(layout, Deadline(SECONDS), Quiet())
    series = resolve_series(SeriesSpec.parse(f"mbox:{mbox}"), work, FetchOptions())
    tree = apply_series(base.tree, series, None, layout, Deadline(SECONDS))
    forget(tree, layout)
    yield tree
    forget(tree, layout)
    shutil.rmtree(tree.path.parent)


def content(build: Build, tmp_path: Path) -> dict[str, str]:
    """The hash of vmlinux and of every module without what names directories: line tables, and build IDs, which ld
    makes of these, too (in vmlinux also that of the vDSO).
    """
    vdso = list(build.objects.glob("arch/x86/entry/vdso/**/vdso*.so.dbg"))
    assert vdso
    bare = tmp_path / "bare"
    found = {}
    for path in (build.objects / "vmlinux", *sorted(build.modules.rglob("*.ko"))):
        run(("objcopy", "-g", "--", str(path), str(bare)), deadline=Deadline(60))
        code = bare.read_bytes()
        for named in (path, *vdso):
            code = code.replace(gnu_build_id(named), b"")
        found[path.name] = hashlib.sha256(code).hexdigest()
    assert {"vmlinux", "kunit-test.ko", "lkdtm.ko"} <= found.keys()
    return found


def gnu_build_id(path: Path) -> bytes:
    said = re.search(
        r"Build ID: ([0-9a-f]{40})", run(("readelf", "-n", "--", str(path)), deadline=Deadline(60)).output
    )
    assert said is not None, path
    return bytes.fromhex(said.group(1))


def test_it_is_the_kernel_that_is_compiled_from_nothing(
    base: Build, patched: Tree, layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = find_seed(patched, PROFILE.name, lambda build: build.id == base.id, layout)
    assert seed is not None
    assert seed.changed == {*EDITS, *ADDED}
    quick = obtain(patched, PROFILE, layout, Deadline(SECONDS), Quiet())
    assert quick.seeded
    made, warned = content(quick, tmp_path), set(quick.warnings)
    log = (quick.objects / "build.log").read_text()
    assert "mm/mempool.o" in log  # what the other build said of it: it is not made again
    # Nothing of the tools was made again; with objtool every object would have been.
    assert quick.steps < 1000
    forget(patched, layout)
    monkeypatch.setattr(building, "find_seed", lambda *_: None)
    plain = obtain(patched, PROFILE, layout, Deadline(SECONDS), Quiet())
    assert not plain.seeded
    print(f"\nfrom {len(seed.changed)} changed files: {quick.seconds:.1f} s; from nothing {plain.seconds:.1f} s")
    assert content(plain, tmp_path) == made
    assert set(plain.warnings) == warned
    assert any("compiled again" in one.text for one in warned)
    before = content(base, tmp_path)
    assert all(before[name] != made[name] for name in ("vmlinux", "kunit-test.ko", "lkdtm.ko"))


def test_a_module_of_which_objects_were_kept_is_the_one_made_from_nothing(
    base: Build, patched: Tree, layout: Layout, tmp_path: Path
) -> None:
    kernel = obtain(patched, PROFILE, layout, Deadline(SECONDS), Quiet())
    # A name and a content of its own: nobody else's place, and never made before.
    own = tmp_path / f"load{time.time_ns()}" / "module"
    own.mkdir(parents=True)
    for name, text in MODULE.items():
        (own / name).write_text(f"{text}/* {own} */\n" if name.endswith(".c") else text)
    place = ModulePlace(kernel, "/".join(own.parts[-2:]), layout).root
    made = [place]
    try:
        before = build_module(base, own, layout, Deadline(SECONDS))
        made.append(before)
        was = {path.name: path.stat().st_ino for path in (place / "own").glob("*.o")}
        kept = build_module(kernel, own, layout, Deadline(SECONDS))
        made.append(kept)
        now = {path.name: path.stat().st_ino for path in (place / "own").glob("*.o")}
        assert was.keys() == now.keys()
        # The header that changed is in two of the three.
        same = {name for name in was if now[name] == was[name]}
        assert "plain.o" in same and not same & {"main.o", "size.o"}, same
        code = bare_code(kept / "harness_test.ko", tmp_path)
        shutil.rmtree(place)
        shutil.rmtree(kept)
        again = build_module(kernel, own, layout, Deadline(SECONDS))
        assert again == kept
        assert bare_code(kept / "harness_test.ko", tmp_path) == code
        assert bare_code(before / "harness_test.ko", tmp_path) != code
    finally:
        for path in made:
            shutil.rmtree(path, ignore_errors=True)


def bare_code(module: Path, tmp_path: Path) -> bytes:
    """The module without what names directories."""
    bare = tmp_path / "bare.ko"
    run(("objcopy", "-g", "--", str(module), str(bare)), deadline=Deadline(60))
    return bare.read_bytes().replace(gnu_build_id(module), b"")
