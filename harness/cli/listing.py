# SPDX-License-Identifier: GPL-2.0-only
"""`run PLAN --list`: the boots to come, on standard output."""

from __future__ import annotations

import json

import click

from harness.flow.estimate import BootAhead, Estimate, KernelAhead
from harness.model.machine import Accel
from harness.model.units import format_seconds
from harness.reports.columns import columns
from harness.reports.text import left_out_words

LIST_SCHEMA = "ttm-harness/list/1"
_NO_PAST_RUN = "no past run"


def print_list(estimate: Estimate) -> None:
    """The kernels, a line for every boot, and what is known of the time."""
    lines = [
        f"kernel   {kernel.version} {kernel.profile}  {kernel.build_id[:12]}  {_build_word(kernel)}"
        for kernel in estimate.kernels
    ]
    lines += left_out_words(estimate.left_out)
    rows: list[tuple[str, ...]] = [("boot", "cell", "side", "machine", "suites", "cases", "seed", "time")]
    rows += [_row(boot) for boot in estimate.boots]
    kept = sum(bool(boot.kept) for boot in estimate.boots)
    count = f"{len(estimate.boots)} boots, {kept} of them with a kept result"
    lines += ["", *columns(rows, {0, 6}), "", f"{count}, at most {estimate.side_by_side} side by side"]
    lines.append(_estimate(estimate))
    if any(kernel.accel is Accel.AUTO for kernel in estimate.kernels):
        lines.append("KVM was never tried on this host: the cells get other ids when it has been")
    click.echo("\n".join(lines))


def _row(boot: BootAhead) -> tuple[str, ...]:
    cell = boot.planned.cell
    what = (str(cell.machine), ", ".join(cell.suites), ", ".join(cell.cases) or "all", str(cell.seed))
    return (str(boot.planned.number), cell.id, boot.planned.leg.word, *what, _time(boot))


def list_json(estimate: Estimate) -> str:
    """The same as one JSON object."""
    plain = {
        "schema": LIST_SCHEMA,
        "kernels": [
            {
                "version": kernel.version,
                "origin": kernel.origin,
                "profile": kernel.profile,
                "build_id": kernel.build_id,
                "build_seconds": kernel.seconds,
            }
            for kernel in estimate.kernels
        ],
        "boots": [
            {
                "number": boot.planned.number,
                "cell": boot.planned.cell.id,
                "leg": str(boot.planned.leg),
                "group": boot.planned.group,
                "machine": str(boot.planned.cell.machine),
                "suites": list(boot.planned.cell.suites),
                "cases": list(boot.planned.cell.cases),
                "seed": boot.planned.cell.seed,
                "kept": boot.kept,
                "seconds": boot.seconds,
            }
            for boot in estimate.boots
        ],
        "left_out": [{"suite": one.suite, "version": one.version, "why": one.why} for one in estimate.left_out],
        "seconds": estimate.seconds,
        "unknown": estimate.unknown,
    }
    return json.dumps(plain, indent=1)


def _build_word(kernel: KernelAhead) -> str:
    if kernel.seconds is None:
        return "is to be built (no past build of this profile)"
    return f"is to be built, about {format_seconds(kernel.seconds)}" if kernel.seconds else "is built"


def _time(boot: BootAhead) -> str:
    if boot.kept:
        return f"kept from {boot.kept}"
    return _NO_PAST_RUN if boot.seconds is None else f"about {format_seconds(boot.seconds)}"


def _estimate(estimate: Estimate) -> str:
    unknown = estimate.unknown + sum(kernel.seconds is None for kernel in estimate.kernels)
    if unknown and not estimate.seconds:
        return f"time: {_NO_PAST_RUN} to tell it from"
    rest = f", and {unknown} of which there is {_NO_PAST_RUN}" if unknown else ""
    return f"time: about {format_seconds(estimate.seconds)} at most{rest}"
