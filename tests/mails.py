# SPDX-License-Identifier: GPL-2.0-only
"""Patches made at run time against whatever tree is there, as mails: the tests hold no text of a kernel."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

Edit = tuple[str, str]  # what stands in the file exactly once, and what shall stand there


def patch_mail(
    tree: Path,
    edits: Mapping[str, Edit],
    added: Mapping[str, str] | None = None,
    number: str = "",
    name: str = "one",
    context: int = 1,
) -> str:
    """A mail with one patch; `number` is `2/7` or nothing, `context` in lines. Files are as they are in the tree, so
    that the patches of a series must not edit the same one.
    """
    text = (
        f"From: Ada <ada@example.org>\nDate: Fri, 02 Jan 2026 03:04:05 +0000\nMessage-ID: <{name}@example.org>\n"
        f"Subject: [PATCH{' ' + number if number else ''}] drm: Change {name}\n\nFor a test.\n\n"
        "Signed-off-by: Ada <ada@example.org>\n---\n"
    )
    for path, (old, new) in edits.items():
        before = (tree / path).read_text()
        assert before.count(old) == 1, path
        after = before.replace(old, new)
        names = (f"a/{path}", f"b/{path}")
        lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), *names, n=context)
        text += f"diff --git a/{path} b/{path}\n" + "".join(lines)
    for path, content in (added or {}).items():
        lines_added = content.splitlines()
        text += f"diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n"
        text += f"@@ -0,0 +1,{len(lines_added)} @@\n" + "".join(f"+{line}\n" for line in lines_added)
    return text
