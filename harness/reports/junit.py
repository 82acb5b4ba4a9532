# SPDX-License-Identifier: GPL-2.0-only
"""Report -> JUnit XML. The only module that imports junitparser.

FAIL and WARN are failures; CRASH, TIMEOUT, INCOMPLETE and NOT_RUN are errors; SKIP and XFAIL are skipped.
Provenance stands in the properties of every test suite. The suite `boot` has the boot itself and what makes it no
evidence. A base that was compared with is left out.
"""

from __future__ import annotations

import re

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from harness.model.compare import Leg
from harness.model.outcome import Outcome
from harness.model.result import Case, Report, Run

_FAILURES = frozenset({Outcome.FAIL, Outcome.WARN})
_ERRORS = frozenset({Outcome.CRASH, Outcome.TIMEOUT, Outcome.INCOMPLETE, Outcome.NOT_RUN})
_SKIPPED = frozenset({Outcome.SKIP, Outcome.XFAIL})
# What XML 1.0 cannot carry; kernel logs have it (escape sequences of the firmware, NUL).
_BOOT = "boot"
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_junit(report: Report) -> str:
    """The XML text: one test suite per run and suite, one test case per case."""
    xml = JUnitXml("ttm-harness")
    for run in report.runs:
        if run.leg is Leg.BASE:
            continue  # the base is not on trial, and a reader of JUnit cannot know
        for name in (*run.cell.suites, _BOOT):
            cases = [case for case in report.cases if case.run == run.id and case.suite == name]
            xml.add_testsuite(_suite(report, run, name, cases))
    xml.update_statistics()
    text: bytes | str = xml.tostring()
    return text.decode("utf-8") if isinstance(text, bytes) else text


def _suite(report: Report, run: Run, name: str, cases: list[Case]) -> TestSuite:
    suite = TestSuite(name)
    where = next((one for one in report.kernels if one.build_id == run.cell.build_id), report.provenance)
    facts = {
        "verdict": report.verdict,
        "run": run.id,
        "ending": run.ending,
        "kernel": where.tree_version,
        "origin": where.tree_origin,
        "tree": where.tree_id,
        "build": where.build_id,
        "profile": where.profile,
        "config": where.config_id,
        "compiler": where.compiler,
        "machine": str(run.cell.machine),
        "accel": run.accel,
        "seed": str(run.cell.seed),
        **_costs(report, run),
        "harness": where.harness,
        "qemu": where.qemu,
        "vng": where.vng,
    }
    for key, value in facts.items():
        suite.add_property(key, clean(str(value)))
    for case in cases:
        suite.add_testcase(_case(case))
    problems = (*run.problems, *map(str, run.differences)) if name == _BOOT else ()
    for problem in problems:
        trouble = TestCase("run", classname=name)
        trouble.result = [Error(clean(problem))]
        suite.add_testcase(trouble)
    return suite


def _costs(report: Report, run: Run) -> dict[str, str]:
    """The row of the run's machine in the table over all machines, base and tip."""
    row = next((row for row in report.machines if row.machine == run.group), None)
    if row is None:
        return {}
    found = {"group": row.machine}
    for leg, cost in ((Leg.BASE, row.base), (Leg.TIP, row.tip)):
        if cost is not None:
            found[f"{leg}.good"] = f"{cost.good}/{cost.boots}"
            found[f"{leg}.oom"] = f"{cost.kills}" + (f" in {', '.join(cost.oom_in)}" if cost.oom_in else "")
            figures = (("seconds", cost.seconds), ("swapped", cost.swapped), ("backed_up", cost.backed_up))
            found.update((f"{leg}.{name}", f"{value:g}") for name, value in figures if value is not None)
    return {**found, "changes": ", ".join(row.changes)} if row.changes else found


def _case(case: Case) -> TestCase:
    result = TestCase(clean(case.name), classname=case.suite, time=case.seconds)
    message = clean(case.message or str(case.outcome))
    excerpt = clean("\n".join([*case.diagnostics, *(line for event in case.events for line in event.lines)]))
    if case.outcome in _FAILURES:
        result.result = [Failure(message, str(case.outcome))]
    elif case.outcome in _ERRORS:
        result.result = [Error(message, str(case.outcome))]
    elif case.outcome in _SKIPPED:
        result.result = [Skipped(message, str(case.outcome))]
    if excerpt and case.outcome is not Outcome.PASS:
        result.system_out = excerpt
    return result


def clean(text: str) -> str:
    """The text without what XML cannot carry; each such character becomes a question mark."""
    return _UNPRINTABLE.sub("?", text)
