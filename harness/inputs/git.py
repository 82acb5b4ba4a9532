# SPDX-License-Identifier: GPL-2.0-only
"""`git:DIR@REV`: a commit of the user's repository, checked out into the store; and how git is called here.

Not by `git worktree`, which would leave an entry in the user's repository for as long as the tree lives, and a
stale one after a kill -9; nor by `git archive`, whose output depends on export attributes. A throw-away index
outside the repository leaves no trace, and the files get the time of the checkout.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from harness.inputs.source_cache import LINUX, CachedSource, SourceEntry, Work, find, install, no_space, require_space
from harness.inputs.unpack import refuse_odd_files
from harness.model.errors import CommandFailed, InfraError, UserError
from harness.model.tree import SourceSpec, Tree
from harness.proc import Deadline, find_tool, run

# Neither the user's configuration nor a repository's hooks and monitors have a say in what is read.
_SAFE = ("-c", "safe.directory=*", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false")
_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}
_MEAN_FILE = 20 << 10  # of a kernel's, on disk


def git(
    directory: Path,
    *words: str,
    deadline: Deadline,
    env: Mapping[str, str] | None = None,
    merge_errors: bool = False,
    log: Path | None = None,
) -> str:
    """git's output in a repository that is only read; CommandFailed as `run` raises it. With `log` bytes go there.

    With `merge_errors` it carries git's complaints too and git does not outlive this process: for what writes.
    """
    argv = ("git", *_SAFE, "-C", os.fspath(directory), *words)
    environment = {**_ENVIRONMENT, **(env or {})}
    done = run(argv, deadline=deadline, env=environment, merge_errors=merge_errors, reaped=merge_errors, log=log)
    return done.output


def require_git() -> None:
    """UserError when there is no git."""
    if find_tool("git") is None:
        raise UserError("git is not installed", hint="install git, or name a directory or an archive as the source")


def resolve_git(spec: SourceSpec, work: Work) -> Tree:
    """The tree of a commit; two commits with the same tree share one place."""
    require_git()
    repository = Path(spec.where).expanduser().absolute()
    if not repository.is_dir():
        raise UserError(f"{repository} is not a directory", hint="write git:DIR@REV")
    commit = commit_of(repository, spec.what, "git:DIR@REV", work)
    oid = git(repository, "rev-parse", "--verify", f"{commit}^{{tree}}", deadline=work.deadline).strip()
    place = CachedSource("git", hashlib.sha256(f"git tree {oid}".encode()).hexdigest())
    origin = f"{repository} commit {commit}"
    if tree := find(work, place, str(spec)):
        return replace(tree, origin=origin)
    _require_kernel(repository, commit, spec, work)

    def fill(part: Path) -> None:
        require_space(part, _size(repository, commit, work), f"checking out {spec}")
        work.progress.step(f"checking out {commit[:12]} of {repository}")
        _check_out(repository, commit, part, work)

    return replace(install(work, SourceEntry(place, str(spec), origin), fill), origin=origin)


def commit_of(repository: Path, revision: str, form: str, work: Work) -> str:
    """The commit's full name; UserError for no repository, then with `form` as what to write, and no revision."""
    try:
        git(repository, "rev-parse", "--git-dir", deadline=work.deadline)
    except CommandFailed as error:
        raise UserError(f"{repository} is not a git repository", hint=f"write {form}") from error
    try:
        words = ("rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
        return git(repository, *words, deadline=work.deadline).split()[-1]
    except CommandFailed as error:
        raise UserError(
            f"{repository} has no revision {revision!r}",
            hint="name a commit, a branch or a tag that is in that repository; git fetch may bring it",
        ) from error


def _require_kernel(repository: Path, commit: str, spec: SourceSpec, work: Work) -> None:
    """Before a long checkout: UserError when the commit has no top Makefile."""
    try:
        git(repository, "cat-file", "-e", f"{commit}:Makefile", deadline=work.deadline)
    except CommandFailed as error:
        raise UserError(f"{spec} is not a kernel tree: no top Makefile", hint="name a Linux repository") from error


def _size(repository: Path, commit: str, work: Work) -> int:
    """About how much the checkout will take: by the number of files, as sizes could cost a fetch each."""
    listing = git(repository, "ls-tree", "-r", "--name-only", commit, deadline=work.deadline)
    return listing.count("\n") * _MEAN_FILE


def _check_out(repository: Path, commit: str, part: Path, work: Work) -> None:
    env = {"GIT_INDEX_FILE": os.fspath(part / "index")}
    linux = part / LINUX
    linux.mkdir()
    try:
        git(repository, "read-tree", commit, deadline=work.deadline, env=env, merge_errors=True)
        words = ("checkout-index", "--all", "--force", f"--prefix={linux}/")
        git(repository, *words, deadline=work.deadline, env=env, merge_errors=True)
    except CommandFailed as error:
        if "no space left" in error.tail.lower():
            raise no_space(f"checking out {commit[:12]}") from error
        raise InfraError(
            f"cannot check out {commit[:12]} of {repository}: {error.message}",
            hint="git fsck tells whether the repository is whole",
        ) from error
    refuse_odd_files(linux, f"commit {commit[:12]} of {repository}")
