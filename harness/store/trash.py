# SPDX-License-Identifier: GPL-2.0-only
"""STORE/trash: what is removed goes there whole, and from there for good. No link is followed on the way.

Only names that were given here are removed, whatever else somebody has put there.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.model.errors import InfraError, UserError
from harness.store.files import explain_os_error
from harness.store.layout import Layout
from harness.store.remove import remove_at

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_OURS = re.compile(r"(runs|builds|objects|sources|roots|downloads|damaged)-.+", re.DOTALL)


class Trash:
    """Made by `open_trash`."""

    def __init__(self, handle: int, path: Path) -> None:
        self._handle = handle
        self._path = path

    def take(self, path: Path) -> None:
        """Moves a thing of the store here; InfraError where it cannot be moved."""
        name = f"{path.parent.name}-{path.name}.{secrets.token_hex(4)}"
        try:
            os.rename(path, name, dst_dir_fd=self._handle)
        except OSError as error:
            raise explain_os_error(error, f"cannot remove {path}") from error

    def empty(self) -> None:
        """Removes what was taken, by killed processes, too; InfraError names the first file that resists."""
        trouble: InfraError | None = None
        for name in os.listdir(self._handle):
            if not _OURS.fullmatch(name):
                continue
            try:
                remove_at(name, self._handle)
            except OSError as error:
                trouble = trouble or explain_os_error(error, f"cannot remove {self._path / name}")
        if trouble is not None:
            raise trouble


@contextmanager
def open_trash(layout: Layout) -> Iterator[Trash]:
    """The store's trash, made where there is none; UserError where something else stands in its place."""
    path = layout.root / "trash"
    root = os.open(layout.root, _DIRECTORY)
    try:
        try:
            os.mkdir("trash", 0o755, dir_fd=root)
        except FileExistsError:
            pass
        try:
            handle = os.open("trash", _DIRECTORY | os.O_NOFOLLOW, dir_fd=root)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            raise UserError(
                f"{path} is not the store's own directory, and what is removed would go elsewhere",
                hint="remove or rename it; it is made anew",
            ) from error
    except OSError as error:
        raise explain_os_error(error, f"cannot make {path}") from error
    finally:
        os.close(root)
    try:
        yield Trash(handle, path)
    finally:
        os.close(handle)
