# SPDX-License-Identifier: GPL-2.0-only
"""The tree's own checkers: checkpatch.pl, kernel-doc, and scripts of coccinelle. Those of the base are run, never a
patched one, and what they read is a stranger's: they see the trees alone, and can write nowhere (sandbox.py).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.model.errors import CommandFailed
from harness.model.tree import Tree
from harness.proc import Deadline, find_tool, run
from harness.sandbox import Confines, within

_SECONDS = 120.0
# Uses after a free, and locks that are not given back: what no compiler follows.
_COCCI = ("free/kfree.cocci", "locks/double_lock.cocci", "locks/mini_lock.cocci")
# 7.1 moved it; the old name is a link since.
_KERNEL_DOC = ("tools/docs/kernel-doc", "scripts/kernel-doc")


class CheckerMissing(Exception):
    """The tree has no such checker, or it cannot be run here; the text says which."""


def checkpatch(base: Tree, mail: str, signed: bool, deadline: Deadline) -> str:
    """What checkpatch.pl says of a mail, one complaint a line; `signed`: there is an author, who has to sign off."""
    script = base.path / "scripts" / "checkpatch.pl"
    if not script.is_file():
        raise CheckerMissing("the tree has no scripts/checkpatch.pl")
    options = ("--terse", "--no-summary", "--color=never", *(() if signed else ("--no-signoff",)))
    with tempfile.TemporaryDirectory(prefix="harness-") as scratch:
        file = Path(scratch) / "patch"
        file.write_text(mail, "utf-8", "replace")
        argv = ("perl", str(script), f"--root={base.path}", *options, str(file))
        return _run(argv, base.path, deadline, (base.path, Path(scratch)))


def kernel_doc(base: Tree, tree: Tree, files: Sequence[str], deadline: Deadline) -> str:
    """What kernel-doc complains about in files of the tree."""
    script = next((base.path / name for name in _KERNEL_DOC if (base.path / name).is_file()), None)
    if script is None:
        raise CheckerMissing("the tree has no kernel-doc")
    return _run((str(script), "-none", *files), tree.path, deadline, (base.path, tree.path))


def has_coccinelle(base: Tree) -> bool:
    """Whether this host has spatch, which is not required, and the tree the scripts."""
    return find_tool("spatch") is not None and all(script.is_file() for script in _scripts(base))


def _scripts(base: Tree) -> list[Path]:
    return [base.path / "scripts" / "coccinelle" / name for name in _COCCI]


def coccinelle(base: Tree, tree: Tree, files: Sequence[str], deadline: Deadline) -> str:
    """What scripts of the base's scripts/coccinelle report of .c files of the tree."""
    said = []
    for script in _scripts(base):
        options = ("-D", "report", "--very-quiet", "--no-includes", "--include-headers")
        argv = ("spatch", *options, "--cocci-file", str(script), *files)
        # Without a HOME it ends with an exception.
        said.append(_run(argv, tree.path, deadline, (base.path, tree.path), home="/"))
    return "\n".join(said)


def _run(argv: tuple[str, ...], cwd: Path, deadline: Deadline, reads: tuple[Path, ...], home: str = "") -> str:
    """Its output, whatever it thinks; the environment keeps Python from writing beside the scripts."""
    env = {"PYTHONDONTWRITEBYTECODE": "1", **({"HOME": home} if home else {})}
    words = within(Confines(reads=reads))
    limit = deadline.at_most(_SECONDS)
    try:
        done = run(argv, deadline=limit, cwd=cwd, env=env, allowed=(0, 1), reaped=True, within=words, private=True)
        return done.output
    except CommandFailed as error:
        raise CheckerMissing(error.message) from error
