# SPDX-License-Identifier: GPL-2.0-only
"""Single objects of a tree, compiled in a place that is kept: what a patch touches, without the rest of the kernel.

The place belongs to a base tree and a profile. Which tree its objects are of changes from call to call, and make
goes by time; so the objects in question are removed before they are asked for, and nothing older is believed.
ccache gives back those that did not change.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.kernel.buildlog import Paths, first_error, host_trouble, parse_warnings
from harness.kernel.kconfig import resolve_config
from harness.kernel.make import Make, find_cache, hash_words, prepare_place
from harness.model.build import Profile
from harness.model.errors import CommandFailed, InfraError
from harness.model.gate import Compiled
from harness.model.tree import Tree
from harness.proc import Deadline
from harness.store.layout import Layout

_NO_RULE = re.compile(r"No rule to make target '(?:\S*/)?(?P<name>[^/']+\.o)'")


class Workshop:
    """The place of one base tree and profile. One process at a time: callers hold `lock`."""

    def __init__(self, base: Tree, profile: Profile, layout: Layout) -> None:
        key = hash_words("gate", base.id, profile.name, *(f.name for f in profile.fragments))[:16]
        self._profile = profile
        self.lock = layout.locks / f"gate-{key}"
        self._make = Make(layout.objects / f"gate-{key}", find_cache(layout.root))

    def configure(self, tree: Tree, deadline: Deadline) -> None:
        """Makes the .config of the place from the tree; raises what resolve_config raises."""
        resolve_config(tree, self._profile, self._make.place, deadline, cache=self._make.cache)

    def compile(self, tree: Tree, sources: Sequence[str], deadline: Deadline) -> tuple[Compiled, ...]:
        """Each .c file of the tree compiled by itself with W=1, with the .config that was made last."""
        prepare_place(self._make.place, tree.path)
        return tuple(self._one(tree, source, deadline) for source in sources)

    def _one(self, tree: Tree, source: str, deadline: Deadline) -> Compiled:
        target = f"{source.removesuffix('.c')}.o"
        (self._make.objects / target).unlink(missing_ok=True)
        lines: list[str] = []
        log = self._make.objects / "gate.log"
        paths = Paths((str(self._make.objects), str(self._make.place), str(tree.path)))
        try:
            self._make.run("W=1", target, deadline=deadline, log=log, on_line=lines.append)
        except CommandFailed as error:
            if error.status < 0:
                raise
            if any((match := _NO_RULE.search(line)) and target.endswith(match["name"]) for line in lines):
                return Compiled(source, False)
            if trouble := host_trouble(lines):
                raise InfraError(f"{source} cannot be compiled: {trouble}", log=log) from error
            said = first_error(lines, paths) or error.message
            return Compiled(source, True, said, parse_warnings(lines, paths))
        return Compiled(source, True, warnings=parse_warnings(lines, paths))
