# SPDX-License-Identifier: GPL-2.0-only
"""xe's own shrinker on fake devices: the driver's real memory management under real pressure, with no Intel GPU.

The cases are in guest-scripts/xe-fake, compiled into a copy of the tree's driver that is loaded in its place.
"""

from __future__ import annotations

from dataclasses import replace

from harness.model.suite import ExpectedFailure, KnobForm, KnobSpec, Suite
from harness.suites.manifests import manifest_of

_MANIFEST = manifest_of("xe-fake")
_FINDINGS = manifest_of("xe-fake-findings")

DEVICES = ("tgl", "tgl-wc", "dg1", "bmg", "lnl", "lnl-suspend", "nvl", "all")

KNOBS = (
    KnobSpec(
        "device",
        KnobForm.CHOICE,
        "the fake devices; else tgl, dg1, lnl-suspend and nvl",
        choices=DEVICES,
        chooses=True,
    ),
)


def _bug(case: str, message: str, what: str) -> ExpectedFailure:
    """Seen on 7.3.4 and nowhere promised for later; a kernel from 7.4 on has to show it anew."""
    return ExpectedFailure(f"xe_fake.{case}*", message, f"known: {what}", since=(7, 2), before=(7, 4))


# patches/findings/README.md has the whole of each.
SUITE = Suite(
    name="xe-fake",
    title="xe's shrinker on fake devices, under memory pressure",
    script="suite-xe-fake",
    arguments=(),
    symbols=("KUNIT", "DRM_XE", "DRM_XE_KUNIT_TEST", "PM", "SWAP"),
    requirements=_MANIFEST.floors,
    shares_boot=False,
    deadline=900.0,
    profile="lean",
    needs_overlay="xe-fake",
    knobs=KNOBS,
    sample_ms=500,
    selectable=True,
    knob_cases=("*",),
    may_skip=_MANIFEST.skips,
    manifest=_MANIFEST,
    expected_failures=(
        _bug(
            "upstream", r"Bo in incorrect memory type: 0", "the test finds an object that kswapd was faster to shrink"
        ),
    ),
)


_WALK = "the first object that may not be purged, or not be moved, ends the walk over all that come after it"

_KNOWN_BUGS = (
    _bug("suspect_purge_behind", r"backed_up_too_soon == 0UL", _WALK),
    _bug("suspect_noswap_behind", r"purged == 8U", _WALK),
    _bug("suspect_nofs_behind", r"purged == 8U", _WALK),
    _bug("suspect_validating_first", r"fake_populated\(obj\) == populated", _WALK),
    _bug(
        "suspect_dontneed_backed_up",
        r"got_shrinkable == shrinkable",
        "DONTNEED said of what is backed up is forgotten",
    ),
    # Not an assertion: that one is about the set-up, which has to have backed the object up.
    _bug(
        "suspect_private_alone",
        r"EXPECTATION FAILED.*fake_populated_objects\(fake\) == 0",
        "no walk sees a VM's one object",
    ),
    _bug("suspect_private_walk", r"Expected wrong to be false", "the root is that of pressure's suspect_bulk_walk"),
    _bug(
        "suspect_vram_unpinned",
        r"Expected is_saved\(obj->bo\) to be false",
        "unpinned while a suspend is prepared, an object keeps its backup for ever",
    ),
)

FINDINGS = replace(
    SUITE,
    name="xe-fake-findings",
    title="bugs that xe's shrinker showed on fake devices in merged kernels, each expected to fail",
    requirements=_FINDINGS.floors,
    may_skip=_FINDINGS.skips,
    manifest=_FINDINGS,
    cases=("suspect_*",),
    deadline=180.0,
    expected_failures=_KNOWN_BUGS,
)
