# SPDX-License-Identifier: GPL-2.0-only
"""Lines per second of our KTAP parser beside the kernel's own, on the same real logs, in one process.

    python -m tests.bench.bench_ktap KERNEL_TREE [LOG ...]

The kernel's parser (tools/testing/kunit/kunit_parser.py of KERNEL_TREE) reads one document and stops, so it is
given each document of a log by itself, and its printer is told to be silent. `tree` is what both do: bytes to a
tree of results. `all` is what the harness does besides: events, their fingerprints, cases.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from harness.evidence.ktap import parse
from harness.evidence.lines import decode
from harness.evidence.parse import parse_ktap_text

_DATA = Path(__file__).parent.parent / "data" / "ktap"
_LOGS = ("every-ttm-suite-on-7.3", "xe-suites-with-warnings-they-expect")
_HEAD = re.compile(r"\] KTAP version 1$")
_ROUNDS = 9
_REPEATS = 10


class _Counts(Protocol):
    def total(self) -> int: ...


class _Test(Protocol):
    counts: _Counts


class _Kunit(Protocol):
    """What is used of the kernel's modules."""

    def parse_run_tests(self, kernel_output: list[str], printer: object) -> _Test: ...


@dataclass(frozen=True, slots=True)
class Figure:
    lines: int
    theirs: float  # seconds, the best of the rounds
    tree: float
    everything: float
    their_cases: int
    our_cases: int

    @property
    def ratio(self) -> float:
        return self.theirs / self.tree


def documents(text: str) -> list[list[str]]:
    """A log -> the lines of each top-level document that has a test in it."""
    parts: list[list[str]] = []
    for line in text.splitlines():
        if _HEAD.search(line):
            parts.append([])
        if parts:
            parts[-1].append(line)
    return [part for part in parts if not (len(part) > 1 and part[1].endswith("1..0"))]


def measure(tree: Path, log: Path) -> Figure:
    """Both parsers on one log, in turn, by CPU time; each figure is the best of its rounds."""
    tools = str(tree / "tools" / "testing" / "kunit")
    if tools not in sys.path:
        sys.path.insert(0, tools)
    kunit = cast(_Kunit, importlib.import_module("kunit_parser"))
    silent = importlib.import_module("kunit_printer").Printer(print=False)
    parts = documents(log.read_text(errors="replace"))
    data = "".join(line + "\n" for part in parts for line in part).encode()

    def theirs() -> int:
        return sum(kunit.parse_run_tests(part, silent).counts.total() for part in documents(data.decode()))

    def ours() -> int:
        return len(parse_ktap_text(data).cases)

    def tree_only() -> int:
        return len(parse(decode(data)).documents)

    best = [float("inf")] * 3
    for _ in range(_ROUNDS):
        for at, work in enumerate((theirs, tree_only, ours)):
            best[at] = min(best[at], _seconds(work))
    return Figure(data.count(b"\n") * _REPEATS, best[0], best[1], best[2], theirs(), ours())


def _seconds(work: Callable[[], int]) -> float:
    start = time.process_time()
    for _ in range(_REPEATS):
        work()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("tree", type=Path, help="a kernel source tree")
    parser.add_argument("logs", type=Path, nargs="*", default=[_DATA / name / "input.log" for name in _LOGS])
    options = parser.parse_args()
    for log in options.logs:
        figure = measure(options.tree, log)
        print(log.parent.name or log.name)
        print(f"  cases        kernel's {figure.their_cases}, ours {figure.our_cases}")
        print(f"  kernel's     {figure.lines / figure.theirs:>10,.0f} lines/s")
        print(f"  ours, tree   {figure.lines / figure.tree:>10,.0f} lines/s  {figure.ratio:.2f} x")
        everything = figure.theirs / figure.everything
        print(f"  ours, all    {figure.lines / figure.everything:>10,.0f} lines/s  {everything:.2f} x")


if __name__ == "__main__":
    main()
