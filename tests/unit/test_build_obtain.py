# SPDX-License-Identifier: GPL-2.0-only
"""Builds are made once, found again, waited for, gone on with, and never believed without looking.

make is a script here that does what kbuild does to an object directory in 30 files; `tests/kernel` has the real one.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.kernel import kept_config
from harness.kernel.artefacts import differs
from harness.kernel.build import build_id, find, kept_build, obtain
from harness.kernel.fragments import compose, parse_fragment
from harness.kernel.make import prepare_place
from harness.model.build import Build, Profile
from harness.model.codec import from_json, to_json
from harness.model.errors import BuildFailed, CommandFailed, DeadlineExceeded, InfraError, UserError
from harness.model.tree import Tree
from harness.proc import Deadline
from harness.sandbox import CHOICE
from harness.store.layout import Layout
from harness.store.sealed import damage, read_seal

OBJECTS = 30

FAKE_MAKE = """\
#!/bin/sh
# kbuild, as far as the harness can see it. Leaves a line in $objects/../../../calls for every call.
for word; do
    case $word in
    O=*) objects=${word#O=} ;;
    INSTALL_MOD_PATH=*) into=${word#INSTALL_MOD_PATH=} ;;
    *=*) ;;
    *) last=$word ;;
    esac
done
cd "$objects" || exit 2
echo "$last" >> ../../../calls
case $last in
allnoconfig) cp "$KCONFIG_ALLCONFIG" .config ;;
olddefconfig) ;;
modules_install)
    mkdir -p "$into/lib/modules/7.3.4" && cp -r kernel "$into/lib/modules/7.3.4/" || exit 2
    ln -s /nowhere "$into/lib/modules/7.3.4/build"
    : DEPMOD
    ;;
modules)
    mkdir -p kernel arch/x86/boot include/config
    i=0
    while [ $i -lt 30 ]; do
        i=$((i + 1))
        [ -f mm/$i.o ] && continue
        echo "  CC      mm/$i.o"
        : STEP
        mkdir -p mm && touch mm/$i.o
    done
    : FAIL
    echo 7.3.4 > include/config/kernel.release
    echo symbols > System.map && echo x > Module.symvers && echo ko > kernel/foo.ko
    echo image > arch/x86/boot/bzImage
    : AFTER
    ;;
esac
"""

DEPMOD = 'touch "$into/lib/modules/7.3.4/modules.dep"'


class Heard:
    """A Progress that remembers."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.advances: list[tuple[int, int, str]] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def advance(self, done: int, total: int, unit: str) -> None:
        self.advances.append((done, total, unit))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    path = tmp_path / "tree"
    (path / "drivers").mkdir(parents=True)
    (path / "drivers" / "Kconfig").write_text("config FOO\n\ttristate\nconfig BAR\n\tbool\nconfig BAZ\n\tbool\n")
    (path / "drivers" / "Makefile").write_text("obj-$(CONFIG_FOO) += \\\n\tfoo.o sub/\nobj-$(CONFIG_BAR) += bar.o\n")
    return Tree("a" * 64, "7.3.4", "linux-test 7.3.4", path, "test")


PROFILE = compose("small", [parse_fragment("frag", "CONFIG_FOO=m\nCONFIG_BAR=y\n")])


def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    """Puts the fake make first in PATH; each keyword's `: KEYWORD` in it is replaced by a command."""
    text = FAKE_MAKE
    for place, command in {"DEPMOD": DEPMOD, **changes}.items():
        assert f": {place}\n" in text
        text = text.replace(f": {place}\n", f"{command}\n")
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    for name in ("make", "flex", "bison", "bc", "depmod"):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    # No ccache here, and the tools of the host behind.
    for name in ("gcc", "ld", "nice"):
        real = shutil.which(name)
        assert real is not None
        if not (folder / name).exists():
            (folder / name).symlink_to(real)
    for name in ("sh", "cp", "ln", "mkdir", "touch", "sleep", "mv", "as"):
        real = shutil.which(name)
        assert real is not None
        if not (folder / name).exists():
            (folder / name).symlink_to(real)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv(CHOICE, "none")  # this make leaves lines where a contained one could not


def calls(layout: Layout) -> list[str]:
    path = layout.root / "calls"
    return path.read_text().split() if path.exists() else []


def test_a_build_is_made_once_and_found_again(
    tmp_path: Path, tree: Tree, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch)
    heard = Heard()
    build = obtain(tree, PROFILE, scratch_layout, Deadline(60), heard, jobs=1)
    assert calls(scratch_layout) == ["allnoconfig", "olddefconfig", "modules", "modules_install"]
    assert build.image.read_text() == "image\n"
    assert build.config_path.read_text() == "CONFIG_FOO=m\nCONFIG_BAR=y\n"
    assert (build.modules / "7.3.4" / "kernel" / "foo.ko").is_file()
    assert not (build.modules / "7.3.4" / "build").is_symlink()
    assert (build.path / "System.map").is_file() and (build.path / "build.log").is_file()
    assert (build.release, build.steps, build.profile) == ("7.3.4", OBJECTS, "small")
    assert heard.advances[0] == (1, 2400, "objects") and heard.advances[-1] == (OBJECTS, OBJECTS, "objects")
    again = obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard())
    assert again == build == find(tree, PROFILE, scratch_layout, Deadline(60))
    assert len(calls(scratch_layout)) == 4
    assert from_json(type(build), to_json(build)) == build


def test_the_same_build_is_found_from_another_checkout_and_in_a_moved_store(
    tmp_path: Path, tree: Tree, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch)
    obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard())
    elsewhere = replace(tree, path=Path(shutil.copytree(tree.path, tmp_path / "tree2")), spec="other")
    moved = Layout(scratch_layout.root.rename(tmp_path / "moved"))
    found = obtain(elsewhere, PROFILE, moved, Deadline(60), Heard())
    assert len(calls(moved)) == 4
    assert found.tree == elsewhere and found.path.is_relative_to(moved.root) and found.objects.is_dir()


def test_a_build_is_found_by_its_id_alone(
    tmp_path: Path, tree: Tree, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch)
    build = obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard())
    assert kept_build(build.id, scratch_layout) == build
    assert kept_build(build.id[:16], scratch_layout) == build
    assert kept_build(build.id[:-1] + "x", scratch_layout) is None  # sixteen digits of it are the same
    assert kept_build("f" * 64, scratch_layout) is None
    overwrite(build.image)
    assert kept_build(build.id, scratch_layout) is None
    mended = obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard())
    assert kept_build(build.id, scratch_layout) == mended
    tree.path.rename(tmp_path / "away")
    assert kept_build(build.id, scratch_layout) is None


def test_the_id_says_what_went_in_and_nothing_else(tree: Tree) -> None:
    plain = build_id(tree, PROFILE, "gcc 12")
    assert len(plain) == 64
    assert build_id(replace(tree, path=Path("/elsewhere"), origin="x", spec="y"), PROFILE, "gcc 12") == plain
    commented = compose("small", [parse_fragment("other", "# words\n\nCONFIG_BAR=y\nCONFIG_FOO=m\nCONFIG_BAR=y\n")])
    assert build_id(tree, commented, "gcc 12") == plain
    unlike = [
        build_id(replace(tree, id="b" * 64), PROFILE, "gcc 12"),
        build_id(tree, PROFILE, "gcc 13"),
        build_id(tree, replace(PROFILE, name="other"), "gcc 12"),
        build_id(tree, compose("small", [parse_fragment("frag", "CONFIG_FOO=y\nCONFIG_BAR=y\n")]), "gcc 12"),
    ]
    assert len({plain, *unlike}) == 5
    limited = compose("small", [*PROFILE.fragments, parse_fragment("old", "# before 7.0: x\nCONFIG_BAZ=y\n")])
    assert build_id(tree, limited, "gcc 12") == plain
    assert build_id(replace(tree, version="6.12.1"), limited, "gcc 12") != plain


def test_the_first_compiler_error_is_the_message(
    tmp_path: Path, tree: Tree, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = f"{tree.path}/mm/a.c:7:3: error: expected ';'"
    install(tmp_path, monkeypatch, FAIL=f'echo "{said}"; echo "make: *** [Makefile:1] Error 2"; exit 2')
    with pytest.raises(BuildFailed, match=r"does not build: mm/a\.c:7:3: error: expected ';'$") as caught:
        obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard())
    assert caught.value.log is not None and "expected" in caught.value.log.read_text()
    assert list(scratch_layout.builds.iterdir()) == []
    install(tmp_path, monkeypatch)
    again = obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard())
    assert again.steps == OBJECTS  # those of the first attempt were not made again, and count


@pytest.mark.parametrize(
    ("line", "error", "said"),
    [
        ("fatal error: error writing to /tmp/x.s: No space left on device", InfraError, "the disk is full"),
        ("gcc: fatal error: Killed signal terminated program cc1", InfraError, "memory is short"),
        ("elf.c:9:10: fatal error: libelf.h: No such file or directory", UserError, "needs libelf.h"),
        ("/bin/sh: 1: bc: not found", InfraError, "a tool is gone: bc"),
        ("something odd", CommandFailed, "ended with status 2"),
    ],
)
def test_the_host_s_trouble_is_not_the_sources_fault(
    tmp_path: Path,
    tree: Tree,
    scratch_layout: Layout,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    error: type[Exception],
    said: str,
) -> None:
    install(tmp_path, monkeypatch, FAIL=f'echo "{line}"; exit 2')
    with pytest.raises(error, match=said):
        obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"AFTER": ": > arch/x86/boot/bzImage"}, "left no arch/x86/boot/bzImage"),
        ({"AFTER": "mv arch/x86/boot/bzImage gone"}, "left no arch/x86/boot/bzImage"),
        ({"AFTER": "mv System.map gone"}, "left no System.map"),
        ({"AFTER": "mv kernel/foo.ko kernel/other.ko"}, r"left no foo\.ko, which CONFIG_FOO=m \(frag\.config:1\)"),
        ({"AFTER": "echo kernel/more.o > modules.order"}, r"left out more\.ko"),
        ({"DEPMOD": ":"}, r"left no 7\.3\.4/modules\.dep"),
        ({"DEPMOD": "exit 1"}, "modules cannot be installed"),
    ],
)
def test_an_exit_status_of_0_is_no_proof(
    tmp_path: Path,
    tree: Tree,
    scratch_layout: Layout,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, str],
    said: str,
) -> None:
    install(tmp_path, monkeypatch, **changes)
    with pytest.raises(InfraError, match=said):
        obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard())
    assert list(scratch_layout.builds.iterdir()) == []


def overwrite(path: Path) -> None:
    """Other bytes, as many, with the old times."""
    before = path.stat()
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


HARMS: dict[str, tuple[Callable[[Build], object], str]] = {
    "image gone": (lambda build: build.image.unlink(), "bzImage is gone"),
    "image truncated": (lambda build: os.truncate(build.image, 2), "bzImage has 2 bytes, 6 were made"),
    "module": (lambda build: overwrite(build.modules / "7.3.4/kernel/foo.ko"), r"foo\.ko is not what was made"),
    "config": (lambda build: overwrite(build.config_path), "config is not what was made"),
    "symbols": (lambda build: overwrite(build.path / "System.map"), r"System\.map is not what was made"),
    "record": (lambda build: (build.path / "build.json").unlink(), r"build\.json is gone"),
    "garbage": (lambda build: (build.path / "build.json").write_text('{"id": 7}'), r"build\.json has 9 bytes"),
    "one more": (lambda build: (build.modules / "7.3.4/evil.ko").touch(), r"evil\.ko was not there"),
    "seal": (lambda build: os.truncate(build.path / ".seal", 3), r"\.seal cannot be read"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_build_that_was_harmed_is_named_set_aside_and_made_again(
    tmp_path: Path, tree: Tree, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    install(tmp_path, monkeypatch)
    build = obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard())
    good = read_seal(build.path)
    change, said = HARMS[harm]
    change(build)
    assert find(tree, PROFILE, scratch_layout, Deadline(60)) is None
    heard = Heard()
    again = obtain(tree, PROFILE, scratch_layout, Deadline(60), heard)
    assert again.id == build.id and damage(again.path) == ""
    assert differs(read_seal(again.path).contents(), good.contents()) == ""
    assert re.search(said, heard.steps[0]), heard.steps
    (aside,) = scratch_layout.damaged.iterdir()
    assert str(aside) in heard.steps[0] and aside.name.startswith(f"builds-{build.id[:16]}-")
    assert calls(scratch_layout)[4:] == ["modules_install"], "from its objects nothing is compiled"
    assert again.steps == OBJECTS
    assert again == find(tree, PROFILE, scratch_layout, Deadline(60))


@pytest.mark.parametrize("name", ["mm/7.o", "Module.symvers", ".config", "arch/x86/boot/bzImage", "kernel/foo.ko"])
def test_objects_that_were_harmed_are_set_aside_and_all_is_compiled(
    tmp_path: Path, tree: Tree, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    install(tmp_path, monkeypatch)
    build = obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard())
    (build.objects / name).write_text("tampered\n")
    heard = Heard()
    again = obtain(tree, PROFILE, scratch_layout, Deadline(60), heard)
    assert f"objects/{name} has 9 bytes" in heard.steps[0]
    assert again.image.read_text() == "image\n"
    assert (again.objects / "Module.symvers").read_text() == "x\n"
    (aside,) = scratch_layout.damaged.iterdir()
    assert (aside / "objects" / name).read_text() == "tampered\n"
    assert heard.advances[-1] == (OBJECTS, OBJECTS, "objects")


def test_objects_that_give_something_else_than_before_are_not_believed(
    tmp_path: Path, tree: Tree, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A seal that was lost or forged is no way around what the build itself was."""
    install(tmp_path, monkeypatch)
    build = obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard())
    (build.objects.parent / ".seal").unlink()
    overwrite(build.image)
    install(tmp_path, monkeypatch, AFTER="if [ -f mm/bad ]; then echo IMAGE > arch/x86/boot/bzImage; fi")
    (build.objects / "mm/bad").touch()
    heard = Heard()
    again = obtain(tree, PROFILE, scratch_layout, Deadline(60), heard)
    assert "give another bzImage than before" in "\n".join(heard.steps)
    assert again.image.read_text() == "image\n"
    assert sorted(path.name.split("-")[0] for path in scratch_layout.damaged.iterdir()) == ["builds", "objects"]


def test_a_harmed_build_of_a_moved_store_is_put_together_there(
    tmp_path: Path, tree: Tree, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch)
    obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard())
    moved = Layout(scratch_layout.root.rename(tmp_path / "moved"))
    (build,) = moved.builds.iterdir()
    os.truncate(build / "bzImage", 1)
    again = obtain(tree, PROFILE, moved, Deadline(60), Heard())
    assert again.image.read_text() == "image\n" and again.path == build
    assert calls(moved)[4:] == ["modules_install"]


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_no_directory_is_no_build(
    tmp_path: Path, tree: Tree, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    install(tmp_path, monkeypatch)
    build = obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard())
    build.path.rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / ".seal").unlink()
    if kind == "file":
        build.path.touch()
    else:
        build.path.symlink_to(tmp_path / "elsewhere")
    assert obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard()).image.read_text() == "image\n"
    assert not build.path.is_symlink() and (tmp_path / "elsewhere" / "bzImage").exists()


def test_a_build_without_hashes_is_not_believed(
    tmp_path: Path, tree: Tree, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an older harness left them."""
    install(tmp_path, monkeypatch)
    build = obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard())
    for path in (build.path, build.objects.parent):
        (path / ".seal").unlink()
    build.image.write_text("tampered")
    heard = Heard()
    again = obtain(tree, PROFILE, scratch_layout, Deadline(60), heard)
    assert "has no hashes, so it is put together again" in heard.steps[0]
    assert again.image.read_text() == "image\n" and damage(again.path) == ""
    assert heard.advances[-1][0] == OBJECTS and list(scratch_layout.damaged.iterdir()) == []


SCRIPT = """\
import sys
from pathlib import Path
from harness.kernel.build import obtain
from harness.kernel.fragments import compose, parse_fragment
from harness.kernel.make import prepare_place
from harness.model.tree import Tree
from harness.proc import Deadline
from harness.store.layout import Layout

class Loud:
    def step(self, text):
        print(text, flush=True)
    def advance(self, done, total, unit):
        print(done, flush=True)

tree = Tree("a" * 64, "7.3.4", "linux-test 7.3.4", Path(sys.argv[1]), "test")
profile = compose("small", [parse_fragment("frag", "CONFIG_FOO=m\\nCONFIG_BAR=y\\n")])
print("built", obtain(tree, profile, Layout(Path(sys.argv[2])), Deadline(60), Loud(), jobs=1).steps)
"""


def start(tree: Tree, layout: Layout) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", SCRIPT, str(tree.path), str(layout.root)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent.parent)


def test_killed_in_the_middle_it_goes_on_from_the_objects(
    tmp_path: Path, tree: Tree, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(
        tmp_path,
        monkeypatch,
        STEP="cd ../../..; echo made >> made; [ -f fast ] || sleep 0.05; echo $$ > pid; cd - > here",
    )
    first = start(tree, scratch_layout)
    assert first.stdout is not None
    for line in first.stdout:
        if line.strip() == "5":
            break
    first.kill()
    first.communicate()
    # The make does not outlive the harness, and nothing that is half-done can be taken for a build.
    pid = int((scratch_layout.root / "pid").read_text())
    limit = time.monotonic() + 10
    while _alive(pid) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not _alive(pid)
    assert list(scratch_layout.builds.iterdir()) == []
    (scratch_layout.root / "fast").touch()
    build = obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard(), jobs=1)
    assert build.steps == OBJECTS
    made = (scratch_layout.root / "made").read_text().split()
    assert OBJECTS <= len(made) <= OBJECTS + 1  # the one that was being made may be made twice


def test_killed_while_it_repairs_it_leaves_a_store_that_works(
    tmp_path: Path, tree: Tree, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, DEPMOD=f"sleep 0.2; {DEPMOD}")
    build = obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard(), jobs=1)
    good = read_seal(build.path)
    chance = random.Random(1)
    for number in range(8):
        harmed = build.image if number % 2 else build.objects / "mm/3.o"
        if harmed.exists() and (build.objects.parent / ".seal").exists():
            harmed.write_text("tampered")
        with start(tree, scratch_layout) as command:
            assert command.stdout is not None
            for line in command.stdout:
                if any(word in line for word in ("set aside", "building", "putting", "built")):
                    break
            time.sleep(chance.uniform(0, 0.4))
            command.kill()
    again = obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard(), jobs=1)
    assert damage(again.path) == damage(again.objects.parent) == ""
    assert differs(read_seal(again.path).contents(), good.contents()) == ""
    assert (again.objects / "mm/3.o").read_text() == ""


def _alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1][:3]
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_two_processes_at_once_build_once(
    tmp_path: Path, tree: Tree, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, STEP="sleep 0.02")
    pair = [start(tree, scratch_layout), start(tree, scratch_layout)]
    heard = [process.communicate(timeout=60)[0] for process in pair]
    assert [process.returncode for process in pair] == [0, 0]
    assert calls(scratch_layout).count("modules") == 1
    assert sum("waiting for another ttm-harness" in text for text in heard) == 1
    assert all(f"built {OBJECTS}" in text for text in heard)


def test_a_deadline_ends_the_make(
    tmp_path: Path, tree: Tree, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, STEP="sleep 5")
    with pytest.raises(DeadlineExceeded):
        obtain(tree, PROFILE, scratch_layout, Deadline(1.5), Heard())


def test_a_missing_tool_is_named(
    tmp_path: Path, tree: Tree, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch)
    (tmp_path / "bin" / "bison").unlink()
    with pytest.raises(UserError, match="without bison"):
        obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard())


def test_another_machine_is_a_sentence(
    tmp_path: Path, tree: Tree, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch)
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(UserError, match="this host is aarch64"):
        obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard())


def test_the_second_build_of_a_profile_knows_how_long_it_takes(
    tmp_path: Path, tree: Tree, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch)
    obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard())
    heard = Heard()
    other = tmp_path / "other"
    shutil.copytree(tree.path, other)
    (other / "tools").mkdir(exist_ok=True)
    (other / "tools" / "new.c").touch()  # nobody knows what a tool makes: nothing is taken from the first build
    obtain(replace(tree, id="c" * 64, path=other), PROFILE, scratch_layout, Deadline(60), heard)
    assert heard.advances[0] == (1, OBJECTS, "objects")
    assert any("the last time" in step for step in heard.steps)


def test_warnings_are_kept_with_the_build(
    tmp_path: Path, tree: Tree, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, FAIL=f'echo "{tree.path}/mm/a.c:7:3: warning: unused [-Wunused]"')
    build = obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard())
    assert [(item.file, item.line, item.text) for item in build.warnings] == [("mm/a.c", 7, "unused [-Wunused]")]


def test_the_user_s_environment_takes_no_part(
    tmp_path: Path, tree: Tree, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KCFLAGS", "-O0")
    monkeypatch.setenv("MAKEFLAGS", "-k")
    install(tmp_path, monkeypatch, AFTER='echo "$HOME|$KCFLAGS|$MAKEFLAGS" > ../../../environment')
    build = obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard())
    home, flags, words = (scratch_layout.root / "environment").read_text().strip().split("|")
    assert (flags, words) == ("", "")
    assert Path(home) == build.objects.parent / "home" and list(Path(home).iterdir()) == []


def test_a_place_leads_to_the_tree_that_it_is_for(tmp_path: Path) -> None:
    one, two, place = tmp_path / "one", tmp_path / "two", tmp_path / "place"
    for tree, names in ((one, ("Makefile", "mm", "old")), (two, ("Makefile", "mm", "new", "objects"))):
        tree.mkdir()
        for name in (*names, ".config", ".git"):
            (tree / name).mkdir()
    prepare_place(place, one)
    assert sorted(path.name for path in place.iterdir()) == ["Makefile", "headers", "mm", "objects", "old"]
    (place / "objects" / "made.o").touch()
    prepare_place(place, two)
    assert sorted(path.name for path in place.iterdir()) == ["Makefile", "headers", "mm", "new", "objects"]
    assert (place / "mm").readlink() == two / "mm"
    assert (place / "objects" / "made.o").exists() and not (place / "objects").is_symlink()
    assert sorted(path.name for path in one.iterdir()) == [".config", ".git", "Makefile", "mm", "old"]


@pytest.mark.parametrize("release", ["../../../../victim", "7.3.4/x", ""])
def test_the_release_that_a_build_names_is_no_path(
    tmp_path: Path, tree: Tree, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch, release: str
) -> None:
    install(tmp_path, monkeypatch, AFTER=f"echo '{release}' > include/config/kernel.release")
    with pytest.raises(InfraError, match="no name of a kernel release"):
        obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard(), jobs=1)


@pytest.mark.parametrize("name", ["seconds", "System.map", ".config", "build.log"])
def test_no_file_is_written_or_taken_through_a_link_that_a_build_left(
    tmp_path: Path, tree: Tree, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("CONFIG_FOO=m\nCONFIG_BAR=y\nmine\n")
    before = victim.read_text()
    monkeypatch.setattr("harness.kernel.build._NOTE_SECONDS", -1.0)
    link = f"ln -sf {victim} {name}"
    # That make writes System.map itself, which a contained one could not do through a link either.
    install(tmp_path, monkeypatch, STEP=":" if name == "System.map" else link, AFTER=link)
    try:
        build = obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard(), jobs=1)
    except (InfraError, OSError):
        build = None
    assert victim.read_text() == before
    if build is not None:
        kept = [path for path in build.path.rglob("*") if path.is_file()]
        assert not any("mine" in path.read_text() for path in kept)


NAMES_KCONFIG = (
    "mkdir -p include/config && printf 'deps_config := \\\\\\n\\tdrivers/Kconfig \\\\\\n"
    "\\tDocumentation/Kconfig \\\\\\n\\n' > include/config/auto.conf.cmd"
)


def test_a_config_is_made_once_for_the_same_kconfig_files(
    tmp_path: Path, tree: Tree, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, AFTER=NAMES_KCONFIG)
    (tree.path / "Documentation").mkdir()
    (tree.path / "Documentation" / "Kconfig").write_text("config WARN\n\tbool\n")
    first = obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard(), jobs=1)
    assert calls(scratch_layout).count("allnoconfig") == 1

    def another(name: str, file: str, text: str, profile: Profile = PROFILE) -> tuple[Build, int]:
        path = Path(shutil.copytree(tree.path, tmp_path / name))
        (path / file).parent.mkdir(parents=True, exist_ok=True)
        (path / file).write_text(text)
        heard = Heard()
        made = obtain(
            replace(tree, id=name.ljust(64, "0"), path=path), profile, scratch_layout, Deadline(60), heard, jobs=1
        )
        times = calls(scratch_layout).count("allnoconfig")
        assert any(step.startswith("configuring") for step in heard.steps) == (times > before)
        return made, times

    before = 1
    made, times = another("source", "drivers/foo.c", "int x;\n")
    assert times == 1 and made.config_path.read_text() == first.config_path.read_text()
    assert (made.objects / ".config").read_text() == first.config_path.read_text()
    _, times = another("kconfig", "drivers/Kconfig", (tree.path / "drivers/Kconfig").read_text() + "config NEW\n")
    assert times == 2
    before = 2
    _, times = another("scripts", "scripts/cc-version.sh", "echo 12\n")
    assert times == 3
    before = 3
    more = compose("small", [*PROFILE.fragments, parse_fragment("more", "CONFIG_BAZ=y\n")])
    _, times = another("asks", "drivers/foo.c", "int y;\n", more)
    assert times == 4
    before = 4
    _, times = another("documents", "Documentation/Kconfig", "config WARN\n\tbool\n\tdefault y\n")
    assert times == 5
    before = 5
    # A config that was changed is nobody's.
    for build in scratch_layout.builds.iterdir():
        overwrite(build / "config")
    _, times = another("harmed", "drivers/foo.c", "int z;\n")
    assert times == 6


@pytest.mark.parametrize("when", ["while it is built", "before it is put together again"])
def test_a_config_that_was_made_with_other_tools_is_nobodys(
    tmp_path: Path, tree: Tree, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    install(tmp_path, monkeypatch, AFTER=NAMES_KCONFIG)
    (tree.path / "Documentation").mkdir()
    (tree.path / "Documentation" / "Kconfig").write_text("config WARN\n\tbool\n")
    later = "new" if when.startswith("while") else "old"
    tools = iter(["old"])
    monkeypatch.setattr(kept_config, "compilers", lambda: (next(tools, later),))
    first = obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard(), jobs=1)
    monkeypatch.setattr(kept_config, "compilers", lambda: ("new",))
    if when.startswith("before"):
        shutil.rmtree(first.path)
        obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard(), jobs=1)
    assert calls(scratch_layout).count("allnoconfig") == 1
    obtain(replace(tree, id="b" * 64), PROFILE, scratch_layout, Deadline(60), Heard(), jobs=1)
    assert calls(scratch_layout).count("allnoconfig") == 2


@pytest.mark.parametrize("name", ["drivers/options.in", "tools/Kconfig"])
def test_a_config_of_files_that_are_not_hashed_is_made_each_time(
    tmp_path: Path, tree: Tree, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    install(tmp_path, monkeypatch, AFTER=NAMES_KCONFIG.replace("drivers/Kconfig", name))
    (tree.path / "Documentation").mkdir()
    (tree.path / "Documentation" / "Kconfig").write_text("config WARN\n\tbool\n")
    obtain(tree, PROFILE, scratch_layout, Deadline(60), Heard(), jobs=1)
    obtain(replace(tree, id="b" * 64), PROFILE, scratch_layout, Deadline(60), Heard(), jobs=1)
    assert calls(scratch_layout).count("allnoconfig") == 2
