# SPDX-License-Identifier: GPL-2.0-only
"""All C of the project under the kernel's own checkpatch, of the newest kernel."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

import pytest

from harness.inputs.resolve import resolve
from harness.model.tree import SourceSpec
from harness.proc import Deadline
from harness.store.layout import Layout
from tests.conftest import require_tool
from tests.unit.inputs_support import Heard

ROOT = Path(__file__).parents[2]
# What is not asked for, of no file.
IGNORED = {
    "ALLOC_WITH_SIZEOF": "kzalloc_obj() is not in the older kernels",
    "LONG_LINE_STRING": "a message is not broken, so that it can be looked for",
    "MACRO_ARG_PRECEDENCE": "the name of a member has no precedence",
    "MACRO_ARG_REUSE": "an argument that is a plain variable",
}
# What stays for a reason, of one file.
LEFT = {
    ("guest-scripts/load/sampler.c", "VOLATILE"),  # of sigaction(2)
    ("harness/subjects/xe/xe-fake/overlay/device.c", "STATIC_CONST_CHAR_ARRAY"),  # call_usermodehelper() wants it so
    # It crashes on purpose, and golden logs have its line numbers.
    ("tests/data/ktap/every-outcome-of-kunit/zoo.c", "AVOID_BUG"),
    ("tests/data/ktap/every-outcome-of-kunit/zoo.c", "LINE_SPACING"),
    ("tests/data/ktap/every-outcome-of-kunit/zoo.c", "VOLATILE"),
}
COMPLAINT = re.compile(r"(?P<file>\S+?):\d+: (?:ERROR|WARNING|CHECK):(?P<kind>\w+): .*")


@pytest.fixture(scope="module", name="tree")
def fixture_tree(layout: Layout) -> Path:
    return resolve(SourceSpec.parse("debian"), layout, Deadline(900), Heard()).path


def c_files() -> list[str]:
    listed = subprocess.run(
        ("git", "ls-files", "*.c", "*.h"), cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    return listed.stdout.split()


def complaints(tree: Path, *files: str) -> dict[tuple[str, str], str]:
    """By file and kind: the first complaint of checkpatch.pl about files in their whole."""
    options = ("--no-tree", "--strict", "--terse", "--show-types", "--no-summary", "--color=never")
    script = tree / "scripts" / "checkpatch.pl"
    # With --no-tree it leaves the licences alone, for which it wants a Python module that few hosts have.
    argv = (require_tool("perl"), script, f"--root={tree}", *options, f"--ignore={','.join(IGNORED)}", "--file")
    with tempfile.TemporaryDirectory() as scratch:  # it leaves a file of names where it runs
        done = subprocess.run(
            (*argv, *(ROOT / file for file in files)),
            cwd=scratch,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    assert done.returncode in (0, 1) and not done.stderr, done.stderr
    found: dict[tuple[str, str], str] = {}
    for line in done.stdout.splitlines():
        match = COMPLAINT.fullmatch(line)
        assert match is not None, line
        found.setdefault((match["file"].removeprefix(f"{ROOT}/"), match["kind"]), line)
    assert bool(found) == bool(done.returncode)
    return found


def test_all_c_is_clean_under_checkpatch(tree: Path) -> None:
    files = c_files()
    assert len(files) > 80
    found = complaints(tree, *files)
    assert [line for key, line in found.items() if key not in LEFT] == []
    assert LEFT - found.keys() == set(), "these exceptions are no longer needed"


def test_checkpatch_has_its_say(tree: Path, tmp_path: Path) -> None:
    file = tmp_path / "bad.c"
    file.write_text("// SPDX-License-Identifier: GPL-2.0-only\nint CamelCase;\nint f( int a ){ return a; }\n")
    assert {"CAMELCASE", "SPACING"} <= {kind for _, kind in complaints(tree, str(file))}
