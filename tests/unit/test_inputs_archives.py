# SPDX-License-Identifier: GPL-2.0-only
"""tar:FILE: every form is read, every bad one is refused with its own sentence, nothing half-made stays."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.inputs import source_cache
from harness.inputs.source_cache import CachedSource, Work, find, install, read_version, require_space, stored_trees
from harness.inputs.tarball import resolve_tarball
from harness.model.errors import DeadlineExceeded, HarnessError, InfraError, UserError
from harness.model.tree import SourceSpec, Tree
from harness.proc import Deadline
from harness.store.files import locked
from harness.store.layout import Layout
from tests.unit.inputs_support import listing, make_kernel, make_work

REPOSITORY = Path(__file__).parents[2]


def pack(kernel: Path, archive: Path) -> Path:
    subprocess.run(["tar", "-caf", archive, "-C", kernel.parent, kernel.name], check=True)
    return archive


def spec_of(archive: Path) -> SourceSpec:
    return SourceSpec.parse(f"tar:{archive}")


def refused(work: Work, archive: Path, kind: type[HarnessError], words: str) -> HarnessError:
    """The archive is refused with these words and a hint, and the store stays empty."""
    with pytest.raises(kind, match=words) as caught:
        resolve_tarball(spec_of(archive), work)
    assert caught.value.hint
    assert listing(work.layout.sources) == []
    return caught.value


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.xz", "tar.bz2", "tar.zst"])
def test_every_compression_is_unpacked(tmp_path: Path, suffix: str) -> None:
    if suffix == "tar.zst" and shutil.which("zstd") is None:
        pytest.skip("no zstd")
    work, _ = make_work(tmp_path)
    archive = pack(make_kernel(tmp_path / "linux-7.3", extra="-rc1"), tmp_path / f"a.{suffix}")
    tree = resolve_tarball(spec_of(archive), work)
    assert tree.version == "7.3.4-rc1"
    assert tree.version_tuple == (7, 3, 4)
    assert tree.id == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert tree.spec == f"tar:{archive}"
    assert tree.id in tree.origin
    assert (tree.path / "drivers" / "link.c").read_text() == "int ttm;\n"
    assert os.access(tree.path / "run.sh", os.X_OK)
    assert listing(tree.path.parent) == ["files", "linux", "tree.json"]


def test_an_archive_without_a_top_directory_is_unpacked(tmp_path: Path) -> None:
    work, _ = make_work(tmp_path)
    subprocess.run(["tar", "-cf", tmp_path / "a.tar", "-C", make_kernel(tmp_path / "k"), "."], check=True)
    assert resolve_tarball(spec_of(tmp_path / "a.tar"), work).version == "7.3.4"


def test_same_content_under_another_name_is_not_unpacked_again(tmp_path: Path) -> None:
    work, heard = make_work(tmp_path)
    archive = pack(make_kernel(tmp_path / "linux"), tmp_path / "a.tar.gz")
    first = resolve_tarball(spec_of(archive), work)
    moved = archive.rename(tmp_path / "b")
    heard.steps.clear()
    second = resolve_tarball(spec_of(moved), work)
    assert (second.path, second.id, heard.steps) == (first.path, first.id, [])
    assert second.spec == f"tar:{moved}"


def test_a_moved_store_is_still_believed(tmp_path: Path) -> None:
    work, _ = make_work(tmp_path)
    archive = pack(make_kernel(tmp_path / "linux"), tmp_path / "a.tar")
    tree = resolve_tarball(spec_of(archive), work)
    moved = replace(work, layout=Layout((tmp_path / "store").rename(tmp_path / "store2")))
    found = find(moved, CachedSource("tar", tree.id), "s")
    assert found is not None
    assert found.path == tmp_path / "store2" / "sources" / tree.path.parent.name / "linux"


def test_missing_file(tmp_path: Path) -> None:
    work, _ = make_work(tmp_path)
    refused(work, tmp_path / "none.tar", UserError, "is not a file")
    refused(work, tmp_path, UserError, "is not a file")


def test_not_an_archive(tmp_path: Path) -> None:
    work, _ = make_work(tmp_path)
    (tmp_path / "a.tar").write_text("hello\n" * 500)
    refused(work, tmp_path / "a.tar", UserError, "is not a tar archive")
    (tmp_path / "a.tar").write_text("")
    refused(work, tmp_path / "a.tar", InfraError, "is empty")


def test_not_a_kernel(tmp_path: Path) -> None:
    work, _ = make_work(tmp_path)
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "file").write_text("x")
    refused(work, pack(tmp_path / "p", tmp_path / "a.tar.gz"), UserError, "not a kernel tree: no top Makefile")
    (tmp_path / "p" / "Makefile").write_text("all:\n")
    refused(
        work, pack(tmp_path / "p", tmp_path / "b.tar.gz"), UserError, "not a kernel tree: .*VERSION and PATCHLEVEL"
    )


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.xz", "tar.bz2", "tar.zst"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated(tmp_path: Path, suffix: str, share: float) -> None:
    if suffix == "tar.zst" and shutil.which("zstd") is None:
        pytest.skip("no zstd")
    work, _ = make_work(tmp_path)
    kernel = make_kernel(tmp_path / "linux")
    (kernel / "noise").write_bytes(os.urandom(100_000))
    archive = pack(kernel, tmp_path / f"a.{suffix}")
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(len(whole) * share)])
    refused(work, archive, InfraError, "is cut short")


def test_plain_tar_cut_between_two_members(tmp_path: Path) -> None:
    work, _ = make_work(tmp_path)
    archive = pack(make_kernel(tmp_path / "linux"), tmp_path / "a.tar")
    with tarfile.open(archive) as tar:
        end = tar.getmembers()[-1].offset
    archive.write_bytes(archive.read_bytes()[:end])
    refused(work, archive, InfraError, "is cut short")


def test_garbage_inside(tmp_path: Path) -> None:
    work, _ = make_work(tmp_path)
    kernel = make_kernel(tmp_path / "linux")
    (kernel / "noise").write_bytes(os.urandom(100_000))
    archive = pack(kernel, tmp_path / "a.tar.xz")
    data = bytearray(archive.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 100] = bytes(100)
    archive.write_bytes(data)
    refused(work, archive, InfraError, "cannot be unpacked|is cut short")


def crafted(path: Path, member: tarfile.TarInfo, data: bytes = b"") -> Path:
    """A kernel's archive with one odd member."""
    with tarfile.open(path, "w") as tar:
        makefile = tarfile.TarInfo("linux/Makefile")
        text = b"VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 0\n"
        makefile.size = len(text)
        tar.addfile(makefile, io.BytesIO(text))
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


ODD = [
    (member("linux/../../out"), "contains '..'"),
    (member("../out"), "contains '..'"),
    (member("/tmp/ttm-harness-out"), "leading"),
    (member("linux/link", tarfile.SYMTYPE, "/etc/passwd"), "symbolic link .*link leads outside"),
    (member("linux/link", tarfile.SYMTYPE, "../../../../etc"), "symbolic link .*link leads outside"),
    (member("linux/link", tarfile.SYMTYPE, "link"), "symbolic link .*link leads outside"),
    (member("linux/hard", tarfile.LNKTYPE, "../../../../../../etc/passwd"), "leading|contains|cannot be unpacked"),
    (member("linux/hard", tarfile.LNKTYPE, "/etc/passwd"), "leading|cannot be unpacked"),
    (member("linux/pipe", tarfile.FIFOTYPE), "neither file nor directory nor link"),
]


@pytest.mark.parametrize(("odd", "words"), ODD, ids=lambda value: getattr(value, "name", None))
def test_traversal_is_refused(tmp_path: Path, odd: tarfile.TarInfo, words: str) -> None:
    work, _ = make_work(tmp_path)
    refused(work, crafted(tmp_path / "a.tar", odd, b"x" if odd.isreg() else b""), HarnessError, words)
    assert not (tmp_path / "out").exists()
    assert not Path("/tmp/ttm-harness-out").exists()


def test_writing_through_a_link_is_refused(tmp_path: Path) -> None:
    """The classic: a link that leads out, then a file below it."""
    work, _ = make_work(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    archive = crafted(tmp_path / "a.tar", member("linux/door", tarfile.SYMTYPE, str(outside)))
    with tarfile.open(archive, "a") as tar:
        info = member("linux/door/file")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    refused(work, archive, HarnessError, "refused|cannot be unpacked")
    assert listing(outside) == []


def test_a_link_chain_that_leads_out_is_refused(tmp_path: Path) -> None:
    work, _ = make_work(tmp_path)
    archive = crafted(tmp_path / "a.tar", member("linux/up", tarfile.SYMTYPE, ".."))
    with tarfile.open(archive, "a") as tar:
        tar.addfile(member("linux/upper", tarfile.SYMTYPE, "up/../../../.."))
    refused(work, archive, UserError, "upper leads outside")


def test_missing_decompressor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, _ = make_work(tmp_path)
    archive = pack(make_kernel(tmp_path / "linux"), tmp_path / "a.tar.xz")
    monkeypatch.setattr("harness.inputs.unpack.find_tool", lambda name: None)
    refused(work, archive, UserError, "needs xz, which is not installed")


def test_no_space_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, _ = make_work(tmp_path)
    archive = pack(make_kernel(tmp_path / "linux"), tmp_path / "a.tar.xz")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=100))
    refused(work, archive, InfraError, "no space for unpacking a.tar.xz: it needs about 0.0 MiB, the disk of .* has")


def test_require_space_names_sizes(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match=r"no space for a tree: it needs about 1048576\.0 GiB") as caught:
        require_space(tmp_path, 1 << 50, "a tree")
    assert "TTM_HARNESS_STORE" in str(caught.value.hint)


def shim(directory: Path, script: str) -> None:
    directory.mkdir()
    (directory / "tar").write_text(f"#!/bin/sh\n{script}\n")
    (directory / "tar").chmod(0o755)


def test_disk_full_while_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, _ = make_work(tmp_path)
    archive = pack(make_kernel(tmp_path / "linux"), tmp_path / "a.tar.xz")
    shim(tmp_path / "bin", "echo 'tar: a/b: Cannot write: No space left on device' >&2; exit 2")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    error = refused(work, archive, InfraError, "unpacking a.tar.xz: no space left on the disk")
    assert "TTM_HARNESS_STORE" in str(error.hint)


def test_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = pack(make_kernel(tmp_path / "linux"), tmp_path / "a.tar.xz")
    shim(tmp_path / "bin", "exec sleep 60")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    work, _ = make_work(tmp_path, seconds=0.5)
    with pytest.raises(DeadlineExceeded):
        resolve_tarball(spec_of(archive), work)
    assert listing(work.layout.sources) == []


def test_a_store_with_a_colon_is_refused(tmp_path: Path) -> None:
    work, _ = make_work(tmp_path / "a:b")
    archive = pack(make_kernel(tmp_path / "linux"), tmp_path / "a.tar.xz")
    refused(work, archive, UserError, "a space or a colon in its name")


PROGRAM = """
import sys
from pathlib import Path
from tests.unit.inputs_support import make_work
from harness.inputs.tarball import resolve_tarball
from harness.model.tree import SourceSpec
work, heard = make_work(Path(sys.argv[1]))
print(resolve_tarball(SourceSpec.parse("tar:" + sys.argv[2]), work).path, *heard.steps, sep="|")
"""


def start(root: Path, archive: Path, path: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, root, archive],
        cwd=REPOSITORY,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_until(condition: object, seconds: float = 20.0) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def test_kill_9_in_the_middle_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    archive = pack(make_kernel(tmp_path / "linux"), tmp_path / "a.tar.xz")
    work, _ = make_work(tmp_path)
    pid_file = tmp_path / "tar.pid"
    sources = work.layout.sources
    real = shutil.which("tar")
    shim(tmp_path / "bin", f'echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; {real} "$@"; exec sleep 60')
    for _ in range(2):
        pid_file.unlink(missing_ok=True)
        process = start(tmp_path, archive, f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        wait_until(lambda: pid_file.exists() and any(sources.glob("*.part-*/unpacked/linux/Makefile")))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert [name for name in listing(sources) if ".part-" not in name] == []
        tar = Path("/proc") / pid_file.read_text().strip()
        wait_until(lambda tar=tar: not tar.exists() or "zombie" in (tar / "status").read_text())
    tree = resolve_tarball(spec_of(archive), work)
    assert tree.version == "7.3.4"
    assert listing(sources) == [tree.path.parent.name]


def test_two_at_once_unpack_once(tmp_path: Path) -> None:
    archive = pack(make_kernel(tmp_path / "linux"), tmp_path / "a.tar.xz")
    make_work(tmp_path)
    count = tmp_path / "count"
    shim(tmp_path / "bin", f'echo x >> {count}; sleep 1; exec {shutil.which("tar")} "$@"')
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    both = [start(tmp_path, archive, path) for _ in range(2)]
    said = [process.communicate(timeout=60)[0].strip().split("|") for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0][0] == said[1][0]
    assert count.read_text() == "x\n"
    assert any("waiting for another ttm-harness" in step for steps in said for step in steps)


def test_a_spoilt_source_is_made_again(tmp_path: Path) -> None:
    work, _ = make_work(tmp_path)
    archive = pack(make_kernel(tmp_path / "linux"), tmp_path / "a.tar.xz")
    tree = resolve_tarball(spec_of(archive), work)
    (tree.path / "Makefile").unlink()
    assert resolve_tarball(spec_of(archive), work).version == "7.3.4"
    (tree.path.parent / "tree.json").write_text("{")
    assert stored_trees(work.layout, "tar-") == []
    assert resolve_tarball(spec_of(archive), work).version == "7.3.4"
    assert stored_trees(work.layout, "tar-")[0].id == tree.id


def test_an_error_while_filling_leaves_nothing(tmp_path: Path) -> None:
    work, _ = make_work(tmp_path)

    def fill(part: Path) -> None:
        make_kernel(part / "linux")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install(work, source_cache.SourceEntry(CachedSource("x", "0" * 64), "s", "o"), fill)
    assert listing(work.layout.sources) == []


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 0\nEXTRAVERSION =\nNAME = Baby Opossum\n", "7.3.0"),
        ("VERSION = 7\nPATCHLEVEL = 4\nSUBLEVEL = 0\nEXTRAVERSION = -rc2\n", "7.4.0-rc2"),
        ("VERSION=6\nPATCHLEVEL=12\nSUBLEVEL=117\n", "6.12.117"),
        ("VERSION = 6\nPATCHLEVEL = 12\n", "6.12"),
    ],
)
def test_read_version(tmp_path: Path, text: str, version: str) -> None:
    (tmp_path / "Makefile").write_text(text)
    assert read_version(tmp_path, "it") == version


@pytest.mark.parametrize("text", ["", "VERSION = 7\n", "PATCHLEVEL = 3\n", "VERSION =\nPATCHLEVEL = 3\n", "\xff\0"])
def test_read_version_says_no(tmp_path: Path, text: str) -> None:
    (tmp_path / "Makefile").write_text(text)
    with pytest.raises(UserError, match="it is not a kernel tree"):
        read_version(tmp_path, "it")


def test_place_names_are_fit_for_make() -> None:
    assert CachedSource("debian-7.3.4-1~bpo13+1", "ab" * 32).name == "debian-7.3.4-1_bpo13_1-abababababababab"


def test_waiting_has_a_deadline(tmp_path: Path) -> None:
    work, _ = make_work(tmp_path)
    archive = pack(make_kernel(tmp_path / "linux"), tmp_path / "a.tar")
    place = CachedSource("tar", hashlib.sha256(archive.read_bytes()).hexdigest())
    with locked(work.layout.locks / f"source-{place.name}.lock", Deadline(5)):
        hasty = Work(work.layout, Deadline(0.3), work.progress)
        with pytest.raises(DeadlineExceeded, match="waiting for"):
            resolve_tarball(spec_of(archive), hasty)


def test_tree_is_read_back_as_written(tmp_path: Path) -> None:
    work, _ = make_work(tmp_path)
    tree = resolve_tarball(spec_of(pack(make_kernel(tmp_path / "linux"), tmp_path / "a.tar")), work)
    again: Tree | None = find(work, CachedSource("tar", tree.id), tree.spec)
    assert again == tree
