# SPDX-License-Identifier: GPL-2.0-only
"""One changed line, from the mail to the verdict of `run --presubmit`: `make bench`.

Wall and CPU seconds, QEMU's among them, and the longest steps of the command's own trace. The line is a new one each
time, so that nothing was compiled or applied before; what the base tells is kept from an earlier run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.flow.prepare import tree_of
from harness.model.kernel import KernelSpec
from harness.model.tree import SourceSpec
from harness.store.layout import Layout
from tests.bench.bench_changed_line import POOL, counted
from tests.functional.conftest import Quiet
from tests.mails import patch_mail

XE = "drivers/gpu/drm/xe/xe_bo.c"
LEAST = 1.0  # seconds of a step that is shown


def changed(tree: Path, path: str) -> str:
    """A mail that changes a function in which controls are, and nothing of what it does."""
    number = time.time_ns() % 10**9 + 1
    line = {POOL: "\tpgoff_t shrunken = 0;\n", XE: "\tbool needs_rpm;\n\tlong lret = 0L;\n"}[path]
    return patch_mail(tree, {path: (line, line.replace("= 0", f"= {number} * 0"))})


@pytest.mark.parametrize("path", [POOL, XE])
def test_first_answer(layout: Layout, tmp_path: Path, path: str) -> None:
    tree = tree_of(KernelSpec(SourceSpec.parse("debian")), layout, Quiet()).path
    mail, trace = tmp_path / "one.mbox", tmp_path / "trace.json"
    mail.write_text(changed(tree, path))
    words = ("run", "--presubmit", "--series", f"mbox:{mail}", "--trace", str(trace), "--quiet")
    print()
    with counted(f"{path}, presubmit"):
        ended = subprocess.run([sys.executable, "-m", "harness", *words], capture_output=True, text=True, check=False)
    assert ended.returncode == 0 and "(presubmit)" in ended.stdout, ended.stdout + ended.stderr
    steps = [one for one in json.loads(trace.read_text())["traceEvents"] if one["ph"] == "X"]
    for one in sorted(steps, key=lambda one: float(one["ts"])):
        if one["dur"] / 1e6 >= LEAST:
            print(f"{one['ts'] / 1e6:7.1f} s, for {one['dur'] / 1e6:5.1f} s: {one['name']}")
    print(f"{os.getloadavg()[0]:.1f} processes at work")
