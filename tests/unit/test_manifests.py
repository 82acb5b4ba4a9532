# SPDX-License-Identifier: GPL-2.0-only
"""What must run by name: the file, what is missing, what is new, and how a manifest is made from runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.judge.expectations import require, verdict_of
from harness.judge.listing import SuiteBoot, updated
from harness.judge.manifest import surprises
from harness.model.errors import UserError
from harness.model.outcome import Outcome, Verdict
from harness.model.result import Case
from harness.model.suite import Ground, Manifest, ManifestCase, MaySkip, Requirement, Suite
from harness.model.units import MIB
from harness.suites.manifest import MANIFEST_FILE, manifest_text, parse_manifest
from harness.suites.registry import SHIPPED, narrowed, suite_named

MANIFEST = Manifest(
    "s",
    (
        ManifestCase("a.one", 1.5),
        ManifestCase("a.two", 20.0, ("x", "y")),
        ManifestCase("a.late", 0.1, since=(7, 3), before=(8, 0)),
    ),
    (Requirement("a.*", 2, since=(7, 0), swap=True),),
    (
        MaySkip("a.one", 'needs (swap|"room")', "why\\not", swap=False),
        MaySkip("*", "needs more RAM", "small", ram_below=256 * MIB),
        MaySkip("*", "needs a leak detector", "not built", without="DEBUG_KMEMLEAK"),
        MaySkip("*", "for none of", "chosen", knob="device"),
    ),
)
SUITE = Suite(
    name="s",
    title="",
    script="suite-pressure",
    arguments=(),
    symbols=(),
    requirements=(),
    shares_boot=False,
    deadline=1.0,
    profile="lean",
    selectable=True,
    may_skip=MANIFEST.skips,
    manifest=MANIFEST,
)
G73 = Ground((7, 3, 4))
NAMES = ("a.one", "a.two.x", "a.two.y", "a.late")
ANNOUNCED = ("a.one", "a.two", "a.late")


def cases(*names: str, outcome: Outcome = Outcome.PASS) -> tuple[Case, ...]:
    return tuple(Case("s", name, outcome) for name in names)


def judged(*names: str, ground: Ground = G73, announced: tuple[str, ...] | None = ANNOUNCED) -> dict[str, Outcome]:
    return {case.name: case.outcome for case in require(SUITE, ground, cases(*names), announced)}


def test_all_that_is_listed_and_ran_is_left_alone() -> None:
    assert judged(*NAMES) == dict.fromkeys(NAMES, Outcome.PASS)


@pytest.mark.parametrize("gone", NAMES)
def test_a_case_that_vanished_is_not_run_by_its_name(gone: str) -> None:
    left = [name for name in NAMES if name != gone]
    found = require(SUITE, G73, cases(*left), tuple(name for name in ANNOUNCED if name != gone))
    assert [case.name for case in found if case.outcome is Outcome.NOT_RUN] == [gone]
    assert verdict_of((), found)[0] is Verdict.CANNOT_TELL


def test_what_was_announced_and_has_no_result_is_incomplete() -> None:
    assert judged("a.one", "a.two.x", "a.two.y")["a.late"] is Outcome.INCOMPLETE
    assert judged("a.one", "a.late")["a.two"] is Outcome.INCOMPLETE
    assert judged(*NAMES, announced=(*ANNOUNCED, "a.new"))["a.new"] is Outcome.INCOMPLETE


def test_a_case_is_required_on_its_kernels() -> None:
    old = Ground((7, 2, 0))
    assert "a.late" not in judged("a.one", "a.two.x", "a.two.y", ground=old, announced=("a.one", "a.two"))
    assert "a.late" not in judged("a.one", "a.two.x", "a.two.y", ground=Ground((8, 0, 0)), announced=None)


def test_knobs_choose_parameters() -> None:
    chosen = replace(G73, knobs=frozenset({"device"}))
    assert judged("a.one", "a.two.z", "a.late", ground=chosen) == dict.fromkeys(
        ("a.one", "a.two.z", "a.late"), Outcome.PASS
    )
    assert judged("a.one", "a.two.z", "a.late")["a.two.x"] is Outcome.NOT_RUN


@pytest.mark.parametrize(
    ("message", "ground", "outcome"),
    [
        ("needs swap", G73, Outcome.NOT_RUN),
        ("needs swap", replace(G73, swap=False), Outcome.SKIP),
        ("needs more RAM", replace(G73, ram=256 * MIB), Outcome.NOT_RUN),
        ("needs more RAM", replace(G73, ram=192 * MIB), Outcome.SKIP),
        ("needs a leak detector", replace(G73, symbols=frozenset({"DEBUG_KMEMLEAK"})), Outcome.NOT_RUN),
        ("needs a leak detector", G73, Outcome.SKIP),
        ("is for none of them", G73, Outcome.NOT_RUN),
        ("is for none of them", replace(G73, knobs=frozenset({"device"})), Outcome.SKIP),
    ],
)
def test_a_skip_is_one_only_where_the_manifest_allows_it(message: str, ground: Ground, outcome: Outcome) -> None:
    skipped = Case("s", "a.one", Outcome.SKIP, message=message)
    assert require(SUITE, ground, (skipped, *cases("a.two.x", "a.two.y", "a.late")))[0].outcome is outcome


def test_what_nobody_promised_is_said() -> None:
    said = surprises(SUITE, G73, cases(*NAMES, "b.odd"), (*ANNOUNCED, "a.new"))
    assert said == [
        "s: a.new: new, not in the suite's manifest (`results manifest` adds it)",
        "s: b.odd: run, but not announced",
    ]
    assert surprises(SUITE, G73, cases(*NAMES), ANNOUNCED) == []


def test_with_a_choice_only_that_part_is_required() -> None:
    part = narrowed(SUITE, ("t*",))
    found = require(part, G73, cases("a.two.x"), ("a.two",))
    assert {case.name: case.outcome for case in found} == {"a.two.x": Outcome.PASS, "a.two.y": Outcome.NOT_RUN}
    assert [case.name for case in require(narrowed(SUITE, ("none",)), G73, (), ())] == ["*.none"]


def test_the_file_is_read_as_it_was_written() -> None:
    assert parse_manifest("s", manifest_text(MANIFEST)) == MANIFEST


@pytest.mark.parametrize(
    "text",
    [
        "cases = 1",
        "[cases]\n'a.b' = 3",
        "[cases]\n'a.b' = { seconds = -1 }",
        "[cases]\n'a.b' = { seconds = true }",
        "[cases]\n'a.b' = { second = 1 }",
        "[cases]\n'a.b' = { since = '7' }",
        "[cases]\n'a.b' = { params = 'x' }",
        "[[floor]]\ncase = 'a'",
        "[[floor]]\ncase = 'a'\nleast = 0",
        "[[skip]]\ncase = 'a'\nreason = '('\nwhy = 'b'",
        "[[skip]]\ncase = 'a'\nreason = 'b'\nwhy = 'b'\nswap = 'no'",
        "[[skip]]\ncase = 'a'\nreason = 'b'\nwhy = 'b'\nram_below = 'much'",
        "[surprise]",
        "[",
    ],
)
def test_a_file_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"manifest\.toml"):
        parse_manifest("s", text)


def test_every_manifest_is_of_a_suite_and_in_its_own_form() -> None:
    files = list(SHIPPED.rglob(MANIFEST_FILE))
    assert len(files) >= 7
    for path in files:
        text, name = path.read_text(), path.parent.name
        assert suite_named(name).manifest == parse_manifest(name, text)
        assert manifest_text(parse_manifest(name, text)) == text


SEEN = SuiteBoot((7, 3), True, ANNOUNCED, tuple(replace(case, seconds=4.0) for case in cases(*NAMES)), 2.0)


def test_a_manifest_is_made_from_what_good_boots_ran() -> None:
    changed = updated(Manifest("s"), (SEEN,), brought=True)
    assert changed.new == ANNOUNCED
    assert changed.manifest.cases == (
        ManifestCase("a.one", 2.0),
        ManifestCase("a.two", 4.0, ("x", "y")),
        ManifestCase("a.late", 2.0),
    )


def test_what_a_case_takes_is_the_least_and_the_longer_of_the_machines() -> None:
    slow = replace(SEEN, cases=tuple(replace(case, seconds=9.0) for case in SEEN.cases))
    bare = replace(SEEN, swap=False, cases=tuple(replace(case, seconds=6.0) for case in SEEN.cases))
    assert updated(Manifest("s"), (slow, SEEN), brought=True).manifest.cases[0].seconds == 2.0
    assert updated(Manifest("s"), (slow, SEEN, bare), brought=True).manifest.cases[0].seconds == 3.0


def test_cases_of_the_kernel_are_required_from_the_oldest_one_that_had_them() -> None:
    old = SuiteBoot((6, 12), True, ("a.one", "a.gone"), cases("a.one", "a.gone"), 1.0)
    found = {one.name: one for one in updated(Manifest("s"), (SEEN, old), brought=False).manifest.cases}
    assert (found["a.one"].since, found["a.two"].since, found["a.gone"].since) == ((6, 12), (7, 3), (6, 12))
    assert (found["a.one"].before, found["a.gone"].before) == ((9999, 0), (6, 13))
    assert found["a.two"].params == ()


def test_a_name_that_no_boot_had_is_kept_until_it_is_dropped() -> None:
    before = Manifest("s", (ManifestCase("a.past", 3.0),), MANIFEST.floors, MANIFEST.skips)
    kept, dropped = (updated(before, (SEEN,), brought=True, drop=drop) for drop in (False, True))
    assert kept.unseen == dropped.unseen == ("a.past",)
    assert kept.manifest.cases[-1] == ManifestCase("a.past", 3.0)
    assert "a.past" not in {one.name for one in dropped.manifest.cases}
    assert (kept.manifest.floors, kept.manifest.skips) == (MANIFEST.floors, MANIFEST.skips)


def test_a_name_that_newer_kernels_no_longer_have_is_not_asked_of_them() -> None:
    """The file knows of a look at 7.3, in which the name was not."""
    listed = Manifest("s", (ManifestCase("k.kept", 1.0, since=(7, 3)), ManifestCase("k.new", 1.0, since=(7, 3))))
    names = ("k.kept", "k.old")
    old = SuiteBoot((6, 12), True, names, tuple(replace(case, seconds=1.0) for case in cases(*names)), 1.0)
    found = {one.name: one for one in updated(listed, (old,), brought=False).manifest.cases}
    assert (found["k.old"].since, found["k.old"].before) == ((6, 12), (6, 13))
    assert (found["k.kept"].since, found["k.kept"].before) == ((6, 12), ManifestCase("").before)
    assert found["k.new"].since == (7, 3)
    again = {one.name: one for one in updated(Manifest("s"), (old,), brought=False).manifest.cases}
    assert again["k.old"].before == ManifestCase("").before  # nobody has looked at another one
