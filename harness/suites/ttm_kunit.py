# SPDX-License-Identifier: GPL-2.0-only
"""TTM's own kunit suites (drivers/gpu/drm/ttm/tests). They need no GPU; none of them touches back-up or shrinking."""

from __future__ import annotations

from harness.model.suite import Suite

_MODULES = (
    "ttm_device_test",
    "ttm_pool_test",
    "ttm_resource_test",
    "ttm_tt_test",
    "ttm_bo_test",
    "ttm_bo_validate_test",
)

SUITE = Suite(
    name="ttm-kunit",
    title="TTM's kunit suites",
    script="suite-kunit",
    arguments=_MODULES,
    symbols=("KUNIT", "DRM_TTM_KUNIT_TEST"),
    requirements=(),
    shares_boot=True,
    deadline=90.0,
    profile="lean",
)
