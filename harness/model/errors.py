# SPDX-License-Identifier: GPL-2.0-only
"""What can go wrong, by whose fault it is.

    HarnessError            message, hint, log
     |- UserError           a wrong option, a missing file or tool            exit 2
     |- FindingError        the thing under test is at fault                  exit 1, or 3 without a base
     |- InfraError          no verdict possible, trying again may help        exit 3

A panic, a hang or an OOM inside a guest is none of these: it is a result (`Ending`, `Event`).
"""

from __future__ import annotations

from pathlib import Path


class HarnessError(Exception):
    """A sentence that names the thing and the cause; `hint` is the cure, `log` the file to read."""

    def __init__(self, message: str, *, hint: str | None = None, log: Path | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.log = log


class UserError(HarnessError):
    """The user's input cannot be used as it is."""


class FindingError(HarnessError):
    """The kernel or the series under test is at fault (it does not apply, configure or build)."""


class ConfigUnmet(UserError):
    """Symbols asked for are unknown, or did not come out of olddefconfig; the message names each and why."""


class BuildFailed(FindingError):
    """make failed; the message carries the first compiler error with its file and line."""


class ModuleFailed(BuildFailed):
    """A module of the harness's own does not build for the kernel under test: no word about a patch."""


class InfraError(HarnessError):
    """Nothing can be said about the thing under test."""


class NoScenario(InfraError):
    """A log of a kernel in which nothing is that a guest of this harness could come to."""


class CommandFailed(InfraError):
    """A host command failed: its words, its status and the end of what it printed."""

    def __init__(
        self,
        argv: tuple[str, ...],
        status: int,
        tail: str,
        *,
        hint: str | None = None,
        log: Path | None = None,
    ) -> None:
        self.argv = argv
        self.status = status
        self.tail = tail
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        last = f": {tail.strip().splitlines()[-1]}" if tail.strip() else ""
        super().__init__(f"{argv[0]} {how}{last}", hint=hint, log=log)


class SuiteUnfit(InfraError):
    """A suite cannot be had on this kernel. `too_old`: the kernel is of before what the suite is about."""

    def __init__(self, message: str, *, too_old: bool = False, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.too_old = too_old


class DeadlineExceeded(InfraError):
    """A wait reached its limit."""

    def __init__(self, what: str, seconds: float, *, hint: str | None = None, log: Path | None = None) -> None:
        self.what = what
        self.seconds = seconds
        super().__init__(f"{what} did not end within {seconds:.0f} s", hint=hint, log=log)


class OutputFailed(InfraError):
    """Standard output does not take what was to be printed; `nobody_reads`: it is a pipe whose reader has gone."""

    def __init__(self, why: str, *, nobody_reads: bool) -> None:
        self.nobody_reads = nobody_reads
        super().__init__(
            f"standard output cannot be written: {why}",
            hint="a run is kept, and `ttm-harness report` prints it again",
        )


class StoreCorrupt(InfraError):
    """Something in the store is not what its name says."""


class StoreDamaged(InfraError):
    """Something in the store is not what was made: the message names the file and what is wrong with it."""
