# SPDX-License-Identifier: GPL-2.0-only
"""Root file systems: their names, hostile archives, and what a root must have."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import resource
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.inputs import root_archive, roots
from harness.inputs.apt_sources import Repository
from harness.inputs.root_archive import unpack_root
from harness.inputs.roots import obtain_root, require_usable, sources_for
from harness.inputs.source_cache import Work
from harness.model.errors import HarnessError, UserError
from harness.model.root import RootKind, RootSpec
from harness.proc import Deadline
from harness.store.layout import Layout


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("busybox", RootSpec()),
        ("debian:trixie", RootSpec(RootKind.DEBIAN, "trixie")),
        ("debian:trixie+python3+bash+bash", RootSpec(RootKind.DEBIAN, "trixie", ("bash", "python3"))),
        ("debian:sid+g+++make", RootSpec(RootKind.DEBIAN, "sid", ("g++", "make"))),
        ("debian:sid,libstdc++6", RootSpec(RootKind.DEBIAN, "sid", ("libstdc++6",))),
        ("debian:sid+libstdc++6", None),
        ("dir:/srv/root:1", RootSpec(RootKind.DIRECTORY, "/srv/root:1")),
        ("tar:my.tar.xz", RootSpec(RootKind.TAR, "my.tar.xz")),
        ("", None),
        ("busybox:", None),
        ("debian", None),
        ("debian:", None),
        ("debian:Trixie", None),
        ("debian:trixie++bash", None),
        ("debian:trixie+-oDpkg", None),
        ("debian:trixie+../x", None),
        ("dir:", None),
        ("ext4:x", None),
        ("dir:a\nb", None),
    ],
)
def test_a_root_is_what_its_name_says_or_refused(text: str, spec: RootSpec | None) -> None:
    if spec is None:
        with pytest.raises(UserError, match="the root") as caught:
            RootSpec.parse(text)
        assert caught.value.hint
        return
    assert RootSpec.parse(text) == spec
    assert RootSpec.parse(str(spec)) == spec


SECONDS = 60.0


def archive_of(place: Path, *members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]) -> Path:
    path = place / "root.tar"
    with tarfile.open(path, "w") as tar:
        for one in members:
            member, data = one if isinstance(one, tuple) else (one, b"")
            if data:
                member.size = len(data)
            tar.addfile(member, io.BytesIO(data) if member.size else None)
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", mode: int = 0o755) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.mode = kind, target, mode
    return found


def unpacked(archive: Path, room: int = 1 << 20) -> Path:
    into = archive.parent / "into"
    into.mkdir()
    unpack_root(archive, into, Deadline(SECONDS), room)
    return into


SHELL = (member("usr/bin/sh"), b"#!")


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
def test_an_archive_is_unpacked_with_its_links_and_without_devices(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    archive = archive_of(
        tmp_path,
        member("./", tarfile.DIRTYPE),
        member("./bin", tarfile.SYMTYPE, "usr/bin"),
        member("./etc", tarfile.DIRTYPE, mode=0o700),
        (member("./etc/secret", mode=0o4000), b"x" * 600_000),
        SHELL,
        member("./etc/absolute", tarfile.SYMTYPE, "/etc/secret"),
        member("./etc/same", tarfile.LNKTYPE, "./etc/secret"),
        member("./dev", tarfile.DIRTYPE),
        member("./dev/null", tarfile.CHRTYPE),
        member("./run/left", tarfile.FIFOTYPE),
    )
    archive.write_bytes(compress(archive.read_bytes()))
    root = unpacked(archive)
    assert (root / "bin/sh").read_bytes() == b"#!"
    assert (root / "etc/secret").stat().st_mode & 0o7777 == 0o600
    assert (root / "etc/same").stat().st_ino == (root / "etc/secret").stat().st_ino
    assert (root / "etc/absolute").readlink() == Path("/etc/secret")
    assert list((root / "dev").iterdir()) == []
    assert not (root / "run").exists()


HOSTILE: dict[str, tuple[tarfile.TarInfo | tuple[tarfile.TarInfo, bytes], ...]] = {
    "leads outside": ((member("../outside"), b"x"),),
    "member /outside leads outside": ((member("/outside"), b"x"),),
    "member a/../../outside leads": ((member("a/../../outside"), b"x"),),
    "is a file and a directory": ((member("a"), b"x"), (member("a/b"), b"x")),
    "is a directory and a link": ((member("a/x"), b"x"), member("a", tarfile.SYMTYPE, "../..")),
    "lies behind a link": (SHELL, member("a", tarfile.SYMTYPE, "../.."), member("a/b", tarfile.SYMTYPE, "c")),
    "is a device or a pipe": (SHELL, member("etc/disk", tarfile.BLKTYPE)),
    "is a link to no file": (SHELL, member("a", tarfile.LNKTYPE, "../../etc/passwd")),
    "b is a link to no file": (SHELL, member("b", tarfile.LNKTYPE, "none")),
    "its files are more than 1": ((member("a"), b"x" * 700_000), (member("b"), b"x" * 700_000)),
    "directories deep": ((member("d/" * 200 + "x"), b"x"),),
    "no file in it": (member("a", tarfile.DIRTYPE),),
}


@pytest.mark.parametrize(("why", "members"), HOSTILE.items(), ids=list(HOSTILE))
def test_a_hostile_archive_is_refused_and_writes_nothing_outside(
    tmp_path: Path, why: str, members: tuple[tarfile.TarInfo, ...]
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    with pytest.raises(UserError, match=why):
        unpacked(archive_of(place, *members))
    assert {path.name for path in tmp_path.iterdir()} == {"place"}
    assert {path.name for path in place.iterdir()} == {"root.tar", "into"}


def test_a_link_cannot_be_written_through(tmp_path: Path) -> None:
    """Links come last, wherever they stand in the archive."""
    outside = tmp_path / "outside"
    outside.mkdir()
    archive = archive_of(tmp_path, member("a", tarfile.SYMTYPE, str(outside)), (member("a/x"), b"x"))
    with pytest.raises(UserError, match="a directory and a link"):
        unpacked(archive)
    assert list(outside.iterdir()) == []


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = member("zeroes")
    bomb.size = 1 << 40
    header = bomb.tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "root.tar").write_bytes(gzip.compress(header + bytes(1 << 20)))
    with pytest.raises(UserError, match="more than 1"):
        unpacked(tmp_path / "root.tar")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_is_a_bomb_takes_no_memory(tmp_path: Path, kind: bytes) -> None:
    long = member("long", kind)
    long.size = 1 << 33
    (tmp_path / "root.tar").write_bytes(gzip.compress(long.tobuf(tarfile.GNU_FORMAT) + bytes(8 << 20)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match="is not a tar archive: a header of 8"):
        unpacked(tmp_path / "root.tar")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


def test_many_members_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(root_archive, "MOST_MEMBERS", 5)
    with pytest.raises(UserError, match="more than 5 members"):
        unpacked(archive_of(tmp_path, *(member(f"f{number}") for number in range(6))))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 10239), place=st.integers(0, 10239), byte=st.integers(0, 255))
def test_whatever_an_archive_is_it_is_unpacked_or_refused(tmp_path: Path, cut: int, place: int, byte: int) -> None:
    with tempfile.TemporaryDirectory(dir=tmp_path) as own:
        archive = archive_of(Path(own), SHELL, member("bin", tarfile.SYMTYPE, "usr/bin"), (member("x"), b"y" * 3000))
        data = bytearray(archive.read_bytes())
        data[place] = byte
        archive.write_bytes(data[: len(data) - cut])
        try:
            unpacked(archive)
        except HarnessError as error:
            assert "\n" not in error.message
        assert {path.name for path in Path(own).iterdir()} == {"root.tar", "into"}


def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path) -> None:
    for data in (b"", b"nothing of the kind", bytes(10240)):
        (tmp_path / "root.tar").write_bytes(data)
        with pytest.raises(UserError, match=r"not a tar archive|no file in it"):
            unpacked(tmp_path / "root.tar")
        (tmp_path / "into").rmdir()


class Told:
    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def advance(self, done: int, total: int, unit: str) -> None: ...


def work_in(place: Path, told: Told | None = None) -> Work:
    return Work(Layout(place), Deadline(SECONDS), told or Told())


def root_archive_in(place: Path) -> Path:
    return archive_of(
        place,
        member("bin", tarfile.SYMTYPE, "usr/bin"),
        member("lib", tarfile.SYMTYPE, "/usr/lib"),
        member("usr/lib", tarfile.DIRTYPE),
        SHELL,
    )


def test_an_archive_is_unpacked_once_by_its_content(tmp_path: Path) -> None:
    archive, told = root_archive_in(tmp_path), Told()
    spec = RootSpec.parse(f"tar:{archive}")
    made = obtain_root(spec, work_in(tmp_path / "store", told))
    assert (made.files, made.size) == (3, 2)
    assert (made.tree / "usr/lib/modules").is_dir()
    assert any("3 files" in step for step in told.steps)
    told.steps.clear()
    other = archive.rename(tmp_path / "other.tar")
    again = obtain_root(RootSpec.parse(f"tar:{other}"), work_in(tmp_path / "store", told))
    assert (again.tree, again.files, told.steps) == (made.tree, 3, [])
    # What is not as it was made is made again.
    (made.tree / "usr/bin/sh").write_bytes(b"evil")
    assert (obtain_root(RootSpec.parse(f"tar:{other}"), work_in(tmp_path / "store", told)).tree / "bin/sh").exists()
    assert (made.tree / "usr/bin/sh").read_bytes() == b"#!"
    assert "set aside" in told.steps[0]


def test_a_bad_archive_leaves_nothing_in_the_store(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, (member("../x"), b"x"))
    with pytest.raises(UserError, match="refused"):
        obtain_root(RootSpec.parse(f"tar:{archive}"), work_in(tmp_path / "store"))
    assert list((tmp_path / "store/roots").iterdir()) == []
    with pytest.raises(UserError, match="is not a file"):
        obtain_root(RootSpec.parse(f"tar:{tmp_path}"), work_in(tmp_path / "store"))


def test_a_root_needs_what_a_command_needs(tmp_path: Path) -> None:
    place = tmp_path / "root"
    program = Path("/bin/true")

    def refusal() -> str:
        with pytest.raises(UserError) as caught:
            require_usable(obtain_root(RootSpec.parse(f"dir:{place}"), work_in(tmp_path / "store")), program)
        return caught.value.message

    assert "is not a directory" in refusal()
    (place / "usr/bin").mkdir(parents=True)
    assert "no /bin/sh" in refusal()
    (place / "bin").symlink_to("/usr/bin")
    (place / "usr/bin/sh").symlink_to("../../../../../bin/dash")  # as the guest follows it
    assert "no /bin/sh" in refusal()
    (place / "usr/bin/dash").write_bytes(b"\x7fELF" + bytes([1]) * 16)
    assert "cannot be executed" in refusal()
    (place / "usr/bin/dash").chmod(0o755)
    assert "another architecture" in refusal()
    (place / "usr/bin/dash").write_bytes(program.read_bytes()[:64])
    assert "no directory /lib/modules" in refusal()
    (place / "lib/modules").mkdir(parents=True)
    require_usable(obtain_root(RootSpec.parse(f"dir:{place}"), work_in(tmp_path / "store")), program)
    (place / "usr/bin/dash").unlink()
    (place / "usr/bin/dash").symlink_to("sh")
    assert "no /bin/sh" in refusal()  # a loop


def test_the_hosts_own_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="all of this host"):
        obtain_root(RootSpec.parse("dir:/usr/.."), work_in(tmp_path))


def repository(*suites: str, key: str = "debian-archive-keyring.gpg") -> Repository:
    return Repository(("http://mirror.example/debian",), suites, ("main",), (("Signed-By", f"/usr/share/{key}"),))


def test_a_suite_comes_from_the_hosts_own_mirror() -> None:
    host = [repository("bookworm", "bookworm-updates", "bookworm-backports"), repository("bookworm-security")]
    own = sources_for(RootSpec.parse("debian:bookworm"), host)
    assert [one.suites for one in own] == [("bookworm", "bookworm-updates"), ("bookworm-security",)]
    for suite in ("trixie", "forky"):
        found = sources_for(RootSpec.parse(f"debian:{suite}"), host)
        assert [(one.uris, one.suites) for one in found] == [(host[0].uris, (suite,))]
    ubuntu = [repository("noble", "noble-updates", key="ubuntu-archive-keyring.gpg")]
    assert [one.suites for one in sources_for(RootSpec.parse("debian:noble"), ubuntu)] == [("noble", "noble-updates")]
    assert sources_for(RootSpec.parse("debian:trixie"), ubuntu) == []


def fake_mmdebstrap(place: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    place.mkdir(exist_ok=True)
    (place / "mmdebstrap").write_text(f"#!/bin/sh\n{script}\n")
    (place / "mmdebstrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")


def apt_in(place: Path) -> Path:
    (place / "apt/sources.list.d").mkdir(parents=True)
    (place / "apt/sources.list").write_text("deb http://mirror.example/debian bookworm main\n")
    return place / "apt"


STATUS = b"Package: bash\nStatus: install ok installed\nVersion: 5.2-1\nDescription: shell\n more: of it\n"


def test_a_root_of_debian_is_what_mmdebstrap_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = member("var/lib/dpkg/status")
    made = archive_of(tmp_path, SHELL, member("usr/lib", tarfile.DIRTYPE), (status, STATUS))
    said = tmp_path / "said"
    # The last word but one is the file to write.
    copy = f'while [ $# -gt 2 ]; do shift; done; cp {made} "$1"'
    fake_mmdebstrap(tmp_path / "bin", monkeypatch, f'printf "%s\\n" "$@" >{said}; {copy}')
    root = obtain_root(RootSpec.parse("debian:trixie+bash"), work_in(tmp_path / "store"), apt_in(tmp_path))
    words = said.read_text().splitlines()
    assert "--include=bash" in words
    assert words[-3] == "trixie"
    assert root.place is not None
    assert (root.place / "packages").read_text() == "bash 5.2-1\n"
    assert {path.name for path in root.place.iterdir()} == {
        *("tree", "packages", "root.json", "mmdebstrap.log", ".seal"),
    }


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("E: Unable to locate package nosuch", "trixie has no package nosuch"),
        ("E: The repository 'http://x trixie Release' does not have a Release file.", "no suite trixie"),
        ("E: Failed to fetch http://x: Temporary failure resolving\nE: mmdebstrap failed to run", "Failed to fetch"),
        ("write error: No space left on device", "no space left"),
    ],
)
def test_what_mmdebstrap_cannot_do_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, why: str
) -> None:
    fake_mmdebstrap(tmp_path / "bin", monkeypatch, f'echo "{said}" >&2; exit 1')
    with pytest.raises(HarnessError, match=why):
        obtain_root(RootSpec.parse("debian:trixie"), work_in(tmp_path / "store"), apt_in(tmp_path))
    assert list((tmp_path / "store/roots").iterdir()) == []


def test_without_mmdebstrap_or_a_mirror_a_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = RootSpec.parse("debian:trixie")
    monkeypatch.setattr(roots, "find_tool", lambda name: None)
    with pytest.raises(UserError, match="needs mmdebstrap"):
        obtain_root(spec, work_in(tmp_path / "store"))
    monkeypatch.setattr(roots, "find_tool", lambda name: Path(name))
    with pytest.raises(UserError, match="name no mirror"):
        obtain_root(spec, work_in(tmp_path / "store"), tmp_path)


@pytest.mark.parametrize(
    ("lines", "enough"),
    [
        ("other:1:65536\n%s:100000:65536\n", True),
        ("1234:100000:70000\n", True),
        ("%s:100000:1000\n", False),
        ("other:100000:65536\n", False),
        ("%s:100000:many\n%s\n", False),
        ("", False),
    ],
)
def test_an_ordinary_user_needs_ids_of_others(
    lines: str, enough: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = SimpleNamespace(pw_name="somebody")
    monkeypatch.setattr("pwd.getpwuid", lambda uid: user)
    monkeypatch.setattr("os.geteuid", lambda: 1234)
    monkeypatch.setattr(roots, "find_tool", lambda name: Path(name))
    monkeypatch.setattr(roots, "run", lambda *_, **__: None)
    files = (tmp_path / "subuid", tmp_path / "subgid")
    monkeypatch.setattr(roots, "_SUBORDINATE", files)
    spec = RootSpec.parse("debian:trixie")
    with pytest.raises(UserError, match=r"somebody has no ids in .*subuid and .*subgid"):
        roots._mode(spec)
    for file in files:
        file.write_text(lines.replace("%s", "somebody"))
    if enough:
        assert roots._mode(spec) == "unshare"
    else:
        with pytest.raises(UserError, match="the user somebody has no ids in"):
            roots._mode(spec)
