# SPDX-License-Identifier: GPL-2.0-only
"""What a working directory holds, file by file, and the id that follows; remembered, so that asking again is cheap.

A file is read again only when its size, times or inode changed. The change time is among them because no tool
can set it back, and a file touched within a second of being read is read again next time: its clock is too coarse
to tell.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.inputs.unpack import leads_out, walk
from harness.model.errors import UserError
from harness.store.files import explain_os_error

FILE, PROGRAM, LINK = "f", "x", "l"
_FORM = "ttm-harness manifest 1"
_TOO_FRESH_NS = 1_000_000_000
_REPORT_EVERY = 1000

# What make leaves behind in a tree that was configured in place. kbuild writes a `.NAME.cmd` beside nearly all it
# makes; these are the others. (In a git tree .gitignore says it instead.)
_MADE_SUFFIXES = (".o", ".ko", ".mod", ".cmd", ".symvers", ".dwo", ".gcno", ".pyc")
_MADE_NAMES = frozenset(("modules.order", "modules.builtin", "modules.builtin.modinfo", "modules-only.symvers"))
_MADE_PATHS = re.compile(
    r"\.config.*|\.version|\.tmp_[^/]*|\.missing-syscalls\.d|vmlinux[^/]*|System\.map|tags|cscope\.[^/]*|build|source"
    r"|certs/(signing_key\.(pem|x509)|x509\.genkey)"
)
_MADE_DIRECTORIES = re.compile(
    r"include/(config|generated)|arch/[^/]+/include/generated|\.git|\.tmp_versions|.*/__pycache__"
)


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One file: kind FILE, PROGRAM or LINK; sha256 of its bytes, or of a link's target; when it was so."""

    path: str
    kind: str
    digest: str
    stamp: str

    @property
    def content(self) -> tuple[str, str]:
        return self.kind, self.digest


@dataclass(frozen=True, slots=True)
class SourceManifest:
    """The rows of a directory in the order of their paths."""

    rows: tuple[ManifestRow, ...]

    @property
    def id(self) -> str:
        """sha256 over paths, kinds and contents, never over times."""
        lines = "".join([f"{row.kind} {row.digest} {row.path}\0" for row in self.rows])
        return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()

    def to_text(self) -> str:
        rows = [f"{row.kind}\t{row.digest}\t{row.stamp}\t{row.path}" for row in self.rows]
        return "\0".join([_FORM, *rows])


def parse_manifest(text: str) -> SourceManifest:
    """What `to_text` wrote; an empty one for anything else, as it only saves work."""
    head, *lines = text.split("\0")
    if head != _FORM:
        return SourceManifest(())
    try:
        return SourceManifest(tuple([_row(line) for line in lines]))
    except (ValueError, TypeError):
        return SourceManifest(())


def _row(line: str) -> ManifestRow:
    kind, digest, stamp, path = line.split("\t", 3)
    return ManifestRow(path, kind, digest, stamp)


def find_files(root: Path) -> list[str]:
    """The paths, relative to `root`, of all that is not made by a kernel build."""
    prefix = len(os.fspath(root)) + 1
    found: list[str] = []
    made: set[str] = set()
    hidden: list[str] = []
    for entry in walk(root):
        path = entry.path[prefix:]
        if entry.is_dir(follow_symlinks=False):
            if _MADE_DIRECTORIES.fullmatch(path):
                hidden.append(path + "/")
            continue
        if entry.name.startswith(".") and entry.name.endswith(".cmd"):
            made.add(path[: len(path) - len(entry.name)] + entry.name[1:-4])
        if not entry.name.endswith(_MADE_SUFFIXES) and entry.name not in _MADE_NAMES:
            found.append(path)
    gone = tuple(hidden)
    return [
        path for path in found if path not in made and not path.startswith(gone) and not _MADE_PATHS.fullmatch(path)
    ]


@dataclass(slots=True)
class _Reader:
    """Reads files of a directory, or believes what is known of them."""

    root: str
    known: dict[str, ManifestRow]
    now: int

    def row(self, path: str) -> ManifestRow | None:
        """The file's row; None when it is not there (deleted, but still in git's index)."""
        full = f"{self.root}/{path}"
        try:
            facts = os.lstat(full)
        except (FileNotFoundError, NotADirectoryError):
            return None
        mode = facts.st_mode
        if stat.S_ISDIR(mode):
            return None  # a git repository of its own inside this one
        kind = LINK if stat.S_ISLNK(mode) else PROGRAM if mode & 0o100 else FILE
        if not stat.S_ISLNK(mode) and not stat.S_ISREG(mode):
            raise UserError(f"{full} is neither file nor directory nor link", hint="move it out of the source")
        stamp = f"{facts.st_size}.{facts.st_mtime_ns}.{facts.st_ctime_ns}.{facts.st_ino}"
        row = self.known.get(path)
        if row is not None and row.stamp == stamp and row.kind == kind:
            return row
        fresh = max(facts.st_mtime_ns, facts.st_ctime_ns) > self.now - _TOO_FRESH_NS
        return ManifestRow(path, kind, self._digest(full, kind), "" if fresh else stamp)

    def _digest(self, full: str, kind: str) -> str:
        if kind == LINK:
            link = Path(full)
            if leads_out(link, Path(self.root).resolve()):
                raise UserError(
                    f"symbolic link {full} leads out of the source, so its content cannot be pinned",
                    hint="remove it, or replace it by what it leads to",
                )
            return hashlib.sha256(os.fsencode(link.readlink())).hexdigest()
        return hashlib.sha256(read_bytes(full)).hexdigest()


def read_bytes(full: str) -> bytes:
    """A file's bytes; without the layers of `open`, which cost more than reading at 90,000 small files."""
    handle = os.open(full, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(handle).st_size
        data = os.read(handle, size + 1)
        while len(data) != size and (more := os.read(handle, 1 << 20)):
            data += more
        return data
    finally:
        os.close(handle)


def take_manifest(
    root: Path, paths: Iterable[str], known: SourceManifest, on_file: Callable[[int, int], None] | None = None
) -> SourceManifest:
    """The manifest of those files as they are now; what `known` still tells truly is not read again.

    `on_file` is told now and then how many of how many files were looked at.
    """
    reader = _Reader(os.fspath(root), {row.path: row for row in known.rows}, time.time_ns())
    rows: list[ManifestRow] = []
    try:
        ordered = sorted(set(paths))
        for count, path in enumerate(ordered):
            if on_file is not None and count % _REPORT_EVERY == 0:
                on_file(count, len(ordered))
            if (row := reader.row(path)) is not None:
                rows.append(row)
    except OSError as error:
        raise explain_os_error(error, f"cannot read {error.filename or root}") from error
    return SourceManifest(tuple(rows))
