# SPDX-License-Identifier: GPL-2.0-only
"""The gate, patch by patch: those that have no object of their own, and whose fault it is when nothing can be made.

make is the script of gate_support.py, and whole kernels are not built: a table that says `broken` cannot be.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.flow.gate import Candidate, Depth, gate_series
from harness.kernel.fragments import compose, parse_fragment
from harness.model.build import Build
from harness.model.errors import BuildFailed
from harness.model.gate import Gate, Mark
from harness.model.outcome import Standing
from harness.model.tree import Tree
from harness.store.layout import Layout
from tests.unit.gate_support import install_make
from tests.unit.results_support import Quiet
from tests.unit.series_support import Repo, read, tree_of

RULES, KCONFIG, DOCUMENT, HEADER = "drivers/table.rules", "Kconfig", "Documentation/a.rst", "include/linux/mm.h"
Change = tuple[str, str]  # a file, and its text


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    repo = Repo(tmp_path / "k")
    repo.write(KCONFIG, "config ACPI\n\tbool\n")
    repo.write(RULES, "table\n")
    repo.write(HEADER, "mm\n")
    repo.write(DOCUMENT, "text\n")
    repo.commit("more")
    repo.git("tag", "-f", "base")
    install_make(tmp_path, monkeypatch)
    monkeypatch.setattr("harness.flow.gate.obtain", build)
    return repo


def build(tree: Tree, *_: object) -> Build:
    if "broken" in (tree.path / RULES).read_text():
        raise BuildFailed(f"{RULES} is broken")
    return Build("b" * 64, tree, "p", "c", "gcc", tree.version, tree.path, tree.path)


def gate(repo: Repo, layout: Layout, depth: Depth, *changes: Change, renames: tuple[str, str] | None = None) -> Gate:
    """`renames` are the old and the new name of a file that the last patch renames."""
    base = layout.sources / "tiny-aaaa" / "linux"
    base.mkdir(parents=True)
    repo.git("--work-tree", str(base), "checkout", "-q", "-f", "base", "--", ".")
    repo.git("reset", "-q", "--hard")
    for number, (name, text) in enumerate(changes, 1):
        repo.write(name, f"{text}\n")
        repo.commit(f"change {number}")
    if renames is not None:
        repo.git("mv", *renames)
        repo.commit("rename")
    profile = compose("p", [parse_fragment("frag", "CONFIG_ACPI=y\n")])
    series = read(repo.mbox("base..HEAD"))
    return gate_series(Candidate(tree_of(base), series, profile, depth, 1), layout, Quiet())


def marks(found: Gate, name: str) -> list[Mark | None]:
    return [next((check.mark for check in patch.checks if check.name == name), None) for patch in found.patches]


def test_what_has_no_object_is_not_good_without_a_build(repo: Repo, scratch_layout: Layout) -> None:
    found = gate(repo, scratch_layout, Depth.TOUCHED, (RULES, "other"), (DOCUMENT, "more"))
    assert marks(found, "objects") == [Mark.NOT_RUN, Mark.OK]
    assert any("without --only" in reason for reason in found.reasons)


@pytest.mark.parametrize("depth", [Depth.NEEDED, Depth.WHOLE])
def test_what_has_no_object_is_built_whole(repo: Repo, scratch_layout: Layout, depth: Depth) -> None:
    found = gate(
        repo, scratch_layout, depth, (RULES, "other"), (RULES, "broken"), (DOCUMENT, "more"), (RULES, "broken still")
    )
    # The second breaks it; the last finds it broken, as does the one before it, where it is built at all.
    assert marks(found, "objects") == [Mark.OK, Mark.BAD, Mark.OK, Mark.NOT_RUN]
    assert marks(found, "build")[:2] == [Mark.OK, None]
    assert marks(found, "build")[2] is (Mark.NOT_RUN if depth is Depth.WHOLE else None)
    assert (found.verdict, found.first_bad) == (Standing.BAD, 2)
    assert [patch.bad for patch in found.patches] == [False, True, False, False]


@pytest.mark.parametrize("bad", ["nonsense", "config OTHER"])
def test_no_config_is_the_fault_of_the_patch_that_takes_it_away(repo: Repo, scratch_layout: Layout, bad: str) -> None:
    found = gate(repo, scratch_layout, Depth.NEEDED, (KCONFIG, bad), (KCONFIG, f"{bad} still"))
    assert marks(found, "objects") == [Mark.BAD, Mark.NOT_RUN]
    assert found.first_bad == 1


def test_what_stops_make_is_the_fault_of_the_patch_that_brings_it(repo: Repo, scratch_layout: Layout) -> None:
    changes = ((HEADER, "nonsense"), ("drivers/a.c", "other"), ("drivers/new.c", "new"))
    found = gate(repo, scratch_layout, Depth.TOUCHED, *changes)
    assert marks(found, "objects") == [Mark.BAD, Mark.NOT_RUN, Mark.NOT_RUN]
    assert found.first_bad == 1


def test_what_the_compiler_said_of_the_old_name_is_not_new(repo: Repo, scratch_layout: Layout) -> None:
    renames = ("drivers/a.c", "drivers/z.c")
    found = gate(repo, scratch_layout, Depth.TOUCHED, ("drivers/b.c", "b"), renames=renames)
    assert marks(found, "objects") == [Mark.OK, Mark.OK]
    # The make here warns of every file, with its text.
    assert marks(found, "warnings") == [Mark.BAD, Mark.OK]
