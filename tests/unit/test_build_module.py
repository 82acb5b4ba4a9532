# SPDX-License-Identifier: GPL-2.0-only
"""Out-of-tree modules: made in a copy, kept whole, found again; a warning in one is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.kernel.module import build_module, sources_id
from harness.model.build import Build
from harness.model.errors import CommandFailed, InfraError, ModuleFailed, StoreDamaged, UserError
from harness.model.tree import Tree
from harness.proc import Deadline
from harness.sandbox import CHOICE
from harness.store.layout import Layout
from harness.store.sealed import seal
from tests.unit.results_support import Quiet

FAKE_MAKE = """\
#!/bin/sh
for word; do case $word in M=*) cd "${word#M=}" || exit 2 ;; esac; done
echo called >> @ROOT@/calls
case "$*" in *KCFLAGS=-Werror*) ;; *) echo 'no -Werror'; exit 2 ;; esac
echo "  CC [M]  $PWD/load.o"
: SAY
touch load.ko load.o load.mod.c Module.symvers
"""


def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, say: str = ":", touch: bool = True) -> None:
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    text = FAKE_MAKE.replace("@ROOT@", str(tmp_path)).replace(": SAY", say)
    (folder / "make").write_text(text if touch else text.replace("touch", ": touch"))
    (folder / "make").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv(CHOICE, "none")  # this make leaves a line where a contained one could not


@pytest.fixture
def build(tmp_path: Path, scratch_layout: Layout) -> Build:
    tree = Tree("a" * 64, "7.3.4", "linux-test", tmp_path, "test")
    objects = scratch_layout.objects / "o" / "objects"
    objects.mkdir(parents=True)
    seal(objects.parent, [])
    return Build("b" * 64, tree, "lean", "c", "gcc", "7.3.4", scratch_layout.builds / "b", objects)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "load"
    (path / "sub").mkdir(parents=True)
    (path / "Kbuild").write_text("obj-m := load.o\n")
    (path / "sub" / "load.c").write_text("int x;\n")
    (path / "old.o").write_bytes(b"\xff left over")
    return path


def calls(tmp_path: Path) -> int:
    path = tmp_path / "calls"
    return len(path.read_text().split()) if path.exists() else 0


def test_a_module_is_made_once(
    tmp_path: Path, build: Build, source: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch)
    made = build_module(build, source, scratch_layout, Deadline(30))
    assert {path.name for path in made.iterdir()} == {"load.ko", ".seal"}
    assert sorted(path.name for path in source.iterdir()) == ["Kbuild", "old.o", "sub"]
    assert build_module(build, source, scratch_layout, Deadline(30)) == made
    (source / "old.o").unlink()
    assert build_module(build, source, scratch_layout, Deadline(30)) == made
    assert calls(tmp_path) == 1
    (source / "sub" / "load.c").write_text("int y;\n")
    assert build_module(build, source, scratch_layout, Deadline(30)) != made
    assert calls(tmp_path) == 2


def test_what_a_module_shares_with_others_is_part_of_it(
    tmp_path: Path, build: Build, source: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, say="cat ../shared/common.c || exit 2")
    common = tmp_path / "scripts" / "module" / "common.c"
    common.parent.mkdir(parents=True)
    common.write_text("int z;\n")
    monkeypatch.setattr("harness.kernel.module.data_directory", lambda _: tmp_path / "scripts")
    alone = sources_id(source)
    (source / "Kbuild").write_text("include $(src)/$(TP_SHARED)/Kbuild.shared\nobj-m := load.o\n")
    made, known = build_module(build, source, scratch_layout, Deadline(30)), sources_id(source)
    assert {path.name for path in made.iterdir()} == {"load.ko", ".seal"}
    assert build_module(build, source, scratch_layout, Deadline(30)) == made
    common.write_text("int y;\n")
    assert build_module(build, source, scratch_layout, Deadline(30)) != made
    assert len({alone, known, sources_id(source)}) == 3
    assert calls(tmp_path) == 2


def test_a_module_that_was_harmed_is_set_aside_and_made_again(
    tmp_path: Path, build: Build, source: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch)
    made = build_module(build, source, scratch_layout, Deadline(30))
    (made / "load.ko").write_text("tampered")
    heard = Quiet()
    assert build_module(build, source, scratch_layout, Deadline(30), heard) == made
    assert (made / "load.ko").read_text() == "" and calls(tmp_path) == 1  # the place still has it
    assert "load.ko has 8 bytes, 0 were made" in heard.said[0]
    (aside,) = scratch_layout.damaged.iterdir()
    assert (aside / "load.ko").read_text() == "tampered"


def test_no_module_is_made_of_objects_that_were_harmed(
    tmp_path: Path, build: Build, source: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch)
    (build.objects / "Module.symvers").write_text("symbols")
    seal(build.objects.parent, ["objects/Module.symvers"])
    (build.objects / "Module.symvers").write_text("Symbols")
    with pytest.raises(StoreDamaged, match=r"Module\.symvers is not what was made"):
        build_module(build, source, scratch_layout, Deadline(30))
    assert calls(tmp_path) == 0


@pytest.mark.parametrize(
    ("say", "error", "said"),
    [
        (
            'echo "$PWD/load.c:3:1: error: odd [-Werror=unused]"; exit 2',
            ModuleFailed,
            r"build: load\.c:3:1: error: odd",
        ),
        ('echo "WARNING: modpost: load.o: section mismatch"', ModuleFailed, r"warnings: load\.o:0: section mismatch"),
        ("echo nothing; exit 2", CommandFailed, "nothing"),
        (
            'echo "load.c:3:1: fatal error: error writing to x.s: No space left on device"; exit 2',
            InfraError,
            "cannot be built: the disk is full",
        ),
        ('echo "load.o: error: x"; kill -9 $$', CommandFailed, "signal 9"),
    ],
)
def test_errors_and_warnings_are_findings(
    tmp_path: Path,
    build: Build,
    source: Path,
    scratch_layout: Layout,
    monkeypatch: pytest.MonkeyPatch,
    say: str,
    error: type[Exception],
    said: str,
) -> None:
    install(tmp_path, monkeypatch, say)
    with pytest.raises(error, match=said):
        build_module(build, source, scratch_layout, Deadline(30))
    kept = [path for path in scratch_layout.objects.iterdir() if path.name != "o"]
    assert all(path.name.startswith("kept-") and (path / "made.json").is_file() for path in kept)
    assert len(kept) == (say.endswith("exit 2") and error is not InfraError)
    assert list(build.objects.glob("module-*.log"))


def test_no_module_is_no_success(
    tmp_path: Path, build: Build, source: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, touch=False)
    with pytest.raises(InfraError, match=r"left no \.ko"):
        build_module(build, source, scratch_layout, Deadline(30))


def test_a_directory_without_a_kbuild_file_is_refused(tmp_path: Path, build: Build, scratch_layout: Layout) -> None:
    with pytest.raises(UserError, match="no Kbuild and no Makefile"):
        build_module(build, tmp_path, scratch_layout, Deadline(30))
