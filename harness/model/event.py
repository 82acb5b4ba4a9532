# SPDX-License-Identifier: GPL-2.0-only
"""What a log says: events, cases, figures. Apart from result.py, as who only parses needs nothing of runs."""

from __future__ import annotations

from dataclasses import dataclass

from harness.model.oom import Oom
from harness.model.outcome import Outcome
from harness.model.span import Span as Span

PARSE_SCHEMA = "ttm-harness/parse/1"


@dataclass(frozen=True, slots=True)
class Event:
    """Something the kernel said of its own accord: a splat, a panic, an OOM kill.

    `fingerprint` survives another address, CPU or line number. `expected` carries the reason when a suite
    declared the event, `known` the name of the known issue that it is; else they are empty. `lines` is the excerpt
    (at most 60 lines). `task` is the name of who ran into it, `modules` are those that its trace goes through,
    `frames` is the trace itself, innermost first, as the kernel prints it (`foo+0x1/0x22 [ttm]`), without guesses.
    `boot` is the folder, below the run's own, of the boot whose console `span` is of; empty for the first.
    """

    kind: str
    title: str
    fingerprint: str
    span: Span
    expected: str = ""
    lines: tuple[str, ...] = ()
    run: str = ""
    task: str = ""
    modules: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    known: str = ""
    boot: str = ""


@dataclass(frozen=True, slots=True)
class Metric:
    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Case:
    """One test case. `suite` is the harness's suite, `name` the path as KTAP nests it (`ttm_pool.alloc.case`).

    `raw` is the word that the log used (`ok`, `not ok # SKIP`, ...); `seconds` is None where nobody measured. `known`
    names the known issue for which its outcome was made XFAIL. `boot` is the folder, below the run's own, of the boot
    in which it ran; empty for the first.
    """

    suite: str
    name: str
    outcome: Outcome = Outcome.INCOMPLETE
    seconds: float | None = None
    message: str = ""
    raw: str = ""
    span: Span | None = None
    diagnostics: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()
    metrics: tuple[Metric, ...] = ()
    run: str = ""
    known: str = ""
    boot: str = ""


@dataclass(frozen=True, slots=True)
class ParseOutput:
    """What `ttm-harness parse` prints with --json."""

    schema: str
    cases: tuple[Case, ...]
    events: tuple[Event, ...]
    problems: tuple[str, ...]
    ooms: tuple[Oom, ...] = ()
