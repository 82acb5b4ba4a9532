# SPDX-License-Identifier: GPL-2.0-only
"""What a series was made for: the base that it states, the blobs in its diffs, the tree that its mails name, or the
newest source on which all of it applies.

Only a source on which every patch applies is ever chosen; whatever was looked at is told, with what stood in the way.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.inputs.debian import Release, debian_releases
from harness.inputs.git import git, require_git
from harness.inputs.resolve import resolve
from harness.inputs.series.apply import check_series
from harness.inputs.series.attempt import touched
from harness.inputs.source_cache import Work, read_version
from harness.model.errors import CommandFailed, FindingError, HarnessError, UserError
from harness.model.series import HunkState, PatchReport, Series
from harness.model.subject import Branch
from harness.model.tree import SourceKind, SourceSpec, Tree

_NO_BLOB = re.compile(r"0+")
_TAG = re.compile(r"v\d+\.\d+(?:\.\d+)?(?:-rc\d+)?")
_PLAIN = ("-c", "core.quotePath=false")  # names as they are
_MOST_COMMITS = 3000  # that touch the files, newest first
_MOST_TAGS = 12
_MOST_SOURCES = 6


@dataclass(frozen=True, slots=True)
class FoundBase:
    """The source, why it is the one, and a sentence for everything that was looked at before."""

    source: SourceSpec
    why: str
    tried: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Candidate:
    source: SourceSpec
    why: str


MayFetch = Callable[[Sequence[Release]], bool]


def find_base(
    series: Series,
    trees: Sequence[Path],
    work: Work,
    may_fetch: MayFetch = lambda releases: True,
    branches: Sequence[Branch] = (),
) -> FoundBase:
    """The base of a series, looked for in the user's git repositories and among Debian's sources; `may_fetch` is
    asked once before any of them is downloaded. `branches` are those that take patches, by list and by path.

    FindingError when no source takes all of it, with the nearest one.
    """
    if trees:
        require_git()
    roots = tuple(_root(path, work) for path in trees)
    tried: list[str] = []
    nearest: tuple[int, str] = (-1, "")
    seen: set[SourceSpec] = set()
    for candidate in _candidates(series, roots, work, tried.append, may_fetch, branches):
        if candidate.source in seen:
            continue
        seen.add(candidate.source)
        work.progress.step(f"base: looking at {candidate.source}")
        try:
            reports = _reports(series, candidate.source, work)
        except HarnessError as error:
            tried.append(f"{candidate.source}: {error.message}")
            continue
        if len(reports) == len(series.patches) and reports[-1].applies:
            return FoundBase(candidate.source, candidate.why, tuple(tried))
        good = sum(report.applies for report in reports)
        tried.append(f"{candidate.source}: {_in_the_way(reports[-1])}")
        nearest = max(nearest, (good, str(candidate.source)), key=lambda pair: pair[0])
    near = f"; the nearest is {nearest[1]}, with {nearest[0]} of {len(series.patches)}" if nearest[1] else ""
    said = "".join(f"\n  {line}" for line in tried)
    raise FindingError(
        f"no source was found on which all of {series.label} applies{near}{said}",
        hint="name a repository with --tree DIR, or the source itself with --source",
    )


def _root(path: Path, work: Work) -> Path:
    path = path.expanduser().absolute()
    try:
        git(path, "rev-parse", "--git-dir", deadline=work.deadline)
    except (CommandFailed, OSError) as error:
        raise UserError(f"--tree {path} is not a git repository", hint="give a clone of Linux") from error
    return path


def _candidates(
    series: Series,
    roots: Sequence[Path],
    work: Work,
    tell: Callable[[str], None],
    may_fetch: MayFetch,
    branches: Sequence[Branch],
) -> Iterator[_Candidate]:
    yield from _stated(series, roots, work, tell)
    yield from _by_blobs(series, roots, work, tell)
    yield from _by_name(series, roots, work, tell, branches)
    for root in roots:
        for tag in _tags(root, work):
            yield _Candidate(SourceSpec(SourceKind.GIT, os.fspath(root), tag), "the newest tag on which it applies")
    yield from _of_debian(work, tell, may_fetch)


def _of_debian(work: Work, tell: Callable[[str], None], may_fetch: MayFetch) -> Iterator[_Candidate]:
    """Debian's sources: those in the store first, as they cost nothing."""
    releases = debian_releases(work)[:_MOST_SOURCES]
    why = "the newest of Debian's sources on which it applies"
    for one in releases:
        if not one.download:
            yield _Candidate(SourceSpec(SourceKind.DEBIAN, what=one.version), why)
    more = [one for one in releases if one.download]
    if not more:
        return
    names = ", ".join(map(str, more))
    if not may_fetch(more):
        tell(f"not looked at, as they would have to be downloaded: Debian's {names}")
        return
    work.progress.step(f"Debian's sources may be downloaded, one after the other: {names}")
    for one in more:
        yield _Candidate(SourceSpec(SourceKind.DEBIAN, what=one.version), why)


def _stated(series: Series, roots: Sequence[Path], work: Work, tell: Callable[[str], None]) -> Iterator[_Candidate]:
    commit = series.base_commit
    if commit is None:
        tell("the series states no base-commit")
        return
    for root in roots:
        if full := _commit(root, commit, work):
            yield _Candidate(SourceSpec(SourceKind.GIT, os.fspath(root), full), "the base-commit that it states")
            return
    tell(f"base-commit {commit[:12]}: {'no tree has it' if roots else 'no tree was given with --tree'}")


def wanted_blobs(series: Series) -> dict[str, str]:
    """Path -> the (short) blob that the series found there: of the first patch that touches it."""
    found: dict[str, str] = {}
    made: set[str] = set()
    for patch in series.patches:
        for change in patch.files:
            path = change.old_path or change.path
            if change.old_blob and not _NO_BLOB.fullmatch(change.old_blob) and path not in made:
                found.setdefault(path, change.old_blob)
            made.add(path)
            made.add(change.path)
    return found


def _by_blobs(series: Series, roots: Sequence[Path], work: Work, tell: Callable[[str], None]) -> Iterator[_Candidate]:
    blobs = wanted_blobs(series)
    if not blobs:
        tell("the diffs name no blob")
        return
    for root in roots:
        work.progress.step(f"looking for {len(blobs)} blobs in {root}")
        commit, count = _best_commit(root, blobs, work)
        if commit and count == len(blobs):
            source = SourceSpec(SourceKind.GIT, os.fspath(root), commit)
            yield _Candidate(source, f"the newest commit with all {count} blobs of the diffs")
        else:
            tell(f"{root}: no commit has all {len(blobs)} blobs of the diffs, the best has {count}")


def _best_commit(root: Path, blobs: dict[str, str], work: Work) -> tuple[str, int]:
    """The newest commit in which the most paths are those blobs, and how many."""
    words = ("rev-list", "--all", f"--max-count={_MOST_COMMITS}", "--date-order", "--", *blobs)
    commits = git(root, *words, deadline=work.deadline).split()
    best = ("", 0)
    for commit in commits:
        count = _blobs_in(root, commit, blobs, work)
        if count > best[1]:
            best = (commit, count)
        if count == len(blobs):
            break
    return best


def _blobs_in(root: Path, commit: str, blobs: dict[str, str], work: Work) -> int:
    listing = git(root, *_PLAIN, "ls-tree", commit, "--", *blobs, deadline=work.deadline)
    there = {}
    for entry in listing.splitlines():
        facts, _, path = entry.partition("\t")
        there[path] = facts.split()[2]
    return sum(there.get(path, "").startswith(blob) for path, blob in blobs.items())


def tree_names(series: Series, branches: Sequence[Branch] = ()) -> tuple[str, ...]:
    """Branches that the mails speak of: in the brackets of their subjects, by their lists, by what they touch. The
    nearer a branch is to what is touched, the earlier it is named.
    """
    ordered = sorted(branches, key=lambda branch: -max(map(len, branch.paths), default=0))
    names = list(series.trees)
    copied = " ".join(one.value for patch in series.patches for one in patch.trailers if one.key.lower() == "cc")
    names += [branch.name for branch in ordered if branch.list and branch.list in copied]
    paths = touched(series.patches)
    names += [branch.name for branch in ordered if any(path.startswith(branch.paths) for path in paths)]
    return tuple(dict.fromkeys(names))


def _by_name(
    series: Series, roots: Sequence[Path], work: Work, tell: Callable[[str], None], branches: Sequence[Branch]
) -> Iterator[_Candidate]:
    names = tree_names(series, branches)
    for root in roots:
        refs = git(root, "for-each-ref", "--format=%(refname)", deadline=work.deadline).split()
        found = False
        for name in names:
            for ref in refs:
                if ref.endswith(f"/{name}"):
                    found = True
                    yield _Candidate(SourceSpec(SourceKind.GIT, os.fspath(root), ref), f"the mails speak of {name}")
        if names and not found:
            tell(f"{root}: has no branch {', '.join(names)}")


def _tags(root: Path, work: Work) -> list[str]:
    words = ("tag", "--list", "v*", "--sort=-version:refname")
    tags = git(root, "-c", "versionsort.suffix=-rc", *words, deadline=work.deadline).split()
    return [tag for tag in tags if _TAG.fullmatch(tag)][:_MOST_TAGS]


def _commit(root: Path, name: str, work: Work) -> str:
    try:
        words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        return git(root, *words, deadline=work.deadline).split()[-1]
    except (CommandFailed, IndexError):
        return ""


def _reports(series: Series, source: SourceSpec, work: Work) -> tuple[PatchReport, ...]:
    if source.kind is not SourceKind.GIT:
        tree = resolve(source, work.layout, work.deadline, work.progress)
        return check_series(tree, series, None, work.deadline)
    with tempfile.TemporaryDirectory(prefix="harness-base-") as room:
        return check_series(_part(Path(room), series, source, work), series, None, work.deadline)


def _part(room: Path, series: Series, source: SourceSpec, work: Work) -> Tree:
    """Of a commit just what the patches touch: a whole checkout takes a minute, and most are looked at once."""
    root = Path(source.where)
    env = {"GIT_INDEX_FILE": os.fspath(room / "index")}
    linux = room / "linux"
    linux.mkdir()
    git(root, "read-tree", source.what, deadline=work.deadline, env=env, merge_errors=True)
    names = ("ls-files", "--", "Makefile", *touched(series.patches))
    listed = git(root, *_PLAIN, *names, deadline=work.deadline, env=env).splitlines()
    words = ("checkout-index", "--force", f"--prefix={linux}/", "--", *listed)
    git(root, *words, deadline=work.deadline, env=env, merge_errors=True)
    return Tree("0" * 64, read_version(linux, str(source)), str(source), linux, str(source))


def _in_the_way(report: PatchReport) -> str:
    name = f"patch {report.position}/{report.total}"
    if report.already:
        return f"it carries {name} already"
    if report.absent:
        return f"{name} changes {report.absent[0]}, which it has not"
    if report.present:
        return f"{name} adds {report.present[0]}, which it has"
    failed = [hunk for hunk in report.hunks if hunk.state in (HunkState.FAILED, HunkState.FUZZ)]
    if failed:
        return f"hunk {failed[0].number} of {failed[0].path} of {name} finds no place"
    return f"{name} does not apply"
