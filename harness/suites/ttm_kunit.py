# SPDX-License-Identifier: GPL-2.0-only
"""TTM's own kunit suites (drivers/gpu/drm/ttm/tests). They need no GPU; none of them touches back-up or shrinking."""

from __future__ import annotations

from harness.model.suite import ExpectedSplat, Suite
from harness.suites.manifests import manifest_of

_MODULES = (
    "ttm_device_test",
    "ttm_pool_test",
    "ttm_resource_test",
    "ttm_tt_test",
    "ttm_bo_test",
    "ttm_bo_validate_test",
    "+drivers/gpu/drm/ttm/tests",  # what a series adds
)

_MANIFEST = manifest_of("ttm-kunit")

SUITE = Suite(
    name="ttm-kunit",
    title="TTM's kunit suites",
    script="suite-kunit",
    arguments=_MODULES,
    symbols=("KUNIT", "DRM_TTM_KUNIT_TEST"),
    requirements=_MANIFEST.floors,
    may_skip=_MANIFEST.skips,
    manifest=_MANIFEST,
    shares_boot=True,
    deadline=90.0,
    profile="lean",
    expected_splats=(
        ExpectedSplat(
            r"ttm_bo\.ttm_bo_reserve_deadlock",
            r"^WARNING: possible recursive locking detected|reservation_ww_class_mutex",
            "two objects are reserved against each other on purpose; lockdep (profile debug) says so and is off then",
        ),
        ExpectedSplat(
            r"ttm_device\.ttm_device_init_no_vma_man",
            r"at ttm_device_init\b",
            "the case hands over no VMA manager, which ttm_device_init() answers with WARN_ON and -EINVAL",
        ),
        ExpectedSplat(
            r"ttm_bo\.ttm_bo_reserve_no_wait_ticket",
            r"at ttm_bo_reserve(_no_wait_ticket)?\b",
            "the case combines no_wait with a ticket, which ttm_bo_reserve() answers with WARN_ON and -EBUSY",
        ),
    ),
)
