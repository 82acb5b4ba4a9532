# SPDX-License-Identifier: GPL-2.0-only
"""What is looked for on the host beside the compiler: scripts of coccinelle, and a clang with its tools."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.kernel.checkers import CheckerMissing, coccinelle, has_coccinelle
from harness.kernel.object_builder import newest_clang
from harness.proc import Deadline
from tests.unit.series_support import tree_of

SECONDS = 60


def tools(folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str, text: str = "#!/bin/sh\n") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setattr("harness.proc.search_path", lambda: (str(folder), "/usr/bin", "/bin"))


def test_scripts_of_the_base_report_on_files_of_the_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tree_of(tmp_path / "base")
    tools(base.path / "bin", monkeypatch, "spatch", text='#!/bin/sh\n[ "$HOME" ] || exit 2\nexit 3\n')
    assert not has_coccinelle(base)
    for name in ("free/kfree", "locks/double_lock", "locks/mini_lock"):
        script = base.path / "scripts" / "coccinelle" / f"{name}.cocci"
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text("")
    assert has_coccinelle(base)
    with pytest.raises(CheckerMissing, match="status 3"):
        coccinelle(base, base, ["a.c"], Deadline(SECONDS))
    # It lies in the tree, as a sandbox shows nothing else.
    tools(
        base.path / "bin",
        monkeypatch,
        "spatch",
        text='#!/bin/sh\nfor last; do :; done; echo "$last:1:2-3: ERROR: x"\n',
    )
    assert coccinelle(base, base, ["a.c"], Deadline(SECONDS)).count("a.c:1:2-3: ERROR: x\n") == 3


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("clang", "ld.lld", "llvm-nm"), "clang"),
        (("clang-19", "ld.lld-19", "llvm-nm-19", "clang-16", "ld.lld-16", "llvm-nm-16", "clang"), "clang-19"),
        (("clang-19", "clang-16", "ld.lld-16", "llvm-nm-16"), "clang-16"),
        (("clang-14", "ld.lld-14", "llvm-nm-14"), ""),
        (("clang",), ""),
    ],
)
def test_only_a_clang_with_its_tools_is_taken(
    names: tuple[str, ...], found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools(tmp_path, monkeypatch, *names)
    monkeypatch.setattr("harness.proc.search_path", lambda: (str(tmp_path),))
    assert newest_clang() == found
