# SPDX-License-Identifier: GPL-2.0-only
"""A boot that was made again, so and so often: what of its findings came again."""

from __future__ import annotations

from dataclasses import dataclass

from harness.model.outcome import Verdict

REPRO_SCHEMA = "ttm-harness/repro/1"


@dataclass(frozen=True, slots=True)
class Finding:
    """What speaks against a kernel: a case with its outcome, or an event that nobody expected.

    `kind` is `case` with `name` as SUITE/CASE and `outcome`, or the event's own kind with its title as `name` and its
    `fingerprint`.
    """

    kind: str
    name: str
    outcome: str = ""
    fingerprint: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        """What makes two of them the same: the title of an event has addresses in it."""
        return (self.fingerprint,) if self.fingerprint else (self.name, self.outcome)


@dataclass(frozen=True, slots=True)
class Again:
    """A finding, and in how many of the new boots it was found."""

    finding: Finding
    boots: int


@dataclass(frozen=True, slots=True)
class Repro:
    """`boots` were made of the boot `of` (RUN/BOOT, or a bundle), `told` of them told something at all, and in
    `again` a finding of the first came again, or, where that was good, nothing was found.

    `findings` are those of the first, `more` those that it had not; `unlike` are sentences for what could not be made
    the same. `run` is the directory of the new boots. The verdict is `bad` when anything came again, `good` when all
    boots were good.
    """

    schema: str
    of: str
    was: Verdict
    run: str
    boots: int
    told: int
    again: int
    findings: tuple[Again, ...]
    more: tuple[Again, ...]
    unlike: tuple[str, ...]
    verdict: Verdict
