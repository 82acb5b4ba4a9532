# SPDX-License-Identifier: GPL-2.0-only
"""A source in the store that somebody wrote to is not built, not derived from, and put there anew."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.inputs import source_cache
from harness.inputs.series.apply import apply_series
from harness.inputs.source_cache import Work
from harness.inputs.tarball import resolve_tarball
from harness.kernel.build import obtain
from harness.kernel.fragments import compose, parse_fragment
from harness.kernel.make import Make, prepare_place
from harness.model.errors import StoreCorrupt
from harness.model.series import Series
from harness.model.tree import SourceKind, SourceSpec, Tree
from harness.proc import Deadline
from harness.sandbox import CHOICE
from harness.store.layout import Layout
from harness.store.source_seal import find_damage, is_sealed, require_sound, seal
from tests.unit.inputs_support import Heard, make_kernel, make_work
from tests.unit.series_support import Repo, mail, mbox, read
from tests.unit.test_inputs_archives import pack

FILE = "drivers/gpu/ttm.c"


@pytest.fixture(autouse=True)
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look is a look: nothing counts as sound because it just was."""
    monkeypatch.setattr(source_cache, "_STILL_SOUND_SECONDS", 0.0)


class Shelf:
    """A store with one source, and how it is asked for."""

    def __init__(self, root: Path) -> None:
        self.work, self.heard = make_work(root)
        kernel = make_kernel(root / "linux")
        for path in kernel.rglob("*"):
            os.utime(path, (time.time() - 86400,) * 2, follow_symlinks=False)
        self.spec = SourceSpec(SourceKind.TAR, str(pack(kernel, root / "a.tar")))
        self.tree = self.resolve()

    def resolve(self) -> Tree:
        self.heard.steps.clear()
        return resolve_tarball(self.spec, self.work)


@pytest.fixture
def source(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def same_size_and_time(path: Path) -> None:
    """What a careful attacker does; only the content tells."""
    facts = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def another_link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "more": (lambda linux: (linux / FILE).write_text("int ttm;\nint evil;\n"), FILE),
    "same size": (lambda linux: (linux / FILE).write_text("int mtt;\n"), FILE),
    "gone": (lambda linux: (linux / FILE).unlink(), FILE),
    "new": (lambda linux: (linux / "drivers" / "evil.h").write_text("x"), "drivers/evil.h"),
    "a program": (lambda linux: (linux / FILE).chmod(0o755), FILE),
    "a link": (lambda linux: another_link(linux / FILE, "/etc/passwd"), FILE),
    "another link": (lambda linux: another_link(linux / "drivers/link.c", "gpu"), "drivers/link.c"),
    "a pipe": (lambda linux: a_pipe(linux / FILE), FILE),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_what_was_changed_is_named_set_aside_and_put_there_anew(source: Shelf, kind: str) -> None:
    damage, name = DAMAGES[kind]
    before = (source.tree.path / FILE).read_text()
    damage(source.tree.path)
    again = source.resolve()
    assert again == source.tree and (again.path / FILE).read_text() == before
    assert find_damage(again.path, again.path.parent) == ()
    said = [step for step in source.heard.steps if "was changed" in step]
    assert len(said) == 1 and f"({name})" in said[0]
    (aside,) = source.work.layout.damaged.iterdir()
    assert str(aside) in said[0] and (aside / "tree.json").is_file()


def test_a_change_that_no_time_shows_is_found_within_a_day(source: Shelf) -> None:
    same_size_and_time(source.tree.path / FILE)
    assert source.resolve() == source.tree and source.heard.steps == []
    yesterday = time.time() - 90000
    os.utime(source.tree.path.parent / "files", (yesterday, yesterday))
    source.resolve()
    assert any(f"({FILE})" in step for step in source.heard.steps)


def test_another_command_does_not_look_again_within_minutes_unless_one_found_damage(
    source: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_cache, "_STILL_SOUND_SECONDS", 300.0)
    stamp = source.tree.path.parent / "tree.json"
    (source.tree.path / FILE).write_text("int ttm;\nint evil;\n")
    assert source.resolve() == source.tree and source.heard.steps == []  # the one that put it there has looked
    for moment in (-301, 3600):  # a clock that went back tells nothing
        os.utime(stamp, (time.time() + moment,) * 2)
        source.resolve()
        assert any(f"({FILE})" in step for step in source.heard.steps)
        (source.tree.path / FILE).write_text("int ttm;\nint evil;\n")
    with pytest.raises(StoreCorrupt, match=FILE):  # before a build everybody looks, and says so
        require_sound(source.tree.path)
    source.resolve()
    assert any(f"({FILE})" in step for step in source.heard.steps)


def test_the_daily_look_is_made_once_a_day(source: Shelf) -> None:
    file = source.tree.path.parent / "files"
    os.utime(file, (time.time() - 90000,) * 2)
    source.resolve()
    assert file.stat().st_mtime > time.time() - 60
    assert source.heard.steps == []


def test_new_times_alone_are_no_damage_and_are_remembered(source: Shelf) -> None:
    """As in a store that was copied: other inodes, perhaps other times."""
    os.utime(source.tree.path / FILE, (1, 1))
    wholly = (source.tree.path.parent / "files").stat().st_mtime
    assert source.resolve() == source.tree and source.heard.steps == []
    assert (source.tree.path.parent / "files").stat().st_mtime == wholly  # it was no look at everything
    assert f"{9}.{10**9}." in (source.tree.path.parent / "files").read_text("latin-1")


def test_a_list_that_was_changed_itself_is_no_list(source: Shelf) -> None:
    file = source.tree.path.parent / "files"
    text = file.read_text()
    file.write_text(text.replace(FILE, FILE[:-1] + "h"))
    assert source.resolve() == source.tree
    assert any("the list of its files" in step for step in source.heard.steps)


def test_a_source_from_before_there_were_lists_gets_one(source: Shelf) -> None:
    (source.tree.path.parent / "files").unlink()
    assert source.resolve() == source.tree
    assert any("hashing the files" in step for step in source.heard.steps)
    (source.tree.path / FILE).write_text("evil\n")
    source.resolve()
    assert any("was changed" in step for step in source.heard.steps)


def one_patch(tmp_path: Path) -> Series:
    repo = Repo(tmp_path / "k")
    repo.write(FILE, "int ttm;\n")
    repo.commit("a file")
    repo.write(FILE, "int ttm;\nint more;\n")
    repo.commit("gpu: more")
    return read(mbox(mail("[PATCH 1/1] gpu: more", f"Because.\n---\n\n{repo.git('diff', 'HEAD~1').decode()}", "m@x")))


def test_a_patched_tree_has_a_list_of_its_own_without_reading_what_it_shares(source: Shelf, tmp_path: Path) -> None:
    patched = apply_series(source.tree, one_patch(tmp_path), None, source.work.layout, Deadline(60))
    assert is_sealed(patched.path.parent)
    assert find_damage(patched.path, patched.path.parent) == ()
    assert find_damage(source.tree.path, source.tree.path.parent) == ()  # links do not count as a change
    # What they share and somebody changed is damage to both.
    assert (patched.path / "run.sh").stat().st_ino == (source.tree.path / "run.sh").stat().st_ino
    (source.tree.path / "run.sh").write_text("#!/bin/sh\necho evil\n")
    assert find_damage(patched.path, patched.path.parent) == ("run.sh",)
    assert find_damage(source.tree.path, source.tree.path.parent) == ("run.sh",)


def test_no_tree_is_made_of_a_damaged_one(source: Shelf, tmp_path: Path) -> None:
    (source.tree.path / "run.sh").write_text("#!/bin/sh\necho evil\n")
    with pytest.raises(StoreCorrupt, match=r"run\.sh"):
        apply_series(source.tree, one_patch(tmp_path), None, source.work.layout, Deadline(60))


def test_no_kernel_is_made_of_a_damaged_tree(source: Shelf) -> None:
    (source.tree.path / "run.sh").write_text("#!/bin/sh\necho evil\n")
    profile = compose("p", [parse_fragment("frag", "CONFIG_ACPI=y\n")])
    with pytest.raises(StoreCorrupt, match=r"run\.sh"):
        obtain(source.tree, profile, source.work.layout, Deadline(60), Heard())


def evil_make(source: Shelf, line: str) -> Make:
    linux = source.tree.path
    makefile = linux / "Makefile"
    makefile.write_text(f"{makefile.read_text()}\nsrctree := {linux}\n{line}\nall:\n\t@echo made > $(O)/made\n")
    seal(linux, linux.parent)
    place = source.work.layout.objects / "place"
    prepare_place(place, linux)
    return Make(place)


@pytest.mark.parametrize(
    "line",
    [
        f"$(shell echo evil >> $(srctree)/{FILE})",
        f"$(shell rev < $(srctree)/{FILE} > /tmp/$$$$ && touch -r $(srctree)/{FILE} /tmp/$$$$ && "
        f"cat /tmp/$$$$ > $(srctree)/{FILE} && touch -r /tmp/$$$$ $(srctree)/{FILE}; rm -f /tmp/$$$$)",
        "$(shell echo evil > $(srctree)/drivers/evil.h)",
    ],
)
def test_a_build_that_could_not_be_contained_is_watched(
    source: Shelf, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setenv(CHOICE, "none")
    make = evil_make(source, line)
    with pytest.raises(StoreCorrupt, match="changed its own source"):
        make.run("all", deadline=Deadline(60), log=make.objects / "log")
    source.resolve()
    assert any("was changed" in step for step in source.heard.steps)


def test_an_innocent_build_that_could_not_be_contained_is_fine(
    source: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CHOICE, "none")
    make = evil_make(source, "")
    make.run("all", deadline=Deadline(60), log=make.objects / "log")
    assert (make.objects / "made").is_file()


def test_a_moved_store_is_still_believed(source: Shelf, tmp_path: Path) -> None:
    moved = (tmp_path / "store").rename(tmp_path / "store2")
    work: Work = replace(source.work, layout=Layout(moved))
    source.heard.steps.clear()
    again = resolve_tarball(source.spec, work)
    assert again.id == source.tree.id and source.heard.steps == []


def test_names_that_are_no_utf8_are_names(tmp_path: Path) -> None:
    linux = tmp_path / "x" / "linux"
    linux.mkdir(parents=True)
    (linux / os.fsdecode(b"odd\xff\n")).write_text("x")
    seal(linux, linux.parent)
    assert find_damage(linux, linux.parent) == ()
    (linux / os.fsdecode(b"odd\xff\n")).write_text("y y")
    assert find_damage(linux, linux.parent) == (os.fsdecode(b"odd\xff\n"),)
