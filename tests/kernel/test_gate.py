# SPDX-License-Identifier: GPL-2.0-only
"""The gate on real kernels: the project's own series in both revisions, a patch given alone, other configs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

import harness.reports
from harness.checkout import data_directory
from harness.inputs.resolve import resolve
from harness.kernel.fragments import read_profile
from harness.kernel.objects import Workshop
from harness.model.gate import Flip
from harness.model.tree import SourceSpec
from harness.proc import Deadline
from harness.store.layout import Layout

SCHEMA = json.loads((Path(harness.reports.__file__).parent / "schema" / "gate-1.json").read_text())
SECONDS = 1800
ALONE = """From: Ada <ada@example.org>
Date: Fri, 02 Jan 2026 03:04:05 +0000
Message-ID: <two@example.org>
Subject: [PATCH 2/2] drm/ttm: Use what the first patch brings

It is not here.

Signed-off-by: Ada <ada@example.org>
---
diff --git a/drivers/gpu/drm/ttm/ttm_range_manager.c b/drivers/gpu/drm/ttm/ttm_range_manager.c
--- a/drivers/gpu/drm/ttm/ttm_range_manager.c
+++ b/drivers/gpu/drm/ttm/ttm_range_manager.c
@@ -32,2 +32,3 @@
 #include <drm/ttm/ttm_device.h>
+#include <drm/ttm/ttm_nowhere.h>
 #include <drm/ttm/ttm_placement.h>
"""


class Quiet:
    def step(self, text: str) -> None: ...

    def advance(self, done: int, total: int, unit: str) -> None: ...


def gate(*words: str, status: int) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "series", "gate", *words, "--only", "touched", "--json"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == status, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    jsonschema.validate(found, SCHEMA)
    return found


def test_the_flaw_of_v1_is_found_in_its_middle_and_who_mends_it_is_named() -> None:
    found = gate("ttm-backup-kunit@v1", status=1)
    assert found["first_bad"] == 2
    assert "patch 3/3" in str(found["reasons"])


def test_v2_is_good() -> None:
    found = gate("ttm-backup-kunit@v2", status=0)
    assert found["verdict"] == "good"


def test_a_patch_alone_misses_what_another_brings(tmp_path: Path) -> None:
    mail = tmp_path / "two.mbox"
    mail.write_text(ALONE)
    found = gate(f"mbox:{mail}", "--source", "debian:6.12", status=1)
    assert found["first_bad"] == 2
    assert "drm/ttm/ttm_nowhere.h may come with what is missing of the series: 1/2" in str(found["reasons"])
    assert "not whole: 1 of 2 missing" in str(found["reasons"])


@pytest.fixture(scope="module")
def shop(layout: Layout) -> Workshop:
    tree = resolve(SourceSpec.parse("debian"), layout, Deadline(SECONDS), Quiet())
    shop = Workshop(tree, read_profile("lean", data_directory("kernel-configs")), layout, 2, ())
    shop.configure(tree, Deadline(SECONDS))
    return shop


@pytest.mark.parametrize(
    "flip",
    [
        Flip("DEBUG_FS=n", "DEBUG_FS", "n"),
        Flip("built in", target="mod2yesconfig"),
        Flip("i386", words=("ARCH=i386",)),
    ],
    ids=lambda flip: flip.name,
)
def test_other_configs_compile(shop: Workshop, flip: Flip, layout: Layout) -> None:
    tree = resolve(SourceSpec.parse("debian"), layout, Deadline(SECONDS), Quiet())
    source = "drivers/gpu/drm/ttm/ttm_pool.c"
    found = shop.compile(tree, (source, "drivers/gpu/drm/nowhere.c"), Deadline(SECONDS), flip)
    assert found is not None
    assert found.built == (source,)
    assert found.absent == ("drivers/gpu/drm/nowhere.c",)
    assert not found.errors


def test_a_config_that_kconfig_forbids_is_no_config(shop: Workshop, layout: Layout) -> None:
    tree = resolve(SourceSpec.parse("debian"), layout, Deadline(SECONDS), Quiet())
    # Xe selects it.
    assert (
        shop.compile(tree, ("drivers/gpu/drm/ttm/ttm_pool.c",), Deadline(SECONDS), Flip("T", "DRM_TTM", "n")) is None
    )
    again = shop.compile(tree, ("drivers/gpu/drm/ttm/ttm_pool.c",), Deadline(SECONDS))
    assert again is not None and again.built
