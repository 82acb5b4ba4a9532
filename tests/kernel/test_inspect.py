# SPDX-License-Identifier: GPL-2.0-only
"""A look into the memory of real guests: an empty bulk move, a panic, a subject of the user's own, bad input."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.flow.inspect import Image, find_image, inspect, run_script
from harness.flow.run_loader import read_report
from harness.model.cell import Cell
from harness.model.codec import from_json, to_json
from harness.model.errors import UserError
from harness.model.memory import Line, Memory
from harness.model.outcome import Ending
from harness.model.result import Report
from harness.reports.memory import short_lines
from harness.store.layout import Layout
from tests.conftest import require_module
from tests.functional.conftest import Quiet

require_module("drgn", "inspect")

SUITE = """title = "a panic"
symbols = ["SWAP"]
profile = "lean"
deadline = 60

[[floor]]
case = "*"
least = 1
"""
SUBJECT = """title = "what panics"
memory = "own.py"
types = "types"
"""
OWN = """from harness.model.memory import Line, Part, Section

def part(kernel):
    init = kernel.at("struct task_struct", kernel.symbol("init_task"))
    lines = (Line("task", below=(Line(init.comm.string_().decode(), "it is idle"),)),)
    return Part((Section("own", lines),), (Line(f"own types: {kernel.has('struct own', 'x')}"),))
"""
KBUILD = """obj-m := own_types.o
CFLAGS_REMOVE_own_types.o := -femit-struct-debug-baseonly
ccflags-y := -g -gdwarf-5
"""
TYPES = """#include <linux/module.h>
struct own {
	int x;
};
struct own *harness_own;
MODULE_DESCRIPTION("types");
MODULE_LICENSE("GPL");
"""
PANIC = """#!/bin/sh
modprobe ttm
sleep 1000 &
until grep -qx sleep "/proc/$!/comm"; do usleep 10000; done
echo c >/proc/sysrq-trigger
"""


def kept_run(*words: str) -> Report:
    """A run with images, by its own report: others may run beside this."""
    argv = (sys.executable, "-m", "harness", "run", *words, "--seed", "1", "--keep-state", "--quiet", "--json")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=1700, check=False)
    assert done.returncode in (0, 1), done.stderr
    return from_json(Report, done.stdout, "a run")


def stack_of(memory: Memory, task: str) -> tuple[str, ...]:
    return next(one.stack for one in memory.tasks if one.name.startswith(task) and one.stack)


def lines_of(memory: Memory, section: str) -> tuple[Line, ...]:
    (found,) = (one.lines for part in memory.parts.values() for one in part.sections if one.name == section)
    return found


@pytest.fixture(scope="module")
def walk(own_runs: None) -> Image:
    """Of the case in which a walk is taken to the wrong list."""
    layout = Layout.from_environment()
    report = kept_run("--suite", "pressure-findings", "--case", "suspect_bulk_walk")
    return find_image(layout, f"{report.id}/1/suspect_bulk_walk")


def test_the_walk_stands_on_the_list_that_no_walk_may_go_along(walk: Image) -> None:
    layout = Layout.from_environment()
    memory = inspect(walk, layout, Quiet())
    (hidden,) = (line for line in lines_of(memory, "lists") if line.text.startswith("the list `unevictable` of "))
    (walker,) = (line for line in hidden.below if line.text.startswith("a walk "))
    assert walker.wrong == "a walk along memory 1 stands on a list that no walk may go along"
    (out,) = (line for line in hidden.below if line is not walker)
    assert re.search(r"BACKED_UP, cached, 0 pages and (\d+) handles of \1, locked by suite-pressure \(pid", out.text)
    (bulk,) = lines_of(memory, "bulk-moves")
    assert bulk.text.split(" of ")[0] in out.text
    assert any(line.startswith("TTM counts 2 objects") for line in short_lines(memory))
    assert any("case_suspect_bulk_walk" in frame for frame in stack_of(memory, "suite-pressure"))
    assert any("WRONG" in line for line in short_lines(memory))
    assert memory.problems == ()


def test_the_report_has_the_short_form_and_is_the_same_else(walk: Image) -> None:
    report = read_report(walk.place.parent)
    assert str(report.verdict) == "good"  # it is expected to fail
    assert any("a walk along memory 1 stands on a list" in note for note in report.runs[0].notes)


def test_a_script_of_the_users_sees_what_we_see(walk: Image, tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "ttm = readers['ttm'].read(kernel)\n"
        "print(ttm.objects, len(ttm.devices), list(memory.parts))\n"
        "print(program['init_task'].comm.string_().decode(), kernel.name_of(0x1))\n"
    )
    said: list[str] = []
    run_script(walk, own, Layout.from_environment(), Quiet(), said.append, 100.0)
    assert said[-2:] == ["2 1 ['ttm']", "swapper/0 0x1"]


def test_an_image_of_another_kernel(walk: Image, tmp_path: Path) -> None:
    """Of the profile tiny, say: the same release, another build."""
    layout = Layout.from_environment()
    cell = from_json(Cell, (walk.place / "cell.json").read_text(), "a test")
    others = [path.name for path in layout.builds.iterdir() if path.name != cell.build_id[:16]]
    if not others:
        pytest.skip("the store has one build only")
    place = tmp_path / "boot"
    (place / "memory").mkdir(parents=True)
    (place / "cell.json").write_text(to_json(replace(cell, build_id=others[0])))
    path = place / "memory" / walk.path.name
    path.write_bytes(walk.path.read_bytes())
    with pytest.raises(UserError, match=r"another (kernel's|build)|no longer in the store|without debug info"):
        inspect(Image(path, place), layout, Quiet())


def test_a_panic_tells_the_short_form_by_itself_and_what_a_subject_of_the_users_reads(
    own_runs: None, tmp_path: Path
) -> None:
    suite, types = tmp_path / "mine" / "my-panic", tmp_path / "mine" / "types"
    suite.mkdir(parents=True)
    types.mkdir()
    (types.parent / "subject.toml").write_text(SUBJECT)
    (types.parent / "own.py").write_text(OWN)
    (types / "Kbuild").write_text(KBUILD)
    (types / "own_types.c").write_text(TYPES)
    (suite / "suite.toml").write_text(SUITE)
    (suite / "run").write_text(PANIC)
    (suite / "run").chmod(0o755)
    layout = Layout.from_environment()
    report = kept_run("--suite", str(suite))
    assert report.runs[0].ending is Ending.PANICKED
    assert any(note.startswith("memory image panic, ") for note in report.runs[0].notes)
    assert any("TTM counts 0 objects" in note for note in report.runs[0].notes)
    assert any("own types: True" in note for note in report.runs[0].notes)
    memory = inspect(find_image(layout, f"{report.id}/1/panic"), layout, Quiet())
    assert any("sysrq_handle_crash" in frame for frame in stack_of(memory, "suite-my-panic"))
    assert "sleep" in {task.name for task in memory.tasks}
    assert lines_of(memory, "own") == (Line("task", below=(Line("swapper/0", "it is idle"),)),)
    assert memory.problems == ()
