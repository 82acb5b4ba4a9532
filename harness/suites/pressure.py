# SPDX-License-Identifier: GPL-2.0-only
"""The project's own suite: TTM's backup, restore and shrinking under real memory pressure, with no GPU.

Its cases are the invariants of guest-scripts/pressure/README.md, run by a kernel module that is built against the
kernel under test; which of them must run, and may skip for which reason, is in manifests/pressure.toml.
"""

from __future__ import annotations

from dataclasses import replace

from harness.model.suite import ExpectedFailure, ExpectedSplat, KnobForm, KnobSpec, Suite
from harness.model.units import KIB, MIB
from harness.suites.manifests import manifest_of

_MANIFEST = manifest_of("pressure")
_FINDINGS = manifest_of("pressure-findings")


def _flag(name: str, meaning: str) -> KnobSpec:
    return KnobSpec(name, KnobForm.INTEGER, meaning, 0, 1)


def _percent(name: str, meaning: str) -> KnobSpec:
    return KnobSpec(name, KnobForm.INTEGER, meaning, 0, 100)


# The cases whose tasks ask for failures; hog_beside only holds objects.
_LOAD = ("forward_progress", "pressure_*", "noswap_purge")


def _failures(name: str, of: str) -> tuple[KnobSpec, ...]:
    """A fault attribute of the kernel, for the tasks of the load alone."""
    return (
        KnobSpec(name, KnobForm.CHANCE, f"chance that {of} of the load fails", 1, 100, cases=_LOAD),
        KnobSpec(
            f"{name}_interval", KnobForm.INTEGER, "only each N-th can fail", 1, 1_000_000, needs=name, cases=_LOAD
        ),
        KnobSpec(f"{name}_times", KnobForm.INTEGER, "how often at most", 1, 1_000_000, needs=name, cases=_LOAD),
    )


KNOBS = (
    KnobSpec("bo", KnobForm.SIZE, "size of an object", 4 * KIB, 64 * MIB),
    KnobSpec("total", KnobForm.SHARE, "all objects together", 1, 400),
    KnobSpec("caching", KnobForm.CHOICE, "page attributes of the objects", choices=("wb", "wc", "uc")),
    _flag("dma", "map the pages for DMA"),
    _flag("dma32", "take pages below 4 GiB"),
    KnobSpec("beneficial", KnobForm.INTEGER, "beneficial order of the pool", 0, 10),
    _percent("purgeable", "share of objects that may be purged"),
    _percent("busy", "share of objects with an unsignalled fence"),
    _percent("pinned", "share of pinned objects"),
    _flag("bulk", "put the objects on a bulk move"),
    KnobSpec("threads", KnobForm.INTEGER, "threads that fill and verify", 1, 16),
    KnobSpec("cycles", KnobForm.INTEGER, "rounds of back-up and restore", 1, 1000),
    KnobSpec("interrupt", KnobForm.INTEGER, "signals a second to the restoring task", 0, 1000),
    _flag("retry_mayfail", "allocate with __GFP_RETRY_MAYFAIL"),
    KnobSpec(
        "free",
        KnobForm.CHOICE,
        "state in which objects are freed",
        choices=("populated", "backed", "partial", "midrestore", "purged"),
    ),
    KnobSpec("touch", KnobForm.CHOICE, "order of access", choices=("seq", "random", "none")),
    KnobSpec("writeback", KnobForm.CHOICE, "when the shrinker writes back", choices=("auto", "always", "never")),
    replace(_percent("backup_fault", "chance of ttm/backup_fault_inject in the cases of load"), cases=_LOAD),
    KnobSpec(
        "backup_fault_times",
        KnobForm.INTEGER,
        "how often at most; without it no limit",
        1,
        1_000_000,
        needs="backup_fault",
        cases=_LOAD,
    ),
    *_failures("failslab", "an allocation from a slab"),
    *_failures("fail_page_alloc", "an allocation of pages"),
    KnobSpec("verify", KnobForm.CHOICE, "how much of the content is checked", choices=("full", "head", "none")),
)

SUITE = Suite(
    name="pressure",
    title="TTM's shrinker under memory pressure",
    script="suite-pressure",
    arguments=(),
    symbols=("DRM_TTM", "DEBUG_FS", "SWAP"),
    requirements=_MANIFEST.floors,
    shares_boot=False,
    deadline=400.0,
    profile="lean",
    needs_module="pressure",
    knobs=KNOBS,
    sample_ms=200,
    expected_splats=(
        ExpectedSplat(
            r"pressure\.oom_.*",
            r"^DMA-API: cacheline tracking ENOMEM",
            "the case makes allocations fail, those of the kernel's own checks (profile debug) among them",
        ),
        ExpectedSplat(
            r"pressure\.swap_bad",
            r"^(Write-error on swap-device|.*I/O error)",
            "the case swaps to a disk whose writes fail on purpose",
        ),
        ExpectedSplat(
            r"pressure\.kmemleak",
            r"^kmemleak: \d+ new suspected memory leaks",
            "the case asked for it, and says whose they are",
        ),
    ),
    # patches/findings/, pool-list-lru; another leak beside it is none that is expected.
    expected_failures=(
        ExpectedFailure(
            "pressure.kmemleak",
            r"(?m)^unreferenced objects: \d+ from ttm_pool_type_init$",
            "known: ttm_pool_type_fini() never destroys the list_lru of a pool",
            since=(7, 2),
            before=(7, 4),
        ),
    ),
    bad_disk=True,
    selectable=True,
    knob_cases=(*_LOAD, "hog_beside"),
    may_skip=_MANIFEST.skips,
    manifest=_MANIFEST,
)


def _bug(case: str, message: str, what: str, since: tuple[int, int] = (7, 2)) -> ExpectedFailure:
    """Seen on 7.3.4 and nowhere promised for later; a kernel from 7.4 on has to show it anew."""
    return ExpectedFailure(f"pressure.suspect_{case}", message, f"known: {what}", since=since, before=(7, 4))


# patches/findings/README.md has the whole of each.
_KNOWN_BUGS = (
    _bug("a_wc", r"ttm_bo_shrink returned 0", "a backup that saved nothing leaves write-back pages on a WC object"),
    _bug("a_dma", r"ttm_bo_shrink returned 0", "a backup that saved nothing leaves a populated object unmapped"),
    _bug("b_setup", r"\d+ open files more after \d+ refusals", "ttm_tt_setup_backup() loses a file when it refuses"),
    _bug("c_shmem", r"pages were called backed up, swap has room for", "more is backed up than swap can ever take"),
    _bug("e_staged", r"expected WB, got WC", "caching_divide is not moved on: WC pages go back to the system"),
    _bug(
        "e_again", r"resumed restore: expected 0, got -22", "caching_divide is not moved on: a resume ends in -EINVAL"
    ),
    _bug(
        "f_dma_alloc", r"GPUActive in pages: expected 0, got -\d+", "pools of the DMA API drive GPUActive below zero"
    ),
    _bug("h_memcpy", r"backed up, moved by memcpy: content of object", "ttm_bo_move_memcpy() clears what is out"),
    _bug("i_gutting", r"gutted while backed up, to be zeroed", "what is given up while it is backed up comes back"),
    _bug("k_purge", r"to be zeroed: content of object", "what came from VRAM and is purged comes back uncleared"),
    _bug(
        "l_unmoved", r"the list it is on: expected -2", "backed up in place and then moved to SYSTEM, it is on a list"
    ),
    _bug("j_ghost", r"objects more after a ghost could not be made", "a ghost that could not be made stays counted"),
    _bug("g_refused", r"the list it is on: expected 0, got -2", "purged and refused once, it is seen by no walk"),
    _bug(
        "bulk_empty", r"the list it is on: expected 1, got -2", "an object in an empty bulk move is seen by no walk"
    ),
    _bug(
        "bulk_walk", r"on which the walk goes on: expected 1, got -2", "a walk in an empty bulk move goes on for ever"
    ),
)

FINDINGS = replace(
    SUITE,
    name="pressure-findings",
    title="bugs that the pressure suite showed in merged kernels, each expected to fail",
    requirements=_FINDINGS.floors,
    may_skip=_FINDINGS.skips,
    manifest=_FINDINGS,
    cases=("suspect_*",),
    deadline=120.0,
    # What they leave behind (pages with wrong attributes, counters below zero) is why they have a boot of their own.
    expected_failures=_KNOWN_BUGS,
    expected_splats=(
        ExpectedSplat(
            r"pressure\.suspect_b_setup",
            r"at ttm_tt_setup_backup",
            "the case asks for what ttm_tt_setup_backup() refuses with WARN_ON and -EINVAL",
        ),
    ),
)

# Not a test of the kernel but of the cases: each of their checks, broken once, has to turn its case red.
CHECKS = replace(
    SUITE,
    name="pressure-checks",
    title="each check of the suite pressure broken on purpose, to see it turn its case red",
    arguments=("break-checks",),
    requirements=(),
    manifest=None,
    knobs=(),
    knob_cases=(),
    deadline=5400.0,
)
