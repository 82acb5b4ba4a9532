# SPDX-License-Identifier: GPL-2.0-only
"""The table `figures` of suite.toml: what it makes, and that each mistake is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.model.errors import UserError
from harness.model.figure import Better, Figure, Figures, Plot, Unit
from harness.suites.registry import Registry, suite_named
from tests.unit.test_subjects import SUITE, suite_in

TABLE = """
[figures]
"stat.in" = { unit = "pages", plot = "rate", title = "in", cost = true }
"stat.out" = { unit = "KiB", better = "more" }
"stat.took" = { unit = "ns" }
"stat.calls" = { plot = "scans" }
"stat.held_*" = { level = true }
"lost" = { better = "less" }
"speed" = { of = "stat.in", over = "stat.took" }

[figures.there]
of = "stat.in"
less = ["stat.out"]
within = ["Shmem"]
plot = "memory"
"""
GOOD = """
[figures]
"stat.p" = { unit = "pages" }
"stat.t" = { unit = "ns" }
"stat.l" = { unit = "KiB", level = true }
"""
FIRST_LINE = len(SUITE.splitlines()) + 2  # of [figures]


def figures_in(folder: Path, table: str) -> tuple[Figure, ...]:
    return Registry(iter(())).named(str(suite_in(folder / "mine", SUITE + table))).figures


def test_a_table_of_figures(tmp_path: Path) -> None:
    assert figures_in(tmp_path, TABLE) == (
        Figure("stat.in", Unit.PAGES, title="in", plot=Plot.RATE, cost=True),
        Figure("stat.out", Unit.KIB, better=Better.MORE),
        Figure("stat.took", Unit.NS),
        Figure("stat.calls", plot=Plot.SCANS),
        Figure("stat.held_*", level=True),
        Figure("lost", better=Better.LESS),
        Figure("speed", of="stat.in", over="stat.took"),
        Figure("there", Unit.KIB, level=True, plot=Plot.MEMORY, of="stat.in", less=("stat.out",), within=("Shmem",)),
    )


def test_a_suite_needs_no_figures(tmp_path: Path) -> None:
    assert figures_in(tmp_path, "") == ()
    assert suite_named("ttm-kunit").figures == ()


def test_a_suite_has_the_figures_of_the_one_that_it_extends() -> None:
    for name in ("pressure", "drm-shmem", "xe-fake"):
        assert suite_named(name).figures
    for name in ("pressure-findings", "pressure-checks", "drm-shmem-checks", "xe-fake-findings"):
        assert suite_named(name).figures == suite_named(name.rpartition("-")[0]).figures


@pytest.mark.parametrize(
    ("row", "line", "said"),
    [
        # what the reader of TOML itself refuses
        ('"stat.x" = { unit = "acres" }', 1, r"figures\.stat\.x\.unit: 'acres' is none of these \(count, pages, "),
        ('"stat.x" = { better = "most" }', 1, r"figures\.stat\.x\.better: 'most' is none of these"),
        ('"stat.x" = { plot = "pie" }', 1, r"figures\.stat\.x\.plot: 'pie' is none of these \(memory, rate, scans\)"),
        ('"stat.x" = { untit = "ns" }', 1, r"figures\.stat\.x\.untit: there is no such key \(did you mean unit\?\)"),
        ('"stat.x" = 1', 1, r"figures\.stat\.x: 1 is not a table"),
        # what only a column of the statistics can have
        (
            'x = { unit = "ns" }',
            1,
            r"figures\.x\.unit: only a column of the suite's statistics \(stat\.NAME\) has one",
        ),
        ("x = { level = true }", 1, r"figures\.x\.level: only a column"),
        ("x = { cost = true }", 1, r"figures\.x\.cost: only a column"),
        ('x = { plot = "scans" }', 1, r"figures\.x\.plot: only a column"),
        ('"stat.x y" = {}', 1, r"figures\.stat\.x y: no figure is called so"),
        # a glob
        ('"stat.*" = { cost = true }', 1, r"figures\.stat\.\*\.cost: a glob is several figures"),
        ('"stat.?" = { plot = "scans" }', 1, r"plot: a glob is several figures"),
        ('"x*" = { of = "stat.p", less = ["stat.p"] }', 1, r"of: a glob is several figures"),
        # what is drawn, and called a cost
        ('"stat.x" = { unit = "ns", plot = "scans" }', 1, r"figures\.stat\.x\.plot: scans is for a counter of scans"),
        ('"stat.x" = { level = true, plot = "memory" }', 1, r"memory is for a level of memory"),
        ('"stat.x" = { unit = "KiB", level = true, plot = "rate" }', 1, r"rate is for a counter of memory"),
        ('"stat.x" = { plot = "rate" }', 1, r"rate is for a counter of memory"),
        ('"stat.x" = { unit = "pages", plot = "memory" }', 1, r"memory is for a level of memory"),
        ('x = { of = "stat.p", over = "stat.t", plot = "rate" }', 1, r"rate is for a counter of memory"),
        ('"stat.x" = { title = "x" }', 1, r"figures\.stat\.x\.title: it is drawn nowhere"),
        ('"stat.x" = { unit = "ns", cost = true }', 1, r"cost: only a counter of memory or of times that"),
        ('"stat.x" = { level = true, cost = true }', 1, r"cost: only a counter of memory or of times that"),
        ('"stat.boots" = { cost = true }', 1, r"cost: 'boots' is told of every machine already"),
        ('"stat.oom" = { cost = true }', 1, r"cost: 'oom' is told of every machine already"),
        # what is made of others
        ('x = { over = "stat.t" }', 1, r"figures\.x\.over: of which counter\?"),
        ('x = { less = ["stat.p"] }', 1, r"figures\.x\.less: of which counter\?"),
        ('x = { within = ["Shmem"] }', 1, r"figures\.x\.within: of which counter\?"),
        ('x = { of = "stat.p" }', 1, r"figures\.x\.of: either over a time, or less what went and within"),
        ('x = { of = "stat.p", over = "stat.t", within = ["Shmem"] }', 1, r"figures\.x\.of: either over a time"),
        (
            '"stat.x" = { of = "stat.p", over = "stat.t" }',
            1,
            r"of: a column of the suite's statistics .* is made of n",
        ),
        ('x = { of = "stat.gone", over = "stat.t" }', 1, r"of: 'stat\.gone' is no counter of this table in KiB or b"),
        ('x = { of = "stat.t", over = "stat.t" }', 1, r"of: 'stat\.t' is no counter of this table in KiB or bytes"),
        ('x = { of = "stat.l", over = "stat.t" }', 1, r"of: 'stat\.l' is no counter"),
        ('x = { of = "stat.p", over = "stat.p" }', 1, r"over: 'stat\.p' is no counter of this table in ns or us"),
        ('x = { of = "stat.p", less = ["stat.t"] }', 1, r"less: 'stat\.t' is no counter of this table in KiB"),
        (
            '"stat.g*" = { unit = "pages" }\nx = { of = "stat.g*", over = "stat.t" }',
            2,
            r"of: 'stat\.g\*' is no counter",
        ),
        ('x = { of = "x", over = "stat.t" }', 1, r"of: 'x' is no counter of this table"),
        ('x = { of = "stat.p", within = ["x"] }', 1, r"within: 'x' is itself made of others"),
        # a table of its own, whose keys have lines
        ('[figures.x]\nof = "stat.p"\nover = "stat.gone"', 3, r"figures\.x\.over: 'stat\.gone' is no counter"),
    ],
)
def test_a_row_that_cannot_be_is_refused_with_its_line(tmp_path: Path, row: str, line: int, said: str) -> None:
    with pytest.raises(UserError, match=rf"suite\.toml:{FIRST_LINE + 3 + line}: .*{said}"):
        figures_in(tmp_path, GOOD + row + "\n")


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        figures_in(tmp_path, '\n[figures]\nx = { unit = "ns" }\n"stat.y" = { plot = "rate" }\n')
    assert [line.strip().partition(": ")[0][-2:] for line in caught.value.message.splitlines()] == ["17", "18"]


def test_a_figure_is_said_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not TOML"):
        figures_in(tmp_path, '\n[figures]\nx = { better = "less" }\nx = { better = "more" }\n')


def test_of_several_suites_the_first_that_names_a_figure_counts() -> None:
    said = Figures.of_suites([(Figure("a", better=Better.LESS),), (Figure("a"), Figure("b"))])
    assert [(one.name, one.better) for one in said.own] == [("a", Better.LESS), ("b", Better.NEITHER)]
