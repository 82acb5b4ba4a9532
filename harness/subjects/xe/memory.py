# SPDX-License-Identifier: GPL-2.0-only
"""What xe's shrinker counts from, in a memory image; harness/subjects/README.md says who asks for it."""

from __future__ import annotations

from collections.abc import Iterator

from harness.memory.kernel import KernelImage, Object


def _counts(kernel: KernelImage, shrinker: Object) -> Iterator[tuple[str, int]]:
    if kernel.has("struct xe_shrinker"):
        own = kernel.at("struct xe_shrinker", int(shrinker.private_data))
        yield "shrinkable_pages", int(own.shrinkable_pages)
        yield "purgeable_pages", int(own.purgeable_pages)


SHRINKERS = {"xe_shrinker_count": _counts}
