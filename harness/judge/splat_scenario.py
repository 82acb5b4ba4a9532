# SPDX-License-Identifier: GPL-2.0-only
"""A splat -> the suites that go through the same code, on a machine as the log says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from harness.judge.scenario import GUEST, LEAST_RAM, MOST_RAM, parameters
from harness.model.errors import NoScenario
from harness.model.event import Event
from harness.model.scenario import ChosenKey, HostFacts, Scenario
from harness.model.subject import SplatSet
from harness.model.swap import Swap
from harness.model.units import MIB, about_size, format_size

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*")
_SHOWN = 6


def propose_for_splats(
    events: Sequence[Event], sets: Sequence[SplatSet], facts: HostFacts, ram: int | None = None
) -> tuple[Event, Scenario]:
    """The first splat that a suite goes near to. NoScenario, with the sentence, where there is none."""
    for event in events:
        found = _set_of(event, sets)
        if found is not None:
            one, why = found
            return event, _scenario(event, one, why, facts, ram, sets)
    first = events[0]
    where = ", ".join(first.modules[:_SHOWN]) or ", ".join(_functions(first)[:_SHOWN]) or "no trace"
    raise NoScenario(
        f"no suite of this harness goes where the kernel complained: {first.title} (line {first.span.first}; through "
        f"{where})",
        hint=f"there are suites for what goes through {', '.join(_known(sets))}; your own: run --suite ./FOLDER",
    )


def _known(sets: Sequence[SplatSet]) -> list[str]:
    return sorted({word for one in sets for word in (*one.modules, *one.functions)})


def _functions(event: Event) -> list[str]:
    names = (_FUNCTION.match(frame) for frame in event.frames)
    return [match[0] for match in names if match is not None]


def _set_of(event: Event, sets: Sequence[SplatSet]) -> tuple[SplatSet, str] | None:
    """The set that names the innermost of its functions, or else a module of its trace; and which."""
    for name in _functions(event):
        for one in sets:
            if any(fnmatchcase(name, glob) for glob in one.functions):
                return one, f"its trace goes through {name}()"
    for one in sets:
        module = next((name for name in event.modules if name in one.modules), "")
        if module:
            return one, f"its trace goes through the module {module}"
    return None


def modules_of(sets: Sequence[SplatSet]) -> tuple[str, ...]:
    """The modules that the suites are about: a guest can have their parameters."""
    return tuple(name for one in sets for name in one.modules)


def _scenario(
    event: Event, one: SplatSet, why: str, facts: HostFacts, ram: int | None, sets: Sequence[SplatSet]
) -> Scenario:
    size = ram or (256 * MIB if facts.ram is None else min(max(facts.ram // MIB * MIB, LEAST_RAM), MOST_RAM))
    scale = 1.0 if facts.ram is None else size / facts.ram
    machine = []
    if facts.ram is not None:
        machine.append(
            ChosenKey("ram", format_size(size), f"the log: {about_size(facts.ram)} of RAM, {scale:.3g} of it here")
        )
    elif ram is not None:
        machine.append(ChosenKey("ram", format_size(size), "as asked for; the log does not say how much there was"))
    machine += _swap(facts, scale, size)
    machine += parameters(facts, modules_of(sets), scale)
    return Scenario(
        title=f"near to: {''.join(letter if letter.isprintable() else '?' for letter in event.title)}"[:160],
        sentence=f"{event.title}: {why}",
        span=event.span,
        suites=one.suites,
        machine=tuple(machine),
        scale=scale,
        release=facts.release,
        notes=tuple(_notes(facts)),
    )


def _swap(facts: HostFacts, scale: float, ram: int) -> Iterator[ChosenKey]:
    total = sum(area.size for area in facts.swaps)
    if not total:
        return
    kind = "zram" if any("zram" in area.device for area in facts.swaps) else "zswap" if facts.zswap else "disk"
    size = max(round(total * scale / MIB), 1) * MIB
    size = min(size, 4 * ram) if kind == "zram" else min(size, 64 << 30)
    yield ChosenKey("swap", str(Swap.parse(f"{kind}:{format_size(size)}")), f"the log: {about_size(total)} of swap")


def _notes(facts: HostFacts) -> Iterator[str]:
    yield "a splat does not say what led to it: the suites do what is done there, not what was done then"
    if facts.arch not in ("", GUEST):
        yield f"the splat is of {facts.arch}; the guest is {GUEST}"
