# SPDX-License-Identifier: GPL-2.0-only
"""The `ttm-harness run` that makes a kept boot again, from what its run was asked for."""

from __future__ import annotations

from dataclasses import replace

from harness.flow.run_record import Record
from harness.model.compare import Leg
from harness.model.kernel import KernelSpec
from harness.model.result import Run
from harness.model.series import SeriesForm, SeriesSpec
from harness.reports.run_command import run_command

_OWN = (SeriesForm.MBOX, SeriesForm.DIRECTORY, SeriesForm.FILE)


def run_command_of(run: Run, record: Record | None, posted: SeriesSpec | None = None) -> str:
    """One line for a shell. Of a base it makes that kernel alone. `posted` is where others find the series that this
    host has in a file.
    """
    kernel, base = _asked(run, record)
    if posted is not None and kernel is not None and kernel.series is not None and kernel.series.form in _OWN:
        kernel = replace(kernel, series=posted)
    return run_command(run.cell, kernel, base)


def _asked(run: Run, record: Record | None) -> tuple[KernelSpec | None, KernelSpec | None]:
    """The kernel and the base that were asked for; None where the record does not say."""
    if record is None:
        return None, None
    number = run.directory.partition("-")[0]  # with an older harness the cell had another id
    for planned in record.cells:
        if f"{planned.number:03d}" == number and planned.request < len(record.requests):
            request = record.requests[planned.request]
            return request.sides.get(run.leg), request.base if run.leg is Leg.TIP else None
    return None, None
