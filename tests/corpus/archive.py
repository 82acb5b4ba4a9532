# SPDX-License-Identifier: GPL-2.0-only
"""List archives as threads of raw mails: a public-inbox repository, or a directory of mboxes. Nothing is kept."""

from __future__ import annotations

import email.parser
import mailbox
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_ID = re.compile(r"<([^<>\s]{1,998})>")
_ESCAPE = re.compile(rb"^(>*From )", re.MULTILINE)
_FROM_LINE = b"From mboxrd@z Thu Jan  1 00:00:00 1970\n"


@dataclass(frozen=True, slots=True)
class Entry:
    """A mail of an archive by what threads go by; `fetch` reads it."""

    name: str
    above: tuple[str, ...]
    fetch: Callable[[], bytes]


@dataclass(slots=True)
class _Batch:
    """`git cat-file --batch` of one repository."""

    process: subprocess.Popen[bytes]

    def read(self, name: str) -> bytes:
        into, out = _pipes(self.process)
        into.write(name.encode() + b"\n")
        into.flush()
        words = out.readline().split()
        if len(words) != 3:
            return b""  # a commit that takes a mail out of the archive has no m
        data = out.read(int(words[2]))
        out.read(1)
        return data


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


@contextmanager
def open_archive(path: Path) -> Iterator[list[Entry]]:
    """The mails of an archive, oldest first."""
    if not (path / "HEAD").is_file() and not (path / ".git").exists():
        yield list(_mboxes(path))
        return
    words = ("git", "-C", str(path), "rev-list", "--reverse", "HEAD")
    commits = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    batch = ("git", "-C", str(path), "cat-file", "--batch")
    with subprocess.Popen(batch, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        reader = _Batch(process)
        yield [_entry(raw, _fetcher(reader, one)) for one in commits if (raw := reader.read(f"{one}:m"))]


def _fetcher(reader: _Batch, commit: str) -> Callable[[], bytes]:
    return lambda: reader.read(f"{commit}:m")


def _mboxes(path: Path) -> Iterator[Entry]:
    for file in sorted(one for one in path.rglob("*") if one.suffix in (".mbox", ".mbx", ".eml")):
        if file.suffix == ".eml":
            raw = file.read_bytes()
            yield _entry(raw, lambda raw=raw: raw)  # type: ignore[misc]
            continue
        for mail in mailbox.mbox(file, create=False):
            raw = mail.as_bytes()
            yield _entry(raw, lambda raw=raw: raw)  # type: ignore[misc]


def _entry(raw: bytes, fetch: Callable[[], bytes]) -> Entry:
    head = raw.partition(b"\n\n")[0].decode("utf-8", "replace")
    headers = email.parser.HeaderParser().parsestr(head)
    name = _ID.search(str(headers.get("Message-ID", "")))
    above = _ID.findall(f"{headers.get('References', '')} {headers.get('In-Reply-To', '')}")
    return Entry(name[1] if name else "", tuple(above), fetch)


def threads(entries: list[Entry]) -> list[list[Entry]]:
    """Mails that name each other belong together."""
    root: dict[str, str] = {}

    def find(name: str) -> str:
        while root.setdefault(name, name) != name:
            root[name] = root[root[name]]
            name = root[name]
        return name

    for entry in entries:
        for above in entry.above:
            root[find(above)] = find(entry.name)
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.name:
            found.setdefault(find(entry.name), []).append(entry)
    return list(found.values())


def as_mbox(mails: list[bytes]) -> bytes:
    return b"".join(_FROM_LINE + _ESCAPE.sub(rb">\1", one).rstrip(b"\n") + b"\n\n" for one in mails)
