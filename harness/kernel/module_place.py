# SPDX-License-Identifier: GPL-2.0-only
"""The place where modules of one name are made, kept: what was compiled for one kernel serves the next.

make goes by times, which say nothing between kernels. So the place notes what its objects were made of: the files
that kbuild's own records name (`.NAME.o.cmd`), with hashes of their content, and what is the same for all of them.
Before the next kernel's modules are made, all goes that was made of a file that is another one now, and the rest is
made younger than all of its sources. What the records do not tell makes everything go: another config, compiler or
script of kbuild; a Makefile of the module's, or what it may generate something of; and a header that comes or goes
where another one has its name, for an #include of an untouched file may then mean another one.

Modules are linked anew each time, unless nothing at all differs: then they are those that are there.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.kernel.make import OBJECTS, hash_words, headers_below, variables
from harness.model.arch import guest_arch
from harness.model.build import Build
from harness.model.codec import from_json, to_json
from harness.model.errors import InfraError, StoreCorrupt
from harness.model.features import FEATURES_FILE, features_of, read_features
from harness.store.files import write_atomically
from harness.store.layout import Layout
from harness.store.sealed import damage, seal

OWN = "own"  # the module's sources; what it shares lies beside it
_RECORD = "made.json"
_RECIPE = "2"  # raise when make is called in another way (module.py)
_KERNEL = "KERNEL/"  # in names of files: the place of the kernel, which is another one each time
_SOURCE = re.compile(rb"^source_\S+ := (\S+)$", re.MULTILINE)
_DEPENDENCY = re.compile(rb"^  ([^\s$]\S*) \\$", re.MULTILINE)
_ABSOLUTE_TARGET = re.compile(rb"^(?:saved)?cmd_/")
# Whatever else make reads while it reads a Makefile, no record tells of.
_READS_THE_TREE = re.compile(r"(?:\$\(shell|\$\(wildcard|^[ \t]*-?s?include\b).*tree\)", re.MULTILINE)
# A rule that makes something of the tree; of what an object is made, there is a record.
_MADE_OF_THE_TREE = re.compile(r"^[^\s#:=][^:=\n]*(?<!\.o):[^=\n]*tree\)/(?!\$\(src\))", re.MULTILINE)
# What the compiler looks at, and does not name.
_LOOKS = re.compile(r"\b__has_(?:include|embed)\b|^[ \t]*#[ \t]*embed\b|\.incbin\b", re.MULTILINE)
_MAKEFILES = ("Kbuild", "Makefile")
_COMPILED = (".c", ".h", ".S")  # the records name them
_BTF = "CONFIG_DEBUG_INFO_BTF_MODULES=y"
_TOOLS = ("scripts", *(f"tools/{name}" for name in ("objtool", "build", "scripts", "lib", "include")))
_OLDER_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Made:
    """What the objects of a place were made of. `base`: what all of them have in common; `kernel`: where it lay, as
    it stands in their commands; `namesakes`: the headers that have the name of one that was read; `read`: these files
    and their hashes; `linked`: what else is in the modules. Not `finished`: make failed over a source.
    """

    base: str
    kernel: str
    namesakes: str
    read: tuple[tuple[str, str], ...]
    sources: tuple[tuple[str, str], ...]
    linked: str
    finished: bool


class ModulePlace:
    """The place for modules of that name, and kernels of that version, profile and compiler. Callers hold `lock`."""

    def __init__(self, build: Build, name: str, layout: Layout) -> None:
        words = (name, build.tree.version, build.profile, build.config_id, build.compiler, *build.tree.apart)
        self.root = layout.objects / f"kept-{hash_words('module place', guest_arch().name, *words)[:16]}"
        self.lock = layout.locks / self.root.name
        self._build = build
        self._kernel = build.objects.parent

    @property
    def own(self) -> Path:
        """What make is given as M=."""
        return self.root / OWN

    def enter(self, sources: Mapping[str, Path], digests: Mapping[str, str]) -> tuple[Path, ...]:
        """Brings these sources into the place, by their names from `own`, and leaves no object in it that is not as
        make would make it of them for this kernel. The modules, where nothing differs and make has nothing to do.
        InfraError when a source is not what it was hashed as.
        """
        made = self._made()
        if any(_MADE_OF_THE_TREE.search(text) for text in _own_makefiles(sources)) or _looks(sources):
            made = None
        modules = self._modules() if made is not None else ()
        if made is not None and modules and self._is_same(made, digests, sources):
            os.utime(self.root)  # the time of the last use: `results prune` goes by it
            return modules
        # Gone while it is not true: who is killed here leaves a place that is made anew.
        (self.root / _RECORD).unlink(missing_ok=True)
        if made is None or self._is_beyond_records(made, digests):
            shutil.rmtree(self.root, ignore_errors=True)
            self._write(sources, digests)
            return ()
        self._forget(made, self._changed(made, digests))
        self._write(sources, {name: digest for name, digest in digests.items() if (name, digest) not in made.sources})
        for name, _ in made.sources:
            if name not in digests:
                (self.own / name).unlink(missing_ok=True)
        return ()

    def leave(self, sources: Mapping[str, Path], *, finished: bool) -> tuple[Path, ...]:
        """Notes what the objects were made of; the modules. InfraError where make left what is no plain file."""
        self._require_plain()
        # Of what make had, whatever became of the sources meanwhile.
        digests = {name: digest_of(self.own / name) for name in sources}
        read = self._read(digests)
        made = _Made(
            base=self._base(),
            kernel=str(self._kernel),
            namesakes=self._namesakes(read, digests),
            read=read,
            sources=tuple(sorted(digests.items())),
            linked=self._linked(sources),
            finished=finished,
        )
        write_atomically(self.root / _RECORD, to_json(made))
        seal(self.root)
        return self._modules()

    def sweep(self) -> None:
        """Removes what nobody noted the origin of."""
        if not (self.root / _RECORD).is_file():
            shutil.rmtree(self.root, ignore_errors=True)

    @property
    def objects(self) -> int:
        """How many there are."""
        return sum(1 for _ in self.root.rglob("*.o"))

    def _made(self) -> _Made | None:
        """The note, as long as everything is as it was made."""
        if damage(self.root):
            return None
        try:
            return from_json(_Made, (self.root / _RECORD).read_text("utf-8"))
        except (OSError, UnicodeDecodeError, StoreCorrupt):
            return None

    def _modules(self) -> tuple[Path, ...]:
        return tuple(sorted(self.own.rglob("*.ko")))

    def _is_same(self, made: _Made, digests: Mapping[str, str], sources: Mapping[str, Path]) -> bool:
        return (
            made.finished
            and made.base == self._base()
            and made.sources == tuple(sorted(digests.items()))
            and made.linked == self._linked(sources)
            and not any(_READS_THE_TREE.search(text) for text in _own_makefiles(sources))
            and made.namesakes == self._namesakes(made.read, digests)
            and not self._changed(made, digests)
        )

    def _is_beyond_records(self, made: _Made, digests: Mapping[str, str]) -> bool:
        """Whether something differs of which no record tells what was made of it."""
        differ = {name for name, _ in set(made.sources) ^ set(digests.items())}
        untold = any(not name.endswith(_COMPILED) for name in differ)
        return untold or made.base != self._base() or made.namesakes != self._namesakes(made.read, digests)

    def _changed(self, made: _Made, digests: Mapping[str, str]) -> frozenset[str]:
        """The files that were read and are others now; their names as they stand in the records."""
        return frozenset(name for name, digest in made.read if self._digest(name, digests) != digest)

    def _base(self) -> str:
        """What every object is made with, and no record names."""
        config = digest_of(self._build.objects / "include" / "config" / "auto.conf")
        return hash_words(
            _RECIPE, self._build.compiler, *variables(), config, kbuild_id(self._build.tree.path, arch_folder())
        )

    def _linked(self, sources: Mapping[str, Path]) -> str:
        """What modpost and the linker read, and what Makefiles ask of the tree (guest-scripts/module/README.md)."""
        objects = self._build.objects
        names = ["Module.symvers", "scripts/module.lds"]
        if _BTF in _text(objects / "include" / "config" / "auto.conf"):
            names.append("vmlinux")
        tables = (path.parent for name, path in sources.items() if Path(name).name == FEATURES_FILE)
        found = [features_of(self._build.tree, read_features(folder)) for folder in tables]
        words = (word for one in found for word in (",".join(sorted(one.names)), ",".join(one.by_version)))
        return hash_words(*(digest_of(objects / name) for name in names), *words)

    def _namesakes(self, read: tuple[tuple[str, str], ...], digests: Mapping[str, str]) -> str:
        wanted = {name.rpartition("/")[2] for name, _ in read if name.endswith(".h")}
        found = [path for path in digests if path.rpartition("/")[2] in wanted]
        for path in sorted(self._build.tree.path.iterdir()):
            if path.is_dir() and not path.name.startswith("."):
                found += [f"/{path.name}/{name}" for name in headers_below(path) if name.rpartition("/")[2] in wanted]
        return hash_words(*sorted(found))

    def _read(self, digests: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        """What the records name, with hashes; what was generated in the place itself make knows about."""
        names: set[str] = set()
        for record in _records(self.root):
            text = record.read_bytes()
            # Before 6.13 make works in the object directory of the kernel, and names our files by whole paths.
            at = "" if not _ABSOLUTE_TARGET.match(text) else f"{_KERNEL}{OBJECTS}/"
            for found in (*_SOURCE.findall(text), *_DEPENDENCY.findall(text)):
                name = os.fsdecode(found).replace(f"{self._kernel}/", _KERNEL)
                names.add(name if name.startswith(("/", _KERNEL)) else f"{at}{name}")
        known = ((name, self._digest(name, digests)) for name in sorted(names))
        return tuple((name, digest) for name, digest in known if digest)

    def _digest(self, name: str, digests: Mapping[str, str]) -> str:
        """The hash of a file that a record names; empty for one that is not there, or was generated in the place."""
        if name.startswith(_KERNEL):
            return digest_of(self._kernel / name[len(_KERNEL) :])
        path = os.path.normpath(self.own / name)
        if path.startswith(f"{self.root}/"):
            return digests.get(os.path.relpath(path, self.own), "")
        return digest_of(Path(path))

    def _forget(self, made: _Made, changed: frozenset[str]) -> None:
        """Removes what was made of what changed; the rest becomes this kernel's, and younger than all its sources."""
        words = [name.replace(_KERNEL, f"{made.kernel}/") for name in changed]
        # Before 6.13 a name from the kernel's object directory stands there without it.
        words += [word.removeprefix(f"{made.kernel}/{OBJECTS}/") for word in words]
        named = re.compile(b"|".join(re.escape(os.fsencode(word)) for word in sorted(set(words)))) if words else None
        old, new = os.fsencode(f"{made.kernel}/"), os.fsencode(f"{self._kernel}/")
        for record in list(_records(self.root)):
            text = record.read_bytes()
            if named is not None and named.search(text):
                record.with_name(record.name[1 : -len(".cmd")]).unlink(missing_ok=True)
                record.unlink()
            elif old != new and old in text:
                record.write_bytes(text.replace(old, new))
        for path in (*self._modules(), self.own / "Module.symvers"):
            path.unlink(missing_ok=True)
        sources = {os.path.normpath(self.own / name) for name, _ in made.sources}
        then = time.time_ns() - _OLDER_NS
        for path in _files(self.root):
            when = then - _OLDER_NS if str(path) in sources else then
            os.utime(path, ns=(when, when))

    def _write(self, sources: Mapping[str, Path], wanted: Mapping[str, str]) -> None:
        for name, digest in wanted.items():
            target = Path(os.path.normpath(self.own / name))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            shutil.copyfile(sources[name], target)
            if digest_of(target) != digest:
                raise InfraError(f"{sources[name]} changed while modules were made of it", hint="run it again")

    def _require_plain(self) -> None:
        """A Makefile under test may have put a link there, and what the next one writes would go through it."""
        for path in self.root.rglob("*"):
            kind = path.lstat().st_mode
            if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
                raise InfraError(f"make left {path.relative_to(self.root)}, which is neither file nor directory")


def digest_of(path: Path) -> str:
    """The hash of a file's content; empty where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return ""


def _text(path: Path) -> str:
    return path.read_text("utf-8", "replace") if path.is_file() else ""


def arch_folder() -> str:
    """The architecture's folder below arch/."""
    return guest_arch().image_path.split("/")[1]


@cache
def kbuild_id(tree: Path, arch: str) -> str:
    """A hash over kbuild's own files and the sources of its programs; a tree in the store never changes."""
    found = [tree / "Makefile", *sorted((tree / "arch" / arch).glob("Makefile*"))]
    for name in (*_TOOLS, f"tools/arch/{arch}"):
        found += sorted(_files(tree / name))
    return hash_words(*(word for path in found for word in (str(path.relative_to(tree)), digest_of(path))))


def _files(top: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(top):
        for name in names:
            yield Path(folder, name)


def _records(root: Path) -> Iterator[Path]:
    return (path for path in _files(root) if path.name.startswith(".") and path.name.endswith(".cmd"))


def _looks(sources: Mapping[str, Path]) -> bool:
    return any(_LOOKS.search(_text(path)) for name, path in sources.items() if name.endswith(_COMPILED))


def _own_makefiles(sources: Mapping[str, Path]) -> Iterator[str]:
    """The texts of the module's own; what it shares is known to ask for features alone."""
    for name, path in sources.items():
        if Path(name).name in _MAKEFILES and not name.startswith("../"):
            yield _text(path).replace("\\\n", " ")
