# SPDX-License-Identifier: GPL-2.0-only
"""The tree's own selftests as a suite: what is copied for their build, what make said of those that failed, and the
descriptor of a suite of them. The runner itself is tried in a guest (functional/test_selftests.py).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.kernel import selftests
from harness.kernel.selftests import build_selftests, not_built
from harness.model.errors import SuiteUnfit, UserError
from harness.proc import Deadline
from harness.store.layout import Layout
from harness.suites.descriptor import read_subject
from tests.unit.stand_in.cells import kernel_in

# As make and gcc 12 said it of 7.3.4, on a host without the headers of fuse and numa.
LOG = """\
  CC       memfd_test
fuse_mnt.c:17:10: fatal error: fuse.h: No such file or directory
   17 | #include <fuse.h>
      |          ^~~~~~~~
compilation terminated.
make[1]: [../lib.mk:225: /s/objects/selftests-1/place/objects/kselftest/memfd/fuse_mnt] Error 1 (ignored)
  CC       cow
/usr/bin/ld: cannot find -lcap: No such file or directory
collect2: error: ld returned 1 exit status
make[1]: [../lib.mk:225: /s/objects/selftests-1/place/objects/kselftest/mm/mlock-random-test] Error 1 (ignored)
make[1]: [../lib.mk:224: /s/objects/selftests-1/place/objects/kselftest/drivers/net/psp_responder] Error 1 (ignored)
rsync error: some files/attrs were not transferred (see previous errors) (code 23) at main.c(1394) [sender=3.5.0]
make[1]: [../lib.mk:175: install] Error 23 (ignored)
""".splitlines()


def test_what_could_not_be_built_is_said_with_the_reason() -> None:
    assert not_built(LOG, ("memfd", "mm", "drivers/net"), ("memfd", "mm", "drivers")) == {
        ("memfd", "fuse_mnt"): "fatal error: fuse.h: No such file or directory",
        ("mm", "mlock-random-test"): "cannot find -lcap: No such file or directory",
        ("drivers/net", "psp_responder"): "make failed",
    }


def test_a_target_of_which_nothing_came_is_said_as_a_whole() -> None:
    found = not_built(LOG, ("mm", "nosuch"), ("kselftest",))
    assert found["mm", "*"] == "cannot find -lcap: No such file or directory"
    assert found["nosuch", "*"] == "the tree has no such target, or nothing of it could be built"


@given(st.lists(st.text(max_size=80), max_size=30), st.integers(0, len(LOG)))
def test_whatever_make_says_a_target_that_is_there_is_never_missing(noise: list[str], cut: int) -> None:
    found = not_built([*noise, *LOG[:cut], *noise], ("memfd",), ("memfd",))
    assert ("memfd", "*") not in found
    assert all("\n" not in why and len(why) <= 160 and why.isprintable() for why in found.values())


def mini_tree(place: Path) -> Path:
    tree = place / "linux"
    tests = tree / "tools" / "testing" / "selftests"
    for folder in ("size", "mm", "mm/page_frag", "x86"):
        (tests / folder).mkdir(parents=True)
        (tests / folder / "Makefile").write_text("all:\n")
    (tests / "lib.mk").write_text("# shared\n")
    (tree / "tools" / "include").mkdir()
    return tree


def test_only_the_targets_are_copied_and_all_else_is_the_trees(tmp_path: Path) -> None:
    tree = mini_tree(tmp_path)
    place = tmp_path / "place"
    place.mkdir()
    (place / "tools").symlink_to(tree / "tools")
    own = selftests._copy(tree, place, ("mm",))
    tests = own / "testing" / "selftests"
    (tests / "mm" / "local_config.mk").write_text("what its Makefile notes\n")
    assert not (tests / "mm").is_symlink()
    assert (tests / "mm" / "page_frag" / "Makefile").read_text() == "all:\n"
    assert not (tests / "lib.mk").is_symlink()
    assert (tests / "size").resolve() == tree / "tools" / "testing" / "selftests" / "size"
    assert (own / "include").resolve() == tree / "tools" / "include"
    assert not (tree / "tools" / "testing" / "selftests" / "mm" / "local_config.mk").exists()


def test_a_tree_without_the_targets_does_not_fit(tmp_path: Path) -> None:
    build = kernel_in(tmp_path).build
    build = replace(build, tree=replace(build.tree, path=mini_tree(tmp_path)))
    with pytest.raises(SuiteUnfit, match=r"has none of the selftests futex, damon"):
        build_selftests(build, ("futex", "damon"), Layout(tmp_path / "store"), Deadline(10.0))


def test_without_rsync_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftests, "find_tool", lambda name: None)
    with pytest.raises(UserError, match="rsync"):
        build_selftests(kernel_in(tmp_path).build, ("size",), Layout(tmp_path / "store"), Deadline(10.0))


SUITE = """\
title = "mine"
symbols = []
profile = "lean"
deadline = 60
{more}
[[floor]]
case = "*"
least = 1
"""


def suite_file(place: Path, more: str) -> Path:
    folder = place / "mine"
    folder.mkdir()
    (folder / "suite.toml").write_text(SUITE.format(more=more))
    return folder


def test_a_suite_of_targets_is_one_file(tmp_path: Path) -> None:
    folder = suite_file(tmp_path, 'runner = "selftests"\nselftests = ["futex", "drivers/net"]')
    (suite,) = read_subject(folder).suites
    assert (suite.selftests, suite.script) == (("futex", "drivers/net"), "suite-selftests")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('runner = "selftests"', "belong together"),
        ('runner = "exec"\nselftests = ["size"]', "belong together"),
        ('runner = "selftests"\nselftests = ["../../evil"]', "no target"),
        ('runner = "selftests"\nselftests = ["a b"]', "no target"),
        ('runner = "selftests"\nselftests = ["$(shell id)"]', "no target"),
        ('runner = "selftests"\nselftests = ["mm"]\nmodule = "module"', "two suites"),
    ],
)
def test_a_descriptor_that_cannot_be_meant(tmp_path: Path, more: str, said: str) -> None:
    folder = suite_file(tmp_path, more)
    (folder / "module").mkdir()
    with pytest.raises(UserError, match=said):
        read_subject(folder)
