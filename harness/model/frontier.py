# SPDX-License-Identifier: GPL-2.0-only
"""Two axes with an order, and where on them a kernel begins to fail."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.model.compare import Leg
from harness.model.search import BootVotes, Sight

FRONTIER_SCHEMA = "ttm-harness/frontier/1"


@dataclass(frozen=True, slots=True)
class Axis:
    """Values in their order, with how people write each. `name` is a key of a machine (`ram`, `swap`) or a knob;
    `kind` of swap: that of its area.
    """

    name: str
    values: tuple[int, ...]
    labels: tuple[str, ...]
    kind: str = ""

    @property
    def title(self) -> str:
        words = {"ram": "RAM", "swap": f"swap ({self.kind})", "cpus": "vCPUs"}
        return words.get(self.name, self.name)

    def at(self, place: int) -> str:
        """The value with what it is a value of, in a sentence: `128M of swap`."""
        label = self.labels[place]
        if self.name == "ram":
            return f"{label} of RAM"
        if self.name == "swap":
            return "no swap" if not self.values[place] else f"{label} of swap"
        return f"{self.name}={label}"


class Standing(StrEnum):
    """What is known of a point."""

    SURVIVES = "survives"
    FLAKY = "flaky"  # both was seen
    FAILS = "fails"
    NOTHING = "no evidence"  # it was tried, and said nothing: the guest does not even start there
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """A point, by its places on the axes. What was not `seen` by a boot is taken over from the boots around it."""

    x: int
    y: int
    standing: Standing
    sights: tuple[Sight, ...] = ()

    @property
    def seen(self) -> bool:
        return bool(self.sights)

    @property
    def tally(self) -> BootVotes:
        return BootVotes.of(self.sights)


@dataclass(frozen=True, slots=True)
class Need:
    """Of a row: the first place on the x axis from which on it survives, by its `from_`; None: nowhere. `all_of_it`:
    at every value that was tried. `known`: there is no gap between that and the last failure.
    """

    row: int
    place: int | None
    all_of_it: bool = False
    known: bool = True


@dataclass(frozen=True, slots=True)
class FrontierSide:
    """One kernel: every point, row by row, and what each row needs. `holes` are points that survive though a point
    that should be easier fails: then there is no line.
    """

    leg: Leg
    label: str
    build_id: str
    points: tuple[FrontierPoint, ...]
    needs: tuple[Need, ...]
    holes: tuple[tuple[int, int], ...]
    boots: int

    def point(self, x: int, y: int, columns: int) -> FrontierPoint:
        return self.points[y * columns + x]


@dataclass(frozen=True, slots=True)
class FrontierOutput:
    """The line of one kernel, or of two. `rising`: a larger x is easier. `sentences` say what matters; `finished`:
    the line is known as finely as the axes are, and not only as far as the time went.
    """

    schema: str
    question: str
    x: Axis
    y: Axis
    rising: bool
    sides: tuple[FrontierSide, ...]
    sentences: tuple[str, ...]
    exit_status: int
    finished: bool
    boots: int
    kept: int
    seconds: float
    command: str
