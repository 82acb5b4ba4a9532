# SPDX-License-Identifier: GPL-2.0-only
"""A directory as a source, and git:DIR@REV: the user's tree is only read, and every content has its snapshot."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from harness.inputs import directory
from harness.inputs.directory import resolve_directory
from harness.inputs.git import resolve_git
from harness.inputs.manifest import ManifestRow, SourceManifest, find_files, parse_manifest, read_bytes, take_manifest
from harness.model.errors import InfraError, UserError
from harness.model.tree import SourceSpec
from tests.unit.inputs_support import listing, make_kernel, make_work

SPEC = SourceSpec.parse


def git(where: Path, *words: str) -> str:
    who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    env = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", **who}
    return subprocess.run(
        ["git", *words], cwd=where, env=env, check=True, capture_output=True, text=True
    ).stdout.strip()


def make_repository(where: Path) -> Path:
    make_kernel(where)
    (where / ".gitignore").write_text("*.o\n.config\n")
    git(where, "init", "-q", "-b", "main")
    git(where, "add", "-A")
    git(where, "commit", "-qm", "one")
    return where


def state(where: Path) -> dict[str, tuple[int, int, bytes]]:
    """All that could tell that somebody wrote there."""
    files = sorted(path for path in where.rglob("*") if path.is_file() and not path.is_symlink())
    found = {str(path): (path.stat().st_mtime_ns, path.stat().st_ino, path.read_bytes()) for path in files}
    found |= {str(path): (path.stat().st_mtime_ns, 0, b"") for path in where.rglob("*") if path.is_dir()}
    return found


def contents(where: Path) -> list[str]:
    return sorted(str(path.relative_to(where)) for path in where.rglob("*") if not path.is_dir() or path.is_symlink())


PLAIN = ["Makefile", "drivers/gpu/ttm.c", "drivers/link.c", "run.sh"]


def test_snapshot_of_a_plain_directory(tmp_path: Path) -> None:
    work, _ = make_work(tmp_path)
    kernel = make_kernel(tmp_path / "k")
    before = state(kernel)
    tree = resolve_directory(SPEC(str(kernel)), work)
    assert state(kernel) == before
    assert contents(tree.path) == PLAIN
    assert (tree.version, tree.spec) == ("7.3.4", str(kernel))
    assert tree.origin == f"{kernel}, content {tree.id}"
    assert os.access(tree.path / "run.sh", os.X_OK)
    assert (tree.path / "drivers/link.c").is_symlink()
    assert (tree.path / "Makefile").stat().st_ino != (kernel / "Makefile").stat().st_ino


def test_the_id_is_of_the_content_alone(tmp_path: Path) -> None:
    work, _ = make_work(tmp_path)
    one, two = make_kernel(tmp_path / "one"), make_kernel(tmp_path / "two")
    os.utime(two / "Makefile", (1, 1))
    first, second = (resolve_directory(SPEC(str(kernel)), work) for kernel in (one, two))
    assert (first.id, first.path) == (second.id, second.path)
    assert second.origin.startswith(str(two))


@pytest.mark.parametrize(
    "change",
    [
        lambda k: (k / "drivers/gpu/ttm.c").write_text("int TTM;\n"),
        lambda k: (k / "run.sh").chmod(0o644),
        lambda k: (k / "run.sh").unlink(),
        lambda k: (k / "run.sh").rename(k / "go.sh"),
        lambda k: (k / "new.c").write_text(""),
        lambda k: ((k / "drivers/link.c").unlink(), (k / "drivers/link.c").symlink_to("../Makefile")),
        lambda k: ((k / "drivers/link.c").unlink(), (k / "drivers/link.c").write_text("int ttm;\n")),
    ],
)
@pytest.mark.parametrize("in_git", [False, True])
def test_every_change_changes_the_id_and_changing_back_brings_it_back(
    tmp_path: Path, change: object, in_git: bool
) -> None:
    assert callable(change)
    work, _ = make_work(tmp_path)
    kernel = make_repository(tmp_path / "k") if in_git else make_kernel(tmp_path / "k")
    first = resolve_directory(SPEC(str(kernel)), work)
    subprocess.run(["cp", "-a", kernel, tmp_path / "kept"], check=True)
    change(kernel)
    second = resolve_directory(SPEC(str(kernel)), work)
    assert second.id != first.id
    assert [path for path in contents(kernel) if not path.startswith(".git/")] == contents(second.path)
    subprocess.run(["rm", "-rf", kernel], check=True)
    (tmp_path / "kept").rename(kernel)
    assert resolve_directory(SPEC(str(kernel)), work).path == first.path


def test_a_change_of_equal_size_with_its_time_put_back_is_seen(tmp_path: Path) -> None:
    work, _ = make_work(tmp_path)
    kernel = make_kernel(tmp_path / "k")
    file = kernel / "drivers/gpu/ttm.c"
    os.utime(file, (1, 1))
    first = resolve_directory(SPEC(str(kernel)), work)
    file.write_text("int TTM;\n")
    os.utime(file, (1, 1))
    assert resolve_directory(SPEC(str(kernel)), work).id != first.id


def test_a_second_snapshot_shares_what_did_not_change(tmp_path: Path) -> None:
    work, heard = make_work(tmp_path)
    kernel = make_kernel(tmp_path / "k")
    old = time.time() - 1000
    os.utime(kernel / "drivers/gpu/ttm.c", (old, old))
    first = resolve_directory(SPEC(str(kernel)), work)
    was = (first.path / "drivers/gpu/ttm.c").read_text(), (first.path / "drivers/gpu/ttm.c").stat().st_mtime_ns
    began = time.time()
    time.sleep(0.02)
    (kernel / "drivers/gpu/ttm.c").write_text("int changed;\n")
    os.utime(kernel / "drivers/gpu/ttm.c", (old, old))
    heard.steps.clear()
    second = resolve_directory(SPEC(str(kernel)), work)
    assert heard.steps == [f"copying {kernel} into the store: 1 of 4 files are new"]
    for name in ("Makefile", "run.sh"):
        assert (first.path / name).stat().st_ino == (second.path / name).stat().st_ino
    changed = (second.path / "drivers/gpu/ttm.c").stat()
    assert changed.st_mtime >= began, "make would not compile a file that looks old"
    assert changed.st_ino != (first.path / "drivers/gpu/ttm.c").stat().st_ino
    assert was == (
        (first.path / "drivers/gpu/ttm.c").read_text(),
        (first.path / "drivers/gpu/ttm.c").stat().st_mtime_ns,
    )


def test_a_file_that_was_put_back_is_new_when_its_snapshot_is_gone(tmp_path: Path) -> None:
    work, _ = make_work(tmp_path)
    kernel = make_kernel(tmp_path / "k")
    first = resolve_directory(SPEC(str(kernel)), work)
    (kernel / "run.sh").write_text("#!/bin/sh\nexit 1\n")
    resolve_directory(SPEC(str(kernel)), work)
    subprocess.run(["rm", "-rf", first.path.parent], check=True)
    began = time.time()
    time.sleep(0.02)
    (kernel / "run.sh").write_text("#!/bin/sh\n")
    os.utime(kernel / "run.sh", (1, 1))
    again = resolve_directory(SPEC(str(kernel)), work)
    assert again.id == first.id
    assert (again.path / "run.sh").stat().st_mtime >= began


def test_an_unchanged_directory_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, heard = make_work(tmp_path)
    kernel = make_kernel(tmp_path / "k")
    monkeypatch.setattr("harness.inputs.manifest._TOO_FRESH_NS", 0)
    first = resolve_directory(SPEC(str(kernel)), work)
    heard.steps.clear()

    def never(full: str) -> bytes:
        raise AssertionError(full)

    monkeypatch.setattr("harness.inputs.manifest.read_bytes", never)
    assert resolve_directory(SPEC(str(kernel)), work) == first
    assert heard.steps == []


def test_what_make_left_in_the_tree_stays_out(tmp_path: Path) -> None:
    work, _ = make_work(tmp_path)
    kernel = make_kernel(tmp_path / "k")
    clean = resolve_directory(SPEC(str(kernel)), work)
    made = [
        ".config", ".config.old", "include/config/auto.conf", "include/generated/autoconf.h", "vmlinux", "vmlinux.a",
        "arch/x86/include/generated/asm/a.h", "drivers/gpu/ttm.o", "drivers/gpu/.ttm.o.cmd", "drivers/gpu/ttm.ko",
        "scripts/kconfig/conf", "scripts/kconfig/.conf.cmd", "Module.symvers", "modules.order", "fs/modules.order",
        ".git/config", "System.map", "certs/signing_key.pem",
    ]  # fmt: skip
    for name in made:
        (kernel / name).parent.mkdir(parents=True, exist_ok=True)
        (kernel / name).write_text("made")
    (kernel / ".git" / "config").unlink()
    (kernel / ".git").rmdir()
    kept = kernel / "include" / "config.h"
    assert resolve_directory(SPEC(str(kernel)), work).id == clean.id
    kept.write_text("")
    assert resolve_directory(SPEC(str(kernel)), work).id != clean.id


def test_dirty_git_tree(tmp_path: Path) -> None:
    work, _ = make_work(tmp_path)
    kernel = make_repository(tmp_path / "k")
    (kernel / "run.sh").unlink()
    (kernel / "new.c").write_text("int new;\n")
    (kernel / "made.o").write_text("made")
    (kernel / ".config").write_text("made")
    (kernel / "nested").mkdir()
    git(kernel / "nested", "init", "-q")
    before = state(kernel)
    tree = resolve_directory(SPEC(str(kernel)), work)
    assert state(kernel) == before
    assert contents(tree.path) == sorted([".gitignore", "new.c", *(name for name in PLAIN if name != "run.sh")])
    head = git(kernel, "rev-parse", "HEAD")
    assert tree.origin == f"{kernel} at commit {head}, content {tree.id}"


def test_a_directory_inside_an_ignoring_repository_is_taken_whole(tmp_path: Path) -> None:
    work, _ = make_work(tmp_path)
    (tmp_path / ".gitignore").write_text("k\n")
    git(tmp_path, "init", "-q")
    tree = resolve_directory(SPEC(str(make_kernel(tmp_path / "k"))), work)
    assert contents(tree.path) == PLAIN


def test_a_repository_that_ignores_the_kernel_is_taken_whole(tmp_path: Path) -> None:
    """Debian's linux-source ships a .gitignore of `/*`: `git init && git add -A` there tracks nothing."""
    work, heard = make_work(tmp_path)
    kernel = make_kernel(tmp_path / "k")
    (kernel / ".gitignore").write_text("/*\n!/debian/\n")
    git(kernel, "init", "-q")
    git(kernel, "add", "-A")
    assert contents(resolve_directory(SPEC(str(kernel)), work).path) == [".gitignore", *PLAIN]
    assert "git ignores the kernel" in heard.steps[0]


def test_hooks_and_monitors_of_the_repository_do_not_run(tmp_path: Path) -> None:
    work, _ = make_work(tmp_path)
    kernel = make_repository(tmp_path / "k")
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    git(kernel, "config", "core.fsmonitor", str(hook))
    (kernel / ".git/hooks/post-checkout").write_text(hook.read_text())
    (kernel / ".git/hooks/post-checkout").chmod(0o755)
    resolve_directory(SPEC(str(kernel)), work)
    resolve_git(SPEC(f"git:{kernel}@main"), work)
    assert not (tmp_path / "ran").exists()


def test_not_a_directory(tmp_path: Path) -> None:
    work, _ = make_work(tmp_path)
    with pytest.raises(UserError, match=r"source .* is not a directory") as caught:
        resolve_directory(SPEC(str(tmp_path / "none")), work)
    assert "kernel.org:VERSION" in str(caught.value.hint)
    with pytest.raises(UserError, match="is not a kernel tree"):
        resolve_directory(SPEC(str(tmp_path)), work)
    assert listing(work.layout.sources) == []


@pytest.mark.parametrize("target", ["/etc/passwd", "../../..", "link"])
def test_a_link_that_leads_out_is_refused(tmp_path: Path, target: str) -> None:
    work, _ = make_work(tmp_path)
    kernel = make_kernel(tmp_path / "k")
    (kernel / "link").symlink_to(target)
    with pytest.raises(UserError, match="link leads out of the source"):
        resolve_directory(SPEC(str(kernel)), work)


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    work, _ = make_work(tmp_path)
    kernel = make_kernel(tmp_path / "k")
    os.mkfifo(kernel / "pipe")
    with pytest.raises(UserError, match="pipe is neither file"):
        resolve_directory(SPEC(str(kernel)), work)


def test_a_broken_repository_is_named(tmp_path: Path) -> None:
    work, _ = make_work(tmp_path)
    kernel = make_kernel(tmp_path / "k")
    (kernel / ".git").mkdir()
    with pytest.raises(UserError, match=r"has a \.git that git cannot read"):
        resolve_directory(SPEC(str(kernel)), work)


def test_a_file_that_changes_while_it_is_copied_begins_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, heard = make_work(tmp_path)
    kernel = make_kernel(tmp_path / "k")
    real = read_bytes
    times = 0

    def meddling(full: str) -> bytes:
        nonlocal times
        if full.endswith("ttm.c") and times < 2:
            times += 1
            Path(full).write_text(f"int again{times};\n")
        return real(full)

    monkeypatch.setattr(directory, "read_bytes", meddling)
    tree = resolve_directory(SPEC(str(kernel)), work)
    assert (tree.path / "drivers/gpu/ttm.c").read_text() == "int again2;\n"
    assert sum("changed while it was copied" in step for step in heard.steps) == 2
    times = -9
    (kernel / "run.sh").write_text("once more")
    (kernel / "drivers/gpu/ttm.c").write_text("0")
    with pytest.raises(InfraError, match="does not hold still"):
        resolve_directory(SPEC(str(kernel)), work)
    assert listing(work.layout.sources) == [tree.path.parent.name]


def test_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, _ = make_work(tmp_path)
    kernel = make_kernel(tmp_path / "k")

    def refuse(full: str) -> bytes:
        raise PermissionError(13, "Permission denied", full)

    monkeypatch.setattr("harness.inputs.manifest.read_bytes", refuse)
    with pytest.raises(InfraError, match=r"cannot read .*/k/.*: Permission denied"):
        resolve_directory(SPEC(str(kernel)), work)


def test_no_space_for_the_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, _ = make_work(tmp_path)
    kernel = make_kernel(tmp_path / "k")

    def full(self: object, linux: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(directory._Copier, "_make_directories", full)
    with pytest.raises(InfraError, match="no space left on the disk"):
        resolve_directory(SPEC(str(kernel)), work)
    assert listing(work.layout.sources) == []


def test_manifest_round_trip_and_garbage(tmp_path: Path) -> None:
    manifest = SourceManifest((ManifestRow("a\tb\nc", "f", "0" * 64, "1.2.3.4"), ManifestRow("d", "l", "1" * 64, "")))
    assert parse_manifest(manifest.to_text()) == manifest
    for text in ("", "x", manifest.to_text()[:40], "ttm-harness manifest 1\0a\tb"):
        assert parse_manifest(text) == SourceManifest(())


def test_a_fresh_file_is_not_believed_next_time(tmp_path: Path) -> None:
    kernel = make_kernel(tmp_path / "k")
    rows = take_manifest(kernel, find_files(kernel), SourceManifest(())).rows
    assert {row.stamp for row in rows} == {""}


def test_git_revision(tmp_path: Path) -> None:
    work, heard = make_work(tmp_path)
    kernel = make_repository(tmp_path / "k")
    git(kernel, "tag", "v1")
    (kernel / "drivers/gpu/ttm.c").write_text("int two;\n")
    git(kernel, "commit", "-qam", "two")
    (kernel / "Makefile").write_text("dirty")
    (kernel / "untracked").write_text("")
    before = state(kernel)
    old = resolve_git(SPEC(f"git:{kernel}@v1"), work)
    new = resolve_git(SPEC(f"git:{kernel}@main"), work)
    assert state(kernel) == before
    assert (old.path / "drivers/gpu/ttm.c").read_text() == "int ttm;\n"
    assert (new.path / "drivers/gpu/ttm.c").read_text() == "int two;\n"
    assert contents(new.path) == sorted([".gitignore", *PLAIN])
    assert new.origin == f"{kernel} commit {git(kernel, 'rev-parse', 'main')}"
    assert (old.spec, old.version) == (f"git:{kernel}@v1", "7.3.4")
    assert old.id != new.id
    heard.steps.clear()
    assert resolve_git(SPEC(f"git:{kernel}@HEAD~1"), work).path == old.path
    assert heard.steps == []


def test_a_tag_object_and_a_hash_are_revisions(tmp_path: Path) -> None:
    work, _ = make_work(tmp_path)
    kernel = make_repository(tmp_path / "k")
    git(kernel, "tag", "-a", "-m", "x", "v2")
    ids = {resolve_git(SPEC(f"git:{kernel}@{rev}"), work).id for rev in ("v2", git(kernel, "rev-parse", "HEAD")[:10])}
    assert len(ids) == 1


def test_git_says_no(tmp_path: Path) -> None:
    work, _ = make_work(tmp_path)
    kernel = make_repository(tmp_path / "k")
    plain = tmp_path / "plain"
    plain.mkdir()
    with pytest.raises(UserError, match="has no revision 'nope'"):
        resolve_git(SPEC(f"git:{kernel}@nope"), work)
    with pytest.raises(UserError, match="plain is not a git repository"):
        resolve_git(SPEC(f"git:{plain}@main"), work)
    with pytest.raises(UserError, match="none is not a directory"):
        resolve_git(SPEC(f"git:{tmp_path / 'none'}@main"), work)
    git(plain, "init", "-q", "-b", "main")
    (plain / "a").write_text("")
    git(plain, "add", "a")
    git(plain, "commit", "-qm", "a")
    with pytest.raises(UserError, match="is not a kernel tree"):
        resolve_git(SPEC(f"git:{plain}@main"), work)
    git(kernel, "branch", "bad")
    (kernel / "out").symlink_to("/etc/passwd")
    git(kernel, "add", "out")
    git(kernel, "commit", "-qm", "out")
    with pytest.raises(UserError, match="symbolic link out leads outside"):
        resolve_git(SPEC(f"git:{kernel}@main"), work)
    assert listing(work.layout.sources) == []


def test_a_repository_with_missing_objects(tmp_path: Path) -> None:
    work, _ = make_work(tmp_path)
    kernel = make_repository(tmp_path / "k")
    blob = git(kernel, "rev-parse", "HEAD:drivers/gpu/ttm.c")
    (kernel / ".git/objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(InfraError, match="cannot check out") as caught:
        resolve_git(SPEC(f"git:{kernel}@main"), work)
    assert "git fsck" in str(caught.value.hint)
    assert listing(work.layout.sources) == []


def test_no_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, _ = make_work(tmp_path)
    monkeypatch.setattr("harness.inputs.git.find_tool", lambda name: None)
    with pytest.raises(UserError, match="git is not installed"):
        resolve_git(SPEC(f"git:{tmp_path}@main"), work)
