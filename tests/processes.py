# SPDX-License-Identifier: GPL-2.0-only
"""What runs on this host, for tests that look whether something of theirs is left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def command_lines() -> Iterator[bytes]:
    """Of each process, its words with a NUL after each; of one that ends meanwhile none."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes()
        except OSError:
            continue
