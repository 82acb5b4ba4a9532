# SPDX-License-Identifier: GPL-2.0-only
"""xe's live kunit suites. Without a bound Intel GPU each says SKIP and modprobe says 0: that is NOT_RUN here."""

from __future__ import annotations

from harness.model.suite import Requirement, Suite

SUITE = Suite(
    name="xe-live",
    title="xe's live kunit suites, on an Intel GPU",
    script="suite-kunit",
    arguments=("xe_live_test",),
    symbols=("KUNIT", "DRM_XE", "DRM_XE_KUNIT_TEST"),
    requirements=(
        Requirement("xe_bo.*", 1),
        # xe_bo_shrink came with commit 5a90b60db5e6 (6.13).
        Requirement("xe_bo_shrink.*", 1, since=(6, 13)),
        Requirement("xe_dma_buf.*", 1),
        Requirement("xe_migrate.*", 1),
        Requirement("xe_mocs.*", 1),
    ),
    shares_boot=True,
    deadline=1200.0,
    profile="lean",
)
