# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness parse ktap|igt|kmsg FILE [--json]`: the parsers alone, on a saved log."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.logfile import LogFile, LogFiles
from harness.cli.plainly import speaks_plainly
from harness.evidence.oom_class import HOGS, judge_oom
from harness.evidence.parse import ParseResult, parse_ktap_stream
from harness.evidence.splats import Severity, severity
from harness.evidence.stream import stream_kmsg
from harness.model.codec import to_json
from harness.model.errors import UserError
from harness.model.event import PARSE_SCHEMA, Event, ParseOutput
from harness.model.oom import Oom, OomClass
from harness.model.outcome import Outcome, Verdict
from harness.model.units import parse_size
from harness.store.layout import Layout

if TYPE_CHECKING:
    from harness.evidence.igt import IgtLog
    from harness.flow.sources import Objects

_PARTS = "the parts of a pstore dump were put in the order of time: lines are counted from the oldest one"
# What is kept of a log that says the same for hours; the rest is counted.
_MOST = {"events": 10_000, "OOM reports": 2_000}


@click.group()
def parse() -> None:
    """The parsers alone, on a saved log."""


@parse.command()
@click.argument("files", metavar="FILE…", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@speaks_plainly
def ktap(files: tuple[str, ...], as_json: bool) -> None:
    """KTAP (kunit's, and the older TAP 14 forms) in a kernel log; `-` is standard input.

    \b
    Exit status: 0 all cases passed or skipped; 1 one did not, or the kernel complained outside of them;
    3 no case passed, or the log is cut.
    """
    log = LogFiles(files)
    result = parse_ktap_stream(log.chunks())
    if log.trouble:
        result = replace(result, problems=(*result.problems, log.trouble))
    if log.parts:
        click.echo(_PARTS, err=True)
    if as_json:
        click.echo(to_json(ParseOutput(PARSE_SCHEMA, result.cases, result.events, result.problems)), nl=False)
    else:
        _print(result)
    sys.exit(_standing(result).exit_status)


@parse.command()
@click.argument("place", metavar="FILE|DIRECTORY")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@speaks_plainly
def igt(place: str, as_json: bool) -> None:
    """What igt_runner left: its results.json, packed or not, or the directory; `-` is standard input.

    A directory without results.json is one of a run that was killed: what it came to is put together
    from what is there, and what did not run is listed.

    \b
    Exit status: 0 all cases passed or skipped; 1 one did not;
    3 no case passed, one did not end or did not run, or the results are cut.
    """
    log, trouble = _igt_log(place)
    problems = (*log.problems, trouble) if trouble else log.problems
    result = ParseResult(log.cases, (), problems)
    if as_json:
        click.echo(to_json(ParseOutput(PARSE_SCHEMA, result.cases, (), problems)), nl=False)
    else:
        _print(result, "are these the results of igt_runner?")
    sys.exit(_standing(result).exit_status)


def _igt_log(place: str) -> tuple[IgtLog, str]:
    """The results, and what kept a file from being read to its end."""
    from harness.evidence.igt import LARGEST_RESULTS, parse_igt_results
    from harness.flow.igt_results import read_igt

    if place != "-" and Path(place).is_dir():
        return read_igt(Path(place)), ""
    file = LogFile(place)
    data = bytearray()
    for chunk in file.chunks():
        data += chunk
        if len(data) > LARGEST_RESULTS:  # said by who reads it
            break
    return parse_igt_results(bytes(data)), file.trouble


@parse.command()
@click.argument("files", metavar="FILE…", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--victim", "victims", metavar="NAME", multiple=True, default=HOGS, show_default=True,
              help="Who is meant to be killed when memory runs out; a glob; may be given again.")  # fmt: skip
@click.option(
    "--vmlinux",
    metavar="PATH",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Decode backtraces with this vmlinux and the modules below its directory.",
)
@click.option("--build", metavar="ID", help="Decode backtraces with that build of the store, as a report names it.")
@click.option("--shrinkable", metavar="SIZE", help="What shrinkers held (64M), where the kernel does not print it.")
@speaks_plainly
def kmsg(
    files: tuple[str, ...],
    as_json: bool,
    victims: tuple[str, ...],
    shrinkable: str | None,
    vmlinux: Path | None,
    build: str | None,
) -> None:
    """What a kernel log (console, dmesg, journalctl -k) says: splats, panics, OOM kills; `-` is standard input.

    Several files are the parts of one pstore dump, in any order.

    \b
    Exit status: 0 a kernel log with notes at most; 1 a splat, a panic or an OOM;
    3 it is no kernel log, is empty, or could not be read to its end. gzip, bzip2, xz
    and zstd are unpacked.
    """
    held = None if shrinkable is None else parse_size(shrinkable, "--shrinkable")
    objects = _objects(vmlinux, build)
    found, log = _Found(), LogFiles(files)
    for piece in stream_kmsg(log.chunks()):
        found.kernel, found.backwards = found.kernel or piece.kernel, piece.backwards
        found.add(piece.events, tuple(judge_oom(report, victims, held) for report in piece.ooms), piece.lines)
    events = tuple(sorted(found.events, key=lambda event: event.span.first))
    found.trouble = (log.trouble,) if log.trouble else ()
    found.parts = log.parts
    if objects is not None:
        from harness.flow.sources import with_sources

        events, problem = with_sources(events, objects)
        found.notes = (problem,) if problem else ()
    if as_json:
        output = ParseOutput(PARSE_SCHEMA, (), events, found.problems(), tuple(found.ooms))
        click.echo(to_json(output), nl=False)
    else:
        _print_kmsg(events, found)
    sys.exit(found.verdict().exit_status)


@dataclass
class _Found:
    """What a stream gave, up to a bound."""

    events: list[Event] = field(default_factory=list)
    ooms: list[Oom] = field(default_factory=list)
    more: dict[str, int] = field(default_factory=dict)
    lines: int = 0
    bad: bool = False
    kernel: bool = False  # some line is a kernel's
    backwards: bool = False
    parts: bool = False  # of a pstore dump
    trouble: tuple[str, ...] = ()  # what kept the log from being read
    notes: tuple[str, ...] = ()

    def add(self, events: tuple[Event, ...], ooms: tuple[Oom, ...], lines: int) -> None:
        self.lines = lines
        # An OOM that somebody asked for by sysrq is no finding.
        self.bad = self.bad or any(severity(event.kind) is not Severity.NOTE for event in events)
        self.bad = self.bad or any(OomClass.MANUAL not in oom.classes for oom in ooms)
        self.events += events[: self._room("events", len(self.events), len(events))]
        self.ooms += ooms[: self._room("OOM reports", len(self.ooms), len(ooms))]

    def _room(self, what: str, have: int, come: int) -> int:
        room = max(0, _MOST[what] - have)
        if come > room:
            self.more[what] = self.more.get(what, 0) + come - room
        return room

    def problems(self) -> tuple[str, ...]:
        said = [f"{count} more {what} than the {_MOST[what]} shown" for what, count in self.more.items()]
        said += [*self.notes, *self.trouble]
        if self.parts:
            said.append(_PARTS)
        if self.backwards:
            said.append("the newest line comes first: lines are counted from the oldest one")
        if not self.lines:
            said.append("the log is empty")
        elif not self.told:
            said.append("no line of it looks like a kernel's: is it a kernel log?")
        return tuple(said)

    @property
    def told(self) -> bool:
        """A kernel spoke."""
        return self.kernel or bool(self.events) or bool(self.ooms)

    def verdict(self) -> Verdict:
        if self.bad:
            return Verdict.BAD
        return Verdict.GOOD if self.told and not self.trouble else Verdict.CANNOT_TELL


def _objects(vmlinux: Path | None, build: str | None) -> Objects | None:
    """What to decode backtraces with; None when nothing was named."""
    if vmlinux is not None and build is not None:
        raise UserError("--vmlinux and --build name the same thing", hint="give one of them")
    if vmlinux is None and build is None:
        return None
    from harness.flow.sources import objects_beside, objects_of_build

    if build is not None:
        return objects_of_build(build, Layout.from_environment())
    return None if vmlinux is None else objects_beside(vmlinux)


def _print_kmsg(events: tuple[Event, ...], found: _Found) -> None:
    """In the order of the log; an OOM event that has its report is told by the report's sentence."""
    spans = [oom.report.span for oom in found.ooms]
    told: list[tuple[int, str]] = []
    for event in events:
        first = event.span.first
        if event.kind != "oom" or not any(span.first <= first <= span.last for span in spans):
            task = f"  [{event.task}]" if event.task else ""
            told.append((first, f"{event.kind:<18} line {first}: {event.title}{task}"))
    for oom in found.ooms:
        first = oom.report.span.first
        cut = "" if oom.report.complete else ", cut"
        told.append(
            (first, f"{'oom':<18} line {first}: {oom.sentence} ({', '.join(oom.classes) or 'no class'}{cut})")
        )
    for _, text in sorted(told):
        click.echo(text)
    for problem in found.problems():
        click.echo(f"problem            {problem}")
    click.echo(f"{found.lines} lines, {len(events)} events, {len(found.ooms)} OOM reports")


def _standing(result: ParseResult) -> Verdict:
    outcomes = [case.outcome for case in result.cases]
    loose = any(severity(event.kind) is not Severity.NOTE and not event.expected for event in result.loose)
    if loose or any(outcome.finding for outcome in outcomes):
        return Verdict.BAD
    untold = (Outcome.INCOMPLETE, Outcome.NOT_RUN)
    if result.problems or Outcome.PASS not in outcomes or any(outcome in untold for outcome in outcomes):
        return Verdict.CANNOT_TELL
    return Verdict.GOOD


def _print(result: ParseResult, asked: str = "is this a kernel log with KTAP in it?") -> None:
    counts = dict.fromkeys(Outcome, 0)
    for case in result.cases:
        counts[case.outcome] += 1
        if case.outcome is not Outcome.PASS:
            click.echo(f"{case.outcome:<10} {case.name}  {case.message}".rstrip())
    for event in result.events:
        click.echo(f"{event.kind:<10} line {event.span.first}: {event.title}")
    for problem in result.problems:
        click.echo(f"problem    {problem}")
    click.echo(", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count) or "no case found")
    if sum(counts.values()) == 0:
        click.echo(asked, err=True)
