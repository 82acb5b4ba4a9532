# SPDX-License-Identifier: GPL-2.0-only
"""A subject: a part of the kernel that the harness knows how to test, as its folder describes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.model.suite import Suite


@dataclass(frozen=True, slots=True)
class Branch:
    """Where patches go: those of mails to a list that begins with `list`, and those that touch one of `paths`."""

    name: str
    list: str = ""
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ControlSet:
    """Bugs to be put into the kernel on purpose: `folder` has the patches, which `suite` is to notice. `driver` is
    the directory of the tree that a copy is made of, and `module` the one (without .ko) that is built of it; bugs in
    a driver of which the suite brings its own copy need neither. With `sources` the module is made of these files
    alone.
    """

    folder: Path
    suite: str
    driver: str = ""
    module: str = ""
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SplatSet:
    """What somebody's splat must go through to be about the subject: one of the `modules`, or a function that one of
    the globs `functions` fits. `suites` are those that go there, too."""

    suites: tuple[str, ...]
    modules: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """What `subject.toml` says, and the suites in the folder. `tools` are C programs for the guest's /tools;
    `memory` is the Python file that reads images of a guest's memory, `types` the sources of a module with the types
    for it.
    """

    name: str
    title: str
    folder: Path
    suites: tuple[Suite, ...] = ()
    branches: tuple[Branch, ...] = ()
    controls: ControlSet | None = None
    tools: tuple[Path, ...] = ()
    splats: tuple[SplatSet, ...] = ()
    memory: Path | None = None
    types: Path | None = None
