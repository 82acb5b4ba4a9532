# SPDX-License-Identifier: GPL-2.0-only
"""Report -> a mail to the list, as a draft, in the form that the CI of Intel's graphics drivers and the kernel test
robot have taught people to read. Nothing is sent here.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import default

from harness.model.compare import Change, Comparison, EventChange, Leg
from harness.model.errors import UserError
from harness.model.gate import Mark, PatchGate
from harness.model.nightly import Against, Beside
from harness.model.outcome import Outcome, Verdict
from harness.model.result import Case, Provenance, Report, Run
from harness.model.visible import visible, visible_field
from harness.reports.changes import outcome_words
from harness.reports.nightly import changes_words
from harness.reports.text import left_out_words, origin_words, reached_words

_WIDTH = 76
_PATCHED = ", with patches "  # in the origin of a tree
_MOST = 20  # of a list
_LINES = 15  # of an excerpt
GATE = "gate"  # in the place of a boot
_OF_THE_GATE = "the gate: "  # a reason, in a report
_CHECKS = {
    "applies": "does not apply",
    "objects": "does not compile",
    "warnings": "new warnings",
    "kernel-doc": "new complaints of kernel-doc",
    "configs": "does not compile in a config that it asks for",
    "build": "the kernel does not build",
}
_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9-]")
_BESIDE = {Beside.PREVIOUS: "the previous revision", Beside.BEFORE: "the kernel before"}
_SUBJECT = {Verdict.GOOD: "success", Verdict.BAD: "failure", Verdict.CANNOT_TELL: "cannot tell"}


@dataclass(frozen=True, slots=True)
class SentSeries:
    """The series as it was sent: what the answer refers to. Empty where it is not known. `patch_ids` are the
    Message-IDs of its patches, in their order.
    """

    label: str = ""
    subject: str = ""
    message_id: str = ""
    author: str = ""
    patches: int = 0
    references: tuple[str, ...] = ()
    patch_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who writes to whom; `url` is where the whole report is."""

    sender: str = ""
    to: tuple[str, ...] = ()
    url: str = ""


def draft(
    report: Report,
    posting: SentSeries,
    envelope: Envelope,
    again: Sequence[tuple[str, str]],
    earlier: Sequence[Against] = (),
) -> EmailMessage:
    """The mail. `again` are (boot, command), `earlier` comparisons with what was run before. UserError for an address
    that is none.
    """
    mail = EmailMessage(policy=default.clone(max_line_length=998))
    mail["Subject"] = _subject(report, posting)
    if envelope.sender:
        mail["From"] = addresses("--from", (envelope.sender,))
    to = envelope.to or ((posting.author,) if posting.author else ())
    if to:
        mail["To"] = addresses("--to", to)
    if posting.message_id:
        mail["In-Reply-To"] = f"<{posting.message_id}>"
        mail["References"] = " ".join(f"<{one}>" for one in (*posting.references, posting.message_id))
    if envelope.sender:  # the same for the same run: who gets it twice can tell
        domain = mail["From"].addresses[0].domain
        mail["Message-ID"] = f"<ttm-harness.{_NOT_IN_AN_ID.sub('-', report.id)}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-ttm-harness-run"] = visible_field(report.id)
    mail.set_content("\n".join(_body(report, posting, envelope, again, earlier)) + "\n", cte="8bit")
    return mail


def addresses(what: str, texts: Iterable[str]) -> list[Address]:
    """Those of mails; UserError names `what` a text is, where it is none."""
    found: list[Address] = []
    for text in texts:
        probe = EmailMessage(policy=default)
        try:
            probe["To"] = text
            found += probe["To"].addresses
        except (ValueError, IndexError) as error:
            raise UserError(f"{what} {text!r} is no address: {error}", hint="write NAME <USER@HOST>") from error
        if not found or not all(one.username and one.domain for one in found):
            raise UserError(f"{what} {text!r} is no address", hint="write NAME <USER@HOST>")
    return found


def _subject(report: Report, posting: SentSeries) -> str:
    name = posting.subject or posting.label or report.provenance.tree_version
    return visible_field(f"{_SUBJECT[report.verdict]}: ttm-harness: {name}")


def _body(
    report: Report,
    posting: SentSeries,
    envelope: Envelope,
    again: Sequence[tuple[str, str]],
    earlier: Sequence[Against],
) -> Iterator[str]:
    yield from _details(report, posting, envelope)
    yield from _summary(report)
    yield from _gate(report)
    if report.base is not None:
        yield from _changes("Possible regressions", report, (Change.REGRESSED,))
        yield from _changes("Flaky on one side or both", report, (Change.FLAKY,))
        yield from _changes("Possible fixes", report, (Change.FIXED,))
        yield from _changes("New, without a base to compare with", report, (Change.NEW,), bad_only=True)
    else:
        yield from _findings(report)
    yield from _earlier(earlier)
    yield from _known(report)
    yield from _not_run(report)
    yield from _reproduce(report, again)
    yield from _where(report)


def _head(title: str) -> Iterator[str]:
    yield ""
    yield f"== {title} =="
    yield ""


def _item(text: str, indent: str = "  ") -> list[str]:
    """A point of a list, wrapped."""
    lines = textwrap.wrap(
        visible_field(text), _WIDTH - len(indent) - 2, break_long_words=False, break_on_hyphens=False
    ) or [""]
    return [f"{indent}* {lines[0]}", *(f"{indent}  {line}" for line in lines[1:])]


def _rest(count: int) -> Iterator[str]:
    if count > _MOST:
        yield f"  and {count - _MOST} more"


def _details(report: Report, posting: SentSeries, envelope: Envelope) -> Iterator[str]:
    yield "== Series details =="
    yield ""
    rows = [
        ("Series", posting.subject or posting.label or "none: a kernel as it is"),
        ("Revision", "" if _is_alike(posting) else posting.label),
        ("Message-ID", f"<{posting.message_id}>" if posting.message_id else ""),
        ("Patches", str(posting.patches) if posting.patches else ""),
        ("Kernel", _kernel_words(report.provenance)),
        ("Base", _kernel_words(report.base) if report.base is not None else ""),
        ("Report", envelope.url),
    ]
    for word, text in rows:
        if text:
            yield f"{word + ':':<12}{visible_field(text)}"


def _is_alike(posting: SentSeries) -> bool:
    """Whether the name of the series says nothing that its subject does not: it mostly is the subject."""
    return not posting.subject or posting.label.split() == posting.subject.translate({40: None, 41: None}).split()


def _kernel_words(where: Provenance) -> str:
    """The source alone: which patches are on it, the series says."""
    return f"{where.tree_version}  ({origin_words(where).partition(_PATCHED)[0]})"


def _summary(report: Report) -> Iterator[str]:
    yield from _head("Summary")
    words = {Verdict.GOOD: "SUCCESS", Verdict.BAD: "FAILURE", Verdict.CANNOT_TELL: "CANNOT TELL"}
    yield f"**{words[report.verdict]}**"
    yield ""
    executed = sum(case.outcome.executed for case in report.cases)
    boots = f"{len(report.runs)} boot{'' if len(report.runs) == 1 else 's'}"
    yield f"{boots}, {executed} cases executed." + ("" if report.base else " There was no base to compare with.")
    if suites := _suites(report):
        yield from textwrap.wrap(f"With the series: {suites}." if report.base else f"{suites}.", _WIDTH)
    bad = [patch for gate in report.gates for patch in gate.patches if patch.bad]
    below = tuple(f"{_OF_THE_GATE}patch {patch.position}/{patch.total}: " for patch in bad)
    reasons = [*map(_bad_words, bad)]
    reasons += [one for one in report.reasons if not below or not one.startswith(below)]
    for reason in reasons[:_MOST]:
        yield from _item(reason)
    yield from _rest(len(reasons))


def _suites(report: Report) -> str:
    """`ttm-kunit 121 cases, pressure 2`: what each suite executed on the kernel under test."""
    tips = {run.id for run in report.runs if run.leg is Leg.TIP}
    counts = Counter(case.suite for case in report.cases if case.run in tips and case.outcome.executed)
    words = [f"{name} {times}" for name, times in counts.items() if name != "boot"]
    return ", ".join([f"{words[0]} cases", *words[1:]]) if words else ""


def _bad_words(patch: PatchGate) -> str:
    """What the next chapter says in full."""
    words = [_CHECKS.get(check.name, check.name) for check in patch.checks if check.mark is Mark.BAD]
    return f'patch {patch.position}/{patch.total} "{patch.subject}": {", ".join(words)}'


def _gate(report: Report) -> Iterator[str]:
    for gate in report.gates:
        yield from _head(f"Patch by patch: {visible_field(gate.series)}")
        marks = [(patch, check) for patch in gate.patches for check in patch.checks if check.mark is not Mark.OK]
        if not marks:
            yield f"  All {len(gate.patches)} patches are ok, each built by itself."
        for patch, check in marks[:_MOST]:
            word = _CHECKS.get(check.name, check.name) if check.mark is Mark.BAD else f"{check.name} {check.mark}"
            yield from _item(f"{patch.position}/{patch.total} {word}: {check.message}")
            if check.mark is Mark.BAD:
                yield from _excerpt([line for line in check.details if not _is_said(line, check.message)])
        yield from _rest(len(marks))


def _is_said(line: str, message: str) -> bool:
    """Whether the line is in the message, which may go on where it ends, with the file before it or without."""
    return message in line or line in message or line.partition(": ")[2] in message


def _excerpt(lines: Sequence[str]) -> Iterator[str]:
    for line in lines[:_LINES]:
        yield f"      {visible_field(line)}"
    if len(lines) > _LINES:
        yield f"      … and {len(lines) - _LINES} more lines"


def _changes(title: str, report: Report, wanted: tuple[Change, ...], *, bad_only: bool = False) -> Iterator[str]:
    cases = [one for one in report.comparisons if one.change in wanted and (not bad_only or _is_bad(one))]
    events = [one for one in report.event_changes if one.change in wanted and not one.note]
    if not cases and not events:
        return
    yield from _head(title)
    for case in cases[:_MOST]:
        yield from _item(_case_words(case))
        told = _told(report, case)
        if told is not None and case.change is not Change.FIXED:
            yield f"      {visible_field(told.message)}"
            yield from _excerpt([line for event in told.events for line in event.lines])
    yield from _rest(len(cases))
    for event in events[:_MOST]:
        yield from _item(_event_words(event))
    yield from _rest(len(events))


def _is_bad(one: Comparison) -> bool:
    return any(outcome.finding for outcome in one.tip)


def _case_words(one: Comparison) -> str:
    where = f", on {one.machine}" if one.machine else ""
    return f"{one.suite} {one.name}: {outcome_words(one.base)} -> {outcome_words(one.tip)} ({one.counts}){where}"


def _event_words(one: EventChange) -> str:
    where = f", on {one.machine}" if one.machine else ""
    return f"{one.kind}: {one.title} (seen {one.counts}, fingerprint {one.fingerprint}){where}"


def _told(report: Report, one: Comparison) -> Case | None:
    """What the tip said of a case, where it was bad."""
    mine = (case for case in report.cases if (case.suite, case.name) == (one.suite, one.name))
    tips = {run.id for run in report.runs if run.leg == "tip"}
    return next((case for case in mine if case.outcome.finding and case.run in tips), None)


def _findings(report: Report) -> Iterator[str]:
    bad = [case for case in report.cases if case.outcome.finding or case.outcome is Outcome.INCOMPLETE]
    if not bad:
        return
    yield from _head("Findings")
    if _PATCHED in report.provenance.tree_origin:
        yield "Whether the series is to blame cannot be told without its base."
    for case in bad[:_MOST]:
        yield from _item(f"{case.suite} {case.name}: {case.outcome}: {case.message}")
        yield from _excerpt([line for event in case.events for line in event.lines])
    yield from _rest(len(bad))


def _earlier(earlier: Sequence[Against]) -> Iterator[str]:
    """What is not the same as in an earlier run, counted; and what of that is bad."""
    for one in earlier:
        yield from _head(f"Against {_BESIDE[one.beside]}")
        yield from textwrap.wrap(f"{visible_field(one.label)}, run {one.run}: {changes_words(one)}.", _WIDTH)
        for reason in one.reasons[:_MOST]:
            yield from _item(reason)


def _known(report: Report) -> Iterator[str]:
    seen = [one for one in report.known if one.cases or one.events]
    if not seen:
        return
    yield from _head("Known issues")
    for one in seen[:_MOST]:
        yield from _item(f"{one.name}: {one.matched}; {one.reason} (until {one.expires}, {one.state})")
    yield from _rest(len(seen))


def _not_run(report: Report) -> Iterator[str]:
    gaps: dict[tuple[str, str, str], int] = {}
    for case in report.cases:
        if case.outcome is Outcome.NOT_RUN:
            key = (case.suite, case.name, case.message)
            gaps[key] = gaps.get(key, 0) + 1
    lines = left_out_words(report.left_out)
    if not gaps and not lines:
        return
    yield from _head("Not run")
    for (suite, name, message), times in list(gaps.items())[:_MOST]:
        yield from _item(f"{suite} {name} ({times} boot{'' if times == 1 else 's'}): {message}")
    yield from _rest(len(gaps))
    for line in lines:
        yield from _item(line)


def _reproduce(report: Report, again: Sequence[tuple[str, str]]) -> Iterator[str]:
    bad = {GATE, *(run.id for run in report.runs if run.verdict is not Verdict.GOOD)}
    lines = dict.fromkeys(command for boot, command in again if boot in bad) or dict.fromkeys(
        dict(again[:1]).values()
    )
    if not lines:
        return
    yield from _head("Reproduce")
    for command in list(lines)[:5]:
        yield f"  {visible_field(command)}"


def _where(report: Report) -> Iterator[str]:
    yield from _head("Built and booted")
    where = report.provenance
    yield f"  {visible_field(f'{where.profile}, {where.compiler}')}"
    yield f"  {visible_field(f'{where.qemu}, {where.host}')}"
    for words in dict.fromkeys(map(_machine, report.runs)):
        yield f"  {visible(words)}"
    yield ""
    yield f"-- \nttm-harness {visible_field(where.harness)}, run {visible_field(report.id)}"


def _machine(run: Run) -> str:
    return f"{reached_words(run)}: {', '.join(run.cell.suites)}"
