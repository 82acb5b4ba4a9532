# SPDX-License-Identifier: GPL-2.0-only
"""How kbuild is called: always the same variables, an environment with nothing personal in it, a low priority.

Every build has a place of its own: a directory with links to what is in the top of the source tree, and `objects`,
where make puts everything. To kbuild that is a source tree with its object directory right inside, the one case in
which it names all files relative to each other (`../mm/vmscan.c`): so the commands, and with them the keys of ccache,
are the same for every checkout and every store, and patch k+1 of a series finds what patch k compiled. The source
tree itself is never written to: make sees it read-only, and can write to its objects and ccache alone (sandbox.py).

make goes by times, the harness by content: as the tree of a content id never changes, and no place is ever used for
another, a time in the past cannot make an old object look new.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from harness.model.arch import guest_arch, require_guest_arch
from harness.model.errors import UserError
from harness.model.tree import Tree
from harness.proc import Completed, Deadline, find_tool, run
from harness.sandbox import Confines, SandboxLimits, containment, within
from harness.store.files import write_atomically
from harness.store.source_seal import Watch

# What can be in the image besides the sources; part of a build's identity.
_VARIABLES = (
    "KBUILD_BUILD_USER=ttm-harness",
    "KBUILD_BUILD_HOST=ttm-harness",
    "KBUILD_BUILD_TIMESTAMP=Thu Jan  1 00:00:00 UTC 1970",
    "KBUILD_BUILD_VERSION=1",  # else the number of the attempt is in the image
    "LOCALVERSION=",  # set and empty: no `+` for a git tree without a tag
)

_TOOLS = ("make", "flex", "bison", "bc", "depmod")
_AWKS = ("mawk", "gawk")  # first that which the host is most likely to keep
_SYSTEM_PATHS = (Path("/usr/sbin"), Path("/sbin"))  # not in every user's PATH, but kbuild looks there for depmod
_NICENESS = "10"
LIMITS = SandboxLimits()  # of a build
OBJECTS = "objects"
HEADERS = "headers"  # a hash, beside the objects
HOME = "home"
_CACHE = "ccache"
_SWITCH = "CCACHE_DISABLE"
_OWN = (OBJECTS, HEADERS, HOME, _CACHE)


def variables() -> tuple[str, ...]:
    """Those of make, for the guest's architecture; the order is part of a build's identity."""
    cross = (f"CROSS_COMPILE={guest_arch().prefix}",) if guest_arch().prefix else ()
    return (f"ARCH={guest_arch().name}", *cross, *_VARIABLES, f"AWK={_awk()}")


def _awk() -> str:
    """By name: `awk` is another program once gawk is installed, and the kernel's scripts walk arrays in awk's own
    order (cpufeaturemasks.awk), so that a header that every object includes would be another one.
    """
    return next((name for name in _AWKS if find_tool(name)), "awk")


@dataclass(frozen=True, slots=True)
class Make:
    """make in the place of one build; with `cache`, through ccache with its files there."""

    place: Path
    cache: Path | None = None

    @property
    def objects(self) -> Path:
        """make's object directory (O=)."""
        return self.place / OBJECTS

    def argv(self, *words: str) -> tuple[str, ...]:
        compiler = f"{'ccache ' if self.cache is not None else ''}{guest_arch().prefix}gcc"
        # Synchronised: what several compilers say at once is otherwise mixed in the middle of a message.
        program = ("nice", "-n", _NICENESS, "make", "--no-print-directory", "--output-sync=target")
        return (*program, "-C", str(self.place), f"O={self.objects}", *variables(), f"CC={compiler}", *words)

    @property
    def environment(self) -> dict[str, str]:
        """HOME is an empty directory: no dot file of the user can take part in a build."""
        home = self.place / HOME
        home.mkdir(parents=True, exist_ok=True)
        cache = {}
        if self.cache is not None:
            cache = {
                "CCACHE_DIR": str(self.cache),
                "CCACHE_NOHASHDIR": "1",  # names are relative; only DW_AT_comp_dir knows the place
                # Not CCACHE_DEPEND, which is cheaper (vmscan.c: 0.76 s against 0.94 s): it does not see .incbin, and
                # gives back the compressed kernel of another build, where that has the same size.
                "CCACHE_EXTRAFILES": str(self.place / HEADERS),
                # Whoever switches it off has nothing in it, and is spared what filling it costs.
                **{name: os.environ[name] for name in (_SWITCH,) if name in os.environ},
            }
        # Scripts of the tree are Python programs, too, and would leave .pyc files beside themselves.
        return {"HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", **cache}

    @property
    def trees(self) -> tuple[Path, ...]:
        """The source trees that the links of the place lead to."""
        links = (path.readlink() for path in self.place.iterdir() if path.is_symlink())
        return tuple(sorted({target.parent for target in links}))

    def confines(self, *writes: Path) -> Confines:
        """What whatever runs in this place may see, and change beside the objects and ccache."""
        own = (self.objects,) if self.cache is None else (self.objects, self.cache)
        for path in own:
            path.mkdir(parents=True, exist_ok=True)
        return Confines(
            writes=(*own, *writes), reads=(self.place, *self.trees), empty=(self.place / HOME,), limits=LIMITS
        )

    def run(
        self,
        *words: str,
        deadline: Deadline,
        log: Path,
        env: dict[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
        writes: tuple[Path, ...] = (),
    ) -> Completed:
        """Runs make, contained; reaped, because a make that outlives the harness would fight the next one.

        `writes` are places beside its own that it is to fill. StoreCorrupt when a make that could not be contained
        changed a source.
        """
        environment = {**self.environment, **(env or {})}
        jobs = max((int(word[2:]) for word in words if re.fullmatch(r"-j\d+", word)), default=1)
        confines = replace(self.confines(*writes), jobs=jobs)
        watch = None if containment().backend else Watch(self.trees)
        try:
            return run(
                self.argv(*words),
                deadline=deadline,
                cwd=self.objects,
                env=environment,
                log=log,
                on_line=on_line,
                reaped=True,
                within=within(confines),
                private=True,
            )
        finally:
            if watch is not None:
                watch.require_unchanged()


def _note_headers(place: Path, roots: Mapping[str, Path]) -> None:
    """Leaves a list of all headers whose names are there more than once, which is part of every key of ccache.

    ccache looks whether the headers are as they were. It does not see a new one that stands in another one's way.
    """
    (place / OBJECTS).parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[str]] = {}
    for name, root in sorted(roots.items()):
        for path in headers_below(root):
            found.setdefault(path.rpartition("/")[2], []).append(f"{name}/{path}")
    several = sorted(path for paths in found.values() if len(paths) > 1 for path in paths)
    text = hash_words(*several)
    file = place / HEADERS
    if not file.is_file() or file.read_text("ascii") != text:
        write_atomically(file, text)


@cache
def headers_below(root: Path) -> tuple[str, ...]:
    """The headers below a directory of a tree, which never changes; paths from it."""
    found = []
    for folder, _, names in os.walk(root):
        start = folder[len(str(root)) + 1 :]
        found += [f"{start}/{name}" if start else name for name in names if name.endswith(".h")]
    return tuple(found)


def prepare_place(place: Path, tree: Path, other: Path | None = None, names: Collection[str] = ()) -> None:
    """Makes the links of a build's place anew where they do not lead to `tree`; what make made stays.

    What has one of the `names` is that of the `other` tree.
    """
    (place / OBJECTS).mkdir(parents=True, exist_ok=True)
    wanted = {name: path for name, path in _top_of(tree).items() if other is None or name not in names}
    if other is not None:
        wanted.update((name, path) for name, path in _top_of(other).items() if name in names)
    for link in place.iterdir():
        if link.is_symlink() and (link.name not in wanted or link.readlink() != wanted[link.name]):
            link.unlink()
    for name, target in wanted.items():
        if not (place / name).is_symlink():
            (place / name).symlink_to(target)
    _note_headers(place, wanted)


def _top_of(tree: Path) -> dict[str, Path]:
    return {path.name: path for path in tree.iterdir() if not path.name.startswith(".") and path.name not in _OWN}


def require_tools() -> None:
    """UserError names the programs that a build needs and this host has not."""
    missing = [name for name in (*compilers(), *_TOOLS) if not _is_there(name)]
    if missing:
        raise UserError(
            f"a kernel cannot be built without {', '.join(missing)}, which this host has not",
            hint="ttm-harness doctor says what to install",
        )


def _is_there(name: str) -> bool:
    return find_tool(name) is not None or any((path / name).is_file() for path in _SYSTEM_PATHS)


def find_cache(root: Path) -> Path | None:
    """Where ccache is to keep its files in the store, None on a host without ccache."""
    return root / "ccache-2" if find_tool("ccache") is not None else None


def cache_of(tree: Tree, place: Path, root: Path) -> Path | None:
    """Where ccache keeps what is compiled of the tree. One whose patches run programs of their own while it is built
    could put anything into a cache: its place has one that no other build reads.
    """
    shared = find_cache(root)
    return place / _CACHE if shared is not None and tree.apart else shared


def compiler_version(deadline: Deadline) -> str:
    """The first lines of `gcc --version` and `ld --version`, those for the guest: part of a build's identity.

    UserError on a host of an architecture for which no kernels are built.
    """
    require_guest_arch()
    lines = []
    for tool in compilers():
        output = run((tool, "--version"), deadline=deadline.at_most(30), hint="is it a working compiler?").output
        lines.append(output.split("\n")[0].strip())
    return ", ".join(lines)


def compilers() -> tuple[str, str]:
    return f"{guest_arch().prefix}gcc", f"{guest_arch().prefix}ld"


def hash_words(*words: str) -> str:
    """sha256 over words, so that no two lists of words are the same text."""
    return hashlib.sha256("\0".join(words).encode()).hexdigest()
