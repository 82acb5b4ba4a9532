# SPDX-License-Identifier: GPL-2.0-only
"""A directory of the user's, dirty or not: copied into the store as it stands, never written to or built in.

Each content has one snapshot. A new one shares the files that did not change with the one before it, as hard
links, so it costs little and those files keep their times; a file that changed is a new file with the time of
the copy, never that of the original, because make goes by time and a file that was put back looks old.
"""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import replace
from pathlib import Path

from harness.inputs.git import git, require_git
from harness.inputs.manifest import (
    LINK,
    PROGRAM,
    ManifestRow,
    SourceManifest,
    find_files,
    parse_manifest,
    read_bytes,
    take_manifest,
)
from harness.inputs.source_cache import (
    LINUX,
    CachedSource,
    SourceEntry,
    Work,
    find,
    install,
    read_version,
    require_space,
)
from harness.model.errors import CommandFailed, InfraError, UserError
from harness.model.tree import SourceSpec, Tree
from harness.store.files import write_atomically

_ATTEMPTS = 3
_MEAN_FILE = 20 << 10  # of a kernel's, on disk
_REPORT_EVERY = 1000


class _Moved(Exception):
    """A file changed between being hashed and being copied."""


def resolve_directory(spec: SourceSpec, work: Work) -> Tree:
    """The snapshot of the directory as it is now."""
    root = Path(spec.where).expanduser().absolute()
    if not root.is_dir():
        raise UserError(
            f"source {spec.where!r} is not a directory",
            hint="a source is debian, debian:VERSION, DIR, git:DIR@REV, tar:FILE or kernel.org:VERSION",
        )
    root = root.resolve()
    read_version(root, str(root))
    for _ in range(_ATTEMPTS):
        try:
            return _snapshot(root, spec, work)
        except _Moved as moved:
            work.progress.step(f"{moved} changed while it was copied: beginning again")
    raise InfraError(
        f"{root} does not hold still: files change while they are copied", hint="end what writes there and try again"
    )


def _snapshot(root: Path, spec: SourceSpec, work: Work) -> Tree:
    memory = _Memory(work, root)
    known = memory.load()
    paths, what = _list(root, work)
    if not known.rows:
        work.progress.step(f"reading {root}")
    now = take_manifest(root, paths, known, lambda done, total: work.progress.advance(done, total, "files"))
    place = CachedSource("dir", now.id)
    origin = f"{root}{what}, content {now.id}"
    tree = find(work, place, str(spec))
    if tree is None:
        before = CachedSource("dir", known.id).below(work.layout) / LINUX if known.rows else None
        copier = _Copier(root, now, known, before, work)
        tree = install(work, SourceEntry(place, str(spec), origin, before), copier.fill)
    if now != known:
        memory.save(now)
    return replace(tree, origin=origin)


def _list(root: Path, work: Work) -> tuple[list[str], str]:
    """The paths that count, and a word about where they stand."""
    if not (root / ".git").exists():
        return find_files(root), ""
    require_git()
    try:
        tracked = git(root, "ls-files", "-z", deadline=work.deadline)
        others = git(root, "ls-files", "-z", "--others", "--exclude-standard", deadline=work.deadline)
    except CommandFailed as error:
        raise UserError(
            f"{root} has a .git that git cannot read: {error.message}", hint="try git status there"
        ) from error
    paths = [path for path in (tracked.rstrip("\n") + others.rstrip("\n")).split("\0") if path]
    if "Makefile" not in paths:
        # Debian's kernel source has a .gitignore that ignores all but debian/: a git that tracks nothing of the
        # kernel cannot say what belongs to it.
        work.progress.step(f"git ignores the kernel in {root}: taking every file that make did not make")
        return find_files(root), ""
    for path in paths:
        if "\ufffd" in path:
            raise UserError(f"{root} has a file whose name is not UTF-8: {path}", hint="rename it")
    try:
        head = git(root, "rev-parse", "--verify", "HEAD", deadline=work.deadline).strip()
    except CommandFailed:
        return paths, ""
    return paths, f" at commit {head}"


class _Memory:
    """The manifest of a directory as it was last seen, in the store."""

    def __init__(self, work: Work, root: Path) -> None:
        key = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
        self._path = work.layout.sources / ".manifests" / key

    def load(self) -> SourceManifest:
        try:
            return parse_manifest(self._path.read_text(encoding="utf-8", errors="surrogateescape"))
        except OSError:
            return SourceManifest(())

    def save(self, manifest: SourceManifest) -> None:
        self._path.parent.mkdir(exist_ok=True)
        write_atomically(self._path, manifest.to_text())


class _Copier:
    """Fills a snapshot from the directory and from the snapshot before it."""

    def __init__(
        self, root: Path, now: SourceManifest, known: SourceManifest, before: Path | None, work: Work
    ) -> None:
        self._root = os.fspath(root)
        self._now = now
        self._work = work
        self._before = os.fspath(before) if before is not None and before.is_dir() else None
        self._had = {row.path: row.content for row in known.rows} if self._before else {}

    def fill(self, part: Path) -> None:
        rows = self._now.rows
        fresh = sum(self._had.get(row.path) != row.content for row in rows)
        self._work.progress.step(f"copying {self._root} into the store: {fresh} of {len(rows)} files are new")
        require_space(part, fresh * _MEAN_FILE, f"copying {self._root}")
        linux = part / LINUX
        linux.mkdir()
        self._make_directories(linux)
        for count, row in enumerate(rows, 1):
            self._put(row, f"{linux}/{row.path}")
            if count % _REPORT_EVERY == 0:
                self._work.progress.advance(count, len(rows), "files")

    def _make_directories(self, linux: Path) -> None:
        for parent in sorted({row.path.rpartition("/")[0] for row in self._now.rows}):
            (linux / parent).mkdir(parents=True, exist_ok=True)

    def _put(self, row: ManifestRow, target: str) -> None:
        if self._had.get(row.path) == row.content and self._linked(row, target):
            return
        source = f"{self._root}/{row.path}"
        try:
            if row.kind == LINK:
                self._copy_link(row, source, target)
            else:
                self._copy_file(row, source, target)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _Moved(row.path) from error

    def _linked(self, row: ManifestRow, target: str) -> bool:
        try:
            os.link(f"{self._before}/{row.path}", target, follow_symlinks=False)
        except OSError as error:
            # The earlier snapshot was thinned out by hand, or the file has as many links as its file system allows.
            if error.errno in (errno.ENOENT, errno.EMLINK, errno.EXDEV, errno.EPERM):
                return False
            raise
        return True

    def _copy_link(self, row: ManifestRow, source: str, target: str) -> None:
        destination = Path(source).readlink()
        if hashlib.sha256(os.fsencode(destination)).hexdigest() != row.digest:
            raise _Moved(row.path)
        Path(target).symlink_to(destination)

    def _copy_file(self, row: ManifestRow, source: str, target: str) -> None:
        # Read and hashed again rather than reflinked: the user may be saving files at this very moment, and a
        # snapshot that is not what its id says would be believed for ever.
        data = read_bytes(source)
        if hashlib.sha256(data).hexdigest() != row.digest:
            raise _Moved(row.path)
        handle = os.open(
            target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755 if row.kind == PROGRAM else 0o644
        )
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(handle, view) :]
        finally:
            os.close(handle)
