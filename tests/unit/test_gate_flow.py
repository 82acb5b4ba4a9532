# SPDX-License-Identifier: GPL-2.0-only
"""The gate, patch by patch: those that have no object of their own, and whose fault it is when nothing can be made.

make is the script of gate_support.py, and whole kernels are not built: a table that says `broken` cannot be.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.flow.gate import Depth, GateJob, gate_series
from harness.kernel.fragments import compose, parse_fragment
from harness.model.build import Build
from harness.model.errors import BuildFailed
from harness.model.gate import Gate, Mark
from harness.model.outcome import Verdict
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
    return gate_series(GateJob(tree_of(base), series, profile, depth, 1), layout, Quiet())


def marks(found: Gate, name: str) -> list[Mark | None]:
    return [next((check.mark for check in patch.checks if check.name == name), None) for patch in found.patches]


def test_what_has_no_object_is_not_good_without_a_build(repo: Repo, scratch_layout: Layout) -> None:
    found = gate(repo, scratch_layout, Depth.TOUCHED, (RULES, "other"), (DOCUMENT, "more"))
    assert marks(found, "objects") == [Mark.NOT_RUN, Mark.OK]
    assert any("without --only" in reason for reason in found.reasons)


def test_other_configs_can_be_looked_at_without_a_build(repo: Repo, scratch_layout: Layout) -> None:
    found = gate(repo, scratch_layout, Depth.CONFIGS, (RULES, "other"), ("drivers/a.c", "other"))
    assert marks(found, "objects")[0] is Mark.NOT_RUN
    assert marks(found, "configs")[0] is None and marks(found, "configs")[1] is not None
    assert marks(found, "build") == [None, None]


@pytest.mark.parametrize("depth", [Depth.NEEDED, Depth.WHOLE])
def test_what_has_no_object_is_built_whole(repo: Repo, scratch_layout: Layout, depth: Depth) -> None:
    found = gate(
        repo, scratch_layout, depth, (RULES, "other"), (RULES, "broken"), (DOCUMENT, "more"), (RULES, "broken still")
    )
    # The second breaks it; the last finds it broken, as does the one before it, where it is built at all.
    assert marks(found, "objects") == [Mark.OK, Mark.BAD, Mark.OK, Mark.NOT_RUN]
    assert marks(found, "build")[:2] == [Mark.OK, None]
    assert marks(found, "build")[2] is (Mark.NOT_RUN if depth is Depth.WHOLE else None)
    assert (found.verdict, found.first_bad) == (Verdict.BAD, 2)
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


MAKEFILE = "obj-y += a.o b.o\nobj-y += c.o user.o\n"


@pytest.fixture
def built(repo: Repo) -> Repo:
    """The same with a Makefile, a header with a function, and one more file that uses it."""
    repo.write("drivers/gpu/Makefile", MAKEFILE)
    for name in "abc":
        repo.write(f"drivers/gpu/{name}.c", f"{name}\n")
    repo.write("drivers/gpu/a.c", "int old_name(void)\n{\n}\nEXPORT_SYMBOL_GPL(old_name);\n")
    repo.write("drivers/gpu/box.h", "int old_name(void);\nint kept(void);\n")
    repo.write("include/drm/by_way.h", '#include "../../drivers/gpu/box.h"\n')
    repo.write("drivers/gpu/user.c", "#include <drm/by_way.h>\nint x = old_name();\n")
    repo.write("drivers/gpu/idle.c", "#include <drm/by_way.h>\nint x = kept();\n")
    repo.commit("gpu")
    repo.git("tag", "-f", "base")
    return repo


def objects(found: Gate) -> tuple[Mark, str]:
    check = next(check for check in found.patches[-1].checks if check.name == "objects")
    return check.mark, check.message


def test_a_file_that_is_renamed_without_its_makefile_is_bad(built: Repo, scratch_layout: Layout) -> None:
    found = gate(built, scratch_layout, Depth.TOUCHED, renames=("drivers/gpu/b.c", "drivers/gpu/z.c"))
    mark, message = objects(found)
    assert (mark, found.verdict) == (Mark.BAD, Verdict.BAD)
    assert message == "drivers/gpu/Makefile still builds b.o, whose source the patch takes away"


def test_a_new_file_that_no_makefile_names_is_not_good(built: Repo, scratch_layout: Layout) -> None:
    found = gate(built, scratch_layout, Depth.TOUCHED, ("drivers/gpu/new.c", "new"))
    assert objects(found) == (Mark.NOT_RUN, "no Makefile builds drivers/gpu/new.c: it was compiled alone")
    assert found.verdict is not Verdict.GOOD


def test_the_users_of_a_header_are_compiled(built: Repo, scratch_layout: Layout) -> None:
    header = "int new_name(void);\nint kept(void);"
    found = gate(built, scratch_layout, Depth.TOUCHED, ("drivers/gpu/box.h", header))
    # a.c does not include it, idle.c includes it and uses nothing of what changed
    assert objects(found) == (Mark.OK, "1 compiled")


def test_a_symbol_that_others_use_and_that_is_exported_no_more(built: Repo, scratch_layout: Layout) -> None:
    found = gate(built, scratch_layout, Depth.TOUCHED, ("drivers/gpu/a.c", "int new_name(void)\n{\n}"))
    mark, message = objects(found)
    assert mark is Mark.NOT_RUN
    assert message.startswith("old_name is exported no more, and drivers/gpu/user.c names it")


@pytest.mark.parametrize(("flags", "count"), [("", 3), ("ccflags-y += -DX\n", 5)])
def test_the_objects_of_a_makefile_are_compiled(built: Repo, scratch_layout: Layout, flags: str, count: int) -> None:
    """Those of the line; or all, where the line may be one of flags."""
    changed = flags + MAKEFILE.replace("c.o", "c.o idle.o").strip()
    found = gate(built, scratch_layout, Depth.TOUCHED, ("drivers/gpu/Makefile", changed))
    assert objects(found) == (Mark.OK, f"{count} compiled")


@pytest.mark.parametrize("name", ["Makefile", "drivers/Makefile", "drivers/gpu/entry.S"])
def test_what_single_objects_cannot_tell_is_not_good(built: Repo, scratch_layout: Layout, name: str) -> None:
    text = "VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\nEXTRAVERSION =\nX = 1"
    base = scratch_layout.sources / "tiny-aaaa" / "linux"
    base.mkdir(parents=True)
    built.git("--work-tree", str(base), "checkout", "-q", "-f", "base", "--", ".")
    built.git("reset", "-q", "--hard")
    built.write("drivers/gpu/b.c", "other\n")
    built.write(name, f"{text}\n")
    built.commit("both")
    profile = compose("p", [parse_fragment("frag", "CONFIG_ACPI=y\n")])
    candidate = GateJob(tree_of(base), read(built.mbox("base..HEAD")), profile, Depth.TOUCHED, 1)
    mark, message = objects(gate_series(candidate, scratch_layout, Quiet()))
    assert (mark, "only the whole build tells" in message) == (Mark.NOT_RUN, True)


def test_a_file_that_is_deleted_without_its_makefile_is_bad(built: Repo, scratch_layout: Layout) -> None:
    found = gate(built, scratch_layout, Depth.TOUCHED, renames=("drivers/gpu/b.c", "Documentation/b.txt"))
    assert objects(found)[0] is Mark.BAD
