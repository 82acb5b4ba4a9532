# SPDX-License-Identifier: GPL-2.0-only
"""`git:DIR@A..B`: the commits that B has and A has not, each written as a mail by git itself."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from harness.inputs.git import commit_of, git, require_git
from harness.inputs.series.assemble import PATCH_LIMIT, Selection, assemble
from harness.inputs.series.mail import Message
from harness.inputs.series.mbox import read_file, read_messages
from harness.inputs.source_cache import Work
from harness.model.errors import UserError
from harness.model.series import Series, SeriesSpec

# The repository's own configuration may say how its user likes patches; what is read here must not depend on it.
_SETTLED = {
    "diff.noprefix": "false",
    "diff.mnemonicPrefix": "false",
    "diff.suppressBlankEmpty": "false",
    "diff.renames": "true",
    "diff.interHunkContext": "0",
    "format.useAutoBase": "false",
    "format.notes": "false",
}
_FORMAT = (
    "--numbered", "--subject-prefix=PATCH", "--no-cover-letter", "--no-attach", "--no-thread", "--no-signature",
    "--no-from", "--no-to", "--no-cc", "--no-add-header", "--no-ext-diff", "--no-textconv", "--no-color",
    "--src-prefix=a/", "--dst-prefix=b/", "--unified=3", "--diff-algorithm=myers", "--full-index", "--binary",
    "--suffix=.patch", "-O/dev/null",
)  # fmt: skip


def read_git_range(spec: SeriesSpec, work: Work, wanted: Selection) -> Series:
    """The series of a range without merges; UserError otherwise."""
    require_git()
    repository = Path(spec.where).expanduser().absolute()
    if not repository.is_dir():
        raise UserError(f"{repository} is not a directory", hint="write git:DIR@A..B")
    first, _, last = spec.what.partition("..")
    old, new = (commit_of(repository, name, "git:DIR@A..B", work) for name in (first, last))
    commits = _commits(repository, old, new, spec, work)
    messages: list[Message] = []
    with tempfile.TemporaryDirectory(prefix="harness-series-") as room:
        words = ("format-patch", *_FORMAT, "--output-directory", room, f"{old}..{new}")
        git(repository, *words, deadline=work.deadline, env=_settings(), merge_errors=True)
        for path in sorted(Path(room).iterdir()):
            messages += [
                replace(one, where=one.where.replace(path.name, f"git's {path.name}")) for one in _read(path)
            ]
    if len(messages) != len(commits):
        raise UserError(
            f"{spec} has {len(commits)} commits, but only {len(messages)} of them change anything",
            hint="drop the empty commits: git rebase --empty=drop",
        )
    series = assemble(messages, replace(wanted, ordered=True))
    base = git(repository, "rev-parse", "--verify", f"{commits[0]}^", deadline=work.deadline).strip()
    name = wanted.name or f"{repository.name}/{last}"
    return replace(series, name=name, base_commit=base)


def _settings() -> dict[str, str]:
    """The settled configuration, by the environment: `-c` has to stand before git's own words."""
    settings = {"GIT_CONFIG_COUNT": str(len(_SETTLED))}
    for number, (key, value) in enumerate(_SETTLED.items()):
        settings[f"GIT_CONFIG_KEY_{number}"] = key
        settings[f"GIT_CONFIG_VALUE_{number}"] = value
    return settings


def _read(path: Path) -> list[Message]:
    data = read_file(path)
    return read_messages(data, path.name) if data.strip() else []  # git's mail of an empty commit


def _commits(repository: Path, old: str, new: str, spec: SeriesSpec, work: Work) -> list[str]:
    """The commits of the range, oldest first; UserError for none, too many, a merge, a root."""
    span = f"{old}..{new}"
    merges = git(repository, "log", "--merges", "--format=%h %s", span, deadline=work.deadline).splitlines()
    if merges:
        more = f" and {len(merges) - 1} more" if len(merges) > 1 else ""
        raise UserError(
            f"{spec} is no series: it has the merge {merges[-1]!r}{more}",
            hint="a series is a line of patches: rebase the branch, or begin behind the merge",
        )
    commits = git(repository, "rev-list", "--reverse", "--topo-order", span, deadline=work.deadline).split()
    if not commits:
        raise UserError(
            f"{spec} has no commit", hint="A..B is what B has and A has not; are they the wrong way round?"
        )
    if len(commits) > PATCH_LIMIT:
        raise UserError(f"{spec} has {len(commits)} commits; {PATCH_LIMIT} are the most", hint="give a part of it")
    return commits
