# SPDX-License-Identifier: GPL-2.0-only
"""The gate on real kernels: the project's own series in both revisions, a patch given alone, other configs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

import harness.reports
from harness.checkout import data_directory
from harness.inputs.resolve import resolve
from harness.inputs.series.assemble import Selection, assemble
from harness.inputs.series.mbox import read_messages
from harness.judge.reach import lost_exports, words_of
from harness.kernel.fragments import read_profile
from harness.kernel.object_builder import ObjectBuilder
from harness.kernel.users import users_of_header, users_of_symbol
from harness.model.gate import ConfigVariant
from harness.model.tree import SourceSpec
from harness.proc import Deadline
from harness.store.files import locked
from harness.store.layout import Layout
from tests.kernel.test_run import ttm_harness
from tests.mails import patch_mail

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


@pytest.fixture(autouse=True)
def alone(layout: Layout) -> Iterator[None]:
    """All have the same objects in the store: those of another worker wait."""
    with locked(layout.locks / "test-gate", Deadline(SECONDS)):
        yield


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
    # What is missing may have brought it: nobody can tell whose fault it is.
    found = gate(f"mbox:{mail}", "--source", "debian:6.12", status=3)
    assert found["first_bad"] == 0
    assert "drm/ttm/ttm_nowhere.h may come with what is missing of the series: 1/2" in str(found["reasons"])
    assert "not whole: 1 of 2 missing" in str(found["reasons"])


def test_a_patch_that_stops_make_before_any_object_is_bad(tmp_path: Path, layout: Layout) -> None:
    tree = resolve(SourceSpec.parse("debian"), layout, Deadline(SECONDS), Quiet())
    mail = tmp_path / "bad.mbox"
    line, include = "struct page {\n", "#include <linux/debugfs.h>\n"
    edits = {
        "include/linux/mm_types.h": (line, f"struct nowhere nowhere;\n{line}"),
        "drivers/gpu/drm/ttm/ttm_tt.c": (include, f"{include}#include <linux/list.h>\n"),
    }
    mail.write_text(patch_mail(tree.path, edits))
    found = gate(f"mbox:{mail}", "--source", "debian", status=1)
    assert found["first_bad"] == 1
    assert "objects bad: include/linux/mm_types.h:" in str(found["reasons"])


def test_a_header_that_no_file_of_the_series_uses_is_not_good_without_a_build(tmp_path: Path, layout: Layout) -> None:
    tree = resolve(SourceSpec.parse("debian"), layout, Deadline(SECONDS), Quiet())
    mail = tmp_path / "header.mbox"
    line = "#define _TTM_TT_H_\n"
    change = f"{line}struct not_to_be_found_anywhere;\n"
    mail.write_text(patch_mail(tree.path, {"include/drm/ttm/ttm_tt.h": (line, change)}))
    found = gate(f"mbox:{mail}", "--source", "debian", status=3)
    assert "without --only" in str(found["reasons"])


def test_callers_of_a_renamed_export_are_found_in_other_folders(layout: Layout) -> None:
    tree = resolve(SourceSpec.parse("debian"), layout, Deadline(SECONDS), Quiet())
    edits = {
        "drivers/gpu/drm/ttm/ttm_bo_util.c": ("(ttm_bo_shrink);", "(ttm_bo_shrink_renamed);"),
        "include/drm/ttm/ttm_bo.h": ("long ttm_bo_shrink(", "long ttm_bo_shrink_renamed("),
    }
    data = patch_mail(tree.path, edits).encode()
    (patch,) = assemble(read_messages(data, "a.mbox"), Selection("mbox:a.mbox")).patches
    assert lost_exports(patch) == ("ttm_bo_shrink",)
    users = users_of_symbol(tree, "ttm_bo_shrink", Deadline(SECONDS))
    assert {path.rpartition("/")[0] for path in users} == {"drivers/gpu/drm/ttm", "drivers/gpu/drm/xe"}
    header = "include/drm/ttm/ttm_bo.h"
    of_header = users_of_header(tree, header, words_of(patch, header), Deadline(SECONDS))
    assert of_header is not None
    assert {"drivers/gpu/drm/xe/xe_bo.c", "drivers/gpu/drm/ttm/ttm_bo_util.c"} <= set(of_header)


@pytest.fixture(scope="module")
def builder(layout: Layout) -> ObjectBuilder:
    tree = resolve(SourceSpec.parse("debian"), layout, Deadline(SECONDS), Quiet())
    builder = ObjectBuilder(tree, read_profile("lean", data_directory("kernel-configs")), layout, 2, ())
    with locked(builder.lock, Deadline(SECONDS)):
        builder.configure(tree, Deadline(SECONDS))
    return builder


@pytest.mark.parametrize(
    "variant",
    [
        ConfigVariant("DEBUG_FS=n", "DEBUG_FS", "n"),
        ConfigVariant("built in", target="mod2yesconfig"),
        ConfigVariant("i386", words=("ARCH=i386",)),
    ],
    ids=lambda variant: variant.name,
)
def test_other_configs_compile(builder: ObjectBuilder, variant: ConfigVariant, layout: Layout) -> None:
    tree = resolve(SourceSpec.parse("debian"), layout, Deadline(SECONDS), Quiet())
    source = "drivers/gpu/drm/ttm/ttm_pool.c"
    with locked(builder.lock, Deadline(SECONDS)):  # a gate beside the tests has the same place
        found = builder.compile(tree, (source, "drivers/gpu/drm/nowhere.c"), Deadline(SECONDS), variant)
    assert found is not None
    assert found.built == (source,)
    assert found.absent == ("drivers/gpu/drm/nowhere.c",)
    assert not found.errors


def test_a_config_that_kconfig_forbids_is_no_config(builder: ObjectBuilder, layout: Layout) -> None:
    tree = resolve(SourceSpec.parse("debian"), layout, Deadline(SECONDS), Quiet())
    source = "drivers/gpu/drm/ttm/ttm_pool.c"
    with locked(builder.lock, Deadline(SECONDS)):
        # Xe selects it.
        assert builder.compile(tree, (source,), Deadline(SECONDS), ConfigVariant("T", "DRM_TTM", "n")) is None
        again = builder.compile(tree, (source,), Deadline(SECONDS))
    assert again is not None and again.built


def test_every_patch_is_booted_but_the_one_that_does_not_build() -> None:
    report = ttm_harness("run", "--series", "ttm-backup-kunit@v1", "--suite", "ttm-kunit", "--every", status=1)
    assert report["verdict"] == "bad"
    assert report["gates"][0]["first_bad"] == 2
    # The base once for each, and patches 1 and 3: no kernel can be made of the flaw between them.
    assert [run["leg"] for run in report["runs"]] == ["base", "tip"] * 2
    assert {run["verdict"] for run in report["runs"]} == {"good"}
    assert all(reason.startswith(("the gate: ", "NEW")) for reason in report["reasons"]), report["reasons"]
    new = [one for one in report["comparisons"] if one["change"] == "NEW"]
    assert len(new) >= 15 and {one["machine"] for one in new} == {"patch 3"}


def test_a_series_whose_last_patch_does_not_build_is_a_finding(tmp_path: Path, layout: Layout) -> None:
    tree = resolve(SourceSpec.parse("debian"), layout, Deadline(SECONDS), Quiet())
    mail = tmp_path / "bad.mbox"
    path = "drivers/gpu/drm/ttm/ttm_tt.c"
    line = "#include <linux/sched.h>\n"
    mail.write_text(patch_mail(tree.path, {path: (line, line + "#include <linux/ttm_nowhere.h>\n")}))
    report = ttm_harness("run", "--series", f"mbox:{mail}", "--suite", "ttm-kunit", status=1)
    assert report["gates"][0]["first_bad"] == 1
    assert report["runs"] == []
    assert any("ttm_nowhere.h" in reason for reason in report["reasons"])


def test_a_patch_with_fuzz_is_booted_and_one_that_does_not_apply_is_a_finding(tmp_path: Path, layout: Layout) -> None:
    tree = resolve(SourceSpec.parse("debian"), layout, Deadline(SECONDS), Quiet())
    after = "#include <linux/debugfs.h>\n"
    tt, pool = "drivers/gpu/drm/ttm/ttm_tt.c", "drivers/gpu/drm/ttm/ttm_pool.c"
    fuzzy = patch_mail(tree.path, {tt: (after, f"{after}#include <linux/list.h>\n")}, number="1/2", context=3)
    last = next(line for line in reversed(fuzzy.splitlines(True)) if line.startswith(" "))
    lost = patch_mail(tree.path, {pool: (after, f"{after}#include <linux/list.h>\n")}, number="2/2", name="two")
    mail = tmp_path / "fuzzy.mbox"
    mail.write_text(
        "From x Thu Jan  1 00:00:00 1970\n"
        + fuzzy.replace(last, " what stood here once\n")
        + "\nFrom x Thu Jan  1 00:00:00 1970\n"
        + "".join(" long gone\n" if line.startswith(" ") else line for line in lost.splitlines(True))
    )
    words = ("--source", "debian", "--series", f"mbox:{mail}", "--suite", "ttm-kunit", "--every")
    report = ttm_harness("run", *words, status=1)
    (gate,) = report["gates"]
    first = [patch["checks"][0] for patch in gate["patches"]]
    assert [(one["name"], one["mark"]) for one in first] == [("applies", "warn"), ("applies", "bad")]
    assert gate["first_bad"] == 2
    assert [(run["leg"], run["verdict"]) for run in report["runs"]] == [("base", "good"), ("tip", "good")]
    assert "not all of them without fuzz" in report["provenance"]["tree_origin"]
