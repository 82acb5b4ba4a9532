# SPDX-License-Identifier: GPL-2.0-only
"""One changed line, from the patch to all that boots: `make bench`.

The kernel and the modules of `pressure` and `xe-fake`, in wall and CPU seconds, over make in a developer's own built
tree with the same change, which makes the kernel alone. The line is a new one each time, so that nothing was compiled
before. `ttm_pool.c` is one object; `ttm_tt.h` is included by TTM, xe and both modules.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harness.flow.prepare import Stopwatch, prepare
from harness.kernel.incremental import Seed, plant
from harness.kernel.make import OBJECTS
from harness.model.build import Build
from harness.model.kernel import KernelSpec
from harness.model.series import SeriesSpec
from harness.model.tree import SourceSpec
from harness.proc import Deadline
from harness.store.layout import Layout
from harness.suites.registry import suite_named
from tests.bench.bench_gate import SECONDS, make
from tests.bench.bench_run import seconds
from tests.functional.conftest import Quiet
from tests.mails import patch_mail

SUITES = ("ttm-kunit", "pressure", "xe-fake")
POOL = "drivers/gpu/drm/ttm/ttm_pool.c"
HEADER = "include/drm/ttm/ttm_tt.h"
LINES = {
    POOL: (
        "#include <drm/ttm/ttm_pool.h>\n",
        "#include <drm/ttm/ttm_pool.h>\nint ttm_made_%d;\nextern int ttm_made_%d;\n",
    ),
    HEADER: ("struct ttm_tt {\n", "struct ttm_tt {\n\tunsigned long made_%d[%d / %d];\n"),
}


@pytest.fixture(scope="module")
def base(layout: Layout) -> Build:
    """The kernel without the change, with all modules."""
    wanted = KernelSpec(SourceSpec.parse("debian"))
    return prepare(wanted, dict.fromkeys(map(suite_named, SUITES), False), layout, Quiet(), Stopwatch()).build


def change(path: str) -> tuple[str, str]:
    old, new = LINES[path]
    number = time.time_ns() % 10**9 + 1
    return old, new.replace("%d", str(number))


@contextmanager
def counted(what: str) -> Iterator[list[float]]:
    """Prints wall and CPU seconds of what happens meanwhile, and leaves the wall seconds."""
    found: list[float] = []
    began, before = time.monotonic(), cpu()
    yield found
    found.append(time.monotonic() - began)
    print(f"{what}: {found[0]:.1f} s, {cpu() - before:.1f} s of CPU")


def cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


@pytest.mark.parametrize("path", [POOL, HEADER])
def test_one_line(base: Build, layout: Layout, tmp_path: Path, path: str) -> None:
    old, new = change(path)
    mail = tmp_path / "one.mbox"
    mail.write_text(patch_mail(base.tree.path, {path: (old, new)}))
    wanted = KernelSpec(SourceSpec.parse("debian"), series=SeriesSpec.parse(f"mbox:{mail}"))
    watch = Stopwatch()
    print()
    with counted(f"{path}, kernel and modules") as ours:
        prepare(wanted, dict.fromkeys(map(suite_named, SUITES), False), layout, Quiet(), watch)
    print("   ", ", ".join(f"{stage.name} {stage.seconds:.1f} s" for stage in watch.stages))
    own = tmp_path / "own"
    assert plant(
        Seed(base, frozenset()), replace(base.tree, path=own), own, layout.locks / "bench", Deadline(SECONDS)
    )
    subprocess.run(["cp", "-al", f"{base.tree.path}/.", f"{own}/"], check=True)
    shutil.copy(base.config_path, own / OBJECTS / ".config")
    home = {"HOME": str(tmp_path), "CCACHE_DISABLE": "1"}
    argv = make(own / OBJECTS, "bzImage", "modules", cache="ccache ")
    seconds(argv, home)
    text = (own / path).read_text()
    (own / path).unlink()
    (own / path).write_text(text.replace(*change(path), 1))
    with counted(f"{path}, make of the kernel alone") as peer:
        seconds(argv, home)
    shutil.rmtree(own)
    print(f"ratio {ours[0] / peer[0]:.2f}, {os.getloadavg()[0]:.1f} processes at work")
