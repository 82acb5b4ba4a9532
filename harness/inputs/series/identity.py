# SPDX-License-Identifier: GPL-2.0-only
"""When are two patches the same? Their patch-ids, as git has them. Pure; `compare` matches whole revisions."""

from __future__ import annotations

import hashlib

from harness.inputs.series.diff import Diff

_NO_SPACE = dict.fromkeys(map(ord, " \t\n\r"))


def _squeeze(line: str) -> bytes:
    return line.translate(_NO_SPACE).encode("utf-8", "replace")


def patch_id(diff: Diff) -> str:
    """What `git patch-id --stable` says: 40 digits that survive other line numbers, blanks and orders of files."""
    total = 0
    sha = hashlib.sha1(usedforsecurity=False)
    pending = False
    for file in diff.files:
        for line in file.header:
            if not line.startswith("index "):
                sha.update(_squeeze(line))
                pending = True
        if file.change.binary:
            sha.update(file.change.old_blob.encode() + file.change.new_blob.encode())
        for hunk in file.hunks:
            for line in hunk.lines:
                if not line.startswith("\\"):
                    sha.update(_squeeze(line))
        # A part without hunks (a mode, a rename) runs into the next one's hash: so git has it.
        if file.hunks or file.change.binary:
            total = _add(total, sha.digest())
            sha, pending = hashlib.sha1(usedforsecurity=False), file.change.binary
    if pending:
        total = _add(total, sha.digest())
    return total.to_bytes(20, "little").hex()


def _add(total: int, digest: bytes) -> int:
    return (total + int.from_bytes(digest, "little")) % (1 << 160)
