# SPDX-License-Identifier: GPL-2.0-only
"""How long a boot, its suites and their cases may take. Pure."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence

from harness.guest.liveness import BootLimits, CaseLimit
from harness.model.cell import Cell
from harness.model.machine import Machine
from harness.model.suite import Suite, short_name

# What a boot of the lean kernel takes from the start of vng to `ready` on the machine that the limits were set for
# (2 cores, TCG); slower machines get longer limits in proportion.
REFERENCE_READY_SECONDS = 2.0
BOOT_SECONDS = 90.0
SILENCE_SECONDS = 60.0
AROUND_SUITES_SECONDS = 30.0
# Of a case: at least so many seconds, and so many times what it usually takes; the last is for one of which nobody
# knows how long it takes.
CASE_SECONDS = 30.0
CASE_TIMES = 8.0
NEW_CASE_SECONDS = 240.0
IGT_GRACE_SECONDS = 60.0
_REFERENCE_RAM = 256 << 20


def limits_of(cell: Cell, suites: Sequence[Suite]) -> BootLimits:
    """The limits of a boot on the machine that they are for."""
    return BootLimits(
        boot=BOOT_SECONDS,
        run=AROUND_SUITES_SECONDS + sum(suite.deadline + AROUND_SUITES_SECONDS for suite in suites),
        silence=SILENCE_SECONDS,
        suites=tuple((suite.name, suite.deadline + AROUND_SUITES_SECONDS) for suite in suites),
        cases=tuple(limit for suite in suites if suite.selectable for limit in _cases(cell, suite)),
        new_case=_new_case(cell, suites),
    )


def _new_case(cell: Cell, suites: Sequence[Suite]) -> float:
    """igt_runner ends a test that takes too long by itself; only where it does not, the guest is given up."""
    if not any(suite.is_igt for suite in suites):
        return NEW_CASE_SECONDS
    told = next((int(knob.value) for knob in cell.knobs if knob.name == "timeout"), 0)
    return max(NEW_CASE_SECONDS, told + IGT_GRACE_SECONDS)


def _cases(cell: Cell, suite: Suite) -> Iterator[tuple[str, str, CaseLimit | None]]:
    """The limits of a suite's cases by their short names. A load of which knobs or a slow disk say how long it takes
    has None.
    """
    chosen = {spec.name for spec in suite.knobs if spec.chooses}
    loaded = suite.knob_cases if any(knob.name not in chosen for knob in cell.knobs) else ()
    more = max(1.0, cell.machine.ram / _REFERENCE_RAM)
    if suite.is_igt:
        yield suite.name, "", None  # it says which case begins, and none is listed
    for case in suite.manifest.cases if suite.manifest is not None else ():
        short = short_name(case.name)
        free = _slow(cell.machine) or any(fnmatch.fnmatchcase(short, glob) for glob in loaded)
        seconds = case.seconds * more
        limit = CaseLimit(seconds, max(CASE_SECONDS, CASE_TIMES * seconds) if seconds else NEW_CASE_SECONDS)
        yield suite.name, short, None if free else limit


def _slow(machine: Machine) -> bool:
    return any(area.bps or area.iops for area in machine.swap.areas)
