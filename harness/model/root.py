# SPDX-License-Identifier: GPL-2.0-only
"""The root file system in which commands and suites run: as the user named it, and as it was made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.model.errors import UserError

ROOT_FORMS = "busybox, debian:SUITE[+PACKAGE…], dir:PATH or tar:FILE"
_SUITE = re.compile(r"[a-z][a-z0-9-]{0,40}", re.ASCII)
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{1,100}", re.ASCII)
_PLUS = re.compile(r"\+(?=[a-z0-9])", re.ASCII)  # g++ ends in two of its own


class RootKind(StrEnum):
    BUSYBOX = "busybox"
    DEBIAN = "debian"
    DIRECTORY = "dir"
    TAR = "tar"


@dataclass(frozen=True, slots=True)
class RootSpec:
    """A root as the user named it. `where` is a suite of Debian, a directory or a file; `packages` come on top of
    what every root of that suite has.
    """

    kind: RootKind = RootKind.BUSYBOX
    where: str = ""
    packages: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> RootSpec:
        """Read `--root`; UserError on anything that is not one of ROOT_FORMS."""
        head, colon, rest = text.partition(":")
        if head not in RootKind.__members__.values() or "\0" in text or "\n" in text:
            raise _bad_root(text, "is of no known kind" if text else "is empty")
        if head == RootKind.BUSYBOX:
            if colon:
                raise _bad_root(text, "says more than busybox")
            return cls()
        if not rest:
            raise _bad_root(text, "names nothing after the colon" if colon else "says not which")
        if head == RootKind.DEBIAN:
            return cls._debian(text, *(rest.split(",") if "," in rest else _PLUS.split(rest)))
        return cls(RootKind(head), rest)

    @classmethod
    def _debian(cls, text: str, suite: str, *packages: str) -> RootSpec:
        if not _SUITE.fullmatch(suite):
            raise _bad_root(text, f"{suite!r} is no name of a suite")
        for package in packages:
            if not _PACKAGE.fullmatch(package):
                raise _bad_root(text, f"{package!r} is no name of a package")
        return cls(RootKind.DEBIAN, suite, tuple(sorted(set(packages))))

    @property
    def is_busybox(self) -> bool:
        return self.kind is RootKind.BUSYBOX

    def __str__(self) -> str:
        if self.is_busybox:
            return str(self.kind)
        # Commas where a plus could be taken for one of a name's own.
        joint = "," if any("+" in package for package in self.packages) else "+"
        return f"{self.kind}:{joint.join((self.where, *self.packages))}"


BUSYBOX = RootSpec()


@dataclass(frozen=True, slots=True)
class PreparedRoot:
    """A root that a guest can be given: `tree` is its top directory on the host, `place` where it lies sealed in the
    store (None: it is the user's own directory). `files` and `size` (bytes) are what is in it, `seconds` what it took
    to make; 0 where nobody counted.
    """

    spec: RootSpec
    tree: Path
    place: Path | None = None
    files: int = 0
    size: int = 0
    seconds: float = 0.0


def _bad_root(text: str, why: str) -> UserError:
    return UserError(f"the root {text!r} {why}", hint=f"--root takes {ROOT_FORMS}")
