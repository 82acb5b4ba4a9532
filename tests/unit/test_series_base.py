# SPDX-License-Identifier: GPL-2.0-only
"""The base of a series: stated, by its blobs, by the names in its mails, or the newest on which all of it applies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.inputs.debian import Release
from harness.inputs.series import base as base_room
from harness.inputs.series.base import find_base, tree_names, wanted_blobs
from harness.inputs.source_cache import Work
from harness.model.errors import FindingError, UserError
from harness.model.series import PatchReport, Series, Trailer
from harness.model.subject import Branch
from harness.model.tree import SourceSpec
from harness.model.units import MIB
from harness.proc import Deadline
from harness.store.layout import Layout
from harness.suites.registry import registry
from tests.unit.series_support import Repo, mail, mbox, plain_diff, read


class Told:
    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def advance(self, done: int, total: int, unit: str) -> None:
        pass


@pytest.fixture
def work(scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Work:
    monkeypatch.setattr(base_room, "debian_releases", lambda work: ())  # no mirror is asked here
    return Work(scratch_layout, Deadline(60), Told())


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """v1 on top of the commit `base`; the branch `main` has gone on since, the tags too."""
    repo = Repo(tmp_path / "k")
    repo.git("tag", "v7.3")
    repo.three()
    repo.git("reset", "-q", "--hard", "base")
    repo.change("drivers/a.c", "int line_a50;\n", "long line_a50;\n")
    repo.commit("elsewhere in a")
    repo.git("tag", "v7.4-rc1")
    repo.change("drivers/a.c", "int line_a10;\n", "char line_a10;\n")
    repo.commit("in the way")
    repo.git("tag", "v7.4")
    return repo


def commit(repo: Repo, name: str) -> str:
    return repo.git("rev-parse", name).decode().strip()


def series(repo: Repo, *, stated: bool = False, blobs: bool = False) -> Series:
    found = read(repo.mbox())
    assert found.base_commit == commit(repo, "base")
    if not stated:
        found = replace(found, base_commit=None)
    if not blobs:
        patches = tuple(
            replace(patch, files=tuple(replace(one, old_blob="") for one in patch.files)) for patch in found.patches
        )
        found = replace(found, patches=patches)
    return found


def test_the_commit_that_it_states(repo: Repo, work: Work) -> None:
    found = find_base(series(repo, stated=True), [repo.path], work)
    assert str(found.source) == f"git:{repo.path}@{commit(repo, 'base')}"
    assert found.why == "the base-commit that it states"
    assert found.tried == ()


def test_a_stated_commit_that_no_tree_has_is_told(repo: Repo, work: Work) -> None:
    lost = replace(series(repo), base_commit="1234567890abcdef" * 2)
    found = find_base(lost, [repo.path], work)
    assert found.tried[0] == "base-commit 1234567890ab: no tree has it"
    with pytest.raises(FindingError, match="no tree was given with --tree"):
        find_base(lost, [], work)


def test_the_newest_commit_with_its_blobs(repo: Repo, work: Work) -> None:
    one = series(repo, blobs=True)
    assert set(wanted_blobs(one)) == {"drivers/a.c", "drivers/b.c", "drivers/c.c"}
    found = find_base(one, [repo.path], work)
    assert found.source.what == commit(repo, "base")
    assert found.why == "the newest commit with all 3 blobs of the diffs"
    assert found.tried == ("the series states no base-commit",)


def test_a_blob_that_an_earlier_patch_made_is_not_looked_for(repo: Repo) -> None:
    repo.git("reset", "-q", "--hard", "v1")
    repo.change("drivers/a.c", "int line_a30;\n", "long line_a30;\n")
    repo.commit("a again")
    repo.git("tag", "v1more")
    again = read(repo.git("format-patch", "--stdout", "--cover-letter", "base..v1more"))
    assert wanted_blobs(again) == wanted_blobs(series(repo, blobs=True))


def test_a_branch_that_the_mails_name(repo: Repo, work: Work) -> None:
    repo.git("branch", "drm-tiny-next", "base")
    named = read(mbox(mail("[PATCH drm-tiny-next 1/1] gpu: it", f"Because.\n---\n\n{plain_diff()}", "it@x")))
    assert named.trees == ("drm-tiny-next",)
    found = find_base(named, [repo.path], work)
    assert found.source.what == "refs/heads/drm-tiny-next"
    assert "the mails speak of drm-tiny-next" in found.why


def test_the_newest_tag_on_which_it_applies(repo: Repo, work: Work) -> None:
    found = find_base(series(repo), [repo.path], work)
    assert found.source.what == "v7.4-rc1"  # before v7.3 and after v7.4, in which something is in the way
    assert any("v7.4: hunk 1 of drivers/a.c of patch 1/3 finds no place" in line for line in found.tried)
    assert all("v7.3" not in line for line in found.tried)


def test_no_source_takes_it(repo: Repo, work: Work) -> None:
    text = f"Because.\n---\n\n{plain_diff('drivers/b.c')}"  # the lines of a.c
    strange = read(mbox(mail("[PATCH] gpu: it", text, "it@x")))
    with pytest.raises(FindingError, match="no source was found") as caught:
        find_base(strange, [repo.path], work)
    assert "v7.4: hunk 1 of drivers/b.c of patch 1/1 finds no place" in str(caught.value)
    assert f"the nearest is git:{repo.path}@v7.4, with 0 of 1" in str(caught.value)


def test_nothing_is_downloaded_without_a_yes(repo: Repo, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    releases = (Release("7.3.4-1", 150 * MIB), Release("6.12.9-1"), Release("6.1.5-1", 130 * MIB))
    monkeypatch.setattr(base_room, "debian_releases", lambda work: releases)
    looked: list[str] = []

    def look(series: Series, source: SourceSpec, work: Work) -> tuple[PatchReport, ...]:
        looked.append(source.what)
        return (PatchReport(1, 3, "x", applies=False, already=True),)

    monkeypatch.setattr(base_room, "_reports", look)
    asked: list[list[str]] = []
    for answer in (False, True):
        looked.clear()

        def may_fetch(more: Sequence[Release], answer: bool = answer) -> bool:
            asked.append(list(map(str, more)))
            return answer

        with pytest.raises(FindingError) as caught:
            find_base(series(repo), [], work, may_fetch)
        assert looked == (["6.12.9-1", "7.3.4-1", "6.1.5-1"] if answer else ["6.12.9-1"])
        assert ("have to be downloaded: Debian's 7.3.4-1 (150M), 6.1.5-1 (130M)" in str(caught.value)) != answer
    assert asked == [["7.3.4-1 (150M)", "6.1.5-1 (130M)"]] * 2


def test_a_tree_that_is_no_repository(tmp_path: Path, repo: Repo, work: Work) -> None:
    with pytest.raises(UserError, match="not a git repository"):
        find_base(series(repo), [tmp_path], work)


def test_names_by_lists_and_paths(repo: Repo) -> None:
    one = series(repo)
    patch = replace(
        one.patches[0],
        trailers=(Trailer("Cc", "<intel-xe@lists.example.org>"), Trailer("CC", "<dri-devel@lists.example.org>")),
    )
    branches = tuple(branch for subject in registry().subjects.values() for branch in subject.branches)
    named = tree_names(replace(one, patches=(patch,), trees=("mine",)), branches)
    assert named == ("mine", "drm-xe-next", "drm-misc-next")
    assert tree_names(one, branches) == ()


def test_the_nearest_branch_of_what_is_touched_is_named_first(repo: Repo) -> None:
    branches = (Branch("wide", paths=("mm/", "kernel/")), Branch("near", paths=("mm/damon/",)), Branch("list", "x@"))
    one = series(repo)
    assert {path.split("/")[0] for patch in one.patches for path in patch.paths} & {"mm", "kernel"} == set()
    first = one.patches[0].paths[0]
    near, wide = Branch("near", paths=(first,)), Branch("wide", paths=(first[:1],))
    assert tree_names(one, (wide, *branches, near)) == ("near", "wide")
