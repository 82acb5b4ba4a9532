# SPDX-License-Identifier: GPL-2.0-only
"""Real trees, the real make: profiles resolve, a kernel is built and found, a broken patch is shown by its line."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.checkout import data_directory
from harness.inputs.resolve import resolve
from harness.kernel.build import obtain
from harness.kernel.fragments import all_asks, compose, for_version, parse_fragment, read_profile, read_profiles
from harness.kernel.kconfig import compare_with_running, config_id, parse_config, resolve_config
from harness.kernel.make import Make
from harness.kernel.module import build_module
from harness.model.errors import BuildFailed, ConfigUnmet, UserError
from harness.model.tree import SourceSpec, Tree
from harness.proc import Deadline, run
from harness.store.layout import Layout

CONFIGS = data_directory("kernel-configs")
PROFILES = [entry.name for entry in read_profiles(CONFIGS)]


class Quiet:
    def step(self, text: str) -> None: ...

    def advance(self, done: int, total: int, unit: str) -> None: ...


def tree_of(source: str, layout: Layout) -> Tree:
    return resolve(SourceSpec.parse(source), layout, Deadline(1200), Quiet())


@pytest.fixture(scope="module")
def newest(layout: Layout) -> Tree:
    return tree_of("debian", layout)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("source", ["debian:6.12", "debian"])
def test_each_profile_resolves(source: str, profile: str, layout: Layout, tmp_path: Path) -> None:
    tree = tree_of(source, layout)
    wanted = read_profile(profile, CONFIGS)
    config = resolve_config(tree, wanted, tmp_path / "o", Deadline(300))
    values = parse_config(config.text)
    fitting, dropped = for_version(wanted, tree.version_tuple)
    assert config.dropped == dropped
    assert all(values.get(ask.symbol, "n") == ask.value for ask in all_asks(fitting))
    assert config.id == config_id(config.text)


def test_the_traps_are_explained(newest: Tree, tmp_path: Path) -> None:
    profile = read_profile("lean", CONFIGS)
    needed = {"X86_PLATFORM_DEVICES", "BLK_DEV", "COMPILE_TEST"}
    parts = [
        replace(part, asks=tuple(ask for ask in part.asks if ask.symbol not in needed)) for part in profile.fragments
    ]
    with pytest.raises(ConfigUnmet) as caught:
        resolve_config(newest, compose("lean", parts), tmp_path / "o", Deadline(300))
    said = caught.value.message
    assert "CONFIG_DRM_XE=m (xe.config:" in said and "X86_PLATFORM_DEVICES is n, in no fragment" in said
    assert "CONFIG_VIRTIO_BLK=y (guest.config:" in said and "BLK_DEV is n, in no fragment" in said
    assert "CONFIG_DRM_TTM_KUNIT_TEST=m (ttm.config:" in said and "COMPILE_TEST is n, in no fragment" in said
    assert "kconfiglib cannot read" not in said


def test_a_misspelt_symbol_is_named(newest: Tree, tmp_path: Path) -> None:
    profile = compose("p", [parse_fragment("mine", "CONFIG_64BIT=y\nCONFIG_DRM_TMM=m\n")])
    with pytest.raises(UserError, match=r"CONFIG_DRM_TMM \(mine\.config:2, did you mean DRM_TTM"):
        resolve_config(newest, profile, tmp_path / "o", Deadline(300))


def test_the_tiny_kernel_is_built_and_found(
    newest: Tree, layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = read_profile("tiny", CONFIGS)
    build = obtain(newest, profile, layout, Deadline(3600), Quiet())
    assert build.image.stat().st_size > 1 << 20
    assert build.release.startswith(newest.version)
    assert build.steps > 500
    assert {path.name for path in build.modules.rglob("*.ko")} >= {
        "kunit-test.ko",
        "kunit-example-test.ko",
        "lkdtm.ko",
    }
    assert (build.modules / build.release / "modules.dep").read_text().count(".ko:") >= 3
    assert not any(path.is_symlink() for path in build.modules.rglob("*"))
    text = build.config_path.read_text()
    assert config_id(text) == build.config_id
    with monkeypatch.context() as patch:
        patch.setattr(Make, "run", lambda *_, **__: pytest.fail("make was started"))
        assert obtain(newest, profile, layout, Deadline(60), Quiet()) == build
    config = resolve_config(newest, profile, tmp_path / "o", Deadline(300))
    assert compare_with_running(config, text) == ()


def test_a_module_is_built_for_it(newest: Tree, layout: Layout, tmp_path: Path) -> None:
    build = obtain(newest, read_profile("tiny", CONFIGS), layout, Deadline(3600), Quiet())
    source = tmp_path / "probe"
    source.mkdir()
    (source / "Kbuild").write_text("obj-m := probe.o\n")
    good = '#include <linux/module.h>\nMODULE_LICENSE("GPL");\nMODULE_DESCRIPTION("nothing");\n'
    # A text of its own each time, so that it is made and not found.
    (source / "probe.c").write_text(f"{good}static const long stamp __maybe_unused = {time.time_ns()};\n")
    made = build_module(build, source, layout, Deadline(300))
    vermagic = run(("modinfo", "-F", "vermagic", str(made / "probe.ko")), deadline=Deadline(10)).output
    assert vermagic.split()[0] == build.release
    (source / "probe.c").write_text(f"{good}static int unused;\n")
    with pytest.raises(BuildFailed, match=r"probe\.c:4:12: error: .*unused.* defined but not used"):
        build_module(build, source, layout, Deadline(300))


def _another_name(file: str, copy: str) -> None:
    try:
        os.link(file, copy, follow_symlinks=False)
    except OSError:  # another file system, or too many names
        shutil.copy2(file, copy, follow_symlinks=False)


def test_a_broken_source_is_shown_by_its_line(newest: Tree, scratch_layout: Layout) -> None:
    """A tree of further names of the same files, but for one; the first C file of the build is as far as it goes."""
    copy = scratch_layout.root / "tree"
    shutil.copytree(newest.path, copy, symlinks=True, copy_function=_another_name)
    broken = copy / "kernel" / "bounds.c"  # compiled before anything else
    broken.unlink()
    shutil.copyfile(newest.path / "kernel" / "bounds.c", broken)
    lines = broken.read_text().count("\n")
    broken.write_text(f"{broken.read_text()}int broken( {{\n")
    tree = replace(newest, id="f" * 64, path=copy, origin="a broken tree")
    with pytest.raises(BuildFailed, match=rf"kernel/bounds\.c:{lines + 1}:\d+: error: ") as caught:
        obtain(tree, read_profile("tiny", CONFIGS), scratch_layout, Deadline(900), Quiet())
    assert caught.value.log is not None and caught.value.log.is_file()
