# SPDX-License-Identifier: GPL-2.0-only
"""The project's own suite: TTM's backup, restore and shrinking under real memory pressure, with no GPU.

Its cases are the invariants of guest-scripts/pressure/README.md, run by a kernel module that is built against the
kernel under test.
"""

from __future__ import annotations

from dataclasses import replace

from harness.model.suite import ExpectedFailure, ExpectedSplat, KnobForm, KnobSpec, MaySkip, Requirement, Suite
from harness.model.units import KIB, MIB

_MERGED = (6, 15)


def _flag(name: str, meaning: str) -> KnobSpec:
    return KnobSpec(name, KnobForm.INTEGER, meaning, 0, 1)


def _percent(name: str, meaning: str) -> KnobSpec:
    return KnobSpec(name, KnobForm.INTEGER, meaning, 0, 100)


KNOBS = (
    KnobSpec("bo", KnobForm.SIZE, "size of an object", 4 * KIB, 64 * MIB),
    KnobSpec("total", KnobForm.SHARE, "all objects together", 1, 400),
    KnobSpec("caching", KnobForm.CHOICE, "page attributes of the objects", choices=("wb", "wc", "uc")),
    _flag("dma", "map the pages for DMA"),
    _flag("dma32", "take pages below 4 GiB"),
    KnobSpec("beneficial", KnobForm.INTEGER, "beneficial order of the pool", 0, 10),
    _percent("purgeable", "share of objects that may be purged"),
    _percent("busy", "share of objects with an unsignalled fence"),
    _percent("pinned", "share of pinned objects"),
    _flag("bulk", "put the objects on a bulk move"),
    KnobSpec("threads", KnobForm.INTEGER, "threads that fill and verify", 1, 16),
    KnobSpec("cycles", KnobForm.INTEGER, "rounds of back-up and restore", 1, 1000),
    KnobSpec("interrupt", KnobForm.INTEGER, "signals a second to the restoring task", 0, 1000),
    _flag("retry_mayfail", "allocate with __GFP_RETRY_MAYFAIL"),
    KnobSpec(
        "free",
        KnobForm.CHOICE,
        "state in which objects are freed",
        choices=("populated", "backed", "partial", "midrestore", "purged"),
    ),
    KnobSpec("touch", KnobForm.CHOICE, "order of access", choices=("seq", "random", "none")),
    KnobSpec("writeback", KnobForm.CHOICE, "when the shrinker writes back", choices=("auto", "always", "never")),
    KnobSpec("verify", KnobForm.CHOICE, "how much of the content is checked", choices=("full", "head", "none")),
)

SUITE = Suite(
    name="pressure",
    title="TTM's shrinker under memory pressure",
    script="suite-pressure",
    arguments=(),
    symbols=("DRM_TTM", "DEBUG_FS", "SWAP"),
    requirements=(Requirement("pressure.*", 70, since=_MERGED), Requirement("pressure.*", 3, before=_MERGED)),
    shares_boot=False,
    deadline=400.0,
    profile="lean",
    needs_module="pressure",
    knobs=KNOBS,
    sample_ms=200,
    expected_splats=(
        ExpectedSplat(
            r"pressure\.swap_bad",
            r"^(Write-error on swap-device|.*I/O error)",
            "the case swaps to a disk whose writes fail on purpose",
        ),
    ),
    bad_disk=True,
    selectable=True,
    may_skip=(
        MaySkip("*", r"ttm_bo_shrink", "there is nothing to test before the series was merged", before=_MERGED),
        MaySkip("*", r"GPUActive in vmstat", "the counters came with 2232ba9c7931", before=(7, 1)),
        MaySkip("*", r"backup at native order", "the order is native since a3fdf74ffa59", before=(7, 2)),
        MaySkip("*", r"needs swap space|MB of free swap", "the machine was asked to have none", swap=False),
    ),
)

_BUG = "a bug of the merged code, see patches/findings/README.md"

FINDINGS = replace(
    SUITE,
    name="pressure-findings",
    title="bugs that the pressure suite showed in merged kernels, each expected to fail",
    requirements=(Requirement("pressure.suspect_*", 5, since=(7, 2)),),
    cases=("suspect_*",),
    deadline=120.0,
    # What they leave behind (pages with wrong attributes, counters below zero) is why they have a boot of their own.
    expected_failures=(ExpectedFailure("pressure.suspect_*", "", _BUG, since=(7, 1)),),
    expected_splats=(
        ExpectedSplat(
            r"pressure\.suspect_b_setup",
            r"at ttm_tt_setup_backup",
            "the case asks for what ttm_tt_setup_backup() refuses with WARN_ON and -EINVAL",
        ),
    ),
)
