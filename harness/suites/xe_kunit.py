# SPDX-License-Identifier: GPL-2.0-only
"""What xe's kunit suites can run without hardware: those in xe.ko and those in xe_test.ko."""

from __future__ import annotations

from harness.model.suite import Suite

SUITE = Suite(
    name="xe-kunit",
    title="xe's kunit suites that need no GPU",
    script="suite-kunit",
    arguments=("xe", "xe_test"),
    symbols=("KUNIT", "DRM_XE", "DRM_XE_KUNIT_TEST"),
    requirements=(),
    shares_boot=True,
    deadline=120.0,
    profile="lean",
)
