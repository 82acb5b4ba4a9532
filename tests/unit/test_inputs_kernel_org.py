# SPDX-License-Identifier: GPL-2.0-only
"""kernel.org:VERSION against a web server on 127.0.0.1: checked, resumed, and refused where it must be."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.inputs import download
from harness.inputs.apt import FRESH_SECONDS
from harness.inputs.kernel_org import BASE_VARIABLE, parse_sums, resolve_kernel_org
from harness.inputs.source_cache import Work
from harness.model.errors import DeadlineExceeded, HarnessError, InfraError, UserError
from harness.model.tree import SourceSpec
from harness.proc import Deadline
from tests.unit.inputs_support import Server, listing, make_kernel, make_work, serving

SPEC = SourceSpec.parse("kernel.org:6.15.2")
NEWEST = SourceSpec.parse("kernel.org")
FILE = "/v6.x/linux-6.15.2.tar.xz"
SUMS = "/v6.x/sha256sums.asc"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    kernel = make_kernel(tmp_path / "linux-6.15.2", "6.15.2")
    (kernel / "noise").write_bytes(os.urandom(600_000))
    archive = tmp_path / "made.tar.xz"
    subprocess.run(["tar", "-caf", archive, "-C", tmp_path, kernel.name], check=True)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "_PAUSE", 0.01)
    with serving() as one:
        one.files[FILE] = archive.read_bytes()
        publish(one, hashlib.sha256(one.files[FILE]).hexdigest())
        monkeypatch.setenv(BASE_VARIABLE, one.base + "/")
        yield one


def publish(server: Server, digest: str) -> None:
    others = "".join(
        f"{'0' * 64}  linux-{one}.tar.{end}\n" for one in ("6.15", "6.15.1", "6.9") for end in ("xz", "gz")
    )
    server.files[SUMS] = (
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n"
        f"{others}{digest}  linux-6.15.2.tar.xz\n-----BEGIN PGP SIGNATURE-----\n\niQ==\n-----END PGP SIGNATURE-----\n"
    ).encode()


def refused(work: Work, kind: type[HarnessError], words: str) -> HarnessError:
    with pytest.raises(kind, match=words) as caught:
        resolve_kernel_org(SPEC, work)
    assert caught.value.hint
    assert listing(work.layout.sources) == []
    return caught.value


def test_download_check_unpack(tmp_path: Path, server: Server) -> None:
    work, heard = make_work(tmp_path)
    tree = resolve_kernel_org(SPEC, work)
    size = len(server.files[FILE])
    assert (tree.version, tree.spec) == ("6.15.2", "kernel.org:6.15.2")
    assert tree.origin == f"kernel.org linux-6.15.2.tar.xz sha256:{tree.id}"
    assert tree.id == hashlib.sha256(server.files[FILE]).hexdigest()
    assert (size, size, "B") in heard.advances
    assert listing(work.layout.downloads) == []
    server.asked.clear()
    assert resolve_kernel_org(SPEC, work) == tree
    assert server.asked == [], "a release that is in the store needs no network"


def test_a_connection_that_breaks_is_resumed(tmp_path: Path, server: Server) -> None:
    work, _ = make_work(tmp_path)
    server.cut_after = [200_000, 100_000]
    assert resolve_kernel_org(SPEC, work).version == "6.15.2"
    assert server.ranges == [None, None, "bytes=200000-", "bytes=300000-"]


def test_a_later_run_goes_on_where_an_earlier_one_stopped(tmp_path: Path, server: Server) -> None:
    work, _ = make_work(tmp_path)
    server.cut_after = [100_000, 1, 1, 1, 1]
    refused(work, InfraError, "cannot download .*linux-6.15.2.tar.xz: the connection broke off")
    assert resolve_kernel_org(SPEC, work).version == "6.15.2"
    assert server.ranges[-1] == "bytes=100004-"


def test_a_whole_file_left_by_an_earlier_run_is_used(tmp_path: Path, server: Server) -> None:
    work, _ = make_work(tmp_path)
    (work.layout.downloads / "linux-6.15.2.tar.xz").write_bytes(server.files[FILE])
    assert resolve_kernel_org(SPEC, work).version == "6.15.2"


def test_a_wrong_beginning_is_fetched_anew(tmp_path: Path, server: Server) -> None:
    work, heard = make_work(tmp_path)
    (work.layout.downloads / "linux-6.15.2.tar.xz").write_bytes(b"x" * 1000)
    assert resolve_kernel_org(SPEC, work).version == "6.15.2"
    assert any("again: what an earlier run left does not fit" in step for step in heard.steps)


def test_checksum_mismatch(tmp_path: Path, server: Server) -> None:
    work, _ = make_work(tmp_path)
    publish(server, "ab" * 32)
    refused(work, InfraError, f"checksum mismatch: .*{'ab' * 32}")
    assert listing(work.layout.downloads) == []


def test_no_such_release_lists_what_there_is(tmp_path: Path, server: Server) -> None:
    work, _ = make_work(tmp_path)
    for version, hint in (
        ("6.15.77", "there is 6.15.2, 6.15.1, 6.15"),
        ("6.99", "there is 6.15.2, 6.15.1, 6.15, 6.9"),
    ):
        with pytest.raises(UserError, match=f"kernel.org has no release {version}") as caught:
            resolve_kernel_org(SourceSpec.parse(f"kernel.org:{version}"), work)
        assert caught.value.hint == hint


@pytest.mark.parametrize("version", ["7", "7.4-rc1", "../../etc", "latest", "6.15.2/x", "6.15 "])
def test_what_is_no_release_is_not_even_asked_for(tmp_path: Path, server: Server, version: str) -> None:
    work, _ = make_work(tmp_path)
    with pytest.raises(UserError, match="has no release"):
        resolve_kernel_org(SourceSpec.parse(f"kernel.org:{version}"), work)
    assert server.asked == []


def test_404_of_the_list_and_of_the_file(tmp_path: Path, server: Server) -> None:
    work, _ = make_work(tmp_path)
    del server.files[FILE]
    refused(work, InfraError, r"linux-6.15.2.tar.xz does not exist \(404\)")
    del server.files[SUMS]
    refused(work, UserError, "kernel.org has no release 6.15.2: .*sha256sums.asc does not exist")


def test_a_list_that_is_none(tmp_path: Path, server: Server) -> None:
    work, _ = make_work(tmp_path)
    server.files[SUMS] = b"<html>please log in</html>"
    refused(work, InfraError, "is no list of checksums")


def test_a_server_in_trouble_is_asked_again(tmp_path: Path, server: Server) -> None:
    work, _ = make_work(tmp_path)
    server.fail_with = [503, 500]
    assert resolve_kernel_org(SPEC, work).version == "6.15.2"
    server.fail_with = [503] * 9
    with pytest.raises(InfraError, match="the server answers 503"):
        resolve_kernel_org(SourceSpec.parse("kernel.org:6.15.1"), work)


def test_unreachable(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    work, _ = make_work(tmp_path)
    monkeypatch.setenv(BASE_VARIABLE, "http://127.0.0.1:9")
    refused(work, InfraError, "cannot download http://127.0.0.1:9/v6.x/sha256sums.asc: .*refused")
    monkeypatch.setenv(BASE_VARIABLE, "nonsense")
    refused(work, InfraError, "is not an address")


def test_deadline(tmp_path: Path, server: Server) -> None:
    work, _ = make_work(tmp_path)
    server.fail_with = [503] * 9
    refused_work = Work(work.layout, Deadline(0.0), work.progress)
    with pytest.raises(DeadlineExceeded):
        resolve_kernel_org(SPEC, refused_work)


def test_no_space(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    work, _ = make_work(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: _Usage())
    refused(work, InfraError, "no space for downloading linux-6.15.2.tar.xz")


class _Usage:
    free = 10


def test_parse_sums() -> None:
    assert parse_sums("") == {}
    assert parse_sums(f"{'a' * 64}  x\n{'b' * 63}  y\n{'c' * 64} *z\nHash: SHA256\n") == {
        "x": "a" * 64,
        "z": "c" * 64,
    }


def test_who_only_lists_fetches_nothing(tmp_path: Path, server: Server) -> None:
    work, _ = make_work(tmp_path / "store")
    with pytest.raises(InfraError, match="would have to be fetched, and --list fetches nothing"):
        resolve_kernel_org(SourceSpec.parse("kernel.org:6.15"), replace(work, fetches=False))


def test_the_newest_release_is_found_by_the_lists_alone(tmp_path: Path, server: Server) -> None:
    work, heard = make_work(tmp_path)
    tree = resolve_kernel_org(NEWEST, work)
    assert (tree.version, tree.spec) == ("6.15.2", "kernel.org")
    assert server.asked[:2] == [SUMS, "/v7.x/sha256sums.asc"]
    assert "looking up the newest release on kernel.org" in heard.steps
    server.asked.clear()
    assert resolve_kernel_org(NEWEST, work) == tree
    assert server.asked == [], "what the server said is believed for some hours"


def test_a_newer_major_version_wins_once_it_has_a_release(tmp_path: Path, server: Server) -> None:
    work, _ = make_work(tmp_path)
    server.files["/v7.x/sha256sums.asc"] = f"{'0' * 64}  linux-7.0-rc1.tar.xz\n".encode()
    assert resolve_kernel_org(NEWEST, work).version == "6.15.2"
    server.files["/v7.x/sha256sums.asc"] = f"{'0' * 64}  linux-7.0.tar.xz\n".encode()
    assert resolve_kernel_org(NEWEST, work).version == "6.15.2"
    outdate(work)
    with pytest.raises(InfraError, match=r"linux-7\.0\.tar\.xz does not exist"):
        resolve_kernel_org(NEWEST, work)


def outdate(work: Work) -> None:
    long_ago = time.time() - FRESH_SECONDS - 1
    os.utime(work.layout.downloads / "kernel.org-newest", (long_ago, long_ago))


def test_without_a_network_the_newest_of_the_store_is_taken(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, heard = make_work(tmp_path)
    tree = resolve_kernel_org(NEWEST, work)
    monkeypatch.setenv(BASE_VARIABLE, "http://127.0.0.1:9")  # what another server said is not asked
    assert resolve_kernel_org(NEWEST, work) == tree
    assert "going on with 6.15.2, which is in the store" in heard.steps[-1]
    assert resolve_kernel_org(NEWEST, replace(work, fetches=False)) == tree
    other, _ = make_work(tmp_path / "other")
    with pytest.raises(InfraError, match="cannot download"):
        resolve_kernel_org(NEWEST, other)


def test_a_server_without_releases_has_no_newest(tmp_path: Path, server: Server) -> None:
    work, _ = make_work(tmp_path)
    server.files[SUMS] = b"<html>please log in</html>"
    with pytest.raises(InfraError, match="lists no release"):
        resolve_kernel_org(NEWEST, work)
    assert listing(work.layout.downloads) == []


def test_a_damaged_memory_of_the_newest_is_asked_anew(tmp_path: Path, server: Server) -> None:
    work, _ = make_work(tmp_path)
    (work.layout.downloads / "kernel.org-newest").write_bytes(b"\xff")
    assert resolve_kernel_org(NEWEST, work).version == "6.15.2"
