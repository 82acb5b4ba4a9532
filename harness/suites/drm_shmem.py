# SPDX-License-Identifier: GPL-2.0-only
"""The helper for GEM objects in shared memory, which has drivers purge what nobody needs: on a fake device, no GPU.

Its cases are the invariants of guest-scripts/drm-shmem/README.md, run by a kernel module that is built against the
kernel under test; which of them must run, and may skip for which reason, is in manifests/drm-shmem.toml.
"""

from __future__ import annotations

from harness.model.suite import ExpectedSplat, KnobForm, KnobSpec, Suite
from harness.model.units import KIB, MIB
from harness.suites.manifests import manifest_of

_MANIFEST = manifest_of("drm-shmem")

_LOAD = ("pressure_*", "noswap_purge", "hog_beside", "noswap_hog")

KNOBS = (
    KnobSpec("bo", KnobForm.SIZE, "size of an object", 4 * KIB, 64 * MIB),
    KnobSpec("total", KnobForm.SHARE, "all objects together", 1, 400),
    KnobSpec("purgeable", KnobForm.INTEGER, "share of objects that may be purged", 0, 100),
    KnobSpec("threads", KnobForm.INTEGER, "threads that fill and verify", 1, 16),
    KnobSpec("cycles", KnobForm.INTEGER, "rounds in which all is looked at", 1, 1000),
)

SUITE = Suite(
    name="drm-shmem",
    title="purging of GEM objects in shared memory, under memory pressure",
    script="suite-drm-shmem",
    arguments=(),
    symbols=("DRM_GEM_SHMEM_HELPER", "DEBUG_FS", "SWAP"),
    requirements=_MANIFEST.floors,
    shares_boot=False,
    deadline=300.0,
    profile="lean",
    needs_module="drm-shmem",
    knobs=KNOBS,
    sample_ms=200,
    expected_splats=(
        ExpectedSplat(
            r"drm-shmem\.fail_.*",
            r"^DMA-API: cacheline tracking ENOMEM",
            "the case makes allocations fail, those of the kernel's own checks (profile debug) among them",
        ),
        ExpectedSplat(
            r"drm-shmem\.kmemleak",
            r"^kmemleak: \d+ new suspected memory leaks",
            "the case asked for it, and says whose they are",
        ),
    ),
    selectable=True,
    knob_cases=_LOAD,
    may_skip=_MANIFEST.skips,
    manifest=_MANIFEST,
)

# Not a test of the kernel but of the cases, as `pressure-checks`: each of their checks, broken, turns its case red.
CHECKS = Suite(
    name="drm-shmem-checks",
    title="each check of the suite drm-shmem broken on purpose, to see it turn its case red",
    script=SUITE.script,
    arguments=("break-checks",),
    symbols=SUITE.symbols,
    requirements=(),
    shares_boot=False,
    deadline=3600.0,
    profile="lean",
    needs_module=SUITE.needs_module,
    sample_ms=SUITE.sample_ms,
    expected_splats=SUITE.expected_splats,
    selectable=True,
    may_skip=_MANIFEST.skips,
)
