# SPDX-License-Identifier: GPL-2.0-only
"""The site of 10,000 boots (BENCH_BOOTS): how long it takes at first, again, with one run more; how fast it opens.

The runs are made up: five boots of 100 cases each, two kernels and a series in turn, four machines, a console and a
recording of the sampler of real guests in each boot. Where there is no Chromium, nothing is opened. With BENCH_KEEP,
a directory, runs and site are kept there, and opened again without being made again.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from harness.evidence.telemetry import metrics, parse
from harness.flow.site import write_site
from harness.model.outcome import Outcome, Verdict
from harness.model.result import Report, Span
from harness.proc import find_tool
from harness.store.layout import Layout
from tests.browser import browser
from tests.unit.results_support import Quiet, boot, cases, keep, report
from tests.unit.site_support import CONSOLE, TELEMETRY, made_kernel

_BOOTS = 5  # of a run
_CASES = 100
_NIGHTLY = 20  # runs of a day
_SECOND = 1.0


def one_report(number: int) -> Report:
    """One case in a thousand is bad; each has a place on the console."""
    kernel = made_kernel(("7.3.4", "7.4-rc2")[number % 2], f"ttm-shrinker v{number % 9 + 1}" if number % 3 else "")
    figures = metrics(parse(TELEMETRY.read_text()))
    runs, found = [], []
    for place in range(_BOOTS):
        run = boot(kernel, place + 1, ram=(128, 192, 256, 512)[place % 4], swap=("none", "disk:1G")[place % 2])
        runs.append(replace(run, metrics=figures))
        outcomes = {
            f"case{case}": Outcome.FAIL if (number * 31 + place * 7 + case) % 1000 == 0 else Outcome.PASS
            for case in range(_CASES)
        }
        found += [
            replace(case, span=Span(10 + 3 * n, 12 + 3 * n), seconds=0.1)
            for n, case in enumerate(cases(run, outcomes))
        ]
    return report(runs, found, kernel, Verdict.GOOD)


def fill(layout: Layout, runs: int, first: int = 0) -> None:
    console, recording = layout.root / "console", layout.root / "recording"
    console.write_bytes(CONSOLE.read_bytes())
    recording.write_bytes(TELEMETRY.read_bytes())
    for number in range(first, first + runs):
        path = keep(layout, 300 - number / _NIGHTLY, one_report(number), number)
        for place in range(_BOOTS):
            results = path / f"{place + 1:03d}-boot" / "results"
            results.mkdir(parents=True)
            os.link(console, results.parent / "console.log")
            os.link(recording, results / "telemetry.tsv")


def timed(layout: Layout, target: Path) -> str:
    began, worked = time.monotonic(), time.process_time()
    made = write_site(layout, target, Quiet())
    took, cpu = time.monotonic() - began, time.process_time() - worked
    return (
        f"{took:7.1f} s, {cpu:7.1f} s of one CPU: {made.made} of {made.runs} runs made, {made.written} files written"
    )


def test_the_site_of_ten_thousand_boots(tmp_path: Path) -> None:
    place = Path(os.environ.get("BENCH_KEEP", tmp_path))
    layout, target = Layout(place / "store"), place / "site"
    boots = int(os.environ.get("BENCH_BOOTS", "10000"))
    runs = max(2, boots // _BOOTS)
    if not layout.root.exists():
        layout.root.mkdir(parents=True)
        fill(layout, runs)
        print(f"\n{runs} runs, {runs * _BOOTS} boots, {runs * _BOOTS * _CASES} cases; load {os.getloadavg()[0]:.1f}")
        print(f"at first            {timed(layout, target)}", flush=True)
        print(f"nothing new         {timed(layout, target)}")
        fill(layout, 1, runs)
        print(f"one run more        {timed(layout, target)}", flush=True)
    files = [path for path in target.rglob("*") if path.is_file()]
    print(f"{len(files)} files, {sum(path.stat().st_size for path in files) >> 20} MiB")
    if find_tool("chromium") is None:
        return
    newest = max((target / "runs").iterdir())
    pages = ["index.html", "map.html", "search.html", "cases/pressure.html", "cases/pressure/pressure.case1.html"]
    pages += ["series/ttm-shrinker.html", "kernels/7.4-rc2.html", "figures/pswpout.html"]
    pages += [f"runs/{newest.name}/{name}.html" for name in ("index", "0000-001-boot", "0000-001-boot-console")]
    with browser(tmp_path) as tab:
        tab.open("about:blank")
        for page in pages:
            took = min(tab.open(f"file://{target}/{page}") for _ in range(3))
            slow = "" if took < _SECOND else f", above {_SECOND:g} s"
            print(f"{page:<60} {(target / page).stat().st_size >> 10:6d} KiB {took:6.2f} s{slow}")
