# SPDX-License-Identifier: GPL-2.0-only
"""Patches tried one after the other on copies of just the files that they touch; the tree itself is only read.

git apply decides (no fuzz, all of a patch or nothing). Where it refuses, GNU patch is asked for the state of
each hunk, and may apply the patch if the caller allows fuzz. There is no three-way merge: a Debian or tar source
has no blobs to merge with, and a git source is better rebased by its owner, who sees what he merges.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.inputs.series.conflict import has_result, show_conflict
from harness.inputs.series.diff import Diff, FileDiff, Hunk, read_diff
from harness.model.errors import InfraError, UserError
from harness.model.series import ChangeKind, HunkReport, HunkState, Patch, PatchReport
from harness.proc import Completed, Deadline, find_tool, run
from harness.store.files import explain_os_error

FUZZ_LIMIT = 2  # three would leave a hunk of three lines of context no context at all
_CHECKING = re.compile(r"(?:Checking patch|checking file) .*")
_MOVED = re.compile(r"Hunk #(\d+) succeeded at \d+(?: with fuzz (\d+))?(?: \(offset (-?\d+) lines?\))?\.")
_FAILED = re.compile(r"Hunk #(\d+) (?:FAILED|ignored) at .*")
_GIT_FAILED = re.compile(r"error: patch failed: (.+):(\d+)")
_SAID = 3
_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Room:
    """`files` holds copies of what the patches touch, `patch` the one that is being tried."""

    root: Path

    @property
    def files(self) -> Path:
        return self.root / "files"

    @property
    def patch(self) -> Path:
        return self.root / "patch"

    def fill(self, tree: Path, patches: Sequence[Patch]) -> None:
        """Copies of every file that the patches name and the tree has."""
        try:
            self.files.mkdir(parents=True, exist_ok=True)
            for path in touched(patches):
                source, target = tree / path, self.files / path
                if source.is_file() and not source.is_symlink():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source, target)
                    target.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)
        except (FileExistsError, NotADirectoryError) as error:
            raise UserError(
                f"the patches use {error.filename} both as a file and as a directory", hint="look at the series"
            ) from error
        except OSError as error:
            raise explain_os_error(error, f"cannot copy files of {tree}") from error


def touched(patches: Sequence[Patch]) -> tuple[str, ...]:
    """Every path that the patches read or write, once."""
    return tuple(dict.fromkeys(path for patch in patches for path in patch.paths))


def require_tools() -> None:
    if find_tool("git") is None:
        raise UserError("git is not installed, and patches are applied with git apply", hint="install git")


def try_patches(room: Room, patches: Sequence[Patch], fuzz: int, deadline: Deadline) -> tuple[PatchReport, ...]:
    """Applies the patches in the room until one does not; the last report tells."""
    require_tools()
    reports: list[PatchReport] = []
    for patch in patches:
        reports.append(_try(room, patch, fuzz, deadline))
        if not reports[-1].applies:
            break
    return tuple(reports)


def _try(room: Room, patch: Patch, fuzz: int, deadline: Deadline) -> PatchReport:
    diff = read_diff(patch.diff)
    if diff is None:
        raise InfraError(f"{patch} has lost its diff")
    room.patch.write_text(patch.diff, encoding="utf-8")
    checked = _git_apply(room, deadline, "--check", "--verbose")
    if checked.status == 0:
        done = _git_apply(room, deadline)
        if done.status:  # the check does not see a file where the same patch wants a directory
            return replace(_report(patch, False), said=" ".join(done.output.replace("error: ", "").split()))
        _believe(room, patch)
        return replace(_report(patch, True), hunks=_hunks(patch, diff, checked.output))
    report = _explain(room, patch, diff, checked.output, deadline)
    if report.fuzzy and max(hunk.fuzz for hunk in report.hunks) <= fuzz:
        _gnu_patch(room, deadline, fuzz)
        _believe(room, patch)
        return replace(report, applies=True, conflict="", said="")
    return report


def _report(patch: Patch, applies: bool) -> PatchReport:
    return PatchReport(patch.position, patch.total, patch.subject, applies)


def _git_apply(room: Room, deadline: Deadline, *words: str) -> Completed:
    """What git apply says of the patch in the room; every one of its answers is allowed."""
    env = {
        # A store inside somebody's git repository: git would take the names from its top and skip them all.
        "GIT_CEILING_DIRECTORIES": str(room.root.resolve()),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
    }
    argv = ("git", "apply", *words, "-p1", "--whitespace=nowarn", str(room.patch.resolve()))
    limit = deadline.at_most(_SECONDS)
    return run(argv, deadline=limit, cwd=room.files, env=env, allowed=(0, 1, 128), reaped=True)


def _gnu_patch(room: Room, deadline: Deadline, fuzz: int, *words: str) -> Completed:
    argv = (
        "patch", *words, "--strip=1", f"--fuzz={fuzz}", "--unified", "--force", "--no-backup-if-mismatch",
        "--reject-file=-", f"--input={room.patch.resolve()}",
    )  # fmt: skip
    allowed = (0, 1, 2) if "--dry-run" in words else (0,)
    return run(argv, deadline=deadline.at_most(_SECONDS), cwd=room.files, allowed=allowed, reaped=True)


def _believe(room: Room, patch: Patch) -> None:
    """A tool that says it applied a patch has made the files that it adds and removed those that it deletes."""
    for change in patch.files:
        there = (room.files / change.path).is_file()
        if there == (change.kind is ChangeKind.DELETED) and sum(one.path == change.path for one in patch.files) == 1:
            raise InfraError(
                f"{patch} was said to be applied, but {change.path} is {'still' if there else 'not'} there",
                hint="run git apply by hand",
            )


def _hunks(patch: Patch, diff: Diff, output: str) -> tuple[HunkReport, ...]:
    """The tool's words, file by file in the diff's order; a hunk of which it says nothing is clean."""
    said: list[dict[int, tuple[HunkState, int, int]]] = []
    for line in output.splitlines():
        if _CHECKING.fullmatch(line):
            said.append({})
        elif said and (match := _MOVED.fullmatch(line)):
            fuzz, offset = int(match[2] or 0), int(match[3] or 0)
            said[-1][int(match[1])] = (HunkState.FUZZ if fuzz else HunkState.OFFSET, offset, fuzz)
        elif said and (match := _FAILED.fullmatch(line)):
            said[-1][int(match[1])] = (HunkState.FAILED, 0, 0)
    found: list[HunkReport] = []
    lines = {change.path: change.hunk_lines for change in patch.files}
    for file, words in zip(diff.files, said, strict=False):
        where = lines.get(file.change.path, ())
        for number, hunk in enumerate(file.hunks, 1):
            state, offset, fuzz = words.get(number, (HunkState.CLEAN, 0, 0))
            if state is HunkState.FUZZ and not _looked_for(hunk, fuzz):
                state, offset, fuzz = HunkState.FAILED, 0, 0
            at = where[number - 1] if number <= len(where) else 0
            found.append(HunkReport(file.change.path, number, at, state, offset, fuzz))
    return tuple(found)


def _looked_for(hunk: Hunk, fuzz: int) -> int:
    """How many lines of the file GNU patch still compares with so much fuzz: with none, any place would do.

    It leaves lines out at the end that has more context first (its src/patch.c, locate_hunk()).
    """
    lines = [line for line in hunk.lines if not line.startswith("\\")]  # `\ No newline at end of file`
    before = next((number for number, line in enumerate(lines) if not line.startswith(" ")), len(lines))
    after = next((number for number, line in enumerate(reversed(lines)) if not line.startswith(" ")), 0)
    most = max(before, after)
    dropped = sum(max(0, context - max(0, most - fuzz)) for context in (before, after))
    return sum(line[:1] in (" ", "-") for line in lines) - dropped


def _explain(room: Room, patch: Patch, diff: Diff, output: str, deadline: Deadline) -> PatchReport:
    """Why git apply refused: hunk by hunk as far as it can be told."""
    absent = [file for file in diff.files if not _before(room, file) and file.change.kind is not ChangeKind.ADDED]
    present = [file for file in diff.files if file.change.kind is ChangeKind.ADDED and _before(room, file)]
    others = [file for file in diff.files if file not in absent and file not in present]
    hunks = _gnu_states(room, patch, replace(diff, files=tuple(others)), deadline)
    if hunks is None:
        hunks = _git_states(patch, replace(diff, files=tuple(others)), output)
    hunks = (*hunks, *[_failed(patch, file, number) for file in absent for number in range(1, len(file.hunks) + 1)])
    hunks = _with_results(room, diff, hunks)
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    room.patch.write_text(patch.diff, encoding="utf-8")
    already = _git_apply(room, deadline, "--check", "--reverse").status == 0
    return replace(
        _report(patch, False),
        hunks=hunks,
        absent=tuple([file.change.old_path or file.change.path for file in absent]),
        present=tuple([file.change.path for file in present]),
        already=already,
        conflict="" if already else _conflict(room, diff, hunks),
        said="; ".join(errors[:_SAID]).replace("error: ", ""),
    )


def _with_results(room: Room, diff: Diff, hunks: tuple[HunkReport, ...]) -> tuple[HunkReport, ...]:
    """The hunks; of those that fail, whether the file has their result: a merged patch whose context moved on."""
    texts: dict[str, list[str]] = {}
    found: list[HunkReport] = []
    for report in hunks:
        file = next((one for one in diff.files if one.change.path == report.path), None)
        path = room.files / report.path
        if report.state is HunkState.FAILED and file is not None and path.is_file():
            if report.path not in texts:
                texts[report.path] = path.read_text(encoding="utf-8", errors="replace").split("\n")
            report = replace(report, there=has_result(file.hunks[report.number - 1], texts[report.path]))
        found.append(report)
    return tuple(found)


def _before(room: Room, file: FileDiff) -> bool:
    return (room.files / (file.change.old_path or file.change.path)).is_file()


def _failed(patch: Patch, file: FileDiff, number: int) -> HunkReport:
    lines = next((one.hunk_lines for one in patch.files if one.path == file.change.path), ())
    return HunkReport(file.change.path, number, lines[number - 1] if number <= len(lines) else 0, HunkState.FAILED)


def _gnu_states(room: Room, patch: Patch, diff: Diff, deadline: Deadline) -> tuple[HunkReport, ...] | None:
    """What GNU patch says of every hunk, None without GNU patch."""
    if find_tool("patch") is None:
        return None
    if not diff.files:
        return ()
    room.patch.write_text(diff.text, encoding="utf-8")
    said = _gnu_patch(room, deadline, FUZZ_LIMIT, "--dry-run")
    return _hunks(patch, diff, said.output)


def _git_states(patch: Patch, diff: Diff, output: str) -> tuple[HunkReport, ...]:
    """git apply alone names the first hunk of a file that fails; of the others nothing is known."""
    failed = {(match[1], int(match[2])) for match in map(_GIT_FAILED.fullmatch, output.splitlines()) if match}
    found = [
        _failed(patch, file, number)
        for file in diff.files
        for number, hunk in enumerate(file.hunks, 1)
        if (file.change.path, hunk.old_start) in failed
    ]
    return tuple(found)


def _conflict(room: Room, diff: Diff, hunks: tuple[HunkReport, ...]) -> str:
    """The first hunk that fails, or else that needs fuzz, beside the tree's text."""
    for state in (HunkState.FAILED, HunkState.FUZZ):
        for report in hunks:
            file = next(one for one in diff.files if one.change.path == report.path)
            path = file.change.old_path or file.change.path
            if report.state is state and (room.files / path).is_file():
                text = (room.files / path).read_text(encoding="utf-8", errors="replace").split("\n")
                return show_conflict(path, file.hunks[report.number - 1], text)
    return ""
