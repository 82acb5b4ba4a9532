# SPDX-License-Identifier: GPL-2.0-only
"""Where a kernel comes from, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.model.errors import UserError
from harness.model.units import whole_number


class SourceKind(StrEnum):
    DEBIAN = "debian"
    DIRECTORY = "dir"
    GIT = "git"
    TAR = "tar"
    KERNEL_ORG = "kernel.org"


SOURCE_FORMS = "debian, debian:VERSION, DIR, git:DIR@REV, tar:FILE, kernel.org or kernel.org:VERSION"


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A source as the user named it. `where` is a directory or a file, `what` a version or a git revision."""

    kind: SourceKind
    where: str = ""
    what: str = ""

    @classmethod
    def parse(cls, text: str) -> SourceSpec:
        """Read `--source`; UserError on anything that is not one of SOURCE_FORMS."""
        head, colon, rest = text.partition(":")
        if head == "debian":
            if colon and not rest:
                raise _bad_source(text, "names no version")
            return cls(SourceKind.DEBIAN, what=rest)
        if head == "git" and colon:
            where, at, rev = rest.rpartition("@")
            if not at or not where or not rev:
                raise _bad_source(text, "is not git:DIR@REV")
            if rev.startswith("-"):
                raise _bad_source(text, "names a revision that starts with a dash")
            return cls(SourceKind.GIT, where, rev)
        if head == "tar" and colon:
            if not rest:
                raise _bad_source(text, "names no file")
            return cls(SourceKind.TAR, rest)
        if head == "kernel.org":
            if colon and not rest:
                raise _bad_source(text, "names no version")
            return cls(SourceKind.KERNEL_ORG, what=rest)
        if not text:
            raise _bad_source(text, "is empty")
        return cls(SourceKind.DIRECTORY, text.removeprefix("dir:"))

    def __str__(self) -> str:
        if self.kind is SourceKind.DIRECTORY:
            return self.where
        if self.kind is SourceKind.GIT:
            return f"git:{self.where}@{self.what}"
        return ":".join(part for part in (self.kind, self.where or self.what) if part)


def _bad_source(text: str, why: str) -> UserError:
    return UserError(f"source {text!r} {why}", hint=f"a source is {SOURCE_FORMS}")


@dataclass(frozen=True, slots=True)
class Tree:
    """A kernel source tree on disk, read-only to everybody.

    `id` is a hash over the content (64 hex digits), never over a path or a name; `version` is what the top
    Makefile says (`7.3.4`); `origin` is exact enough to get the same again (`linux-source-7.3 7.3.4-1~bpo13+1`).
    `apart` has an entry for every patch in it that runs programs of its own at build time (a hash of that patch and
    all before it): what was made while they ran is never used for a tree without them.
    """

    id: str
    version: str
    origin: str
    path: Path
    spec: str
    apart: tuple[str, ...] = ()

    @property
    def version_tuple(self) -> tuple[int, int, int]:
        """(7, 3, 4) of `7.3.4` or `7.3.4-rc1-foo`; missing parts are 0."""
        return version_tuple(self.version)


def version_tuple(version: str) -> tuple[int, int, int]:
    """The three leading numbers of a kernel version; missing or odd parts count as 0."""
    numbers = []
    for part in version.split("-")[0].split("+")[0].split(".")[:3]:
        numbers.append(whole_number(part))
    while len(numbers) < 3:
        numbers.append(0)
    return numbers[0], numbers[1], numbers[2]
