# SPDX-License-Identifier: GPL-2.0-only
"""A hostile series on a real kernel: what its build tries to change stays as it was; the next verdict is earned."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from harness.inputs.resolve import resolve
from harness.model.tree import SourceSpec
from harness.proc import Deadline
from harness.sandbox import containment
from harness.store.layout import Layout
from harness.store.source_seal import find_damage
from tests.kernel.test_gate import SECONDS, Quiet, gate
from tests.mails import patch_mail

VICTIM = "drivers/gpu/drm/ttm/ttm_bo_vm.c"
LINE = "#include <linux/export.h>\n"
SCRIPT = "#!/usr/bin/env perl\n"


def test_a_series_that_attacks_the_host_changes_nothing_and_the_next_one_is_judged_fairly(
    tmp_path: Path, layout: Layout
) -> None:
    if not containment().backend:
        pytest.fail("no containment") if os.environ.get("CI") else pytest.skip(containment().why)
    tree = resolve(SourceSpec.parse("debian"), layout, Deadline(SECONDS), Quiet())
    marks = [tmp_path / "mark", Path(f"/tmp/ttm-test-{os.getpid()}"), Path.home() / f".ttm-test-{os.getpid()}"]
    store = layout.root / f"ttm-test-{os.getpid()}"
    writes = "; ".join(f"echo evil >> {path}" for path in (*marks, store, "$(srctree)/evil.h"))
    base = f"echo '\\#error evil' >> $(srctree)/{VICTIM}; echo '\\#error evil' >> {tree.path}/{VICTIM}"
    first = "ttm-y := ttm_tt.o"
    makefile = (tree.path / "drivers/gpu/drm/ttm/Makefile").read_text()
    assert makefile.count(first) == 1
    hostile = tmp_path / "hostile.mbox"
    edits = {
        "drivers/gpu/drm/ttm/Makefile": (
            first,
            f"$(shell ({base}; {writes}) 2>/dev/null)\n{first}",
        ),
        "drivers/gpu/drm/ttm/ttm_tt.c": (LINE, f"{LINE}#include <linux/list.h>\n"),
        "scripts/checkpatch.pl": (SCRIPT, f"{SCRIPT}system('echo evil >> {marks[0]}');\n"),
    }
    hostile.write_text(patch_mail(tree.path, edits))
    found = gate(f"mbox:{hostile}", "--source", "debian", status=3)  # a Makefile: cannot tell
    said = json.dumps(found["patches"])
    assert "drivers/gpu/drm/ttm/Makefile" in said and "with $(shell" in said and "scripts/checkpatch.pl" in said
    assert [path for path in (*marks, store) if path.exists()] == []
    assert find_damage(tree.path, tree.path.parent) == ()

    innocent = tmp_path / "innocent.mbox"
    innocent.write_text(patch_mail(tree.path, {VICTIM: (LINE, f"{LINE}#include <linux/list.h>\n")}))
    found = gate(f"mbox:{innocent}", "--source", "debian", status=0)
    assert found["verdict"] == "good"
    again = resolve(SourceSpec.parse("debian"), layout, Deadline(SECONDS), Quiet())
    assert again.id == tree.id
