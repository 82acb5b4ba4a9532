# SPDX-License-Identifier: GPL-2.0-only
"""What once went wrong with the shrinker, as patches/history/history.toml has it, and what came of its replay."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from pathlib import Path

from harness.model.errors import UserError
from harness.model.outcome import Verdict
from harness.model.toml import read_by, read_toml

HISTORY_SCHEMA = "ttm-harness/history/1"


class ReplayKind(StrEnum):
    """How a regression is brought back."""

    CONTROL = "control"  # a control is that bug
    PATCH = "patch"  # a patch of patches/history puts it into the kernel
    GATE = "gate"  # a patch with the same fault goes through the gate
    NONE = "not possible"


class ReplayOutcome(StrEnum):
    """What became of a replay."""

    SEEN = "seen"
    NOT_SEEN = "not seen"
    CANNOT_TELL = "cannot tell"
    NOT_POSSIBLE = "not possible"


def _day(value: object) -> str:
    """A date of TOML, or the text of one, as 2026-11-30."""
    try:
        return date.fromisoformat(str(value)).isoformat()
    except ValueError:
        raise UserError(f"{value!r} is no date like 2026-11-30") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """One [[regression]]; patches/history/README.md has the keys. Dates are as 2026-11-30, '' where none is known."""

    id: str
    what: str
    title: str = ""
    fixes: tuple[str, ...] = ()
    since: str = field(default="", metadata=read_by(_day))
    arrived: str = field(default="", metadata={"key": "in"})
    said: str = field(default="", metadata=read_by(_day))
    by: str = ""
    where: tuple[str, ...] = ()
    took: str = ""
    control: str = ""
    patch: str = ""
    gate: str = ""
    not_possible: str = ""
    subject: str = ""
    functions: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()
    check: str = ""
    config: str = ""
    tool: str = ""
    shows: str = ""
    note: str = ""

    @property
    def kind(self) -> ReplayKind:
        """The one way that is given; `read_regressions` makes sure of that."""
        if self.control:
            return ReplayKind.CONTROL
        if self.patch:
            return ReplayKind.PATCH
        return ReplayKind.GATE if self.gate else ReplayKind.NONE

    @property
    def days(self) -> int | None:
        """From the day it arrived to the day somebody said so; None where one of them is not known."""
        if not self.since or not self.said:
            return None
        return (date.fromisoformat(self.said) - date.fromisoformat(self.since)).days


@dataclass(frozen=True, slots=True)
class _File:
    regression: tuple[Regression, ...]


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of one: `by` are the cases that turned red, or the check of the gate; seconds of the boot or gate."""

    id: str
    outcome: ReplayOutcome
    by: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    seconds: float = 0.0
    directory: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """A regression and its replay, None while there is none, as `history --json` prints them."""

    regression: Regression
    days: int | None
    kind: ReplayKind
    replay: Replay | None


@dataclass(frozen=True, slots=True)
class HistoryOutput:
    """What `ttm-harness history --json` prints; `left` says how many are still to come."""

    schema: str
    verdict: Verdict
    kernel: str
    left: int
    regressions: tuple[Told, ...]


def verdict_of_replays(replays: tuple[Replay, ...], left: int = 0) -> Verdict:
    """One that is not seen is a finding about the suites; what cannot be replayed speaks for nobody."""
    if any(one.outcome is ReplayOutcome.NOT_SEEN for one in replays):
        return Verdict.BAD
    if left or any(one.outcome is ReplayOutcome.CANNOT_TELL for one in replays):
        return Verdict.CANNOT_TELL
    if not any(one.outcome is ReplayOutcome.SEEN for one in replays):
        return Verdict.CANNOT_TELL
    return Verdict.GOOD


def read_regressions(path: Path) -> tuple[Regression, ...]:
    """The entries in their order; UserError where two have one id, or one has no way, or two, to be brought back."""
    found = read_toml(_File, path).regression
    seen: set[str] = set()
    for one in found:
        wrong = "is there twice" if one.id in seen else _wrong(one)
        if wrong:
            raise UserError(f"{path}: the regression {one.id} {wrong}", hint="README.md beside it has the keys")
        seen.add(one.id)
    return found


def _wrong(one: Regression) -> str:
    ways = [word for word in (one.control, one.patch, one.gate, one.not_possible) if word]
    if len(ways) != 1:
        return "needs exactly one of control, patch, gate and not_possible"
    if one.kind in (ReplayKind.CONTROL, ReplayKind.PATCH) and not one.cases:
        return "needs the cases that are to see it"
    if one.kind is ReplayKind.PATCH and not one.subject:
        return "needs the subject whose module the patch goes into"
    if one.kind is ReplayKind.CONTROL and one.control.count("/") != 1:
        return "needs a control as SUBJECT/NAME"
    if one.kind is ReplayKind.GATE and not one.check:
        return "needs the check of the gate that is to see it"
    if (one.check == "configs") != bool(one.config):
        return "needs the config in which the check configs is to see it, and no other check has one"
    if one.days is not None and one.days < 0:
        return "was said before it arrived"
    return ""
