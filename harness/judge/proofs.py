# SPDX-License-Identifier: GPL-2.0-only
"""A pass that says what it did, and a skip that says why: what a suite knows of the words of its cases. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from dataclasses import replace

from harness.model.event import Case, Metric
from harness.model.outcome import Outcome
from harness.model.suite import Ground, Proof, Suite

_LONGEST = 400
_NUMBER = re.compile(r"-?\d{1,18}(?:\.\d{1,9})?", re.ASCII)


def proved(case: Case, suite: Suite, ground: Ground) -> Case:
    """A case that passed, with the figures that it gave and what it said; INCOMPLETE where it did too little."""
    asked = [one for one in suite.proofs if one.on_kernel(ground) and fnmatch.fnmatchcase(case.name, one.case)]
    if not asked or case.outcome not in (Outcome.PASS, Outcome.WARN):
        return case
    said: list[str] = []
    for one in asked:
        found = [match for line in case.diagnostics if (match := re.search(one.said, line)) is not None]
        said += [match[0] for match in found]
        done = sum(metric.value for match in found for metric in _metrics(match))
        if one.least and done < one.least and case.outcome is Outcome.PASS:
            words = "; ".join((*dict.fromkeys(said), one.why))
            case = replace(case, outcome=Outcome.INCOMPLETE, message=words[:_LONGEST])
    if case.outcome is Outcome.PASS and not case.message:
        case = replace(case, message="; ".join(dict.fromkeys(said))[:_LONGEST])
    proofs = _all_metrics(case, asked)
    own = (metric for metric in case.metrics if metric.name not in {one.name for one in proofs})
    return replace(case, metrics=(*own, *proofs))


def explained(case: Case, suite: Suite, ground: Ground) -> Case:
    """A skip with what it means, where the suite knows."""
    if case.outcome is not Outcome.SKIP:
        return case
    for one in suite.skip_reasons:
        fits = one.on_kernel(ground) and fnmatch.fnmatchcase(case.name, one.case)
        if fits and re.search(one.reason, case.message):
            return replace(case, message=f"{case.message.strip()}: {one.why}" if case.message.strip() else one.why)
    return case


def is_gap(case: Case, suite: Suite) -> bool:
    """A skip that was explained as one that leaves a gap."""
    return case.outcome is Outcome.SKIP and any(one.gap and one.why in case.message for one in suite.skip_reasons)


def _all_metrics(case: Case, asked: list[Proof]) -> tuple[Metric, ...]:
    """A name that comes again counts once, the last time."""
    found: dict[str, Metric] = {}
    for one in asked:
        for line in case.diagnostics:
            if (match := re.search(one.said, line)) is not None:
                found.update((metric.name, metric) for metric in _metrics(match))
    return tuple(found.values())


def _metrics(match: re.Match[str]) -> Iterator[Metric]:
    for name, text in match.groupdict().items():
        if text is not None and _NUMBER.fullmatch(text):
            yield Metric(name, float(text))
