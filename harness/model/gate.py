# SPDX-License-Identifier: GPL-2.0-only
"""What the gate says of a series: patches x checks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.model.build import CompilerWarning
from harness.model.outcome import Verdict
from harness.model.series import BuildTime

GATE_SCHEMA = "ttm-harness/gate/1"


class Mark(StrEnum):
    """What a check made of one patch."""

    OK = "ok"
    WARN = "warn"  # said aloud, not held against the patch
    BAD = "bad"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class ConfigVariant:
    """A config beside the profile's own: `symbol` with another value, what a `target` of make makes of it, or another
    compiler or architecture (`words`, variables of make). `name` is what people read: `SHMEM=n`, `built in`, `clang`.
    """

    name: str
    symbol: str = ""
    value: str = ""
    target: str = ""
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Compiled:
    """The objects of some .c files of one tree, in one config. Each file is in `built`, in `absent` (the config has
    no such object) or in `errors`, with its first error. `unchecked` says why sparse did not look, if it did not.
    """

    built: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    errors: tuple[tuple[str, str], ...] = ()
    warnings: tuple[CompilerWarning, ...] = ()
    unchecked: str = ""

    @property
    def clean(self) -> bool:
        return not self.errors and not self.warnings


@dataclass(frozen=True, slots=True)
class GateCheck:
    """One check of one patch. `details` are lines such as `file:line: text`, at most a few dozen."""

    name: str
    mark: Mark
    message: str = ""
    details: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class PatchGate:
    """A patch and its checks, in the order in which they were made; what of it the build itself executes."""

    position: int
    total: int
    subject: str
    patch_id: str
    checks: tuple[GateCheck, ...]
    build_time: tuple[BuildTime, ...] = ()

    @property
    def bad(self) -> bool:
        return any(check.mark is Mark.BAD for check in self.checks)


@dataclass(frozen=True, slots=True)
class Gate:
    """What `series gate --json` prints. `first_bad` is the position of the first bad patch, 0 where there is none."""

    schema: str
    verdict: Verdict
    reasons: tuple[str, ...]
    series: str
    series_id: str
    base: str
    first_bad: int
    patches: tuple[PatchGate, ...]
