# SPDX-License-Identifier: GPL-2.0-only
"""What the kept runs say of one patch, for the commands that `b4 prep --check` and `b4 review` give it to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.flow.run_loader import read_report
from harness.inputs.series.assemble import Selection, assemble
from harness.inputs.series.mbox import read_messages
from harness.model.errors import HarnessError
from harness.model.gate import Gate, Mark, PatchGate
from harness.model.outcome import Verdict
from harness.model.result import Report
from harness.model.visible import visible_field
from harness.store.files import read_regular
from harness.store.layout import Layout
from harness.store.runs import REPORT_FILE, run_directories

TOOL = "ttm-harness"
_MOST_RUNS = 2000  # that are looked into, the newest ones
_LARGEST = 512 << 20
_STATES = {Mark.OK: "pass", Mark.WARN: "warn", Mark.NOT_RUN: "warn", Mark.BAD: "fail"}
_VERDICTS = {Verdict.GOOD: "pass", Verdict.BAD: "fail", Verdict.CANNOT_TELL: "warn"}
_WORDS = {"warn": "WARNING", "fail": "ERROR"}


@dataclass(frozen=True, slots=True)
class Said:
    """What a run says of a patch: b4's state (pass, warn, fail), in one line, and more of it. `run` is empty where no
    run has the patch.
    """

    state: str
    summary: str
    run: str = ""
    details: tuple[str, ...] = ()


def said_of(mail: bytes, layout: Layout) -> tuple[Said, ...]:
    """What the newest run with this patch says of it; UserError for a mail without a patch. A first answer of a few
    cases says nothing, but that it is bad.
    """
    found = assemble(read_messages(mail, "standard input"), Selection("-", partial=True))
    patch_id = found.patches[0].patch_id
    first = ""
    for report, gates in _runs_with(patch_id, layout):
        if report.presubmit is not None and report.verdict is not Verdict.BAD:
            first = first or report.id
            continue
        for gate, patch in gates:
            return tuple(_said(gate, patch, report))
    of_it = ", but with --presubmit, which runs a few cases alone" if first else ""
    return (Said("warn", f"no kept run has the patch {visible_field(found.patches[0].subject)!r}{of_it}", first),)


def _runs_with(patch_id: str, layout: Layout) -> Iterator[tuple[Report, list[tuple[Gate, PatchGate]]]]:
    """The newest first. Most reports need only be searched, and not understood."""
    for directory, _ in zip(run_directories(layout), range(_MOST_RUNS), strict=False):
        try:
            if patch_id.encode() not in read_regular(directory / REPORT_FILE, _LARGEST):
                continue
            report = read_report(directory)
        except (OSError, HarnessError):
            continue
        yield (
            report,
            [(gate, one) for gate in report.gates for one in gate.patches if one.patch_id == patch_id],
        )


def _said(gate: Gate, patch: PatchGate, report: Report) -> Iterator[Said]:
    """Each check of the gate that is not ok; with the last patch, the verdict over the whole series."""
    for check in patch.checks:
        if check.mark is not Mark.OK:
            yield Said(_STATES[check.mark], f"{check.name}: {check.message}", report.id, check.details)
    if patch.position == len(gate.patches):
        words = f"{gate.series} on {report.provenance.tree_version}: {report.verdict}"
        yield Said(_VERDICTS[report.verdict], words, report.id, report.reasons)
    elif all(check.mark is Mark.OK for check in patch.checks):
        yield Said("pass", f"{len(patch.checks)} checks ok", report.id)


def b4_lines(said: Sequence[Said]) -> list[str]:
    """For b4.prep-perpatch-check-cmd: a line is a warning, one with ERROR: a failure; none means that all is well."""
    lines = []
    for one in said:
        if one.state in _WORDS:
            where = f" ({one.run})" if one.run else ""
            lines.append(f"{_WORDS[one.state]}: {visible_field(one.summary)}{where}")
    return lines


def b4_json(said: Sequence[Said], site: str = "") -> str:
    """For b4.review-perpatch-check-cmd; `site` is the address of the pages, to which the entries then lead."""
    entries = []
    for one in said:
        entry = {"tool": TOOL, "status": one.state, "summary": visible_field(one.summary)}
        if site and one.run:
            entry["url"] = f"{site.rstrip('/')}/runs/{one.run}/index.html"
        if one.details:
            entry["details"] = "\n".join(map(visible_field, one.details))
        entries.append(entry)
    return json.dumps(entries)


def worst(said: Sequence[Said]) -> Verdict:
    """The verdict that goes with what was said."""
    states = {one.state for one in said}
    return Verdict.BAD if "fail" in states else Verdict.CANNOT_TELL if "warn" in states else Verdict.GOOD
