# SPDX-License-Identifier: GPL-2.0-only
"""kunit's tests of itself and its example: whether the harness works here, on the smallest kernel there is."""

from __future__ import annotations

from harness.model.suite import Requirement, Suite

SUITE = Suite(
    name="kunit-self",
    title="kunit's tests of itself, for trying the harness",
    script="suite-kunit",
    arguments=("kunit_test", "kunit_example_test"),
    symbols=("KUNIT", "KUNIT_TEST", "KUNIT_EXAMPLE_TEST"),
    requirements=(Requirement("example.*", 5), Requirement("kunit-resource-test.*", 5)),
    shares_boot=True,
    deadline=60.0,
    profile="tiny",
)
