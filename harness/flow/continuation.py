# SPDX-License-Identifier: GPL-2.0-only
"""A case that does not end, or of which the kernel dies, costs one case: which one it was, what is left to be run,
and the results of all boots of a cell as one list. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

from harness.flow.observe import Seen
from harness.model.outcome import Ending, Outcome
from harness.model.result import Case
from harness.model.suite import Suite, short_name

# How many boots go on with the rest; each costs a case.
MOST_CONTINUATIONS = 3
_NUMBERED = re.compile(r"(?:.*\.)?\?\d+(?:-\d+)?")  # what the parser calls a result that never came
_GHOSTS = (Outcome.INCOMPLETE, Outcome.NOT_RUN)
_ENDS = (Ending.HUNG, Ending.TIMEOUT, Ending.PANICKED)


def held_case(suite: Suite, seen: Seen) -> str:
    """The case in which a boot ended, by its whole name; empty where it ended otherwise or nobody knows in which."""
    boot, announced = seen.boot, seen.announced.get(suite.name)
    if not boot.case or boot.phase != suite.name or announced is None or boot.ending not in _ENDS:
        return ""
    if boot.ending is Ending.TIMEOUT and not boot.overdue:
        return ""  # the suite as a whole was too slow
    return next((name for name in announced if short_name(name) == boot.case), "")


def to_confirm(seen: Seen) -> bool:
    """Whether a held case has nothing but its deadline against it: then it is tried again, alone. A kernel that says
    that something is stuck, or that is silent, needs no second witness; a guest that had not its share is none.
    """
    return seen.boot.ending is Ending.TIMEOUT and seen.boot.overdue and seen.boot.fair


def left_to_run(suite: Suite, boots: Sequence[Seen]) -> tuple[str, ...]:
    """The cases, as --case calls them, that were announced and that no boot has come to; in their order."""
    parts = [seen for seen in boots if not seen.alone]
    last = parts[-1].announced[suite.name] or ()
    held = held_case(suite, parts[-1])
    names = last[last.index(held) + 1 :] if held in last else ()
    return tuple(short_name(name) for name in names if "." in name)


def joined(suite: Suite, boots: Sequence[Seen]) -> tuple[Case, ...]:
    """The cases of a suite from all of a cell's boots, the ones that did not end by name, and as what they count."""
    parts = [seen for seen in boots if not seen.alone]
    found: list[Case] = []
    for at, seen in enumerate(parts):
        mine = [case for case in seen.cases if case.suite == suite.name]
        held = held_case(suite, seen)
        if (announced := seen.announced.get(suite.name)) is not None:
            mine = [case for one in mine if (case := _named(one, held, announced)) is not None]
        if held:
            alone = next((one for one in boots if one.alone and boots.index(one) == boots.index(seen) + 1), None)
            mine = _with_held(suite, mine, held, seen, alone)
        found += mine
        if at:
            found = _without_ghosts(found)
    return tuple(found)


def _named(case: Case, held: str, announced: Collection[str]) -> Case | None:
    """A result that never came by the name of the case that was running; None where there is nothing in it. One that
    was promised within a case is said by no other name.
    """
    if case.raw or not _NUMBERED.fullmatch(case.name):
        return case
    if (within := case.name.rpartition(".")[0]) in announced and within != held:
        return case
    if case.outcome is Outcome.INCOMPLETE and not case.events:
        return None  # what was announced and has no result is said by its name
    return replace(case, name=held) if held else case


def _without_ghosts(cases: list[Case]) -> list[Case]:
    """What a later boot ran takes the place of what an earlier one did not come to."""
    ran = {case.name for case in cases if case.outcome not in _GHOSTS}
    latest = {case.name: at for at, case in enumerate(cases) if case.name not in ran}
    return [case for at, case in enumerate(cases) if case.outcome not in _GHOSTS or latest.get(case.name) == at]


def _with_held(suite: Suite, cases: list[Case], held: str, seen: Seen, alone: Seen | None) -> list[Case]:
    outcome, message = _counts_as(suite, held, seen, alone)
    there = next((case for case in cases if case.name == held), None)
    if there is None:
        return [*cases, Case(suite.name, held, outcome, message=message, boot=seen.folder)]
    if there.outcome.finding:
        return cases
    return [replace(case, outcome=outcome, message=message) if case is there else case for case in cases]


def _counts_as(suite: Suite, held: str, seen: Seen, alone: Seen | None) -> tuple[Outcome, str]:
    """What a case is in which a boot ended. TIMEOUT is a finding; what may be the host's doing is none."""
    boot = seen.boot
    if boot.ending is Ending.PANICKED:
        return Outcome.CRASH, "the kernel panicked in it"
    if boot.ending is Ending.HUNG:
        return (Outcome.TIMEOUT if _kernels_doing(seen) else Outcome.INCOMPLETE), seen.stall
    if not boot.fair:
        return Outcome.INCOMPLETE, f"{seen.stall}; its heart beat too seldom, so that it may be the host"
    if alone is None:
        return Outcome.INCOMPLETE, f"{seen.stall}; it was not tried again"
    if held_case(suite, alone) == held:
        words = f"{alone.boot.ending} alone in a boot of its own, too (2 of 2)"
        return (Outcome.TIMEOUT if _kernels_doing(alone) else Outcome.INCOMPLETE), f"{seen.stall}; {words}"
    again = [case for case in alone.cases if case.name == held or case.name.startswith(f"{held}.")]
    bad = next((case for case in again if case.outcome.finding), None)
    if bad is not None:
        words = f"{bad.outcome} alone in a boot of its own (2 of 2 are no pass): {bad.message}"
        return Outcome.TIMEOUT, f"{seen.stall}; {words}"
    word = str(again[0].outcome) if again else f"nothing, the boot ended {alone.boot.ending}"
    return Outcome.INCOMPLETE, f"{seen.stall}; alone in a boot of its own it was {word} (1 of 2)"


def _kernels_doing(seen: Seen) -> bool:
    """Whether a boot that ended in a case did so by no fault of the host."""
    boot = seen.boot
    if boot.ending is Ending.HUNG:
        return boot.stall is not None and boot.stall.machine_ran
    return boot.ending is Ending.PANICKED or boot.fair
