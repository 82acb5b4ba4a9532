# SPDX-License-Identifier: GPL-2.0-only
"""TTM in a memory image; harness/subjects/README.md says who asks for it. `read` gives values, `part` their words."""

from __future__ import annotations

from harness.memory.kernel import KernelImage
from harness.model.memory import Part

from .read import read as read
from .words import part_of


def part(kernel: KernelImage) -> Part:
    return part_of(read(kernel))
