# SPDX-License-Identifier: GPL-2.0-only
"""The suites by their names on the command line."""

from __future__ import annotations

import fnmatch
from dataclasses import replace

from harness.model.errors import UserError
from harness.model.suite import Requirement, Suite
from harness.suites import drm_shmem, kunit_self, pressure, ttm_kunit, xe_fake, xe_kunit, xe_live

SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        ttm_kunit.SUITE,
        xe_kunit.SUITE,
        pressure.SUITE,
        pressure.FINDINGS,
        pressure.CHECKS,
        xe_fake.SUITE,
        xe_fake.FINDINGS,
        xe_live.SUITE,
        drm_shmem.SUITE,
        drm_shmem.CHECKS,
        kunit_self.SUITE,
    )
}

QUICK = ("ttm-kunit", "xe-kunit", "pressure", "xe-fake")


def suite_named(name: str) -> Suite:
    """The suite; UserError lists the names there are."""
    try:
        return SUITES[name]
    except KeyError:
        raise UserError(f"there is no suite {name!r}", hint=f"suites: {', '.join(SUITES)}") from None


def narrowed(suite: Suite, cases: tuple[str, ...]) -> Suite:
    """The suite when only the cases that match these globs are run: each glob must then have been executed, and
    what of the manifest matches.

    UserError when the suite can only be run whole.
    """
    if not cases:
        return suite
    if not suite.selectable:
        able = ", ".join(one.name for one in SUITES.values() if one.selectable)
        raise UserError(f"the suite {suite.name} can only be run whole", hint=f"--case is for: {able}")
    globs = tuple(f"*.{glob}" for glob in cases)
    manifest = suite.manifest
    if manifest is not None:
        # What is no case of a kunit suite (`unload`) is run with every part.
        always = (one for one in manifest.cases if "." not in one.name)
        listed = (
            *(one for one in manifest.cases if any(fnmatch.fnmatchcase(one.name, glob) for glob in globs)),
            *always,
        )
        manifest = replace(manifest, cases=listed)
    return replace(suite, requirements=tuple(Requirement(glob, 1) for glob in globs), manifest=manifest)
