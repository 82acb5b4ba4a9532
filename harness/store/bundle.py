# SPDX-License-Identifier: GPL-2.0-only
"""The archive that a bundle is: a tar of plain files, compressed with gzip, the list of them with their hashes first.

What comes from elsewhere is taken for hostile: a member that is no plain file, that is not in the list, whose name
leads out, or whose content is another one, is refused, and nothing is written before its size is known to be bounded.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from harness.model.bundle import BUNDLE_SCHEMA, MANIFEST, Bundle, BundleFile
from harness.model.codec import from_json, to_json
from harness.model.errors import StoreCorrupt, UserError
from harness.store.files import explain_os_error

_MOST_BYTES = 1 << 30
_MOST_FILES = 20_000
_LARGEST_LIST = 16 << 20
_GZIP = b"\x1f\x8b"
_AGAIN = "ask for it again: ttm-harness repro RUN/BOOT --bundle FILE makes one"


def write_bundle(target: Path, bundle: Bundle, contents: Mapping[str, bytes], programs: frozenset[str]) -> str:
    """Writes the archive, all of it or nothing, with the list of its files; the sha256 of that list names it.

    The same content is the same archive: no times, owners or names are in it.
    """
    files = tuple(
        BundleFile(path, len(data), hashlib.sha256(data).hexdigest(), path in programs)
        for path, data in sorted(contents.items())
    )
    listed = to_json(replace(bundle, files=files)).encode()
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise explain_os_error(error, f"cannot write {target}") from error
    part = Path(name)
    try:
        with (
            os.fdopen(handle, "wb") as file,
            gzip.GzipFile("", "wb", 6, file, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
        ):
            _add(archive, MANIFEST, listed, program=False)
            for one in files:
                _add(archive, one.path, contents[one.path], one.program)
        part.chmod(0o644)
        part.replace(target)
    except OSError as error:
        raise explain_os_error(error, f"cannot write {target}") from error
    finally:
        part.unlink(missing_ok=True)
    return hashlib.sha256(listed).hexdigest()


def _add(archive: tarfile.TarFile, path: str, data: bytes, program: bool) -> None:
    member = tarfile.TarInfo(path)
    member.size, member.mode = len(data), 0o755 if program else 0o644
    archive.addfile(member, io.BytesIO(data))


def unpack_bundle(file: Path, into: Path) -> tuple[Bundle, str]:
    """Checks the archive and writes its files into an empty directory; its list, and what names it (write_bundle).

    UserError for a file that is no bundle, is cut short, was changed, or has in it what a bundle has not.
    """
    try:
        with file.open("rb") as raw:
            if raw.read(2) != _GZIP:
                raise UserError(f"{file} is no bundle", hint="ttm-harness repro RUN/BOOT --bundle FILE makes one")
            raw.seek(0)
            with gzip.GzipFile(fileobj=raw) as packed, tarfile.open(fileobj=packed, mode="r|") as archive:
                found = _unpack(file, archive, into)
            raw.seek(0)
            _read_to_its_end(raw)
            return found
    except FileNotFoundError as error:
        raise UserError(f"there is no file {file}", hint="a run is RUN or RUN/BOOT, a bundle is a file") from error
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, ValueError) as error:
        raise UserError(f"the bundle {file} is cut short or damaged: {error}", hint=_AGAIN) from error
    except OSError as error:
        raise explain_os_error(error, f"cannot unpack {file}") from error


def _unpack(file: Path, archive: tarfile.TarFile, into: Path) -> tuple[Bundle, str]:
    first = archive.next()
    if first is None or first.name != MANIFEST or not first.isreg() or first.size > _LARGEST_LIST:
        raise UserError(f"{file} is no bundle: its first file is not {MANIFEST}", hint=_AGAIN)
    listed = _content(archive, first)
    try:
        bundle = from_json(Bundle, listed.decode("utf-8"), str(file))
    except (StoreCorrupt, UnicodeDecodeError) as error:
        raise UserError(f"the list of the bundle {file} cannot be read", hint=_AGAIN) from error
    if bundle.schema != BUNDLE_SCHEMA:
        raise UserError(
            f"the bundle {file} is of another harness: {bundle.schema}", hint=f"this one reads {BUNDLE_SCHEMA}"
        )
    left = _checked_list(file, bundle)
    while (member := archive.next()) is not None:
        wanted = left.pop(member.name, None)
        if wanted is None or not member.isreg() or member.size != wanted.size:
            raise UserError(
                f"the bundle {file} was tampered with: {member.name!r} is not as its list says", hint=_AGAIN
            )
        data = _content(archive, member)
        if hashlib.sha256(data).hexdigest() != wanted.sha256:
            raise UserError(f"the bundle {file} was tampered with: {member.name} has another content", hint=_AGAIN)
        path = into / member.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755 if wanted.program else 0o644)
    if left:
        raise UserError(f"the bundle {file} is without {next(iter(left))}, which its list has", hint=_AGAIN)
    return bundle, hashlib.sha256(listed).hexdigest()


def _read_to_its_end(raw: BinaryIO) -> None:
    """tar stops at its own end; gzip's checksum comes after that."""
    size = 0
    with gzip.GzipFile(fileobj=raw) as packed:
        while piece := packed.read(1 << 20):
            size += len(piece)
            if size > 2 * _MOST_BYTES:
                raise tarfile.ReadError("it does not end")


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    opened = archive.extractfile(member)
    assert opened is not None
    data = opened.read(member.size)
    if len(data) != member.size:
        raise tarfile.ReadError(f"{member.name} ends early")
    return data


def _checked_list(file: Path, bundle: Bundle) -> dict[str, BundleFile]:
    """The files by path, when the list itself is one that a harness writes."""
    found = {one.path: one for one in bundle.files}
    if len(found) != len(bundle.files) or len(found) > _MOST_FILES:
        raise UserError(f"the list of the bundle {file} names a file twice, or too many", hint=_AGAIN)
    if any(one.size < 0 for one in bundle.files) or sum(one.size for one in bundle.files) > _MOST_BYTES:
        raise UserError(f"the bundle {file} would be larger than {_MOST_BYTES >> 20} MiB", hint=_AGAIN)
    for path in found:
        parts = PurePosixPath(path).parts
        plain = path == "/".join(parts) and path.isprintable() and "\\" not in path
        if not plain or not parts or path.startswith("/") or any(part.startswith("..") for part in parts):
            raise UserError(f"the bundle {file} is refused: {path!r} leads out of it", hint=_AGAIN)
    for path in (*bundle.fragments, *bundle.patches):
        if path not in found:
            raise UserError(f"the list of the bundle {file} has no {path!r}, which it is made of", hint=_AGAIN)
    return found
