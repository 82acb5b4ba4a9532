# SPDX-License-Identifier: GPL-2.0-only
"""Knobs against what the suites take: an unknown or impossible one is refused before anything is built."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence

from harness.model.cell import Knob
from harness.model.errors import UserError
from harness.model.suite import KnobForm, KnobSpec, Suite
from harness.model.units import format_size, parse_size, whole_number


def check_knobs(knobs: Iterable[Knob], suites: Sequence[Suite]) -> None:
    """UserError names the knob, what is wrong with it, and the ones that there are."""
    specs = _specs(suites)
    knobs = tuple(knobs)
    given = {knob.name for knob in knobs}
    seen: set[str] = set()
    for knob in knobs:
        spec = specs.get(knob.name)
        if spec is None:
            raise UserError(f"no suite of this run has a knob {knob.name!r}", hint=_listing(specs.values()))
        if knob.name in seen:
            raise UserError(f"the knob {knob.name} is given twice")
        seen.add(knob.name)
        if not _fits(spec, knob.value):
            raise UserError(f"the knob {knob.name} cannot be {knob.value!r}", hint=f"{spec.name}: {_form(spec)}")
        if spec.needs and spec.needs not in given:
            needed = specs[spec.needs]
            raise UserError(
                f"the knob {knob.name} means nothing without {needed.name}", hint=f"{needed.name}: {_form(needed)}"
            )


def check_knob_cases(knobs: Sequence[Knob], cases: Sequence[str], suites: Sequence[Suite]) -> None:
    """UserError when a knob is given that none of the chosen cases takes: it would change nothing."""
    if not cases:
        return
    specs = _specs(suites)
    every = tuple(glob for suite in suites for glob in suite.knob_cases)
    for knob in knobs:
        takers = specs[knob.name].cases or every
        if not any(_meet(case, taker) for case in cases for taker in takers):
            raise UserError(
                f"none of the cases {', '.join(cases)} takes the knob {knob.name}",
                hint=f"those that do: {', '.join(takers)}",
            )


def _specs(suites: Sequence[Suite]) -> dict[str, KnobSpec]:
    return {spec.name: spec for suite in suites for spec in suite.knobs}


def _meet(one: str, other: str) -> bool:
    """Whether two globs can name the same case; exact where one of them is a plain name."""
    return fnmatch.fnmatchcase(one, other) or fnmatch.fnmatchcase(other, one)


def _fits(spec: KnobSpec, value: str) -> bool:
    if spec.form is KnobForm.CHOICE:
        return value in spec.choices
    if spec.form is KnobForm.INTEGER:
        return spec.least <= whole_number(value, spec.least - 1) <= spec.most
    if spec.form is KnobForm.CHANCE and not value.endswith("%"):
        return False
    if spec.form in (KnobForm.SHARE, KnobForm.CHANCE) and value.endswith("%"):
        return spec.least <= whole_number(value[:-1], spec.least - 1) <= spec.most
    try:
        size = parse_size(value)
    except UserError:
        return False
    if spec.form is KnobForm.SHARE:
        return size > 0
    return spec.least <= size <= spec.most


def _form(spec: KnobSpec) -> str:
    if spec.form is KnobForm.CHOICE:
        return f"{', '.join(spec.choices)} ({spec.meaning})"
    if spec.form is KnobForm.INTEGER:
        return f"{spec.least} to {spec.most} ({spec.meaning})"
    if spec.form is KnobForm.CHANCE:
        return f"{spec.least}% to {spec.most}% ({spec.meaning})"
    if spec.form is KnobForm.SHARE:
        return f"{spec.least}% to {spec.most}% of free RAM, or a size ({spec.meaning})"
    return f"{format_size(spec.least)} to {format_size(spec.most)} ({spec.meaning})"


def _listing(specs: Iterable[KnobSpec]) -> str:
    lines = [f"{spec.name}: {_form(spec)}" for spec in specs]
    return "knobs:\n    " + "\n    ".join(lines) if lines else "the chosen suites have none"
