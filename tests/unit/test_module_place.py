# SPDX-License-Identifier: GPL-2.0-only
"""The place of a module: what is kept from one kernel to the next is never what make would not make again.

make is a script here, with what matters of kbuild: it goes by times, records what an object was made of, and takes
the first header of a name that it finds. What it gives in a place that is kept is compared with what it gives from
nothing; tests/kernel/test_incremental.py does so with a real kernel.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.kernel.make import headers_below
from harness.kernel.module import build_module
from harness.kernel.module_place import kbuild_id
from harness.model.build import Build
from harness.model.errors import InfraError, ModuleFailed
from harness.model.tree import Tree
from harness.proc import Deadline
from harness.sandbox import CHOICE
from harness.store.layout import Layout
from harness.store.sealed import seal

FAKE_MAKE = f"""#!{sys.executable}
import pathlib, re, sys
words = dict(word.split("=", 1) for word in sys.argv if "=" in word)
own, objects = pathlib.Path(words["M"]), pathlib.Path(words["O"])
kernel = objects.parent
made = []
def includes(text, where):
    for name in re.findall(r'#include "(.*)"', text):
        places = (where, kernel / "include/first", kernel / "include/second", objects / "include/generated")
        path = next((place / name for place in places if (place / name).is_file()), None)
        if path is None:
            sys.exit(f"{{own}}/x.c:1:1: error: no {{name}}")
        yield path
        yield from includes(path.read_text(), path.parent)
for name, text in re.findall(r"^(\\S+): (\\S+)$", (own / "Kbuild").read_text(), re.M):
    target, origin = own / name, pathlib.Path(text.replace("$(srctree)", str(kernel)))
    if not target.is_file() or target.stat().st_mtime_ns < (own / origin).stat().st_mtime_ns:
        target.write_text((own / origin).read_text())
for source in sorted(own.glob("*.c")):
    target, record = source.with_suffix(".o"), own / f".{{source.stem}}.o.cmd"
    command = f"gcc -I{{kernel}}/include {{(objects / 'flags').read_text()}}"
    old = record.read_text() if record.is_file() else ""
    deps = [source, *(own / word for word in re.findall(r"^  (\\S+) \\\\$", old, re.M))]
    fresh = target.is_file() and f"savedcmd_{{target.name}} := {{command}}\\n" in old and all(
        one.is_file() and one.stat().st_mtime_ns <= target.stat().st_mtime_ns for one in deps)
    if not fresh:
        found = list(includes(source.read_text(), own))
        names = [one.relative_to(own) if one.is_relative_to(own) else one for one in found]
        target.write_text(command.replace(str(kernel), "K") + "".join(x.read_text() for x in (source, *found)))
        listed = "".join(f"  {{name}} \\\\\\n" for name in names)
        record.write_text(f"savedcmd_{{target.name}} := {{command}}\\n\\nsource_{{target.name}} := "
            f"{{source.name}}\\n\\ndeps_{{target.name}} := \\\\\\n{{listed}}\\n")
        made.append(source.stem)
if pathlib.Path("@ROOT@/meanwhile").is_file():
    exec(pathlib.Path("@ROOT@/meanwhile").read_text())
with open("@ROOT@/made", "a") as log:
    log.write(" ".join(made) + "\\n")
symbols = (objects / "Module.symvers").read_text()
if "@LINK@":
    (own / "link").symlink_to("/etc/passwd")
(own / "load.ko").write_text("".join(one.with_suffix(".o").read_text() for one in sorted(own.glob("*.c"))) + symbols)
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "load"
    folder.mkdir()
    (folder / "Kbuild").write_text("obj-m := load.o\n")
    (folder / "a.c").write_text('#include "one.h"\n#include "own.h"\n')
    (folder / "b.c").write_text('#include "two.h"\n')
    (folder / "own.h").write_text("own\n")
    return folder


class Kernels:
    """Makes kernels with other headers, each with a place of its own."""

    def __init__(self, root: Path, layout: Layout) -> None:
        self.root = root
        self.layout = layout
        self.headers = {"first/one.h": "1\n", "second/two.h": '#include "made.h"\n', "second/three.h": "3\n"}
        self.made = {"include/generated/made.h": "m\n", "flags": "-O2", "Module.symvers": "s\n"}
        self.scripts = "script\n"
        self.number = 0

    def _write(self, path: Path, text: str) -> None:
        """Times say nothing: they go on and back from kernel to kernel."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (1000, random.Random(self.number).choice((1000, time.time() - 60))))

    def kernel(self) -> Build:
        self.number += 1
        tree = self.root / f"tree{self.number}"
        place = self.layout.objects / f"{self.number:016x}"
        files = {f"include/{name}": text for name, text in self.headers.items()}
        for name, text in {**files, "scripts/x.sh": self.scripts}.items():
            self._write(tree / name, text)
        for name, text in self.made.items():
            self._write(place / "objects" / name, text)
        seal(place, [])
        made = Tree(f"{self.number:064x}", "7.3.4", "linux-test", tree, "test")
        return Build(
            f"{self.number:064x}", made, "lean", "c", "gcc", "7.3.4", self.layout.builds / "b", place / "objects"
        )


@pytest.fixture
def kernels(tmp_path: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernels]:
    install(tmp_path, monkeypatch)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv(CHOICE, "none")
    yield Kernels(tmp_path, scratch_layout)
    headers_below.cache_clear()
    kbuild_id.cache_clear()


def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: str = "") -> None:
    (tmp_path / "bin").mkdir(exist_ok=True)
    (tmp_path / "bin" / "make").write_text(FAKE_MAKE.replace("@ROOT@", str(tmp_path)).replace("@LINK@", link))
    (tmp_path / "bin" / "make").chmod(0o755)


def build(kernel: Build, source: Path, kernels: Kernels) -> str:
    made = build_module(kernel, source, kernels.layout, Deadline(60))
    return (made / "load.ko").read_text()


def last_made(tmp_path: Path) -> list[str]:
    """What the last make compiled."""
    return (tmp_path / "made").read_text().splitlines()[-1].split()


def times_made(tmp_path: Path) -> int:
    return len((tmp_path / "made").read_text().splitlines())


def test_only_what_was_made_of_a_changed_file_is_made_again(tmp_path: Path, kernels: Kernels, source: Path) -> None:
    build(kernels.kernel(), source, kernels)
    assert last_made(tmp_path) == ["a", "b"]
    kernels.headers["first/one.h"] = "other\n"
    assert "other" in build(kernels.kernel(), source, kernels)
    assert last_made(tmp_path) == ["a"]
    kernels.made["include/generated/made.h"] = "generated\n"
    assert "generated" in build(kernels.kernel(), source, kernels)
    assert last_made(tmp_path) == ["b"]
    (source / "own.h").write_text("mine\n")
    assert "mine" in build(kernels.kernel(), source, kernels)
    assert last_made(tmp_path) == ["a"]
    kernels.made["Module.symvers"] = "another\n"  # nothing is compiled, and yet it is another module
    assert "another" in build(kernels.kernel(), source, kernels)
    assert last_made(tmp_path) == []


def test_where_nothing_differs_make_is_not_called(tmp_path: Path, kernels: Kernels, source: Path) -> None:
    first = build(kernels.kernel(), source, kernels)
    kernels.headers["second/three.h"] = "nobody includes it\n"
    assert build(kernels.kernel(), source, kernels) == first
    assert times_made(tmp_path) == 1
    # A Makefile that asks the tree something may get another answer.
    (source / "Kbuild").write_text("obj-m := load.o\nx := $(shell grep y \\\n $(srctree)/z)\n")
    build(kernels.kernel(), source, kernels)
    build(kernels.kernel(), source, kernels)
    assert times_made(tmp_path) == 3


@pytest.mark.parametrize("what", ["scripts", "config", "namesake", "harmed", "compiler", "flags"])
def test_what_no_record_tells_of_makes_all_go(tmp_path: Path, kernels: Kernels, source: Path, what: str) -> None:
    build(kernels.kernel(), source, kernels)
    if what == "scripts":
        kernels.scripts = "other\n"
    elif what == "config":
        kernels.made["include/config/auto.conf"] = "CONFIG_X=y\n"
    elif what == "namesake":
        kernels.headers["first/two.h"] = "it stands in the way of second/two.h\n"
    elif what == "flags":
        kernels.made["flags"] = "-O3"
    kernel = kernels.kernel()
    if what == "compiler":
        kernel = replace(kernel, compiler="gcc 99")
    if what == "harmed":
        (place,) = kernels.layout.objects.glob("kept-*")
        (place / "own" / "a.o").write_text("tampered")
    text = build(kernel, source, kernels)
    assert last_made(tmp_path) == ["a", "b"]
    assert "tampered" not in text and ("stands in the way" in text) == (what == "namesake")


def test_what_was_generated_goes_with_the_rule_for_it(tmp_path: Path, kernels: Kernels, source: Path) -> None:
    (source / "table.in").write_text("first\n")
    (source / "a.c").write_text('#include "table.h"\n')
    (source / "Kbuild").write_text("obj-m := load.o\ntable.h: table.in\n")
    assert "first" in build(kernels.kernel(), source, kernels)
    (source / "table.in").write_text("second\n")
    assert "second" in build(kernels.kernel(), source, kernels)
    (source / "Kbuild").write_text("obj-m := load.o\n")
    with pytest.raises(ModuleFailed, match=r"no table\.h"):
        build(kernels.kernel(), source, kernels)


def test_what_was_generated_of_the_tree_is_made_again(tmp_path: Path, kernels: Kernels, source: Path) -> None:
    (source / "a.c").write_text('#include "table.h"\n')
    (source / "Kbuild").write_text("obj-m := load.o\ntable.h: $(srctree)/include/second/three.h\n")
    assert "3" in build(kernels.kernel(), source, kernels)
    kernels.headers["second/three.h"] = "four\n"
    assert "four" in build(kernels.kernel(), source, kernels)


@pytest.mark.parametrize("line", ["#if __has_include(<new.h>)", "# embed <new.h>", 'asm(".incbin \\"new.h\\"");'])
def test_what_the_compiler_looks_at_and_does_not_name_makes_all_go(
    tmp_path: Path, kernels: Kernels, source: Path, line: str
) -> None:
    (source / "a.c").write_text(f'#include "one.h"\n{line}\n')
    build(kernels.kernel(), source, kernels)
    kernels.headers["first/new.h"] = "new\n"
    build(kernels.kernel(), source, kernels)
    assert times_made(tmp_path) == 2 and last_made(tmp_path) == ["a", "b"]


def test_a_source_that_changes_meanwhile_is_not_taken_for_what_was_compiled(
    tmp_path: Path, kernels: Kernels, source: Path
) -> None:
    (tmp_path / "meanwhile").write_text(f"pathlib.Path({str(source / 'own.h')!r}).write_text('mine')")
    assert "mine" not in build(kernels.kernel(), source, kernels)
    (tmp_path / "meanwhile").unlink()
    assert "mine" in build(kernels.kernel(), source, kernels)


def test_a_source_that_changes_before_it_is_copied_is_told(
    tmp_path: Path, kernels: Kernels, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel, copy = kernels.kernel(), shutil.copyfile

    def late(one: Path, other: Path) -> None:
        if one.name == "own.h":
            one.write_text("mine\n")
        copy(one, other)

    monkeypatch.setattr(shutil, "copyfile", late)
    with pytest.raises(InfraError, match=r"own\.h changed while modules were made of it"):
        build(kernel, source, kernels)
    assert not list(kernels.layout.objects.glob("kept-*")) and not list(kernels.layout.objects.glob("module-*"))
    monkeypatch.undo()


def test_it_gives_what_is_made_from_nothing_whatever_changes(
    tmp_path: Path, kernels: Kernels, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(20)
    saved = 0
    for step in range(25):
        names = ("first/one.h", "second/one.h", "first/two.h", "second/two.h", "second/three.h")
        name = dice.choice((*names, "Module.symvers", "own.h", "a.c", "c.c", "made.h", "nothing"))
        if name in names:
            kernels.headers[name] = f"{step}\n" + dice.choice(("", '#include "made.h"\n'))
            if dice.random() < 0.3 and {"one.h", "two.h"} <= {one[-5:] for one in kernels.headers if one != name}:
                del kernels.headers[name]
        elif name == "Module.symvers":
            kernels.made[name] = f"{step}\n"
        elif name == "made.h":
            kernels.made["include/generated/made.h"] = f"{step}\n"
        elif name == "c.c" and (source / name).exists():
            (source / name).unlink()
        elif name != "nothing":
            (source / name).write_text('#include "one.h"\n' + f"{step}\n" if name.endswith(".c") else f"{step}\n")
        kernel = kernels.kernel()
        kept = build(kernel, source, kernels)
        made = last_made(tmp_path)
        for path in kernels.layout.objects.glob("kept-*"):
            path.rename(tmp_path / "aside")
        shutil.rmtree(next(kernels.layout.objects.glob("module-*")))
        assert build(kernel, source, kernels) == kept, (step, name)
        saved += len(last_made(tmp_path)) - len(made)
        shutil.rmtree(next(kernels.layout.objects.glob("kept-*")))
        shutil.rmtree(next(kernels.layout.objects.glob("module-*")))
        (tmp_path / "aside").rename(kernels.layout.objects / path.name)
    assert saved > 10


def test_what_fails_keeps_what_was_made(tmp_path: Path, kernels: Kernels, source: Path) -> None:
    build(kernels.kernel(), source, kernels)
    (source / "b.c").write_text('#include "nowhere.h"\n')
    with pytest.raises(ModuleFailed, match=r"no nowhere\.h"):
        build(kernels.kernel(), source, kernels)
    (source / "b.c").write_text('#include "one.h"\n')
    build(kernels.kernel(), source, kernels)
    assert last_made(tmp_path) == ["b"]


def test_a_link_that_make_left_is_refused(
    tmp_path: Path, kernels: Kernels, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, link="yes")
    with pytest.raises(InfraError, match="make left own/link, which is neither file nor directory"):
        build(kernels.kernel(), source, kernels)
    assert not list(kernels.layout.objects.glob("kept-*"))
