# SPDX-License-Identifier: GPL-2.0-only
"""What the options, the ini keys and the marks say: a kernel, a store, machines."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from harness.flow.planfile import MACHINE_KEYS, MachineValue, value_word
from harness.flow.plans import default_source
from harness.model.build import DEFAULT_PROFILE
from harness.model.errors import HarnessError, UserError
from harness.model.kernel import KernelSpec
from harness.model.machine import Machine
from harness.model.progress import Progress
from harness.model.root import BUSYBOX, RootSpec
from harness.model.series import SeriesSpec
from harness.model.tree import SourceSpec
from harness.store.claims import Claims
from harness.store.layout import Layout
from harness.store.runs import sweep_killed

_MACHINE_OPTIONS = ("ram", "swap", "accel")


@dataclass(frozen=True, slots=True)
class GuestSpec:
    """What a test's guest is to be: its machine, and the root that commands run in."""

    machine: Machine = field(default_factory=Machine)
    root: RootSpec = BUSYBOX


def said(config: pytest.Config, name: str) -> str:
    """The option, else the ini key, else nothing."""
    option = config.getoption(f"ttm_{name}")
    return str(config.getini(f"ttm_{name}") if option is None else option)


def layout_of(config: pytest.Config) -> Layout:
    return Layout.from_environment(said(config, "store"))


def kernel_of(config: pytest.Config, progress: Progress) -> KernelSpec:
    """The kernel that is asked for; UserError for what is none."""
    source, series = said(config, "source"), said(config, "series")
    fragments = config.getoption("ttm_fragment") or config.getini("ttm_fragments")
    return KernelSpec(
        source=SourceSpec.parse(source) if source else default_source(progress),
        profile=said(config, "profile") or DEFAULT_PROFILE,
        fragments=tuple(Path(one).absolute() for one in fragments),
        series=SeriesSpec.parse(series) if series else None,
    )


def guest_spec(config: pytest.Config, more: Mapping[str, object], base: GuestSpec | None = None) -> GuestSpec:
    """The guest `base`, that of the options by default, with what a test says in place of it."""
    words = dict(more) if base is not None else {**_of_options(config), **more}
    base = base or GuestSpec()
    root = RootSpec.parse(str(words.pop("root"))) if "root" in words else base.root
    return GuestSpec(replace(base.machine, **_values(words)), root)  # type: ignore[arg-type]  # by MACHINE_KEYS


def check_command_line(config: pytest.Config) -> None:
    """UsageError for what could only fail later, in every test."""
    try:
        guest_spec(config, {})
        for name, parse in (("source", SourceSpec.parse), ("series", SeriesSpec.parse)):
            if text := said(config, name):
                parse(text)
    except HarnessError as error:
        raise pytest.UsageError(told(error)) from None


def parametrize(metafunc: pytest.Metafunc, names: Sequence[str]) -> None:
    """A test for each machine that its marks name. With one machine its id stays what it was."""
    words: dict[str, object] = {}
    marks = list(metafunc.definition.iter_markers("guest"))
    for mark in reversed(marks):  # the nearest has the last word
        if mark.args:
            pytest.fail(f"@pytest.mark.guest takes names and values, as in ram='512M': {mark.args[0]!r}", False)
        words.update(mark.kwargs)
    keys = sorted(words, key=[*MACHINE_KEYS, "root", *words].index)  # in one order, whichever mark they are of
    axes = {key: _each(words[key]) for key in keys}
    guests, ids = [], []
    with plainly("@pytest.mark.guest: "):
        for values in itertools.product(*axes.values()):
            told_of = dict(zip(axes, values, strict=True))
            guests.append(guest_spec(metafunc.config, told_of))
            ids.append("-".join(_word(key, told_of[key]) for key in axes if len(axes[key]) > 1))
    hidden = getattr(pytest, "HIDDEN_PARAM", "machine")
    rows = [(one,) * len(names) for one in guests] if len(names) > 1 else guests
    shown = ids if len(guests) > 1 else [hidden] * len(guests)
    metafunc.parametrize(",".join(names), rows, indirect=True, ids=shown)


def sweep(config: pytest.Config) -> None:
    """Removes what guests of killed processes left in the store."""
    layout = layout_of(config)
    sweep_killed(layout)
    claims = Claims(layout)
    with claims.turn():
        claims.all()


@contextmanager
def plainly(before: str = "") -> Iterator[None]:
    """What the harness raises ends the test, or its fixture, with a sentence and without a traceback."""
    try:
        yield
    except HarnessError as error:
        pytest.fail(before + told(error), pytrace=False)


def told(error: HarnessError) -> str:
    lines = [error.message]
    if error.hint:
        lines.append(f"hint: {error.hint}")
    if error.log is not None:
        lines.append(f"log: {error.log}")
    return "\n".join(lines)


def _each(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _of_options(config: pytest.Config) -> dict[str, object]:
    return {name: text for name in (*_MACHINE_OPTIONS, "root") if (text := said(config, name))}


def _values(words: Mapping[str, object]) -> dict[str, MachineValue]:
    found = {}
    for key, value in words.items():
        if key not in MACHINE_KEYS:
            raise UserError(f"a guest has no {key!r}", hint=", ".join((*MACHINE_KEYS, "root")))
        try:
            found[key] = MACHINE_KEYS[key](value)
        except UserError as error:
            raise UserError(f"{key}: {error.message}", hint=error.hint) from error
    return found


def _word(key: str, value: object) -> str:
    if key == "root":
        return str(value)
    shown = MACHINE_KEYS[key](value)
    return (" ".join(shown) or "none") if isinstance(shown, tuple) else value_word(key, shown)
