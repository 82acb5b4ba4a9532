# SPDX-License-Identifier: GPL-2.0-only
"""kunit's tests of itself and its example: whether the harness works here, on the smallest kernel there is."""

from __future__ import annotations

from harness.model.suite import Suite
from harness.suites.manifests import manifest_of

_MANIFEST = manifest_of("kunit-self")

SUITE = Suite(
    name="kunit-self",
    title="kunit's tests of itself, for trying the harness",
    script="suite-kunit",
    arguments=("--no-list", "kunit_test", "kunit_example_test"),
    symbols=("KUNIT", "KUNIT_TEST", "KUNIT_EXAMPLE_TEST"),
    requirements=_MANIFEST.floors,
    may_skip=_MANIFEST.skips,
    manifest=_MANIFEST,
    # kunit_filter_suites() runs into a NULL suite when kunit_test.ko is loaded with a filter (7.3.4): no list of it.
    announces=False,
    shares_boot=True,
    deadline=60.0,
    profile="tiny",
)
