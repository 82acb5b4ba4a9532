# SPDX-License-Identifier: GPL-2.0-only
"""What is watched: kernels in git, mails in directories, archives, patchworks and threads; what is a resend."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.inputs.series import watch
from harness.inputs.series.patchwork import fetch_listed, list_patchwork
from harness.inputs.series.resolve import resolve_series
from harness.inputs.series.watch import (
    Posted,
    Watched,
    mails_in,
    mails_of_archive,
    mails_of_directory,
    revisions_in,
)
from harness.inputs.watch import watch_git, watch_source
from harness.model.errors import CommandFailed, InfraError, UserError
from harness.model.series import SeriesSpec
from harness.model.tree import SourceSpec
from tests.unit.inputs_support import make_work, serving
from tests.unit.series_support import Repo, git, mail, mbox, plain_diff

OWN = Path(__file__).parents[2] / "patches" / "ttm-backup-kunit"
EVERYTHING = Watched()


def series_of(count: int, revision: int = 1, letter: str = "a", name: str = "gpu", again: str = "") -> bytes:
    """A series as somebody posts it: a cover letter and patches, threaded."""
    version = f" v{revision}" if revision > 1 else ""
    tag = f"PATCH{' RESEND' if again else ''}{version}"
    cover = f"cover{revision}{again}.{name}@x.org"
    mails = [mail(f"[{tag} 0/{count}] {name}: change it", "Why.\n", cover)]
    for number in range(1, count + 1):
        text = f"Because.\n\n---\n{plain_diff(f'drivers/gpu/{name}{number}.c', letter)}-- \n2.43.0\n"
        mails.append(mail(f"[{tag} {number}/{count}] {name}: part {number}", text, f"{number}.{cover}", cover))
    return mbox(*mails)


def found_in(*files: bytes, watched: Watched = EVERYTHING) -> list[Posted]:
    return list(revisions_in([one for data in files for one in mails_in(data, "t.mbox")], watched))


def test_revisions_of_a_series_are_one_family_in_their_order() -> None:
    found = found_in(series_of(2, 2, "b"), series_of(2), series_of(1, name="other"))
    gpu = [one for one in found if one.series.name == "gpu: change it"]
    assert [one.series.revision for one in gpu] == [1, 2]
    assert len({one.family for one in gpu}) == 1
    assert len({one.family for one in found}) == 2
    assert not [one.trouble for one in found if one.trouble]


def test_what_is_kept_of_a_revision_is_that_revision(tmp_path: Path) -> None:
    for one in found_in(series_of(3), series_of(3, 2, "b"), series_of(2, name="other")):
        file = tmp_path / "kept.mbox"
        file.write_bytes(one.mbox)
        again = resolve_series(SeriesSpec.parse(f"mbox:{file}{one.pick}"), make_work(tmp_path)[0])
        assert (again.id, again.revision) == (one.series.id, one.series.revision)


def test_a_resend_has_the_same_patches_and_a_change_has_not() -> None:
    first, again, changed = found_in(series_of(2), series_of(2, again="-again"), series_of(2, 2, "b"))
    assert first.series.id == again.series.id
    assert first.series.id != changed.series.id
    higher = found_in(series_of(2), series_of(2, 2))
    assert len({one.series.id for one in higher}) == 1  # a number alone makes no revision


def test_only_what_is_watched_for_is_taken() -> None:
    files = (series_of(2), series_of(1, name="other"))
    assert [one.series.name for one in found_in(*files, watched=Watched(subjects=("OTHER:*",)))] == [
        "other: change it"
    ]
    assert [one.series.name for one in found_in(*files, watched=Watched(files=("drivers/gpu/gpu2.c",)))] == [
        "gpu: change it"
    ]
    assert found_in(*files, watched=Watched(subjects=("mm:*",))) == []
    assert found_in(*files, watched=Watched(files=("mm/*",))) == []


def test_a_series_that_is_not_whole_says_so() -> None:
    whole = series_of(3)
    cut = whole[: whole.index(b"[PATCH 3/3]") - 200].rpartition(b"From mboxrd@z")[0]
    (found,) = found_in(cut)
    assert "3" in found.trouble
    assert "missing" in found.trouble


def test_talk_is_no_series() -> None:
    talk = mail("Re: [PATCH 1/2] gpu: part 1", f"> quoted\n\n{plain_diff()}", "r@x.org", "1.cover1.gpu@x.org")
    report = mail("a bug", "It broke.\n", "bug@x.org")
    assert found_in(mbox(talk, report)) == []


def test_a_directory_has_what_its_files_have_and_names_those_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "1.mbox").write_bytes(series_of(2))
    (tmp_path / "2.mbox").write_bytes(series_of(2, 2, "b"))
    (tmp_path / "3.mbox.gz").write_bytes(b"\x1f\x8bno gzip")
    (tmp_path / "notes.txt").write_text("nothing\n")
    mails, troubles = mails_of_directory(tmp_path)
    assert [one.series.revision for one in revisions_in(mails, EVERYTHING)] == [1, 2]
    assert len(troubles) == 1
    assert "3.mbox.gz" in troubles[0]
    with pytest.raises(UserError, match="is not a directory"):
        mails_of_directory(tmp_path / "none")


def test_revisions_that_git_wrote_within_a_second(tmp_path: Path) -> None:
    """The project's own: both cover letters have one Message-ID."""
    for name in ("v1", "v2"):
        data = b"".join(path.read_bytes() for path in sorted((OWN / name).iterdir()))
        (tmp_path / f"{name}.mbox").write_bytes(data)
    mails, _ = mails_of_directory(tmp_path)
    found = list(revisions_in(mails, EVERYTHING))
    assert [(one.series.revision, one.trouble) for one in found] == [(1, ""), (2, "")]
    assert len({one.family for one in found}) == 1
    for one in found:
        (tmp_path / "kept.mbox").write_bytes(one.mbox)
        spec = SeriesSpec.parse(f"mbox:{tmp_path}/kept.mbox{one.pick}")
        assert resolve_series(spec, make_work(tmp_path)[0]).id == one.series.id


def inbox(place: Path, *mails: bytes) -> None:
    """A public-inbox repository: a commit for each mail, in a file m."""
    place.mkdir(parents=True)
    git(place, "init", "-q", "-b", "master")
    for one in mails:
        (place / "m").write_bytes(one)
        git(place, "add", "m")
        git(place, "commit", "-q", "-m", "a mail")


def apart(data: bytes) -> list[bytes]:
    return [one.data.partition(b"\n")[2] for one in mails_in(data, "t.mbox")]


def test_a_mirror_of_an_archive(tmp_path: Path) -> None:
    odd = mail("caf\u00e9 data 12", "data 3\nblob\n\u00e9\n", "odd@x.org")
    mails = [*apart(series_of(2)), odd, *apart(series_of(2, 2, "b"))]
    inbox(tmp_path / "0.git", *mails)
    work = make_work(tmp_path)[0]
    found = mails_of_archive(tmp_path / "0.git", "2020-01-01T00:00:00+00:00", work)
    assert len(found) == len(mails)
    assert [one.series.revision for one in revisions_in(found, EVERYTHING)] == [1, 2]
    assert mails_of_archive(tmp_path / "0.git", "2099-01-01T00:00:00+00:00", work) == []
    (tmp_path / "v2" / "git").mkdir(parents=True)
    for number in ("0", "1", "2"):
        shutil.copytree(tmp_path / "0.git", tmp_path / "v2" / "git" / f"{number}.git")
    assert len(mails_of_archive(tmp_path / "v2", "2020-01-01T00:00:00+00:00", work)) == 2 * len(mails)
    with pytest.raises(UserError, match="no public-inbox"):
        mails_of_archive(tmp_path / "v2" / "none", "2020-01-01", work)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_stream_has_an_end(data: bytes) -> None:
    list(watch._blobs(b"+ git\n" + data))
    list(watch._blobs(b"+ git\nblob\nmark :1\ndata 5\n" + data))


def test_a_patchwork_of_each_kind(tmp_path: Path) -> None:
    work = make_work(tmp_path)[0]
    with serving() as server:
        address = f"{server.base}/project/gpu/"
        cover = {"mbox": f"{server.base}/cover/7/mbox/"}
        listed = [{"id": 3, "name": "gpu: change it", "cover_letter": cover}, {"id": 4, "name": "x"}]
        server.files["/api/series/?project=gpu&order=-id&per_page=50"] = json.dumps(listed).encode()
        server.files["/series/3/mbox/"] = series_of(2)
        first, second = list_patchwork(address, work)
        assert (first.name, second.path) == ("gpu: change it", "/series/4/mbox/")
        assert len(found_in(fetch_listed(address, first, work))) == 1
    with serving() as server:
        address = f"{server.base}/project/gpu/series/"
        facts = {"results": [{"id": 9, "name": "gpu", "version": 2}]}
        server.files["/api/1.0/projects/gpu/series/?ordering=-last_updated&perpage=50"] = json.dumps(facts).encode()
        (only,) = list_patchwork(address, work)
        assert only.path == "/api/1.0/series/9/revisions/2/mbox/"
        server.files["/api/1.0/projects/gpu/series/?ordering=-last_updated&perpage=50"] = b'{"results": [1]}'
        with pytest.raises(InfraError, match="no list of series"):
            list_patchwork(address, work)


def test_a_thread_is_fetched_by_b4_with_its_newer_revisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A b4 that is made up: it must be asked for newer revisions."""
    from harness.inputs.series.lore import fetch_mbox

    (tmp_path / "thread").write_bytes(series_of(2) + series_of(2, 2, "b"))
    script = tmp_path / "bin" / "b4"
    script.parent.mkdir()
    script.write_text(
        f'#!/bin/sh\ncase "$*" in *--check-newer-revisions*) ;; *) exit 9;; esac\ncp {tmp_path}/thread thread.mbox\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=":")
    data = fetch_mbox("a@x.org", make_work(tmp_path)[0], newer=True)
    assert [one.series.revision for one in found_in(data)] == [1, 2]
    with pytest.raises(InfraError, match="cannot fetch the thread"):
        fetch_mbox("a@x.org", make_work(tmp_path)[0])


def test_branches_and_tags_of_a_repository(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "k")
    for name in ("v7.1", "v7.2"):
        repo.write("x", name)
        repo.commit(name)
        repo.git("tag", "-a", "-m", name, name)
    head = repo.git("rev-parse", "HEAD").decode().strip()
    work = make_work(tmp_path)[0]
    found = list(watch_git(repo.path, ("main", "v7.*"), 1, "", work))
    assert (found[0].ref, found[0].id) == ("main", head)
    assert len(found) == 2
    assert all(one.spec.what == one.id for one in found)
    assert len(list(watch_git(repo.path, ("v7.*",), 5, "", work))) == 2
    with pytest.raises(InfraError, match=r"no branch and no tag 'v9\*'"):
        list(watch_git(repo.path, ("main", "v9*"), 1, "", work))
    with pytest.raises(UserError, match="not a git repository"):
        list(watch_git(tmp_path, ("main",), 1, "", work))


def test_a_mirror_is_fetched_first_where_that_is_asked_for(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "k")
    git(tmp_path, "clone", "-q", "--bare", str(repo.path), str(tmp_path / "mirror"))
    git(tmp_path / "mirror", "config", "remote.origin.fetch", "+refs/heads/*:refs/heads/*")
    repo.write("x", "new")
    repo.commit("new")
    head = repo.git("rev-parse", "HEAD").decode().strip()
    work = make_work(tmp_path)[0]
    (old,) = watch_git(tmp_path / "mirror", ("main",), 1, "", work)
    (new,) = watch_git(tmp_path / "mirror", ("main",), 1, "origin", work)
    assert old.id != new.id == head
    shutil.rmtree(repo.path)
    with pytest.raises(CommandFailed):
        list(watch_git(tmp_path / "mirror", ("main",), 1, "origin", work))


def test_a_directory_is_another_kernel_when_it_changes(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "k")
    work = make_work(tmp_path)[0]
    first = watch_source(SourceSpec.parse(str(repo.path)), work)
    assert watch_source(SourceSpec.parse(str(repo.path)), work) == first
    repo.change("drivers/a.c", "int line_a1;", "int line_a0;")
    assert watch_source(SourceSpec.parse(str(repo.path)), work).id != first.id
    commit = watch_source(SourceSpec.parse(f"git:{repo.path}@main"), work)
    assert commit.id == repo.git("rev-parse", "main").decode().strip()
