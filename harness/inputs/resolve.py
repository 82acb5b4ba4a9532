# SPDX-License-Identifier: GPL-2.0-only
"""A source as the user named it -> a Tree in the store. The one door into this room for kernel sources."""

from __future__ import annotations

from typing import assert_never

from harness.inputs.debian import resolve_debian
from harness.inputs.directory import resolve_directory
from harness.inputs.git import resolve_git
from harness.inputs.kernel_org import resolve_kernel_org
from harness.inputs.source_cache import Work
from harness.inputs.tarball import resolve_tarball
from harness.model.progress import Progress
from harness.model.tree import SourceKind, SourceSpec, Tree
from harness.proc import Deadline
from harness.store.layout import Layout


def resolve(
    spec: SourceSpec, layout: Layout, deadline: Deadline, progress: Progress, *, fetches: bool = True
) -> Tree:
    """The tree that `spec` names, fetched (where that is wanted) and unpacked unless the store has it.

    UserError when the spec cannot be right, InfraError when another try may help. Nobody may write to the
    tree's path: it is shared.
    """
    work = Work(layout, deadline, progress, fetches)
    match spec.kind:
        case SourceKind.DEBIAN:
            return resolve_debian(spec, work)
        case SourceKind.DIRECTORY:
            return resolve_directory(spec, work)
        case SourceKind.GIT:
            return resolve_git(spec, work)
        case SourceKind.TAR:
            return resolve_tarball(spec, work)
        case SourceKind.KERNEL_ORG:
            return resolve_kernel_org(spec, work)
        case _:
            assert_never(spec.kind)
