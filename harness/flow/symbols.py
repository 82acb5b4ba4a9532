# SPDX-License-Identifier: GPL-2.0-only
"""The Kconfig of a kernel as lines that can be fewer: what its profile asks for on top of a smaller one, and what the
user's own fragments ask for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.checkout import data_directory
from harness.flow.prepare import own_fragments
from harness.kernel.fragments import FIRST, NEVER, Version, all_asks, limits, read_profile, read_profiles
from harness.model.build import ConfigOption
from harness.model.errors import UserError
from harness.model.kernel import KernelSpec
from harness.store.files import write_atomically

_NAME = "some-{}.config"


@dataclass(frozen=True, slots=True)
class Symbols:
    """Lines of Kconfig, by their symbols, on top of a profile. `place` is where fragments with some of them lie."""

    profile: str
    lines: tuple[tuple[str, str], ...]
    place: Path

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.lines)

    def kernel(self, whole: KernelSpec, names: Sequence[str]) -> KernelSpec:
        """The kernel with these symbols only; with all of them it is the one that it was. Writes their fragment."""
        if tuple(names) == self.names:
            return whole
        kernel = replace(whole, profile=self.profile, fragments=(), build="")
        text = "\n".join(line for name, line in self.lines if name in names)
        if not text:
            return kernel
        path = self.place / _NAME.format(hashlib.sha256(text.encode()).hexdigest()[:8])
        write_atomically(path, text)
        return replace(kernel, fragments=(path,))


def symbols_of(kernel: KernelSpec, place: Path) -> Symbols:
    """UserError for a kernel of nothing but a profile that has no smaller one."""
    base, more = _smaller_profile(kernel.profile)
    asks: dict[str, list[str]] = {}
    for ask in (*more, *(one for part in own_fragments(kernel) for one in part.asks)):
        asks.setdefault(ask.symbol, []).append(_line(ask))
    if not asks:
        raise UserError(
            f"the kernel has nothing on top of the profile {kernel.profile} that could be left out",
            hint="leave --config out",
        )
    return Symbols(base, tuple((name, "\n".join(lines)) for name, lines in asks.items()), place)


def _smaller_profile(name: str) -> tuple[str, tuple[ConfigOption, ...]]:
    """The largest profile all of whose fragments this one has, and what it asks for beyond that."""
    configs = data_directory("kernel-configs")
    parts = {one.name: one.fragments for one in read_profiles(configs)}
    own = parts.get(name, ())
    below = [other for other, fragments in parts.items() if other != name and set(fragments) < set(own)]
    if not below:
        return name, ()
    base = max(below, key=lambda other: len(parts[other]))
    there = {ask.symbol for ask in all_asks(read_profile(base, configs))}
    return base, tuple(ask for ask in all_asks(read_profile(name, configs)) if ask.symbol not in there)


def _line(ask: ConfigOption) -> str:
    """As a fragment has it, with the kernels that it is for."""
    since, before = limits(ask)
    words = [f"since {_shown(since)}"] if since != FIRST else []
    words += [f"before {_shown(before)}"] if before != NEVER else []
    return (f"# {', '.join(words)}: as in {ask.fragment}.config\n" if words else "") + f"{ask.config_line}\n"


def _shown(version: Version) -> str:
    return f"{version[0]}.{version[1]}"
