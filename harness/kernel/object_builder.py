# SPDX-License-Identifier: GPL-2.0-only
"""Single objects of a tree, compiled in a place that is kept: what a patch touches, without the rest of the kernel.

The place belongs to a base tree and a profile. Which tree its objects are of changes from call to call, and make
goes by time. So the place knows whose objects it has: before another tree's are made, all goes that was made of
files that differ (incremental.py), or all, where that cannot be known (what is made without a record, such as a
header of a table of Xe's). The objects in question go in any case, so that the compiler says again what it has to
say of them; ccache gives back those that did not change.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.kernel.buildlog import Paths, host_trouble, parse_checked, parse_failures, parse_warnings
from harness.kernel.fragments import all_asks, for_version
from harness.kernel.incremental import TreeDifference, compare_trees, remove_dependents
from harness.kernel.kconfig import parse_config, resolve_config
from harness.kernel.make import Make, cache_of, hash_words, prepare_place, variables
from harness.model.build import CompilerWarning, ConfigOption, Profile
from harness.model.errors import CommandFailed, InfraError
from harness.model.gate import Compiled, ConfigVariant
from harness.model.tree import Tree
from harness.proc import Deadline, find_tool
from harness.store.files import write_atomically
from harness.store.layout import Layout

_NO_RULE = re.compile(r"make(?:\[\d+\])?: \*\*\* No rule to make target '(?P<name>[^']+\.o)'")
_NO_SPARSE = "sparse is not available or not up to date"
_KEPT = "base.config"
_STAMP = "configured"  # for which tree and profile `base.config` is
# gcc's own word for what clang says by default; kernels switch it off, as it is at times wrong (judge/gate.py).
_MAYBE_UNSET = "KCFLAGS=-Wmaybe-uninitialized"
_CLANGS = range(40, 14, -1)  # before 15 no kernel of today takes it
_SEEN = "seen"  # id and path of the tree of which all objects are


@dataclass(frozen=True, slots=True)
class _Said:
    """What make said: target -> its first error; the objects that it has no rule for; what stopped it before it came
    to the others, '' when nothing did.
    """

    errors: dict[str, str]
    unknown: frozenset[str]
    stopped: str
    warnings: tuple[CompilerWarning, ...]
    unchecked: str


class ObjectBuilder:
    """The place of one base tree and profile, and with `variant` that of another compiler or architecture.

    One process at a time: callers hold `lock`.
    """

    def __init__(
        self,
        base: Tree,
        profile: Profile,
        layout: Layout,
        jobs: int,
        touched: Collection[str],
        apart: Collection[str] = (),
    ) -> None:
        """`touched` are the paths that a patch of the series touches: all others are those of the base. `apart` is
        that of the last tree (model/tree.py): such a series has a place, and a ccache, of its own.
        """
        self._apart = tuple(apart) or base.apart
        key = hash_words("gate", base.id, profile.name, *(f.name for f in profile.fragments), *self._apart)[:16]
        self._base = base
        # What lies in the top of the tree and is the same in all trees stays one: make builds its own tools anew when
        # they come from another directory.
        self._moving = frozenset(path.partition("/")[0] for path in touched)
        self._profile = profile
        self._layout = layout
        self._key = key
        self._jobs = jobs
        self._config = ""
        self._differences: dict[frozenset[str], TreeDifference | None] = {}
        self._checker = ("C=2",) if find_tool("sparse") is not None else ()
        self.lock = layout.locks / f"gate-{key}"

    @property
    def config(self) -> str:
        """The text of the .config that was made last."""
        return self._config

    def configure(self, tree: Tree, deadline: Deadline) -> str:
        """The .config of the profile for the tree, made unless the place has it; raises as resolve_config does."""
        make = self._make()
        fitting, _ = for_version(self._profile, tree.version_tuple)
        wanted = hash_words(tree.id, *variables(), *(ask.config_line for ask in all_asks(fitting)))
        kept, stamp = make.objects / _KEPT, make.objects / _STAMP
        if kept.is_file() and stamp.is_file() and stamp.read_text("ascii") == wanted:
            self._config = kept.read_text("utf-8")
        else:
            stamp.unlink(missing_ok=True)
            self._enter(make, tree)
            self._config = resolve_config(tree, self._profile, make.place, deadline, cache=make.cache).text
            write_atomically(kept, self._config)
            write_atomically(stamp, wanted)
        return self._config

    def compile(
        self, tree: Tree, sources: Sequence[str], deadline: Deadline, variant: ConfigVariant | None = None
    ) -> Compiled | None:
        """The .c files of the tree compiled with W=1, in the config that was made last.

        With a `variant` in that config changed so; None when Kconfig does not let the change be. What stops make
        before it comes to a file (a header that its own programs include, a Makefile) is the error of that file.
        """
        make = self._make(variant)
        self._enter(make, tree)
        prepare_place(make.place, self._base.path, tree.path, self._moving)
        targets = {f"{source.removesuffix('.c')}.o": source for source in sources}
        if any(_leads_out(make.objects, target) for target in targets):
            _empty(make.objects)
        if not self._settle(make, variant, deadline):
            return None
        for target in targets:
            (make.objects / target).unlink(missing_ok=True)
        # Not in other configs, where nobody asks for it: there all would be made anew for another command line.
        words = variant.words if variant is not None else (_MAYBE_UNSET,)
        said = self._run(make, tree, (*words, "W=1", *self._checker, f"-j{self._jobs}", "-k", *targets), deadline)
        built, absent, errors = [], [], []
        for target, source in targets.items():
            if target in said.errors:
                errors.append((source, said.errors[target]))
            elif (make.objects / target).is_file():
                built.append(source)
            elif said.stopped and target not in said.unknown:
                errors.append((source, said.stopped))
            else:
                absent.append(source)
        return Compiled(
            built=tuple(built),
            absent=tuple(absent),
            errors=tuple(errors),
            warnings=said.warnings,
            unchecked=said.unchecked,
        )

    def _make(self, variant: ConfigVariant | None = None) -> Make:
        elsewhere = f"-{variant.name}" if variant is not None and variant.words else ""
        place = self._layout.objects / f"gate-{self._key}{elsewhere}"
        return Make(place, cache_of(replace(self._base, apart=self._apart), place, self._layout.root))

    def _enter(self, make: Make, tree: Tree) -> None:
        """Leaves no file in the place that is not as make would make it of this tree."""
        make.objects.mkdir(parents=True, exist_ok=True)
        seen, now = make.objects / _SEEN, f"{tree.id}\n{tree.path}"
        last = seen.read_text("utf-8") if seen.is_file() else ""
        if last == now:
            return
        # Gone while it is not true: who is killed here leaves a place that is made anew.
        seen.unlink(missing_ok=True)
        if not self._follow(make.objects, last.partition("\n")[2], tree):
            _empty(make.objects)
        write_atomically(seen, now)

    def _follow(self, objects: Path, last: str, tree: Tree) -> bool:
        """Removes what was made of files that differ from the last tree's, unless that cannot be told."""
        pair = frozenset((last, str(tree.path)))
        if len(pair) < 2 or not Path(last).is_dir():
            return False
        try:
            if pair not in self._differences:
                self._differences[pair] = compare_trees(Path(last), tree.path)
            difference = self._differences[pair]
            if difference is None or not difference.fit:
                return False
            remove_dependents(objects, difference.changed)
        except (InfraError, OSError):  # the other tree has just been pruned, say
            return False
        return True

    def _settle(self, make: Make, variant: ConfigVariant | None, deadline: Deadline) -> bool:
        """Writes the .config; with a variant Kconfig completes it; whether the variant is still in it then."""
        path = make.objects / ".config"
        text = self._config
        if variant is not None and variant.symbol:
            lines = [line for line in text.splitlines() if not _is_of(line, variant.symbol)]
            text = "\n".join((*lines, ConfigOption(variant.symbol, variant.value, variant.name, 0).config_line, ""))
        if variant is None and path.is_file() and path.read_text("utf-8") == text:
            return True
        write_atomically(path, text)
        if variant is None:
            return True
        log = make.objects / "config.log"
        try:
            if variant.target:
                make.run(*variant.words, variant.target, deadline=deadline, log=log)
            make.run(*variant.words, "olddefconfig", deadline=deadline, log=log)
        except CommandFailed as error:
            if error.status < 0 or not variant.words:
                raise
            return False  # a compiler that is too old for this kernel
        values = parse_config(path.read_text("utf-8"))
        return not variant.symbol or values.get(variant.symbol, "n") == variant.value

    def _run(self, make: Make, tree: Tree, words: Sequence[str], deadline: Deadline) -> _Said:
        lines: list[str] = []
        log = make.objects / "gate.log"
        log.unlink(missing_ok=True)
        paths = Paths((str(make.objects), str(make.place), str(tree.path)))
        failed = ""
        try:
            make.run(*words, deadline=deadline, log=log, on_line=lines.append)
        except CommandFailed as error:
            if error.status < 0:
                raise
            if trouble := host_trouble(lines):
                raise InfraError(f"the gate cannot compile: {trouble}", log=log) from error
            failed = error.message
        failures = parse_failures(lines, paths)
        unknown = frozenset(match["name"] for line in lines if (match := _NO_RULE.match(line)))
        others = (text for target, text in failures.errors.items() if target not in words)
        stopped = failed and next(others, failed)
        warnings = (*parse_warnings(lines, paths), *parse_checked(failures.rest, paths))
        unchecked = "" if self._checker else "no sparse is installed"
        if any(_NO_SPARSE in line for line in lines):
            unchecked = "sparse is too old for this tree"
        return _Said(failures.errors, unknown, stopped, warnings, unchecked)


def newest_clang() -> str:
    """The clang with the highest number in its name, or the one without; '' where none has its tools beside it."""
    names = (*(f"-{number}" for number in _CLANGS), "")
    whole = (name for name in names if all(find_tool(f"{tool}{name}") for tool in ("clang", "ld.lld", "llvm-nm")))
    return next((f"clang{name}" for name in whole), "")


def _leads_out(objects: Path, target: str) -> bool:
    """A build put a link in the place of a directory: what is removed there would not be its own."""
    return not (objects / target).parent.resolve().is_relative_to(objects.resolve())


def _empty(objects: Path) -> None:
    """Removes all but what `configure` keeps."""
    for path in objects.iterdir():
        if path.name in (_KEPT, _STAMP):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _is_of(line: str, symbol: str) -> bool:
    return line.startswith(f"CONFIG_{symbol}=") or line == f"# CONFIG_{symbol} is not set"
