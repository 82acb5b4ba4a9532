# SPDX-License-Identifier: GPL-2.0-only
"""Bundles: what is packed comes out again, whoever changed it is found out, and nothing in it tells of the host."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.flow import bundle as bundle_module
from harness.flow.bundle import make_bundle, open_bundle
from harness.flow.kept_boot import find_boot
from harness.model.bundle import BUNDLE_SCHEMA, MANIFEST, Bundle, BundleFile
from harness.model.cell import Cell
from harness.model.codec import from_json, to_json
from harness.model.errors import UserError
from harness.model.machine import Machine
from harness.model.outcome import Verdict
from harness.model.result import Provenance
from harness.model.tree import SourceKind, SourceSpec
from harness.store.bundle import unpack_bundle, write_bundle
from harness.store.layout import Layout
from tests.unit.stand_in.cells import SUITE, good, kernel_in, request
from tests.unit.stand_in.runs import Ground

WORDS = ("0.1.0", "linux-source-7.3", "a" * 64, "7.3.4", "lean", "c", "gcc", "b" * 64)
KERNEL = Provenance(*WORDS, build_warnings=0, qemu="QEMU", vng="virtme-ng", host="", started="2026-01-01T00:00:00")
BUNDLE = Bundle(
    schema=BUNDLE_SCHEMA,
    of="run/001",
    verdict=Verdict.BAD,
    cell=Cell("b" * 64, Machine(), ("p",), seed=1),
    key="k",
    source="debian:7.3.4",
    profile="lean",
    kernel=KERNEL,
    fragments=(),
    patches=("kernel/patches/0001.patch",),
    files=(),
)
CONTENTS = {
    "kernel/patches/0001.patch": b"diff\n",
    "go.sh": b"#!/bin/sh\n",
    "evidence/console.log": b"\x00\xff" * 999,
}


@pytest.fixture(name="packed")
def fixture_packed(tmp_path: Path) -> Path:
    path = tmp_path / "b.tar.gz"
    write_bundle(path, BUNDLE, CONTENTS, frozenset({"go.sh"}))
    return path


def repacked(path: Path, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]) -> Path:
    """The same archive with its members changed."""
    with tarfile.open(path) as archive:
        members = [(one, opened.read() if (opened := archive.extractfile(one)) else b"") for one in archive]
    change(members)
    other = path.with_name("other.tar.gz")
    with tarfile.open(other, "w:gz") as archive:
        for one, data in members:
            if one.isreg():
                one.size = len(data)
            archive.addfile(one, io.BytesIO(data))
    return other


def relisted(data: bytes, **changes: object) -> bytes:
    return to_json(replace(from_json(Bundle, data.decode()), **changes)).encode()  # type: ignore[arg-type]


def test_what_goes_in_comes_out(packed: Path, tmp_path: Path) -> None:
    into = tmp_path / "into"
    into.mkdir()
    bundle, identity = unpack_bundle(packed, into)
    assert replace(bundle, files=()) == BUNDLE
    assert {path: (into / path).read_bytes() for path in CONTENTS} == CONTENTS
    assert (into / "go.sh").stat().st_mode & 0o111 and not (into / "evidence" / "console.log").stat().st_mode & 0o111
    other = tmp_path / "again.tar.gz"
    assert write_bundle(other, BUNDLE, CONTENTS, frozenset({"go.sh"})) == identity
    assert other.read_bytes() == packed.read_bytes()
    assert not list(tmp_path.glob(".*"))


def swapped(name: str, data: bytes) -> Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]:
    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        place = next(place for place, (one, _) in enumerate(members) if one.name == name)
        members[place] = (members[place][0], data)

    return change


def added(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Callable[..., None]:
    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        one = tarfile.TarInfo(name)
        one.type, one.linkname = kind, link
        members.append((one, b""))

    return change


def listed(**changes: object) -> Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]:
    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        members[0] = (members[0][0], relisted(members[0][1], **changes))

    return change


def without_last(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.pop()


def without_list(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.pop(0)


def as_link(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    one = members[1][0]
    one.type, one.linkname, one.size = tarfile.SYMTYPE, "/etc/passwd", 0
    members[1] = (one, b"")


def file(path: str, size: int = 0) -> BundleFile:
    return BundleFile(path, size, "0" * 64)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (swapped("go.sh", b"#!/bin/sx\n"), "tampered with: go.sh has another content"),
        (swapped("go.sh", b"#!/bin/sh\nrm -rf /\n"), "tampered with"),
        (swapped(MANIFEST, b"{"), "list of the bundle .* cannot be read"),
        (swapped(MANIFEST, b"\xff"), "list of the bundle .* cannot be read"),
        (added("more"), "tampered with: 'more'"),
        (added("../more"), "tampered with"),
        (added("dev", tarfile.CHRTYPE), "tampered with"),
        (added("link", tarfile.SYMTYPE, "/etc"), "tampered with"),
        (added("go.sh"), "tampered with"),
        (as_link, "tampered with"),
        (without_last, "is without kernel/patches/0001.patch"),
        (without_list, "no bundle: its first file"),
        (listed(schema="ttm-harness/bundle/9"), "of another harness"),
        (listed(files=(file("../up"),)), "leads out"),
        (listed(files=(file("/up"),)), "leads out"),
        (listed(files=(file("a/../../up"),)), "leads out"),
        (listed(files=(file("a//b"),)), "leads out"),
        (listed(files=(file("a\nb"),)), "leads out"),
        (listed(files=(file(""),)), "leads out"),
        (listed(files=(file("a", -1),)), "larger than"),
        (listed(files=(file("a", 1 << 31),)), "larger than"),
        (listed(files=(file("a"), file("a"))), "twice"),
        (listed(patches=("kernel/patches/0002.patch",)), "which it is made of"),
        (listed(fragments=("/etc/passwd",)), "which it is made of"),
    ],
)
def test_who_changed_it_is_found_out(change: Callable[..., None], why: str, packed: Path, tmp_path: Path) -> None:
    into = tmp_path / "deep" / "into"
    into.mkdir(parents=True)
    with pytest.raises(UserError, match=why):
        unpack_bundle(repacked(packed, change), into)
    outside = {path for path in tmp_path.rglob("*") if into not in path.parents}
    assert {path.name for path in outside} == {"b.tar.gz", "other.tar.gz", "deep", "into"}


def test_what_is_no_bundle(packed: Path, tmp_path: Path) -> None:
    into = tmp_path / "into"
    into.mkdir()
    other = tmp_path / "other"
    data = packed.read_bytes()
    texts: Mapping[bytes, str] = {
        b"": "is no bundle",
        b"hello": "is no bundle",
        gzip.compress(b"hello"): "cut short or damaged",
        gzip.compress(b"\0" * (1 << 22)): "no bundle: its first file",
        data[:-9]: "cut short or damaged",
        data[: len(data) // 2]: "cut short or damaged",
    }
    for text, why in texts.items():
        other.write_bytes(text)
        with pytest.raises(UserError, match=why):
            unpack_bundle(other, into)
    with pytest.raises(UserError, match="there is no file"):
        unpack_bundle(tmp_path / "none", into)


@settings(max_examples=60, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(1, 255))
def test_no_byte_can_be_changed_unseen(place: float, value: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("bundle")
    path, into = folder / "b.tar.gz", folder / "into"
    into.mkdir()
    identity = write_bundle(path, BUNDLE, CONTENTS, frozenset({"go.sh"}))
    plain = bytearray(gzip.decompress(path.read_bytes()))
    plain[int(place * len(plain))] ^= value
    path.write_bytes(gzip.compress(bytes(plain), 1))
    try:
        bundle, named = unpack_bundle(path, into)
    except UserError:
        return
    # What is left of tar's own: padding, owners, times. All that is read is as it was, or the list has another name.
    if named == identity:
        assert {one.path: (into / one.path).read_bytes() for one in bundle.files} == CONTENTS


@pytest.fixture
def ground(tmp_path: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Ground:
    ground = Ground(tmp_path, scratch_layout, monkeypatch)
    busybox = tmp_path / "busybox"
    busybox.write_bytes(b"static")
    monkeypatch.setattr(bundle_module, "busybox_here", lambda: busybox)
    monkeypatch.setattr(bundle_module, "suite_named", lambda _: SUITE)
    monkeypatch.setattr(bundle_module, "kept_build", lambda *_: kernel_in(tmp_path).build)
    scratch_layout.scratch.mkdir(exist_ok=True)
    return ground


def test_a_boot_is_packed_and_asked_for_again(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/secretuser"))
    monkeypatch.setattr("platform.node", lambda: "secrethost")
    monkeypatch.setattr("getpass.getuser", lambda: "secretuser")
    where = tmp_path / "my tree"
    ground.plays(good())
    asked = replace(request(), kernel=replace(request().kernel, source=SourceSpec(SourceKind.DIRECTORY, str(where))))
    _, directory = ground.execute(asked)
    kept = find_boot(ground.layout, directory.name)
    (kept.place / "results" / "said").write_text(f"{where}/mm/x.c at secrethost by secretuser in {Path.home()}\n")
    target = tmp_path / "b.tar.gz"
    make_bundle(kept, target, ground.layout, ground.told)
    plain = gzip.decompress(target.read_bytes())
    for word in (ground.layout.root, tmp_path, "secrethost", "secretuser"):
        assert str(word).encode() not in plain, word
    monkeypatch.setattr(bundle_module, "registry", lambda: type("R", (), {"suites": {"p": SUITE}}))
    with open_bundle(target, ground.layout) as opened:
        assert (opened.place / "evidence/results/said").read_text() == "SOURCE/mm/x.c at HOST by USER in HOME\n"
        assert opened.first.run.verdict is Verdict.GOOD
        words = (opened.place / "qemu.args").read_text().splitlines()
        assert words[0] == "qemu-system-x86_64" and "file:console.log" in words
        assert (opened.place / "reproduce.sh").stat().st_mode & 0o100
        with pytest.raises(UserError, match="was built of a tree of its maker"):
            opened.request(None)
        again = opened.request(SourceSpec.parse("debian"))
        assert (again.seed, again.machine, again.suites) == (1, kept.cell.machine, ("p",))
    assert not any(ground.layout.scratch.iterdir())
    monkeypatch.setattr(bundle_module, "registry", lambda: type("R", (), {"suites": {}}))
    with pytest.raises(UserError, match="runs p, which this harness has not"), open_bundle(target, ground.layout):
        pass


def test_a_boot_of_another_harness_is_not_packed(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.plays(good())
    _, directory = ground.execute(request())
    kept = find_boot(ground.layout, directory.name)
    monkeypatch.setattr(bundle_module, "kept_build", lambda *_: None)
    with pytest.raises(UserError, match="the store has the kernel of"):
        make_bundle(kept, tmp_path / "b.tar.gz", ground.layout, ground.told)
    monkeypatch.setattr("harness.flow.matrix.root_id", lambda _parts: "1" * 16)
    with pytest.raises(UserError, match="has other scripts or suites"):
        make_bundle(kept, tmp_path / "b.tar.gz", ground.layout, ground.told)
    assert not (tmp_path / "b.tar.gz").exists()
