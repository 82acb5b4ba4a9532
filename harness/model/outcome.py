# SPDX-License-Identifier: GPL-2.0-only
"""The closed words: outcome of a case, ending of a boot, verdict of a run."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Outcome(StrEnum):
    """What is known of one test case. A case starts as INCOMPLETE; only evidence moves it."""

    PASS = "PASS"
    XFAIL = "XFAIL"  # failed as declared
    SKIP = "SKIP"  # said itself that it did not run
    WARN = "WARN"  # passed, but the kernel printed something it should not have
    FAIL = "FAIL"
    CRASH = "CRASH"  # the kernel died or oopsed during it
    TIMEOUT = "TIMEOUT"
    INCOMPLETE = "INCOMPLETE"  # started, never ended
    NOT_RUN = "NOT_RUN"  # required, but skipped or absent

    @property
    def executed(self) -> bool:
        """The case ran far enough to say something about the kernel."""
        return self not in (Outcome.SKIP, Outcome.NOT_RUN, Outcome.INCOMPLETE)

    @property
    def finding(self) -> bool:
        """Speaks against the kernel, if the base does better."""
        return self in (Outcome.WARN, Outcome.FAIL, Outcome.CRASH, Outcome.TIMEOUT)


# From best to worst. INCOMPLETE stands above FAIL: a failure that was seen outweighs what was not seen.
_ORDER = (
    Outcome.PASS,
    Outcome.XFAIL,
    Outcome.SKIP,
    Outcome.NOT_RUN,
    Outcome.INCOMPLETE,
    Outcome.WARN,
    Outcome.TIMEOUT,
    Outcome.FAIL,
    Outcome.CRASH,
)


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The gravest of the given outcomes; INCOMPLETE when none is given, because nothing passes by default."""
    return max(outcomes, key=_ORDER.index, default=Outcome.INCOMPLETE)


class Ending(StrEnum):
    """How a boot ended. The phase in which it did is told apart: a guest can hang before it is ready."""

    FINISHED = "FINISHED"  # the exit frame came and the guest powered off
    PANICKED = "PANICKED"  # the console carries a panic
    HUNG = "HUNG"  # neither the control channel nor the console moved any more
    TIMEOUT = "TIMEOUT"  # the guest was alive, but its deadline passed
    LOST = "LOST"  # QEMU went away with neither an exit frame nor a panic
    INTERRUPTED = "INTERRUPTED"  # the user ended it


class Verdict(StrEnum):
    """The verdict over all, with the exit status that the command line promises."""

    GOOD = "good"
    BAD = "bad"
    CANNOT_TELL = "cannot tell"

    @property
    def exit_status(self) -> int:
        return {Verdict.GOOD: 0, Verdict.BAD: 1, Verdict.CANNOT_TELL: 3}[self]
