# SPDX-License-Identifier: GPL-2.0-only
"""Facts of one boot -> its verdict. Nothing passes by default: what must have been executed is counted. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from harness.judge.machine import machine_differences
from harness.judge.manifest import unkept, vanished
from harness.judge.proofs import explained, is_gap, proved
from harness.model.machine import Difference, GuestFacts, Machine
from harness.model.outcome import Ending, Outcome, Verdict
from harness.model.result import Case, Event
from harness.model.suite import ExpectedFailure, Ground, MaySkip, Requirement, Suite

BOOT_SUITE = "boot"
BOOT_CASE = "kernel"


def require(
    suite: Suite, ground: Ground, cases: Iterable[Case], announced: Sequence[str] | None = None
) -> tuple[Case, ...]:
    """The cases of a suite, and a NOT_RUN case for every one of its manifest that is not there, and for every
    requirement that was not executed often enough.

    A requirement that some cases met by skipping turns these into NOT_RUN: a skip of what was required is no skip.
    `announced` is what the guest said that it would run; what of that has no result is INCOMPLETE.
    """
    known = [one for one in suite.expected_failures if one.on_kernel(ground)]
    judged = [_expected(case, known) for case in cases if case.suite == suite.name]
    judged = [proved(explained(case, suite, ground), suite, ground) for case in judged]
    if suite.may_skip is not None:
        allowed = [one for one in suite.may_skip if one.holds_on(ground)]
        judged = [case if _may_skip(case, allowed) else _not_run(case) for case in judged]
    judged += unkept(suite, judged, announced or ())
    judged += vanished(suite, ground, judged)
    for requirement in suite.requirements:
        if requirement.on_machine(ground):
            judged = _apply(requirement, suite, judged)
    judged = [_not_run(case) if is_gap(case, suite) else case for case in judged]
    if not any(case.outcome.executed for case in judged) and not any(c.outcome is Outcome.NOT_RUN for c in judged):
        judged.append(Case(suite.name, "*", Outcome.NOT_RUN, message="no case of this suite was executed"))
    return tuple(judged)


def _expected(case: Case, known: Iterable[ExpectedFailure]) -> Case:
    """XFAIL for a failure that is a known bug of this kernel; what passes all the same stays a pass."""
    if case.outcome is not Outcome.FAIL:
        return case
    for one in known:
        if fnmatch.fnmatchcase(case.name, one.case) and re.search(one.message, case.message):
            return replace(case, outcome=Outcome.XFAIL, message=f"{one.reason} ({case.message})")
    return case


def _may_skip(case: Case, allowed: Iterable[MaySkip]) -> bool:
    return case.outcome is not Outcome.SKIP or any(
        fnmatch.fnmatchcase(case.name, one.case) and re.search(one.reason, case.message) for one in allowed
    )


def _apply(requirement: Requirement, suite: Suite, cases: list[Case]) -> list[Case]:
    globs = (requirement.case, f"{requirement.case}.*")  # a case, or one with parameters
    matching = [case for case in cases if any(fnmatch.fnmatchcase(case.name, glob) for glob in globs)]
    executed = len({case.name for case in matching if case.outcome.executed})
    if executed >= requirement.least:
        return cases
    if not any(case.outcome is Outcome.SKIP for case in matching):
        message = f"{requirement.least} of these must be executed, {executed} were"
        return [*cases, Case(suite.name, requirement.case, Outcome.NOT_RUN, message=message)]
    return [_not_run(case) if case in matching and case.outcome is Outcome.SKIP else case for case in cases]


def _not_run(case: Case) -> Case:
    reason = f"skipped: {case.message}" if case.message else "skipped without a reason"
    return replace(case, outcome=Outcome.NOT_RUN, message=f"required, but {reason}")


def differences(machine: Machine, release: str, cmdline: str, seed: int, facts: GuestFacts) -> tuple[Difference, ...]:
    """What the guest found that is not what it was asked to be."""
    found = list(machine_differences(machine, facts))
    if facts.cpus != machine.cpus:
        found.append(Difference("vCPUs", str(machine.cpus), str(facts.cpus)))
    if facts.release != release:
        found.append(Difference("kernel release", release, facts.release))
    if facts.cmdline.split() != cmdline.split():
        found.append(Difference("kernel command line", cmdline, facts.cmdline))
    if facts.seed != str(seed):
        found.append(Difference("seed", str(seed), facts.seed))
    if facts.taint:
        found.append(Difference("taint before the first suite", "0", str(facts.taint)))
    return tuple(found)


def contradictions(suite: str, console: Iterable[Case], own: Iterable[Case]) -> tuple[str, ...]:
    """A sentence where the kernel's own record of a case is worse than what the console made of it."""
    green = {case.name for case in console if case.outcome is Outcome.PASS}
    worse = sorted({case.name for case in own if case.outcome.finding and case.name in green})
    if not worse:
        return ()
    return (f"{suite}: {worse[0]} passed on the console, but not in kunit's own record ({len(worse)} such)",)


def boot_case(ending: Ending, phase: str, in_suite: bool, loud: Sequence[Event], fatal: bool, why: str = "") -> Case:
    """The boot as a case of its own: what no test owns is compared, counted and reported like everything else.

    `in_suite`: the end came after a suite had started. `loud`: the unexpected events, more than notes, that turned no
    other case red; `fatal`: one of them is of a kind after which the kernel, or a task in it, did not go on.
    `why` says why a guest was given up.
    """
    outcome, message = Outcome.PASS, ""
    if in_suite and ending is Ending.PANICKED:
        outcome, message = Outcome.CRASH, f"the kernel panicked (phase {phase})"
    elif in_suite and ending is Ending.HUNG:
        outcome, message = Outcome.CRASH, f"the guest hung (phase {phase})" + (f": {why}" if why else "")
    elif loud:
        more = f", and {len(loud) - 1} more" if loud[1:] else ""
        outcome = Outcome.CRASH if fatal else Outcome.WARN
        message = f"{loud[0].title}{more}; outside every case that could turn red"
    elif ending is not Ending.FINISHED:
        outcome, message = (
            Outcome.INCOMPLETE,
            f"the guest ended {ending} (phase {phase})" + (f": {why}" if why else ""),
        )
    return Case(BOOT_SUITE, BOOT_CASE, outcome, message=message, raw=str(ending), events=tuple(loud))


def verdict_of(problems: Iterable[str], cases: Iterable[Case]) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict on one run, its boot case among the cases, and the sentences for it.

    `problems` make the run invalid: what was found stays in the sentences, and the verdict is CANNOT_TELL.
    """
    troubles = tuple(problems)
    all_cases = tuple(cases)
    findings = _counted(all_cases, (Outcome.CRASH, Outcome.FAIL, Outcome.TIMEOUT, Outcome.WARN))
    gaps = _counted(all_cases, (Outcome.INCOMPLETE, Outcome.NOT_RUN))
    if troubles:
        return Verdict.CANNOT_TELL, (*troubles, *findings, *gaps)
    if findings:
        return Verdict.BAD, (*findings, *gaps)
    if gaps:
        return Verdict.CANNOT_TELL, gaps
    if not any(case.suite != BOOT_SUITE and case.outcome in (Outcome.PASS, Outcome.XFAIL) for case in all_cases):
        return Verdict.CANNOT_TELL, ("no case passed, and none failed",)
    return Verdict.GOOD, ()


def overall(standings: Iterable[Verdict]) -> Verdict:
    """One bad run makes the whole bad; a run that could not tell keeps it from being good; no run tells nothing."""
    all_of_them = tuple(standings)
    if Verdict.BAD in all_of_them:
        return Verdict.BAD
    if not all_of_them or Verdict.CANNOT_TELL in all_of_them:
        return Verdict.CANNOT_TELL
    return Verdict.GOOD


def _counted(cases: tuple[Case, ...], outcomes: tuple[Outcome, ...]) -> tuple[str, ...]:
    """A sentence for the boot, if it has one of the outcomes, and for each outcome the number of other cases."""
    sentences = [case.message for case in cases if case.suite == BOOT_SUITE and case.outcome in outcomes]
    for outcome in outcomes:
        count = sum(case.outcome is outcome and case.suite != BOOT_SUITE for case in cases)
        if count:
            sentences.append(f"{count} case{'s' if count > 1 else ''} {outcome}")
    return tuple(sentences)
