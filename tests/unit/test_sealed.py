# SPDX-License-Identifier: GPL-2.0-only
"""Seals: whatever is done to a file of a sealed directory is seen, named, and cheap to look for."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.model.errors import StoreDamaged
from harness.store import sealed as seals
from harness.store.layout import Layout
from harness.store.sealed import SEAL_FILE, damage, read_seal, require_whole, seal, set_aside, take_out


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A sealed directory, old enough for its looks to be believed."""
    root = tmp_path / "made"
    (root / "lib" / "empty").mkdir(parents=True)
    (root / "image").write_bytes(b"kernel" * 1000)
    (root / "lib" / "mod.ko").write_text("kunit_status_set_failure_test")
    (root / "init").write_text("#!/bin/sh\n")
    (root / "init").chmod(0o755)
    (root / "sh").symlink_to("init")
    (root / "odd\n\tname\udcff").touch()
    seal(root)
    return root


def settled(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes: what was too fresh is read once more, and its look is then known."""
    real = time.time
    monkeypatch.setattr("harness.store.sealed.time.time", lambda: real() + 5)
    assert damage(root) == ""
    assert all(row.look for row in read_seal(root).rows if row.kind not in (seals.FOLDER, seals.OTHER))


def keeping_times(path: Path, change: Callable[[Path], object]) -> None:
    before = path.stat()
    change(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(path: Path, by: Callable[[Path], object]) -> None:
    """What was there lies outside afterwards."""
    path.rename(path.parent.parent / f"outside-{path.name}")
    by(path)


HARMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a byte, by sed": (
        lambda root: subprocess.run(["sed", "-i", "s/test/TAMP/", str(root / "lib/mod.ko")], check=True),
        r"lib/mod\.ko is not what was made: its content changed$",
    ),
    "a byte in place, with the old times": (
        lambda root: keeping_times(root / "image", lambda path: path.write_bytes(b"Kernel" * 1000)),
        "image is not what was made",
    ),
    "truncated": (lambda root: os.truncate(root / "image", 4096), "image has 4096 bytes, 6000 were made"),
    "emptied": (lambda root: os.truncate(root / "init", 0), "init has 0 bytes"),
    "gone": (lambda root: (root / "init").unlink(), "init is gone"),
    "no program": (lambda root: (root / "init").chmod(0o644), "init is a plain file, and was a program"),
    "a link instead": (
        lambda root: replaced(root / "init", lambda path: path.symlink_to("../outside-init")),
        "init is a symbolic link, and was a program",
    ),
    "another target": (
        lambda root: replaced(root / "sh", lambda path: path.symlink_to("tini")),
        "sh is not what was made",
    ),
    "a fifo instead": (
        lambda root: replaced(root / "image", os.mkfifo),
        "image is neither file nor directory",
    ),
    "a folder gone": (lambda root: (root / "lib" / "empty").rmdir(), "lib/empty is gone"),
    "a folder linked": (
        lambda root: replaced(root / "lib", lambda path: path.symlink_to("../outside-lib")),
        "lib is a symbolic link, and was a directory",
    ),
    "one more": (lambda root: (root / "lib" / "evil.ko").touch(), r"lib/evil\.ko was not there when it was made"),
    "no seal": (lambda root: (root / SEAL_FILE).unlink(), "has no seal"),
    "an empty seal": (lambda root: os.truncate(root / SEAL_FILE, 0), r"\.seal cannot be read"),
    "half a seal": (lambda root: os.truncate(root / SEAL_FILE, 200), r"\.seal cannot be read"),
    "a seal of bytes": (lambda root: (root / SEAL_FILE).write_bytes(b"\xff" * 99), r"\.seal cannot be read"),
    "a seal without a row": (
        lambda root: (root / SEAL_FILE).write_text("\n".join((root / SEAL_FILE).read_text().split("\n")[:3]) + "\n"),
        r"\.seal cannot be read: it is no seal, or a damaged one",
    ),
    "a fifo for a seal": (
        lambda root: replaced(root / SEAL_FILE, os.mkfifo),
        r"\.seal cannot be read: it is no plain",
    ),
    "a link for a seal": (
        lambda root: replaced(root / SEAL_FILE, lambda path: path.symlink_to("/dev/zero")),
        r"\.seal cannot be read",
    ),
    "a directory for a seal": (lambda root: replaced(root / SEAL_FILE, os.mkdir), r"\.seal cannot be read"),
    "all gone": (shutil.rmtree, "made is gone"),
}


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("old", [False, True], ids=["fresh", "old"])
def test_harm_is_seen_and_named(made: Path, monkeypatch: pytest.MonkeyPatch, harm: str, old: bool) -> None:
    assert damage(made) == ""
    if old:
        settled(made, monkeypatch)
    change, said = HARMS[harm]
    change(made)
    with pytest.raises(StoreDamaged, match=said):
        require_whole([made])
    assert damage(made), "it is still seen the next time"


def test_what_is_whole_is_not_read_again(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settled(made, monkeypatch)
    monkeypatch.setattr("harness.store.sealed.hashlib.file_digest", lambda *_: pytest.fail("a file was read"))
    assert damage(made) == ""


def test_once_a_day_everything_is_read(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bits that rot on the disk change no time."""
    settled(made, monkeypatch)
    text = (made / SEAL_FILE).read_text()
    row = next(row for row in read_seal(made).rows if row.path == "image")
    rotten = seals.SealRow(row.path, row.kind, "0" * 64, row.size, row.look)
    found = read_seal(made)
    (made / SEAL_FILE).write_text(
        seals._text(seals.Seal(tuple(rotten if one == row else one for one in found.rows), True, found.checked))
    )
    assert damage(made) == ""
    assert "image is not what was made" in damage(made, thorough=True)
    later = time.time() + 90000
    monkeypatch.setattr("harness.store.sealed.time.time", lambda: later)
    assert "image is not what was made" in damage(made)
    (made / SEAL_FILE).write_text(text)
    assert damage(made) == ""
    assert read_seal(made).checked == pytest.approx(later)
    monkeypatch.setattr("harness.store.sealed.time.time", lambda: later - 500000)
    assert damage(made) == "", "a clock that went back"


def test_a_moved_store_and_a_copied_one_are_read_once(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settled(made, monkeypatch)
    before = read_seal(made)
    copy = Path(shutil.copytree(made, made.parent / "copy", symlinks=True))
    assert damage(copy) == ""
    assert read_seal(copy).rows != before.rows
    assert read_seal(copy).id == before.id
    made.rename(made.parent / "moved")
    assert damage(made.parent / "moved") == ""


def test_only_some_files_can_be_sealed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    seal(tmp_path, ["a"])
    (tmp_path / "b").write_text("x")
    (tmp_path / "c").touch()
    assert damage(tmp_path) == ""
    (tmp_path / "a").write_text("x")
    assert "a is not what was made" in damage(tmp_path)


def test_the_id_is_of_the_contents_alone(made: Path) -> None:
    before = read_seal(made).id
    (made / "image").touch()
    assert seal(made).id == before
    (made / "image").write_text("other")
    assert seal(made).id != before


def test_what_is_damaged_is_set_aside_and_told(made: Path, scratch_layout: Layout) -> None:
    said: list[str] = []
    assert not take_out(made, scratch_layout, said.append)
    (made / "image").unlink()
    assert take_out(made, scratch_layout, said.append)
    (aside,) = scratch_layout.damaged.iterdir()
    assert (aside / "init").is_file() and not made.exists()
    assert said == [f"{made}/image is gone; it is set aside as {aside}, and made again"]
    made.mkdir()
    assert set_aside(made, scratch_layout) != aside
