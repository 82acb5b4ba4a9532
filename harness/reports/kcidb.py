# SPDX-License-Identifier: GPL-2.0-only
"""Report -> the JSON that KCIDB collects from all kernel CI systems, of version 5.3 of its schema.

A checkout is a kernel's sources, a build its build, a test each case of each boot and the boot itself. Ids are made
of hashes and names of runs: the same report gives the same ids, and to submit it twice changes nothing.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from datetime import datetime

from harness.model.errors import UserError
from harness.model.outcome import Outcome, Verdict
from harness.model.result import Case, Provenance, Report, Run
from harness.model.visible import visible, visible_json

ORIGIN = "ttm_harness"
_VERSION = {"major": 5, "minor": 3}
_ORIGIN = re.compile(r"[a-z0-9_]+")
_COMMIT = re.compile(r"\b[0-9a-f]{40}\b")
_MESSAGE_ID = re.compile(r"[^\s<>@]+@[^\s<>@]+")
_LONGEST_LOG = 16384
_NOT_IN_A_PATH = re.compile(r"[^a-zA-Z0-9_.-]+")
_STATUS = {
    Outcome.PASS: "PASS",
    Outcome.XFAIL: "PASS",  # known, and expected to fail: no news about the code
    Outcome.SKIP: "SKIP",
    Outcome.WARN: "FAIL",
    Outcome.FAIL: "FAIL",
    Outcome.CRASH: "FAIL",
    Outcome.TIMEOUT: "FAIL",
    Outcome.INCOMPLETE: "ERROR",
    Outcome.NOT_RUN: "MISS",
}
_BOOTED = {Verdict.GOOD: "PASS", Verdict.BAD: "FAIL", Verdict.CANNOT_TELL: "ERROR"}

Json = dict[str, object]


def to_kcidb(report: Report, origin: str = ORIGIN, message_id: str = "") -> str:
    """The text. `message_id` is that of the series' cover letter, where it is known; UserError for an `origin` that
    KCIDB would refuse.
    """
    require_origin(origin)
    kernels = _kernels(report)
    found = {
        "version": _VERSION,
        "checkouts": list(
            {str(one["id"]): one for one in (_checkout(k, origin, message_id) for k in kernels)}.values()
        ),
        "builds": [_build(one, origin) for one in kernels],
        "tests": [test for run in report.runs for test in _tests(report, run, origin)],
    }
    return visible_json(json.dumps(found, indent=1, ensure_ascii=False)) + "\n"


def require_origin(text: str) -> str:
    """The name of a CI system; UserError for one that KCIDB would refuse."""
    if not _ORIGIN.fullmatch(text):
        raise UserError(f"{text!r} cannot be the name of a CI system", hint="lower case, digits and _")
    return text


def _kernels(report: Report) -> list[Provenance]:
    several = (*report.kernels, report.provenance, *([report.base] if report.base is not None else []))
    return list({one.build_id: one for one in several}.values())


def _checkout(kernel: Provenance, origin: str, message_id: str) -> Json:
    made: Json = {
        "id": f"{origin}:{kernel.tree_id}",
        "origin": origin,
        "comment": _plain(f"{kernel.tree_version}: {kernel.tree_origin}"),
        **_started(kernel.started),
        "valid": True,
    }
    if match := _COMMIT.search(kernel.tree_origin):
        made["git_commit_hash"] = match[0]
    patched = ", with patches " in kernel.tree_origin
    if not patched:
        made["patchset_hash"] = ""
    elif _MESSAGE_ID.fullmatch(message_id):
        made["message_id"] = message_id
    return made


def _build(kernel: Provenance, origin: str) -> Json:
    return {
        "id": f"{origin}:{kernel.build_id}",
        "checkout_id": f"{origin}:{kernel.tree_id}",
        "origin": origin,
        **_started(kernel.started),
        "compiler": _plain(kernel.compiler),
        "config_name": _plain(kernel.profile),
        "status": "PASS",
        "misc": {"config_id": kernel.config_id, "warnings": kernel.build_warnings},
    }


def _tests(report: Report, run: Run, origin: str) -> Iterator[Json]:
    common: Json = {
        "build_id": f"{origin}:{run.cell.build_id}",
        "origin": origin,
        **_started(report.provenance.started),
        "environment": {
            "comment": _plain(f"QEMU: {run.cell.machine}, seed {run.cell.seed}"),
            "misc": {"cell": run.cell.id, "leg": str(run.leg)},
        },
    }
    seconds = sum(stage.seconds for stage in run.stages if stage.name == "boot")
    boot_id = f"{origin}:{report.id}/{_plain(run.id)}"
    yield {
        **common,
        "id": boot_id,
        "path": "boot",
        "status": _BOOTED[run.verdict],
        "comment": _plain("; ".join(run.reasons) or str(run.verdict)),
        **_duration(seconds),
        "misc": {"ending": str(run.ending)},
    }
    seen: dict[str, int] = {}
    for case in report.cases:
        if case.run == run.id and case.suite != "boot":
            path = _path(case)
            seen[path] = seen.get(path, 0) + 1
            again = f"#{seen[path]}" if seen[path] > 1 else ""
            yield {**common, "id": f"{boot_id}/{path}{again}", "path": path, **_case(case)}


def _case(case: Case) -> Json:
    made: Json = {
        "status": _STATUS[case.outcome],
        **_duration(case.seconds),
        "misc": {"outcome": str(case.outcome), "raw": _plain(case.raw)},
    }
    if case.message:
        made["comment"] = _plain(case.message)
    if case.outcome.finding and (log := _log(case)):
        made["log_excerpt"] = log
    return made


def _started(moment: str) -> Json:
    try:
        return {"start_time": datetime.fromisoformat(moment).isoformat()}
    except ValueError:
        return {}


def _duration(seconds: float | None) -> Json:
    return {"duration": round(seconds, 3)} if seconds is not None and math.isfinite(seconds) else {}


def _log(case: Case) -> str:
    lines: Iterable[str] = (*case.diagnostics, *(line for event in case.events for line in event.lines))
    return _plain("\n".join(lines))[:_LONGEST_LOG]


def _path(case: Case) -> str:
    """`ttm-kunit.ttm_pool.alloc`: the parts of a path are separated by dots, and are plain words."""
    suite = _NOT_IN_A_PATH.sub("-", case.suite).replace(".", "-").strip("-")
    name = ".".join(filter(None, (_NOT_IN_A_PATH.sub("-", part).strip("-") for part in case.name.split("."))))
    return f"{suite or 'suite'}.{name}" if name else suite or "suite"


def _plain(text: str) -> str:
    return visible(text)
