# SPDX-License-Identifier: GPL-2.0-only
"""What a build may see and change: the sources to read, its own directory to write, nothing else of the host.

A kernel's Makefiles, Kconfig files and scripts are programs, and a patch can bring its own. Whatever runs them is
started behind the words of `within` (`contain.py`): source and tools read-only, a /tmp of its own, no network, no
home, no capabilities, root as nobody, limits on processes, memory, disk. Where a host lets nobody make namespaces,
the words are none, `containment` says why, and what was read is verified afterwards (store/source_seal.py).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.model.arch import guest_arch
from harness.model.errors import HarnessError, UserError
from harness.model.units import GIB, MIB
from harness.proc import Deadline, find_tool, run, search_path

CHOICE = "TTM_HARNESS_SANDBOX"  # bwrap, namespaces or none, instead of the first that works
BACKENDS = ("bwrap", "namespaces")
_PROBE_SECONDS = 20.0
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store", "/gnu/store")
# What linker, shell, Python, Perl and OpenSSL read; not all of /etc, of which root may read what is secret.
_ETC = (
    "alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ssl/openssl.cnf", "localtime", "perl", "python3",
)  # fmt: skip
# Whatever a build calls may lie elsewhere, in /home/me/toolchain/bin, say.
_TOOLS = (
    "make", "gcc", "g++", "cc", "ld", "as", "ar", "nm", "objcopy", "objdump", "readelf", "strip", "flex", "bison",
    "bc", "depmod", "perl", "ccache", "sparse", "clang", "ld.lld", "llvm-ar", "pahole", "nice", "sh", "bash", "awk",
    "sed", "addr2line", "llvm-symbolizer", "vng",
)  # fmt: skip
_PROCESSES = 2048
_PER_JOB = 16
_LEAST_MEMORY = 2 * GIB
_LEAST_ADDRESSES = 8 * GIB  # what a process may ask for, most of which it never touches


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """`file_size` of one file, `reserve` what must stay free on the disk, `scratch` for /tmp, all in bytes; `memory`
    and `processes` of all together, 0 for what suits this host.
    """

    file_size: int = 16 * GIB
    reserve: int = 512 * MIB
    scratch: int = 4 * GIB
    memory: int = 0
    processes: int = 0


@dataclass(frozen=True, slots=True)
class Confines:
    """What a command sees beside the system's programs: `reads`, `writes`, `devices`, and places that are `empty` to
    it, whatever is there (they are memory: what is written is gone). A place inside another one counts for itself.
    `jobs` is how many things it does at once. With `network` it has this host's.
    """

    writes: tuple[Path, ...] = ()
    reads: tuple[Path, ...] = ()
    empty: tuple[Path, ...] = ()
    devices: tuple[Path, ...] = ()
    limits: SandboxLimits = SandboxLimits()
    jobs: int = 1
    network: bool = False


@dataclass(frozen=True, slots=True)
class Containment:
    """How builds are contained here: `backend` is bwrap or namespaces, and '' where they are not, with the reason."""

    backend: str
    why: str = ""

    @property
    def sentence(self) -> str:
        """What a user is told who has none."""
        return f"builds are not contained on this host ({self.why}): what a patch runs at build time runs as you"


def containment() -> Containment:
    """What works here, tried once a process."""
    return _tried(os.environ.get(CHOICE, ""), search_path())


@cache
def _tried(choice: str, _path: tuple[str, ...]) -> Containment:
    if choice == "none":
        return Containment("", f"{CHOICE} is none")
    if choice and choice not in BACKENDS:
        raise UserError(f"{CHOICE}={choice} is unknown", hint=f"one of {', '.join(BACKENDS)}, none")
    said = []
    for backend in (choice,) if choice else BACKENDS:
        if backend == "bwrap" and find_tool("bwrap") is None:
            said.append("bubblewrap is not installed")
            continue
        try:
            run(("true",), deadline=Deadline(_PROBE_SECONDS), cwd=Path("/"), within=_words(backend, Confines()))
        except HarnessError as error:
            said.append(f"{backend}: {error.message}")
            continue
        return Containment(backend)
    return Containment("", "; ".join(said))


def require_containment() -> None:
    """UserError on a host that cannot contain a build; for patches that nobody has read."""
    found = containment()
    if not found.backend:
        raise UserError(
            f"--untrusted needs a host that contains builds, and this one does not: {found.why}",
            hint="ttm-harness doctor --fix installs bubblewrap; user namespaces must be allowed",
        )


def within(confines: Confines) -> tuple[str, ...]:
    """The words to put before a command, which must not be relative; none where nothing can be contained."""
    backend = containment().backend
    return _words(backend, confines) if backend else ()


def _words(backend: str, confines: Confines) -> tuple[str, ...]:
    limits = confines.limits
    ram = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    memory = limits.memory or max(_LEAST_MEMORY, ram * 9 // 10)
    numbers = (
        limits.file_size,
        memory if limits.memory else max(memory, _LEAST_ADDRESSES),
        limits.processes or _PROCESSES + _PER_JOB * max(confines.jobs, os.cpu_count() or 1),
        memory,
        limits.reserve,
        min(limits.scratch, ram // 4),
        int(confines.network),
    )
    program = (sys.executable, "-I", "-S", str(Path(__file__).with_name("contain.py")))
    view = (word for entry in _view(confines) for word in entry)
    return (*program, backend, ",".join(map(str, numbers)), *view, "--")


def _view(confines: Confines) -> list[tuple[str, str, str]]:
    """(kind, path, what is there) in the order of mounting: what lies inside of another place comes after it."""
    kinds: dict[str, str] = {}
    for kind, paths in (
        ("read", [*_system(), *_tools(search_path()), *_interpreter(), *confines.reads]),
        ("write", confines.writes),
        ("empty", confines.empty),
        ("device", confines.devices),
    ):
        # By both names, where links lead there: who asks for the working directory is told the real one.
        kinds.update((name, kind) for path in paths for name in (os.path.realpath(path), str(path)))
    found = [("read", "/etc/passwd", str(Path(__file__).with_name("nobody.passwd")))]  # vng asks for its own name
    for path, kind in sorted(kinds.items(), key=lambda one: (one[0].count("/"), one[0])):
        if path in _SYSTEM and Path(path).is_symlink():
            found.append(("link", path, str(Path(path).readlink())))
        elif kind == "empty" or Path(path).exists():
            found.append((kind, path, os.path.realpath(path)))
    return found


@cache
def _system() -> tuple[Path, ...]:
    places = (*map(Path, _SYSTEM), *(Path("/etc", name) for name in _ETC))
    return tuple(path for path in places if path.exists())


@cache
def _tools(_path: tuple[str, ...]) -> tuple[Path, ...]:
    """The folders of tools that are not the system's own, and what those tools need beside them."""
    found: list[Path] = []
    for path in filter(None, map(find_tool, (*_TOOLS, guest_arch().qemu, f"{guest_arch().prefix}gcc"))):
        for one in (path.absolute(), path.resolve()):
            if not _covered(one, _SYSTEM):
                found.append(one.parent)
                if one.parent.name == "bin" and not Path("~").expanduser().is_relative_to(one.parents[1]):
                    found += _siblings(one.parents[1])
    return tuple(found)


def _siblings(prefix: Path) -> Iterable[Path]:
    """What a tool chain has beside its bin; nobody's .local or work."""
    names = ("lib", "lib64", "libexec", "include", "share/bison", "share/qemu", guest_arch().triplet)
    return (prefix / name for name in names if (prefix / name).is_dir())


def _covered(path: Path, roots: Sequence[str]) -> bool:
    return any(path.is_relative_to(root) for root in roots)


def _interpreter() -> Iterable[Path]:
    """This Python, which is the last python3 in the search path of every child."""
    return (place for place in (Path(sys.prefix), Path(sys.base_prefix)) if not _covered(place, _SYSTEM))
