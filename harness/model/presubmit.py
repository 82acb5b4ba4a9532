# SPDX-License-Identifier: GPL-2.0-only
"""What the controls have told of the cases, and the few cases that were chosen by it for a quick first answer."""

from __future__ import annotations

from dataclasses import dataclass

CONTROL_MAP_SCHEMA = "ttm-harness/controls-map/1"
PRESUBMIT_PLAN = "--presubmit"  # in the place of a plan's name


@dataclass(frozen=True, slots=True)
class ControlSight:
    """A control that was caught: the functions that it changes, and the cases that turned red, by their names in the
    suite's manifest.
    """

    control: str
    functions: tuple[str, ...]
    red: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ControlMap:
    """What `controls --map` wrote: what the controls of a suite told on that kernel. `date` is that of the newest run
    that it was taken from, YYYY-MM-DD. A run of `controls` ends a boot at the first red case, so others may see the
    same. `unseen` are the controls of which no kept run tells.
    """

    schema: str
    suite: str
    kernel: str
    date: str
    controls: tuple[ControlSight, ...]
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Presubmit:
    """The choice of cases of a run that is no more than a first answer. `functions` are those that differ and that
    controls are in, `unknown` those that differ and no control is in; `chosen` and `left_out` are SUITE:CASE, the
    sharpest first. `caught` of `controls` is how many the chosen cases caught when they were put in on purpose, into
    these `kernels`, and `seconds` of `whole` what they take.
    With `anywhere` no control in what differs was ever caught, and the cases are the sharpest of all.
    """

    budget: float
    functions: tuple[str, ...]
    unknown: tuple[str, ...]
    chosen: tuple[str, ...]
    left_out: tuple[str, ...]
    caught: int
    controls: int
    seconds: float
    whole: float
    anywhere: bool = False
    kernels: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """`39 of 41 controls in these functions in 21 s of 62 s (put into 7.3.4)`."""
        where = "controls in these functions"
        if self.anywhere:
            in_them = "none of those in what differs was ever caught" if self.functions else "none is in what differs"
            where = f"of all controls ({in_them})"
        told = f" (put into {', '.join(self.kernels)})" if self.kernels else ""
        return f"{self.caught} of {self.controls} {where} in {self.seconds:.0f} s of {self.whole:.0f} s{told}"
