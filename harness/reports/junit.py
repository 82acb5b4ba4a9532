# SPDX-License-Identifier: GPL-2.0-only
"""Report -> JUnit XML. The only module that imports junitparser.

FAIL and WARN are failures; CRASH, TIMEOUT, INCOMPLETE and NOT_RUN are errors; SKIP and XFAIL are skipped.
Provenance stands in the properties of every test suite. The suite `boot` has the boot itself and what makes it no
evidence. A base that was compared with is left out.

The form is what the readers of Jenkins (no `skipped` on the root, a name and a class for each case) and of Maven's
Surefire (times with three digits, no `type` on what was skipped) have in common; tests/junit_rules.py has the rules.
A case is found again by class and name, so both together stand once in the file.
"""

from __future__ import annotations

from collections import Counter
from xml.etree import ElementTree

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from harness.model.compare import Leg
from harness.model.outcome import Outcome
from harness.model.result import Case, Report, Run
from harness.model.visible import visible, visible_field

_FAILURES = frozenset({Outcome.FAIL, Outcome.WARN})
_ERRORS = frozenset({Outcome.CRASH, Outcome.TIMEOUT, Outcome.INCOMPLETE, Outcome.NOT_RUN})
_SKIPPED = frozenset({Outcome.SKIP, Outcome.XFAIL})
_BOOT = "boot"


def to_junit(report: Report) -> str:
    """The XML text: one test suite per run and suite, one test case per case."""
    xml = JUnitXml("ttm-harness")
    names = _Names()
    for run in report.runs:
        if run.leg is Leg.BASE:
            continue  # the base is not on trial, and a reader of JUnit cannot know
        for name in (*run.cell.suites, _BOOT):
            cases = [case for case in report.cases if case.run == run.id and case.suite == name]
            xml.append(_suite(report, run, name, cases, names))
    xml.update_statistics()
    return _in_common_form(xml.tostring())


def _in_common_form(text: bytes | str) -> str:
    root = ElementTree.fromstring(text)
    root.attrib.pop("skipped", None)
    for element in root.iter():
        if "time" in element.attrib:
            element.set("time", f"{float(element.attrib['time']):.3f}")
    return "<?xml version='1.0' encoding='utf-8'?>\n" + ElementTree.tostring(root, encoding="unicode")


class _Names:
    """Names of cases, each once a class: parameters of kunit may say the same of themselves."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[str, str]] = Counter()

    def once(self, classname: str, name: str) -> str:
        self._seen[classname, name] += 1
        times = self._seen[classname, name]
        return name if times == 1 else self.once(classname, f"{name} ({times})")


def _suite(report: Report, run: Run, name: str, cases: list[Case], names: _Names) -> TestSuite:
    # What is to be told apart has words; a run alone keeps the names that it had yesterday.
    classname = _name(f"{name} [{run.group}]" if run.group else name)
    suite = TestSuite(classname)
    where = next((one for one in report.kernels if one.build_id == run.cell.build_id), report.provenance)
    facts = {
        "verdict": report.verdict,
        **({"presubmit": report.presubmit.sentence} if report.presubmit is not None else {}),
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
        suite.add_property(key, visible(str(value)))
    for case in cases:
        suite.add_testcase(_case(case, classname, names))
    problems = (*run.problems, *map(str, run.differences)) if name == _BOOT else ()
    for problem in problems:
        trouble = TestCase(names.once(classname, "run"), classname=classname)
        trouble.result = [Error(visible(problem), "problem")]
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
            figures = (("seconds", cost.seconds), ("swapped", cost.swapped), *cost.figures.items())
            found.update((f"{leg}.{name}", f"{value:g}") for name, value in figures if value is not None)
    return {**found, "changes": ", ".join(row.changes)} if row.changes else found


def _name(text: str) -> str:
    """A name on one line; readers show tabs as blanks and find nothing without a name."""
    return visible_field(text).replace("\t", " ") or "unnamed"


def _case(case: Case, classname: str, names: _Names) -> TestCase:
    result = TestCase(names.once(classname, _name(case.name)), classname=classname, time=case.seconds)
    message = visible(case.message or str(case.outcome))
    excerpt = visible("\n".join([*case.diagnostics, *(line for event in case.events for line in event.lines)]))
    if case.outcome in _FAILURES:
        result.result = [Failure(message, str(case.outcome))]
    elif case.outcome in _ERRORS:
        result.result = [Error(message, str(case.outcome))]
    elif case.outcome in _SKIPPED:
        result.result = [Skipped(f"{case.outcome}: {message}" if case.message else message)]
    if excerpt and case.outcome is not Outcome.PASS:
        result.system_out = excerpt
    return result
