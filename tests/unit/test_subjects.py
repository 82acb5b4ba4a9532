# SPDX-License-Identifier: GPL-2.0-only
"""Subjects are folders: those that are shipped, one of a user's, one of a package; and nobody else knows of them."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from harness.flow.matrix import share_boots
from harness.flow.prepare import parts_of_root
from harness.guest.root import RootFile, root_id
from harness.model.errors import UserError
from harness.model.root import BUSYBOX
from harness.model.suite import KnobForm
from harness.suites import registry as rooms
from harness.suites.descriptor import read_subject
from harness.suites.registry import SHIPPED, Registry, quick_suites, subject_of, suite_named

PACKAGE = SHIPPED.parent
# The project is called after the first of them: its own command, package, store and variables.
# Options and ini keys of the pytest plugin among them.
OWN_NAMES = re.compile(
    r"ttm[-_]harness|TTM_HARNESS\w*|--ttm-[\w{]+"
    r"|ttm_(?:\{name|source|series|profile|ram|swap|accel|store|suite|fragments?|chosen|guests)\b",
    re.IGNORECASE,
)
# What the harness and its guest scripts call each other's things by.
GUEST_NAMES = re.compile(
    r"TTM_(?:SEED|KNOBS|CASES|SAMPLE_MS|STATS|STOP_AT_FIRST|SWAP|ZSWAP|MEMORY_MAX|MEMORY_HIGH|SYSCTLS"
    r"|FREE)\b|ttm\.(?:results|modules|extra|control)\b|ttm-(?:bad|swap|sampler|of-)"
)
SUBJECTS = re.compile(r"(?<![a-z])(?:ttm|xe|drm)(?![a-z])", re.IGNORECASE)
SUITE = """\
title = "mine"
symbols = ["SWAP"]
profile = "tiny"
deadline = 60

[[floor]]
case = "*"
least = 1

[knobs.size]
form = "size"
meaning = "of an object"
least = "4K"
most = "1M"
"""


def suite_in(folder: Path, text: str = SUITE, runner: str = "#!/bin/sh\n") -> Path:
    folder.mkdir(parents=True)
    (folder / "suite.toml").write_text(text)
    if runner:
        (folder / "run").write_text(runner)
    return folder


def words_of(path: Path) -> Iterator[tuple[int, str]]:
    """The words and the strings of a module, with their lines; comments and docstrings are for people."""
    tokens = list(tokenize.generate_tokens(io.StringIO(path.read_text()).readline))
    for before, token in pairwise(tokens):
        is_doc = before.type in (tokenize.INDENT, tokenize.NEWLINE, tokenize.NL, tokenize.ENCODING, tokenize.COMMENT)
        if token.type == tokenize.NAME or (token.type == tokenize.STRING and not is_doc):
            yield token.start[0], token.string


# Lists of places in the kernel's tree, which are whole: what a script reads, or what runs on the host, is a fact of
# each single file, and a wider pattern would take more for granted (drivers/scsi reads a header of include/scsi so).
TREE_LISTS = {
    "incremental.py": re.compile(r"include/\(\?:drm\|kunit\|linux\|net\|trace\|uapi/drm\|uapi/linux\)"),
    "buildtime.py": re.compile(r"drivers/gpu/drm/\(\?:xe/xe_gen_\\w\+\|radeon/mkregtable\|msm/registers/\.\*\)"),
}


def naming(path: Path) -> list[str]:
    known = TREE_LISTS.get(path.name, re.compile(r"(?!)"))
    return [
        f"{path.name}:{line}: {word}"
        for line, word in words_of(path)
        if SUBJECTS.search(GUEST_NAMES.sub("", OWN_NAMES.sub("", known.sub("", word))))
    ]


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(PACKAGE.rglob("*.py")) if "subjects" not in path.parts],
    ids=lambda path: path.stem,
)
def test_the_code_names_no_subject(path: Path) -> None:
    assert naming(path) == []


def test_a_module_that_names_one_is_found(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text('"""Of ttm."""\n# xe\nDRIVER = "drivers/gpu/drm/xe"\nNAME = "ttm-harness"\n')
    assert naming(path) == ['bad.py:3: "drivers/gpu/drm/xe"']


# Names of figures that mean something else, too, where they stand in the general code.
EVERYBODYS = {"failed", "failures"}


def test_the_code_names_no_figure_of_a_suite() -> None:
    suites = [suite for subject in SHIPPED.glob("*/subject.toml") for suite in read_subject(subject.parent).suites]
    names = {name for suite in suites for one in suite.figures for name in (one.name, one.bare)} - EVERYBODYS
    assert names >= {"stat.backed_up", "backed_up", "purged_pages", "scan_us_max", "restore_bytes_per_second"}
    found = [
        f"{path.name}:{line}: {word}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line, word in words_of(path)
        if word.strip("\"'") in names
    ]
    assert found == []


def test_what_is_shipped() -> None:
    assert {path.name for path in SHIPPED.iterdir() if path.is_dir()} >= {"kunit", "ttm", "xe"}
    assert quick_suites() == ("ttm-kunit", "xe-kunit", "pressure", "xe-fake")
    assert subject_of(suite_named("xe-fake")).name == "xe"


def test_a_folder_of_the_users_own_is_a_suite(tmp_path: Path) -> None:
    folder = suite_in(tmp_path / "my-suite")
    known = Registry(iter(()))
    suite = known.named(str(folder))
    assert (suite.name, suite.script, suite.runner) == ("my-suite", "suite-my-suite", folder / "run")
    assert suite.requirements[0].case == "*"
    assert suite.knobs[0].form is KnobForm.SIZE
    assert (suite.knobs[0].least, suite.knobs[0].most) == (4096, 1 << 20)
    assert known.word_for(f"{folder}/") == str(folder)  # found again from anywhere
    assert known.named("my-suite") is known.suites["my-suite"]


def test_it_may_not_be_called_as_another_one(tmp_path: Path) -> None:
    known = Registry(iter((read_subject(SHIPPED / "ttm"),)))
    with pytest.raises(UserError, match="there are two suites of the name pressure"):
        known.named(str(suite_in(tmp_path / "pressure")))


def test_a_subject_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "subject.toml").write_text('title = "mine"\n[controls]\nsuite = "one"\ndriver = "fs"\n')
    suite_in(tmp_path / "mine" / "one")
    suite_in(tmp_path / "mine" / "two", 'title = "two"\nextends = "one"\ndeadline = 5\n', runner="")
    known = Registry(iter(()))
    two = known.named(str(tmp_path / "mine" / "two"))
    assert (two.deadline, two.symbols, two.subject) == (5.0, ("SWAP",), "mine")
    assert two.runner == tmp_path / "mine" / "one" / "run"
    assert two.script == "suite-one"
    with pytest.raises(UserError, match="is a subject with 2 suites"):
        known.named(str(tmp_path / "mine"))


def test_a_suite_that_extends_another_may_have_an_overlay_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "subject.toml").write_text('title = "mine"\n')
    first = f'overlay = "over"\ndevices = ["usb-tablet,usb_version=1"]\n{SUITE}'
    one = suite_in(tmp_path / "mine" / "one", first)
    two = suite_in(tmp_path / "mine" / "two", 'extends = "one"\ndevices = []\n', runner="")
    three = suite_in(tmp_path / "mine" / "three", 'extends = "one"\n', runner="")
    for folder in (one, two):
        (folder / "over").mkdir()
    found = {suite.name: suite for suite in read_subject(tmp_path / "mine").suites}
    assert found["two"].needs_overlay == two / "over"
    assert found["three"].needs_overlay == one / "over"
    assert (found["two"].devices, found[three.name].devices) == ((), ("usb-tablet,usb_version=1",))


@pytest.mark.parametrize(("name", "file"), [("read.py", "read.py"), ("reads", "reads/__init__.py")])
def test_what_reads_images_is_a_file_or_a_package(tmp_path: Path, name: str, file: str) -> None:
    folder = tmp_path / "mine"
    (folder / file).parent.mkdir(parents=True)
    (folder / file).touch()
    (folder / "types").mkdir()
    (folder / "subject.toml").write_text(f'title = "mine"\nmemory = "{name}"\ntypes = "types"\n')
    found = read_subject(folder)
    assert (found.memory, found.types) == (folder / file, folder / "types")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('memory = "gone.py"', "memory: there is no Python file gone.py beside it"),
        ('memory = "empty"', "memory: there is no Python file empty beside it"),
        ('memory = "subject.toml"', "memory: there is no Python file subject.toml beside it"),
        ('memory = "../other.py"', r"memory: there is no Python file \.\./other\.py beside it"),
        ('memory = "read.py"\ntypes = "gone"', "there is no folder gone beside it"),
        ('types = "empty"', "types: nothing reads with them"),
    ],
)
def test_what_could_not_read_is_refused(tmp_path: Path, keys: str, said: str) -> None:
    (tmp_path / "mine" / "empty").mkdir(parents=True)
    for path in (tmp_path / "other.py", tmp_path / "mine" / "read.py"):
        path.touch()
    (tmp_path / "mine" / "subject.toml").write_text(f'title = "mine"\n{keys}\n')
    with pytest.raises(UserError, match=said):
        read_subject(tmp_path / "mine")


@pytest.mark.parametrize(
    ("text", "runner", "said"),
    [
        (SUITE, "", "nothing says what runs in the guest"),
        (SUITE.replace("deadline = 60", "deadline = 'x'"), "x", r"suite\.toml:4: deadline: 'x' is not a number"),
        (SUITE + "moduel = 'x'\n", "x", r"suite\.toml:15: knobs\.size\.moduel: there is no such key"),
        ("module = 'gone'\n" + SUITE, "x", "there is no folder gone beside it"),
        ("module = '..'\n" + SUITE, "x", r"there is no folder \.\. beside it"),
        ('devices = ["disk,file=/etc"]\n' + SUITE, "x", "'disk,file=/etc' is no device of QEMU's"),
        ('devices = ["-monitor"]\n' + SUITE, "x", "'-monitor' is no device of QEMU's"),
        ("extends = 'gone'\n" + SUITE, "x", "it extends 'gone', which is no other suite beside it"),
        ("extends = 'bad'\n" + SUITE, "x", "it extends 'bad', which is no other suite beside it"),
        (SUITE.replace('"4K"', '"4 acres"'), "x", r"knobs\.size: "),
    ],
)
def test_a_suite_that_is_none_is_refused(tmp_path: Path, text: str, runner: str, said: str) -> None:
    folder = suite_in(tmp_path / "bad", text, runner)
    with pytest.raises(UserError, match=said):
        Registry(iter(())).named(str(folder))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SUITE.replace('[[floor]]\ncase = "*"\nleast = 1\n', ""), "nothing says what must have run"),
        ('runner = "../run"\n' + SUITE, r"there is no runner '\.\./run'"),
        ("module = '/etc'\n" + SUITE, "there is no folder /etc beside it"),
        (SUITE.replace('most = "1M"', 'most = "2K"'), r"knobs\.size: no value is from 4096 to 2048"),
        (SUITE.replace('form = "size"', 'form = "choice"'), r"knobs\.size: no value can be chosen"),
    ],
)
def test_what_could_only_be_green_or_never_run_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Registry(iter(())).named(str(suite_in(tmp_path / "bad", text)))


def test_no_suite_takes_the_place_of_a_runner_or_a_program(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a runner of the harness is called kunit"):
        Registry(iter(())).named(str(suite_in(tmp_path / "kunit")))
    (tmp_path / "heart.c").write_text("int main(void) { return 0; }\n")
    with pytest.raises(UserError, match=r"would both be heart\.c in the guest"):
        root_id([RootFile("heart.c", tmp_path / "heart.c")])


def test_what_another_one_may_skip_is_all_that_its_extension_may() -> None:
    """Else a case that never ran would be no gap in it."""
    for name in ("pressure", "drm-shmem"):
        manifest, checks = suite_named(name).manifest, suite_named(f"{name}-checks")
        assert manifest is not None
        assert checks.manifest is None
        assert checks.may_skip == manifest.skips != ()


@pytest.mark.parametrize("file", ["suite.toml", "manifest.toml"])
def test_bytes_that_are_no_text_are_named(tmp_path: Path, file: str) -> None:
    folder = suite_in(tmp_path / "bad")
    (folder / file).write_bytes(b"\xff")
    with pytest.raises(UserError, match=rf"{file} is not UTF-8 text"):
        Registry(iter(())).named(str(folder))


def test_what_is_no_folder_of_a_suite_is_said_to_be_none(tmp_path: Path) -> None:
    known = Registry(iter(()))
    with pytest.raises(UserError, match=r"has no suite\.toml and no subject\.toml"):
        known.named(str(tmp_path))
    with pytest.raises(UserError, match="there is no suite 'nonsense'"):
        known.named("nonsense")
    with pytest.raises(UserError, match="is no name for a suite"):
        known.named(str(suite_in(tmp_path / "My Suite")))


def test_a_package_brings_a_subject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite_in(tmp_path / "their_package" / "theirs")
    (tmp_path / "their_package" / "__init__.py").write_text("raise RuntimeError('nobody imports it')\n")
    (tmp_path / "their_package" / "subject.toml").write_text('title = "theirs"\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    assert rooms._folder_of("theirs", "their_package") == tmp_path / "their_package"
    with pytest.raises(UserError, match="the subject gone cannot be found"):
        rooms._folder_of("gone", "not_there_at_all")


def test_runners_and_programs_are_part_of_the_guests_root(tmp_path: Path) -> None:
    parts = parts_of_root()
    assert {"suite-pressure", "suite-xe-fake", "xe_objects.c"} <= {part.name for part in parts}
    assert root_id(parts) != root_id(parts[1:])


def test_a_suite_may_have_a_root_of_its_own(tmp_path: Path) -> None:
    folder = suite_in(tmp_path / "mine", 'root = "debian:trixie+bash"\nshares_boot = true\n' + SUITE)
    suite = read_subject(folder).suites[0]
    assert str(suite.root) == "debian:trixie+bash"
    other = replace(suite, name="other", root=BUSYBOX)
    third = replace(suite, name="third")
    # Those that share a boot have the same root.
    assert share_boots((suite, other, third)) == ((suite, third), (other,))


@pytest.mark.parametrize("root", ["dir:/srv/root", "tar:x.tar", "debian", "ubuntu:noble"])
def test_a_root_that_other_hosts_have_not_is_refused(tmp_path: Path, root: str) -> None:
    with pytest.raises(UserError, match=r"suite\.toml: root: "):
        read_subject(suite_in(tmp_path / "mine", f'root = "{root}"\n' + SUITE))
