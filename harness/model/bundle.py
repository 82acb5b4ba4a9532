# SPDX-License-Identifier: GPL-2.0-only
"""A boot in one file, for somebody else: what it was, what it was made of, what came of it."""

from __future__ import annotations

from dataclasses import dataclass

from harness.model.cell import Cell
from harness.model.outcome import Verdict
from harness.model.result import Provenance

BUNDLE_SCHEMA = "ttm-harness/bundle/1"
MANIFEST = "bundle.json"


@dataclass(frozen=True, slots=True)
class BundleFile:
    """A file of a bundle: its path in it, its bytes, the sha256 of these, and whether it is a program."""

    path: str
    size: int
    sha256: str
    program: bool = False


@dataclass(frozen=True, slots=True)
class Bundle:
    """`of` is the boot as RUN/BOOT, `key` hashes all that went into it (run_record.py). `source` is what `--source`
    takes to get the kernel's source anywhere; empty for a tree that was on the disk of who made this. `fragments` and
    `patches` are files of the bundle, in their order.

    Nothing in it tells of the host but the versions of its tools.
    """

    schema: str
    of: str
    verdict: Verdict
    cell: Cell
    key: str
    source: str
    profile: str
    kernel: Provenance
    fragments: tuple[str, ...]
    patches: tuple[str, ...]
    files: tuple[BundleFile, ...]
