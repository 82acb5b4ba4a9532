# SPDX-License-Identifier: GPL-2.0-only
"""debian and debian:VERSION, with the real apt against a Debian mirror of a few kilobytes on 127.0.0.1."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.inputs import apt
from harness.inputs.apt import Catalogue, parse_offers
from harness.inputs.debian import best, fits, resolve_debian
from harness.inputs.resolve import resolve
from harness.inputs.source_cache import Work
from harness.model.codec import from_json, to_json
from harness.model.errors import HarnessError, InfraError, UserError
from harness.model.tree import SourceSpec, Tree
from harness.proc import Deadline, find_tool
from tests.unit.inputs_support import Heard, Server, listing, make_kernel, make_work, serving

needs_apt = pytest.mark.skipif(
    find_tool("apt-get") is None or find_tool("dpkg-deb") is None, reason="no apt-get and dpkg-deb"
)


class Mirror:
    """A Debian mirror: packages are added to suites, the lists are made anew each time."""

    def __init__(self, server: Server, room: Path) -> None:
        self.server = server
        self._room = room
        self._stanzas: dict[str, list[str]] = {}
        self._arch = subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True)

    def add(self, suite: str, package: str, version: str, *, archive: bool = True) -> str:
        """A package with a tiny kernel; its path on the server."""
        work = self._room / f"{package}_{version}"
        upstream = version.partition("-")[0].partition("~")[0]
        numbers = [*upstream.split("."), "0"][:3]
        make_kernel(work / "linux" / package, ".".join(numbers))
        (work / "deb" / "DEBIAN").mkdir(parents=True)
        (work / "deb" / "usr" / "src").mkdir(parents=True)
        if archive:
            target = work / "deb" / "usr" / "src" / f"{package}.tar.xz"
            subprocess.run(["tar", "-caf", target, "-C", work / "linux", package], check=True)
        control = f"Package: {package}\nVersion: {version}\nArchitecture: all\nMaintainer: a <a@b>\nDescription: x\n"
        (work / "deb" / "DEBIAN" / "control").write_text(control)
        deb = work / "out.deb"
        subprocess.run(["dpkg-deb", "-b", work / "deb", deb], check=True, stdout=subprocess.DEVNULL)
        name = f"pool/main/l/linux/{package}_{version}_all.deb"
        data = self.server.files[f"/debian/{name}"] = deb.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        self._stanzas.setdefault(suite, []).append(
            f"{control}Filename: {name}\nSize: {len(data)}\nSHA256: {digest}\n"
        )
        self._publish(suite)
        return f"/debian/{name}"

    def empty(self, suite: str) -> None:
        self._stanzas[suite] = []
        self._publish(suite)

    def _publish(self, suite: str) -> None:
        packages = "\n".join(self._stanzas[suite]).encode()
        name = f"main/binary-{self._arch.stdout.strip()}/Packages"
        digest = hashlib.sha256(packages).hexdigest()
        release = (
            f"Origin: Debian\nSuite: {suite}\nCodename: {suite}\nComponents: main\n"
            f"Architectures: {self._arch.stdout.strip()} all\nDate: Thu, 01 Jan 2026 00:00:00 UTC\n"
            f"SHA256:\n {digest} {len(packages)} {name}\n"
        )
        self.server.files[f"/debian/dists/{suite}/Release"] = release.encode()
        self.server.files[f"/debian/dists/{suite}/{name}"] = packages


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving() as server:
        (tmp_path / "apt").mkdir()
        line = f"deb [trusted=yes] {server.base}/debian trixie main\n"
        (tmp_path / "apt" / "sources.list").write_text(line)
        yield Mirror(server, tmp_path / "mirror")


class Host:
    """A work and a host's apt directory."""

    def __init__(self, root: Path) -> None:
        self.work, self.heard = make_work(root)
        self.apt = root / "apt"

    def resolve(self, text: str) -> Tree:
        return resolve_debian(SourceSpec.parse(text), self.work, self.apt)

    def refused(self, text: str, kind: type[HarnessError], words: str) -> HarnessError:
        with pytest.raises(kind, match=words) as caught:
            self.resolve(text)
        assert caught.value.hint
        assert listing(self.work.layout.sources) == [], caught.value.message
        return caught.value

    def age_the_lists(self, seconds: float) -> None:
        file = self.work.layout.downloads / "apt" / "catalogue.json"
        kept = from_json(Catalogue, file.read_text())
        file.write_text(to_json(Catalogue(kept.sources, kept.when - seconds, kept.offers, kept.complaint)))


@needs_apt
def test_the_newest_of_all_suites(tmp_path: Path, mirror: Mirror) -> None:
    mirror.add("trixie", "linux-source-6.12", "6.12.117-1")
    mirror.add("trixie-backports", "linux-source-7.3", "7.3.4-1~bpo13+1")
    mirror.add("sid", "linux-source-7.2", "7.2.13-1")
    host = Host(tmp_path)
    tree = host.resolve("debian")
    assert (tree.version, tree.spec) == ("7.3.4", "debian")
    assert tree.origin == f"linux-source-7.3 7.3.4-1~bpo13+1 sha256:{tree.id}"
    assert listing(tree.path.parent) == ["files", "linux", "tree.json"]
    assert listing(host.work.layout.downloads) == ["apt"], "the package is not kept"
    for text, version in (("debian:6.12", "6.12.117"), ("debian:7.2", "7.2.13"), ("debian:7", "7.3.4")):
        assert host.resolve(text).version == version
    for text in ("debian:7.2.13", "debian:7.2.13-1"):
        assert host.resolve(text).path == host.resolve("debian:7.2").path


@needs_apt
def test_warm_needs_neither_network_nor_process(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.add("sid", "linux-source-7.2", "7.2.13-1")
    host = Host(tmp_path)
    tree = host.resolve("debian")
    mirror.server.asked.clear()

    def never(*args: object, **more: object) -> None:
        raise AssertionError(args)

    monkeypatch.setattr(apt, "run", never)
    assert host.resolve("debian") == tree
    assert mirror.server.asked == []


@needs_apt
def test_old_lists_are_read_again_and_a_newer_package_is_taken(tmp_path: Path, mirror: Mirror) -> None:
    mirror.add("sid", "linux-source-7.2", "7.2.13-1")
    host = Host(tmp_path)
    assert host.resolve("debian").version == "7.2.13"
    mirror.add("sid", "linux-source-7.3", "7.3.4-1")
    assert host.resolve("debian").version == "7.2.13"
    host.age_the_lists(13 * 3600)
    assert host.resolve("debian").version == "7.3.4"


@needs_apt
def test_a_version_that_the_lists_lack_is_looked_for_again(tmp_path: Path, mirror: Mirror) -> None:
    mirror.add("sid", "linux-source-7.2", "7.2.13-1")
    host = Host(tmp_path)
    host.resolve("debian")
    mirror.add("sid", "linux-source-7.3", "7.3.4-1")
    host.age_the_lists(600)
    assert host.resolve("debian:7.3").version == "7.3.4"


@needs_apt
def test_lists_behind_the_mirror_are_read_again(tmp_path: Path, mirror: Mirror) -> None:
    gone = mirror.add("sid", "linux-source-7.2", "7.2.13-1")
    host = Host(tmp_path)
    with pytest.raises(UserError):
        host.resolve("debian:9.9")  # fetches the lists and nothing else
    del mirror.server.files[gone]
    mirror.empty("sid")
    mirror.add("sid", "linux-source-7.2", "7.2.14-1")
    assert host.resolve("debian").version == "7.2.14"


@needs_apt
def test_no_such_version_says_what_there_is(tmp_path: Path, mirror: Mirror) -> None:
    mirror.add("trixie", "linux-source-6.12", "6.12.117-1")
    host = Host(tmp_path)
    error = host.refused("debian:6.99", UserError, "no suite within reach has a linux-source 6.99")
    assert str(error.hint).startswith("there is 6.12.117-1 (of one suite apt said: ")
    host.refused("debian", UserError, r"has a linux-source 6\.15 or newer")


@needs_apt
def test_a_mirror_without_sources(tmp_path: Path, mirror: Mirror) -> None:
    mirror.empty("trixie")
    error = Host(tmp_path).refused("debian", UserError, "no suite within reach")
    assert str(error.hint).startswith("use kernel.org:VERSION")


@needs_apt
def test_unreachable_mirror(tmp_path: Path, mirror: Mirror) -> None:
    (tmp_path / "apt" / "sources.list").write_text("deb [trusted=yes] http://127.0.0.1:9/debian trixie main\n")
    Host(tmp_path).refused("debian", InfraError, "the Debian mirror cannot be reached: .*127.0.0.1")


@needs_apt
def test_unreachable_mirror_but_a_source_in_the_store(tmp_path: Path, mirror: Mirror) -> None:
    mirror.add("sid", "linux-source-7.2", "7.2.13-1")
    mirror.add("sid", "linux-source-6.12", "6.12.1-1")
    host = Host(tmp_path)
    tree, base = host.resolve("debian"), host.resolve("debian:6.12")
    mirror.server.files.clear()
    mirror.server.fail_with = [503] * 500
    host.age_the_lists(13 * 3600)
    assert host.resolve("debian") == tree
    assert "going on with linux-source-7.2 7.2.13-1" in host.heard.steps[-1]
    assert host.resolve("debian:6.12") == base
    with pytest.raises(HarnessError):
        host.resolve("debian:7.3")
    host.heard.steps.clear()
    assert host.resolve("debian:7.2.13-1").path == tree.path
    assert host.heard.steps == [], "an exact version in the store needs no mirror"


@needs_apt
def test_a_package_that_is_not_what_the_lists_say(tmp_path: Path, mirror: Mirror) -> None:
    path = mirror.add("sid", "linux-source-7.2", "7.2.13-1")
    whole = mirror.server.files[path]
    mirror.server.files[path] = whole[:-1] + bytes([whole[-1] ^ 1])
    host = Host(tmp_path)
    host.refused("debian", InfraError, "checksum mismatch: linux-source-7.2 7.2.13-1 is not what the mirror's lists")
    mirror.server.files[path] = whole
    assert host.resolve("debian").version == "7.2.13"


@needs_apt
def test_a_package_without_a_kernel(tmp_path: Path, mirror: Mirror) -> None:
    mirror.add("sid", "linux-source-7.2", "7.2.13-1", archive=False)
    Host(tmp_path).refused("debian", InfraError, "holds no kernel source")


@needs_apt
def test_no_space(tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.add("sid", "linux-source-7.2", "7.2.13-1")

    class Usage:
        free = 10

    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage())
    Host(tmp_path).refused("debian", InfraError, "no space for the mirror's package lists")


@needs_apt
def test_the_host_is_left_alone(tmp_path: Path, mirror: Mirror) -> None:
    mirror.add("sid", "linux-source-7.2", "7.2.13-1")
    watched = [Path(name) for name in ("/etc/apt", "/var/lib/apt/lists", "/var/cache/apt", "/var/lib/dpkg/status")]
    before = [path.stat().st_mtime_ns for path in watched if path.exists()]
    Host(tmp_path).resolve("debian")
    assert [path.stat().st_mtime_ns for path in watched if path.exists()] == before
    assert os.listdir(tmp_path / "apt") == ["sources.list"]


@needs_apt
def test_other_sources_of_the_host_make_the_lists_stale(tmp_path: Path, mirror: Mirror) -> None:
    mirror.add("sid", "linux-source-7.2", "7.2.13-1")
    host = Host(tmp_path)
    host.resolve("debian")
    mirror.server.asked.clear()
    with (tmp_path / "apt" / "sources.list").open("a") as file:
        file.write(f"deb [trusted=yes] {mirror.server.base}/debian bookworm main\n")
    host.resolve("debian")
    assert any("bookworm" in path for path in mirror.server.asked)


def test_no_apt_on_this_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apt, "find_tool", lambda name: None)
    error = Host(tmp_path).refused("debian", UserError, "needs apt-get and dpkg-deb, which this host does not have")
    assert "kernel.org:VERSION" in str(error.hint)


@needs_apt
def test_no_mirror_in_the_sources(tmp_path: Path) -> None:
    Host(tmp_path).refused("debian", UserError, "name no mirror of a distribution")


@pytest.mark.parametrize(
    ("version", "what", "expected"),
    [
        ("7.3.4-1~bpo13+1", "", True),
        ("6.15-1", "", True),
        ("6.14.9-1", "", False),
        ("6.12.117-1", "", False),
        ("7.4~rc1-1~exp1", "", False),
        ("7.4~rc1-1~exp1", "7.4", True),
        ("6.12.117-1", "6.12", True),
        ("6.12.117-1", "6.1", False),
        ("6.1.170-3", "6.12", False),
        ("7.2.13-1", "7.2.13", True),
        ("7.2.13-1", "7.2.13-1", True),
        ("7.2.13-1~bpo13+1", "7.2.13-1", False),
        ("7.2.130-1", "7.2.13", False),
        ("6.8.0-60.63", "6.8", True),
    ],
)
def test_fits(version: str, what: str, expected: bool) -> None:
    assert fits(version, what) is expected


def test_best() -> None:
    assert best([("7.2.13-1", "a"), ("7.3.4-1~bpo13+1", "b"), ("7.3.4-1", "c"), ("7.3.10~rc1", "d")]) == "d"
    assert best([]) is None


def test_parse_offers() -> None:
    stanza = "Package: linux-source-7.2\nVersion: 7.2-1\nSHA256: ab\nSize: 5\nDescription: x\n more: y\n"
    twice = f"{stanza}\n{stanza}\nPackage: linux-source-7.3\nVersion: 7.3-1\n"
    assert [(one.package, one.version, one.size) for one in parse_offers(twice)] == [("linux-source-7.2", "7.2-1", 5)]
    assert parse_offers("") == []


def test_resolve_finds_the_room_for_every_kind(tmp_path: Path) -> None:
    work, heard = make_work(tmp_path)
    kernel = make_kernel(tmp_path / "k")
    archive = tmp_path / "a.tar"
    subprocess.run(["tar", "-cf", archive, "-C", tmp_path, "k"], check=True)
    for text in (str(kernel), f"tar:{archive}"):
        assert resolve(SourceSpec.parse(text), work.layout, Deadline(30), heard).version == "7.3.4"
    for text in (f"git:{tmp_path}@main", "kernel.org:x", "tar:/none", "/none"):
        with pytest.raises(UserError):
            resolve(SourceSpec.parse(text), work.layout, Deadline(30), Heard())
    assert isinstance(work, Work)
