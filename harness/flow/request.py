# SPDX-License-Identifier: GPL-2.0-only
"""What `ttm-harness run` is asked for, in one value: a command line is one, a plan thousands."""

from __future__ import annotations

from dataclasses import dataclass

from harness.model.cell import Knob
from harness.model.compare import Leg
from harness.model.kernel import KernelSpec
from harness.model.machine import Machine


@dataclass(frozen=True, slots=True)
class Request:
    """Suites on a kernel in a machine, and on its `base` where there is one.

    `cases` are globs for the suites that can run a part of theirs. Without a `seed` one is drawn. With `as_they_fit`
    suites are left out of a kernel that cannot have them: those that a plan names, or nobody, and not --suite.
    """

    kernel: KernelSpec
    machine: Machine
    suites: tuple[str, ...]
    base: KernelSpec | None = None
    repeat: int = 1
    seed: int | None = None
    knobs: tuple[Knob, ...] = ()
    cases: tuple[str, ...] = ()
    as_they_fit: bool = False

    @staticmethod
    def upgraded(plain: dict[str, object]) -> dict[str, object]:
        """Before, the kernel's keys stood among the request's, and its base was a source or went without saying."""
        if "kernel" in plain:
            return plain
        plain = {key: value for key, value in plain.items() if key != "jobs"}
        series = ("series", "upto")
        kernel = {
            key: plain.pop(key) for key in ("source", "profile", "fragments", "mirror", *series) if key in plain
        }
        unpatched = {key: value for key, value in kernel.items() if key not in series}
        base = plain.pop("base", None)
        if base is not None:
            plain["base"] = {**unpatched, "source": base}
        elif kernel.get("series") is not None:
            plain["base"] = unpatched
        return {**plain, "kernel": kernel}

    @property
    def sides(self) -> dict[Leg, KernelSpec]:
        """The kernels to boot, the base first."""
        return {Leg.TIP: self.kernel} if self.base is None else {Leg.BASE: self.base, Leg.TIP: self.kernel}
