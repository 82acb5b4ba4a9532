# SPDX-License-Identifier: GPL-2.0-only
"""Checks of the pressure module that nobody evaluates are found in its sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel.check_sites import dead_sites, main, sites_in

SOURCE = """\
#define tp_other(run, cond) tp_check(run, cond, "x")
static void case_one(struct tp_run *run)
{
\ttp_eq(run, one(two(3)), 4,
\t\t"a number");
\tif (!tp_check(run, five(), "five"))
\t\treturn;
\ttp_bug(run, "not a check that can be broken");
}
"""


def test_checks_are_found_with_all_their_lines() -> None:
    one, two = sites_in("case_one.c", SOURCE)
    assert (one.first, one.last) == (4, 5)
    assert (two.first, two.last) == (6, 6)
    assert str(two) == 'case_one.c:6 tp_check(run, five(), "five")'


def test_a_check_is_dead_when_none_of_its_lines_was_evaluated() -> None:
    sites = sites_in("case_one.c", SOURCE)
    assert dead_sites(sites, ["one case_one.c:5 1", "one case_one.c:6 12"]) == ()
    assert dead_sites(sites, ["one case_one.c:4 1", "one case_two.c:6 12", ""]) == sites[1:]
    assert dead_sites(sites, []) == sites


def test_the_directory_of_the_results_says_whose_checks_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, case in (("drm-shmem", "case_purge.c"), ("pressure", "case_backup.c")):
        place = tmp_path / name / "results" / name
        place.mkdir(parents=True)
        (place / "sites.txt").write_text("one run.c:1 1\n")
        assert main([str(tmp_path / name)]) == 1
        said = capsys.readouterr().out
        assert f"\n{case}:" in said and "\nrun.c:" in said
        assert ("case_purge.c:" in said) is (name == "drm-shmem")
    assert main([str(tmp_path / "nothing")]) == 2
