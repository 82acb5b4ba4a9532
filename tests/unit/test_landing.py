# SPDX-License-Identifier: GPL-2.0-only
"""Where a patch landed is told by the function that its changed lines lie in."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.flow.controls import Control, Misapplied, apply_control, read_controls
from harness.flow.landing import changed_lines, landed_outside, spans_of
from harness.model.errors import FindingError

DRIVER = """\
#define LOAD_TWICE(x) \\
\t((x) + \\
\t (x))

static int load_one(struct load *load);

static const struct load_ops load_ops = {
\t.one = load_one,
};

static int load_limit = 4;

static int load_one(struct load *load)
{
\tif (!load)
\t\treturn 1;
\treturn 0;
}

static unsigned long
load_two(struct load *load,
\t struct other *other)
{
\tif (!load)
\t\treturn 1;
\treturn 0;
}
"""
PATCH = """\
From: ttm-harness controls <controls@ttm-harness.invalid>
Subject: [CONTROL] drm/load: the wrong number

---
--- a/load.c
+++ b/load.c
@@ -{line},3 +{line},3 @@
 \tif (!load)
-\t\treturn 1;
+\t\treturn 2;
 \treturn 0;
"""


def lines_of(name: str) -> list[list[str]]:
    lines = DRIVER.splitlines()
    return [[lines[number] for number in span] for span in spans_of(DRIVER, name)]


def test_a_definition_is_found_and_a_declaration_is_none() -> None:
    (one,) = lines_of("load_one")
    assert (one[0], one[-1]) == ("static int load_one(struct load *load)", "}")
    (two,) = lines_of("load_two")
    assert two[:2] == ["static unsigned long", "load_two(struct load *load,"]
    assert two[-2:] == ["\treturn 0;", "}"]
    assert lines_of("load_ops") == [["static const struct load_ops load_ops = {", "\t.one = load_one,", "};"]]
    assert lines_of("load_limit") == [["static int load_limit = 4;"]]
    assert [len(span) for span in spans_of(DRIVER, "LOAD_TWICE")] == [3]
    assert spans_of(DRIVER, "load") == spans_of(DRIVER, "nothing") == ()


def test_lines_that_changed_are_counted_on_both_sides() -> None:
    assert changed_lines("a\nb\nc\n", "a\nc\nd\n") == ((1,), (2,))
    assert changed_lines(DRIVER, DRIVER) == ((), ())


def test_a_change_in_the_twin_lies_outside() -> None:
    here = DRIVER.replace("return 1", "return 2", 1)
    there = "return 2".join(DRIVER.rsplit("return 1", 1))
    assert landed_outside(DRIVER, here, ("load_one",)) == ()
    assert landed_outside(DRIVER, there, ("load_one",)) == (25,)
    assert landed_outside(DRIVER, there, ("load_one", "load_two")) == ()


@pytest.mark.parametrize("gone", ["\treturn 0;\n", "\t\treturn 1;\n\treturn 0;\n"])
def test_a_line_that_is_gone_counts_as_well(gone: str) -> None:
    less = "".join(DRIVER.rsplit(gone, 1))
    assert landed_outside(DRIVER, less, ("load_two",)) == ()
    assert landed_outside(DRIVER, less, ("load_one",)) != ()


def _control(folder: Path, line: int, function: str = "") -> Control:
    (folder / "01-number.patch").write_text(PATCH.replace("{line}", str(line)))
    key = f'function = ["{function}"]\n' if function else ""
    (folder / "controls.toml").write_text(f'[[control]]\nfile = "01-number.patch"\nclass = "state"\n{key}')
    (control,) = read_controls(folder)
    return control


@pytest.mark.parametrize(("line", "function"), [(15, "load_one"), (24, "load_two"), (24, "")])
def test_a_control_that_landed_where_it_was_made_for(tmp_path: Path, line: int, function: str) -> None:
    (tmp_path / "load.c").write_text(DRIVER)
    apply_control(_control(tmp_path, line, function), tmp_path, "9.9.9")
    assert (tmp_path / "load.c").read_text().splitlines()[line] == "\t\treturn 2;"


def test_a_control_that_landed_in_a_twin_is_misapplied(tmp_path: Path) -> None:
    (tmp_path / "load.c").write_text(DRIVER)
    with pytest.raises(Misapplied, match=r"01-number landed outside load_one in 9\.9\.9: load\.c, line 25"):
        apply_control(_control(tmp_path, 24, "load_one"), tmp_path, "9.9.9")


def test_a_control_that_finds_no_place_is_no_misapplied_one(tmp_path: Path) -> None:
    (tmp_path / "load.c").write_text("nothing\n")
    with pytest.raises(FindingError, match="does not apply") as caught:
        apply_control(_control(tmp_path, 15, "load_one"), tmp_path, "9.9.9")
    assert not isinstance(caught.value, Misapplied)
