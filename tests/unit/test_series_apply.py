# SPDX-License-Identifier: GPL-2.0-only
"""Series onto trees: what is refused beforehand, what does not apply and why, and that the source never changes."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.inputs.series.apply import ApplyFailed, ApplyPolicy, apply_series, check_series
from harness.inputs.series.conflict import show_conflict
from harness.inputs.series.diff import Hunk
from harness.inputs.series.validate import objections, validate_for_tree, validate_series
from harness.model.codec import from_json, to_json
from harness.model.errors import FindingError, UserError
from harness.model.series import HunkState, PatchReport, Series
from harness.model.tree import Tree
from harness.proc import Deadline, find_tool
from harness.store.layout import Layout
from tests.unit.inputs_support import listing
from tests.unit.series_support import MAKEFILE, Repo, mail, mbox, plain_diff, read, tree_of


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = Repo(tmp_path / "k")
    repo.three()
    return repo


@pytest.fixture
def tree(repo: Repo, scratch_layout: Layout) -> Tree:
    """The tag `base`, unpacked in the store, its files a day old."""
    path = scratch_layout.sources / "tiny-aaaa" / "linux"
    path.mkdir(parents=True)
    repo.git("--work-tree", str(path), "checkout", "-q", "-f", "base", "--", ".")
    repo.git("reset", "-q", "--hard", "v1")
    (path / "link.c").symlink_to("drivers/a.c")
    (path / "way").symlink_to("drivers")
    for file in path.rglob("*"):
        os.utime(file, (time.time() - 86400,) * 2, follow_symlinks=False)
    return tree_of(path)


def state(root: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        facts = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path.relative_to(root))] = (facts.st_ino, facts.st_mode, facts.st_mtime_ns, content)
    return found


def one(diff: str, subject: str = "[PATCH 1/1] gpu: it") -> Series:
    return read(mbox(mail(subject, f"Because.\n---\n\n{diff}", "it@x")))


def deadline() -> Deadline:
    return Deadline(60)


def test_each_patch_gives_the_tree_that_git_gives(repo: Repo, tree: Tree, scratch_layout: Layout) -> None:
    series = read(repo.mbox())
    before = state(tree.path)
    assert apply_series(tree, series, 0, scratch_layout, deadline()) == tree
    ids = {tree.id}
    for count in (1, 2, 3):
        made = apply_series(tree, series, count, scratch_layout, deadline())
        for letter in "abc":
            commit = f"v1~{3 - count}"
            wanted = repo.git("show", f"{commit}:drivers/{letter}.c")
            assert (made.path / f"drivers/{letter}.c").read_bytes() == wanted
        ids.add(made.id)
        assert len(made.id) == 64
        assert made.version == "7.3.4"
        assert made.spec == f"tiny + {series.label} {count}/3"
        assert f"patches 1 to {count} of 3" in made.origin
        assert series.id in made.origin
        assert made == apply_series(tree, series, count, scratch_layout, deadline())
        assert from_json(Tree, to_json(made)) == made
    assert len(ids) == 4
    assert apply_series(tree, series, None, scratch_layout, deadline()) == made
    assert state(tree.path) == before
    assert not [name for name in os.listdir(scratch_layout.sources) if "room" in name or ".part-" in name]


def test_untouched_files_are_shared_and_changed_ones_are_new(repo: Repo, tree: Tree, scratch_layout: Layout) -> None:
    series = read(repo.mbox())
    first = apply_series(tree, series, 1, scratch_layout, deadline())
    second = apply_series(tree, series, 2, scratch_layout, deadline())
    source, changed = tree.path / "drivers/a.c", first.path / "drivers/a.c"
    assert changed.stat().st_ino != source.stat().st_ino
    assert changed.stat().st_mtime > source.stat().st_mtime + 80000
    assert (first.path / "drivers/b.c").stat().st_ino == (tree.path / "drivers/b.c").stat().st_ino
    # What patch 1 changed is the same file with the same time under patches 1 and 2: make has nothing to do.
    assert (second.path / "drivers/a.c").stat().st_ino == changed.stat().st_ino
    assert (second.path / "link.c").readlink() == Path("drivers/a.c")


def test_revisions_that_begin_alike_share_their_first_trees(repo: Repo, tree: Tree, scratch_layout: Layout) -> None:
    series = read(repo.mbox())
    other = replace(series, revision=2, patches=series.patches[:2], total=2, name="other")
    made = apply_series(tree, series, 2, scratch_layout, deadline())
    again = apply_series(tree, other, 2, scratch_layout, deadline())
    assert made.path == again.path
    assert made.origin != again.origin
    blanks = replace(series.patches[0], diff=series.patches[0].diff.replace("+int added_a;", "+int  added_a;"))
    spaced = replace(series, patches=(blanks,), total=1)
    assert spaced.patches[0].patch_id == series.patches[0].patch_id
    assert (
        apply_series(tree, spaced, 1, scratch_layout, deadline()).id
        != apply_series(tree, series, 1, scratch_layout, deadline()).id
    )


def test_added_deleted_renamed_and_emptied(repo: Repo, tree: Tree, scratch_layout: Layout) -> None:
    repo.git("checkout", "-q", "base")
    (repo.path / "deep/er").mkdir(parents=True)
    repo.git("mv", "drivers/a.c", "deep/er/a.c")
    repo.git("rm", "-q", "scripts/run.sh")
    repo.write("drivers/new.c", "int new;")
    repo.write("scripts/tool.sh", "#!/bin/sh\n")
    (repo.path / "scripts/tool.sh").chmod(0o755)
    repo.git("add", "-A")
    made = apply_series(tree, read(repo.patch()), None, scratch_layout, deadline())
    assert not (made.path / "drivers/a.c").exists()
    assert (made.path / "deep/er/a.c").read_bytes() == (tree.path / "drivers/a.c").read_bytes()
    assert (made.path / "drivers/new.c").read_text() == "int new;"
    assert os.access(made.path / "scripts/tool.sh", os.X_OK)
    assert not (made.path / "scripts/run.sh").exists()
    assert (tree.path / "scripts/run.sh").exists()


def test_a_store_inside_a_git_repository(repo: Repo, tree: Tree, tmp_path: Path) -> None:
    """git apply takes names from the top of a repository around it, skips them all and says that all is well."""
    outer = Repo(tmp_path / "outer")
    layout = Layout(outer.path / "store")
    made = apply_series(tree, read(repo.mbox()), None, layout, deadline())
    assert "added_a" in (made.path / "drivers/a.c").read_text()


def test_offsets_are_told_and_taken(tree: Tree, scratch_layout: Layout) -> None:
    series = one(plain_diff().replace("@@ -9,4 +9,5 @@", "@@ -19,4 +19,5 @@"))
    (report,) = check_series(tree, series, None, deadline())
    assert report.applies
    assert [(hunk.state, hunk.offset) for hunk in report.hunks] == [(HunkState.OFFSET, -10)]
    assert (
        "added_a" in (apply_series(tree, series, None, scratch_layout, deadline()).path / "drivers/a.c").read_text()
    )
    assert from_json(PatchReport, to_json(report)) == report


FUZZY = plain_diff().replace(" int line_a12;", " int other_a12;")


def test_fuzz_is_told_and_only_taken_when_allowed(tree: Tree, scratch_layout: Layout) -> None:
    if find_tool("patch") is None:
        pytest.skip("GNU patch is not installed")
    with pytest.raises(ApplyFailed) as raised:
        apply_series(tree, one(FUZZY), None, scratch_layout, deadline())
    assert "hunk 1 of drivers/a.c (line 17 of t.mbox) fits only with fuzz 1" in raised.value.message
    assert "git am refuses it" in str(raised.value.hint)
    assert raised.value.report is not None
    assert raised.value.report.fuzzy
    assert "other_a12" in raised.value.report.conflict
    made = apply_series(tree, one(FUZZY), None, scratch_layout, deadline(), ApplyPolicy(fuzz=1))
    assert "added_a" in (made.path / "drivers/a.c").read_text()
    with pytest.raises(ApplyFailed):  # what fuzz made is not found again by who allows none
        apply_series(tree, one(FUZZY), None, scratch_layout, deadline())
    with pytest.raises(UserError, match="fuzz 9"):
        apply_series(tree, one(FUZZY), None, scratch_layout, deadline(), ApplyPolicy(fuzz=9))


@pytest.mark.parametrize(
    ("lines", "applies"),
    [
        (" int line_a9;\n int line_a10;\n+int new;\n int line_a11;\n int other;\n", True),  # three are still compared
        (" int line_a10;\n+int new;\n int other;\n", False),  # none: it would be put anywhere
        (" int other;\n+int new;\n int another;\n", False),
        (" int other;\n-int line_a10;\n+int new;\n int another;\n", True),  # the line that goes is compared
        (" int other;\n+int new;\n int another;\n\\ No newline at end of file\n", False),
        (" int other;\n+int new;\n int another;\n int line_a11;\n int line_a12;\n", False),
    ],
)
def test_a_hunk_that_fuzz_would_put_anywhere_finds_no_place(tree: Tree, lines: str, applies: bool) -> None:
    if find_tool("patch") is None:
        pytest.skip("GNU patch is not installed")
    old, new = (sum(line[0] in (" ", sign) for line in lines.splitlines()) for sign in "-+")
    head = plain_diff().partition("@@")[0]
    (report,) = check_series(
        tree, one(f"{head}@@ -10,{old} +10,{new} @@\n{lines}"), None, deadline(), ApplyPolicy(fuzz=2)
    )
    assert report.applies is applies
    assert (report.hunks[0].state is HunkState.FUZZ) is applies, report


def test_a_conflict_is_shown_beside_the_trees_text(repo: Repo, tree: Tree, scratch_layout: Layout) -> None:
    wrong = plain_diff().replace("-int line_a10;", "-int wrong_a10;")
    good = plain_diff("drivers/b.c", "b")
    before = state(tree.path)
    with pytest.raises(ApplyFailed) as raised:
        apply_series(tree, one(good + wrong), None, scratch_layout, deadline())
    error = raised.value
    assert isinstance(error, FindingError)
    assert error.message.startswith(
        "patch 1/1 'gpu: it' <it@x> does not apply to 7.3.4 (tiny): hunk 1 of drivers/a.c"
    )
    assert "1 of 2 hunks fit" in error.message
    (note,) = error.__notes__
    assert "!" in note
    assert "int wrong_a10;" in note
    assert "int line_a10;" in note
    assert state(tree.path) == before
    assert listing(scratch_layout.sources) == ["tiny-aaaa"]


def test_the_first_patch_that_fails_is_named(repo: Repo, tree: Tree, scratch_layout: Layout) -> None:
    series = read(repo.mbox())
    bad = replace(series.patches[1], diff=series.patches[1].diff.replace("-int line_b10;", "-int wrong;"))
    series = replace(series, patches=(series.patches[0], bad, series.patches[2]))
    reports = check_series(tree, series, None, deadline())
    assert [report.applies for report in reports] == [True, False]
    with pytest.raises(ApplyFailed, match="patch 2/3 'gpu: change b'"):
        apply_series(tree, series, None, scratch_layout, deadline())
    assert apply_series(tree, series, 1, scratch_layout, deadline()).path.is_dir()


def test_what_is_there_already_and_what_is_not_there(repo: Repo, tree: Tree, scratch_layout: Layout) -> None:
    series = read(repo.mbox())
    done = apply_series(tree, series, None, scratch_layout, deadline())
    with pytest.raises(ApplyFailed, match=r"patch 1/3 .* the tree carries it already"):
        apply_series(done, series, None, scratch_layout, deadline())
    absent = one(plain_diff() + plain_diff("drivers/z.c"))
    with pytest.raises(ApplyFailed, match=r"the tree has no drivers/z\.c; 1 of 2 hunks fit"):
        apply_series(tree, absent, None, scratch_layout, deadline())
    present = one("--- /dev/null\n+++ b/drivers/a.c\n@@ -0,0 +1 @@\n+int a;\n")
    with pytest.raises(ApplyFailed, match=r"has drivers/a\.c already, which it adds"):
        apply_series(tree, present, None, scratch_layout, deadline())


def test_without_gnu_patch_git_names_the_hunk(
    monkeypatch: pytest.MonkeyPatch, tree: Tree, scratch_layout: Layout
) -> None:
    def without_patch(name: str) -> Path | None:
        return None if name == "patch" else find_tool(name)

    monkeypatch.setattr("harness.inputs.series.attempt.find_tool", without_patch)
    with pytest.raises(ApplyFailed, match=r"hunk 1 of drivers/a\.c \(line 17 of t\.mbox\) finds no place"):
        apply_series(tree, one(FUZZY), None, scratch_layout, deadline())


def test_a_patch_against_another_project(tree: Tree, scratch_layout: Layout) -> None:
    with pytest.raises(UserError, match=r"another project\? .* has none \(src/main\.rs\)"):
        apply_series(tree, one(plain_diff("src/main.rs")), None, scratch_layout, deadline())


def test_a_file_that_is_younger_than_the_tree_is_not_another_projects(tree: Tree, scratch_layout: Layout) -> None:
    with pytest.raises(ApplyFailed, match=r"the tree has no drivers/young\.c") as caught:
        apply_series(tree, one(plain_diff("drivers/young.c")), None, scratch_layout, deadline())
    assert "older than the series" in (caught.value.hint or "")


MOVED = [
    # what stands around the patch's place in the tree, whether the result of the patch is there
    ("int other_1;\nint line_a9;\nlong line_a10;\nint added_a;\nint other_2;\n", True),
    ("int other_1;\nint line_a9;\nint other_10;\nint added_a;\nint other_2;\n", False),
    ("int other_1;\nint line_a9;\nlong line_a10;\nint other_2;\n", False),
    ("long line_a10;\nint added_a;\n", False),  # with nothing that tells the place
]


@pytest.mark.parametrize(("text", "there"), MOVED)
def test_a_merged_patch_whose_context_moved_on(tree: Tree, scratch_layout: Layout, text: str, there: bool) -> None:
    (tree.path / "drivers/a.c").write_text(text)
    with pytest.raises(ApplyFailed, match=r"hunk 1 of drivers/a\.c .* finds no place") as caught:
        apply_series(tree, one(plain_diff()), None, scratch_layout, deadline())
    assert ("merged already?" in caught.value.message) == there
    assert ("the results of 1 of its 1 hunks are in the tree" in caught.value.message) == there
    assert caught.value.report is not None
    assert [hunk.there for hunk in caught.value.report.hunks] == [there]


def test_files_and_directories_in_each_others_place(tree: Tree, scratch_layout: Layout) -> None:
    for name in ("Makefile/x.c", "drivers"):
        with pytest.raises(FindingError, match="does not fit the tree"):
            apply_series(tree, one(added(name)), None, scratch_layout, deadline())
    with pytest.raises(ApplyFailed, match="Not a directory"):
        apply_series(tree, one(added("n") + added("n/x")), None, scratch_layout, deadline())


def test_half_of_the_makefile_gone(tree: Tree, scratch_layout: Layout) -> None:
    lines = "".join(f"-{line}\n" for line in MAKEFILE.splitlines()[:2])
    diff = f"--- a/Makefile\n+++ b/Makefile\n@@ -1,4 +1,2 @@\n{lines} SUBLEVEL = 4\n EXTRAVERSION =\n"
    with pytest.raises(ApplyFailed, match="the tree is no kernel any more: its top Makefile has lost VERSION"):
        apply_series(tree, one(diff), None, scratch_layout, deadline())
    assert listing(scratch_layout.sources) == ["tiny-aaaa"]


def test_the_trees_own_links_are_no_way(tree: Tree, scratch_layout: Layout) -> None:
    for name, why in (("way/a.c", "lies behind the symbolic link way"), ("link.c", "is a symbolic link of the tree")):
        with pytest.raises(UserError, match=why):
            validate_for_tree(tree, one(plain_diff(name)).patches)
        with pytest.raises(UserError, match=why):
            apply_series(tree, one(plain_diff(name)), None, scratch_layout, deadline())


def added(name: str, mode: str = "100644", text: str = "x") -> str:
    names = f"diff --git a/{name} b/{name}\nnew file mode {mode}\n"
    return f"{names}--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+{text}\n"


REFUSED = [
    (added("../../../etc/x"), "leads out of the tree"),
    (added("x/../../y"), "leads out of the tree"),
    ("--- /dev/null\n+++ /etc/passwd\n@@ -0,0 +1 @@\n+x\n", "/etc/passwd is an absolute path"),
    ("--- /dev/null\n+++ b//etc/passwd\n@@ -0,0 +1 @@\n+x\n", "is an absolute path"),
    (plain_diff("../a.c"), "leads out of the tree"),
    ("diff --git a/x b/y\nrename from drivers/a.c\nrename to ../y\n", "leads out of the tree"),
    (added(".git/config"), "git's own directory"),
    (added("x/.GIT/hooks/y"), "git's own directory"),
    (added("x//y"), "is no plain path"),
    (added("./x"), "is no plain path"),
    (added("a\\b"), "no file name of the kernel"),
    ('--- /dev/null\n+++ "b/a\\nb"\n@@ -0,0 +1 @@\n+x\n', "no file name of the kernel"),
    (added("x" * 300), "longer than a file name can be"),
    (added("link", "120000", "/etc"), "link is made a symbolic link"),
    (
        added("link", "120000", "/etc") + added("link/x"),
        "written through link, which the series makes a",
    ),
    (added("sub", "160000"), "is a git submodule"),
    (added("x", "100666"), "gets the mode 100666"),
    (added("drivers/run.sh", "100755"), "is made executable, outside scripts/ and tools/"),
    ("diff --git a/Makefile b/Makefile\nold mode 100644\nnew mode 100755\n", "Makefile is made executable"),
    (
        "diff --git a/x b/x\nnew file mode 100644\nindex 0..1\nGIT binary patch\nliteral 1\nIcmZPo000310RR91\n\n",
        "as binary",
    ),
    ("diff --git a/x b/x\nindex 1..2 100644\nBinary files a/x and b/x differ\n", "as binary"),
    (added("x", text="y" * 70_000), "a line longer than 64K"),
]


@pytest.mark.parametrize(("diff", "why"), REFUSED)
def test_what_is_refused_before_anything_is_applied(diff: str, why: str, tree: Tree, scratch_layout: Layout) -> None:
    series = one(plain_diff() + diff)
    with pytest.raises(UserError) as raised:
        apply_series(tree, series, None, scratch_layout, deadline())
    assert why in raised.value.message
    assert "patch 1/1 'gpu: it' <it@x>, line " in raised.value.message
    assert any(why in str(one) for one in objections(series))
    assert listing(scratch_layout.sources) == ["tiny-aaaa"]


def test_the_line_of_an_objection_is_that_of_the_file() -> None:
    data = mbox(mail("[PATCH 1/1] gpu: it", f"Because.\n---\n\n{plain_diff()}{added('../x')}", "it@x"))
    (objection,) = objections(read(data))
    assert data.decode().split("\n")[objection.line - 1] == "diff --git a/../x b/../x"


def test_programs_may_be_allowed_and_belong_in_some_places() -> None:
    for name in ("scripts/x.sh", "tools/y/x.sh"):
        validate_series(one(added(name, "100755")))
    validate_series(one(added("drivers/x.sh", "100755")), allow_programs=True)
    changed = "diff --git a/run b/run\nindex 1..2 100755\n--- a/run\n+++ b/run\n@@ -1 +1 @@\n-a\n+b\n"
    validate_series(one(changed))


def test_sizes() -> None:
    many = "".join(added(f"f{number}") for number in range(5001))
    with pytest.raises(UserError, match="changes 5001 files"):
        validate_series(one(many))
    series = one(plain_diff())
    with pytest.raises(UserError, match="has 400 patches; 256 is the most"):
        validate_series(replace(series, patches=series.patches * 400))
    big = replace(series.patches[0], diff=series.patches[0].diff + "+x\n" * (6 << 20))
    with pytest.raises(UserError, match="larger than 16M"):
        validate_series(replace(series, patches=(big,)))


def test_a_part_of_a_series_that_is_not_there(repo: Repo, tree: Tree, scratch_layout: Layout) -> None:
    with pytest.raises(UserError, match="has no patch 4"):
        apply_series(tree, read(repo.mbox()), 4, scratch_layout, deadline())


def test_the_conflict_view_finds_the_place_and_bears_anything() -> None:
    hunk = Hunk(1, 50, 3, 50, 3, "", (" alpha", "-beta", "+BETA", " gamma"))
    text = ["x"] * 100 + ["alpha", "bet\x1ba", "gamma"] + ["x"] * 10
    shown = show_conflict("f.c", hunk, text)
    assert "2 of 3 lines are found around line 101" in shown
    assert "\x1b" not in shown
    assert "nothing alike" in show_conflict("f.c", hunk, ["x"])
    assert show_conflict("f.c", Hunk(1, 1, 900, 1, 900, "", tuple([" a"] * 900)), ["a"] * 5000)
