# SPDX-License-Identifier: GPL-2.0-only
"""A directory goes from one host to another in one file, whatever a guest has put into it."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
import zstandard

from harness.model.errors import StoreCorrupt
from harness.store.pack import pack, unpack
from harness.store.sealed import seal, take


def filled(place: Path) -> Path:
    root = place / "root"
    (root / "results" / "empty").mkdir(parents=True)
    (root / "console.log").write_bytes(b"\xff\n" * 3_000_000)
    (root / "results" / "run").write_text("#!/bin/sh\n")
    (root / "results" / "run").chmod(0o755)
    (root / "results" / "away").symlink_to("/etc/passwd")
    (root / os.fsdecode(b"not \xff utf-8")).write_text("x")
    os.link(root / "console.log", root / "the same")
    return root


def archive(place: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as into:
        for member, data in members:
            member.size = len(data)
            into.addfile(member, io.BytesIO(data))
    file = place / "packed"
    file.write_bytes(zstandard.compress(made.getvalue()))
    return file


def named(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


def test_all_of_it_arrives(tmp_path: Path) -> None:
    root, there = filled(tmp_path), tmp_path / "there"
    there.mkdir()
    sealed = seal(root)
    pack(root, sealed.contents(), tmp_path / "packed")
    unpack(tmp_path / "packed", there)
    assert take(there).id == sealed.id
    assert (there / "the same").stat().st_ino != (there / "console.log").stat().st_ino
    assert (there / "results" / "run").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out", "."])
def test_what_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(StoreCorrupt):
        unpack(archive(tmp_path, (named(name), b"x")), into)
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    into, out = tmp_path / "into", tmp_path / "out"
    into.mkdir()
    out.mkdir()
    through = archive(tmp_path, (named("a", tarfile.SYMTYPE, str(out)), b""), (named("a/b"), b"x"))
    with pytest.raises(Exception, match="cannot unpack"):
        unpack(through, into)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.LNKTYPE])
def test_what_is_no_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(StoreCorrupt, match="neither"):
        unpack(archive(tmp_path, (named("a", kind, "/etc/passwd"), b"")), into)


def test_a_pipe_is_not_sent(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreCorrupt, match="cannot be sent"):
        pack(tmp_path, ["pipe"], tmp_path / "packed")


def test_a_file_that_is_cut_short(tmp_path: Path) -> None:
    root = filled(tmp_path)
    pack(root, seal(root).contents(), tmp_path / "packed")
    data = (tmp_path / "packed").read_bytes()
    for length in (0, 10, len(data) // 2, len(data) - 1):
        (tmp_path / "packed").write_bytes(data[:length])
        into = tmp_path / f"into-{length}"
        into.mkdir()
        with pytest.raises(StoreCorrupt):
            unpack(tmp_path / "packed", into)
