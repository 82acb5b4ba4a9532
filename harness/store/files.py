# SPDX-License-Identifier: GPL-2.0-only
"""Atomic files and directories, and locks that die with their holder."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from harness.model.errors import DeadlineExceeded, InfraError
from harness.model.units import about_size
from harness.proc import Deadline

_FICLONE = 0x40049409  # linux/fs.h


def write_atomically(path: Path, text: str | bytes, *, executable: bool = False) -> None:
    """The file holds either what it held before or all of `text`; the parent directory must exist."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8") if isinstance(text, str) else text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod((0o777 if executable else 0o666) & ~umask())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def copy_apart(source: Path, target: Path, without: str) -> None:
    """A copy of a directory that shares no file with it: what is done to one never shows in the other. The blocks are
    shared where the file system can (btrfs, XFS), so that it costs nothing. What it has of the name
    `without` stays behind.
    """

    def ignored(folder: str, _: list[str]) -> list[str]:
        return [without] if Path(folder) == source else []

    try:
        shutil.copytree(source, target, symlinks=True, ignore=ignored, copy_function=_copy_file)
    except shutil.Error as error:
        first, _, why = error.args[0][0]
        number = errno.ENOSPC if os.strerror(errno.ENOSPC) in str(why) else errno.EIO
        raise OSError(number, os.strerror(number), first) from error


def _copy_file(source: str, target: str) -> None:
    with Path(source).open("rb") as one, Path(target).open("wb") as other:
        try:
            fcntl.ioctl(other.fileno(), _FICLONE, one.fileno())
        except OSError:
            shutil.copyfileobj(one, other)
    shutil.copystat(source, target)


def umask() -> int:
    """What the user wants nobody to be allowed on new files. Asked of /proc: os.umask can only be asked by a change,
    which another thread's file might meet.
    """
    try:
        status = Path("/proc/self/status").read_text("ascii", "replace")
        return int(next(line for line in status.splitlines() if line.startswith("Umask:")).split()[1], 8)
    except (OSError, StopIteration, ValueError):
        return 0o022


_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_regular(path: Path) -> int:
    """A plain file, opened to be read; OSError with a sentence for anything else, which could have no end."""
    # Without O_NONBLOCK a named pipe would be waited for.
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    kind = stat.S_IFMT(os.fstat(handle).st_mode)
    if kind != stat.S_IFREG:
        os.close(handle)
        raise OSError(errno.EINVAL, f"it is {_KINDS.get(kind, 'something else')} and no plain file", str(path))
    return handle


def read_regular(path: Path, limit: int) -> bytes:
    """All of a plain file; OSError with a sentence for anything else, and for more than `limit` bytes."""
    with os.fdopen(open_regular(path), "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"it is larger than {about_size(limit)}", str(path))
    return data


@contextmanager
def fresh_directory(final: Path) -> Iterator[Path]:
    """Yields an empty directory beside `final`, which takes that name when the block ends well.

    Nothing is left behind when it ends badly; what kill -9 leaves is swept by `sweep_leftovers`.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f"{final.name}.part-", dir=final.parent))
    try:
        yield work
        work.chmod(0o777 & ~umask())
        work.rename(final)
    except OSError as error:
        shutil.rmtree(work, ignore_errors=True)
        raise explain_os_error(error, f"cannot fill {final}") from error
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def explain_os_error(error: OSError, what: str) -> InfraError:
    """The sentence for a disk that is full, a path that cannot be written, and the like."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InfraError(
            f"{what}: no space left on the disk",
            hint="free some, or name another place with TTM_HARNESS_STORE",
        )
    return InfraError(f"{what}: {error.strerror or error}")


def sweep_leftovers(parent: Path, older_than: float = 86400.0) -> None:
    """Removes what a killed process left half-made in `parent`: `*.part-*` older than `older_than` seconds."""
    if not parent.is_dir():
        return
    limit = time.time() - older_than
    for path in parent.glob("*.part-*"):
        try:
            if path.stat().st_mtime < limit:
                shutil.rmtree(path, ignore_errors=True)
        except FileNotFoundError:
            continue


@contextmanager
def locked(path: Path, deadline: Deadline, on_wait: Callable[[], None] | None = None) -> Iterator[int]:
    """Holds an exclusive lock on the file `path` (made when missing); yields its descriptor.

    The kernel drops it when the holder has died, and all who inherited the descriptor. `on_wait` is called once when
    somebody else holds it.
    Raises DeadlineExceeded when it does not come free in time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _lock_file(path) as file:
        waited = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waited and on_wait is not None:
                    on_wait()
                waited = True
                if deadline.passed:
                    raise DeadlineExceeded(
                        f"waiting for {path.name}",
                        deadline.seconds,
                        hint="another ttm-harness is at work on the same thing",
                    ) from None
                time.sleep(0.1)
        yield file.fileno()


def _lock_file(path: Path) -> IO[bytes]:
    """Never through a link: what it leads to is not the store's."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.fdopen(os.open(path, flags, 0o644), "r+b", buffering=0)
    except OSError as error:
        raise explain_os_error(error, f"the lock {path} cannot be had") from error


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock `path`. Asking takes it for a moment from nobody but who wants it just then."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False


def mark_used(path: Path) -> None:
    """Makes the directory's own time that of its last use, by which `results prune` goes; nobody's trouble if not."""
    try:
        os.utime(path)
    except OSError:
        pass
