# SPDX-License-Identifier: GPL-2.0-only
"""The strict diff reader and the patch-ids, against the real git and against damage."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.inputs.series.diff import Diff, DiffError, read_diff
from harness.inputs.series.identity import patch_id
from harness.inputs.series.names import quote, unquote
from harness.model.series import ChangeKind
from tests.unit.series_support import Repo, git, plain_diff


def must(text: str) -> Diff:
    diff = read_diff(text)
    assert diff is not None
    return diff


def rename(repo: Repo) -> None:
    repo.git("mv", "drivers/a.c", "drivers/moved.c")
    repo.change("drivers/moved.c", "line_a5;", "line_five;")


def only_rename(repo: Repo) -> None:
    repo.git("mv", "drivers/a.c", "drivers/a2.c")
    repo.change("drivers/b.c", "line_b5;", "line_five;")


def only_mode(repo: Repo) -> None:
    (repo.path / "scripts/run.sh").chmod(0o755)
    repo.change("drivers/a.c", "line_a5;", "line_five;")
    repo.change("drivers/b.c", "line_b5;", "line_five;")


def add_and_delete(repo: Repo) -> None:
    repo.write("drivers/new.c", "int new;\n")
    repo.write("drivers/empty.c", "")
    (repo.path / "drivers/b.c").unlink()


def no_newline(repo: Repo) -> None:
    repo.write("drivers/a.c", (repo.path / "drivers/a.c").read_text().rstrip("\n"))
    repo.write("drivers/n.c", "int n;")


def odd_names(repo: Repo) -> None:
    repo.write("drivers/with blank.c", "int one;\n")
    repo.write("drivers/ümläut.c", "int two;\n")
    repo.write('drivers/quo"te.c', "")
    repo.write("drivers/two words", "")


def several_hunks(repo: Repo) -> None:
    for number in (3, 20, 40, 58):
        repo.change("drivers/a.c", f"line_a{number};", f"other_{number};")
    repo.change("drivers/c.c", "int line_c1;", "\tint  line_c1 ;")


def looks_like_a_diff(repo: Repo) -> None:
    repo.write("drivers/a.c", "-- a/x\n++ b/x\n@@ -1 +1 @@\n" + (repo.path / "drivers/a.c").read_text())
    repo.commit("dashes")
    repo.change("drivers/a.c", "-- a/x\n++ b/x\n@@ -1 +1 @@\n", "")


CHANGES = [rename, only_rename, only_mode, add_and_delete, no_newline, odd_names, several_hunks, looks_like_a_diff]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_git_agrees_on_ids_counts_and_result(change: Callable[[Repo], None], tmp_path: Path) -> None:
    repo = Repo(tmp_path / "k")
    change(repo)
    raw = repo.patch()
    diff = must(raw.decode())
    assert patch_id(diff) == repo.git("patch-id", "--stable", stdin=raw).decode().split()[0]
    # What is written anew is the same patch, to git as to us.
    again = diff.text.encode()
    assert repo.git("patch-id", "--stable", stdin=again).decode().split()[0] == patch_id(diff)
    assert must(diff.text).text == diff.text
    counts = sorted(f"{file.change.adds}\t{file.change.dels}" for file in diff.files)
    numstat = repo.git("apply", "--numstat", stdin=raw).decode().splitlines()
    assert counts == sorted("\t".join(line.split("\t")[:2]) for line in numstat)
    wanted = repo.git("rev-parse", "HEAD^{tree}")
    repo.git("checkout", "-q", "HEAD^")
    repo.git("apply", "--index", stdin=again)
    assert repo.git("write-tree") == wanted


def test_a_binary_patch_is_seen_and_has_gits_id(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "k")
    (repo.path / "blob").write_bytes(bytes(range(256)))
    repo.commit("binary")
    raw = repo.git("format-patch", "-1", "--stdout", "--binary", "--full-index")
    diff = must(raw.decode())
    assert [file.change.binary for file in diff.files] == [True]
    assert patch_id(diff) == repo.git("patch-id", "--stable", stdin=raw).decode().split()[0]


def test_a_plain_diff_has_the_id_of_gits() -> None:
    ours = must(plain_diff())
    plain = "\n".join(plain_diff().split("\n")[2:])
    assert patch_id(must(plain.replace("--- a/", "--- old/").replace("+++ b/", "+++ new/"))) == patch_id(ours)
    added = must("--- /dev/null\n+++ b/x/y.c\n@@ -0,0 +1 @@\n+int y;\n")
    assert added.files[0].change.kind is ChangeKind.ADDED
    assert "new file mode 100644" in added.text
    gnu = must("--- old/x/y.c\t1970-01-01 00:00:00\n+++ new/x/y.c\t2026-01-01 00:00:00\n@@ -0,0 +1 @@\n+int y;\n")
    assert patch_id(gnu) == patch_id(added)


def test_the_id_does_not_see_line_numbers_and_blanks_but_sees_the_rest() -> None:
    ours = patch_id(must(plain_diff()))
    assert patch_id(must(plain_diff().replace("@@ -9,4 +9,5 @@ int line_a8;", "@@ -109,4 +209,5 @@"))) == ours
    assert patch_id(must(plain_diff().replace("+long line", "+long\t line"))) == ours
    assert patch_id(must(plain_diff().replace("+long line", "+char line"))) != ours
    assert patch_id(must(plain_diff("drivers/z.c"))) != ours


DAMAGES = [
    ("+long line_a10;", "+long\nline_a10;", 9, "wrapped or cut"),
    ("@@ -9,4 +9,5 @@", "@@ -9,5 +9,6 @@", 5, "cut short"),
    ("@@ -9,4 +9,5 @@", "@@ -9,3 +9,4 @@", 11, "was to end before it"),
    ("@@ -9,4 +9,5 @@", "@@ -9,4 +9,4 @@", 11, "one too many"),
    ("@@ -9,4 +9,5 @@", "@@ -9,x +9,5 @@", 5, "no hunk header"),
    ("@@ -9,4 +9,5 @@", "@@ -0,0 +0,0 @@", 5, "hunk of no lines"),
    (" int line_a12;\n", " int\nline_a12;\n", 12, "wrapped"),
    (" int line_a9;", "int line_a9;", 6, "neither context nor change"),
    ("+++ b/drivers/a.c\n", "", 3, "should begin the names"),
    ("+++ b/drivers/a.c\n", "+++ b/drivers/b.c\n", 1, "two different files"),
    ("--- a/drivers/a.c\n+++ b/drivers/a.c\n", "--- /dev/null\n+++ /dev/null\n", 1, "no file on either side"),
    ("--- a/drivers/a.c\n+++ b/drivers/a.c\n", "--- a.c\n+++ a.c\n", 1, "lacks the leading a/"),
    ("index 1111111..2222222 100644\n", "old mode 100644\nold mode 100644\n", 3, "a second time"),
    ("index 1111111..2222222 100644\n", "rename from x\n", 1, "only one side"),
    ("index 1111111..2222222 100644\n", "", 1, None),
]


@pytest.mark.parametrize(("old", "new", "line", "why"), DAMAGES)
def test_damage_is_named_with_its_line(old: str, new: str, line: int, why: str | None) -> None:
    assert old in plain_diff()
    text = plain_diff().replace(old, new, 1)
    if why is None:
        must(text)
        return
    with pytest.raises(DiffError) as raised:
        read_diff("words\n" + text)
    assert raised.value.line == line + 1
    assert why in raised.value.what


def test_a_wrapped_last_line_is_seen_which_git_would_drop(tmp_path: Path) -> None:
    text = (
        plain_diff()
        .replace(" int line_a11;\n int line_a12;\n", "+int long_\nname;\n")
        .replace("-9,4 +9,5", "-9,2 +9,4")
    )
    with pytest.raises(DiffError) as raised:
        read_diff(text)
    assert "wrapped line would" in raised.value.what
    assert git(Repo(tmp_path / "k").path, "apply", "--numstat", stdin=text.encode())


RESTS = ["-- \n2.39.5\n", "\nthe list's footer\n", "_______________\nlist\n", "--\n2.4\n", ""]


@pytest.mark.parametrize("rest", RESTS)
def test_what_may_follow_a_diff(rest: str) -> None:
    assert must(plain_diff() + rest).text == must(plain_diff()).text


def test_lines_that_lost_their_blank_and_carriage_returns() -> None:
    text = plain_diff().replace(" int line_a11;\n", " \n")
    assert must(text.replace("\n \n", "\n\n")).text == must(text).text
    crlf = must(plain_diff().replace("\n", "\r\n"))
    assert crlf.text == must(plain_diff()).text
    assert "CR LF" in crlf.notes[0]
    own = must(plain_diff().replace("+int added_a;\n", "+int added_a;\r\n"))
    assert "added_a;\r\n" in own.text


def test_a_merges_diff_is_refused() -> None:
    with pytest.raises(DiffError, match="merge"):
        read_diff(plain_diff() + "diff --cc drivers/b.c\nindex 1,2..3\n")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_names_survive_quoting(name: str) -> None:
    quoted = quote(name)
    assert "\n" not in quoted
    if quoted.startswith('"'):
        assert unquote(quoted) == (name, len(quoted))


PIECES = """\
diff --git a/x b/x|--- a/x|+++ b/x|@@ -1 +1 @@|@@ -1,2 +1,2 @@|@@ -9999999999 +1 @@|+a|-a| a||\r|-- |--- |+++ |\0\
|\\ No newline at end of file|rename from x|rename to y|old mode 1|index 1..2 100644|GIT binary patch|diff --git\
|diff --git "a/x b/x|--- "a/\\q"|@@@ |diff --cc x"""
LINES = st.sampled_from(PIECES.split("|"))


@settings(max_examples=400, deadline=None)
@given(st.lists(LINES, max_size=40))
def test_nothing_but_a_diff_error_ever_comes(lines: list[str]) -> None:
    for lenient in (False, True):
        try:
            diff = read_diff("\n".join(lines), lenient_end=lenient)
        except DiffError as error:
            assert 1 <= error.line <= len(lines) + 1
            continue
        if diff is not None:
            assert len(patch_id(diff)) == 40


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_any_text_behind_a_header_is_safe(text: str) -> None:
    for head in ("diff --git a/x b/x\n", plain_diff(), "--- a/x\n+++ b/x\n@@ -1 +1 @@\n"):
        try:
            read_diff(head + text)
        except DiffError:
            pass


def test_a_large_diff_is_read_in_linear_time() -> None:
    def seconds(count: int) -> float:
        text = "".join(plain_diff(f"drivers/f{number}.c") for number in range(count))
        began = time.perf_counter()
        patch_id(must(text))
        return time.perf_counter() - began

    seconds(100)
    assert seconds(8000) < 20 * max(seconds(1000), 0.01)


def test_git_reads_what_is_written(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "k")
    assert b"drivers/a.c" in git(repo.path, "apply", "--numstat", stdin=must(plain_diff()).text.encode())
