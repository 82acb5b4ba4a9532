# SPDX-License-Identifier: GPL-2.0-only
"""Kept runs with all that a page can show: consoles with OOM reports, telemetry, a stall, a series, hostile words."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from harness.evidence.figures import figures
from harness.evidence.parse import parse_ktap_text
from harness.evidence.telemetry import metrics, parse
from harness.model.compare import Leg
from harness.model.machine import GuestFacts
from harness.model.outcome import Verdict
from harness.model.result import Case, Event, Provenance, Report, Run, Span
from harness.model.units import GIB, MIB
from harness.store.layout import Layout
from tests.unit.results_support import boot, keep, provenance, report

DATA = Path(__file__).parents[1] / "data"
CONSOLE = DATA / "ktap" / "oom-kill-while-suites-run-in-96M" / "input.log"
TELEMETRY = DATA / "telemetry" / "hog-and-oom.tsv"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}</pre></table>&amp;\x1b[31m\u202e"
_SHRINKER = ", with patches 1 to 3 of 3 of {label} (series " + "{digit}" * 64 + ")"


def made_kernel(version: str, label: str = "", digit: str = "a") -> Provenance:
    return provenance(version, _SHRINKER.replace("{label}", label).replace("{digit}", digit) if label else "")


def rich_boot(
    kernel: Provenance, number: int, leg: Leg = Leg.TIP, ram: int = 96
) -> tuple[Run, list[Case], list[Event]]:
    """A boot with the cases and events of a real console, and what a real sampler recorded."""
    found = parse_ktap_text(CONSOLE.read_bytes(), "ttm-kunit")
    run = boot(kernel, number, ram=ram, leg=leg, suites=("ttm-kunit", "pressure"))
    facts = GuestFacts("7.3.4", "console=ttyS0", 2, ram * MIB, 90 * MIB, 60 * MIB, GIB, str(number), 0)
    run = replace(run, facts=facts, metrics=metrics(parse(TELEMETRY.read_text())), notes=("a note",))
    cases = [replace(one, suite="ttm-kunit", run=run.id, metrics=figures(one.diagnostics)) for one in found.cases]
    cases.append(Case("boot", "kernel", cases[0].outcome, run=run.id))
    return run, cases, [replace(event, run=run.id) for event in found.events]


def hostile(report_: Report) -> Report:
    """The same with words in it that no page may obey."""
    event = Event("oops", HOSTILE, "f" * 12, Span(3, 4), lines=(HOSTILE,), run=report_.runs[0].id, task=HOSTILE)
    cases = [replace(one, name=f"{HOSTILE}{one.name}", message=HOSTILE) for one in report_.cases[:2]]
    cases[0] = replace(cases[0], diagnostics=(HOSTILE,), events=(event,))
    runs = (replace(report_.runs[0], phase=HOSTILE, notes=(HOSTILE,)), *report_.runs[1:])
    where = replace(report_.provenance, tree_version=f"7.3{HOSTILE}", compiler=HOSTILE, qemu=HOSTILE, host=HOSTILE)
    return replace(
        report_,
        plan=HOSTILE,
        reasons=(HOSTILE,),
        provenance=where,
        runs=runs,
        cases=(*cases, *report_.cases[2:]),
        events=(*report_.events, event),
    )


def keep_rich(layout: Layout, days_ago: float, what: Report, number: int = 0, console: bytes = b"") -> Path:
    """The run directory, with what its boots left."""
    path = keep(layout, days_ago, what, number)
    for run in what.runs:
        place = path / run.directory
        (place / "results").mkdir(parents=True)
        (place / "console.log").write_bytes(console or CONSOLE.read_bytes())
        shutil.copy(TELEMETRY, place / "results" / "telemetry.tsv")
        (place / "stall.txt").write_text(f"query-status {HOSTILE}\n")
    return path


def some_runs(layout: Layout) -> list[Path]:
    """Nights with two revisions of a series, base beside tip, several machines, and one run that is hostile."""
    found = []
    for number, (days, label, digit) in enumerate(
        ((3, "ttm-shrinker v8", "8"), (2, "ttm-shrinker v9", "9"), (1, "", ""))
    ):
        base, tip = made_kernel("6.12.117"), made_kernel("7.3.4", label, digit)
        boots = [
            rich_boot(base if leg is Leg.BASE else tip, 2 * place + (leg is Leg.TIP) + 1, leg, ram)
            for place, ram in enumerate((96, 128))
            for leg in Leg
        ]
        what = report(
            [one for one, _, _ in boots], [case for _, cases, _ in boots for case in cases], tip, Verdict.BAD, base
        )
        what = replace(what, events=tuple(event for _, _, events in boots for event in events))
        found.append(keep_rich(layout, days, what, number))
    kernel = made_kernel("7.3.4")
    run, cases, events = rich_boot(kernel, 1)
    what = hostile(replace(report([run], cases, kernel, Verdict.BAD), events=tuple(events)))
    console = f"[    1.000000] {HOSTILE}\n".encode("utf-8", "surrogateescape") * 6
    found.append(keep_rich(layout, 0, what, 9, console))
    return found
