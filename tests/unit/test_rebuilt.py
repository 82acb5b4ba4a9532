# SPDX-License-Identifier: GPL-2.0-only
"""What is built again for a control, by the folder of the control."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.flow.controls import broken_modules, control_set, read_controls
from harness.model.build import Build
from harness.model.errors import InfraError
from harness.model.tree import Tree
from harness.store.layout import Layout
from harness.store.sealed import seal
from harness.suites.registry import suite_named
from tests.unit.results_support import Quiet
from tests.unit.test_build_module import install

GROUP = control_set(suite_named("drm-shmem"))
CONTROL = """\
From: ttm-harness controls <controls@ttm-harness.invalid>
Subject: [CONTROL] drm/x: a number

Nothing.
---
--- a/drivers/gpu/drm/{name}
+++ b/drivers/gpu/drm/{name}
@@ -1,3 +1,3 @@
 int one;
-int two;
+int three;
 int four;
"""


@pytest.fixture
def build(tmp_path: Path, scratch_layout: Layout) -> Build:
    drm = tmp_path / "tree" / "drivers" / "gpu" / "drm"
    drm.mkdir(parents=True)
    for name in ("drm_gem_shmem_helper.c", "drm_gem.c", "Makefile"):
        (drm / name).write_text("int one;\nint two;\nint four;\n")
    objects = scratch_layout.objects / "o" / "objects"
    objects.mkdir(parents=True)
    seal(objects.parent, [])
    kept = tmp_path / "build"
    (kept / "modules" / "lib" / "modules" / "kernel").mkdir(parents=True)
    tree = Tree("a" * 64, "7.3.4", "linux-test", tmp_path / "tree", "test")
    return Build("b" * 64, tree, "lean", "c", "gcc", "7.3.4", kept, objects)


def control_in(folder: Path, name: str) -> Path:
    folder.mkdir()
    (folder / "01-number.patch").write_text(CONTROL.format(name=name))
    (folder / "controls.toml").write_text('[[control]]\nfile = "01-number.patch"\nclass = "state"\n')
    return folder


def test_a_module_of_a_few_sources_is_built_of_them_alone(
    tmp_path: Path, build: Build, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    say = "cat Kbuild drm_gem_shmem_helper.c >@SEEN@; ls >>@SEEN@; touch drm_shmem_helper.ko"
    install(tmp_path, monkeypatch, say=say.replace("@SEEN@", str(tmp_path / "seen")))
    place = build.modules / "kernel" / "drm_shmem_helper.ko"
    place.write_text("unbroken")
    (control,) = read_controls(control_in(tmp_path / "drm-shmem", "drm_gem_shmem_helper.c"))
    made = broken_modules(control, GROUP, build, scratch_layout, Quiet())
    assert (made / "modules" / "kernel" / "drm_shmem_helper.ko").read_text() == ""
    assert place.read_text() == "unbroken"
    assert (tmp_path / "seen").read_text() == (
        "obj-m := drm_shmem_helper.o\ndrm_shmem_helper-y := drm_gem_shmem_helper.o\n"
        "int one;\nint three;\nint four;\nKbuild\ndrm_gem_shmem_helper.c\n"
    )


def test_a_module_that_the_kernel_has_built_in_is_named(
    tmp_path: Path, build: Build, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, say="touch drm_shmem_helper.ko")
    (control,) = read_controls(control_in(tmp_path / "drm-shmem", "drm_gem_shmem_helper.c"))
    with pytest.raises(InfraError, match=r"has no drm_shmem_helper\.ko"):
        broken_modules(control, GROUP, build, scratch_layout, Quiet())


def test_a_whole_directory_is_built_by_its_own_makefile() -> None:
    group = control_set(suite_named("pressure"))
    assert (group.driver, group.module, group.sources) == ("drivers/gpu/drm/ttm", "ttm", ())
