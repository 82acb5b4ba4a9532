# SPDX-License-Identifier: GPL-2.0-only
"""Single objects of a tree, compiled in a place that is kept: what a patch touches, without the rest of the kernel.

The place belongs to a base tree and a profile. Which tree its objects are of changes from call to call, and make
goes by time; so the objects in question are removed before they are asked for, and nothing older is believed.
ccache gives back those that did not change.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from harness.kernel.buildlog import Paths, first_error, host_trouble, parse_warnings
from harness.kernel.fragments import all_asks, for_version
from harness.kernel.kconfig import parse_config, resolve_config
from harness.kernel.make import VARIABLES, Make, find_cache, hash_words, prepare_place
from harness.model.build import Ask, CompilerWarning, Profile
from harness.model.errors import CommandFailed, InfraError
from harness.model.gate import Compiled, Flip
from harness.model.tree import Tree
from harness.proc import Deadline, find_tool
from harness.store.files import write_atomically
from harness.store.layout import Layout

_NO_RULE = re.compile(r"No rule to make target '(?:\S*/)?(?P<name>[^/']+\.o)'")
_FAILED = re.compile(r"make\[\d+\]: \*\*\* \[\S+: (?P<target>\S+\.o)\] Error \d+")
_NO_SPARSE = "sparse is not available or not up to date"
_STAMP = "configured"  # for which tree and profile `base.config` is


@dataclass(frozen=True, slots=True)
class _Said:
    """What make said of each object that failed, and of all."""

    errors: dict[str, str]
    warnings: tuple[CompilerWarning, ...]
    unchecked: str


class Workshop:
    """The place of one base tree and profile, and with `flip` that of another compiler or architecture.

    One process at a time: callers hold `lock`.
    """

    def __init__(self, base: Tree, profile: Profile, layout: Layout, jobs: int, touched: Collection[str]) -> None:
        """`touched` are the paths that a patch of the series touches: all others are those of the base."""
        key = hash_words("gate", base.id, profile.name, *(f.name for f in profile.fragments))[:16]
        self._base = base
        # What lies in the top of the tree and is the same in all trees stays one: make builds its own tools anew when
        # they come from another directory.
        self._moving = frozenset(path.partition("/")[0] for path in touched)
        self._profile = profile
        self._layout = layout
        self._key = key
        self._jobs = jobs
        self._config = ""
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
        wanted = hash_words(tree.id, *VARIABLES, *(ask.config_line for ask in all_asks(fitting)))
        kept, stamp = make.objects / "base.config", make.objects / _STAMP
        if kept.is_file() and stamp.is_file() and stamp.read_text("ascii") == wanted:
            self._config = kept.read_text("utf-8")
        else:
            stamp.unlink(missing_ok=True)
            self._config = resolve_config(tree, self._profile, make.place, deadline, cache=make.cache).text
            write_atomically(kept, self._config)
            write_atomically(stamp, wanted)
        return self._config

    def compile(
        self, tree: Tree, sources: Sequence[str], deadline: Deadline, flip: Flip | None = None
    ) -> Compiled | None:
        """The .c files of the tree compiled with W=1, in the config that was made last.

        With a `flip` in that config changed so; None when Kconfig does not let the change be.
        """
        make = self._make(flip)
        prepare_place(make.place, self._base.path, tree.path, self._moving)
        if not self._settle(make, flip, deadline):
            return None
        targets = {f"{source.removesuffix('.c')}.o": source for source in sources}
        for target in targets:
            (make.objects / target).unlink(missing_ok=True)
        words = flip.words if flip is not None else ()
        said = self._run(make, tree, (*words, "W=1", *self._checker, f"-j{self._jobs}", "-k", *targets), deadline)
        errors = {targets[target]: text for target, text in said.errors.items() if target in targets}
        built = tuple(
            source for target, source in targets.items() if (make.objects / target).is_file() and source not in errors
        )
        return Compiled(
            built=built,
            absent=tuple(source for source in sources if source not in built and source not in errors),
            errors=tuple(errors.items()),
            warnings=said.warnings,
            unchecked=said.unchecked,
        )

    def _make(self, flip: Flip | None = None) -> Make:
        elsewhere = f"-{flip.name}" if flip is not None and flip.words else ""
        return Make(self._layout.objects / f"gate-{self._key}{elsewhere}", find_cache(self._layout.root))

    def _settle(self, make: Make, flip: Flip | None, deadline: Deadline) -> bool:
        """Writes the .config; with a flip lets Kconfig make it whole, and says whether the flip is still in it."""
        path = make.objects / ".config"
        text = self._config
        if flip is not None and flip.symbol:
            lines = [line for line in text.splitlines() if not _is_of(line, flip.symbol)]
            text = "\n".join((*lines, Ask(flip.symbol, flip.value, flip.name, 0).config_line, ""))
        if flip is None and path.is_file() and path.read_text("utf-8") == text:
            return True
        write_atomically(path, text)
        if flip is None:
            return True
        log = make.objects / "config.log"
        if flip.target:
            make.run(*flip.words, flip.target, deadline=deadline, log=log)
        make.run(*flip.words, "olddefconfig", deadline=deadline, log=log)
        values = parse_config(path.read_text("utf-8"))
        return not flip.symbol or values.get(flip.symbol, "n") == flip.value

    def _run(self, make: Make, tree: Tree, words: Sequence[str], deadline: Deadline) -> _Said:
        lines: list[str] = []
        log = make.objects / "gate.log"
        log.unlink(missing_ok=True)
        paths = Paths((str(make.objects), str(make.place), str(tree.path)))
        errors: dict[str, str] = {}
        try:
            make.run(*words, deadline=deadline, log=log, on_line=lines.append)
        except CommandFailed as error:
            if error.status < 0:
                raise
            if trouble := host_trouble(lines):
                raise InfraError(f"the gate cannot compile: {trouble}", log=log) from error
            errors = errors_by_target(lines, paths)
            if not errors and not any(_NO_RULE.search(line) for line in lines):
                raise InfraError(
                    f"make failed before it came to what the patch touches: {first_error(lines, paths)}", log=log
                ) from error
        unchecked = "" if self._checker else "no sparse is installed"
        if any(_NO_SPARSE in line for line in lines):
            unchecked = "sparse is too old for this tree"
        return _Said(errors, parse_warnings(lines, paths), unchecked)


def _is_of(line: str, symbol: str) -> bool:
    return line.startswith(f"CONFIG_{symbol}=") or line == f"# CONFIG_{symbol} is not set"


def errors_by_target(lines: Sequence[str], paths: Paths) -> dict[str, str]:
    """Object -> its first error. make puts what a target said right before the line that says that it failed."""
    found: dict[str, str] = {}
    began = 0
    for number, line in enumerate(lines):
        if match := _FAILED.match(line):
            target = paths.shorten(match["target"])
            found[target] = first_error(lines[began:number], paths) or line
            began = number + 1
    return found
