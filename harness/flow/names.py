# SPDX-License-Identifier: GPL-2.0-only
"""The names of the cases that a suite has on a kernel: from its manifest, or as they were when it last ran there."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from harness.flow.prepare import profile_of, tree_of
from harness.kernel.build import find
from harness.kernel.module import sources_id
from harness.model.build import Build
from harness.model.features import features_of
from harness.model.kernel import KernelSpec
from harness.model.outcome import Ending, Outcome
from harness.model.progress import Progress
from harness.model.result import Case, Report
from harness.model.suite import Ground, Suite
from harness.model.tree import Tree
from harness.proc import Deadline
from harness.store.files import read_regular, write_atomically
from harness.store.layout import Layout

_LARGEST = 16 << 20
_BUILD = re.compile(r"[0-9a-f]{16}")
_DIGITS = 16
_FIND_SECONDS = 60.0


def known_kernel(wanted: KernelSpec, layout: Layout, progress: Progress) -> tuple[Tree, Build | None]:
    """The tree, unpacked where it must be, and its build where the store has it; nothing is fetched or built."""
    tree = tree_of(wanted, layout, progress, fetches=False)
    return tree, find(tree, profile_of(wanted), layout, Deadline(_FIND_SECONDS))


def listed_names(suite: Suite, tree: Tree | None) -> tuple[str, ...]:
    """Those of the manifest, on the kernel of a tree, or on any: cases of the kernel's own without parameters."""
    if suite.manifest is None:
        return ()
    cases = suite.manifest.cases
    if tree is not None:
        ground = Ground(tree.version_tuple, features=features_of(tree, suite.features).promised)
        cases = tuple(one for one in cases if one.on_kernel(ground))
    if suite.cases:
        cases = tuple(one for one in cases if any(fnmatch.fnmatchcase(one.name, f"*.{glob}") for glob in suite.cases))
    return tuple(name for one in cases for name in one.names)


def are_listed(suite: Suite) -> bool:
    """The manifest has them all: they are the harness's own, the same on every kernel."""
    return suite.manifest is not None and suite.brings is not None


def kept_names(suite: Suite, build: Build, layout: Layout) -> tuple[str, ...]:
    """As they were when the suite last ran whole on the build; empty where it has not."""
    try:
        names = json.loads(read_regular(_file(suite, build, layout), _LARGEST))
    except (OSError, ValueError):
        return ()
    sound = isinstance(names, list) and all(isinstance(one, str) and one for one in names)
    return tuple(names) if sound else ()


def keep_names(suite: Suite, build: Build, layout: Layout, report: Report) -> None:
    """Keeps them, where the boot came to its end. Those of builds that are gone go."""
    if any(run.ending is not Ending.FINISHED or run.more for run in report.runs):
        return
    there = {path.name[:_DIGITS] for path in layout.builds.iterdir()}
    for path in layout.listings.iterdir():
        if _BUILD.fullmatch(path.name) and path.name not in there and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
    file = _file(suite, build, layout)
    file.parent.mkdir(exist_ok=True)
    write_atomically(file, json.dumps(seen_names(suite, report.cases), indent=1) + "\n")


def seen_names(suite: Suite, cases: Iterable[Case]) -> tuple[str, ...]:
    """Those that have a result of their own."""
    missing = (Outcome.NOT_RUN, Outcome.INCOMPLETE)
    seen = (case.name for case in cases if case.suite == suite.name and (case.raw or case.outcome not in missing))
    return tuple(dict.fromkeys(name for name in seen if name.isprintable()))


def short_name(suite: Suite, name: str) -> str:
    """What --case calls a case, parameters and all; empty for what runs with any part of the suite."""
    if suite.is_kunit:
        parts = name.split(".")
        return ".".join(parts[:2]) if parts[1:] else f"{name}.*"
    listed = () if suite.manifest is None else suite.manifest.cases
    whole = next((one.name for one in listed if name == one.name or name.startswith(f"{one.name}.")), name)
    return whole.partition(".")[2]


def _file(suite: Suite, build: Build, layout: Layout) -> Path:
    """It is another for another build, runner or description of the suite."""
    told = replace(suite, folder=Path(), runner=None, needs_module=None, needs_overlay=None)
    brought = sources_id(suite.brings) if suite.brings is not None else ""
    runner = suite.runner.read_text(encoding="utf-8", errors="replace") if suite.runner is not None else ""
    words = (repr(told), runner, brought)
    key = hashlib.sha256("\0".join(words).encode()).hexdigest()
    return layout.listings / build.id[:_DIGITS] / f"{suite.name}-{key[:_DIGITS]}.json"
