# SPDX-License-Identifier: GPL-2.0-only
"""TTM's own kunit suites (drivers/gpu/drm/ttm/tests). They need no GPU; none of them touches back-up or shrinking."""

from __future__ import annotations

from harness.model.suite import ExpectedSplat, Requirement, Suite

_MODULES = (
    "ttm_device_test",
    "ttm_pool_test",
    "ttm_resource_test",
    "ttm_tt_test",
    "ttm_bo_test",
    "ttm_bo_validate_test",
    "+drivers/gpu/drm/ttm/tests",  # what a series adds
)

SUITE = Suite(
    name="ttm-kunit",
    title="TTM's kunit suites",
    script="suite-kunit",
    arguments=_MODULES,
    symbols=("KUNIT", "DRM_TTM_KUNIT_TEST"),
    # What 6.12.117 and 7.3.4 execute, counted with parameters.
    requirements=(
        Requirement("ttm_device.*", 8),
        Requirement("ttm_pool.*", 16),
        Requirement("ttm_resource.*", 11),
        Requirement("ttm_tt.*", 16),
        Requirement("ttm_bo.*", 15),
        Requirement("ttm_bo_validate.*", 35),
    ),
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
