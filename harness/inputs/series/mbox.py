# SPDX-License-Identifier: GPL-2.0-only
"""Files of mails: an mbox as lore, patchwork and git write it, one mail alone, or either in gzip."""

from __future__ import annotations

import re
import zlib
from dataclasses import replace
from pathlib import Path

from harness.inputs.series.mail import Message, read_message
from harness.model.errors import UserError
from harness.model.units import MIB, format_size
from harness.store.files import explain_os_error

FILE_LIMIT = 64 * MIB
MAIL_LIMIT = 5000
_FROM_LINE = re.compile(rb"From \S{1,300} .{0,80}\d\d:\d\d.{0,60}\s*$")
_GIT_FROM = re.compile(rb"From ([0-9a-f]{40}) ")
_HEADER = re.compile(rb"[A-Za-z][A-Za-z0-9-]{0,60}:|>From ")
_ESCAPED = re.compile(rb"^>(>*From )", re.MULTILINE)
_HTML = re.compile(rb"\s{0,400}(?:<\?xml|<!doctype html|<html|<head|<!--)", re.IGNORECASE)
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"


def read_file(path: Path) -> bytes:
    """A file's bytes, unpacked if it is gzip; UserError when it is not there, cut short or far too big."""
    try:
        if path.is_dir():
            raise UserError(f"{path} is a directory", hint=f"write dir:{path}")
        if path.exists() and not path.is_file():
            # a pipe nobody writes into would be waited for without a word, a device read without an end
            raise UserError(
                f"{path} is a pipe or a device, not a file", hint="write the mails into a file, and name that"
            )
        with path.open("rb") as file:
            data = file.read(FILE_LIMIT + 1)
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}", hint="look at the name") from error
    except (OSError, ValueError) as error:
        if isinstance(error, OSError):
            raise explain_os_error(error, f"cannot read {path}") from error
        raise UserError(f"{str(path)!r} is no file name", hint="look at the name") from error
    if data.startswith(_GZIP):
        data = _gunzip(data, path.name)
    if len(data) > FILE_LIMIT:
        raise UserError(f"{path} is larger than {format_size(FILE_LIMIT)}", hint="give the mails of one series only")
    return data.removeprefix(_BOM)


def _gunzip(data: bytes, name: str) -> bytes:
    parts: list[bytes] = []
    size = 0
    while data.startswith(_GZIP):
        unpacker = zlib.decompressobj(wbits=31)
        try:
            part = unpacker.decompress(data, FILE_LIMIT + 1 - size)
        except zlib.error as error:
            raise UserError(f"{name} is not a whole gzip file: {error}", hint="fetch it again") from error
        parts.append(part)
        size += len(part)
        if size > FILE_LIMIT:
            break
        if not unpacker.eof:
            raise UserError(f"{name} is not a whole gzip file: it is cut short", hint="fetch it again")
        data = unpacker.unused_data
    return b"".join(parts)


def is_html(data: bytes) -> bool:
    return _HTML.match(data) is not None


def is_mail(data: bytes) -> bool:
    """It begins as an mbox or a mail does."""
    head = data[:65536].lstrip(b"\r\n")
    if _FROM_LINE.match(head.partition(b"\n")[0]):
        return True
    block = re.split(rb"\r?\n\r?\n", head, maxsplit=1)[0]
    return bool(_HEADER.match(head)) and bool(re.search(rb"^(subject|from):", block, re.IGNORECASE | re.MULTILINE))


def read_messages(data: bytes, where: str) -> list[Message]:
    """The mails of an mbox, or of a file with one; UserError for anything else."""
    if not data.strip():
        raise UserError(f"{where} is empty: there is no mail in it", hint="fetch it again")
    if is_html(data):
        raise UserError(
            f"{where} is a web page, not an mbox",
            hint="take the link that says mbox (lore: t.mbox.gz), or give the page itself as a file, without mbox:",
        )
    if not is_mail(data):
        raise UserError(
            f"{where} is not an mbox: line 1 is neither a From line nor a mail header",
            hint="give a text with a diff in it as a file, without mbox:",
        )
    messages = [message_of(raw, where, line, commit) for line, commit, raw in split_mbox(data)]
    if len(messages) > MAIL_LIMIT:
        raise UserError(f"{where} holds {len(messages)} mails; {MAIL_LIMIT} is the most", hint="give one thread only")
    return messages


def message_of(raw: bytes, where: str, line: int, commit: str) -> Message:
    """A mail of an mbox, as `split_mbox` gives it; UserError when it cannot be taken apart."""
    message = read_message(_ESCAPED.sub(rb"\1", raw), where, line)
    # A mail of git format-patch has no Message-ID of its own; its commit names it as well.
    return replace(message, message_id=f"commit {commit[:12]}") if commit and not message.message_id else message


def split_mbox(data: bytes) -> list[tuple[int, str, bytes]]:
    """Each mail's first line, the commit that git wrote into its From line or '', and its bytes."""
    lines = data.split(b"\n")
    starts: list[int] = []
    for at, line in enumerate(lines):
        if line.startswith(b"From ") and _FROM_LINE.match(line):
            following = lines[at + 1] if at + 1 < len(lines) else b""
            if _HEADER.match(following):
                starts.append(at)
    if not starts:
        skipped = next((at for at, line in enumerate(lines) if line.strip()), 0)
        return [(skipped + 1, "", b"\n".join(lines[skipped:]))]
    found: list[tuple[int, str, bytes]] = []
    for number, at in enumerate(starts):
        end = starts[number + 1] if number + 1 < len(starts) else len(lines)
        match = _GIT_FROM.match(lines[at])
        commit = match[1].decode() if match and match[1] != b"0" * 40 else ""
        found.append((at + 2, commit, b"\n".join(lines[at + 1 : end])))
    return found
