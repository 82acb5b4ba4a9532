# SPDX-License-Identifier: GPL-2.0-only
"""Which checks of a module no case evaluated: `python -m tests.kernel.check_sites RESULTS...`.

RESULTS are `sites.txt` files that the suite `pressure-checks` or `drm-shmem-checks` left, or directories to look for
them in; which module it is says the directory that they lie in.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.checkout import data_directory
from harness.suites.registry import registry

_CHECK = re.compile(r"\btp_(?:check|eq|judged)\(")


@dataclass(frozen=True, slots=True)
class Site:
    """A check in the sources; the compiler may give any line of it as its place."""

    file: str
    first: int
    last: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.first} {self.text}"


def sites_in(name: str, source: str) -> tuple[Site, ...]:
    """The checks in one C file, but for the definitions of the macros themselves."""
    found = []
    for match in _CHECK.finditer(source):
        line = source.rfind("\n", 0, match.start()) + 1
        if source[line:].startswith("#define"):
            continue
        end, depth = match.end(), 1
        while depth and end < len(source):
            depth += {"(": 1, ")": -1}.get(source[end], 0)
            end += 1
        first = source.count("\n", 0, match.start()) + 1
        text = " ".join(source[match.start() : end].split())
        found.append(Site(name, first, first + source.count("\n", match.start(), end), text))
    return tuple(found)


def dead_sites(sites: Iterable[Site], evaluated: Iterable[str]) -> tuple[Site, ...]:
    """Those that are in no line `CASE FILE:LINE TIMES` of what was evaluated."""
    seen = {tuple(line.split()[1].rsplit(":", 1)) for line in evaluated if line.strip()}
    return tuple(
        site for site in sites if not any((site.file, str(line)) in seen for line in range(site.first, site.last + 1))
    )


def _files(paths: Iterable[str]) -> Iterable[Path]:
    for path in map(Path, paths):
        for file in [path] if path.is_file() else sorted(path.rglob("sites.txt")):
            if ".virtfs_metadata" not in file.parts:  # owners and modes, which 9p keeps under the same names
                yield file


def main(arguments: list[str]) -> int:
    """Prints the dead ones; 1 when there are any, 2 when nothing was evaluated at all."""
    files = list(_files(arguments))
    named = {path.parent.name for path in files}
    known = registry().suites.values()
    folders = sorted({one.needs_module for one in known if one.name in named and one.needs_module is not None})
    shared = data_directory("guest-scripts") / "module"
    sources = [path for folder in (*folders, shared) for path in sorted(folder.glob("*.c"))]
    sites = [site for path in sources for site in sites_in(path.name, path.read_text(encoding="utf-8"))]
    evaluated = [line for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    if not evaluated:
        print("no sites.txt among these", file=sys.stderr)
        return 2
    dead = dead_sites(sites, evaluated)
    print(f"{len(sites)} checks in the sources, {len(dead)} of them evaluated by no case")
    for site in dead:
        print(site)
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
