# SPDX-License-Identifier: GPL-2.0-only
"""A place where all hosts of a fleet find what boots rest on: a directory, or what fsspec has a name for (s3://…).

Files lie there under the ids of their contents; whoever takes one looks whether it is what it is called.
"""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

import fsspec

from harness.model.errors import InfraError, UserError

_PIECE = 4 << 20


def check_share(share: str) -> None:
    """UserError for a place that cannot be had."""
    try:
        system, path = fsspec.core.url_to_fs(share)
        system.makedirs(path, exist_ok=True)
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise UserError(
            f"the share {share} cannot be had: {error}",
            hint="a directory that all hosts have, or a URL that fsspec knows (its own package may be needed: s3fs)",
        ) from error


def put(share: str, name: str, file: Path) -> None:
    """Puts a file there, unless it is there; whole or not at all."""
    try:
        system, path = fsspec.core.url_to_fs(share)
        target = f"{path.rstrip('/')}/{name}"
        if system.exists(target):
            return
        part = f"{target}.{secrets.token_hex(4)}.part"
        with file.open("rb") as source, system.open(part, "wb") as sink:
            shutil.copyfileobj(source, sink, _PIECE)
        system.mv(part, target)
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise InfraError(f"{name} cannot be put to the share {share}: {error}") from error


def fetch(share: str, name: str, file: Path) -> None:
    """Takes a file from there."""
    try:
        system, path = fsspec.core.url_to_fs(share)
        with system.open(f"{path.rstrip('/')}/{name}", "rb") as source, file.open("wb") as sink:
            shutil.copyfileobj(source, sink, _PIECE)
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise InfraError(f"{name} cannot be fetched from the share {share}: {error}") from error
