# SPDX-License-Identifier: GPL-2.0-only
"""What xe's kunit suites run without hardware, in xe_test.ko.

The suites inside the driver itself (guc_*, lmtt, pf_*) are compiled only into a built-in xe (IS_BUILTIN in
drivers/gpu/drm/xe), so that a kernel with xe as a module has none of them.
"""

from __future__ import annotations

from harness.model.suite import ExpectedSplat, Suite
from harness.suites.manifests import manifest_of

_MANIFEST = manifest_of("xe-kunit")

SUITE = Suite(
    name="xe-kunit",
    title="xe's kunit suites that need no GPU",
    script="suite-kunit",
    arguments=("xe_test",),
    symbols=("KUNIT", "DRM_XE", "DRM_XE_KUNIT_TEST"),
    requirements=_MANIFEST.floors,
    may_skip=_MANIFEST.skips,
    manifest=_MANIFEST,
    shares_boot=True,
    deadline=120.0,
    profile="lean",
    expected_splats=(
        ExpectedSplat(
            r"xe_rtp\.xe_rtp_rules_tests\.(.*-)?(or|missing-context)(-.*)?",
            r"at rule_match(es|_and)?\b",
            "the case feeds a malformed rule (an OR with an empty side, an engine match without an engine), "
            "which the matcher answers with drm_WARN_ON",
        ),
    ),
)
