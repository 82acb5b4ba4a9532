# SPDX-License-Identifier: GPL-2.0-only
"""Features of a kernel tree: its files are asked; its version only for a file that is not there."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from harness.kernel.module import sources_id
from harness.model.errors import UserError
from harness.model.features import features_of, read_features
from harness.model.suite import Ground, ManifestCase, MaySkip, Requirement
from harness.model.tree import Tree
from harness.proc import find_tool
from harness.suites.descriptor import read_subject
from tests.conftest import require_tool

ROOT = Path(__file__).parents[2]
SHARED = ROOT / "guest-scripts" / "module"
PROGRAM = SHARED / "features.awk"
MODULES = (
    ROOT / "harness/subjects/ttm/pressure/module",
    ROOT / "harness/subjects/drm-shmem/drm-shmem/module",
)
# All that this host has, and the one that the kernel's own build would take.
AWKS = [("mawk",), ("gawk",), ("gawk", "--posix"), ("original-awk",), ("busybox", "awk")]
KINDS = [kind for kind in AWKS if find_tool(kind[0])] or [("awk",)]

TABLE = """\
# A table.

[[feature]]
define = "X_HAVE_NEW" # since when
file = "include/x.h"
words = "x_new(int"
since = "7.3"
commit = '0123456789ab ("x: Add x_new()")'

[[feature]]
define = "X_HAVE_QUOTED"
file = "include/x.h"
words = 'IMPORT("x\\y")'

[[feature]]
define = "X_HAVE_SOURCE"
file = "drivers/x.c"
words = "x_source"
since = "6.12"
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree with a header and without the .c files, as a distribution's header package is."""
    (tmp_path / "include").mkdir()
    (tmp_path / "Makefile").write_text("VERSION = 7\n")
    (tmp_path / "include" / "x.h").write_text('int x_old(void);\nIMPORT("x\\y");\n')
    return tmp_path


def ask(
    awk: tuple[str, ...], tree: Path, version: str, *tables: str, program: Path = PROGRAM
) -> subprocess.CompletedProcess[str]:
    """The program on the tables, as Kbuild.shared calls it."""
    paths = []
    for number, text in enumerate(tables):
        paths.append(tree / f"table-{number}.toml")
        paths[-1].write_text(text, encoding="utf-8")
    return subprocess.run(
        (require_tool(awk[0]), *awk[1:], "-f", program, *paths),
        env={"PATH": os.environ["PATH"], "LC_ALL": "C", "tree": str(tree), "version": version},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def answers(awk: tuple[str, ...], tree: Path, version: str, *tables: str) -> list[str]:
    done = ask(awk, tree, version, *tables)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.split()


@pytest.mark.parametrize("awk", KINDS, ids=" ".join)
def test_the_files_of_the_tree_are_asked(awk: tuple[str, ...], tree: Path) -> None:
    (tree / "drivers").mkdir()
    (tree / "drivers" / "x.c").write_bytes(b"\xff\xfe no text\nint x_source;")  # and no newline at the end
    # What the version says does not count.
    asked = answers(awk, tree, "99.0", TABLE)
    assert asked == ["-DX_HAVE_NEW=0", "-DX_HAVE_QUOTED=1", "-DX_HAVE_SOURCE=1"]
    (tree / "include" / "x.h").write_text("void x_new(int a);\n")
    (tree / "drivers" / "x.c").write_text("")
    asked = answers(awk, tree, "2.6", TABLE)
    assert asked == ["-DX_HAVE_NEW=1", "-DX_HAVE_QUOTED=0", "-DX_HAVE_SOURCE=0"]


@pytest.mark.parametrize("awk", KINDS, ids=" ".join)
@pytest.mark.parametrize(
    ("version", "has"), [("6.12", 1), ("6.9", 0), ("6.100", 1), ("7.0", 1), ("5.99", 0), ("10.1", 1)]
)
def test_a_file_that_is_not_there_leaves_the_version_and_is_named(
    awk: tuple[str, ...], tree: Path, version: str, has: int
) -> None:
    asked = answers(awk, tree, version, TABLE)
    assert asked[2:] == [f"by-version:X_HAVE_SOURCE={has}:drivers/x.c", f"-DX_HAVE_SOURCE={has}"]


@pytest.mark.parametrize("awk", KINDS, ids=" ".join)
def test_tables_are_read_one_after_the_other(awk: tuple[str, ...], tree: Path) -> None:
    other = TABLE.replace("X_HAVE", "Y_HAVE")
    assert len(answers(awk, tree, "7.2", TABLE, other)) == 8
    done = ask(awk, tree, "7.2", TABLE, TABLE)
    assert done.returncode == 1 and not done.stdout and "the second of that name" in done.stderr


@pytest.mark.parametrize("awk", KINDS, ids=" ".join)
@pytest.mark.parametrize(
    ("was", "then", "said"),
    [
        ('"X_HAVE_NEW"', '"X -include /etc/passwd"', "no name for a macro"),
        ('"X_HAVE_NEW"', '"x"', "no name for a macro"),
        ('"X_HAVE_NEW"', '"X_HAVE_QUOTED"', "the second of that name"),
        ('"include/x.h"', '"/etc/passwd"', "no path in a tree"),
        ('"include/x.h"', '"include/../../x.h"', "no path in a tree"),
        ('"include/x.h"', '"$(shell id)"', "no path in a tree"),
        ('"include/x.h"', '"-"', "no path in a tree"),
        ('"x_new(int"', '""', "no words"),
        ('"x_new(int"', '"a\\tb"', "an escape"),
        ('"x_new(int"', '"a" "b"', "something behind a string"),
        ('"x_new(int"', '"a', "a string without its end"),
        ('"x_new(int"', "7", "a string in quotes"),
        ('"7.3"', '"7.3-rc1"', "no version"),
        ("since = ", "sinse = ", '"sinse" is no key'),
        ("since = ", 'file = "x"\nsince = ', '"file" is no key'),
        ("[[feature]]", "[feature]", "neither a key nor"),
        ("[[feature]]\ndefine", "define", '"define" is no key'),
        ('file = "include/x.h"\n', "", "no path in a tree"),
        ('define = "X_HAVE_NEW"', "", "no name for a macro"),
        ('since = "6.12"', "", "no version is said to have it"),
    ],
)
def test_what_does_not_belong_in_a_table_gives_no_answer(
    awk: tuple[str, ...], tree: Path, was: str, then: str, said: str
) -> None:
    assert was in TABLE
    done = ask(awk, tree, "7.2", TABLE.replace(was, then, 1))
    assert done.returncode == 1 and done.stdout == ""
    assert re.search(r"/table-0\.toml:\d+: ", done.stderr) and said in done.stderr, done.stderr


@pytest.mark.parametrize("awk", KINDS, ids=" ".join)
@pytest.mark.parametrize("version", ["", "7", "7.2-rc1", "7.x"])
def test_no_answer_without_a_version_or_a_tree(awk: tuple[str, ...], tree: Path, version: str) -> None:
    done = ask(awk, tree, version, TABLE)
    assert done.returncode == 1 and not done.stdout and "no version of a kernel" in done.stderr
    (tree / "Makefile").unlink()
    done = ask(awk, tree, "7.2", TABLE)
    assert done.returncode == 1 and not done.stdout and "no source tree" in done.stderr


def make(tree: Path, module: Path, *words: str) -> str:
    """What make says of a Kbuild that includes ours, with the variables that kbuild has."""
    (module / "Kbuild").write_text(
        f"include {SHARED}/Kbuild.shared\nall: ; @echo '$(filter -D%,$(ccflags-y))'\n.PHONY: all\n"
    )
    argv = (require_tool("make"), "-s", "-f", "Kbuild", f"src={module}", f"srctree={tree}", f"TP_SHARED={SHARED}")
    done = subprocess.run(
        # A path that is absolute already: $(src)/$(TP_SHARED) is that of a link.
        (*argv, *words),
        cwd=module,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.fixture
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a module, in which the shared one is found as $(src)/$(TP_SHARED)."""
    path = tmp_path_factory.mktemp("module")
    (path / str(SHARED).lstrip("/")).parent.mkdir(parents=True)
    (path / str(SHARED).lstrip("/")).symlink_to(SHARED)
    (path / "features.toml").write_text(TABLE)
    return path


def test_kbuild_has_the_answers_and_says_what_it_guessed(tree: Path, module: Path) -> None:
    for file, text in (("mmzone.h", "NR_GPU_ACTIVE"), ("dma-map-ops.h", "")):
        (tree / "include" / "linux").mkdir(exist_ok=True)
        (tree / "include" / "linux" / file).write_text(text)
    said = make(tree, module, "VERSION=6", "PATCHLEVEL=12")
    assert "-DTP_HAVE_GPU_COUNTERS=1 -DTP_HAVE_MAP_PHYS=0 -DX_HAVE_NEW=0" in said
    assert "by its version 6.12 alone: X_HAVE_SOURCE=1:drivers/x.c" in said
    (tree / "drivers").mkdir()
    (tree / "drivers" / "x.c").write_text("")
    assert "alone" not in make(tree, module, "VERSION=6", "PATCHLEVEL=12")
    assert "it cannot be told what" in make(tree, module, "VERSION=", "PATCHLEVEL=")


def table_of(folder: Path) -> list[dict[str, str]]:
    features: list[dict[str, str]] = tomllib.loads((folder / "features.toml").read_text())["feature"]
    return features


@pytest.mark.parametrize("folder", [SHARED, *MODULES], ids=lambda path: path.parent.name)
def test_the_tables_name_where_each_feature_comes_from(folder: Path) -> None:
    text = (folder / "features.toml").read_text()
    for feature in table_of(folder):
        assert re.fullmatch(r"\d+\.\d+", feature["since"])
        if "commit" in feature:
            assert re.fullmatch(r'[0-9a-f]{12} \(".+"\)', feature["commit"])
        else:  # a comment names the file and the version
            above = text.split(f'define = "{feature["define"]}"')[0].split("\n\n")[-1]
            assert feature["file"] in above and feature["since"] in above


@pytest.mark.parametrize("folder", MODULES, ids=lambda path: path.parent.name)
def test_the_code_asks_for_what_the_tables_have(folder: Path) -> None:
    known = {feature["define"] for feature in table_of(SHARED) + table_of(folder)}
    used: set[str] = set()
    for path in (*SHARED.glob("*.[ch]"), *folder.glob("*.[ch]")):
        used |= set(re.findall(r"\b(?:TP|SH)_HAVE_[A-Z0-9_]+", path.read_text()))
    assert used == known
    assert not any("LINUX_VERSION_CODE" in path.read_text() for path in folder.glob("*.[ch]"))


@pytest.mark.parametrize("folder", MODULES, ids=lambda path: path.parent.name)
def test_the_tables_and_the_program_are_part_of_a_module(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copied(source: Path, name: str) -> Path:
        target = tmp_path / name
        target.mkdir(parents=True)
        for path in source.iterdir():
            (target / path.name).write_bytes(path.read_bytes())
        return target

    shared, own = copied(SHARED, "scripts/module"), copied(folder, "own")
    monkeypatch.setattr("harness.kernel.module.data_directory", lambda _: tmp_path / "scripts")
    ids = {sources_id(own)}
    for path in (shared / "features.awk", shared / "features.toml", own / "features.toml"):
        path.write_text(path.read_text() + "# changed\n")
        ids.add(sources_id(own))
    assert len(ids) == 4


@pytest.mark.parametrize("with_source", [True, False])
@pytest.mark.parametrize("version", ["6.11", "6.12", "7.2.6", "7.3-rc1", "7.4"])
def test_the_harness_answers_as_the_build_does(tree: Path, version: str, with_source: bool) -> None:
    if with_source:
        (tree / "drivers").mkdir()
        (tree / "drivers" / "x.c").write_text("int x_other;\n")
    table = TABLE
    (tree / "features.toml").write_text(table)
    features = read_features(tree)
    found = features_of(Tree("a" * 64, version, "o", tree, "s"), features)
    words = answers(KINDS[0], tree, ".".join(version.split("-")[0].split(".")[:2]), table)
    assert {f"-D{one.define}={int(one.define in found.names)}" for one in features} == {
        word for word in words if word.startswith("-D")
    }
    assert [one.split(":")[1].partition("=")[0] for one in words if one.startswith("by-version:")] == list(
        found.by_version
    )


def test_what_a_version_should_have_is_asked_for_though_the_words_are_not_there(tree: Path) -> None:
    """Words that are no longer the tree's must not excuse the cases that need the feature."""
    (tree / "features.toml").write_text(TABLE)
    features = read_features(tree)
    old, new = (features_of(Tree("a" * 64, version, "o", tree, "s"), features) for version in ("7.2", "7.3"))
    assert (old.missing, new.missing) == ((), ("X_HAVE_NEW",))
    skip = MaySkip("*", "needs x_new", "it came later", lacks="X_HAVE_NEW")
    floor = Requirement("*", 3, has="X_HAVE_NEW")
    assert skip.holds_on(Ground((7, 2, 0), features=old.promised))
    assert not floor.on_machine(Ground((7, 2, 0), features=old.promised))
    assert not skip.holds_on(Ground((7, 3, 0), features=new.promised))
    assert floor.on_machine(Ground((7, 3, 0), features=new.promised))


def test_what_is_no_table_of_features_is_refused(tmp_path: Path) -> None:
    assert read_features(tmp_path) == ()
    for text, said in (
        ('[[feature]]\ndefine = "a b"\nfile = "x"\nwords = "x"\n', "no name of a macro"),
        ('[[feature]]\ndefine = "A"\nfile = "../x"\nwords = "x"\n', "no path in a tree"),
        ('[[feature]]\ndefine = "A"\nfile = "x"\nwords = ""\n', "some words"),
        ('[[feature]]\ndefine = "A"\nfile = "x"\nwords = "x"\nsince = 7.2\n', "no version"),
        ('[[feature]]\ndefine = "A"\nfile = "x"\n', "words: is missing"),
    ):
        (tmp_path / "features.toml").write_text(text)
        with pytest.raises(UserError, match=said):
            read_features(tmp_path)


@pytest.mark.parametrize(("has", "lacks"), [("X", ""), ("", "X"), ("X", "Y"), ("", "")])
@pytest.mark.parametrize("there", [{"X"}, {"Y"}, {"X", "Y"}, set[str]()])
def test_an_entry_holds_where_the_tree_has_what_it_asks_for(has: str, lacks: str, there: set[str]) -> None:
    ground = Ground((7, 2, 0), features=frozenset(there))
    holds = (not has or has in there) and (not lacks or lacks not in there)
    assert ManifestCase("s.a", has=has, lacks=lacks).on_kernel(ground) is holds
    assert not ManifestCase("s.a", has=has, lacks=lacks, since=(7, 3)).on_kernel(ground)


def test_an_entry_that_asks_for_what_no_table_has_is_refused(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "run").touch()
    text = 'title = "t"\nsymbols = []\nprofile = "lean"\ndeadline = 1\n[[floor]]\ncase = "*"\nleast = 1\n'
    (mine / "suite.toml").write_text(text + 'has = "X_HAVE_NEW"\n')
    with pytest.raises(UserError, match="no feature 'X_HAVE_NEW'"):
        read_subject(mine)
    (mine / "features.toml").write_text(TABLE)
    (suite,) = read_subject(mine).suites
    assert [one.define for one in suite.features] == ["X_HAVE_NEW", "X_HAVE_QUOTED", "X_HAVE_SOURCE"]
    assert suite.requirements[0].has == "X_HAVE_NEW"


def test_a_failure_is_not_excused_by_a_lack_that_no_version_ends(tmp_path: Path) -> None:
    """The words of a table get old: then every kernel lacks them."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "run").touch()
    text = 'title = "t"\nsymbols = []\nprofile = "lean"\ndeadline = 1\n[[floor]]\ncase = "*"\nleast = 1\n'
    known = '[[expected_failures]]\ncase = "mine.a"\nmessage = "m"\nreason = "r"\nlacks = "X"\n'
    (mine / "suite.toml").write_text(text + known)
    table = '[[feature]]\ndefine = "X"\nfile = "mm/x.c"\nwords = "int x("\n'
    (mine / "features.toml").write_text(table)
    with pytest.raises(UserError, match="X has no `since`"):
        read_subject(mine)
    (mine / "features.toml").write_text(f'{table}since = "7.1"\n')
    (suite,) = read_subject(mine).suites
    (failure,) = suite.expected_failures
    tree = tmp_path / "tree"
    (tree / "mm").mkdir(parents=True)
    (tree / "mm" / "x.c").write_text("int renamed(void);\n")
    for version, excused in (((6, 12, 0), True), ((7, 4, 0), False)):
        found = features_of(Tree("a" * 64, ".".join(map(str, version)), "o", tree, "s"), suite.features)
        assert failure.on_kernel(Ground(version, features=found.promised)) is excused
