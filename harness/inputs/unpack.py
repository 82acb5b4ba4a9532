# SPDX-License-Identifier: GPL-2.0-only
"""Archives: their hash, and unpacking that cannot write, or lead, outside the directory it was given.

GNU tar does the work (twice as fast here as tarfile, and it holds back symbolic links and refuses `..` while it
extracts). What it merely repairs (absolute names) and what it lets pass (links that lead out, devices) is looked
for afterwards and refuses the whole archive: a kernel's tarball has none of it.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from harness.inputs.source_cache import LINUX, Work, no_space, require_space
from harness.model.errors import CommandFailed, HarnessError, InfraError, UserError
from harness.proc import find_tool, run
from harness.store.files import explain_os_error

# First bytes -> the tool that tar will call, and how much an archive grows at most (a kernel's .tar.xz grows
# 11.5 times, file-system blocks included).
_MAGICS = (
    (b"\xfd7zXZ\x00", "xz", 13.0),
    (b"\x28\xb5\x2f\xfd", "zstd", 11.0),
    (b"BZh", "bzip2", 11.0),
    (b"\x1f\x8b", "gzip", 9.0),
)
_TAR_MAGIC_AT = 257
_CUT_SHORT = (
    "unexpected eof",
    "unexpected end",
    "ends unexpectedly",
    "premature end",
    "truncated",
)
_TAR_RECORD = 10240
_CHECKPOINT = re.compile(r"tar: records (\d+)")


def hash_file(path: Path) -> str:
    """sha256 of a file's bytes."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise explain_os_error(error, f"cannot read {path}") from error


def unpack_kernel(archive: Path, into: Path, work: Work) -> None:
    """Unpacks a kernel's archive so that `into`/linux is its top directory.

    UserError for what is no kernel's archive or is not safe, InfraError for one that is cut short or does not
    fit on the disk. The caller removes `into` after an error.
    """
    tool, growth = _compression(archive)
    if tool and find_tool(tool) is None:
        raise UserError(f"{archive.name} needs {tool}, which is not installed", hint=f"install {tool}")
    if not tool and not _is_closed(archive):
        raise _cut_short(archive)  # of a plain tar that ends between two members, tar itself says nothing
    require_space(into, int(archive.stat().st_size * growth), f"unpacking {archive.name}")
    room = into / "unpacked"
    room.mkdir()
    names = into / "names"
    _run_tar(archive, room, names, work)
    _refuse_names(archive, names)
    refuse_odd_files(room, f"archive {archive.name}")
    _top(archive, room).rename(into / LINUX)


def _compression(archive: Path) -> tuple[str, float]:
    """The tool that the archive needs ('' for a plain tar), and its growth."""
    try:
        with archive.open("rb") as file:
            head = file.read(512)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UserError(
            f"{archive} is not a file", hint="name a .tar, .tar.xz, .tar.gz, .tar.bz2 or .tar.zst"
        ) from error
    except OSError as error:
        raise explain_os_error(error, f"cannot read {archive}") from error
    for magic, tool, growth in _MAGICS:
        if head.startswith(magic):
            return tool, growth
    if not head:
        raise InfraError(f"archive {archive.name} is empty", hint="fetch it again")
    if head[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] != b"ustar":
        raise UserError(f"{archive} is not a tar archive", hint="name a .tar, .tar.xz, .tar.gz, .tar.bz2 or .tar.zst")
    return "", 1.3


def _is_closed(archive: Path) -> bool:
    """A plain tar ends in zeroes."""
    with archive.open("rb") as file:
        file.seek(-min(512, archive.stat().st_size), os.SEEK_END)
        return not any(file.read())


def _run_tar(archive: Path, room: Path, names: Path, work: Work) -> None:
    complaints: list[str] = []

    def on_line(line: str) -> None:
        if mark := _CHECKPOINT.fullmatch(line):
            work.progress.advance(int(mark[1]) * _TAR_RECORD, 0, "B")
        else:
            complaints.append(line)

    work.progress.step(f"unpacking {archive.name}")
    argv = (
        "tar", "--extract", "--file", os.fspath(archive), "--directory", os.fspath(room),
        # Names go to a file of their own, so that no name can pass for a message. Twice verbose would add modes.
        "--verbose", "--index-file", os.fspath(names), "--quoting-style=escape",
        "--no-same-owner", "--no-same-permissions", "--force-local",
        "--checkpoint=2000", "--checkpoint-action=echo=records %u",
    )  # fmt: skip
    try:
        # Reaped: a tar that outlived its harness would go on filling a directory that the next run removes.
        run(argv, deadline=work.deadline, env={"XZ_DEFAULTS": "-T0"}, on_line=on_line, reaped=True)
    except CommandFailed as error:
        raise _explain(archive, "\n".join(complaints), error) from error
    said = "\n".join(complaints)
    if "Removing leading" in said:
        raise _unsafe(f"archive {archive.name}", _last(said))


def _explain(archive: Path, said: str, error: CommandFailed) -> HarnessError:
    """What tar's own words mean."""
    low = said.lower()
    if "no space left" in low or "quota exceeded" in low:
        return no_space(f"unpacking {archive.name}")
    if "member name contains '..'" in low:
        return _unsafe(f"archive {archive.name}", "a member's name contains '..'")
    if any(word in low for word in _CUT_SHORT):
        return _cut_short(archive)
    return InfraError(
        f"archive {archive.name} cannot be unpacked: {_last(said) or error.message}", hint="fetch it again"
    )


def _last(said: str) -> str:
    """The line of tar's that says most: the last but for its farewell."""
    lines = [line for line in said.splitlines() if line.strip() and "exiting now" not in line.lower()]
    lines = [line for line in lines if "exiting with failure" not in line.lower()] or lines
    return lines[-1].strip() if lines else ""


def _cut_short(archive: Path) -> InfraError:
    return InfraError(f"archive {archive.name} is cut short", hint="fetch it again")


def _unsafe(what: str, why: str) -> UserError:
    return UserError(f"{what} is refused: {why}", hint="a kernel's source stays below one directory")


def _refuse_names(archive: Path, names: Path) -> None:
    """UserError for a member that is absolute or climbs, whatever tar made of it."""
    with names.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            name = line.rstrip("\n")
            if name.startswith("/") or ".." in name.split("/"):
                raise _unsafe(f"archive {archive.name}", f"member {name} leads outside")


def refuse_odd_files(root: Path, what: str) -> None:
    """UserError for a symbolic link that leads out of `root`, and for anything but files, directories, links."""
    real = root.resolve()
    for entry in walk(root):
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            continue
        name = Path(entry.path).relative_to(root)
        if not stat.S_ISLNK(mode):
            raise _unsafe(what, f"{name} is neither file nor directory nor link")
        if leads_out(Path(entry.path), real):
            raise _unsafe(what, f"symbolic link {name} leads outside")


def leads_out(link: Path, root: Path) -> bool:
    """The symbolic link leads out of `root` (a resolved path), or nowhere that can be told."""
    if link.readlink().is_absolute():
        return True
    try:
        return not link.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # a loop of links
        return True


def walk(root: Path) -> Iterator[os.DirEntry[str]]:
    """Every entry below `root`, links not followed; scandir keeps a kernel's 100,000 entries under a second."""
    waiting = [os.fspath(root)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)


def _top(archive: Path, room: Path) -> Path:
    """The directory with the kernel's Makefile: `room` itself or the only directory in it."""
    if (room / "Makefile").is_file():
        return room
    directories = [path for path in room.iterdir() if path.is_dir() and not path.is_symlink()]
    if len(directories) == 1 and (directories[0] / "Makefile").is_file():
        return directories[0]
    raise UserError(
        f"archive {archive.name} is not a kernel tree: no top Makefile",
        hint="name the archive of a whole Linux source",
    )
